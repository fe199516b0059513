"""Bilinear enlarging, edges included, from layers that the engine has: every stored map ==, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.explain import INSTEAD
from hwseg.compile.lower import bilinear
from hwseg.compile.lower.dial import turned
from hwseg.compile.lower.lowering import lower
from hwseg.quant.read.load import load
from hwseg.rtl.config import EngineConfig, parse_array
from tests.compile.proof import compiled, differences


def small(config: EngineConfig) -> EngineConfig:
    """Memories so small that a map takes several strips."""
    return replace(config, bank_words=256, psum_steps=64, out_words=64, pool_words=64, param_slots=16)


def enlarged(height: int, width: int, channels: int, *, signed: bool = False, bits: int = 8) -> GraphBuilder:
    """A map, bilinear beside nearest, joined."""
    b = GraphBuilder(height, width, 3, seed=width)
    x = b.conv("image", channels, bits=bits, signed=signed)
    b.conv(b.concat(b.bilinear(x, bits), b.up(x)), 4)
    return b


@pytest.mark.parametrize("array", ["8x8x8", "16x4x4", "8x2x1"])
@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(1, 1, 3), (2, 3, 9), (3, 4, 5), (4, 5, 20), (3, 8, 8), (6, 9, 3), (2, 12, 17), (9, 20, 8), (3, 37, 2)],
)
def test_every_width_of_the_last_word(array: str, height: int, width: int, channels: int) -> None:
    b = enlarged(height, width, channels)
    graph = b.graph(b.nodes[-1].output)
    for config in (parse_array(array), small(parse_array(array))):
        assert differences(compiled(graph, config), "random") == {}


@pytest.mark.parametrize("policy", ["eager", "lazy"])
@pytest.mark.parametrize("bits", [8, 5])
@pytest.mark.parametrize("signed", [False, True])
def test_signs_word_lengths_and_orders(policy: str, bits: int, signed: bool) -> None:
    b = enlarged(5, 18, 10, signed=signed, bits=bits)
    assert differences(compiled(b.graph(b.nodes[-1].output), parse_array("8x8x8")), policy) == {}


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 8))])
def test_random_unets(seed: int, tmp_path: Path) -> None:
    models = pytest.importorskip("tests.quant.models")
    graph = load(models.random_unet(seed, tmp_path, upsampling="bilinear"))
    array = parse_array(("8x8x8", "16x4x4", "8x2x2", "16x8x8-dsp")[seed % 4])
    for config in (array, small(array)):
        assert differences(compiled(graph, config), "random", seed) == {}


def forms() -> dict[str, GraphBuilder]:
    found: dict[str, GraphBuilder] = {}

    def new(name: str) -> GraphBuilder:
        found[name] = GraphBuilder(6, 20, 3, seed=len(found))
        return found[name]

    b = new("of a concat")
    b.conv(b.bilinear(b.concat("image", b.conv("image", 7))), 4)
    b = new("of an enlarged map")
    b.conv(b.bilinear(b.up(b.conv("image", 5))), 4)
    b = new("of the enlarged map")
    b.conv(b.bilinear(b.bilinear(b.conv("image", 5))), 4)
    b = new("then pooled, then enlarged by nearest")
    y = b.bilinear(b.conv("image", 5))
    b.conv(b.up(b.pool(y)), 4)
    b = new("two quantizers of one map")
    x = b.conv("image", 5)
    b.conv(b.concat(b.bilinear(x), b.bilinear(x, 4)), 4)
    b = new("of 4 bits, without a quantizer")
    x = b.conv("image", 5, bits=4)
    b.conv(b.concat(b.sixteenths(x), b.up(x)), 3)
    b = new("of 4 bits is the head")
    b.sixteenths(b.conv("image", 5, bits=4))
    b = new("is the head")
    b.bilinear(b.conv("image", 5))
    b = new("before a 1x1 head")
    b.sums(b.bilinear(b.conv("image", 9)), 1, 1)
    b = new("of the picture")
    b.sums(b.bilinear("image"), 2)
    return found


@pytest.mark.parametrize("name", forms())
def test_every_form_of_graph(name: str) -> None:
    b = forms()[name]
    graph = b.graph(b.nodes[-1].output)
    for array in ("16x8x8", "8x4x4"):
        assert differences(compiled(graph, parse_array(array)), "random") == {}


def test_names_that_a_model_has_taken() -> None:
    b = GraphBuilder(3, 20, 3)
    x = b.conv("image", 4)
    b.conv(b.bilinear(x), 4)
    taken = b.requantize(x, Fraction(1, 2), 0, 255)
    whole = b.graph(b.conv(b.concat(b.nodes[-2].output, b.up(taken)), 3))

    def renamed(name: str) -> str:
        return f"{x}/left" if name == taken else name

    nodes = tuple(replace(n, inputs=tuple(map(renamed, n.inputs)), output=renamed(n.output)) for n in whole.nodes)
    graph = replace(whole, nodes=nodes, types={renamed(name): kind for name, kind in whole.types.items()})
    assert f"{x}/left" in graph.types
    assert differences(compiled(graph, parse_array("8x8x8"))) == {}


def test_a_narrow_map_before_a_1x1_head() -> None:
    for width in (1, 4, 5):
        b = GraphBuilder(3, width, 3)
        graph = b.graph(b.sums(b.bilinear(b.conv("image", 9)), 1, 1))
        assert differences(compiled(graph, parse_array("16x8x8")), "random") == {}


@pytest.mark.parametrize("planes", [6, 4])
def test_with_the_accuracy_dial(planes: int) -> None:
    b = enlarged(5, 12, 10)
    graph = turned(b.graph(b.nodes[-1].output), planes)
    assert differences(compiled(graph, parse_array("8x8x8"))) == {}


def test_a_word_column_between_the_edges_reads_nothing_more() -> None:
    """Only the two layers at the edges have an operand more, and each makes one word column."""
    b = enlarged(4, 20, 8)
    network, _ = lower(b.graph(b.nodes[-1].output))
    made = {layer.name: layer for layer in network.layers if layer.op == "bilinear"}
    columns = {name.split("/")[-1]: layer.columns for name, layer in made.items()}
    assert columns == {"left": (0, 1), "inner": (1, 4), "right": (4, 5)}
    assert [len(layer.operands) for layer in made.values()] == [2, 1, 2]
    inner = next(layer for name, layer in made.items() if name.endswith("inner"))
    np.testing.assert_array_equal(inner.weights[3, 3], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert not inner.weights[3, :3].any()


def test_what_would_help_is_another_upsampling() -> None:
    b = enlarged(4, 20, 8)
    program = compiled(b.graph(b.nodes[-1].output), parse_array("8x8x8"))
    told = {row.layer.split("/")[-1]: row.help for row in program.explain()}
    of_it = [told[name] for name in ("left", "inner", "right", "ones", "left edge", "right edge")]
    assert sorted(filter(None, of_it)) == [max(of_it)]
    assert max(of_it).startswith(f"{INSTEAD['bilinear']}: 6 layers, ")
    assert not told["Conv2d_0"].startswith(INSTEAD["bilinear"])


def test_pieces_cover_the_map_once() -> None:
    for width in range(1, 100):
        made = [column for piece in bilinear.pieces(width) for column in range(*piece.columns)]
        assert made == list(range(-(-2 * width // 8)))
        first, end = bilinear.right_columns(width)
        assert (first, end) == (max(0, 8 * made[-1] - 1) // 2 // 8, -(-width // 8))


@pytest.mark.parametrize("array", ["8x8x8", "16x4x4", "8x2x1"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 1), (3, 4, 2), (2, 9, 9), (4, 20, 3)])
def test_sums_of_an_enlarged_map_at_the_end(array: str, signed: bool, height: int, width: int, channels: int) -> None:
    """Two maps of 8 bits hold the 12 bits of the sums; of a map that has few bits they are one."""
    for bits in (8, 4, 2):
        b = GraphBuilder(height, width, 3, seed=width)
        b.bilinear(b.conv("image", channels, bits=bits, signed=signed))
        graph = b.graph(b.nodes[-2].output)
        assert differences(compiled(graph, parse_array(array)), "random") == {}


def test_gate_closes_for_every_pixel() -> None:
    assert bilinear.ONES * bilinear.GATE + 255 <= 0
    assert bilinear.clamping(0, 2, 2).offset == (Fraction(2),)
