"""What `train`, `adapt` and `search` share: look at all pictures, then train with a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.commands.looking import looking, show_faults
from hwseg.commands.terminal import console as plain_console
from hwseg.errors import require
from hwseg.files import require_unread

REMARKS = 8
"""Most remarks about a data set that are shown before training."""
WRITTEN = ("config.toml", "last.pt", "best.pt", "float.pt", "metrics.csv", "curves.png", "result.json", "adapt.json",
           "model.onnx")  # fmt: skip
"""Files of a run."""


@dataclass(frozen=True)
class Wanted:
    """What a run needs of its data.

    crop: side of a training crop, 0 where whole pictures are scaled.  before: what the network that it begins with has
    seen.  folder: where that lies; a run's split there is kept.  split: the run's own, if it goes on.  scored: parts
    that the exported model is scored with, further ones among them.
    """

    source: Path
    network: Any
    labels: Any
    meaning: Any
    seed: int
    exclude: Sequence[str]
    crop: int
    before: Any
    folder: Path | None = None
    split: Any = None
    scored: Sequence[str] = ()

    @staticmethod
    def of(run: Any, source: Path, labels: Any, scored: Sequence[str] = ()) -> Wanted:
        config = run.config
        return Wanted(
            source, run.architecture, labels, run.meaning, config.seed, config.exclude,
            0 if config.resize else config.size, run.data.before,
            Path(config.init).parent if config.init else None, run.data.split, scored,
        )  # fmt: skip


def require_new_run(out: Path, sources: Iterable[str | Path | None]) -> None:
    """Refuse a folder for a new run in which it would write over what it begins with."""
    read = [source for source in sources if source is not None]
    for name in WRITTEN:
        require_unread(out / name, read, "choose another folder")


def side_of(meta: Any, place: Path) -> int:
    """The side to which a checkpoint's pictures are scaled, 0 where they are not."""
    height, width = meta["picture"]
    rule = f"is for pictures scaled to {height}x{width}, and training scales to squares"
    fits = bool(meta["resize"]) or meta["input"].fit != "resize"
    require(fits, str(place), rule, "add --resize SIDE, or --resize 0 for crops of unscaled pictures")
    return int(meta["resize"])


def pictures(wanted: Wanted, quiet: bool = False) -> tuple[Any, bytes]:
    """Pairs by part, every file of them opened and nothing wrong with any; and a contact sheet of a new run's.

    A run that goes on has the split that it began with, one that begins with another's network has that one's.
    Everything that is wrong is shown in one table, and refused; what is new, gone or changed is told.
    """
    from hwseg.datasets import data, seen, split
    from hwseg.datasets.faults import Faults
    from hwseg.datasets.look import look, regrouped
    from hwseg.datasets.sheet import MOST, sheet
    from hwseg.datasets.survey import chosen_views, require_sizes, survey

    network, place, faults = wanted.network, str(wanted.source), Faults()
    parts = data.load(
        wanted.source, network.in_channels, network.out_channels, wanted.seed, wanted.exclude, wanted.scored,
        wanted.labels, faults,
    )  # fmt: skip
    views = chosen_views(parts, MOST) if wanted.split is None and not quiet else []
    with looking(quiet) as told:
        looked = look(parts, wanted.meaning, views, told=told)
    said = list[str]()
    if all(one.digest for part in looked.values() for one in part):
        if wanted.split is not None:
            parts, changes = wanted.split.arrange(parts)
            said += changes.sentences()
        elif wanted.folder and (base := split.for_data(wanted.folder, wanted.source, parts)):
            parts = base.inherited(parts)
            said.append(f"the split is that of {wanted.folder}")
        said += seen.sentences(wanted.before, parts, "the network that this begins with")
    found = survey(place, regrouped(looked, parts), wanted.labels, wanted.meaning, faults)
    if wanted.crop:
        require_sizes(found.parts, wanted.crop, network.multiple, faults, wanted.scored)
    if not quiet:
        show_faults(found.remarks, place, "to be known", stderr=False, listed=REMARKS)
        show_faults(faults.found if len(faults.found) > 1 else (), place, "wrong")
    faults.refuse(place)
    for sentence in said:
        plain_console(quiet=quiet).print(sentence, style="yellow", highlight=False)
    return parts, sheet(found) if views else b""


def follow(run: Any, source: Path, train: Any, labels: Any, scored: Sequence[str] = (), every: Any = None) -> Any:
    """Train `run` on a folder or CSV file with a progress bar, and print what came of it.

    scored: parts that the exported model is scored with afterwards.  every: the pictures, if they were looked at.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hwseg.datasets import data
    from hwseg.datasets.pairs import PARTS

    config = run.config
    quiet = not run.fabric.is_global_zero
    if run.data.split is None:
        run.data.drawn = not data.is_split(source)
    if every is None:
        every, sheet = pictures(Wanted.of(run, source, labels, scored), quiet)
        run.papers |= {"sheet.png": sheet} if sheet else {}
    parts = {part: pairs for part, pairs in every.items() if part in PARTS}
    console = plain_console(quiet=quiet)
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
