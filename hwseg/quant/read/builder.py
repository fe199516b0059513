"""The integer graph while it grows: what each ONNX tensor is, quantizers applied, activations named.

The rules of all operations (`hwseg.quant.read.load`) share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.ir import AXES, Node, TensorType
from hwseg.ops import Add, Concat, Function, Op, PRelu, Requantize, shape, with_zero
from hwseg.quant.read.axes import LAST, channels_first, lengths
from hwseg.quant.read.instead import RESHAPED
from hwseg.quant.read.integers import SYMMETRIC, Integers
from hwseg.quant.read.onnx_file import EXPORT, MAX_ELEMENTS, OnnxFile, OnnxNode
from hwseg.quant.read.picture import picture_range
from hwseg.quant.read.quantizer import Quantized, Quantizer, read_quantizer
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import ZERO, Move, Part, Rationals, Value, rationals, show, zipped


@dataclass(frozen=True)
class Padded:
    """The tensor `source` with zeros around it: rows and columns before and behind.  node: the Pad."""

    node: str
    source: str
    widths: tuple[int, int, int, int]


@dataclass(frozen=True)
class Rounded:
    """What a quantizer made an activation of: `part`, in units of `scale`.  name, output: of its node."""

    part: Part
    name: str
    output: str
    quantizer: Quantizer
    scale: Fraction


@dataclass
class Builder:
    """The graph so far: `values` of ONNX tensors, `constants` quantized so far, nodes and types of the result."""

    file: OnnxFile
    inside: Callable[[Builder, str, Value], Value]
    """Makes of a Sigmoid, by its output, what others than the head read."""
    values: dict[str, Value] = field(default_factory=dict)
    quantized: dict[str, Quantized] = field(default_factory=dict)
    integers: dict[str, Integers] = field(default_factory=dict)
    """What waits between a QuantizeLinear and its DequantizeLinear."""
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    padded: dict[str, Padded] = field(default_factory=dict)
    """Maps with zeros around them, which wait for a convolution."""
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    made: dict[tuple[object, ...], str] = field(default_factory=dict)
    input_quantizer: bool = True
    inner: dict[str, Value] = field(default_factory=dict)
    """What a Sigmoid gives that others than the head read."""
    names: set[str] = field(default_factory=set)
    """Of the nodes so far."""
    repeated: dict[str, int] = field(default_factory=dict)
    """By name, the smallest number that may be free."""
    wide: dict[tuple[str, ...], Rounded] = field(default_factory=dict)
    """By the two maps of an activation of 9 bits: what they were rounded from (`hwseg.quant.read.wide`)."""
    outputs: set[str] = field(init=False)
    """Tensors of the file's nodes."""

    def __post_init__(self) -> None:
        self.constants.update(self.file.constants)
        self.outputs = {output for node in self.file.nodes for output in node.outputs}
        _, channels, height, width = self.file.shape
        low, high, scale, self.input_quantizer = picture_range(self.file, self.constant)
        self.types[self.file.input] = TensorType((height, width, channels), low, high, (scale,))
        axes = LAST if self.file.channels_last else AXES
        self.values[self.file.input] = Value((self.part(self.file.input),), axes=axes)

    def value(self, node: OnnxNode, index: int = 0) -> Value:
        """The map [1, C, H, W] a node reads."""
        value, name = self.ordered(node, index), node.input(index)
        if value.activation == "sigmoid":
            if name not in self.inner:
                self.inner[name] = self.inside(self, name, value)
            value = self.inner[name]
        late = value.activation.capitalize()
        require(
            value.activation == "none", node.name, f"nothing may follow the final {late}", f"end the model with {late}"
        )
        shape = list(lengths(value.axes, value.given))
        first = channels_first(value.axes, value.given)
        require(first, node.name, f"{node.op} must read a map [1, C, H, W], not {shape} of other axes", RESHAPED)
        return value

    def ordered(self, node: OnnxNode, index: int = 0) -> Value:
        """What a node reads of the picture, in any order of axes, perhaps behind the final activation."""
        name = node.input(index)
        self.refuse_padded(name, node.op)
        if name in self.integers:
            rule = f"input {index} must be an activation, {name!r} is integers of {self.integers[name].node.name}"
            raise HwsegError(node.name, rule, "put a DequantizeLinear before it")
        if name not in self.values:
            constant = name in self.constants or name in self.quantized
            what = "a constant" if constant else "no first output of a node" if name else "missing"
            cure = "compute it before the export" if constant else "read a node's first output" if name else EXPORT
            raise HwsegError(node.name, f"input {index} must be an activation, {name or 'it'!r} is {what}", cure)
        return self.values[name]

    def refuse_padded(self, name: str, reader: str) -> None:
        """A map with zeros around it is for convolutions."""
        if name in self.padded:
            rule = f"padding a map is supported before a convolution only, not before {reader}"
            cure = "use padding of the convolutions, which is with zeros"
            raise UnfitSizeError(self.padded[name].node, rule, cure)

    def keep(self, name: str, value: Value) -> None:
        """From now on `name` is the same in another form.  The head has its own of a last Sigmoid."""
        (self.inner if name in self.inner else self.values)[name] = value

    def numbers(self, node: OnnxNode, index: int, what: str) -> Rationals:
        """The same exactly: what floats say, and of a quantized constant each integer times its scale."""
        if node.input(index) in self.quantized:
            return self.quantized[node.input(index)].rationals
        return rationals(self.constant(node, index, what))

    def constant(self, node: OnnxNode, index: int, what: str) -> np.ndarray:
        """A constant a node reads: float, finite; `numbers` has its exact values."""
        name = node.input(index)
        if name in self.quantized:
            found = self.quantized[name]
            return np.asarray(found.integers.astype(np.float64) * found.scale)
        if name not in self.constants:
            cure = "make it a number that is fixed before the export" if name else EXPORT
            raise HwsegError(node.name, f"{what} must be a constant, is {name or 'missing'!r}", cure)
        array = self.constants[name]
        finite = bool(np.isfinite(array).all())
        require(finite, node.name, f"{what} must be finite numbers", "train again or check the export")
        return array

    def quantizer(self, node: OnnxNode) -> Quantizer:
        """Checked parameters of a Quant node."""
        return read_quantizer(node, self.constant)

    def emit(self, name: str, op: Op, inputs: tuple[str, ...], output: str, kind: TensorType) -> str:
        self.append(Node(self.fresh(name), op, inputs, output))
        return self.record(name, output, kind)

    def append(self, node: Node) -> None:
        self.nodes.append(node)
        self.names.add(node.name)

    def record(self, place: str, output: str, kind: TensorType) -> str:
        size = kind.shape[0] * kind.shape[1] * kind.shape[2]
        require(
            size <= MAX_ELEMENTS, place, f"result {kind.shape} must have at most {MAX_ELEMENTS} elements", "use a crop"
        )
        self.types[output] = kind
        return output

    def unused(self, tensor: str) -> str:
        """A name for a tensor that only the graph has."""
        while tensor in self.types or tensor in self.outputs:
            tensor += "'"
        return tensor

    def fresh(self, name: str) -> str:
        """Names of nodes are unique in the graph; ONNX does not promise it."""
        if name not in self.names:
            return name
        number = self.repeated.get(name, 2)
        while f"{name}#{number}" in self.names:
            number += 1
        self.repeated[name] = number
        return f"{name}#{number}"

    def part(self, tensor: str) -> Part:
        kind = self.types[tensor]
        return Part(kind.shape, (tensor,), (kind.scale,))

    def is_activation(self, part: Part) -> bool:
        """Is the part exactly one integer tensor of at most 8 bits?"""
        kind = self.types[part.tensors[0]]
        plain = (
            part.curve is None and len(part.tensors) == 1 and part.offset == ZERO and not part.relu and not part.moves
        )
        plain = plain and part.ends is None
        return plain and part.scales[0] == kind.scale and len(kind.scale) == 1 and kind.bits <= 8

    def is_wide(self, part: Part) -> bool:
        """Is the part exactly one activation of 9 bits, in two maps?"""
        plain = part.split and part.offset == ZERO and not part.relu and part.ends is None and not part.moves
        return plain and part.scales == tuple(self.types[tensor].scale for tensor in part.tensors)

    def settle_part(self, part: Part, output: str) -> Part:
        """Apply a ReLU to a tensor that is quantized already; other parts stay as they are."""
        kind = self.types[part.tensors[0]]
        if part.relu and not part.moves and kind.low >= 0 and self.is_activation(without_relu(part)):
            return without_relu(part)
        if part.slope != ZERO:
            return part
        if part.relu and self.is_wide(without_relu(part)):
            return self._settle_wide(part, output)
        if not part.relu or part.moves or not self.is_activation(without_relu(part)):
            return part
        return self.quantize_part(
            part, part.relu, output, Quantizer(np.ones(1, np.float32), 0, max(kind.high, 0)), kind.scale[0]
        )

    def _settle_wide(self, part: Part, output: str) -> Part:
        """Of two maps: max(v, 0) has the base's numbers from 0 on, and the rest if that is above."""
        base, rest = (replace(part, tensors=(x,), scales=part.scales[:1], split=False) for x in part.tensors)
        found = self.settle_part(base, self.unused(f"{output}/base"))
        if self.types[rest.tensors[0]].low < 0:
            return found
        return replace(without_relu(part), tensors=found.tensors + rest.tensors)

    def settle(self, value: Value, output: str) -> Value:
        """One activation tensor, named `output` if it is new, if the value is one or a concatenation of one scale.

        What is not quantized yet, or has several scales, stays as it is.
        """
        many = len(value.parts) > 1
        parts = tuple(self.settle_part(p, f"{output}/{i}" if many else output) for i, p in enumerate(value.parts))
        if not many or not all(self.is_activation(part) for part in parts) or len({p.scales for p in parts}) > 1:
            return replace(value, parts=parts)
        inputs = tuple(part.tensors[0] for part in parts)
        key = ("concat", inputs)
        if key not in self.made:
            kinds = [self.types[tensor] for tensor in inputs]
            kind = TensorType(value.shape, *Concat().interval(*(k.interval for k in kinds)), kinds[0].scale)
            rule = f"concatenated branches must fit 8 bits together, [{kind.low}, {kind.high}] needs {kind.bits}"
            require(kind.bits <= 8, value.concat, rule, "make all branches signed or all unsigned")
            self.made[key] = self.emit(value.concat, Concat(), inputs, output, kind)
        return Value((self.part(self.made[key]),), axes=value.axes)

    def activation(self, node: OnnxNode, index: int = 0) -> str:
        """The integer tensor of at most 8 bits a node computes with, or the reason why there is none."""
        name = node.input(index)
        value = self.settle(self.value(node, index), name)
        self.keep(name, value)
        part = value.parts[0]
        whole = all(self.is_activation(part) or self.is_wide(part) for part in value.parts)
        if whole and any(p.scales[0] != part.scales[0] for p in value.parts):
            other = next(p for p in value.parts if p.scales[0] != part.scales[0])
            both = " and ".join(f"{p.tensors[0]} has {show(p.scales[0])}" for p in (part, other))
            cure = "put one shared quantizer on the branches"
            raise HwsegError(value.concat, f"concatenated branches must have one scale, {both}", cure)
        wide = any(self.is_wide(part) for part in value.parts)
        require(not wide, node.name, f"{name} must have at most 8 bits, has 9 because of its zero point", SYMMETRIC)
        if len(value.parts) > 1 or not self.is_activation(part):
            cure = "put a QuantIdentity or QuantReLU of at most 8 bits before it"
            cure = "put a QuantIdentity or QuantReLU on each operand and one on the sum" if node.op == "Add" else cure
            raise HwsegError(node.name, f"inputs must be quantized to at most 8 bits, {name} is not", cure)
        return part.tensors[0]

    def quantize_part(self, part: Part, name: str, output: str, quantizer: Quantizer, scale: Fraction) -> Part:
        """The Quant of one part: nothing, `Requantize` or `Add`, then the poolings that waited."""
        low, high = quantizer.low, quantizer.high
        low = min(max(low, 0), high) if part.positive else low
        key = (part, low, high, scale)
        if key in self.made:
            return self.part(self.made[key])
        kind = self.types[part.tensors[0]]
        plain = part.slope == ZERO or kind.low >= 0
        same = plain and self.is_activation(without_relu(part)) and kind.scale == (scale,)
        if same and low <= kind.low and kind.high <= high:
            return without_relu(part)
        at_source = self.types[part.tensors[0]].shape
        target = output if not part.moves else f"{output}/unmoved"
        op = _rounding(part, scale, low, high, name)
        tensor = self.emit(name, op, part.tensors, target, TensorType(at_source, *with_zero(low, high), (scale,)))
        for number, move in enumerate(part.moves, 1):
            target = output if number == len(part.moves) else f"{output}/unmoved{number}"
            tensor = self.move(move, tensor, target)
        self.made[key] = tensor
        return self.part(tensor)

    def move(self, move: Move, tensor: str, output: str) -> str:
        """Pooling or upsampling of an activation; each distinct one once."""
        kind = self.types[tensor]
        moved = TensorType(shape(move.op, (kind.shape,)), *move.op.interval(kind.interval), kind.scale)
        return self.emit(move.node, move.op, (tensor,), output, moved)


def without_relu(part: Part) -> Part:
    return replace(part, relu="", slope=ZERO)


def _rounding(part: Part, scale: Fraction, low: int, high: int, name: str) -> Op:
    """What rounds a part to integers times `scale`, in [low, high]."""
    factors = tuple(zipped(lambda s, _: s / scale, s, ZERO) for s in part.scales)
    offset = zipped(lambda o, _: o / scale, part.offset, ZERO)
    if part.curve is not None:
        return Function(part.curve, scale, low, high)
    bends = low < high and (low < 0 or min(part.slope) < 0)  # what is below 0 anyway is 0, or the lowest number
    slope = part.slope if bends else ZERO
    if len(part.tensors) == 2:
        uniform = all(len(f) == 1 for f in (*factors, offset, slope))
        cure = "quantize the sum before normalizing it, or before a PReLU of many slopes"
        require(uniform, name, "an addition must have one scale for all channels", cure)
        plain = Add((factors[0][0], factors[1][0]), offset[0], low, high)
        return plain if slope == ZERO else replace(plain, slope=slope[0])
    if slope == ZERO:
        return Requantize(factors[0], offset, low, high)
    return PRelu(factors[0], offset, slope, low, high)
