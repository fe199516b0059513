"""When are weights there?  Tiles land in the weight ring and move into the shadow registers one word a cycle."""

from __future__ import annotations

from hwseg.clock.constants import MOVED, Constants
from hwseg.rtl.config import EngineConfig


def jumped(position: int, tile: int, config: EngineConfig) -> int:
    """Where the weight ring is read on from `position`, counted from the start, when a RUN names `tile`."""
    around = 2 * config.weight_words
    ahead = (tile - position) % around
    return position + ahead - (around if ahead >= config.weight_words else 0)


class Weights:
    """tiles: by place in the ring, counted from the start: when a tile's last word landed, and the tile's words."""

    def __init__(self, config: EngineConfig, constants: Constants) -> None:
        self.config, self.constants = config, constants
        self.tiles: dict[int, tuple[int, int]] = {}
        self.written = self.read = 0
        """Places."""
        self.free = 0
        """When the shadow registers may change."""

    @property
    def there(self) -> bool:
        """Is it known when the next tile lands?"""
        return self.read in self.tiles

    def put(self, beats: int, packed: bool, landed: int) -> None:
        """A LOAD's tiles, the last word of which lands in that cycle."""
        # A packed word takes two cycles into the chain, so half of the last tile waits behind its words.
        size = self.config.stored_words(packed)
        late = size if packed else 0
        for words in range(size, beats + 1, size):
            self.tiles[self.written] = landed - beats + words + late, size
            self.written += size

    def reload(self, ready: int, jump: int, tile: int) -> int:
        """The tile goes into the tables for a RUN that is ready: when that starts.  jump, tile: the RUN's fields."""
        arrived, words = self.tiles[self.read]
        start = max(ready, self.free + self.config.tile_words, arrived + MOVED)
        self.read = jumped(self.read, tile, self.config) if jump else self.read + words
        self.free = start + 1 + self.constants.hold
        return start
