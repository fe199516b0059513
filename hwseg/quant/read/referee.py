"""Do others compute the same?  Every tensor of the model, from an executor of floats, against the golden integers.

Executors: qonnx's, finn-base's (its ancestor, with code of its own), onnxruntime, and the Brevitas network itself.
Two questions for each tensor.  *Different*: is it what golden says?  Where an executor works in float32 with scales
that are no powers of two, a value near a tie may round the other way, and everything behind it follows.  *Own*: is
it different from the exact result on the executor's own inputs of that layer (`hwseg.quant.read.layerwise`)?  Only
such a difference is the layer's.  How far rounding would have to carry the exact value for it says why: float32
arithmetic moves a value by millionths of a step, an error of hwseg by more.  What is no own difference anywhere is
what hwseg computes, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx

from hwseg import golden
from hwseg.borders import tool
from hwseg.errors import HwsegError, require
from hwseg.ir import AXES, Graph, Head
from hwseg.pictures.source import to_floats
from hwseg.quant.read.axes import LAST, lengths, planes
from hwseg.quant.read.layerwise import NOTHING, Context, Layerwise, Own, is_activation, magnitude, part_values, step_of
from hwseg.quant.read.load import load_with_origins
from hwseg.quant.read.onnx_file import read, self_contained
from hwseg.quant.read.values import Value

TIE = 1e-3
"""A difference for which rounding has to carry a value less than this, in steps of the output, is float32's."""


@dataclass(frozen=True)
class Comparison:
    """One ONNX tensor.  `kind`: "activation", "accumulator" (anything not quantized yet) or "output"."""

    tensor: str
    kind: str
    elements: int
    different: int
    """Elements that are not what golden says; of accumulators, by half a step or more (exact models: at all)."""
    own: Own = NOTHING
    """Differences that arise in this layer: the executor's output for the executor's input is not the exact one."""
    error: float = 0.0
    """Largest difference, in steps of the tensor."""

    @property
    def unexplained(self) -> bool:
        """Is there an own difference that float32 does not explain?"""
        return not self.own.far < TIE


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
        """Activations that the executor rounded otherwise than the exact value of its own inputs."""
        return sum(c.own.count for c in self.tensors if c.kind == "activation")

    @property
    def tie(self) -> float:
        """How far rounding had to carry a value at most, in steps of the output."""
        return max((c.own.far for c in self.tensors), default=0.0)

    @property
    def agrees(self) -> bool:
        """No difference at all in an exact model; else none that float32 rounding does not explain."""
        if self.exact:
            return not any(c.different or c.own.count for c in self.tensors)
        return not any(c.unexplained for c in self.tensors)


def compare(
    path: str | Path, image_q: np.ndarray, executor: str, run: Callable[[Path, np.ndarray], Context]
) -> Verdict:
    """Execute the model both ways on the integers `image_q` [H, W, C]."""
    graph, origins = load_with_origins(path)
    x = to_floats(graph, image_q)
    if origins[graph.input].axes == LAST:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    context = run(Path(path), x)
    return judge(graph, origins, image_q, executor, context)


def judge(graph: Graph, origins: Mapping[str, Value], image_q: np.ndarray, executor: str, context: Context) -> Verdict:
    """Compare every tensor that the executor shows."""
    result = golden.run(graph, image_q)
    exact = is_exact(graph, origins)
    context = _channels_first(origins, context, executor)
    layerwise = Layerwise(graph, origins, image_q, context)
    rows = []
    for name, value in origins.items():
        computed = all(tensor in result.tensors for part in value.parts for tensor in part.tensors)
        if name not in context or name == graph.input or not computed:
            continue
        if value.activation != "none":
            # A model that ends with classes may show its probabilities before them.
            last = replace(
                graph.head, activation=value.activation, threshold=value.threshold, rounding=value.rounding, axes=AXES
            )
            rows.append(_compare_output(name, last, result, context[name], layerwise))
            continue
        expected = np.concatenate([part_values(part, result.tensors) for part in value.parts], axis=2)
        kind = "activation" if all(is_activation(graph, part) for part in value.parts) else "accumulator"
        found = context[name][0].transpose(1, 2, 0).astype(np.float64)
        require(found.shape == expected.shape, name, f"{executor} gives {found.shape}, the graph {expected.shape}")
        steps = np.abs(_differences(found, expected)) / step_of(value)
        strict = exact or kind == "activation"
        different = int(np.count_nonzero(steps if strict else ~(steps < 0.5)))
        rows.append(Comparison(name, kind, steps.size, different, layerwise.own(name, value), float(steps.max())))
    return Verdict(executor, exact, tuple(rows))


def _channels_first(origins: Mapping[str, Value], context: Context, executor: str) -> Context:
    """What the executor shows, every map of it as [1, C, H, W]."""
    found = dict(context)
    for name, value in origins.items():
        if name in context:
            sizes = lengths(value.axes, value.given)
            rule = f"{executor} gives {list(context[name].shape)}, the graph {list(sizes)}"
            require(context[name].shape == sizes, name, rule, "report this line")
            found[name] = planes(context[name], value.axes, value.given)
    return found


def _differences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """From what float32 makes of the expected numbers; 0 where both are infinite alike."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.astype(np.float32)
        return np.asarray(np.where(found == rounded, 0.0, found - rounded))


def _compare_output(
    name: str, head: Head, result: golden.Result, found: np.ndarray, layerwise: Layerwise
) -> Comparison:
    """After sigmoid or softmax: real functions, equal to a few units in the last place.  Classes and masks: equal."""
    expected = golden.output(head, result.tensors[head.tensor])
    given = found.astype(np.float64).reshape(expected.shape)
    error = np.abs(given - expected)
    different = int(np.count_nonzero(~(error <= 2e-6)))
    return Comparison(name, "output", error.size, different, layerwise.own_output(head, given), float(error.max()))


def is_exact(graph: Graph, origins: Mapping[str, Value]) -> bool:
    """Can float32 hold every intermediate value: scales are powers of two in its range, and sums fit 24 bits?"""
    for value in origins.values():
        for part in value.parts:
            if part.curve is not None:
                return False
            numbers = [
                n * s for values in (*part.scales, part.offset) for n in values for s in (Fraction(1), *part.slope)
            ]
            if not all(_power_of_two(number.denominator) for number in numbers):
                return False
            unit = max(number.denominator for number in numbers)
            largest = magnitude(graph, part)
            if not all(_power_of_two(abs(s.numerator)) for values in part.scales for s in values):
                return False
            if largest * unit >= 1 << 24 or unit > 1 << 126 or largest >= 1 << 127:
                return False
    return True


def _power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


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
        with tool("qonnx", f"executing {path.name}", "use --compare brevitas"):
            model = ModelWrapper(tidied(path)).transform(InferShapes())
            return dict(execute_onnx(model, {read(path).input: x}, return_full_exec_context=True))


def run_onnxruntime(path: Path, x: np.ndarray) -> Context:
    """Every tensor as onnxruntime computes it, node by node: with its optimizations it is another network."""
    try:
        import onnxruntime as runtime  # type: ignore[import-untyped]
    except ImportError:
        raise HwsegError("--compare onnxruntime", "needs onnxruntime", "pip install 'hwseg[train]'") from None
    file, model = read(path), tidied(path)
    others = {node.op for node in file.nodes} & {"Quant"}
    rule = "onnxruntime does not know the operation Quant"
    require(not others, path.name, rule, "use --compare qonnx")
    given = {output.name for output in model.graph.output}
    names = [node.outputs[0] for node in file.nodes]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    with tool("onnxruntime", f"executing {path.name}", "use --compare qonnx"):
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {file.input: x}), strict=True))


def tidied(path: Path) -> onnx.ModelProto:
    """The model as executors take it: the nodes that hwseg reads, in order, its data inside, shapes to be inferred.

    Of channels-last files the shapes that qonnx wrote.
    """
    file, model = read(path), onnx.ModelProto()
    model.ParseFromString(self_contained(path))
    graph = model.graph
    by_output = {node.output[0]: node for node in graph.node}
    nodes = [node for node in graph.node if node.op_type == "Constant"]
    nodes += [by_output[node.outputs[0]] for node in file.nodes]
    outputs = [value for value in graph.output if value.name == file.output]
    for stale in (graph.node, graph.output):
        del stale[:]
    if not any(node.channels_last for node in file.nodes):  # qonnx infers no shapes behind those
        del graph.value_info[:]
    graph.node.extend(nodes)
    graph.output.extend(outputs)
    return model
