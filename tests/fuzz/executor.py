"""What does an ONNX file compute, in real numbers?  An executor of its own, from the file alone.

It shares no code with the package under test, and it knows no requantizers, layers or heads: it goes through the file's
nodes as the ONNX and QONNX operators are defined (`tests.fuzz.operations`), on exact numbers (`tests.fuzz.exact`), from
the output backwards, so that what nobody reads is never looked at.

Real numbers, with two constants as the executors of floats have them (docs/arithmetic.md, `hwseg.quant.load`):

    a quantized constant      round half to even of the float32 quotient constant / scale, saturated; times the scale
    a batch normalization     factor = gamma / sqrt(variance + epsilon) in float64; beta - mean * factor exactly

Every other float is the rational that its bits are.  A picture is integers times the scale of the quantizer that reads
the input, or, without one, times the file's metadata `hwseg.input_scale`, or 1/256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.fuzz.bent import Bent, sigmoid, straight
from tests.fuzz.exact import Exact


@dataclass(frozen=True)
class Grid:
    """A quantized constant: `integers` times `scale`, which broadcasts against them."""

    integers: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Final:
    """What ends a network: `kind` is "sigmoid", "softmax", "mask" (0 and 1) or "class"; `x` is what it was applied to.

    mask: bool or integers [rows, columns] of the last two.
    """

    kind: str
    x: Exact
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Levels:
    """What QuantizeLinear makes of a map: integers [channel, row, column], no numbers yet."""

    integers: np.ndarray


@dataclass(frozen=True)
class Ordered:
    """A map, or what ends a network, in an order of its own: `places` of the tensor's shape are numbers of elements."""

    of: Value
    places: np.ndarray


Value = Exact | Bent | Grid | Final | Levels | Ordered | np.ndarray
"""What a tensor of the file holds; an array is a constant of floats or integers."""

QUANTIZERS = ("Quant", "IntQuant", "QuantizeLinear", "Clip", "DequantizeLinear")
"""What is no arithmetic of sizes, even of constants."""


@dataclass(frozen=True)
class Quantizer:
    """A Quant node's parameters: scale float32, integers in [low, high]."""

    scale: np.ndarray
    low: int
    high: int


class Executor:
    """One file and one picture, integers [row, column, channel]; `value(name)` computes what it needs, once.

    output: the tensor that the file gives; of several outputs the last one is chosen.
    operations: how each operator is computed.  All others are arithmetic of constants, which ONNX's reference does.
    """

    def __init__(
        self, model: onnx.ModelProto, operations: Mapping[str, Operation], picture: np.ndarray | None = None
    ) -> None:
        self.model = model
        self.operations = operations
        self.graph = model.graph
        self.output = str(model.graph.output[-1].name)
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.values: dict[str, Value] = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.makers = {output: node for node in self.graph.node for output in node.output if output}
        self.input = next(value for value in self.graph.input if value.name not in self.values)
        self.picture = self.picture_type()
        if picture is not None:
            n = np.ascontiguousarray(picture.transpose(2, 0, 1), np.int64)
            self.values[self.input.name] = Exact(n, (self.picture[2],) * len(n))

    def picture_type(self) -> tuple[int, int, Fraction]:
        """Smallest and largest integer of the picture, and its scale."""
        names, found = {self.input.name}, []
        for node in self.live():
            if node.op_type in ("Identity", "Dropout") and node.input[0] in names:
                names.add(node.output[0])
            elif node.op_type in ("Quant", "IntQuant") and node.input[0] in names:
                found.append(self.quantizer(node))
            elif node.op_type == "QuantizeLinear" and node.input[0] in names:
                found.append(self._clipped(node))
        if found:
            return found[0].low, found[0].high, Fraction(float(found[0].scale.flat[0]))
        given = {entry.key: entry.value for entry in self.model.metadata_props}.get("hwseg.input_scale")
        return 0, 255, Fraction(1, 256) if given is None else Fraction(given)

    def live(self, name: str | None = None) -> list[onnx.NodeProto]:
        """The nodes that the output needs, or another tensor, each after those that it reads."""
        done: dict[str, onnx.NodeProto] = {}

        def visit(tensor: str) -> None:
            node = self.makers.get(tensor)
            if node is not None and node.output[0] not in done:
                for source in node.input:
                    visit(source)
                done[node.output[0]] = node

        visit(self.output if name is None else name)
        return list(done.values())

    def run(self) -> dict[str, Value]:
        """Every tensor that the output needs, by name; the output last."""
        self.value(self.output)
        return self.values

    def mask(self) -> np.ndarray:
        """The class of every pixel: of one channel, whether its value before a sigmoid is above 0."""
        result = self.value(self._unrounded(self.output))
        if isinstance(result, Ordered):
            result = result.of
        if isinstance(result, Final):
            if result.mask is not None:
                return np.asarray(result.mask, np.uint8)
            result = result.x
        assert isinstance(result, Exact)
        return classes(result)

    def _unrounded(self, name: str) -> str:
        """A last sigmoid, where a quantizer follows it; else the same tensor."""
        found = name
        while found in self.makers and self.makers[found].op_type in QUANTIZERS:
            found = self.makers[found].input[0]
        return found if found in self.makers and self.makers[found].op_type == "Sigmoid" else name

    def choice(self) -> str:
        """The output to be chosen where several depend on the picture; else nothing."""
        names = [value.name for value in self.graph.output]
        several = sum(any(self.input.name in node.input for node in self.live(name)) for name in names) > 1
        return names[-1] if several else ""

    def value(self, name: str) -> Value:
        if name not in self.values:
            node = self.makers[name]
            if node.op_type not in self.operations or self._constant(node):
                self._fold(node)
            else:
                self.values[name] = self.operations[node.op_type](self, node)
        return self.values[name]

    def bent(self, node: onnx.NodeProto, index: int = 0) -> Exact | Bent:
        """A map that a function may have bent; a sigmoid that is not the last operation is one."""
        found = self.value(node.input[index])
        if isinstance(found, Final):
            assert found.kind == "sigmoid", found.kind
            return straight(found.x).then(lambda channel, number: sigmoid(number))
        assert isinstance(found, Exact | Bent), (node.name, index)
        return found

    def map(self, node: onnx.NodeProto, index: int = 0) -> Exact:
        found = self.value(node.input[index])
        assert isinstance(found, Exact), (node.name, index)
        return found

    def floats(self, node: onnx.NodeProto, index: int) -> np.ndarray:
        """A constant of floats."""
        found = self.value(node.input[index])
        assert isinstance(found, np.ndarray), (node.name, index)
        return found

    def rationals(self, node: onnx.NodeProto, index: int, channels: int) -> list[Fraction]:
        """A constant's numbers, one per channel."""
        found = self.value(node.input[index])
        if isinstance(found, Grid):
            scale = np.broadcast_to(found.scale, found.integers.shape).reshape(-1)
            numbers = [int(q) * Fraction(float(s)) for q, s in zip(found.integers.reshape(-1), scale, strict=True)]
        else:
            assert isinstance(found, np.ndarray)
            numbers = [Fraction(float(number)) for number in found.reshape(-1)]
        assert len(numbers) in (1, channels), (node.name, len(numbers), channels)
        return numbers * channels if len(numbers) == 1 else numbers

    def quantizer(self, node: onnx.NodeProto) -> Quantizer:
        given = attributes(node)
        scale = np.asarray(self.value(node.input[1]), np.float32)
        zero, bits = (np.asarray(self.value(node.input[index])) for index in (2, 3))
        assert not zero.any(), "zero points are 0"
        width, signed, narrow = int(bits.reshape(())), given.get("signed", 1), given.get("narrow", 1)
        if signed:
            return Quantizer(scale, -(1 << width - 1) + narrow, (1 << width - 1) - 1)
        return Quantizer(scale, 0, (1 << width) - 1 - narrow)

    def linear(self, node: onnx.NodeProto, rank: int, kind: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
        """Scale and zero point of a QuantizeLinear or DequantizeLinear, as they broadcast, and the integers' type."""
        scale, zero = np.asarray(self.value(node.input[1]), np.float32), np.zeros((), kind or np.uint8)
        if len(node.input) > 2 and node.input[2]:
            zero = np.asarray(self.value(node.input[2]))
        shape = [1] * rank
        if scale.size > 1:
            shape[attributes(node).get("axis", 1)] = -1
        return (
            scale.reshape(shape),
            (zero.astype(np.int64) + np.zeros(scale.shape, np.int64)).reshape(shape),
            zero.dtype,
        )

    def _clipped(self, node: onnx.NodeProto) -> Quantizer:
        """A QuantizeLinear and the Clip behind it, counted from the zero point."""
        scale, zero, kind = self.linear(node, 4)
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        for reader in self.live():
            if reader.op_type == "Clip" and reader.input[0] == node.output[0]:
                low, high = (int(np.asarray(self.value(name))) for name in reader.input[1:])
        return Quantizer(scale, low - int(zero.flat[0]), high - int(zero.flat[0]))

    def _constant(self, node: onnx.NodeProto) -> bool:
        """Is it arithmetic of sizes, by ONNX's own reference?"""
        if node.op_type in QUANTIZERS:
            return False
        return all(isinstance(self.value(name), np.ndarray) for name in node.input if name)

    def _fold(self, node: onnx.NodeProto) -> None:
        given: dict[str, np.ndarray] = {}
        for name in filter(None, node.input):
            found = self.value(name)
            found = found.x if isinstance(found, Final) else found
            if isinstance(found, Exact | Bent):
                assert node.op_type == "Shape", node.op_type
                found = np.zeros((1, *found.shape), np.float32)
            assert isinstance(found, np.ndarray), name
            given[name] = found
        found = reference(node, given, self.opset)
        self.values.update(zip(node.output, found, strict=True))


Operation = Callable[[Executor, onnx.NodeProto], Value]


def reference(node: onnx.NodeProto, given: Mapping[str, np.ndarray], opset: int) -> list[np.ndarray]:
    """A node's results, by ONNX's own reference."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in node.output]
    graph = helper.make_graph([node], "alone", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return [np.asarray(array) for array in ReferenceEvaluator(alone).run(None, dict(given))]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes by name; text as str."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def classes(x: Exact) -> np.ndarray:
    """Of one channel, is it above 0; of several, the number of the largest, the first among equals."""
    if len(x.integers) == 1:
        return np.asarray(x.integers[0] > 0, np.uint8)
    n, _ = x.in_one_unit()
    best, which = n[0], np.zeros(n.shape[1:], np.uint8)
    for channel in range(1, len(n)):
        which[n[channel] > best] = channel
        best = np.maximum(best, n[channel])
    return which
