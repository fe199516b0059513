"""Which differences of an executor are its own rounding: behind concatenations, poolings and enlargings too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg import golden
from hwseg.cli import main
from hwseg.ir import Graph, Node
from hwseg.ops import Add, Requantize
from hwseg.pictures.source import to_floats
from hwseg.quant.read import referee
from hwseg.quant.read.layerwise import Context, part_values
from hwseg.quant.read.load import load, load_with_origins
from tests.quant.handmade import Net

Rounding = Callable[[Fraction], int]


def resize(net: Net, x: str) -> str:
    scales = net.const(f"scales{len(net.nodes)}", [1, 1, 2, 2])
    way = "asymmetric"
    return net.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode=way)


def pool(net: Net, x: str) -> str:
    return net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def network(folder: Path, unit: float, size: int = 16, final: str = "") -> Path:
    """Quantizers behind a pooling, an enlarging, a concatenation of both, an addition of moved maps; scales n * unit.

    With unit = 3 / 64, no power of two, sums are multiples of a power of two of the step, so many lie on ties.
    """
    net = Net((1, 2, size, size))
    x = net.image(scale=unit)
    w = [net.weights(f"w{i}", (3, 2 if i == 0 else 3, 3, 3), 2**-2) for i in range(2)]
    a = net.node("Relu", net.conv(x, 2, 3, name="a", weights=w[0]))
    pooled = net.quant(pool(net, a), unit * 8, signed=0, name="pooled")
    b = net.node("Relu", net.conv(pooled, 3, 3, name="b", weights=w[1]))
    joined = net.quant(net.node("Concat", a, resize(net, b), axis=1), unit * 16, signed=0, name="joined")
    c = net.conv(joined, 6, 3, name="c", weights=net.weights("w2", (3, 6, 3, 3), 2**-2))
    two = [
        net.quant(pool(net, c), unit * 128, name="two"),
        net.quant(pool(net, resize(net, pooled)), unit * 128, name="moved"),
    ]
    total = net.quant(resize(net, net.node("Add", *two, name="add")), unit * 256, name="total")
    head = net.conv(total, 3, 2, 1, name="head", weights=net.weights("w3", (2, 3, 1, 1), 2**-12))
    if final:
        axis: dict[str, Any] = {} if final == "Sigmoid" else {"axis": 1}
        head = net.node(final, head, name="final", **axis)
    return net.save(folder / "net.onnx", head)


def executed(graph: Graph, origins: Mapping[str, object], q: np.ndarray, rounding: Rounding) -> Context:
    """An executor of real numbers that rounds in another way."""
    tensors = {graph.input: q.transpose(2, 0, 1)}
    for node in graph.nodes:
        inputs = [tensors[name] for name in node.inputs]
        exact = golden.execute(node, inputs, golden.storage(graph.types[node.output]))
        tensors[node.output] = rounded(node, inputs, rounding).astype(exact.dtype) if rounds(node) else exact
    pixels = {name: planes.transpose(1, 2, 0) for name, planes in tensors.items()}
    context = {}
    for name, value in origins.items():
        parts = [part_values(part, pixels) for part in value.parts]  # type: ignore[attr-defined]
        context[name] = np.concatenate(parts, axis=2).transpose(2, 0, 1)[None].astype(np.float32)
        if value.activation != "none":  # type: ignore[attr-defined]
            context[name] = golden.output(graph.head, pixels[graph.head.tensor])
    return context


def rounds(node: Node) -> bool:
    return isinstance(node.op, Requantize | Add)


def rounded(node: Node, inputs: list[np.ndarray], rounding: Rounding) -> np.ndarray:
    op = node.op
    y = np.empty(inputs[0].shape, np.int64)
    for at in np.ndindex(y.shape):
        if isinstance(op, Add):
            exact = op.multipliers[0] * int(inputs[0][at]) + op.multipliers[1] * int(inputs[1][at]) + op.offset
        else:
            assert isinstance(op, Requantize)
            m, b = (v[at[0] % len(v)] for v in (op.multiplier, op.offset))
            exact = int(inputs[0][at]) * m + b
        y[at] = min(max(rounding(exact), op.low), op.high)
    return y


def judged(
    path: Path, rounding: Rounding, change: Callable[[dict[str, np.ndarray]], None] | None = None
) -> referee.Verdict:
    graph, origins = load_with_origins(path)
    kind = graph.types[graph.input]
    q = np.random.default_rng(3).integers(kind.low, kind.high, kind.shape, endpoint=True)
    context = dict(executed(graph, origins, q, rounding))
    if change is not None:
        change(context)
    return referee.judge(graph, origins, q, "other", context)


def half_up(x: Fraction) -> int:
    return floor(x + Fraction(1, 2))


def test_equal_executors_have_no_differences(tmp_path: Path) -> None:
    verdict = judged(network(tmp_path, 3 / 64), round)
    assert not verdict.exact
    assert verdict.agrees
    assert [row for row in verdict.tensors if row.different or row.own.count] == []


def test_ties_that_fall_the_other_way_explain_all_differences(tmp_path: Path) -> None:
    verdict = judged(network(tmp_path, 3 / 64), half_up)
    by_name = {row.tensor: row for row in verdict.tensors}
    for name in ("pooled.out", "joined.out", "two.out", "moved.out", "total.out"):
        assert by_name[name].own.count > 0, "says nothing about this quantizer"
        assert by_name[name].own.far == 0
    assert verdict.different > verdict.activations // 20
    assert verdict.agrees


def test_a_millionth_of_a_step_explains_what_is_nearer_to_a_tie(tmp_path: Path) -> None:
    verdict = judged(network(tmp_path, 3 / 64), lambda x: half_up(x + Fraction(1, 1000000)))
    assert verdict.own > 0
    assert 0 <= verdict.tie < 2e-6
    assert verdict.agrees


def test_a_twentieth_of_a_step_is_no_rounding(tmp_path: Path) -> None:
    verdict = judged(network(tmp_path, 1 / 21), lambda x: half_up(x + Fraction(1, 20)))
    assert verdict.own > 0
    assert referee.TIE < verdict.tie < 0.051
    assert not verdict.agrees


@pytest.mark.parametrize("name", ["input.out", "pooled.out", "joined.out", "two.out", "moved.out", "total.out"])
@pytest.mark.parametrize("steps", [1, -1, 2, 0.3])
def test_one_wrong_element_is_found(tmp_path: Path, name: str, steps: float) -> None:
    """Behind whatever operation, and by how much so ever: two steps next to a tie are no rounding either."""
    path = network(tmp_path, 3 / 64, 8)
    scale = float(load_with_origins(path)[1][name].parts[0].scales[0][0])

    def change(context: dict[str, np.ndarray]) -> None:
        array = context[name].copy()
        flat = array.reshape(-1)
        within = np.flatnonzero((flat > 3 * scale) & (flat < 100 * scale))
        flat[within[0]] += np.float32(steps * scale)
        context[name] = array

    verdict = judged(path, round, change)
    row = next(row for row in verdict.tensors if row.tensor == name)
    assert row.own.count == 1
    assert not verdict.agrees or abs(steps) == 1
    if verdict.agrees:
        assert row.own.far == 0, "changed next to a tie"


@pytest.mark.parametrize("name", ["a.out", "c.out", "head.out"])
@pytest.mark.parametrize("change", [0.6, 1000.0, np.nan, np.inf])
def test_a_wrong_accumulator_is_found(tmp_path: Path, name: str, change: float) -> None:
    path = network(tmp_path, 3 / 64, 8)
    scale = float(load_with_origins(path)[1][name].parts[0].scales[0][0])

    def wrong(context: dict[str, np.ndarray]) -> None:
        context[name] = context[name].copy()
        context[name][0, 1, 2, 3] += np.float32(change * scale)

    verdict = judged(path, round, wrong)
    assert [row.tensor for row in verdict.tensors if row.unexplained] == [name]
    assert not verdict.agrees


@pytest.mark.parametrize("final", ["Sigmoid", "Softmax", "ArgMax"])
def test_a_wrong_output_is_found(tmp_path: Path, final: str) -> None:
    path = network(tmp_path, 3 / 64, 8, final)
    assert judged(path, half_up).agrees

    def wrong(context: dict[str, np.ndarray]) -> None:
        array = context["final.out"].copy()
        array[0, 0, 1, 1] = 1 - array[0, 0, 1, 1]
        context["final.out"] = array

    verdict = judged(path, half_up, wrong)
    assert [row.tensor for row in verdict.tensors if row.unexplained] == ["final.out"]
    assert not verdict.agrees


def test_qonnx_agrees_behind_concatenations_poolings_and_enlargings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("qonnx")
    path = network(tmp_path, 0.0371, 32)
    graph = load(path)
    kind = graph.types[graph.input]
    differ = 0
    for seed in range(3):
        q = np.random.default_rng(seed).integers(kind.low, kind.high, kind.shape, endpoint=True)
        np.save(tmp_path / "x.npy", to_floats(graph, q))
        verdict = referee.compare(path, q, "qonnx", referee.run_qonnx)
        differ += verdict.different
        assert verdict.agrees
    assert differ > 0, "says nothing about differences"
    with pytest.raises(SystemExit) as stop:
        main(["golden", str(path), "--image", str(tmp_path / "x.npy"), "--compare", "qonnx"])
    told = capsys.readouterr().out
    assert stop.value.code == 0
    assert told.endswith("agree\n")
    assert "inf" not in told
    assert ("all others follow" in told) == (verdict.different > 0)
