"""Pictures whose rows and columns are stored as channels: weights, layout, who may read them, and the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.lower.fold import FOLDS, GAIN, foldings
from hwseg.compile.lower.head import fuse_head
from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.lower.lowering import lower
from hwseg.compile.plan.planner import Planner
from hwseg.compile.plan.variants import plan_cheapest
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.layout import Fold, TensorLayout, folded, pack_tensor, unfolded, unpack_tensor
from hwseg.rtl.config import EngineConfig, parse_array
from hwseg.rtl.isa import Opcode, Scatter
from tests.compile.folding import force
from tests.compile.proof import compiled, differences

ARRAYS = ("8x8x8", "8x4x4", "16x8x8", "8x2x2", "8x1x1", "8x8x8-merged", "24x8x4", "32x4x2")
CYCLES_PER_WORD = 0.8


def two_layers(height: int, width: int, channels: int, out: int = 8, bits: int = 8) -> Graph:
    """The picture's layer, a second one that reads its map from the banks, and that map's pool."""
    b = GraphBuilder(height, width, channels, seed=height + width + channels)
    x = b.conv(b.conv("image", out, bits=bits), 8, bits=bits)
    deep = b.conv(b.conv(b.pool(x), 9, bits=bits), 8, 2, bits=bits)
    return b.graph(b.sums(b.conv(b.concat(deep, x), 8, bits=bits), 1, 1))


def network_of(b: GraphBuilder) -> Network:
    return lower(b.graph(b.nodes[-1].output))[0]


def convolved(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """int64 [row, column, out] of a 3x3 convolution with zeros around, written out."""
    height, width, _ = x.shape
    padded = np.pad(x.astype(np.int64), ((1, 1), (1, 1), (0, 0)))
    taps = [
        padded[ky : ky + height, kx : kx + width] @ weights[:, :, ky, kx].T.astype(np.int64)
        for ky in range(3)
        for kx in range(3)
    ]
    return np.asarray(sum(taps))


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_phases_of_a_folded_layer_make_the_convolution(fold: Fold, channels: int) -> None:
    """Every single weight for itself, so every sum of them; maps down to one folded pixel."""
    down, across = fold
    shapes = [(down * rows, across * columns) for rows in (1, 2, 3) for columns in (1, 2, 4)]
    weights = np.eye(9 * channels, dtype=np.int8).reshape(-1, channels, 3, 3)
    b = GraphBuilder(4, 4, channels)
    b.conv("image", 9 * channels)
    layer = replace(network_of(b).layers[0], weights=weights, fold=fold)
    for number, (height, width) in enumerate(shapes):
        x = np.random.default_rng(number).integers(0, 256, (height, width, channels))
        expected, found = convolved(x, weights), np.full((height, width, 9 * channels), -1, np.int64)
        for row in range(layer.row_phases):
            for column in range(layer.column_phases):
                found[row::down, column::across] = convolved(folded(x, fold), layer.phase(row, column))
        assert np.array_equal(found, expected), (height, width)


def test_a_transposed_convolution_has_the_phases_of_its_kernel() -> None:
    b = GraphBuilder(4, 4, 3)
    b.conv("image", 5, 2)
    layer = network_of(b).layers[0]
    assert (layer.row_phases, layer.column_phases, layer.run_shape) == (2, 2, (4, 4))
    for row, column in np.ndindex(2, 2):
        assert np.array_equal(layer.phase(row, column)[:, :, 0, 0], layer.weights[:, :, row, column])


@pytest.mark.parametrize("fold", [(1, 1), *FOLDS, (4, 1), (1, 2)])
@pytest.mark.parametrize(("planes", "signed"), [(8, False), (8, True), (5, False), (1, False)])
def test_a_folded_tensor_is_packed_and_found_again(fold: Fold, planes: int, signed: bool) -> None:
    shape = (8, 20, 3)
    low = -(1 << planes - 1) if signed else 0
    values = np.random.default_rng(planes).integers(low, low + (1 << planes), shape)
    layout = TensorLayout(shape, planes, signed, fold)
    image = pack_tensor(values, layout)
    assert len(image) == layout.bytes == layout.rows * layout.row_bytes
    assert np.array_equal(unpack_tensor(image, layout), values)
    assert np.array_equal(unfolded(folded(values, fold), fold), values)
    # It lies as an unfolded tensor of the stored shape does.
    assert image == pack_tensor(folded(values, fold), TensorLayout(layout.stored_shape, planes, signed))
    assert TensorLayout.from_json(layout.to_json()) == layout


def test_where_a_pixel_lies() -> None:
    layout = TensorLayout((4, 16, 2), 8, False, (2, 2))
    values = np.zeros(layout.shape, int)
    values[3, 5, 1] = 1
    (at,) = np.flatnonzero(np.frombuffer(pack_tensor(values, layout), np.uint8))
    # Row 3 // 2, pixel 5 // 2, channel (1 * 2 + 1) * 2 + 1, the last plane.
    assert at == layout.offset(1, 0, 0) + 7 * 8 + 2
    assert pack_tensor(values, layout)[at] == 1 << 7


def test_layouts_of_older_files_are_not_folded() -> None:
    entry = TensorLayout((4, 16, 2), 8, False).to_json()
    del entry["fold"]
    assert TensorLayout.from_json(entry).fold == (1, 1)


@pytest.mark.parametrize(
    ("height", "width", "channels", "ways"),
    [
        (8, 16, 1, [(2, 1), (2, 2)]),
        (8, 16, 2, [(2, 1), (2, 2)]),
        (8, 16, 3, [(2, 1)]),
        (8, 16, 4, [(2, 1)]),
        (8, 17, 1, [(2, 1)]),
        (8, 16, 5, []),
        (9, 16, 1, []),
    ],
)
def test_ways_follow_from_the_pictures_shape(height: int, width: int, channels: int, ways: list[Fold]) -> None:
    b = GraphBuilder(height, width, channels)
    b.conv(b.conv("image", 8), 8)
    assert [found.tensors["image"].fold for found in foldings(network_of(b))] == ways


READERS: dict[str, tuple[Callable[[GraphBuilder], object], bool]] = {
    "two convolutions": (lambda b: b.concat(b.conv("image", 3), b.conv("image", 9)), True),
    "convolution and head": (lambda b: b.sums(b.conv("image", 3), 3, 1), True),
    "stride 2": (lambda b: b.conv("image", 3, stride=2), False),
    "1x1": (lambda b: b.conv("image", 3, 1), False),
    "transposed": (lambda b: b.conv("image", 3, 2), False),
    "pooled": (lambda b: b.conv(b.pool(b.conv("image", 3)), 3), False),
    "sums": (lambda b: b.sums("image", 3), False),
    "enlarged": (lambda b: b.conv(b.up("image"), 3), False),
    "bilinear": (lambda b: b.conv(b.bilinear("image"), 3), False),
    "with another operand": (lambda b: b.conv(b.concat("image", b.conv("image", 3)), 3), False),
    "twice the same operand": (lambda b: b.conv(b.concat("image", "image"), 3), False),
    "pool of the picture": (lambda b: b.concat(b.up(b.pool("image")), b.conv("image", 3)), False),
    "convolution and 1x1": (lambda b: b.concat(b.conv("image", 3), b.conv("image", 3, 1)), False),
}


@pytest.mark.parametrize("name", READERS)
def test_all_that_reads_the_picture_must_be_able_to(name: str) -> None:
    make, able = READERS[name]
    b = GraphBuilder(8, 16, 1)
    make(b)
    assert bool(list(foldings(network_of(b)))) == able
    for array in ("8x8x8", "16x8x8"):
        assert differences(compiled(b.graph(b.nodes[-1].output), parse_array(array))) == {}


def small(config: EngineConfig) -> EngineConfig:
    return replace(config, bank_words=256, psum_steps=64, out_words=64, pool_words=64, param_slots=16)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    ("height", "width", "channels", "out", "fold"),
    [
        (2, 2, 1, 1, (2, 2)),
        (12, 40, 1, 8, (2, 2)),
        (26, 18, 2, 11, (2, 2)),
        (2, 7, 3, 3, (2, 1)),
        (10, 37, 1, 17, (2, 1)),
        (22, 32, 3, 8, (2, 1)),
        (14, 24, 4, 20, (2, 1)),
    ],
)
def test_single_layers_and_those_that_follow(
    array: str, height: int, width: int, channels: int, out: int, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, fold)
    alone = GraphBuilder(height, width, channels, seed=out)
    alone.conv("image", out, signed=out % 2 == 0)
    graphs = [alone.graph(alone.nodes[-1].output)]
    if width % 2 == 0:
        graphs.append(two_layers(height, width, channels, out))
    for graph in graphs:
        for config in (parse_array(array), small(parse_array(array))):
            program = compiled(graph, config)
            assert program.memory.layouts["image"].fold == fold
            for policy in ("eager", "random"):
                assert differences(program, policy) == {}, (config, policy)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize(("bits", "low", "high"), [(8, -128, 127), (4, 0, 15), (1, 0, 1), (5, -16, 15)])
def test_any_planes_and_signed_pictures(fold: Fold, bits: int, low: int, high: int, monkeypatch) -> None:
    force(monkeypatch, fold)
    b = GraphBuilder(12, 48, 2, seed=bits, low=low, high=high)
    graph = b.graph(b.sums(b.conv(b.conv("image", 8, bits=bits), 8, bits=bits), 1, 1))
    for array in ("8x8x8", "16x8x8", "32x4x2"):
        assert differences(compiled(graph, parse_array(array)), "random") == {}


@pytest.mark.parametrize("fold", FOLDS)
def test_a_folded_picture_takes_fewer_words_and_the_walk_as_many_cycles(fold: Fold, monkeypatch) -> None:
    graph, config = two_layers(16, 64, 1), parse_array("16x8x8")
    force(monkeypatch, (1, 1))
    plain = compiled(graph, config)
    force(monkeypatch, fold)
    program = compiled(graph, config)
    words = program.memory.layouts["image"].bytes
    assert words * fold[0] * fold[1] == plain.memory.layouts["image"].bytes
    assert program.timing().walking[0] == plain.timing().walking[0]
    assert len(program.chains[0].stages) > 1, "its map goes to the next layer without DDR"


def test_with_two_column_phases_halves_of_words_are_written_by_two_passes(monkeypatch) -> None:
    force(monkeypatch, (2, 2))
    program = compiled(two_layers(16, 64, 1), parse_array("16x8x8"))
    assert [p.scatter for p in program.plans[0].passes] == [Scatter.EVEN, Scatter.ODD]
    assert Opcode.MOVE in {int(word) & 15 for word in np.frombuffer(program.program, "<u8")[::4]}


def cost(layers: Network, config: EngineConfig) -> float:
    return sum(chain.expected for chain in Planner(config, CYCLES_PER_WORD).network(fuse_head(layers, config.rows)))


@pytest.mark.parametrize("array", ["16x8x8", "8x8x8", "8x1x1"])
@pytest.mark.parametrize(("height", "width", "channels"), [(16, 64, 1), (32, 32, 3), (64, 64, 2), (8, 8, 4)])
def test_the_cheapest_way_is_taken(array: str, height: int, width: int, channels: int) -> None:
    network, _ = lower(two_layers(height, width, channels))
    config = parse_array(array)
    chosen, chains = plan_cheapest(network, config, CYCLES_PER_WORD)
    costs = [cost(found, config) for found in (network, *foldings(network))]
    assert sum(chain.expected for chain in chains) == cost(chosen, config)
    if min(costs) < costs[0] / (1 + GAIN):
        assert cost(chosen, config) == min(costs)
    else:
        assert chosen.tensors[chosen.input].fold == (1, 1)


def test_a_narrow_network_at_full_resolution_is_folded_and_a_wide_one_is_not() -> None:
    assert compiled(two_layers(64, 128, 1), EngineConfig()).memory.layouts["image"].fold != (1, 1)
    assert compiled(two_layers(16, 128, 1, 96), EngineConfig()).memory.layouts["image"].fold == (1, 1)


def test_a_layer_fused_with_a_1x1_layer_is_not_folded() -> None:
    """Rows of a 1x1 layer's banks come one after another, those of a folded layer every other one."""
    b = GraphBuilder(64, 64, 3)
    b.conv(b.conv("image", 16), 16, 1)
    network = network_of(b)
    (way,) = foldings(network)
    planner = Planner(EngineConfig(), CYCLES_PER_WORD)
    assert any(len(chain.plans) > 1 for chain in planner.network(network))
    assert all(len(chain.plans) == 1 for chain in planner.network(way))


def test_layers_of_an_unfolded_network_have_one_phase() -> None:
    layer: Layer = network_of_one().layers[0]
    assert (layer.row_phases, layer.column_phases, layer.run_shape) == (1, 1, (8, 16))
    assert layer.phase(0, 0) is layer.weights


def network_of_one() -> Network:
    b = GraphBuilder(8, 16, 1)
    b.conv("image", 8)
    return network_of(b)


@pytest.mark.parametrize("fold", [(0, 1), (2, -1), (3, 1), (1, 5)])
def test_a_layout_from_a_file_must_divide_the_picture(fold: Fold) -> None:
    entry = {"shape": [8, 16, 1], "planes": 8, "signed": False, "fold": list(fold)}
    with pytest.raises(HwsegError, match=f"fold must divide 8x16 pixels, is {fold[0]}x{fold[1]}"):
        TensorLayout.from_json(entry)
