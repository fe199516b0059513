"""An ONNX file under construction, and what is known of its tensors while it is drawn.

`Part` is the drawer's own account of what may follow a tensor; it is not needed for right and wrong, which the file
alone decides.  Where it is mistaken a graph is refused, and refusals are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
ANYWHERE = 6, 13
"""Styles of a quantizer whose zero point is anywhere."""
NEVER_READ = "Gelu"
"""An operation that no executor of this project knows: dead branches may hold anything."""


class Unbuildable(Exception):
    """A recipe that makes no sense any more, because shrinking took something away."""


def build_check(condition: bool, why: str) -> None:
    if not condition:
        raise Unbuildable(why)


@dataclass(frozen=True)
class Part:
    """Channels with one history.

    scale: of an activation, integers in [low, high] times it; None while the numbers wait for a quantizer.  spread: a
    typical magnitude; grain: about the distance between neighbouring numbers.  relu, pooled, moved: happened since the
    last quantizer.  leaky: what the relu leaves may be below 0.  pair: a sum of two activations.  bent: by a function.
    clipped: kept within two numbers.
    """

    channels: int
    low: int
    high: int
    scale: Fraction | None
    spread: float
    grain: float
    relu: bool = False
    pooled: bool = False
    moved: bool = False
    pair: bool = False
    leaky: bool = False
    bent: bool = False
    clipped: bool = False

    @property
    def bits(self) -> int:
        return word(self.low, self.high)


def word(low: int, high: int) -> int:
    """Bits of the smallest word that holds [low, high]."""
    return max(1, high.bit_length() + (low < 0), (-low - 1).bit_length() + 1 if low < 0 else 0)


@dataclass(frozen=True)
class Map:
    """A tensor of the network, [1, channels, rows, columns]."""

    name: str
    rows: int
    columns: int
    parts: tuple[Part, ...]
    final: str = ""
    """The operation that ended the network, if it has come."""
    around: tuple[int, ...] = ()
    """Zeros above, left, below and right of it, which a convolution has to take as its own."""

    @property
    def channels(self) -> int:
        return sum(part.channels for part in self.parts)

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    @property
    def low(self) -> int:
        return min(part.low for part in self.parts)

    @property
    def high(self) -> int:
        return max(part.high for part in self.parts)

    @property
    def scale(self) -> Fraction | None:
        return self.parts[0].scale

    @property
    def spread(self) -> float:
        return max(part.spread for part in self.parts)

    @property
    def grain(self) -> float:
        return min(part.grain for part in self.parts)

    @property
    def open(self) -> bool:
        """May any operation read it?"""
        return not self.final and not self.around

    @property
    def integers(self) -> bool:
        """Integers of at most 8 bits with one scale, perhaps with zeros around them: what convolutions compute with."""
        one = all(part.scale is not None and part.scale == self.scale for part in self.parts)
        return one and word(self.low, self.high) <= 8 and not self.final

    @property
    def activation(self) -> bool:
        """The same without zeros around them."""
        return self.integers and self.open

    @property
    def ends(self) -> bool:
        """Can it be the network's output, before sigmoid and the like?"""
        part = self.parts[0]
        waiting = part.relu or part.moved or part.pair or part.bent or part.clipped or self.around
        return self.activation or (len(self.parts) == 1 and not waiting)

    def called(self, name: str, **changes: Any) -> Map:
        return replace(self, name=name, **changes)


class Net:
    """Nodes and constants of a file; `node` returns the name of the tensor that it makes.

    inline: constants are nodes, not initializers.  qdq: quantizers are QuantizeLinear, Clip and DequantizeLinear, where
    those can say the same.
    """

    def __init__(self, opset: int, inline: bool = False, qdq: bool = False) -> None:
        self.opset, self.inline = opset, inline
        self.qdq = qdq and opset >= 13
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.picture: tuple[int, int, int] = (1, 1, 1)
        self.metadata: dict[str, str] = {}

    def const(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        names = [f"{name}.{i}" if i else f"t{len(self.nodes)}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain, **attributes))
        return names[0]

    def quant(self, x: str, scale: Any, bits: int, signed: bool, narrow: bool, style: int = 0) -> str:
        """style: one of the ways in which exporters write the same node."""
        array = np.asarray(scale, np.float32)
        if self.qdq and (bits <= 8 or (bits, signed, narrow) == (32, True, False)):
            return self._linear(x, array, bits, signed, narrow, style)
        if array.size == 1:
            array = array.reshape(((), (1,), (1, 1, 1, 1), ())[style % 4])
        mode = ("ROUND", "HALF_EVEN")[style // 4 % 2]
        op = ("Quant", "IntQuant")[style // 8 % 2]
        return self.node(
            op,
            x,
            self.const(array),
            self.const(np.float32(0) if style % 3 else np.zeros(1)),
            self.const(np.float32(bits)),
            domain=DOMAIN,
            signed=int(signed),
            narrow=int(narrow),
            rounding_mode=mode,
        )

    def _linear(self, x: str, scale: np.ndarray, bits: int, signed: bool, narrow: bool, style: int) -> str:
        """The same in two or three nodes: the style's first bit says which of two zero points, the second where a
        constant begins, the third whether what would do without a Clip has one.  8 bits of a map have in some styles a
        zero point that is anywhere, so that the integers need 9 around it.
        """
        computed = any(x == node.output[0] for node in self.nodes)
        if style in ANYWHERE and (bits, narrow) == (8, False) and computed and scale.size == 1:
            return self._anywhere(x, scale, style)
        low = (narrow - (1 << bits - 1)) if signed else 0
        high = low + (1 << bits) - 1 - narrow
        other, early, clips = style & 1, style & 2, style & 4
        kind: Any = np.int32 if bits == 32 else np.uint8 if signed == bool(other) else np.int8
        zero = 0 if bits == 32 or not other else 128 if signed else -128
        lasting = next((c for c in self.constants if c.name == x), None)
        axis = {"axis": int(np.argmax(scale.shape))} if scale.size > 1 else {}
        parameters = [self.const(scale.reshape(-1) if scale.size > 1 else scale.reshape(())), ""]
        if zero or kind is not np.uint8 or style & 8:
            parameters[1] = self.const(np.full(scale.size, zero) if scale.size > 1 else zero, kind)
        if lasting is not None and (early or bits == 32):
            ratio = np.asarray(numpy_helper.to_array(lasting) / scale).astype(np.float64)
            name = self.const(np.rint(np.clip(ratio, low, high)).astype(np.int64) + zero, kind)
        else:
            name = self.node("QuantizeLinear", x, *filter(None, parameters), **axis)
        limits = np.iinfo(kind)
        if clips or (low + zero, high + zero) != (limits.min, limits.max):
            name = self.node("Clip", name, self.const(low + zero, kind), self.const(high + zero, kind))
        return self.node("DequantizeLinear", name, *filter(None, parameters), **axis)

    def _anywhere(self, x: str, scale: np.ndarray, style: int) -> str:
        """int8 or uint8 with a zero point that is neither an end nor the middle, or nearly one."""
        below = (1, 254, 1 + 89 * len(self.nodes) % 254, 1 + 61 * len(self.nodes) % 254)[len(self.nodes) % 4]
        zero = self.const(below - 128, np.int8) if style & 1 else self.const(below, np.uint8)
        parameters = self.const(scale.reshape(())), zero
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def model(self, outputs: Sequence[str], order: int = 0) -> onnx.ModelProto:
        """order: 0 as made, 1 from the end, else shuffled by this seed."""
        nodes: Sequence[onnx.NodeProto] = self.nodes
        if order == 1:
            nodes = nodes[::-1]
        elif order:
            nodes = [nodes[i] for i in np.random.default_rng(order).permutation(len(nodes))]
        channels, rows, columns = self.picture
        if self.inline:
            made = [helper.make_node("Constant", [], [c.name], value=c) for c in self.constants]
            nodes = [*made, *nodes] if order != 1 else [*nodes, *made]
        graph = helper.make_graph(
            nodes,
            "drawn",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, channels, rows, columns))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs],
            [] if self.inline else self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        helper.set_model_props(model, self.metadata)
        return model
