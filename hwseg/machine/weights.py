"""The weight ring, and the tile of it that stands in the tables."""

from __future__ import annotations

import numpy as np

from hwseg.clock.weights import jumped
from hwseg.machine.instruction import Fields
from hwseg.machine.rules import rule
from hwseg.rtl.config import EngineConfig


class WeightRing:
    """`words`: uint64 [word].  tables: float64 [row, lane], the weights that a RUN multiplies by."""

    def __init__(self, config: EngineConfig, words: np.ndarray) -> None:
        self.config = config
        self.words = words
        self.packed = np.zeros(len(words), bool)
        """Words that hold weights of four bits."""
        self.head = self.tail = 0
        """Words put in and taken since the start."""
        self.tables = np.zeros((config.rows, config.lanes), np.float64)

    def put(self, words: np.ndarray, packed: bool) -> None:
        """The next words of the ring; packed: two weights of four bits in a byte."""
        places = (self.head + np.arange(words.size)) % len(self.words)
        self.words[places], self.packed[places] = words, packed
        self.head += words.size

    def reload(self, i: Fields) -> bool:
        """The tile at the ring's tail fills the tables; False if it is not there yet.

        Nothing tells of a tile that was written over: it gives wrong sums.  A jump may lead to the words that come
        next, but not over words that are still to come: the mover would not wait for them.
        """
        c = self.config
        packed = bool(self.packed[self.tail % len(self.words)])
        size = c.stored_words(packed)
        if self.head - self.tail < size:
            return False
        words = self.words[(self.tail + np.arange(size)) % len(self.words)]
        self.tail = jumped(self.tail, i["tile"], c) if i["jump"] else self.tail + size
        rule(self.tail <= self.head, "a tile is wanted from behind words that have not come")
        if packed:
            nibbles = np.stack([words.view(np.uint8) & 15, words.view(np.uint8) >> 4], axis=-1).reshape(-1)
            words = ((nibbles ^ 8).view(np.int8) - 8).astype(np.int8).view(np.uint64)[: c.tile_words]
        self.tables = words.view(np.int8).reshape(c.rows, -1)[:, : c.lanes].astype(np.float64)
        return True
