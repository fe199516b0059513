"""The weight ring: where the next tile lies."""

from __future__ import annotations

import numpy as np
import pytest

from hwseg.machine.state import MachineError
from hwseg.machine.weights import WeightRing
from hwseg.rtl.config import parse_array

CONFIG = parse_array("8x4x4")
TILE = CONFIG.tile_words


def ring(tiles: int) -> WeightRing:
    """A ring with tiles of which the number is every weight."""
    found = WeightRing(CONFIG, np.zeros(CONFIG.weight_words, np.uint64))
    for number in range(tiles):
        found.put(np.full(TILE, number * 0x0101010101010101, np.uint64), packed=False)
    return found


def test_a_jump_leads_back_to_any_tile_and_on_to_the_next() -> None:
    weights = ring(3)
    for tile, following in ((0, 2), (2, 1), (1, 0), (0, 3)):
        assert weights.reload({"jump": 1, "tile": following * TILE})
        assert (weights.tables == tile).all()
    assert not weights.reload({"jump": 0, "tile": 0}), "it has not come yet"


def test_a_jump_over_words_that_have_not_come_is_refused() -> None:
    """The mover would take what lies there: it waits where it is for the next word only."""
    for ahead in (1, TILE, CONFIG.weight_words - 2 * TILE - 1):
        with pytest.raises(MachineError, match="behind words that have not come"):
            ring(2).reload({"jump": 1, "tile": 2 * TILE + ahead})
