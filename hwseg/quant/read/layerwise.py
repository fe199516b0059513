"""Layer by layer: the exact result on an executor's own inputs, and what carries its result away from that.

Every activation that the executor shows is taken for the integers that it is, and what the graph computes from them is
exact.  Tensors that only the graph has (members of a concatenation, maps before a pooling or an enlarging that the file
has before the quantizer) are computed.  Where the executor's integer is another one, the number before rounding says
how far arithmetic must have carried it.  Poolings and enlargings only choose among such numbers: rounding is monotone.

    exact number 4.4998 -> 4, the executor has 5: carried by 0.0002 steps at least
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from hwseg import golden
from hwseg.curves import approximate, enclosed
from hwseg.ir import AXES, Graph, Head
from hwseg.ops import Add, Concat, Function, MaxPool2d, PRelu, Requantize, Upsample2d
from hwseg.quant.read.values import ZERO, Part, Value

Context = Mapping[str, np.ndarray]
"""What an executor computed: float arrays [1, C, H, W] by ONNX tensor name."""

ULPS = 2.0**-21
"""Of a number's terms: what some roundings of float32 make of their sum."""
SUM_ULPS = 2.0**-18
"""Of the largest sum that a layer may have: likewise, for a sum of thousands of terms."""

CURVE_ULPS = 2.0**-16
"""Of the largest number of a function, before its quantizer."""

Place = tuple[np.ndarray, ...]
"""Channel, row and column of some elements."""


@dataclass(frozen=True)
class Own:
    """How many elements are not the exact ones.

    far: how far rounding would have to carry a value at most, in steps.  Larger terms make larger errors: beyond 2**11
    steps the distance counts in proportion to them.  Infinite where no rounding explains it.
    """

    count: int = 0
    far: float = 0.0


NOTHING = Own()


@dataclass
class Layerwise:
    """`exact`: planes [C, H, W] by graph tensor, from what was `seen`: the executor's integers, or else `exact`."""

    graph: Graph
    origins: Mapping[str, Value]
    image_q: np.ndarray
    context: Context
    exact: dict[str, np.ndarray] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    """What the executor has of a graph's tensor, in steps; perhaps no integers."""

    def __post_init__(self) -> None:
        graph = self.graph
        for name, value in self.origins.items():
            if name in self.context and name != graph.input and value.activation == "none":
                self._show(self.context[name][0].astype(np.float64), value)
        self._see(graph.input, np.ascontiguousarray(self.image_q.transpose(2, 0, 1)))
        for node in graph.nodes:
            inputs = [self.seen[name] for name in node.inputs]
            self._see(node.output, golden.execute(node, inputs, golden.storage(graph.types[node.output])))

    def _show(self, found: np.ndarray, value: Value) -> None:
        start = 0
        for part in value.parts:
            mine = found[start : start + part.shape[2]]
            start += part.shape[2]
            for alone, found in self._maps(part, mine):
                self.shown.setdefault(alone.tensors[0], found / float(alone.scales[0][0]))

    def _maps(self, part: Part, found: np.ndarray) -> list[tuple[Part, np.ndarray]]:
        """A part's activations, and what was found of each: of 9 bits the base, and all else as the rest."""
        if is_activation(self.graph, part):
            return [(part, found)]
        pair = [replace(part, tensors=(x,), scales=part.scales[:1], split=False) for x in part.tensors]
        if not part.split or not all(is_activation(self.graph, alone) for alone in pair):
            return []
        kind, scale = self.graph.types[part.tensors[0]], float(part.scales[0][0])
        base = np.clip(np.rint(found / scale), kind.low, kind.high) * scale
        return [(pair[0], base), (pair[1], found - base)]

    def _see(self, name: str, exact: np.ndarray) -> None:
        self.exact[name] = self.seen[name] = exact
        if name in self.shown and self.shown[name].shape == exact.shape:
            kind, n = self.graph.types[name], np.nan_to_num(np.rint(self.shown[name]))
            self.seen[name] = np.clip(n, kind.low, kind.high).astype(exact.dtype)

    def own(self, name: str, value: Value) -> Own:
        """What arises in the layer that makes an ONNX tensor."""
        found, start, owns = self.context[name][0].astype(np.float64), 0, []
        for part in value.parts:
            mine = found[start : start + part.shape[2]]
            start += part.shape[2]
            maps = self._maps(part, mine)
            owns += [self._activation(*pair) for pair in maps] if maps else [self._accumulator(part, mine)]
        return Own(sum(own.count for own in owns), max(own.far for own in owns))

    def _activation(self, part: Part, found: np.ndarray) -> Own:
        name, scale = part.tensors[0], float(part.scales[0][0])
        kind, exact = self.graph.types[name], self.exact[part.tensors[0]]
        steps = found / scale
        whole = np.rint(steps)
        legal = (np.abs(steps - whole) <= 2.0**-10) & (kind.low <= whole) & (whole <= kind.high)
        if not legal.all():
            return Own(int((~legal).sum()), float("inf"))
        wrong = np.nonzero(whole != exact)
        if not len(wrong[0]):
            return NOTHING
        theirs, ours = whole[wrong].astype(np.int64), exact[wrong].astype(np.int64)
        numbers, terms = self._unrounded(name, wrong)
        up = theirs > ours
        edges = [Fraction(2 * int(n) - 1 if above else 2 * int(n) + 1, 2) for n, above in zip(theirs, up, strict=True)]
        carried = [e - x if above else x - e for e, x, above in zip(edges, numbers, up, strict=True)]
        far = (float_of(max(c, Fraction(0))) / max(1.0, t * 2.0**-11) for c, t in zip(carried, terms, strict=True))
        return Own(len(theirs), max(far))

    def _unrounded(self, name: str, at: Place) -> tuple[np.ndarray, np.ndarray]:
        """The exact numbers that were rounded to some elements of a tensor, and the size of their terms."""
        node = self.graph.producer.get(name)
        op = node.op if node is not None else None
        if node is None or not isinstance(op, Requantize | PRelu | Function | Add | Upsample2d | MaxPool2d | Concat):
            return self._integers(self.exact[name][at])
        if isinstance(op, Function):
            return self._curve(op, self.seen[node.inputs[0]][at].tolist(), at[0].tolist())
        if isinstance(op, Requantize | PRelu | Add):
            return self._sums(op, [self.seen[x][at].tolist() for x in node.inputs], at[0].tolist())
        if isinstance(op, Upsample2d):
            return self._before(node.inputs[0], (at[0], at[1] // 2, at[2] // 2))
        if isinstance(op, MaxPool2d):
            # A tap beyond the edge counts as the one at the edge, which the window has too.
            most = [size - 1 for size in self.exact[node.inputs[0]].shape[1:]]
            steps = [n - op.padding for n in range(op.kernel)]
            rows, columns = ([np.clip(2 * at[i] + n, 0, most[i - 1]) for n in steps] for i in (1, 2))
            found = [self._before(node.inputs[0], (at[0], y, x)) for y in rows for x in columns]
            return np.maximum.reduce([x for x, _ in found]), np.maximum.reduce([t for _, t in found])
        numbers, terms, start = np.empty(len(at[0]), object), np.zeros(len(at[0])), 0
        for x in node.inputs:
            channels = self.graph.types[x].shape[2]
            mine = (at[0] >= start) & (at[0] < start + channels)
            numbers[mine], terms[mine] = self._before(x, (at[0][mine] - start, at[1][mine], at[2][mine]))
            start += channels
        return numbers, terms

    def _before(self, name: str, at: Place) -> tuple[np.ndarray, np.ndarray]:
        """The same of a tensor that a pooling, an enlarging or a concatenation reads: what was seen is no sum."""
        if name in self.shown:
            return self._integers(self.seen[name][at])
        flat, places = np.unique(np.ravel_multi_index(at, self.exact[name].shape), return_inverse=True)
        numbers, terms = self._unrounded(name, np.unravel_index(flat, self.exact[name].shape))
        return numbers[places], terms[places]

    @staticmethod
    def _integers(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.empty(len(n), object)
        numbers[:] = [Fraction(int(x)) for x in n]
        return numbers, np.zeros(len(n))

    @staticmethod
    def _curve(op: Function, inputs: list[int], channels: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of a function, to fifty digits."""
        numbers = np.empty(len(inputs), object)
        numbers[:] = [enclosed(op.curve, x * op.unit, c)[0] / op.scale for x, c in zip(inputs, channels, strict=True)]
        return numbers, np.array([abs(float_of(n)) for n in numbers])

    @staticmethod
    def _sums(
        op: Requantize | PRelu | Add, inputs: list[list[int]], channels: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """multiplier * input + ... + offset, times the slope below 0, exactly, each distinct one once."""
        known: dict[tuple[int, ...], tuple[Fraction, float]] = {}
        keys = list(zip(channels, *inputs, strict=True))
        for key in set(keys):
            channel, *x = key
            factors, offset = op.multipliers if isinstance(op, Add) else (_of(op.multiplier, channel),), op.offset
            b = offset if isinstance(offset, Fraction) else _of(offset, channel)
            terms = [m * n for m, n in zip(factors, x, strict=True)]
            v, slope = sum(terms, b), (op.slope,) if isinstance(op, Add) else op.slope
            factor = _of(slope, channel) if v < 0 else Fraction(1)
            known[key] = v * factor, float_of(sum(map(abs, terms), abs(b)) * abs(factor))
        numbers = np.empty(len(keys), object)
        numbers[:] = [known[key][0] for key in keys]
        return numbers, np.array([known[key][1] for key in keys])

    def _accumulator(self, part: Part, found: np.ndarray) -> Own:
        """Half a step is another integer, unless float32 cannot hold it."""
        tensors = {name: self.seen[name].transpose(1, 2, 0) for name in part.tensors}
        expected = part_values(part, tensors).transpose(2, 0, 1)
        if part.curve is not None:
            room = np.full((part.shape[2], 1, 1), CURVE_ULPS * max(1.0, float(np.abs(expected).max())))
            wrong = ~(np.abs(found - expected) < room)
            return Own(int(wrong.sum()), float("inf") if wrong.any() else 0.0)
        room = np.maximum(_steps(part) / 2, SUM_ULPS * float_of(magnitude(self.graph, part)))[:, None, None]
        with np.errstate(invalid="ignore", over="ignore"):
            same = found == expected.astype(np.float32)
            wrong = ~(same | (np.abs(found - expected) < room))
        return Own(int(wrong.sum()), float("inf") if wrong.any() else 0.0)

    def own_output(self, head: Head, found: np.ndarray) -> Own:
        """What arises behind the head's numbers; classes that two equal numbers decide are float32's."""
        kind = self.graph.types[head.tensor]
        q = self.seen[head.tensor].transpose(1, 2, 0)
        expected = golden.output(replace(head, rounding=None, axes=AXES), q).astype(np.float64)
        room = np.zeros_like(expected)
        if head.activation in ("sigmoid", "softmax"):  # differences of logits are off by twice that at most
            room = np.minimum(expected, 1 - expected) * np.expm1(min(2 * self._room(), 32))
        if head.rounding is not None:
            # What rounds to the number found, rather than that number, is as near as without rounding.
            scale = float(head.rounding.scale)
            low, high = (
                np.clip(expected + side * scale / 2, head.rounding.low * scale, head.rounding.high * scale)
                for side in (-1, 1)
            )
            whole = np.abs(found / scale - np.rint(found / scale)) <= 2.0**-10
            expected = np.where(whole, np.clip(found, low, high), np.nan)
        wrong = ~(np.abs(found - expected) <= room + 2e-6)[0].all(0)
        if head.activation not in ("argmax", "threshold") or not wrong.any():
            return Own(int(wrong.sum()), float("inf") if wrong.any() else 0.0)
        x = golden.values(head.scale, head.offset, q)
        if kind.shape[2] == 1:
            gap = np.abs(x[:, :, 0] - float(head.threshold))
        else:
            chosen = np.clip(np.nan_to_num(found[0, 0]), 0, kind.shape[2] - 1).astype(np.intp)
            gap = x.max(2) - np.take_along_axis(x, chosen[:, :, None], 2)[:, :, 0]
        near = gap <= 2 * self._room()
        return Own(int(wrong.sum()), float("inf") if (wrong & ~near).any() else 0.0)

    def _room(self) -> float:
        """Of the head's numbers."""
        head, kind = self.graph.head, self.graph.types[self.graph.head.tensor]
        return SUM_ULPS * float_of(magnitude(self.graph, Part(kind.shape, (head.tensor,), (head.scale,), head.offset)))


def is_activation(graph: Graph, part: Part) -> bool:
    """Is the part one tensor of at most 8 bits, and nothing more?"""
    kind = graph.types.get(part.tensors[0])
    if kind is None or part.curve is not None or len(part.tensors) > 1 or part.moves or (part.relu and kind.low < 0):
        return False
    return part.offset == ZERO and part.scales[0] == kind.scale and len(kind.scale) == 1 and kind.bits <= 8


def magnitude(graph: Graph, part: Part) -> Fraction:
    """What no number of a part exceeds, nor any of its terms."""
    largest = max(abs(n) for n in part.offset)
    for tensor, scale in zip(part.tensors, part.scales, strict=True):
        kind = graph.types.get(tensor)
        largest += max(abs(s) for s in scale) * (max(-kind.low, kind.high) if kind else 0)
    return largest * max(Fraction(1), *(abs(slope) for slope in part.slope))


def step_of(value: Value) -> np.ndarray:
    """The smallest scale of each channel."""
    return np.concatenate([_steps(part) for part in value.parts])


def _steps(part: Part) -> np.ndarray:
    return np.full(part.shape[2], min(abs(float_of(s)) for s in part.scales[0]) or 1.0)


def part_values(part: Part, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The real numbers [H, W, C] of a part, in float64."""
    if part.curve is not None:
        q = tensors[part.tensors[0]]
        planes = [approximate(part.curve, q[:, :, c], c) for c in range(q.shape[2])]
        return moved(part, np.stack(planes, axis=2))
    x = np.array([float_of(o) for o in part.offset])
    for tensor, scale in zip(part.tensors, part.scales, strict=True):
        x = x + tensors[tensor] * np.array([float_of(s) for s in scale])
    if part.relu:
        x = np.where(x >= 0, x, x * np.array([float_of(a) for a in part.slope]))
    return moved(part, x)


def moved(part: Part, x: np.ndarray) -> np.ndarray:
    """Numbers [H, W, C] behind the poolings and enlargings of a part."""
    for move in part.moves:
        x = _maxima(x, move.op) if isinstance(move.op, MaxPool2d) else x.repeat(2, 0).repeat(2, 1)
    return x


def _maxima(x: np.ndarray, op: MaxPool2d) -> np.ndarray:
    """Of numbers [H, W, C]; outside lies what no number is below."""
    (height, width, _), p = x.shape, op.padding
    x = np.pad(x, ((p, p), (p, p), (0, 0)), constant_values=-np.inf)
    taps = range(op.kernel)
    return np.asarray(np.maximum.reduce([x[y : y + height : 2, z : z + width : 2] for y in taps for z in taps]))


def float_of(number: Fraction) -> float:
    """In float64; infinite beyond its range."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else -float("inf")


def _of(values: tuple[Fraction, ...], channel: int) -> Fraction:
    return values[channel % len(values)]
