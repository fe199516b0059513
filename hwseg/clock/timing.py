"""What the clock says of a frame: cycles in total and by layer, why the array stood still, words moved.

`predict` reads the packed program and nothing else; `clock` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.clock.clock import Clock
from hwseg.clock.columns import layers_of, steps_of, unpack
from hwseg.clock.constants import LATENCY, Constants
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode

STARTUP = "start-up"
"""What the time before the first compute instruction is called, where layers have names."""

CAUSES = ("dispatch", "input", "output", "weights", "reload", "turn")
"""Why the array stands still: no instruction yet; words not landed; output memory not emptied; weight tile not there;
tables loading; the cycles that every instruction takes and, at the end, the pipelines' run-out.
"""


@dataclass(frozen=True)
class Timing:
    """total: cycles the engine is busy.  startup: before the first compute instruction.  layers: cycles by layer.

    read_words, write_words: by layer; program pages count for the layer that was being issued.
    stalls: by layer, cycles in which the array did not walk, by `CAUSES`.
    """

    total: int
    startup: int
    layers: dict[int, int]
    read_words: dict[int, int]
    write_words: dict[int, int]
    walking: dict[int, int]
    stalls: dict[int, dict[str, int]]

    @classmethod
    def of(cls, clock: Clock) -> Timing:
        """Of a clock that has run.  A layer's cycles: from each of its compute instructions to the next one."""
        compute = clock.compute
        layer = layers_of(clock.opcodes, clock.columns, Opcode.CONFIG, Opcode.RUN)
        numbers = list(dict.fromkeys(layer.tolist()))
        taken = np.array(compute.taken)
        layers = _sums(numbers, layer, np.append(taken[1:], clock.total) - taken)
        walking = _walking(clock, sorted(numbers))
        runs = clock.columns[Opcode.RUN][1]
        causes = {
            "dispatch": _sums(numbers, layer[1:], taken[1:] - np.array(compute.ends[:-1], np.int64)),
            "input": _sums(numbers, layer, compute.input_waits),
            "output": _sums(numbers, layer, compute.output_waits),
            "weights": _sums(numbers, layer, compute.weight_waits),
            "reload": _sums(numbers, runs["layer"], runs["reload"] * (clock.constants.reload - 1)),
        }
        stalls = {n: {cause: cycles[n] for cause, cycles in causes.items()} for n in numbers}
        for n, found in stalls.items():
            found["turn"] = layers[n] - walking[n] - sum(found.values())
        read, written = (_words(clock, opcode, sorted(numbers)) for opcode in (Opcode.LOAD, Opcode.STORE))
        return cls(clock.total, compute.taken[0], layers, read, written, walking, stalls)


def _sums(numbers: Sequence[int], layer: np.ndarray, values: np.ndarray | Sequence[int]) -> dict[int, int]:
    """By layer of `numbers`, the sum of its values; `layer` and `values` by instruction."""
    sums = np.bincount(layer, values, minlength=256)
    return {n: int(sums[n]) for n in numbers}


def _words(clock: Clock, opcode: Opcode, numbers: Sequence[int]) -> dict[int, int]:
    """Words that LOADs or STOREs move."""
    f = clock.columns[opcode][1]
    return _sums(numbers, f["layer"], f["run_words"] * f["runs"])


def _walking(clock: Clock, numbers: Sequence[int]) -> dict[int, int]:
    """Cycles in which the array steps, from the instructions' fields alone."""
    rows, f = clock.columns[Opcode.RUN]
    configs, g = clock.columns[Opcode.CONFIG]
    current = np.searchsorted(configs, rows) - 1
    interval = np.where(f["last"] == 1, g["last_interval"][current], g["interval"][current])
    cycles = steps_of(clock.columns, clock.config.substeps) * interval
    if clock.saved is not None:
        cycles = cycles - np.asarray(clock.saved)
    return _sums(numbers, f["layer"], cycles)


def predict(program: bytes, config: EngineConfig, latency: int = LATENCY, saved: Sequence[int] | None = None) -> Timing:
    """The engine's clock, instruction by instruction.

    saved: cycles that each RUN takes less than a dense one, in order (`hwseg.machine.machine.Machine.saved`).
    """
    opcodes, columns = unpack(program)
    return Timing.of(Clock(opcodes, columns, config, Constants.of(config, latency), saved).run())
