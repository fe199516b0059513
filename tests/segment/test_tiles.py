"""Tiles are exact: not one logit differs from that of the whole picture computed at once."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hwseg import golden, models
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.ops import Conv2d, Upsample2d
from hwseg.pictures import tiles
from hwseg.pictures.tiles import Grid, Reach
from hwseg.pictures.whole import Whole
from hwseg.quant.read.load import load
from hwseg.reach import reach, reshaped
from tests.segment.graphs import Pen, random_graph


def logits(graph: Graph, integers: np.ndarray) -> np.ndarray:
    """The head's integers for a picture of any size that the network divides."""
    return golden.run(reshaped(graph, integers.shape[:2]), integers, taps=()).tensors[graph.head.tensor]


SAME = np.arange(256)
"""A table that changes nothing."""


def window(integers: np.ndarray, origin: tuple[int, int], size: tuple[int, int], extend: str) -> np.ndarray:
    return Whole(integers, SAME, extend, integers.shape[:2]).window(origin, size)


def by_tiles(graph: Graph, integers: np.ndarray, grid: Grid, extend: str = "edge") -> np.ndarray:
    """The same, put together from tiles."""
    found = np.full((*grid.whole, graph.types[graph.head.tensor].shape[2]), 1 << 30, np.int64)
    for tile in grid:
        sums = logits(graph, Whole(integers, SAME, extend, integers.shape[:2]).tile(tile, grid.tile))
        assert (found[tile.place] == 1 << 30).all()  # no pixel belongs to two tiles
        found[tile.place] = sums[tile.taken]
    return found


def drawn(seed: int) -> tuple[Graph, np.ndarray, Grid]:
    """A graph, a picture of any size, and tiles hardly larger than they must be."""
    draws, graph = random.Random(seed), random_graph(seed)
    found, kind = reach(graph), graph.types[graph.input]
    sides = []
    for axis in (0, 1):
        halo = found.before[axis] + found.after[axis]
        step = found.multiple[axis] * draws.randint(1, 3)
        sides.append((halo + step, draws.randint(1, halo + 3 * step)))
    (height, rows), (width, columns) = sides
    picture = np.random.default_rng(seed).integers(0, 256, (rows, columns, kind.shape[2]))
    return graph, picture, tiles.grid((rows, columns), kind.shape[:2], (height, width), found)


@pytest.mark.parametrize("first", range(0, 240, 20))
def test_no_logit_of_tiles_differs_from_that_of_the_whole_picture(first):
    several = 0
    for seed in range(first, first + 20):
        graph, picture, grid = drawn(seed)
        extend = ("edge", "zero")[seed % 2]
        whole = window(picture, (0, 0), grid.whole, extend)
        found, expected = by_tiles(graph, picture, grid, extend), logits(graph, whole)
        assert np.array_equal(found, expected), (seed, int((found != expected).sum()))
        several += len(grid) > 1
    assert several > 4


def test_a_halo_that_is_a_step_too_small_is_seen():
    """The test above can fail: with less than what `reach` says, most graphs differ."""
    wrong = tried = 0
    for seed in range(25):
        graph = random_graph(seed)
        found, kind = reach(graph), graph.types[graph.input]
        if 0 in found.before or 0 in found.after:
            continue
        sides = zip(found.before, found.after, found.multiple, strict=True)
        tile = tuple(before + after + 2 * multiple for before, after, multiple in sides)
        less = replace(found, before=tuple(n - m for n, m in zip(found.before, found.multiple, strict=True)))
        size = (2 * tile[0], 2 * kind.shape[1])
        picture = np.random.default_rng(seed).integers(0, 256, (*size, kind.shape[2]))
        cuts = tiles.grid(size, kind.shape[:2], tile, less)
        tried += 1
        wrong += not np.array_equal(by_tiles(graph, picture, cuts), logits(graph, picture))
    assert wrong > tried / 2 > 4


@pytest.mark.parametrize("name", models.NAMES)
def test_shipped_models_look_48_pixels_far(name):
    graph = load(models.path(name))
    assert reach(graph) == Reach((48, 48), (48, 48), (8, 8))


def test_of_each_pixel_only_what_it_depends_on_is_in_its_reach():
    """Against experiment: a pixel of the picture that is changed changes nothing of the result beyond the reach."""
    for seed in range(20):
        graph = random_graph(seed)
        found = reach(graph)
        size = [3 * (b + a + m) for b, a, m in zip(found.before, found.after, found.multiple, strict=True)]
        rng = np.random.default_rng(seed)
        picture = rng.integers(0, 256, (*size, graph.types[graph.input].shape[2]))
        row = int(rng.integers(size[0]))
        other = picture.copy()
        other[row] = 255 - other[row]
        changed = np.flatnonzero((logits(graph, picture) != logits(graph, other)).any(axis=(1, 2)))
        if len(changed):
            unit = found.multiple[0]
            assert changed[0] >= row // unit * unit - found.after[0]
            assert changed[-1] < row // unit * unit + unit + found.before[0]


class TestGeometry:
    """Numbers alone."""

    deep = Reach((48, 48), (48, 48), (8, 8))

    @pytest.mark.parametrize("side", [1024, 1500, 2000, 3000, 4000, 4096, 10_000, 20_000])
    def test_less_than_a_third_is_computed_beyond_the_picture_with_balanced_tiles_of_about_1024(self, side):
        size = tiles.balanced((side, side), (128, 128), (1024, 1024), self.deep)
        assert max(size) <= 1024
        limit = 0.45 if side < 2000 else 0.30
        assert tiles.grid((side, side), (128, 128), size, self.deep).surplus < limit

    @pytest.mark.parametrize("side", [976 + 976 + 928 * n for n in range(12)])
    def test_fixed_tiles_of_1024_that_fit_compute_less_than_30_percent_more(self, side):
        assert tiles.grid((side, side), (1024, 1024), (1024, 1024), self.deep).surplus < 0.30

    def test_every_pixel_is_taken_once_and_no_tile_reaches_beyond(self):
        for seed in range(300):
            draws = random.Random(seed)
            multiple = draws.choice((1, 2, 4, 8))
            before, after = (multiple * draws.randint(0, 5) for _ in range(2))
            tile = before + after + multiple * draws.randint(1, 5)
            length = multiple * draws.randint(1, 60)
            cuts = tiles.cut(length, tile, before, after, multiple)
            assert [c.first for c in cuts] == [0, *(c.last for c in cuts[:-1])]
            assert cuts[-1].last == length
            for c in cuts:
                assert c.start % multiple == 0
                assert c.first < c.last
                assert c.start >= 0
                assert c.start + min(tile, length) <= length
                assert c.start == 0 or c.first - c.start >= before
                assert c.start + tile >= length or c.start + tile - c.last >= after

    def test_the_whole_is_a_multiple_and_no_less_than_the_model(self):
        assert tiles.whole((100, 300), (128, 128), (8, 8)) == (128, 304)
        assert tiles.whole((512, 512), (128, 128), (8, 8)) == (512, 512)

    def test_what_lies_beyond_is_the_edge_or_zero(self):
        picture = np.arange(6).reshape(2, 3, 1) + 1

        def shown(*given):
            return window(picture, *given)[..., 0].tolist()

        assert shown((0, 0), (3, 4), "edge") == [[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6]]
        assert shown((0, 0), (3, 4), "zero") == [[1, 2, 3, 0], [4, 5, 6, 0], [0, 0, 0, 0]]
        assert shown((1, 2), (2, 2), "edge") == shown((4, 4), (2, 2), "edge") == [[6, 6], [6, 6]]
        assert shown((4, 4), (2, 2), "zero") == shown((0, 4), (2, 2), "zero") == [[0, 0], [0, 0]]

    def test_tiles_of_which_nothing_could_be_used_are_refused_with_the_size_that_works(self):
        with pytest.raises(
            HwsegError, match="must have at least 104 rows: the network looks at 48 before and 48 after"
        ):
            tiles.grid((512, 512), (96, 96), (96, 96), self.deep)
        assert len(tiles.grid((104, 200), (104, 104), (104, 104), self.deep)) == 13

    def test_a_reach_of_a_package_is_what_it_was(self):
        assert tiles.of_json(self.deep.json(), "model.json") == self.deep

    @pytest.mark.parametrize(
        "damage",
        [None, [], {"before": [48]}, {"before": [True, 0]}, {"before": [-8, 0]}, {"after": [1 << 20, 0]},
         {"multiple": [0, 8]}, {"before": [44, 48]}, {"multiple": "8"}],
    )  # fmt: skip
    def test_a_damaged_reach_is_refused(self, damage):
        content = damage if not isinstance(damage, dict) else self.deep.json() | damage
        with pytest.raises(HwsegError, match=r"model\.json"):
            tiles.of_json(content, "model.json")


class TestRefusals:
    def test_a_mask_of_another_scale(self):
        pen = Pen(0, (8, 8), 1)
        graph = pen.graph(pen.sums(Conv2d(3, 1, 2), "image", 3))
        with pytest.raises(HwsegError, match="gives a mask with a pixel for 2 of the picture's"):
            reach(graph)
        pen = Pen(0, (8, 8), 1)
        x = pen.add(Upsample2d(), "image", low=0, high=255)
        with pytest.raises(HwsegError, match="a pixel for 1/2 of the picture's"):
            reach(pen.graph(pen.sums(Conv2d(1, 1), x, 1)))

    def test_a_size_that_the_poolings_do_not_divide(self):
        pen = Pen(0, (7, 8), 1)
        x = pen.conv("image", 2, 3, 2)
        x = pen.add(Upsample2d(), x, low=0, high=255)
        with pytest.raises(HwsegError, match=r"height must be a multiple of 2, by which its network pools, .* is 7"):
            reach(pen.graph(pen.sums(Conv2d(1, 1), x, 1)))

    def test_maps_of_different_scale_that_happen_to_have_one_size(self):
        pen = Pen(0, (1, 1), 1)
        x = pen.conv("image", 2, 1, 2)
        with pytest.raises(HwsegError, match="joins maps of different scale: a pixel stands for 1 and for 2"):
            reach(pen.graph(pen.sums(Conv2d(1, 1), pen.join("image", x), 1)))

    def test_a_size_at_which_operands_do_not_meet(self):
        pen = Pen(0, (4, 4), 1)
        x = pen.up(pen.conv("image", 2, 3, 2))
        graph = pen.graph(pen.sums(Conv2d(1, 1), pen.join("image", x), 1))
        with pytest.raises(HwsegError, match="has operands of 5x4 and 6x4 pixels in a picture of that size"):
            reshaped(graph, (5, 4))

    def test_the_graph_itself_is_not_changed(self):
        graph = random_graph(3)
        before = dict(graph.types)
        other = reshaped(graph, tuple(2 * n for n in graph.types["image"].shape[:2]))
        assert graph.types == before
        assert other.nodes == graph.nodes
        assert replace(other, types=graph.types) == graph
        assert reshaped(other, graph.types["image"].shape[:2]).types == graph.types
        assert graph.head.scale == (Fraction(1, 16),)
