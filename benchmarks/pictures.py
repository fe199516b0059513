"""`hwseg segment --on golden` against the whole picture at once, two jobs against one, and memory of a large picture.

    python -m benchmarks.pictures speed      4096 x 4096 pixels; wall clock and processor time, taking turns
    python -m benchmarks.pictures jobs       --jobs 2 against --jobs 1, one thread each, taking turns
    python -m benchmarks.pictures memory     20,000 columns by 4,096 rows
    python -m benchmarks.pictures tiles      what a pixel costs with tiles of each size, as hwseg export --size auto

A second word names the shipped network, by default nuclei-mixed, or a model file.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import Run, machine, run, table, verdict

SIDE, ROUNDS = 4096, 1
JOBS_SIDE, JOBS_ROUNDS = 4096, 1
LARGE = (4096, 20_000)
"""Rows, columns."""
TARGETS = {"speed": 0.75, "jobs": 1.7, "memory": 2e9}

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def picture(size: tuple[int, int]) -> np.ndarray:
    """Bright discs on noise, uint8; made band by band."""
    found = np.empty(size, np.uint8)
    rng = np.random.default_rng(0)
    columns = np.arange(size[1])
    for first in range(0, size[0], 128):
        band = found[first : first + 128]
        rows = np.arange(len(band))[:, None]
        light = rng.normal(40, 8, band.shape)
        for row, column in zip(
            rng.integers(0, 128, size[1] // 50), rng.integers(0, size[1], size[1] // 50), strict=True
        ):
            near = slice(max(0, column - 12), column + 12)
            light[:, near] += 120 * ((rows - row) ** 2 + (columns[near] - column) ** 2 < 144)
        band[:] = np.clip(light, 0, 255)
    return found


def timed(body: Callable[[], object]) -> tuple[float, float]:
    """Wall clock and processor time of all threads; the second hardly changes when others use the machine."""
    started, used = time.perf_counter(), time.process_time()
    body()
    return time.perf_counter() - started, time.process_time() - used


def speed(model: Path, folder: Path) -> list[list[str]]:
    """From the file of a picture to that of its mask, by tiles and at once."""
    from hwseg import golden
    from hwseg.pictures.read import read_one
    from hwseg.pictures.whole import whole
    from hwseg.quant.read.load import load
    from hwseg.reach import reshaped
    from hwseg.segment.engines import open_engine
    from hwseg.segment.run import segment

    np.save(folder / "picture.npy", picture((SIDE, SIDE)))
    engine, graph = open_engine(model), load(model)
    masks = []

    def at_once() -> None:
        found = whole(read_one(folder / "picture.npy"), engine.network.pixels, engine.network.shape)
        integers = found.window((0, 0), (SIDE, SIDE))
        classes = golden.run(reshaped(graph, (SIDE, SIDE)), integers, taps=()).mask
        np.save(folder / "whole.npy", engine.network.pixels.labels.coded(classes))

    def by_tiles() -> None:
        masks.extend(segment(engine, [folder / "picture.npy"], folder / "mask.npy"))

    tiles, once = [], []
    for _ in range(ROUNDS):
        tiles.append(timed(by_tiles))
        once.append(timed(at_once))
        assert (np.load(folder / "mask.npy") == np.load(folder / "whole.npy")).all()
    grid = masks[0].plan.grid
    rows = []
    for i, clock in enumerate(("wall clock", "processor time")):
        a, b = (statistics.median(run[i] for run in runs) for runs in (tiles, once))
        kept = [clock, f"{a:.0f} s", f"{b:.0f} s", f"{b / a:.2f}", f"{TARGETS['speed']}", verdict(b / a >= 0.75)]
        rows.append([f"{len(grid)} tiles of {grid.tile[0]}x{grid.tile[1]}, {grid.surplus:.1%} more pixels", *kept])
    return [["", "", "by tiles", "at once", "ratio", "target", ""], *rows]


def jobs(model: Path, folder: Path) -> list[list[str]]:
    """Whole commands, imports included."""
    np.save(folder / "picture.npy", picture((JOBS_SIDE, JOBS_SIDE)))
    found: dict[int, list[Run]] = {1: [], 2: []}
    for _ in range(JOBS_ROUNDS):
        for count in found:
            arguments = ["segment", str(model), str(folder / "picture.npy"), "-o", str(folder / f"{count}.npy")]
            found[count].append(run([*arguments, "--tile", "512", "--jobs", str(count)], ONE_THREAD))
    assert (np.load(folder / "1.npy") == np.load(folder / "2.npy")).all()
    one, two = (min(each.seconds for each in found[count]) for count in found)
    used = [min(each.cpu_seconds for each in found[count]) for count in found]
    row = [
        f"{JOBS_SIDE}x{JOBS_SIDE}",
        f"{one:.1f} s ({used[0]:.1f})",
        f"{two:.1f} s ({used[1]:.1f})",
        f"{one / two:.2f}",
    ]
    head = ["picture", "one job (processor time)", "two jobs", "ratio of the fastest", "target", ""]
    return [head, [*row, f"{TARGETS['jobs']}", verdict(one / two >= TARGETS["jobs"])]]


def memory(model: Path, folder: Path) -> list[list[str]]:
    """Peak of the whole command."""
    import tifffile

    tifffile.imwrite(folder / "picture.tif", picture(LARGE), rowsperstrip=256, compression="zlib")
    result = run(["segment", str(model), str(folder / "picture.tif"), "-o", str(folder / "mask.tif")])
    with tifffile.TiffFile(folder / "mask.tif") as file:
        assert file.pages[0].shape == LARGE
    size = (folder / "mask.tif").stat().st_size / 1e6
    row = [f"{LARGE[1]} x {LARGE[0]}", f"{result.seconds:.0f} s", f"{result.cpu_seconds:.0f} s", f"{size:.1f} MB"]
    good = result.peak_bytes < TARGETS["memory"]
    head = ["columns x rows", "wall clock", "processor time", "mask", "peak", "target", ""]
    return [head, [*row, f"{result.peak_bytes / 1e9:.2f} GB", "2 GB", verdict(good)]]


def tiles(model: Path, folder: Path) -> list[list[str]]:
    """Every size that --size auto compiles for 8x8x8."""
    from hwseg.boards import load_board
    from hwseg.quant.read.load import load
    from hwseg.rtl.config import parse_array
    from hwseg.tile_size import candidates, proposed

    found = candidates(load(model), parse_array("8x8x8"), load_board("zynq7020"), None, lambda _: None)
    rows = []
    for one in found:
        costs = (f"{one.cycles:,}", f"{one.per_pixel:.2f}") if not one.refused else ("", "")
        said = "taken" if one is proposed(found) else one.refused
        rows.append([f"{one.size[0]}x{one.size[1]}", costs[0], f"{one.surplus:.1%}", costs[1], said])
    return [["tile", "cycles", "beyond the picture", "cycles per pixel of it", ""], *rows]


PARTS = {part.__name__: part for part in (speed, jobs, memory, tiles)}


def main(arguments: list[str]) -> None:
    from hwseg import models

    if not arguments or arguments[0] not in PARTS:
        sys.exit(__doc__)
    named = arguments[1] if len(arguments) > 1 else "nuclei-mixed"
    model = models.path(named) if named in models.NAMES else Path(named)
    with tempfile.TemporaryDirectory() as folder:
        head, *rows = PARTS[arguments[0]](model, Path(folder))
    print(machine())
    print()
    print(table([f"{model.stem}: {head[0]}", *head[1:]], rows), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
