"""The tile that is proposed: costs are those of all tiles of a picture, and nothing that was tried is much cheaper."""

from __future__ import annotations

import math

import pytest

from hwseg import tile_size
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.errors import HwsegError
from hwseg.pictures import tiles
from hwseg.quant.read.load import load
from hwseg.reach import reach, reshaped
from hwseg.rtl.config import parse_array
from hwseg.tile_size import Candidate, candidates, proposed, sizes
from tests.segment.networks import small

DEEP = tiles.Reach((48, 48), (48, 48), (8, 8))
BOARD, CONFIG = load_board("zynq7020"), parse_array("8x1x1")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return load(small(tmp_path_factory.mktemp("model") / "net.onnx"))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(tile_size, "SIDES", (8, 16, 32))
    monkeypatch.setattr(tile_size, "FIRST", 16)


def found(graph, picture=None):
    said = []
    return candidates(graph, CONFIG, BOARD, picture, said.append), said


def test_of_a_large_picture_a_pixel_costs_what_all_its_tiles_do(graph, few):
    rows, _ = found(graph)
    compiled = [one for one in rows if not one.refused]
    assert len(compiled) >= 3
    side = 2000
    for one in compiled:
        cycles = compile_graph(reshaped(graph, one.size), CONFIG, BOARD).timing().total
        assert one.cycles == cycles
        cuts = tiles.grid((side, side), one.size, one.size, reach(graph))
        assert one.per_pixel == pytest.approx(len(cuts) * cycles / side**2, rel=0.03)
        assert one.surplus == pytest.approx(cuts.surplus, rel=0.05, abs=0.01)
    best = proposed(rows)
    assert best.per_pixel <= 1.05 * min(one.per_pixel for one in compiled)


def test_what_is_not_compiled_is_dearer_than_what_is_proposed(graph, few):
    rows, said = found(graph)
    skipped = [one for one in rows if one.refused]
    assert len(skipped) + len(said) == len(rows)
    for one in skipped:
        assert one.refused == "not compiled: too much at its edges"
        cycles = compile_graph(reshaped(graph, one.size), CONFIG, BOARD).timing().total
        assert cycles / math.prod(one.size) * (1 + one.surplus) > proposed(rows).per_pixel


def test_for_a_picture_no_size_is_larger_than_it_and_costs_are_exact(graph, few):
    rows, _ = found(graph, (21, 50))
    assert all(one.size[0] <= 22 and one.size[1] <= 50 for one in rows)
    for one in rows:
        if not one.refused:
            cuts = tiles.grid((21, 50), one.size, one.size, reach(graph))
            assert one.per_pixel == pytest.approx(len(cuts) * one.cycles / (21 * 50))


def test_sizes_can_be_cut():
    for size in sizes(DEEP):
        assert all(n % 8 == 0 and n > 96 for n in size)
        assert tiles.grid((5000, 5000), size, size, DEEP).surplus > 0
    assert sizes(DEEP, (60, 70)) == ((64, 72),)
    huge = tiles.Reach((300, 300), (300, 300), (4, 4))
    assert min(min(size) for size in sizes(huge)) == 604


def test_the_smallest_that_is_near_the_cheapest_is_proposed():
    rows = [
        Candidate((64, 64), 1, 10.0),
        Candidate((128, 128), 1, 5.2),
        Candidate((256, 256), 1, 5.0),
        Candidate((512, 512), refused="needs more memory"),
    ]
    assert proposed(rows) is rows[1]
    assert proposed(rows[:1]) is rows[0]


def test_a_network_of_scaled_pictures_is_not_cut(tmp_path):
    graph = load(small(tmp_path / "net.onnx", hwseg__normalize="none", hwseg__fit="resize"))
    with pytest.raises(HwsegError, match=r"--size auto: goes with networks that are cut into tiles, not scaled"):
        found(graph)


def test_where_nothing_compiles_the_reason_is_told(graph, few, monkeypatch):
    def refuse(*_, **__):
        raise HwsegError("net", "needs 1 byte more", "use less")

    monkeypatch.setattr(tile_size, "compile_graph", refuse)
    with pytest.raises(HwsegError, match="needs 1 byte more; use a larger array, or name a --size"):
        found(graph)
