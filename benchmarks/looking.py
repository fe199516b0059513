"""`hwseg data` on 1,000 pictures of 512x512, and what it does in threads against the same in processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import machine, run, table, verdict
from hwseg.datasets import data
from hwseg.datasets.look import look
from hwseg.pictures.meaning import DEFAULT, Meaning

PICTURES, SIDE, CELLS = 1000, 512, 20
TARGET = 30


def cells(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on noise, which compresses badly, and their mask."""
    rng = np.random.default_rng(number)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), bool)
    for y, x, r in zip(*rng.integers(0, SIDE, (2, CELLS)), rng.integers(8, 30, CELLS), strict=True):
        mask |= (rows - y) ** 2 + (columns - x) ** 2 <= r * r
    noise = rng.integers(0, 60, (SIDE, SIDE), np.uint8)
    return mask * np.uint8(120) + noise, mask * np.uint8(255)


def make(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(PICTURES):
        for kind, pixels in zip(("images", "masks"), cells(number), strict=True):
            Image.fromarray(pixels).save(root / kind / f"p{number:04d}.png")


def half(root: Path, number: int) -> int:
    """Every second picture, in one thread."""
    parts = {part: pairs[number::2] for part, pairs in data.load(root).items()}
    return sum(map(len, look(parts, Meaning(DEFAULT), jobs=1).values()))


def seconds(body: Callable[[], object]) -> float:
    started = time.perf_counter()
    body()
    return time.perf_counter() - started


def processes(root: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        assert sum(pool.map(half, [root] * 2, range(2))) == PICTURES


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        make(root)
        print(machine())
        print()
        rows = []
        for jobs in (1, 2):
            one = run(["data", str(root), "-o", f"{folder}/sheet.png", "--jobs", str(jobs)])
            rows.append([
                f"{jobs}", f"{one.seconds:.1f}", f"{one.cpu_seconds:.1f}", f"{one.peak_bytes / 1e9:.2f}", f"{TARGET} s",
                verdict(one.seconds < TARGET),
            ])  # fmt: skip
        print(table(["threads", "seconds", "CPU seconds", "peak GB", "target", ""], rows))
        print()
        threads = seconds(lambda: look(data.load(root), Meaning(DEFAULT), jobs=2))
        print(
            f"Looking alone: {threads:.1f} s in two threads, {seconds(lambda: processes(root)):.1f} s in two processes."
        )


if __name__ == "__main__":
    main()
