"""What units share: the counters in which they meet, and memories that hold noise before the program fills them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.rtl.config import BANKS, EngineConfig


class MachineError(AssertionError):
    """The program breaks a rule of the machine."""


@dataclass
class Counters:
    """Instructions completed since the start; CONFIG is not counted, a MOVE counts as a load."""

    runs: int = 0
    loads: int = 0
    stores: int = 0


def reached(counter: int, wait: int) -> bool:
    """Has a counter come to the `wait` of an instruction, modulo 2**16?"""
    return (counter - wait) & 0xFFFF < 0x8000


def waited_for(counter: int, wait: int) -> int:
    """The whole number that `wait` means, of a counter that has reached it."""
    return counter - (counter - wait & 0xFFFF)


@dataclass(frozen=True)
class Memories:
    """The engine's memories; their words are changed in place.

    banks: uint64 [bank, word].  psums: int64 [step, pixel, row].  out, loop: uint64 [set, parity, word].
    pool: uint64 [set, word].  parameters: uint64 [slot, row, half].  weights: uint64 [word], the ring.
    """

    banks: np.ndarray
    psums: np.ndarray
    out: np.ndarray
    loop: np.ndarray
    pool: np.ndarray
    parameters: np.ndarray
    weights: np.ndarray

    @classmethod
    def noise(cls, config: EngineConfig, random: np.random.Generator) -> Memories:
        """What stands in them at power-up: anything.  The draws come in the order of the fields."""
        c = config

        def words(*shape: int) -> np.ndarray:
            return random.integers(0, 1 << 63, shape, np.uint64)

        return cls(
            banks=words(BANKS, c.bank_words),
            psums=random.integers(-(1 << 34), 1 << 34, (c.psum_steps, c.pixels, c.rows)),
            out=words(c.sets, 2, c.out_words),
            loop=words(c.sets, 2, c.loop_words),
            pool=words(c.sets, c.pool_words),
            parameters=words(c.param_slots, c.rows, 2),
            weights=words(c.weight_words),
        )
