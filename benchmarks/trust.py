"""How long the driver's confidence map, deferral and review take, as parts of what packing the picture takes.

python -m benchmarks.trust [--json trust.json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from hwseg.layout import TensorLayout, pack_into
from hwseg.trust.fitted import Trust
from hwseg.trust.judge import Judge
from hwseg.trust.scores import SCORES

SIDE = 256
ROUNDS = 60


def picture(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The head's integers and their mask: smooth shapes with noise, most of them sure."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(x / (17 + 3 * c)) * np.cos(y / (13 + 2 * c)) * 9 for c in range(channels)]
    values = np.stack([wave + random.normal(0, 0.4, wave.shape) for wave in waves], axis=2)
    sums = (values * 4096).astype(np.int32)
    return sums, (sums[:, :, 0] > 0 if channels == 1 else sums.argmax(axis=2)).astype(np.uint8)


def judge_for(channels: int, score: str) -> Judge:
    trust = Trust("0" * 64, ("1.4",) * channels, 60, score, "0.05")
    return Judge.of(trust, (Fraction(1, 4096),) * channels, (Fraction(0),) * channels)


def medians(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each, the median of rounds in which all take turns: what else runs slows all alike."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            found[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(times)) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    layout = TensorLayout((SIDE, SIDE, 1), 8, False, (1, 1))
    pixels = np.random.default_rng(1).integers(0, 256, layout.shape, np.uint8)
    packed = np.empty(layout.bytes, np.uint8)
    tasks: dict[str, Callable[[], object]] = {"packing": lambda: pack_into(packed, pixels, layout)}
    for channels in (1, 2, 4):
        sums, mask = picture(channels)
        judge = judge_for(channels, "patch")
        tasks[f"map, {channels}"] = lambda j=judge, s=sums, m=mask: j.confidence(s, m)  # type: ignore[misc]
    sums, mask = picture(1)
    for score in SCORES:
        judge = judge_for(1, score)

        def decide(judge: Judge = judge) -> object:
            confidence = judge.confidence(sums, mask)
            return judge.deferred(confidence), judge.review(confidence, mask)

        tasks[f"map and decision, {score}"] = decide
    found = medians(tasks)
    for name, milliseconds in found.items():
        print(f"{name:28} {milliseconds:6.3f} ms, {milliseconds / found['packing']:.2f} of packing")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
