"""Do others compute the same?  Every tensor of the model, from an executor of floats, against the golden integers.

Executors: qonnx's, finn-base's (its ancestor, with code of its own), and the Brevitas network itself.  Two questions
for each tensor.  *Different*: is it what golden says?  Where an executor works in float32 with scales that are no
powers of two, a value near a tie may round the other way, and everything behind it follows.  *Own*: is it different
from the exact result on the executor's own inputs of that layer?  Only such a difference is the layer's, and its
distance from a rounding tie says why: float32 arithmetic moves a value by millionths of a step, an error of hwseg by
more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node
from hwseg.ops import Add, MaxPool2d, Requantize
from hwseg.pictures.source import to_floats
from hwseg.quant.read.load import load_with_origins
from hwseg.quant.read.onnx_file import read
from hwseg.quant.read.values import ZERO, Part, Value

Context = Mapping[str, np.ndarray]
"""What an executor computed: float arrays [1, C, H, W] by ONNX tensor name."""

TIE = 1e-3
"""A difference closer to a tie than this, in steps of the output, is float32 rounding."""


@dataclass(frozen=True)
class Comparison:
    """One ONNX tensor.  `kind`: "activation", "accumulator" (anything not quantized yet) or "output"."""

    tensor: str
    kind: str
    elements: int
    different: int
    """Elements that are not what golden says; of accumulators, by half a step or more (exact models: at all)."""
    own: int = 0
    """Differences that arise in this layer: the executor's output for the executor's input is not the exact one."""
    tie: float = 0.0
    """Largest distance from a rounding tie among them, in steps of the output."""
    error: float = 0.0
    """Largest difference, in steps of the tensor."""


@dataclass(frozen=True)
class Verdict:
    """All tensors compared.  `exact`: float32 can hold every value of this model, so no difference is excused."""

    executor: str
    exact: bool
    tensors: tuple[Comparison, ...]

    @property
    def activations(self) -> int:
        return sum(c.elements for c in self.tensors if c.kind == "activation")

    @property
    def different(self) -> int:
        return sum(c.different for c in self.tensors if c.kind == "activation")

    @property
    def own(self) -> int:
        return sum(c.own for c in self.tensors)

    @property
    def tie(self) -> float:
        return max((c.tie for c in self.tensors), default=0.0)

    @property
    def agrees(self) -> bool:
        """No difference at all in an exact model; else none that float32 rounding does not explain."""
        if self.exact:
            return not any(c.different for c in self.tensors)
        return self.tie < TIE


def compare(
    path: str | Path, image_q: np.ndarray, executor: str, run: Callable[[Path, np.ndarray], Context]
) -> Verdict:
    """Execute the model both ways on the integers `image_q` [H, W, C]."""
    graph, origins = load_with_origins(path)
    context = run(Path(path), to_floats(graph, image_q))
    return judge(graph, origins, image_q, executor, context)


def judge(graph: Graph, origins: Mapping[str, Value], image_q: np.ndarray, executor: str, context: Context) -> Verdict:
    """Compare every tensor that the executor shows."""
    result = golden.run(graph, image_q)
    exact = is_exact(graph, origins)
    own = _own_differences(graph, origins, image_q, context)
    rows = []
    for name, value in origins.items():
        if name not in context or name == graph.input:
            continue
        if value.activation != "none":
            rows.append(_compare_output(name, result, context[name]))
            continue
        expected = np.concatenate([part_values(graph, part, result.tensors) for part in value.parts], axis=2)
        kind = "activation" if all(_is_activation(graph, part) for part in value.parts) else "accumulator"
        found = context[name][0].transpose(1, 2, 0).astype(np.float64)
        require(found.shape == expected.shape, name, f"{executor} gives {found.shape}, the graph {expected.shape}")
        steps = np.abs(found - expected.astype(np.float32)) / _step(value)
        strict = exact or kind == "activation"
        different = int(np.count_nonzero(steps if strict else steps >= 0.5))
        rows.append(Comparison(name, kind, steps.size, different, *own.get(name, (0, 0.0)), float(steps.max())))
    return Verdict(executor, exact, tuple(rows))


def _compare_output(name: str, result: golden.Result, found: np.ndarray) -> Comparison:
    """After sigmoid or softmax: real functions, equal to a few units in the last place."""
    error = np.abs(found.astype(np.float64).reshape(result.output.shape) - result.output)
    return Comparison(name, "output", error.size, int(np.count_nonzero(error > 2e-6)), error=float(error.max()))


def _is_activation(graph: Graph, part: Part) -> bool:
    """Is the part one tensor of at most 8 bits, and nothing more?"""
    kind = graph.types.get(part.tensors[0])
    if kind is None or len(part.tensors) > 1 or part.moves or (part.relu and kind.low < 0):
        return False
    return part.offset == ZERO and part.scales[0] == kind.scale and len(kind.scale) == 1 and kind.bits <= 8


def _step(value: Value) -> np.ndarray:
    """The smallest scale of each channel."""
    steps = [np.broadcast_to(min(abs(float(s)) for s in p.scales[0]) or 1.0, p.shape[2]) for p in value.parts]
    return np.concatenate(steps)


def part_values(graph: Graph, part: Part, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The real numbers [H, W, C] of a part, in float64."""
    missing = next((name for name in part.tensors if name not in tensors), None)
    require(missing is None, str(missing), "is not computed by the graph")
    x = golden.values((Fraction(0),), part.offset, tensors[part.tensors[0]])
    for tensor, scale in zip(part.tensors, part.scales, strict=True):
        x = x + golden.values(scale, (Fraction(0),), tensors[tensor])
    if part.relu:
        x = np.maximum(x, 0)
    for move in part.moves:
        if isinstance(move.op, MaxPool2d):
            height, width, channels = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))
        else:
            x = x.repeat(2, 0).repeat(2, 1)
    return x


def is_exact(graph: Graph, origins: Mapping[str, Value]) -> bool:
    """Can float32 hold every intermediate value: scales are powers of two, and sums fit 24 bits?"""
    for value in origins.values():
        for part in value.parts:
            numbers = [number for values in (*part.scales, part.offset) for number in values]
            if not all(_power_of_two(number.denominator) for number in numbers):
                return False
            unit = max(number.denominator for number in numbers)
            largest = max(abs(n) for n in part.offset)
            for tensor, scale in zip(part.tensors, part.scales, strict=True):
                kind = graph.types.get(tensor)
                largest += max(abs(s) for s in scale) * (max(-kind.low, kind.high) if kind else 0)
            if not all(_power_of_two(abs(s.numerator)) for values in part.scales for s in values):
                return False
            if largest * unit >= 1 << 24:
                return False
    return True


def _power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def _own_differences(
    graph: Graph, origins: Mapping[str, Value], image_q: np.ndarray, context: Context
) -> dict[str, tuple[int, float]]:
    """By ONNX tensor: elements that are not the exact result on the executor's own inputs, and how far from a tie."""
    shown = {
        value.parts[0].tensors[0]: name
        for name, value in origins.items()
        if name in context and len(value.parts) == 1 and _is_activation(graph, value.parts[0])
    }
    tensors = {graph.input: np.ascontiguousarray(image_q.transpose(2, 0, 1))}
    found: dict[str, tuple[int, float]] = {}
    for node in graph.nodes:
        kind = graph.types[node.output]
        inputs = [tensors[name] for name in node.inputs]
        exact = golden.execute(node, inputs, golden.storage(kind))
        tensors[node.output] = exact
        if node.output in shown:
            name = shown[node.output]
            theirs = np.rint(context[name][0].astype(np.float64) / float(kind.scale[0])).astype(exact.dtype)
            wrong = np.argwhere(theirs != exact)
            if len(wrong):
                found[name] = len(wrong), max(_distance(node, inputs, index) for index in map(tuple, wrong[:1000]))
            tensors[node.output] = theirs
    return found


def _distance(node: Node, inputs: list[np.ndarray], index: tuple[Any, ...]) -> float:
    """How far the exact value is from the nearest rounding tie, in steps; other operations do not round."""
    op = node.op
    if isinstance(op, Requantize):
        m, b = (values[int(index[0]) % len(values)] for values in (op.multiplier, op.offset))
        exact = int(inputs[0][index]) * m + b
    elif isinstance(op, Add):
        exact = op.multipliers[0] * int(inputs[0][index]) + op.multipliers[1] * int(inputs[1][index]) + op.offset
    else:
        return float("inf")
    return abs(float(exact - (exact.numerator // exact.denominator) - Fraction(1, 2)))


def run_qonnx(path: Path, x: np.ndarray) -> Context:
    """Every tensor as qonnx's executor computes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from qonnx.core.modelwrapper import ModelWrapper
            from qonnx.core.onnx_exec import execute_onnx
            from qonnx.transformation.infer_shapes import InferShapes
        except ImportError:
            raise HwsegError("--compare qonnx", "needs qonnx", "pip install 'hwseg[train]'") from None
        model = ModelWrapper(str(path)).transform(InferShapes())
        return dict(execute_onnx(model, {read(path).input: x}, return_full_exec_context=True))
