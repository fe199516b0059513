"""Weights of four bits lie two in a byte: half the words in memory, the same sums."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.emit.parameters import packed
from hwseg.compile.plan.chain import plans_of
from hwseg.ir import Graph
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences


def narrow(height: int, width: int, weight_bits: int = 4) -> Graph:
    """Layers of narrow weights among wide ones; corners -8 and 7 in every one of them."""
    b = GraphBuilder(height, width, 3)
    x = b.conv(b.conv("image", 9, weight_bits=weight_bits), 20, weight_bits=weight_bits)
    x = b.conv(b.conv(b.pool(x), 12), 8, 2, weight_bits=weight_bits)
    return b.graph(b.sums(b.conv(x, 8, weight_bits=weight_bits), 1, 1))


@pytest.mark.parametrize("array", ["8x8x8", "16x8x8", "8x4x4", "8x1x1", "16x2x2"])
@pytest.mark.parametrize("policy", ["eager", "lazy"])
def test_packed_weights_compute_the_same(array: str, policy: str) -> None:
    program = compiled(narrow(12, 32), parse_array(array))
    plans = list(plans_of(program.chains))
    assert any(plan.packed for plan in plans)
    assert not all(plan.packed for plan in plans)
    assert differences(program, policy) == {}


def test_five_bits_are_not_packed() -> None:
    program = compiled(narrow(12, 32, 5), parse_array("8x8x8"))
    assert not any(plan.packed for plan in plans_of(program.chains))


def test_half_the_bytes() -> None:
    sizes = [len(compiled(narrow(12, 32, bits), parse_array("8x8x8")).weights) for bits in (4, 8)]
    b = GraphBuilder(8, 8, 64)
    wide = compiled(b.graph(b.conv("image", 64, weight_bits=8)), parse_array("8x8x8")).weights
    b = GraphBuilder(8, 8, 64)
    slim = compiled(b.graph(b.conv("image", 64, weight_bits=4)), parse_array("8x8x8")).weights
    parameters = 64 * 16
    assert len(slim) - parameters == (len(wide) - parameters) // 2
    assert sizes[0] < sizes[1]


def test_all_pairs_of_weights() -> None:
    values = np.arange(-8, 8, dtype=np.int8)
    tile = np.stack(np.meshgrid(values, values), axis=-1).reshape(-1).astype(np.int8)
    folded = packed(tile.view(np.uint8))
    assert len(folded) == len(tile) // 2
    assert ((folded & 15 ^ 8).astype(int) - 8 == tile[0::2]).all()
    assert ((folded >> 4 ^ 8).astype(int) - 8 == tile[1::2]).all()
