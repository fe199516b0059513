"""Weight tiles that stay in the ring: loaded once where all fit, again for each strip where not, never written over."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.clock.columns import unpack
from hwseg.clock.weights import jumped
from hwseg.compile.emit.rings import WeightSpaces
from hwseg.compile.program import Program
from hwseg.ir import Graph
from hwseg.machine.state import MachineError
from hwseg.rtl.config import EngineConfig, parse_array
from hwseg.rtl.isa import Opcode, Target
from tests.compile.proof import compiled, differences
from tests.machine.test_machine import without


def narrow(height: int = 48, width: int = 64, weight_bits: int = 8) -> Graph:
    """Three layers of few tiles, at a size at which they run fused in many strips."""
    b = GraphBuilder(height, width, 3, seed=height)
    x = b.conv(b.conv("image", 8, weight_bits=weight_bits), 8, weight_bits=weight_bits)
    return b.graph(b.conv(x, 8, weight_bits=weight_bits))


def loaded(program: Program) -> int:
    """Weight tiles that come from memory."""
    loads = unpack(program.program)[1][Opcode.LOAD][1]
    return int((loads["target"] == Target.WEIGHTS).sum())


def tiles(program: Program) -> int:
    return sum(len(p.tiles) for plan in program.plans for p in plan.passes)


def reloads(program: Program) -> int:
    return int(unpack(program.program)[1][Opcode.RUN][1]["reload"].sum())


@pytest.mark.parametrize("weight_bits", [4, 8])
@pytest.mark.parametrize("array", ["16x8x8", "8x8x8", "8x4x8"])
def test_tiles_that_fit_are_loaded_once(array: str, weight_bits: int) -> None:
    program = compiled(narrow(weight_bits=weight_bits), replace(parse_array(array), bank_words=512))
    assert loaded(program) == tiles(program) < reloads(program)
    for policy in ("eager", "lazy", "random"):
        assert differences(program, policy) == {}


def test_tiles_that_do_not_fit_come_again() -> None:
    config = replace(parse_array("8x8x8"), bank_words=512, weight_words=128)
    program = compiled(narrow(), config)
    assert loaded(program) == reloads(program) > tiles(program)
    assert differences(program, "eager") == {}


@pytest.mark.parametrize("policy", ["eager", "lazy", "random"])
def test_what_follows_kept_tiles_does_not_write_over_them(policy: str) -> None:
    """Layers of few tiles and of many take turns, so kept tiles stand anywhere in the ring."""
    b = GraphBuilder(32, 32, 3, seed=4)
    x = b.conv(b.conv("image", 8), 8)
    deep = b.conv(b.conv(b.pool(x), 48), 8)
    x = b.conv(b.concat(b.up(deep), x), 8)
    graph = b.graph(b.conv(b.conv(b.conv(b.pool(x), 40), 16), 8))
    for words in (256, 512, 1024):
        config = replace(parse_array("8x8x8"), bank_words=512, weight_words=words)
        assert differences(compiled(graph, config), policy, seed=words) == {}


@pytest.mark.parametrize("field", ["jump", "tile"])
def test_a_run_that_does_not_say_where_the_next_tile_lies_is_seen(field: str) -> None:
    program = compiled(narrow(), replace(parse_array("8x8x8"), bank_words=512))
    with contextlib.suppress(MachineError):
        assert differences(replace(program, program=without(program.program, Opcode.RUN, field)), "random")


def test_places_in_the_ring() -> None:
    spaces = WeightSpaces(100)
    assert spaces.find((0, 0, 0), 40, 0) == (0, 0)
    assert spaces.find((0, 0, 1), 40, 1) == (40, 0)
    # The third one lies over the first half of tile 0, which RUN 0 has read when one RUN is complete.
    assert spaces.find((0, 0, 2), 40, 2) == (80, 1)
    assert spaces.find((0, 0, 3), 40, 3) == (120, 2)


def test_a_tile_over_two_kept_ones_waits_for_the_later_use_of_both() -> None:
    spaces = WeightSpaces(100)
    with spaces.keeping([]):
        spaces.find((0, 0, 0), 20, 0)
        spaces.find((0, 0, 1), 20, 1)
        spaces.find((0, 0, 0), 20, 7)
    assert spaces.find((1, 0, 0), 60, 8) == (40, 0)
    assert spaces.find((1, 0, 1), 40, 9) == (100, 8)


def test_a_position_counts_modulo_twice_the_ring() -> None:
    config = EngineConfig()
    words = config.weight_words
    for position in (0, 5, words - 1, words, 3 * words + 7):
        for step in (-words, -words + 1, -1, 0, 1, words - 1):
            if position + step >= 0:
                assert jumped(position, (position + step) % (2 * words), config) == position + step
