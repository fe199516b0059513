"""The integer graph becomes layers: what one pass of the engine does, convolution to stored planes.

A layer reads operands (the inputs of a concat, each perhaps enlarged twice by nearest neighbour while it is read),
multiplies, requantizes, and stores its map, its 2x2 maximum, or both; the head's layer stores sums.  Concat and
Upsample2d move no data: they are a *view*, a list of operands.  The rest is brought into a form that the engine has:

    1x1 of stride 2 or on an enlarged operand    a 3x3 with one tap
    Bilinear2d                                   a 3x3 on an enlarged operand, the edges apart (`bilinear`)
    Add                                          a 1x1 over both operands, two weights per channel
    Requantize or MaxPool2d of stored planes     a 1x1 with weight 1
    MaxPool2d of a transposed convolution        the same: its rows and pixels are made in other passes
    Upsample2d of Upsample2d, and the like       the inner one is stored
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.compile import bilinear
from hwseg.compile.layers import Dot, Layer, Network, Operand, View
from hwseg.compile.layout import TensorLayout
from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node, TensorType
from hwseg.ops import SUMS, Add, Bilinear2d, Concat, ConvTranspose2d, MaxPool2d, Requantize, Upsample2d, macs
from hwseg.rtl.config import PSUM_BITS

__all__ = ["Dot", "Layer", "Network", "Operand", "View", "fuse_head", "lower"]

MAX_PLANES = 8
SUM_BITS = 32
"""What a requantizer takes."""
WIDE = 32639
"""Largest weight that is 256 * high + low of two signed bytes."""


@dataclass(frozen=True)
class Pending:
    """A convolution whose accumulators wait for their requantizer."""

    node: Node
    view: View


@dataclass
class Lowering:
    """State of the walk over the graph's nodes."""

    graph: Graph
    allow_inexact: bool = False
    views: dict[str, View] = field(default_factory=dict)
    sums: dict[str, Pending] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    types: dict[str, TensorType] = field(init=False)
    """The graph's, and those of maps that only the engine has."""
    extras: dict[tuple[str, str], str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    inexact: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = dict(self.graph.types)

    def run(self) -> Network:
        graph = self.graph
        self._check_planes(graph.input, graph.input)
        self.views[graph.input] = (Operand(graph.input, graph.types[graph.input].shape[2]),)
        for node in graph.nodes:
            self._node(node)
        sums = self._head()
        layers = self._needed()
        stored = {graph.input} | {name for layer in layers for name in (layer.output, layer.pooled) if name}
        if sums:
            stored.discard(graph.head.tensor)
        tensors = {name: layout_of(kind) for name, kind in self.types.items() if name in stored}
        return Network(graph.name, graph.input, graph.head.tensor, sums, layers, tensors)

    def _node(self, node: Node) -> None:
        op, source = node.op, node.inputs[0]
        if isinstance(op, SUMS):
            self.sums[node.output] = Pending(node, self._view(node, source))
        elif isinstance(op, Requantize):
            self._check_planes(node.output, node.name)
            self._requantize(node, op, source)
        elif isinstance(op, MaxPool2d):
            self._pool(node, source)
        elif isinstance(op, Upsample2d):
            if any(operand.upsampled for operand in self._view(node, source)):
                self._materialize(node, source)
            self.views[node.output] = tuple(replace(o, upsampled=True) for o in self._view(node, source))
        elif isinstance(op, Concat):
            self.views[node.output] = tuple(o for name in node.inputs for o in self._view(node, name))
        elif isinstance(op, Add):
            self._check_planes(node.output, node.name)
            self._add(node, op)
        else:
            raise HwsegError(node.name, f"{type(op).__name__} is not supported by the compiler")

    def _view(self, node: Node, name: str) -> View:
        if not self._settled(name):
            raise HwsegError(
                node.name, f"input {name} must have at most 8 bits, is an accumulator", "put a quantizer before it"
            )
        return self.views[name]

    def _settled(self, name: str) -> bool:
        """Is it a stored map, or a view?  Bilinear sums of few bits become one: they need no rounding."""
        pending = None if name in self.views or self.types[name].bits > MAX_PLANES else self.sums.get(name)
        if pending is not None and isinstance(pending.node.op, Bilinear2d):
            self._requantize(pending.node, passing(self.types[name]), name)
        return name in self.views

    def _check_planes(self, name: str, place: str) -> None:
        bits = self.types[name].bits
        require(bits <= MAX_PLANES, place, f"{name} must have at most 8 bits, has {bits}", "use an 8-bit quantizer")

    def _fresh(self, *names: str) -> str:
        candidates = [*names, *(f"{names[-1]}_{i}" for i in range(2, 2 + len(self.names)))]
        name = next(n for n in candidates if n not in self.names)
        self.names.add(name)
        return name

    def _requantize(self, node: Node, op: Requantize, source: str) -> None:
        self.views[node.output] = (Operand(node.output, self.types[node.output].shape[2]),)
        if source in self.sums and isinstance(self.sums[source].node.op, Bilinear2d):
            self._bilinear(self.sums[source], op, node.output)
        elif source in self.sums:
            pending = self.sums[source]
            self._convolution(pending, self._fresh(pending.node.name, node.name), op, node.output)
        else:
            self._identity(node.name, source, op, output=node.output)

    def _pool(self, node: Node, source: str) -> None:
        view, kind = self._view(node, source), self.types[source]
        height, width, channels = kind.shape
        require(
            height % 2 == 0 and width % 2 == 0,
            node.name,
            f"pools a map of {height}x{width}, which must be even",
            f"use {height + height % 2}x{width + width % 2}",
        )
        producer = self.layers.get(view[0].tensor)
        direct = len(view) == 1 and not view[0].upsampled
        if direct and producer is not None and producer.output == view[0].tensor and producer.pools:
            if producer.pooled is None:
                self.layers[view[0].tensor] = replace(producer, pooled=node.output)
            else:
                self.views[node.output] = self.views[producer.pooled]
                return
        else:
            self._identity(node.name, source, passing(kind), output=None, pooled=node.output)
        self.views[node.output] = (Operand(node.output, channels),)

    def _materialize(self, node: Node, name: str) -> None:
        """Store what was only a view."""
        kind = self.types[name]
        producer = self.graph.producer.get(name, node)
        self._identity(producer.name, name, passing(kind), output=name)
        self.views[name] = (Operand(name, kind.shape[2]),)

    def _identity(self, name: str, source: str, op: Requantize, output: str | None, pooled: str | None = None) -> None:
        channels = self.types[source].shape[2]
        weights = np.eye(channels, dtype=np.int8)[:, :, None, None]
        op_name = "maxpool" if output is None else "requantize"
        self._add_layer(self._fresh(name), op_name, 1, self.views[source], weights, None, op, output, pooled, 0)

    def _convolution(self, pending: Pending, name: str, op: Requantize | None, output: str) -> None:
        node = pending.node
        assert node.weights is not None, node.name
        transposed = isinstance(node.op, ConvTranspose2d)
        kernel, stride = (2, 1) if isinstance(node.op, ConvTranspose2d) else (node.op.kernel, node.op.stride)  # type: ignore[union-attr]
        require(kernel in (1, 2, 3), node.name, f"kernel must be 1x1 or 3x3, is {kernel}x{kernel}")
        require(stride in (1, 2), node.name, f"stride must be 1 or 2, is {stride}")
        if (transposed or stride == 2) and any(o.upsampled for o in pending.view):
            self._materialize(node, node.inputs[0])
            pending = Pending(node, self.views[node.inputs[0]])
        kind = {1: "conv1x1", 3: "conv3x3", 2: "tconv2x2"}[kernel] + ("/2" if stride == 2 else "")
        count = macs(node.op, [self.types[n].shape for n in node.inputs])
        self._add_layer(name, kind, kernel, pending.view, node.weights, None, op, output, None, count, stride)

    def _bilinear(self, pending: Pending, op: Requantize, output: str) -> None:
        """Layers for the word columns at the edges and for those between them."""
        node, x = pending.node, pending.view
        if len(x) > 1 or x[0].upsampled:
            self._materialize(node, node.inputs[0])
            x = self.views[node.inputs[0]]
        kind = self.types[x[0].tensor]
        _, width, channels = kind.shape
        signs = (1, -1) if kind.signed else (1,)
        maps = self._unsigned(node, x[0]) if kind.signed else (x[0].tensor,)
        for piece in bilinear.pieces(width):
            sides = [side for side, wanted in (("left", piece.left), ("right", piece.right)) if wanted]
            names = [name for m in maps for name in (m, *(self._edge(node, m, side) for side in sides))]
            view = tuple(Operand(name, channels, True) for name in names)
            weights = bilinear.enlarging_weights(channels, signs, piece.left, piece.right)
            name = self._fresh(f"{node.name}/{piece.name}" if piece.name else node.name)
            layer = self._layer(name, "bilinear", 3, view, weights, None, op, output, None, 0)
            self.layers[f"{output} {piece.name}"] = replace(layer, columns=piece.columns, repeat_rows=True)

    def _unsigned(self, node: Node, x: Operand) -> tuple[str, str]:
        """x = first - second, both unsigned."""
        kind = self.types[x.tensor]
        made = []
        for side, high, factor in (("positive", kind.high, 1), ("negative", -kind.low, -1)):
            name, new = self._extra(x.tensor, side, bilinear.unsigned(kind.shape, high, kind.scale))
            if new:
                op = bilinear.clamping(0, high, factor=factor)
                self._identity(f"{node.name}/{side}", x.tensor, op, name)
            made.append(name)
        return made[0], made[1]

    def _extra(self, tensor: str, what: str, kind: TensorType) -> tuple[str, bool]:
        """The name of a map that only the engine has, and whether it is new."""
        if (tensor, what) in self.extras:
            return self.extras[tensor, what], False
        name = f"{tensor}/{what}"
        while name in self.types:
            name += "'"
        self.types[name], self.extras[tensor, what] = kind, name
        return name, True

    def _edge(self, node: Node, tensor: str, side: str) -> str:
        """The map that is 0 but for the pixels at one edge; other word columns than are needed are never written."""
        kind = self.types[tensor]
        height, width, channels = kind.shape
        name, new = self._extra(tensor, side, bilinear.unsigned(kind.shape, kind.high, kind.scale))
        if not new:
            return name
        ones, new = self._extra(tensor, "ones", bilinear.unsigned((height, width, 1), bilinear.ONES, kind.scale))
        if new:
            group = Operand(tensor, min(8, channels))
            weights, op = bilinear.ones_weights(group.channels), bilinear.clamping(0, bilinear.ONES, bilinear.ONES)
            self._add_layer(self._fresh(f"{node.name}/ones"), "edge", 1, (group,), weights, None, op, ones, None, 0)
        view, weights = (Operand(tensor, channels), Operand(ones, 1)), bilinear.edge_weights(channels, side == "right")
        op = bilinear.clamping(0, kind.high)
        layer = self._layer(self._fresh(f"{node.name}/{side} edge"), "edge", 3, view, weights, None, op, name, None, 0)
        columns = (0, 1) if side == "left" else bilinear.right_columns(width)
        self.layers[name] = replace(layer, columns=columns)
        return name

    def _add(self, node: Node, op: Add) -> None:
        views = [self._view(node, name) for name in node.inputs]
        channels = self.types[node.output].shape[2]
        kinds = [self.types[name] for name in node.inputs]
        wide, factor = self._add_weights(node, op, kinds)
        weights = np.concatenate([w * np.eye(channels, dtype=np.int64) for w in wide], axis=1)[:, :, None, None]
        high, low = weights, None
        if max(map(abs, wide)) > 127:
            low = ((weights + 128) % 256 - 128).astype(np.int8)
            high = (weights - low) // 256
        requantize = Requantize((factor,), (op.offset,), op.low, op.high)
        self.views[node.output] = (Operand(node.output, channels),)
        view = views[0] + views[1]
        name = self._fresh(node.name)
        self._add_layer(name, "add", 1, view, high.astype(np.int8), low, requantize, node.output, None, 0)

    def _add_weights(self, node: Node, op: Add, kinds: list[TensorType]) -> tuple[tuple[int, int], Fraction]:
        """Integers w1, w2 and a factor with factor * (w1 * a + w2 * b) = m1 * a + m2 * b, or as good for every pair."""
        m1, m2 = op.multipliers
        if m1 == 0 or m2 == 0:
            w = (int(m1 != 0), int(m2 != 0))
            return w, m1 or m2
        ratio = m1 / m2
        w1, w2 = ratio.numerator, ratio.denominator
        if max(abs(w1), w2) <= WIDE:
            return (w1, w2), m1 / w1
        w1, w2 = nearest_pair(ratio)
        factor = m1 / w1 if abs(w1) > w2 else m2 / w2
        wrong = self._differing_pairs(op, (w1, w2), factor, kinds)
        if wrong:
            require(
                self.allow_inexact,
                node.name,
                f"residual add has {wrong} pairs of values that 16-bit weights do not reproduce "
                f"(scales {float(m1):.9g}, {float(m2):.9g})",
                "use power-of-two scales, or --allow-inexact",
            )
            self.inexact[node.name] = wrong
        return (w1, w2), factor

    def _differing_pairs(self, op: Add, w: tuple[int, int], factor: Fraction, kinds: list[TensorType]) -> int:
        from hwseg.golden import add_table

        a, b = (range(kind.low, kind.high + 1) for kind in kinds)
        exact = add_table(op, a, b)
        acc = w[0] * np.array(a, np.int64)[:, None] + w[1] * np.array(b, np.int64)[None, :]
        exact_steps = Requantize((abs(factor),), (op.offset,), op.low, op.high).steps(0)
        far = 1 << SUM_BITS  # no sum lies there
        steps = np.array([min(max(step, -far), far) for step in exact_steps], np.int64)
        near = np.searchsorted(steps, acc if factor > 0 else -acc, side="right") + op.low
        return int((exact != near).sum())

    def _add_layer(self, name: str, *arguments: Any) -> None:
        """`_layer`, under the name of what it stores."""
        layer = self._layer(name, *arguments)
        self.layers[layer.output or layer.pooled or name] = layer

    def _layer(
        self,
        name: str,
        op_name: str,
        kernel: int,
        view: View,
        weights: np.ndarray,
        low_weights: np.ndarray | None,
        requantize: Requantize | None,
        output: str | None,
        pooled: str | None,
        count: int,
        stride: int = 1,
    ) -> Layer:
        if kernel == 1 and (stride == 2 or any(o.upsampled for o in view)):
            kernel = 3
            weights = centred(weights)
            low_weights = None if low_weights is None else centred(low_weights)
        height, width, _ = self.types[view[0].tensor].shape
        enlarged = 2 if view[0].upsampled else 1
        x = (height * enlarged, width * enlarged, weights.shape[1])
        out = weights.shape[0]
        shape = (2 * x[0], 2 * x[1], out) if kernel == 2 else ((x[0] - 1) // stride + 1, (x[1] - 1) // stride + 1, out)
        wide = weights.astype(np.int64) * (256 if low_weights is not None else 1)
        wide = wide if low_weights is None else wide + low_weights
        limits = [self.types[o.tensor] for o in view for _ in range(o.channels)]
        low, high = (np.array([getattr(t, side) for t in limits], np.int64) for side in ("low", "high"))
        intervals = sum_intervals(wide, np.minimum(low, 0), np.maximum(high, 0), kernel)
        reach = int(np.abs(wide).reshape(len(wide), -1).sum(1).max()) * int(max(-low.min(), high.max()))
        least, most = int(intervals[0].min()), int(intervals[1].max())
        require(
            reach < 1 << PSUM_BITS - 1 and least >= -(1 << SUM_BITS - 1) and most < 1 << SUM_BITS - 1,
            name,
            f"accumulator must fit {SUM_BITS} bits, reaches [{least}, {most}]",
            "use fewer input channels or smaller weights",
        )
        return Layer(
            name,
            op_name,
            kernel,
            stride,
            view,
            weights,
            low_weights,
            requantize,
            intervals,
            x,
            shape,
            output,
            pooled,
            count,
        )

    def _head(self) -> bool:
        """Make the head's tensor something that is stored; True if it is sums."""
        head, graph = self.graph.head.tensor, self.graph
        if not self._settled(head) and head in self.sums:
            pending = self.sums[head]
            cure = "put a quantizer after it"
            require(not isinstance(pending.node.op, Bilinear2d), pending.node.name, "must not end the network", cure)
            self._convolution(pending, self._fresh(pending.node.name, head), None, head)
            return True
        require(head in self.views, head, "the model's output must come from a convolution or a quantizer")
        view = self.views[head]
        if len(view) != 1 or view[0].upsampled or view[0].tensor != head or head == graph.input:
            self._materialize(graph.nodes[-1], head)
        return False

    def _needed(self) -> tuple[Layer, ...]:
        """Layers that the head depends on, storing only what is read."""
        read, kept = {self.graph.head.tensor}, []
        for layer in reversed(self.layers.values()):
            output = layer.output if layer.output in read else None
            pooled = layer.pooled if layer.pooled in read else None
            if output or pooled:
                kept.append(replace(layer, output=output, pooled=pooled))
                read |= {operand.tensor for operand in layer.operands}
        return tuple(reversed(kept))


def lower(graph: Graph, allow_inexact: bool = False) -> tuple[Network, dict[str, int]]:
    """The layers of a graph, and the number of inexact pairs by node (empty unless allowed)."""
    lowering = Lowering(graph, allow_inexact)
    return lowering.run(), lowering.inexact


def fuse_head(network: Network, rows: int) -> Network:
    """The network with a 1x1 head of one class moved into the layer before it, if one pass of `rows` output channels
    makes all that it reads.
    """
    if not network.sums or len(network.layers) < 2:
        return network
    head = network.layers[-1]
    makers = [layer for layer in network.layers if layer.output == head.operands[0].tensor]
    if head.kernel != 1 or head.stride != 1 or head.shape[2] != 1 or len(head.operands) != 1 or len(makers) != 1:
        return network
    maker, tensor = makers[0], head.operands[0].tensor
    alone = sum(operand.tensor == tensor for layer in network.layers for operand in layer.operands) == 1
    fits = maker.shape[2] <= rows and maker.row_phases == 1 and maker.pooled is None and maker.low_weights is None
    if not alone or not fits or head.operands[0].upsampled or head.low_weights is not None:
        return network
    dot = Dot(head.name, head.output or network.head, head.weights[0, :, 0, 0])
    fused = replace(maker, dot=dot, macs=maker.macs + head.macs)
    layers = tuple(fused if layer is maker else layer for layer in network.layers[:-1])
    return replace(network, layers=layers)


def layout_of(kind: TensorType) -> TensorLayout:
    return TensorLayout(kind.shape, kind.bits, kind.signed)


def passing(kind: TensorType) -> Requantize:
    """The requantizer that changes nothing."""
    return Requantize((Fraction(1),), (Fraction(0),), kind.low, kind.high)


def centred(weights: np.ndarray) -> np.ndarray:
    """A 1x1 kernel as the middle of a 3x3 one."""
    return np.pad(weights, ((0, 0), (0, 0), (1, 1), (1, 1)))


def sum_intervals(weights: np.ndarray, low: np.ndarray, high: np.ndarray, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of every output channel; a transposed convolution's is the hull of its four phases."""
    taps = weights.reshape(*weights.shape[:2], -1)
    positive, negative = np.maximum(taps, 0), np.minimum(taps, 0)
    least = np.einsum("oit,i->ot", positive, low) + np.einsum("oit,i->ot", negative, high)
    most = np.einsum("oit,i->ot", positive, high) + np.einsum("oit,i->ot", negative, low)
    return (least.min(1), most.max(1)) if kernel == 2 else (least.sum(1), most.sum(1))


def nearest_pair(ratio: Fraction) -> tuple[int, int]:
    """Integers of at most 16 bits whose quotient is as near to `ratio` as possible; 0 stays 0."""
    if abs(ratio) > 1:
        w2, w1 = nearest_pair(1 / ratio)
        return (w1, w2) if w2 > 0 else (-w1, -w2)
    near = ratio.limit_denominator(WIDE)
    return near.numerator, near.denominator
