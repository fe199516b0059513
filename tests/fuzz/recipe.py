"""A drawn network as plain data: a picture and a list of steps, each of which reads tensors made before it.

    Recipe(Picture(rows=2, columns=2), (Conv((0,), kernel=1), Quantize((1,), scale=0.25), Pool((2,))))

Tensor 0 is the picture, tensor n is made by step n - 1; the last one is the network's output.  `str` is source text
that makes the recipe again, and `build` makes the ONNX file, the same bytes every time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import onnx

from tests.fuzz.net import DOMAIN, NEVER_READ, Map, Net, Part, build_check

MOST_ELEMENTS = 16_000
"""Of one tensor: every graph takes milliseconds."""


@dataclass(frozen=True)
class Step(ABC):
    """One operation of a network, with everything that its nodes need but the sizes of what it reads.

    A field's default is its simplest value; shrinking tries it.
    """

    inputs: tuple[int, ...]
    """Numbers of the tensors that it reads."""

    weight: ClassVar[float] = 1.0
    """How often it is drawn."""

    @classmethod
    def accepts(cls, x: Map) -> bool:
        """May it follow this tensor?"""
        return x.open

    @classmethod
    @abstractmethod
    def draw(cls, pen: Any, sketch: Any, at: int) -> Step:
        """One that reads tensor `at`, and perhaps others."""

    @abstractmethod
    def emit(self, net: Net, *maps: Map) -> Map:
        """Write its nodes.  Raises Unbuildable where what it reads does not suit it."""

    def simpler(self) -> Iterator[Step]:
        """Forms of it that are nearer to the defaults."""
        yield from nearer(self, skip=("inputs",))


@dataclass(frozen=True)
class Picture:
    """The network's input: rows, columns, channels, and the quantizer that reads it.

    readers: how many equal quantizers there are.  quantized: False where the input is integers times `metadata`
    ("hwseg.input_scale" of the file), or times 1/256 where that is empty.  through: an Identity stands before it.
    """

    rows: int = 1
    columns: int = 1
    channels: int = 1
    bits: int = 8
    signed: bool = False
    narrow: bool = False
    scale: float = 2.0**-8
    quantized: bool = True
    metadata: str = ""
    through: bool = False

    def emit(self, net: Net) -> Map:
        net.picture = self.channels, self.rows, self.columns
        name = net.node("Identity", "x") if self.through else "x"
        if not self.quantized:
            if self.metadata:
                net.metadata["hwseg.input_scale"] = self.metadata
            scale = Fraction(self.metadata or "1/256")
            part = Part(self.channels, 0, 255, scale, 100 * float(scale), float(scale))
            return Map(name, self.rows, self.columns, (part,))
        name = net.quant(name, self.scale, self.bits, self.signed, self.narrow)
        low, high = limits(self.bits, self.signed, self.narrow)
        scale = Fraction(float(np.float32(self.scale)))
        part = Part(self.channels, low, high, scale, float(scale) * max(-low, high) / 2, float(scale))
        return Map(name, self.rows, self.columns, (part,))

    def simpler(self) -> Iterator[Picture]:
        for rows in (1, 2, self.rows // 2, self.rows - 2, self.rows - 1):
            if 0 < rows < self.rows:
                yield replace(self, rows=rows)
        for columns in (1, 2, self.columns // 2, self.columns - 8, self.columns - 2, self.columns - 1):
            if 0 < columns < self.columns:
                yield replace(self, columns=columns)
        yield from nearer(self, skip=("rows", "columns"))


@dataclass(frozen=True)
class Recipe:
    """opset: of the file.  order: of its nodes, see `Net.model`.  dead: tensors that a branch nobody reads hangs on.

    inline: constants are nodes.  qdq: quantizers are QuantizeLinear, Clip and DequantizeLinear.  others: tensors that
    are outputs, too, before the last step's, which is chosen; a constant is -1, the last step's stands for a branch
    that hangs on it.
    """

    picture: Picture
    steps: tuple[Step, ...] = ()
    opset: int = 13
    order: int = 0
    dead: tuple[int, ...] = ()
    inline: bool = False
    qdq: bool = False
    others: tuple[int, ...] = ()

    def without(self, number: int) -> Recipe:
        """Step `number` left out: what read its tensor reads what it read first."""
        gone, instead = number + 1, self.steps[number].inputs[0]

        def moved(tensor: int) -> int:
            tensor = instead if tensor == gone else tensor
            return tensor - (tensor > gone)

        steps = tuple(
            replace(step, inputs=tuple(map(moved, step.inputs)))
            for place, step in enumerate(self.steps)
            if place != number
        )
        return replace(self, steps=steps, dead=tuple(map(moved, self.dead)), others=tuple(map(moved, self.others)))

    def up_to(self, count: int) -> Recipe:
        """The first steps only."""
        dead, others = (tuple(t for t in chosen if t <= count) for chosen in (self.dead, self.others))
        return replace(self, steps=self.steps[:count], dead=dead, others=others)

    def simpler(self) -> Iterator[Recipe]:
        """Smaller recipes, those that take most away first."""
        count = len(self.steps)
        for kept in sorted({1, count // 2, count - 1} - {0, count}):
            yield self.up_to(kept)
        for number in reversed(range(count)):
            yield self.without(number)
        yield from nearer(self, skip=("picture", "steps"))
        for picture in self.picture.simpler():
            yield replace(self, picture=picture)
        for number, step in enumerate(self.steps):
            for other in step.simpler():
                yield replace(self, steps=(*self.steps[:number], other, *self.steps[number + 1 :]))

    def __str__(self) -> str:
        lines = [f"    {short(step)}," for step in self.steps]
        rest = [f"{name}={value!r}" for name, value in changed(self) if name not in ("picture", "steps")]
        return "\n".join([f"Recipe({short(self.picture)}, (", *lines, ", ".join(["    )", *rest]) + ")"])


def changed(thing: Any) -> list[tuple[str, Any]]:
    """Fields that are not at their default, with their values."""
    return [(f.name, getattr(thing, f.name)) for f in fields(thing) if getattr(thing, f.name) != _default(f)]


def short(thing: Any) -> str:
    """Source text of a dataclass, without what is at its default."""
    if not is_dataclass(thing):
        return repr(thing)
    return f"{type(thing).__name__}({', '.join(f'{name}={short(value)}' for name, value in changed(thing))})"


def nearer(thing: Any, skip: tuple[str, ...]) -> Iterator[Any]:
    """The same dataclass with one field at its default, or nearer to it, or with fewer of several numbers."""
    for f in fields(thing):
        value, default = getattr(thing, f.name), _default(f)
        if f.name in skip or default is MISSING or value == default:
            continue
        yield replace(thing, **{f.name: default})
        if isinstance(value, tuple) and len(value) > 1:
            half = len(value) // 2
            for part in (value[:1], value[-1:], value[:half], value[half:]):
                yield replace(thing, **{f.name: part})
        elif type(value) is int and type(default) is int and abs(value - default) > 1:
            yield replace(thing, **{f.name: default + (value - default) // 2})
            yield replace(thing, **{f.name: value - (1 if value > default else -1)})
        elif hasattr(value, "__dataclass_fields__"):
            for other in nearer(value, ()):
                yield replace(thing, **{f.name: other})


def _default(f: Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """Smallest and largest integer of a quantizer."""
    return (narrow - (1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow)


def cycled(values: tuple[Any, ...], count: int) -> list[Any]:
    """Values by channel: given ones, again and again."""
    return [values[i % len(values)] for i in range(count)]


def replay(recipe: Recipe) -> tuple[Net, list[Map]]:
    """The network, and every tensor of the recipe.  Raises Unbuildable."""
    net = Net(recipe.opset, recipe.inline, recipe.qdq)
    maps = [recipe.picture.emit(net)]
    for step in recipe.steps:
        maps.append(emitted(step, net, maps))
    for tensor in recipe.dead:
        net.node(NEVER_READ, maps[tensor].name)
        net.quant(maps[tensor].name, 0.5, 3, True, False)
    return net, maps


def emitted(step: Step, net: Net, maps: list[Map]) -> Map:
    """The tensor that a step makes; tensors beyond a size are not built."""
    build_check(all(0 <= number < len(maps) for number in step.inputs), "reads what is not there")
    found = step.emit(net, *(maps[number] for number in step.inputs))
    build_check(found.channels * found.pixels <= MOST_ELEMENTS, "too large")
    build_check(found.rows > 0 and found.columns > 0, "nothing is left")
    return found


def build(recipe: Recipe) -> onnx.ModelProto:
    """The file.  Raises Unbuildable."""
    net, maps = replay(recipe)
    build_check(len(recipe.steps) > 0, "no steps")
    build_check(maps[-1].final != "" or maps[-1].ends, "the last tensor cannot be an output")
    names = [further_output(net, maps, tensor) for tensor in recipe.others]
    return net.model((*dict.fromkeys(names), maps[-1].name), recipe.order)


def further_output(net: Net, maps: list[Map], tensor: int) -> str:
    """The name of an output that is not the network's."""
    build_check(-1 <= tensor < len(maps), "gives what is not there")
    if tensor == -1:
        return net.node("Identity", net.const([0.5]))
    name = maps[tensor].name
    computed = name != maps[-1].name and any(name in node.output for node in net.nodes)
    return name if computed else net.node(NEVER_READ, name)


__all__ = ["DOMAIN", "Picture", "Recipe", "Step", "build", "cycled", "limits", "replay"]
