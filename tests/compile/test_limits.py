"""What does not fit, or is no number, is told in one sentence: place, rule, value, cure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.compile.emit.schedule import Pace
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError
from hwseg.report.advice import idle_lanes
from hwseg.rtl.config import PRESETS, parse_array
from hwseg.target.array import load, nearest_that_fits

BOARD = load_board("zynq7020")


def test_a_strip_that_exceeds_the_partial_sums() -> None:
    b = GraphBuilder(8, 16, 20)
    b.pool(b.conv("image", 4))
    shallow = replace(parse_array("8x1x1"), psum_steps=16)
    sentence = (
        "Conv2d_0 on array 8x1x1: the smallest strip, 2 rows of 16 pixels, needs 32 partial sums, has 16; "
        "use 8 pixels per step, or a deeper store"
    )
    with pytest.raises(HwsegError) as caught:
        compile_graph(b.graph(b.nodes[-1].output), shallow, BOARD)
    assert str(caught.value) == sentence
    wide = replace(parse_array("8x8x1"), psum_steps=16)
    assert compile_graph(b.graph(b.nodes[-1].output), wide, BOARD).timing().total > 0


def test_a_strip_that_exceeds_the_input_banks() -> None:
    b = GraphBuilder(8, 16, 20)
    b.pool(b.conv("image", 4))
    shallow = replace(parse_array("8x8x8"), bank_words=16)
    with pytest.raises(HwsegError) as caught:
        compile_graph(b.graph(b.nodes[-1].output), shallow, BOARD)
    assert str(caught.value) == (
        "Conv2d_0 on array 8x8x8: the smallest strip, 2 rows of 16 pixels, needs 64 bank words, has 16; "
        "use an array with deeper input banks"
    )


@pytest.mark.parametrize(("channels", "fits"), [(7300, True), (7400, False)])
def test_an_accumulator_wider_than_its_slot(channels: int, fits: bool) -> None:
    b = GraphBuilder(1, 1, channels)
    y = b.sums("image", 1)
    b.nodes[0] = replace(b.nodes[0], weights=np.full((1, channels, 3, 3), 127, np.int8))
    graph = b.graph(y)
    if fits:
        compile_graph(graph, PRESETS["zynq7020"], BOARD)
        return
    reach = channels * 9 * 127 * 255
    with pytest.raises(HwsegError) as caught:
        compile_graph(graph, PRESETS["zynq7020"], BOARD)
    assert str(caught.value) == (
        f"Conv2d_0: accumulator must fit 32 bits, reaches [0, {reach}]; use fewer input channels or smaller weights"
    )


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_memory_without_a_rate(rate: float) -> None:
    with pytest.raises(HwsegError, match=r"DDR rate: must be a positive number of bytes per second, is .*; correct"):
        Pace.of(rate, 150)


def test_what_is_no_array_names_one_that_fits() -> None:
    for text in ("zync", "tiny", "", "0x0x0", "9999x9999x9999", "64x64x64", "17x8x8-merged"):
        named = nearest_that_fits(text, "table", BOARD)
        assert load(parse_array(named), BOARD) <= 1, (text, named)
    assert nearest_that_fits("zync", "table", BOARD) == "zynq7020"
    assert nearest_that_fits("7x4x4", "table", BOARD) == "8x4x4"
    nothing = replace(BOARD, lut=1000)
    assert nearest_that_fits("zync", "table", nothing) == "--array auto"
    assert nearest_that_fits("7x4x4", "table", nothing) == "another board"


def residuals(kernel: int) -> Program:
    """Blocks that widen 16 channels to 96 and narrow them again."""
    b = GraphBuilder(32, 64, 3)
    x = b.conv("image", 16)
    for _ in range(3):
        x = b.conv(b.conv(x, 96, kernel), 16, kernel)
    return compile_graph(b.graph(b.sums(x, 1, 1)), PRESETS["zynq7020"], BOARD)


def test_networks_of_narrow_1x1_convolutions_are_told_so() -> None:
    program = residuals(1)
    (sentence,) = idle_lanes(program.plans, program.timing(), program.config)
    assert sentence.startswith("1x1 convolutions take ")
    assert "% of the lanes busy: plain 3x3 convolutions use the array better" in sentence
    dense = residuals(3)
    assert idle_lanes(dense.plans, dense.timing(), dense.config) == []
