"""From pictures to masks: tile after tile, or several at once, on whatever computes them.

In memory are one picture's pixels, its class map, a byte for each, and the tiles under way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from hwseg.errors import require
from hwseg.files import file_errors
from hwseg.locks import in_use
from hwseg.pictures.whole import whole
from hwseg.segment.journal import Classes, Run, folder_of
from hwseg.segment.network import Engine, Network
from hwseg.segment.parallel import Pool, Task
from hwseg.segment.pictures import pictures
from hwseg.segment.plan import Plan, items_of, plan
from hwseg.segment.results import Options, finish, gather
from hwseg.segment.write import require_possible

Progress = Callable[[str, int, int], None]
"""Called with the picture under way, the tiles that are done, and all of them."""


@dataclass(frozen=True)
class Segmented:
    """A mask that was written.  pixels: of its pictures; computed: of the tiles.  foreground: share of the pixels.

    resumed: tiles that an interrupted run had finished.  files: the mask, and what was drawn.  reviews: of each
    picture, whether a person should look at it.
    """

    plan: Plan
    pixels: int
    computed: int
    foreground: float
    resumed: int
    seconds: float
    files: tuple[Path, ...]
    reviews: tuple[str, ...] = ()


def nothing(name: str, done: int, total: int) -> None:
    """No progress."""


def segment(
    engine: Engine, inputs: Sequence[Path], out: Path, options: Options | None = None, progress: Progress = nothing
) -> list[Segmented]:
    """Masks of pictures, written to `out`: a file, if there is one picture and its name says so, else a folder.

    Raises HwsegError for what cannot be segmented, before the first tile where that can be known.  What is finished
    when it is interrupted, or when the disk is full, is kept for `Options.resume`.  `out` is locked for the time.
    """
    options = options or Options()
    drawings = {"overlay": "the outlines of"} if options.overlay else {}
    if engine.network.judge is not None:
        drawings["confidence"] = "the confidence of"
    items = items_of(inputs, out, options.page, drawings, options.measure)
    _require_writable(options.measure)
    require(
        out.suffix == "" or len(items) == 1 or not os.path.isfile(out), str(out), "must be a folder", "name another"
    )
    content = options.content() | ({} if engine.network.judge is None else {"trust": True})
    plans = [plan(item, engine, content) for item in items]
    for item in items:
        require_possible(item, engine.network.pixels.labels, engine.network.name)
    total = sum(each.tiles for each in plans)
    found: list[Segmented] = []
    with in_use(out), Pool(engine, options.jobs, options.dask) as pool:
        run = Run(folder_of(out, items[0].out == out), options.resume)
        try:
            for each in plans:
                before = sum(other.plan.tiles for other in found)

                def show(tiles: int, name: str = each.item.source.name, before: int = before) -> None:
                    progress(name, before + tiles, total)

                found.append(_again(run, each) or _segmented(pool, run, each, options, show))
            gather(run, plans, options)
        except BaseException:
            run.keep()
            raise
        run.close()
    return found


def _require_writable(table: Path | None) -> None:
    """What --measure names can be made, before the first tile."""
    if table is None:
        return
    with file_errors(table):
        table.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            table.stat()
        require(not os.path.isdir(table), str(table), "must be a file, not a folder", "name a .csv file")
        require(os.access(table.parent, os.W_OK), str(table), "its folder must be writable", "name another")


def _again(run: Run, each: Plan) -> Segmented | None:
    """What an earlier run found of an item, if it finished that."""
    known = run.finished(each)
    if known is None:
        return None
    files = tuple(each.item.out.with_name(str(name)) for name in known["files"])
    reviews = tuple(map(str, known.get("reviews", ())))
    return Segmented(each, each.pixels, 0, float(known["foreground"]), each.tiles, 0.0, files, reviews)


def _segmented(pool: Pool, run: Run, each: Plan, options: Options, show: Callable[[int], None]) -> Segmented:
    """The mask of one item: what is missing of its classes, then the file."""
    started, network = perf_counter(), pool.engine.network
    classes = Classes(run.tiles(each.item), each, network.layers)
    try:
        before = classes.finished()
        done = len(before)
        show(done)
        for task, found in pool.results(_tasks(each, network, before)):
            classes.put(task.picture, task.index, task.tile, found)
            done += 1
            show(done)
        written = finish(each, classes.maps(), network, options, run)
    finally:
        classes.close()
    run.finish(each, written)
    computed = (done - len(before)) * each.grid.tile[0] * each.grid.tile[1]
    seconds = perf_counter() - started
    return Segmented(
        each, each.pixels, computed, written.foreground, len(before), seconds, written.files, written.reviews
    )


def _tasks(each: Plan, network: Network, before: set[tuple[int, int]]) -> Iterator[Task]:
    """Tiles that are not finished, prepared one after the other; pictures without any are not read."""
    for number, picture in enumerate(pictures(each.item)):
        missing = [(index, tile) for index, tile in enumerate(each.grid) if (number, index) not in before]
        if missing:
            prepared = whole(picture(), network.pixels, network.shape)
            for index, tile in missing:
                yield Task(number, index, tile, prepared, prepared.tile(tile, each.grid.tile))
