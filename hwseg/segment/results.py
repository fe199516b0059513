"""A finished class map becomes files: the mask, outlines on the picture, rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.files import file_errors, write_whole
from hwseg.pictures.read import read
from hwseg.segment.journal import Run, Written
from hwseg.segment.network import Network
from hwseg.segment.plan import Plan
from hwseg.segment.write import write


@dataclass(frozen=True)
class Options:
    """page: one picture of a file that holds several.  jobs: tiles computed at once.  dask: address of a scheduler.

    overlay: draw outlines on the pictures, too.  measure: CSV file for every object.  resume: go on with a run that
    was interrupted.
    """

    page: int | None = None
    jobs: int = 1
    dask: str = ""
    overlay: bool = False
    measure: Path | None = None
    resume: bool = False

    def content(self) -> dict[str, Any]:
        """What results follow from, beside picture and network."""
        return {"overlay": self.overlay, "measure": self.measure is not None}


def finish(each: Plan, found: np.ndarray, network: Network, options: Options, run: Run) -> Written:
    """Everything that is made of an item's maps [pictures, H, W, layers]; the mask last, whole or not at all."""
    item, labels, maps = each.item, network.pixels.labels, found[..., 0]
    files: list[Path] = []
    reviews: tuple[str, ...] = ()
    if network.judge is not None:
        from hwseg.segment.draw import doubts

        drawn, reviews = doubts(each, found, network)
        files += drawn
    if options.overlay:
        from hwseg.segment.draw import overlays

        files += overlays(item, found, network)
    if options.measure is not None:
        from hwseg.segment.measure import csv_text, measured

        write_whole(run.table(item), csv_text(measured(item, maps, labels)).encode())
    geometry = read(item.source, item.pages[0]).geometry
    with file_errors(item.out):
        item.out.parent.mkdir(parents=True, exist_ok=True)
        write(item, maps, geometry, labels, network.name, run.tiles(item) / item.out.name)
    foreground = sum(int(np.count_nonzero(plane)) for plane in maps) / each.pixels
    return Written((item.out, *files), foreground, reviews)


def gather(run: Run, plans: list[Plan], options: Options) -> None:
    """One table of the objects of all items."""
    if options.measure is None:
        return
    from hwseg.segment.measure import joined

    texts = []
    for each in plans:
        with file_errors(run.table(each.item)):
            texts.append(run.table(each.item).read_text())
    write_whole(options.measure, joined(texts).encode())
