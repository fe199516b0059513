"""Skipping, split layers and packed weights in the Verilog: every value, every plane left out, every cycle."""

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.rtl.config import parse_array
from hwseg.sim.simulate import lay_out, simulate_program
from tests.compile.emit.test_packed import narrow
from tests.compile.folding import force
from tests.compile.lower.test_fold import two_layers
from tests.compile.lower.test_residual import network as residual
from tests.compile.plan.test_split import network, tails
from tests.compile.proof import image_of

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]


def slow(*values):
    """More of the same."""
    return pytest.param(*values, marks=pytest.mark.slow)


def mixed(height, width):
    """Strides, nearest enlargement, pooling, maps of eight and of four planes, 1x1 and transposed convolution."""
    b = GraphBuilder(height, width, 3, seed=height)
    x = b.conv("image", 8)
    narrow = b.conv(b.conv(x, 12, bits=4), 12, 3, 2)
    deep = b.conv(b.pool(x), 24)
    up = b.up(b.conv(b.concat(narrow, deep), 8, 1))
    return b.graph(b.sums(b.conv(b.concat(b.conv(up, 8), x, b.conv(deep, 8, 2)), 16), 2, 1))


def dim(graph, shift, seed):
    kind = graph.types[graph.input]
    image = np.random.default_rng(seed).integers(0, 256, kind.shape) >> shift
    image[: image.shape[0] // 2, : image.shape[1] // 2] = 0
    return image


def run(tmp_path, graph, array, image, **choices):
    program = compile_graph(graph, parse_array(array), load_board("zynq7020"))
    lay_out(tmp_path, program)
    return simulate_program(tmp_path, program, image, **choices)


@pytest.mark.parametrize(
    ("array", "make", "height", "width", "shift"),
    [
        ("8x4x4", mixed, 12, 40, 4),
        slow("8x4x4", mixed, 12, 40, 0),
        *(slow("8x4x4", mixed, 22, 24, shift) for shift in (0, 4)),
        ("8x2x2", mixed, 8, 16, 0),
        slow("8x2x2", mixed, 8, 16, 4),
        ("16x8x8-dsp", mixed, 16, 48, 4),
        slow("16x8x8-dsp", mixed, 16, 48, 0),
        ("16x8x8-dsp", network, 24, 64, 0),
        slow("16x8x8-dsp", network, 24, 64, 4),
    ],
)
def test_skipping_changes_cycles_and_nothing_else(tmp_path, array, make, height, width, shift):
    graph = make(height, width)
    image = dim(graph, shift, height)
    skipping = run(tmp_path, graph, array, image, skip=True)
    assert skipping.passed, (skipping.first_mismatch, skipping.counters, skipping.predicted_skipped)
    assert [x.cycles for x in skipping.layers] == [x.predicted_cycles for x in skipping.layers]
    assert skipping.counters["skipped"] > 0
    dense = run(tmp_path, graph, array, image)
    assert dense.passed
    assert dense.counters["skipped"] == 0
    # What is left out in the last tiles alone saves no cycle.
    assert skipping.cycles <= dense.cycles
    assert (skipping.mask == dense.mask).all()


def test_skipping_under_random_latency_and_stalls(tmp_path):
    graph = mixed(12, 40)
    result = run(tmp_path, graph, "8x4x4", dim(graph, 3, 1), skip=True, latency=(3, 150))
    assert result.passed, (result.first_mismatch, result.counters, result.predicted_skipped)


@pytest.mark.parametrize("array", ["8x4x4", "8x2x2"])
def test_packed_weights_reach_the_tables_in_the_predicted_cycles(tmp_path, array):
    graph = narrow(12, 32)
    result = run(tmp_path, graph, array, dim(graph, 0, 2))
    assert result.passed, (result.first_mismatch, result.cycles, result.predicted_cycles)


@pytest.mark.parametrize(
    ("height", "width", "channels", "bits", "signed", "twice"),
    [
        (16, 48, 16, 8, False, True),
        slow(12, 20, 24, 8, True, False),
        (8, 24, 8, 4, True, True),
        slow(12, 40, 16, 4, False, False),
        (10, 24, 24, 3, True, False),
        slow(24, 64, 40, 8, False, False),
    ],
)
def test_residual_additions_on_the_way_out(tmp_path, height, width, channels, bits, signed, twice):
    graph = residual(height, width, channels, Fraction(1) if signed else Fraction(1, 2), bits, signed, twice)
    result = run(tmp_path, graph, "16x8x8-dsp", dim(graph, 0, 3))
    assert result.passed, (result.first_mismatch, result.cycles, result.predicted_cycles)
    assert not any("Add" in layer.name for layer in result.layers)
    stalled = run(tmp_path, graph, "16x8x8-dsp", dim(graph, 2, 4), latency=(3, 120), skip=True)
    assert stalled.passed, stalled.first_mismatch


@pytest.mark.parametrize(
    ("array", "height", "width", "channels", "fold"),
    [
        slow("8x4x4", 12, 40, 1, (2, 1)),
        slow("8x4x4", 12, 40, 1, (2, 2)),
        ("8x4x4", 14, 22, 2, (2, 2)),
        ("8x4x4", 4, 18, 3, (2, 1)),
        slow("16x8x8-dsp", 24, 64, 1, (2, 1)),
        ("16x8x8-dsp", 24, 64, 1, (2, 2)),
        ("16x8x8-dsp", 16, 48, 4, (2, 1)),
    ],
)
def test_folded_pictures(tmp_path, monkeypatch, array, height, width, channels, fold):
    force(monkeypatch, fold)
    graph = two_layers(height, width, channels)
    result = run(tmp_path, graph, array, image_of(graph, height))
    assert result.passed, result.first_mismatch
    assert [x.cycles for x in result.layers] == [x.predicted_cycles for x in result.layers]
    assert result.cycles == result.predicted_cycles
    skipping = run(tmp_path, graph, array, dim(graph, 4, height), skip=True)
    assert skipping.passed, (skipping.first_mismatch, skipping.counters, skipping.predicted_skipped)
    assert [x.cycles for x in skipping.layers] == [x.predicted_cycles for x in skipping.layers]


@pytest.mark.parametrize(
    "array",
    ["8x4x4", "8x2x2", "16x8x8-dsp", "8x4x4-merged", pytest.param("8x8x8", marks=pytest.mark.slow)],
)
def test_the_maximum_of_a_transposed_convolution(tmp_path, array):
    """Whose map is of one row and of more, goes on or does not."""
    for height, width, keep in ((1, 9, False), (6, 20, True)):
        b = GraphBuilder(height, width, 3, seed=height)
        x = b.conv("image", 9, 2, signed=keep)
        graph = b.graph(b.concat(b.up(b.pool(x)), x) if keep else b.conv(b.pool(x), 4))
        folder = tmp_path / str(height)
        folder.mkdir()
        result = run(folder, graph, array, image_of(graph, height))
        assert result.passed, (array, result.first_mismatch)


@pytest.mark.parametrize(("height", "width"), [(12, 32), (6, 48)])
def test_split_tails(tmp_path, height, width):
    graph = tails(height, width)
    result = run(tmp_path, graph, "16x8x8-dsp", dim(graph, 0, 3), skip=True)
    assert result.passed, (result.first_mismatch, result.cycles, result.predicted_cycles)
    assert [x.cycles for x in result.layers] == [x.predicted_cycles for x in result.layers]
