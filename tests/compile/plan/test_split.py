"""Layers of few output channels on two word columns at a time: both halves of the rows, alone, pooled and in chains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.plan.chain import plans_of
from hwseg.ir import Graph
from hwseg.rtl.config import EngineConfig, parse_array
from tests.compile.proof import compiled, differences

ARRAYS = ("16x8x8", "16x2x2", "32x4x2", "16x1x8")


def network(height: int, width: int, bits: int = 8) -> Graph:
    """Narrow layers: stored and pooled, fused, after a concatenation, with a head of one class."""
    b = GraphBuilder(height, width, 2, seed=height + width + bits)
    x = b.conv(b.conv("image", 5, bits=bits), 8, bits=bits)
    deep = b.conv(b.conv(b.pool(x), 16, bits=bits), 8, bits=bits)
    x = b.concat(b.conv(deep, 8, 2, bits=bits), x)
    return b.graph(b.sums(b.conv(b.conv(x, 7, bits=bits), 8, bits=bits), 1, 1))


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(("height", "width"), [(4, 16), (12, 32), (6, 48), (26, 64)])
def test_halves_of_the_rows_make_neighbouring_words(array: str, height: int, width: int) -> None:
    program = compiled(network(height, width), parse_array(array))
    assert any(plan.split for plan in plans_of(program.chains))
    for policy in ("eager", "lazy", "random"):
        assert differences(program, policy) == {}


@pytest.mark.parametrize("bits", [1, 3, 4, 6])
def test_any_number_of_planes(bits: int) -> None:
    assert differences(compiled(network(8, 32, bits), parse_array("16x8x8")), "eager") == {}


def test_small_memories_fall_back_to_one_word_at_a_time() -> None:
    tight = replace(EngineConfig(), bank_words=128, psum_steps=16, out_words=64, pool_words=32, loop_words=64)
    assert differences(compiled(network(26, 64), tight), "lazy") == {}


def test_odd_word_columns_and_tails_are_not_split() -> None:
    for width in (24, 20):
        program = compiled(network(8, width), parse_array("16x8x8"))
        assert not any(plan.split for plan in plans_of(program.chains))


def tails(height: int, width: int, bits: int = 8) -> Graph:
    """Layers whose last pass has work for half of the rows or less: fused, pooled, stored, under a raw head."""
    b = GraphBuilder(height, width, 2, seed=height + width + bits)
    x = b.conv(b.conv("image", 24, bits=bits), 20, bits=bits)
    deep = b.conv(b.conv(b.pool(x), 37, bits=bits), 24, bits=bits)
    x = b.concat(b.conv(deep, 24, 2, bits=bits), x)
    return b.graph(b.sums(b.conv(b.conv(x, 24, bits=bits), 40, bits=bits), 9, 1))


@pytest.mark.parametrize("array", ["16x8x8", "16x2x2", "32x4x2"])
@pytest.mark.parametrize(("height", "width"), [(4, 16), (12, 32), (6, 48), (26, 64)])
def test_the_last_pass_alone_is_split_where_only_it_has_few_channels(array: str, height: int, width: int) -> None:
    program = compiled(tails(height, width), parse_array(array))
    assert any(plan.passes[-1].split and not plan.split for plan in plans_of(program.chains))
    for policy in ("eager", "lazy", "random"):
        assert differences(program, policy) == {}


def test_a_split_tail_takes_half_the_steps() -> None:
    b = GraphBuilder(16, 64, 8)
    program = compiled(b.graph(b.conv("image", 24)), parse_array("16x8x8"))
    (plan,) = plans_of(program.chains)
    assert program.timing().walking[plan.index] == 16 * (8 + 4) * 8


def test_tails_with_small_memories() -> None:
    tight = replace(EngineConfig(), bank_words=256, psum_steps=32, out_words=128, pool_words=64, loop_words=64)
    assert differences(compiled(tails(26, 64), tight), "lazy") == {}


def test_a_split_layer_takes_half_the_steps() -> None:
    b = GraphBuilder(16, 64, 8)
    graph = b.graph(b.conv("image", 8))
    program = compiled(graph, parse_array("16x8x8"))
    (plan,) = plans_of(program.chains)
    assert program.timing().walking[plan.index] == 16 * 4 * 8
