"""Tiles of networks of every operation that moves pixels: with the reach around them, each is the whole picture's."""

from __future__ import annotations

import numpy as np

from benchmarks.graphs import GraphBuilder
from hwseg import golden
from hwseg.reach import reach, reshaped

SIZE = 96


def test_tiles_of_large_kernels_averages_and_transposed_convolutions_are_the_whole_pictures() -> None:
    b = GraphBuilder(SIZE, SIZE, 1, seed=5)
    x = b.pool(b.conv("image", 4, 7, 2, signed=True), 3)
    y = b.up(b.transposed(b.transposed(b.average(x), 3, 3, 1), 3, 4, 1))
    graph = b.graph(b.sums(b.grouped(b.conv(y, 4), 2), 1, 5))
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1))
    whole = golden.run(graph, image).tensors[graph.head.tensor]
    found = reach(graph)
    assert found.multiple == (8, 8)
    (up, left), (down, right), (rows, columns) = found.before, found.after, found.multiple
    for y0 in range(up, SIZE - down - rows + 1, rows):
        for x0 in range(left, SIZE - right - columns + 1, columns):
            tile = image[y0 - up : y0 + rows + down, x0 - left : x0 + columns + right]
            part = golden.run(reshaped(graph, tile.shape[:2]), tile).tensors[graph.head.tensor]
            inner = part[up : up + rows, left : left + columns]
            assert np.array_equal(inner, whole[y0 : y0 + rows, x0 : x0 + columns]), (y0, x0)
