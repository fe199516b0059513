"""What `train`, `adapt` and `search` share: look at all pictures, then train with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwseg.commands.looking import looking, show_faults
from hwseg.commands.terminal import console as plain_console


def pictures(run: Any, source: Path, labels: Any, extra: Sequence[str] = ()) -> Any:
    """Pairs by part, as the run began with them, every file of them opened and nothing wrong with any.

    Everything that is wrong is shown in one table, and refused.  A new run gets a contact sheet.
    """
    from hwseg.datasets import data
    from hwseg.datasets.faults import Faults
    from hwseg.datasets.look import look, regrouped
    from hwseg.datasets.sheet import MOST, sheet
    from hwseg.datasets.survey import chosen_views, require_sizes, survey

    unet, config, faults = run.unet, run.config, Faults()
    quiet, new = not run.fabric.is_global_zero, run.data.split is None
    if new:
        run.data.drawn = not data.is_split(source)
    seed, exclude = config.seed, config.exclude
    parts = data.load(source, unet.in_channels, unet.out_channels, seed, exclude, extra, labels, faults)
    views = chosen_views(parts, MOST) if new and not quiet else []
    with looking(quiet) as told:
        looked = look(parts, run.meaning, views, told=told)
    arranged, said = parts, []
    if all(one.digest for part in looked.values() for one in part):
        arranged, changes = run.data.arrange(parts)
        said = [*changes.sentences(), *run.data.told_before(arranged)]
    found = survey(source, regrouped(looked, arranged), labels, run.meaning, faults)
    if not config.resize:
        require_sizes(found.parts, config.size, unet.multiple, faults)
    if not quiet:
        show_faults(found.remarks, str(source), "to be known", stderr=False)
        show_faults(faults.found if len(faults.found) > 1 else (), str(source), "wrong")
    faults.refuse(str(source))
    for sentence in said:
        plain_console(quiet=quiet).print(sentence, style="yellow", highlight=False)
    if views:
        run.papers["sheet.png"] = sheet(found)
    return arranged


def follow(run: Any, source: Path, train: Any, labels: Any, extra: Sequence[str] = ()) -> Any:
    """Train `run` on a folder or CSV file with a progress bar, and print what came of it.

    extra: further parts that are to be scored afterwards, and are looked at before.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    config = run.config
    from hwseg.datasets.pairs import PARTS

    every = pictures(run, source, labels, extra)
    parts = {part: pairs for part, pairs in every.items() if part in PARTS}
    console = plain_console(quiet=not run.fabric.is_global_zero)
    counts = ", ".join(f"{len(pairs)} {part}" for part, pairs in parts.items())
    console.print(f"{counts} pictures; {config.steps} steps on {run.device}", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        task = bar.add_task(run.stage, total=config.steps, completed=run.step, note="")

        def show(p: Any) -> None:
            bar.update(task, completed=p.step, description=p.stage, note=f"loss {p.loss:.4f}")
            if p.val_dice is not None:
                console.print(
                    f"step {p.step}, {p.stage}: loss {p.loss:.4f}, validation Dice {p.val_dice:.4f}", highlight=False
                )

        result = train(run, parts, show)
    if result.interrupted:
        console.print(f"stopped after step {result.step}; add --resume to go on", highlight=False)
    for part, score in result.scores.items():
        console.print(f"Dice on {part}: {score}", highlight=False)
    return result
