"""What the lowerings of all operations share: what each tensor of the graph is, and the layers so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Layer, Operand, View
from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node, TensorType
from hwseg.layout import Fold
from hwseg.ops import Requantize

MAX_PLANES = 8


@dataclass(frozen=True)
class Pending:
    """Sums of a node that wait for their requantizer.

    finish: makes the layers of both.  Its arguments: the state, the node, the name of who takes its sums, the
    requantizer or None for the head, the name of what is stored, and how often each channel is made, one time after
    the other.  It looks up what it reads then: meanwhile another reader may have had a view stored.
    """

    node: Node
    finish: Callable[[State, Node, str, Requantize | None, str, int], None]
    plain: bool = True
    """Whether one layer makes its sums, so that nothing is saved where a network ends with them stored."""


@dataclass
class State:
    """`views`: tensors that can be read, as operands; `sums`: those that wait; `layers` by what they store.

    `types`: the graph's, and those of maps that only the engine has, which are `extras`.  `inexact`: by node, pairs of
    values of which the engine's addition is not exact.  `head_fold`: see `Network`.  `counted`: sums that a layer has;
    further requantizers of them make layers without any of the model's multiplications.
    """

    graph: Graph
    allow_inexact: bool = False
    views: dict[str, View] = field(default_factory=dict)
    sums: dict[str, Pending] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    types: dict[str, TensorType] = field(init=False)
    extras: dict[tuple[str, str], str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    inexact: dict[str, int] = field(default_factory=dict)
    head_fold: Fold = (1, 1)
    counted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.types = dict(self.graph.types)
        self.check_planes(self.graph.input, self.graph.input)
        self.store(self.graph.input)

    def view(self, node: Node, name: str) -> View:
        """The operands that a node reads as its input `name`."""
        if not self.settled(name):
            raise HwsegError(
                node.name, f"input {name} must have at most 8 bits, is an accumulator", "put a quantizer before it"
            )
        return self.views[name]

    def settled(self, name: str) -> bool:
        """Is it a stored map, or a view?  Sums of few bits become one: they need no rounding."""
        pending = None if name in self.views or self.types[name].bits > MAX_PLANES else self.sums.get(name)
        if pending is not None:
            self.store(name)
            pending.finish(self, pending.node, pending.node.name, passing(self.types[name]), name, 1)
        return name in self.views

    def check_planes(self, name: str, place: str) -> None:
        """Maps have at most 8 bits."""
        bits = self.types[name].bits
        require(bits <= MAX_PLANES, place, f"{name} must have at most 8 bits, has {bits}", "use an 8-bit quantizer")

    def fresh(self, *names: str) -> str:
        """The first of some names that no layer has, or the last with a number."""
        candidates = [*names, *(f"{names[-1]}_{i}" for i in range(2, 2 + len(self.names)))]
        name = next(n for n in candidates if n not in self.names)
        self.names.add(name)
        return name

    def store(self, name: str) -> None:
        """From now on the tensor is read where it lies."""
        self.views[name] = (Operand(name, self.types[name].shape[2]),)

    def materialize(self, node: Node, name: str) -> View:
        """Store what was only a view, because `node` cannot read it so; once, whoever reads it."""
        producer = self.graph.producer.get(name, node)
        stored: list[Operand] = []
        for part in self.parts(name):
            self.identity(producer.name, part, passing(self.types[part]), output=part)
            self.store(part)
            stored += self.views[part]
        self.views[name] = tuple(stored)
        return self.views[name]

    def parts(self, name: str) -> list[str]:
        """The view itself, or where eight planes cannot hold all of it, because some operands are signed and others
        not, views of neighbouring ones that are alike.
        """
        if self.types[name].bits <= MAX_PLANES:
            return [name]
        found, (height, width, _) = [], self.types[name].shape
        for number, (_, group) in enumerate(groupby(self.views[name], lambda o: self.types[o.tensor].signed)):
            operands = tuple(group)
            kinds = [self.types[o.tensor] for o in operands]
            shape = (height, width, sum(o.channels for o in operands))
            low, high = min(kind.low for kind in kinds), max(kind.high for kind in kinds)
            part, _ = self.extra(name, f"part {number}", TensorType(shape, low, high, self.types[name].scale))
            self.views[part] = operands
            found.append(part)
        return found

    def identity(
        self, name: str, source: str, op: Requantize, output: str | None = None, pooled: str | None = None
    ) -> None:
        """A 1x1 with weight 1 over a view: what is stored is requantized, pooled, or only moved together."""
        weights = np.eye(self.types[source].shape[2], dtype=np.int8)[:, :, None, None]
        kind, view = "maxpool" if output is None else "requantize", self.views[source]
        layer = build(self.types, self.fresh(name), kind, 1, view, weights, requantize=op, output=output, pooled=pooled)
        self.add(layer)

    def extra(self, tensor: str, what: str, kind: TensorType) -> tuple[str, bool]:
        """The name of a map that only the engine has, and whether it is new."""
        if (tensor, what) in self.extras:
            return self.extras[tensor, what], False
        name = f"{tensor}/{what}"
        while name in self.types:
            name += "'"
        self.types[name], self.extras[tensor, what] = kind, name
        return name, True

    def note(self, name: str) -> None:
        """What is new was made for a node."""
        for key, layer in self.layers.items():
            if not layer.made_for:
                self.layers[key] = replace(layer, made_for=name)

    def add(self, layer: Layer) -> None:
        """Keep a layer under the name of what it stores."""
        self.layers[layer.output or layer.pooled or layer.name] = layer


def passing(kind: TensorType) -> Requantize:
    """The requantizer that changes nothing."""
    return Requantize((Fraction(1),), (Fraction(0),), kind.low, kind.high)
