"""`hwseg data`: what lies in a data set, and everything that is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hwseg.commands.options import label_options
from hwseg.errors import require


@click.command("data")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Contact sheet, a PNG.  [SOURCE's name-sheet.png]")
@click.option("--in-channels", type=click.IntRange(1, 8), help="Of the network.  [those of the first picture]")
@click.option("--out-channels", type=click.IntRange(1, 255), default=1, show_default=True, help="1 for foreground or "
              "not, else the number of labels.")  # fmt: skip
@label_options
@click.option("--exclude", multiple=True, metavar="NAME", help="Picture to leave out; may be given again.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split, where the data has none."
)
@click.option("--jobs", type=click.IntRange(0), default=0, help="Threads; 0 for one on each processor.  [0]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all of this, and every picture.")
def command(
    source: Path,
    out: Path | None,
    in_channels: int | None,
    out_channels: int,
    labels: str,
    ignore: int | None,
    exclude: tuple[str, ...],
    seed: int,
    jobs: int,
    as_json: bool,
) -> None:
    """Open every picture and mask of SOURCE, a folder with images/ and masks/ or a CSV file, once.

    Prints sizes, depths, labels and their shares, copies in different parts and everything that is wrong, and writes a
    contact sheet: pictures of each part with the outlines of their masks.  The exit status is 2 if anything is wrong.
    """
    from hwseg.commands.looking import looking, show_faults, show_survey
    from hwseg.commands.terminal import visible
    from hwseg.datasets import data
    from hwseg.datasets.look import look
    from hwseg.datasets.sheet import MOST, sheet
    from hwseg.datasets.survey import chosen_views, opened, survey
    from hwseg.files import write_whole
    from hwseg.pictures import meaning
    from hwseg.pictures.choice import named_labels
    from hwseg.pictures.labels import Labels

    require(source.exists(), str(source), "does not exist", "name a folder with images/ and masks/, or a CSV file")
    meant = named_labels(labels, out_channels, ignore) if labels else data.labels_of(source, out_channels)
    meant = meant or Labels(out_channels, "", ignore)
    channels = in_channels or data.channels_of(source)
    parts, faults = opened(source, channels, out_channels, seed, exclude, meant)
    pixels = data.meaning_of(source) or meaning.Meaning(meaning.DEFAULT)
    with looking() as told:
        looked = look(parts, pixels, chosen_views(parts, MOST), jobs, told)
    found = survey(source, looked, meant, pixels, faults)
    path = out or Path(f"{source.resolve().stem}-sheet.png")
    write_whole(path, sheet(found))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        show_survey(found)
        show_faults(found.remarks, str(source), "to be known", stderr=False)
        show_faults(found.faults, str(source), "wrong", stderr=False)
        click.echo(visible(f"contact sheet: {path}"))
    faults.refuse(str(source))
