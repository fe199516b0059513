"""The nine input banks: rows of words go round in rings, and words of digit planes are read as integers.

A word is 64 bits, 8 pixels x 8 channels of one digit plane.  For 3x3 windows, bank = 3 * (row % 3) + word column % 3,
so that a window's nine words are read at once; three rows make a block, and blocks follow each other in a ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.instruction import Fields
from hwseg.machine.rules import ADDRESSES
from hwseg.rtl.isa import Target


def starts(address: int, pitch: int, count: int, i: Fields) -> np.ndarray:
    """Addresses of `count` row blocks, each behind the one before or at the ring's beginning."""
    found = [address]
    for _ in range(count - 1):
        following = (found[-1] + pitch) % ADDRESSES
        found.append(i["wrap_to"] if following == i["wrap_at"] else following)
    return np.array(found)


@dataclass
class Banks:
    """`words`: uint64 [bank, address]; addresses are modulo a bank's words."""

    words: np.ndarray

    @property
    def depth(self) -> int:
        return int(self.words.shape[1])

    def fill(self, i: Fields, words: np.ndarray) -> None:
        """Words [row, word of the row] go where a LOAD or MOVE says; rows may go round in a ring."""
        rows, word = np.arange(words.shape[0])[:, None], np.arange(words.shape[1])[None, :]
        if i["target"] == Target.POINT:
            first = starts(i["address"], i["pitch"], words.shape[0], i)
            self.words[i["bank"], (first[rows] + word) % self.depth] = words
            return
        b = i["planes"]
        phase, kappa = i["row_phase"] + rows * (1 + i["every_other"]), i["column_phase"] + word // b
        first = starts(i["address"], i["pitch"], int(phase.max()) // 3 + 1, i)
        address = first[phase // 3] + i["column_address"] + kappa // 3 * b + word % b
        self.words[3 * (phase % 3) + kappa % 3, address % self.depth] = words

    def planes(self, bank: int | np.ndarray, address: np.ndarray, count: int) -> np.ndarray:
        """uint64 [..., plane]: `count` words from each address on."""
        at = (address[..., None] + np.arange(count)) % self.depth
        found: np.ndarray = self.words[bank if isinstance(bank, int) else bank[..., None], at]
        return found

    def values(
        self, bank: int | np.ndarray, address: np.ndarray, config: Fields, channels: slice = slice(None)
    ) -> np.ndarray:
        """float64 [..., pixel, channel] whose planes stand at `address` and behind it, as a CONFIG reads them."""
        b = config["planes"]
        words = self.planes(bank, address, b)
        bits = np.unpackbits(np.ascontiguousarray(words, "<u8").view(np.uint8), axis=-1, bitorder="little")
        bits = bits.reshape(*words.shape, 8, 8)[..., channels]
        weight = 2.0 ** np.arange(b - 1, -1, -1)
        if config["signed_in"]:
            weight[0] = -weight[0]
        found: np.ndarray = np.einsum("...bpc,b->...pc", bits, weight)
        return found
