"""Which planes are left out: the machine's counts against counts from the maps themselves, and the clock with them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg import golden
from hwseg.compile.plan.chain import plans_of
from hwseg.ir import Graph
from hwseg.machine.activity import skipping
from hwseg.rtl.config import parse_array
from hwseg.rtl.skip import MOST, PLANES
from tests.compile.proof import compiled, image_of


def dim(graph: Graph, shift: int, seed: int = 0) -> np.ndarray:
    """A random picture of small values, blank in places."""
    image = image_of(graph, seed) >> shift
    image[: image.shape[0] // 3, : image.shape[1] // 2] = 0
    return image


def leading(tensor: np.ndarray, stride: int) -> np.ndarray:
    """[row, word column, channel group]: zero planes of the 3x3 blocks around each output block, by definition."""
    height, width, channels = tensor.shape
    words, group_count = -(-width // 8), -(-channels // 8)
    padded = np.zeros((height, 8 * words, 8 * group_count), np.int64)
    padded[:, :width, :channels] = tensor
    largest = padded.reshape(height, words, 8, group_count, 8).max((2, 4))
    around = np.pad(largest, ((1, 1), (1, 1), (0, 0)))
    rows, columns = math.ceil(height / stride), math.ceil(math.ceil(width / stride) / 8)
    found = np.zeros((rows, columns, group_count), np.int64)
    for y in range(rows):
        for x in range(columns):
            found[y, x] = around[stride * y : stride * y + 3, stride * x : stride * x + 3].max((0, 1))
    return np.minimum(PLANES - np.vectorize(int.bit_length)(found.astype(object)), PLANES - 1).astype(np.int64)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width", "channels", "out"), [(9, 24, 8, 8), (12, 40, 20, 16), (6, 17, 3, 24)])
def test_counts_are_those_of_the_map(stride: int, height: int, width: int, channels: int, out: int) -> None:
    b = GraphBuilder(height, width, channels)
    graph = b.graph(b.conv("image", out, 3, stride))
    program = compiled(graph, parse_array("8x8x8"))
    image = dim(graph, 3)
    found = skipping(program, image)
    (plan,) = plans_of(program.chains)
    expected = leading(image, stride)
    passes = len(plan.passes)
    assert found.planes[0][0] == PLANES * expected.size * passes
    # The first step of every RUN is dense: so many planes less at the most.
    runs = len(found.saved)
    total = int(expected.sum()) * passes
    assert total - (PLANES - 1) * runs <= found.skipped <= total
    assert found.skipped > 0


def test_cycles_fall_by_what_is_saved() -> None:
    b = GraphBuilder(16, 48, 24)
    graph = b.graph(b.conv("image", 8))
    program = compiled(graph, parse_array("8x8x8"))
    found = skipping(program, dim(graph, 4))
    dense, sparse = program.timing(), program.timing(saved=found.saved)
    (plan,) = plans_of(program.chains)
    saved = sum(found.saved)
    assert saved > 0
    assert dense.walking[plan.index] - sparse.walking[plan.index] == saved
    assert dense.total - saved <= sparse.total <= dense.total
    # Each of a tile's steps saves at most MOST cycles, and those of the last tile none.
    assert saved <= MOST * 16 * 6 * 2


def test_full_pictures_and_signed_maps_save_nothing() -> None:
    b = GraphBuilder(8, 16, 8)
    graph = b.graph(b.conv("image", 8))
    program = compiled(graph, parse_array("8x8x8"))
    assert skipping(program, np.full(graph.types[graph.input].shape, 255)).skipped == 0
    b = GraphBuilder(8, 16, 8)
    x = b.add(b.conv("image", 8), b.conv("image", 8), Fraction(1), Fraction(-1), -128, 127)
    graph = b.graph(b.conv(x, 8))
    program = compiled(graph, parse_array("8x8x8"))
    assert golden.run(graph, image_of(graph)).tensors[x].min() < 0
    last = len(program.plans) - 1
    assert skipping(program, dim(graph, 5)).planes[last][1] == 0
