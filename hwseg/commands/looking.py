"""What `hwseg data`, and every command that trains, does first: look at all pictures, and tell what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hwseg.commands.terminal import console
from hwseg.errors import HwsegError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwseg.datasets.survey import Survey

LISTED = 200
"""Most rows of a table of faults."""

NAMED = 3
"""Places that a row names, where the same is wrong with many."""


@contextmanager
def looking(quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error: how many pictures have been opened."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console(stderr=True, quiet=quiet)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("looking at pictures", total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)


def show_faults(
    faults: Sequence[HwsegError], source: str, title: str, stderr: bool = True, listed: int = LISTED
) -> None:
    """Everything that is wrong, or to be known, in one table: place, rule with value, cure."""
    from rich.table import Table

    if not faults:
        return
    places: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        places.setdefault((fault.rule, fault.cure), []).append(within(fault.place, source))
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("place", "what", "cure"):
        table.add_column(name, overflow="fold")
    for (rule, cure), found in list(places.items())[:listed]:
        table.add_row(", ".join(found[:NAMED]) + f" and {len(found) - NAMED} more" * (len(found) > NAMED), rule, cure)
    if len(places) > listed:
        table.add_row(f"... {len(places) - listed} more", "", "hwseg data --json lists all")
    console(stderr=stderr).print(table)


def within(place: str, source: str) -> str:
    """A place as seen from the data set."""
    return place[len(source) :].lstrip("/") or place if place.startswith(source) else place


def show_survey(found: Survey) -> None:
    """Parts, sizes, depths, classes with their shares."""
    from rich.table import Table

    out, facts = console(), found.to_dict()
    names: list[str] = facts["classes"]
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for name in ("pictures", *names, *(["ignored"] if any(_ignored(p) for p in facts["parts"].values()) else [])):
        table.add_column(name, justify="right", overflow="fold")
    for part, row in facts["parts"].items():
        *counts, ignored = row["pixels"].values()
        total = sum(counts)
        cells = [f"{count:,} ({100 * count / total:.3g} %)" if total else "?" for count in counts]
        cells += [f"{ignored:,}"] if len(table.columns) > len(names) + 2 else []
        table.add_row(part, f"{row['pictures']:,}", *cells)
    out.print(table)
    for key, unit in (("sizes", ""), ("depths", " bits"), ("channels", "")):
        out.print(f"{key}: {_most(facts[key], unit)}", highlight=False)
    if values := facts["mask_values"]:
        total = sum(values.values())
        shares = {key: 100 * count / total for key, count in values.items()}
        shown = ", ".join(f"{key} ({share:.3g} %)" for key, share in list(shares.items())[:12])
        out.print(f"mask values: {shown}" + (f", and {len(shares) - 12} more" * (len(shares) > 12)), highlight=False)
    if weights := facts["class_weights"]:
        text = ",".join(f"{weight:g}" for weight in weights)
        out.print(f"class weights, of the shares in train: --class-weights {text}, or auto", highlight=False)


def _ignored(part: Mapping[str, Any]) -> bool:
    return bool(part["pixels"]["ignored"])


def _most(counts: Mapping[str, int], unit: str) -> str:
    shown = ", ".join(f"{text}{unit} ({count:,})" for text, count in list(counts.items())[:8])
    return (shown or "none") + (f", and {len(counts) - 8} more" if len(counts) > 8 else "")
