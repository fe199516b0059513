"""What a packed program makes the engine do, layer by layer: counts that follow from its instructions exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.clock.columns import unpack
from hwseg.clock.timing import Timing
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode, Target


@dataclass(frozen=True)
class Traffic:
    """One layer.  cycles: its share of the engine's time.  walking: cycles in which the array steps.

    plane_cycles: cycles in which a plane is executed.  steps, first_steps, last_steps: of the array, those of them
    whose partial sums start at zero, and those whose sums go to the requantizers.  reloads: tiles taken.  ring_words:
    read from the weight ring, half as many where weights are packed; ring_written: loaded into it, fewer where tiles
    stay.  weight_words: pushed into the shadow registers.
    window_words: written to input banks, from DDR and from the loop memory.  moved_steps: cycles in which the loop
    memory is read.  read_words, written_words: of 8 bytes, over the memory port; pool_words: of those written, from
    pool memories.  waiting_steps: whose centre words wait for a residual addition of the next RUN.
    """

    cycles: int
    walking: int
    plane_cycles: int
    steps: int
    first_steps: int
    last_steps: int
    reloads: int
    ring_words: int
    ring_written: int
    weight_words: int
    window_words: int
    moved_steps: int
    read_words: int
    written_words: int
    pool_words: int
    waiting_steps: int = 0


def startup(timing: Timing) -> Traffic:
    """Before the first compute instruction: its words are counted with the layer that they are for."""
    return Traffic(timing.startup, *(0,) * 14)


def traffic(program: bytes, timing: Timing, config: EngineConfig) -> dict[int, Traffic]:
    """Counts of every layer by its number."""
    _, columns = unpack(program)
    rows, run = columns[Opcode.RUN]
    configs, configuration = columns[Opcode.CONFIG]
    current = np.searchsorted(configs, rows) - 1
    steps = run["rows"] * (1 + run["pair"]) * run["columns"] * config.substeps
    loads, moves, stores = (columns[kind][1] for kind in (Opcode.LOAD, Opcode.MOVE, Opcode.STORE))
    words, moved, stored = (one["run_words"] * one["runs"] for one in (loads, moves, stores))
    to_banks = (loads["target"] == Target.WINDOW) | (loads["target"] == Target.POINT)

    def by_layer(layer: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(layer, values, minlength=256).astype(np.int64)

    planes = by_layer(run["layer"], steps * configuration["planes"][current])
    every, first, last = (by_layer(run["layer"], steps * one) for one in (1, run["first"], run["last"]))
    reloads = by_layer(run["layer"], run["reload"])
    waiting = by_layer(run["layer"], steps * run["residual"] * (1 - run["residual_set"]))
    to_ring = loads["target"] == Target.WEIGHTS
    ring = by_layer(loads["layer"], words * to_ring)
    packed = by_layer(loads["layer"], to_ring * loads["every_other"]) > 0
    # two word columns in a step of a MOVE in 3x3 order
    window = by_layer(loads["layer"], words * to_banks)
    window += by_layer(moves["layer"], moved * (1 + (moves["target"] == Target.WINDOW)))
    moves_steps = by_layer(moves["layer"], moved)
    pooled = by_layer(stores["layer"], stored * stores["pool"])
    return {
        n: Traffic(
            cycles=timing.layers[n],
            walking=timing.walking[n],
            plane_cycles=int(planes[n]),
            steps=int(every[n]),
            first_steps=int(first[n]),
            last_steps=int(last[n]),
            reloads=int(reloads[n]),
            ring_words=int(reloads[n]) * config.stored_words(bool(packed[n])),
            ring_written=int(ring[n]),
            weight_words=int(reloads[n]) * config.tile_words,
            window_words=int(window[n]),
            moved_steps=int(moves_steps[n]),
            read_words=timing.read_words[n],
            written_words=timing.write_words[n],
            pool_words=int(pooled[n]),
            waiting_steps=int(waiting[n]),
        )
        for n in timing.layers
    }
