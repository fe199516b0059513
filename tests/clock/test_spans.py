"""The timeline is the prediction: its intervals are disjoint, cover every cycle, and add up to the stalls by cause."""

from __future__ import annotations

import base64
import itertools
import random
import re
import zlib

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.clock.spans import READS, WALK, Spans, record
from hwseg.clock.timeline import TURN, covered, leb128, timeline
from hwseg.clock.timing import STARTUP, predict
from hwseg.compile.program import Program, compile_graph
from hwseg.report.figures import build_report
from hwseg.report.pages.timeline_view import LEVELS, area, view
from hwseg.rtl.config import parse_array

BOARD = load_board("zynq7020")


def network(array: str, height: int, width: int) -> Program:
    """Fused layers, a pooling, a transposed convolution: every kind of instruction."""
    b = GraphBuilder(height, width, 3)
    wide = b.conv(b.conv("image", 12), 16)
    low = b.conv(b.pool(wide), 40)
    joined = b.concat(wide, b.conv(low, 12, kernel=2))
    return compile_graph(b.graph(b.sums(b.conv(joined, 9, bits=4), 2, kernel=1)), parse_array(array), BOARD)


@pytest.fixture(scope="module", params=[("8x4x4", 24, 40), ("16x8x8", 64, 64), ("8x8x8-merged", 16, 24)], ids=str)
def program(request: pytest.FixtureRequest) -> Program:
    return network(*request.param)


@pytest.mark.parametrize("latency", [2, 40, 300])
def test_intervals_are_the_prediction(program: Program, latency: int) -> None:
    found = record(program.program, program.config, latency)
    timing = predict(program.program, program.config, latency)
    assert found.timing == timing
    turned = timing.total
    for cause, starts, ends, layers in found.array():
        assert (ends >= starts).all()
        assert (starts[1:] >= ends[:-1]).all()
        by_layer = np.bincount(layers, ends - starts, minlength=256)
        for layer in timing.layers:
            expected = timing.walking[layer] if cause == WALK else timing.stalls[layer].get(cause)
            assert cause == STARTUP or by_layer[layer] == expected, (cause, layer)
        turned -= int((ends - starts).sum())
    assert turned == sum(stalls[TURN] for stalls in timing.stalls.values())
    assert found.compute.end[-1] <= timing.total


def test_transfers_move_what_the_report_counts(program: Program) -> None:
    found = program.spans
    for unit in (found.reader, found.writer):
        assert (unit.start[1:] >= unit.end[:-1]).all()
    moves = found.reader.kind == READS.index("move")
    first = np.arange(len(moves)) == 0
    words = np.bincount(found.reader.layer, (found.reader.end - found.reader.start - 1) * ~(moves | first))
    stored = np.bincount(found.writer.layer, found.writer.end - found.writer.start - 1, minlength=256)
    for layer, count in found.timing.read_words.items():
        assert words[layer] == count
        assert stored[layer] == found.timing.write_words[layer]


def test_timing_of_a_program_that_was_recorded(program: Program) -> None:
    assert program.spans is program.spans
    assert program.timing() is program.spans.timing
    assert program.timing(100) == predict(program.program, program.config, 100)


def test_bins_hold_every_cycle(program: Program) -> None:
    found = timeline(program.spans, [plan.layer.name for plan in program.plans], bins=50)
    array = found.lanes[0].shares
    assert sum(array.values()) == pytest.approx(np.ones(50))
    size = found.total / 50
    assert array[WALK].sum() * size == pytest.approx(sum(program.timing().walking.values()))
    for number, lane in enumerate(found.layers):
        assert lane.shares[WALK].sum() * size == pytest.approx(program.timing().walking[number])


def test_covered_against_counting() -> None:
    rng = random.Random(1)
    for _ in range(50):
        points = sorted(rng.sample(range(200), 12))
        starts, ends = np.array(points[::2]), np.array(points[1::2])
        edges = np.array(sorted(rng.sample(range(201), 6)))
        marked = np.zeros(200)
        for a, b in zip(starts, ends, strict=True):
            marked[a:b] = 1
        expected = [marked[a:b].mean() for a, b in itertools.pairwise(edges)]
        assert covered(starts, ends, edges) == pytest.approx(expected)
    assert (covered(np.array([], int), np.array([], int), np.array([0, 5])) == 0).all()


def decoded(text: str) -> list[list[int]]:
    """The columns again, one number at a time."""
    data, at = zlib.decompress(base64.b64decode(text)), 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    computes, reads, writes = number(), number(), number()
    columns = [[number() for _ in range(n)] for n in [computes] * 8 + [reads] * 4 + [writes] * 3]
    assert at == len(data)
    return columns


def test_every_instruction_is_in_the_block(program: Program) -> None:
    spans: Spans = program.spans
    found = timeline(spans, [plan.layer.name for plan in program.plans])
    layer, run, idle, wait, _, weights, reload, walk, _, kind, gap, length, _, _, _ = decoded(found.packed)
    at, ends = 0, []
    for cycles in zip(idle, wait, weights, reload, walk, strict=True):
        at += sum(cycles) + 2
        ends.append(at)
    assert ends == spans.compute.end.tolist()
    assert layer == spans.compute.layer.tolist()
    assert sum(run) == int(spans.compute.run.sum()) > 0
    assert kind == spans.reader.kind.tolist()
    assert np.cumsum(np.add(gap, length)).tolist() == spans.reader.end.tolist()


def test_leb128() -> None:
    assert leb128(np.array([0, 127, 128, 300, 1 << 40])) == bytes([0, 127, 128, 1, 172, 2, *[128] * 5, 32])
    assert leb128(np.array([], np.int64)) == b""


def test_an_area_is_its_steps() -> None:
    rng = random.Random(2)
    for _ in range(40):
        levels = [rng.choice([0, 0, rng.randint(1, LEVELS)]) for _ in range(30)]
        drawn, x, y = [0] * 30, 0, 0
        for letter, numbers in re.findall(r"([Mmvh])([-\d ]+)", area(levels)):
            values = [int(n) for n in numbers.split()]
            if letter == "v":
                y += values[0]
            elif letter == "h":
                drawn[x : x + values[0]] = [y] * values[0]
                x += values[0]
            else:
                x = values[0] if letter == "M" else x + values[0]
                assert y == values[1] == 0
        assert drawn == levels
        assert y == 0


def drawn_bytes(program: Program) -> int:
    p, found = program, program.timeline()
    report = build_report(p.graph, p.plans, p.memory.layouts, p.timing(), p.config, BOARD, 150.0)
    return sum(len(area["path"]) for lane in view(found, report["layers"][1:])["lanes"] for area in lane["areas"])


def test_a_drawing_stays_small() -> None:
    """Its size is of the bins, not of the program."""
    small, large = network("8x4x4", 24, 40), network("8x2x2", 96, 160)
    assert large.timeline().instructions > 6 * small.timeline().instructions
    assert drawn_bytes(large) < 2 * drawn_bytes(small)
    assert len(large.timeline().packed) < large.timeline().instructions
