"""What a packed program makes the engine do, layer by layer: counts that follow from its instructions exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.compile.timing import Timing, unpack
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode, Target


@dataclass(frozen=True)
class Traffic:
    """One layer.  cycles: its share of the engine's time.  walking: cycles in which the array steps.

    plane_cycles: cycles in which a plane is executed.  steps, last_steps: of the array, and those of them whose sums go
    to the requantizers.  reloads: tiles taken.  weight_words: pushed into the shadow registers.  window_words: written
    to input banks, from DDR and from the loop memory.  read_words, written_words: of 8 bytes, over the memory port.
    """

    cycles: int
    walking: int
    plane_cycles: int
    steps: int
    last_steps: int
    reloads: int
    weight_words: int
    window_words: int
    read_words: int
    written_words: int


def startup(timing: Timing) -> Traffic:
    """Before the first compute instruction: its words are counted with the layer that they are for."""
    return Traffic(timing.startup, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def traffic(program: bytes, timing: Timing, config: EngineConfig) -> dict[int, Traffic]:
    """Counts of every layer by its number."""
    _, columns = unpack(program)
    rows, run = columns[Opcode.RUN]
    configs, configuration = columns[Opcode.CONFIG]
    current = np.searchsorted(configs, rows) - 1
    steps = run["rows"] * (1 + run["pair"]) * run["columns"] * config.substeps
    loads, moves = columns[Opcode.LOAD][1], columns[Opcode.MOVE][1]
    words = loads["run_words"] * loads["runs"]
    to_banks = (loads["target"] == Target.WINDOW) | (loads["target"] == Target.POINT)

    def by_layer(layer: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(layer, values, minlength=256).astype(np.int64)

    planes = by_layer(run["layer"], steps * configuration["planes"][current])
    every, last = by_layer(run["layer"], steps), by_layer(run["layer"], steps * run["last"])
    reloads = by_layer(run["layer"], run["reload"])
    weights = by_layer(loads["layer"], words * (loads["target"] == Target.WEIGHTS))
    window = by_layer(loads["layer"], words * to_banks) + by_layer(moves["layer"], moves["run_words"] * moves["runs"])
    return {
        n: Traffic(
            cycles=timing.layers[n],
            walking=timing.walking[n],
            plane_cycles=int(planes[n]),
            steps=int(every[n]),
            last_steps=int(last[n]),
            reloads=int(reloads[n]),
            weight_words=int(weights[n]),
            window_words=int(window[n]),
            read_words=timing.read_words[n],
            written_words=timing.write_words[n],
        )
        for n in timing.layers
    }
