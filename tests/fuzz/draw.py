"""A random network from a seed, and nothing but the seed.

Steps are added one after the other, mostly to the newest tensor.  Besides, every seed has *goals*: pairs of operations
that shall follow each other, directly or with a quantizer between them, so that a few hundred seeds miss none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from tests.fuzz.growth import Maker, attempt, built, computes, finish, gather, grow, layer
from tests.fuzz.net import Unbuildable, word
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Picture, Recipe, Step
from tests.fuzz.steps_bent import Bend, Gate
from tests.fuzz.steps_forms import Zeros
from tests.fuzz.steps_heads import ArgMax, Greater, Sigmoid, Softmax
from tests.fuzz.steps_moves import Average, Enlarge, Interpolate, Join, Pool, Sum
from tests.fuzz.steps_points import Affine, Clipped, Leaky, Normalize, Quantize, Relu, Same
from tests.fuzz.steps_sums import Conv, Transposed
from tests.fuzz.steps_tails import Tail

OPSETS = {13: 4.0, 11: 1.0, 17: 2.0, 9: 0.4, 10: 0.4, 12: 0.4, 21: 0.6}


def _conv(kernel: int, stride: int) -> tuple[type[Step], Maker]:
    return Conv, lambda pen, sketch, at: Conv.draw(pen, sketch, at, kernel=kernel, stride=stride)


def _transposed(larger: bool | None, grouped: bool = False) -> tuple[type[Step], Maker]:
    return Transposed, lambda pen, sketch, at: Transposed.draw(pen, sketch, at, larger, grouped)


def _pool(kernel: int) -> tuple[type[Step], Maker]:
    return Pool, lambda pen, sketch, at: Pool.draw(pen, sketch, at, kernel)


def _leaky(alpha: bool) -> tuple[type[Step], Maker]:
    return Leaky, lambda pen, sketch, at: Leaky.draw(pen, sketch, at, alpha)


def _affine(op: str, first: bool | None = None) -> tuple[type[Step], Maker]:
    return Affine, lambda pen, sketch, at: Affine.draw(pen, sketch, at, op, first)


def _same(*ways: int) -> tuple[type[Step], Maker]:
    return Same, lambda pen, sketch, at: Same.draw(pen, sketch, at, ways)


OPERATIONS: Mapping[str, tuple[type[Step], Maker]] = {
    "Quant": (Quantize, Quantize.draw),
    "Conv 3x3": _conv(3, 1),
    "Conv 3x3/2": _conv(3, 2),
    "Conv 1x1": _conv(1, 1),
    "Conv 1x1/2": _conv(1, 2),
    "Conv 5x5": _conv(5, 1),
    "Conv 5x5/2": _conv(5, 2),
    "Conv 7x7/2": _conv(7, 2),
    "Conv grouped": (Conv, lambda pen, sketch, at: Conv.draw(pen, sketch, at, grouped=True)),
    "ConvTranspose": _transposed(larger=False),
    "ConvTranspose larger": _transposed(larger=True),
    "ConvTranspose grouped": _transposed(None, grouped=True),
    "BatchNormalization": (Normalize, Normalize.draw),
    "Relu": (Relu, Relu.draw),
    "LeakyRelu": _leaky(True),
    "PRelu": _leaky(False),
    "Clip": (Clipped, Clipped.draw),
    "MaxPool": _pool(2),
    "MaxPool 3x3": _pool(3),
    "AveragePool": (Average, Average.draw),
    "Resize nearest": (Enlarge, Enlarge.draw),
    "Resize linear": (Interpolate, Interpolate.draw),
    "Concat": (Join, Join.draw),
    "Add": (Sum, Sum.draw),
    "Function": (Bend, Bend.draw),
    "Mul": (Gate, Gate.draw),
    "Add constant": _affine("Add"),
    "Sub constant": _affine("Sub", False),
    "Sub from constant": _affine("Sub", True),
    "Mul constant": _affine("Mul"),
    "Div constant": _affine("Div"),
    "Identity": _same(0),
    "Dropout": _same(1, 2),
    "Slice": _same(3, 4),
    "Pad": _same(5),
    "Pad zeros": (Zeros, Zeros.draw),
    "Sigmoid": (Sigmoid, Sigmoid.draw),
    "Softmax": (Softmax, Softmax.draw),
    "ArgMax": (ArgMax, ArgMax.draw),
    "Greater": (Greater, Greater.draw),
}
"""Everything that the loader takes, by the name under which `tests.fuzz.coverage` counts it."""

ENDS = ("Sigmoid", "Softmax", "ArgMax", "Greater")
NEEDS_INTEGERS = (
    "Conv 3x3", "Conv 3x3/2", "Conv 1x1", "Conv 1x1/2", "Conv 5x5", "Conv 5x5/2", "Conv 7x7/2", "Conv grouped",
    "ConvTranspose", "ConvTranspose larger", "ConvTranspose grouped", "AveragePool", "Resize linear", "Add",
    "Function", "Mul",
)  # fmt: skip


def supported(first: str, second: str) -> bool:
    """May `second` read the result of `first`?

    Nothing follows the end but a comparison with a probability.  The sum of two activations wants its quantizer, and so
    do a function and a clip: they are no activation, and they do not end a network; a constant minus a map is none,
    either.  Groups make several channels, of which a comparison takes one.  Zeros around a map are for convolutions
    that reach them, perhaps behind a quantizer.
    """
    if first in ENDS:
        return (first, second) == ("Sigmoid", "Greater")
    if first == "Pad zeros":
        return second in REACHING or second == "Quant"
    if second == "Greater" and first in ("Conv grouped", "ConvTranspose grouped"):
        return False
    if first == "Sub from constant" and second in NEEDS_INTEGERS:
        return False
    return first not in ("Add", "Function", "Clip") or second not in (*NEEDS_INTEGERS, *ENDS)


REACHING = tuple(name for name in NEEDS_INTEGERS if name.startswith("Conv ") and "1x1" not in name)
"""Convolutions that see beyond the edge."""
ENLARGING = ("ConvTranspose", "ConvTranspose larger", "ConvTranspose grouped", "Resize nearest", "Resize linear")
MOST_PIXELS = 1500
"""Of a map that was enlarged for a goal."""

PAIRS = tuple(pair for pair in product(OPERATIONS, repeat=2) if supported(*pair))
THROUGH = tuple(
    product(
        (*NEEDS_INTEGERS, "MaxPool", "MaxPool 3x3", "Resize nearest", "Concat"),
        (*NEEDS_INTEGERS, "Quant", "MaxPool", "MaxPool 3x3", "Resize nearest", "Concat", "ArgMax"),
    )
)
"""Pairs that meet in the engine: with a quantizer between them."""


def whole(pair: tuple[str, str]) -> tuple[str, ...]:
    """A goal: zeros around a map want a convolution behind them."""
    if pair[1] == "Pad zeros":
        return (*pair, "Quant", "Conv 3x3")
    return (*pair, "Conv 3x3") if pair == ("Pad zeros", "Quant") else pair


GOALS: tuple[tuple[str, ...], ...] = (
    *(whole(pair) for pair in PAIRS if pair[1] not in ENDS),
    *((a, "Quant", b) for a, b in THROUGH if b not in ENDS),
)
LAST_GOALS: tuple[tuple[str, ...], ...] = (
    *(pair for pair in PAIRS if pair[1] in ENDS),
    *((a, "Quant", b) for a, b in THROUGH if b in ENDS),
)
GOALS_OF_A_SEED = 5
"""And a last one."""


def draw(seed: int) -> Recipe:
    """The recipe of a seed."""
    pen = Pen(seed)
    goals = [GOALS[(GOALS_OF_A_SEED * seed + i) % len(GOALS)] for i in range(GOALS_OF_A_SEED)]
    last = LAST_GOALS[seed % len(LAST_GOALS)]
    names = {name for goal in (*goals, last) for name in goal}
    oldest = 13 if "Softmax" in names else 11 if "Resize linear" in names else 9
    opsets = {opset: share for opset, share in OPSETS.items() if opset >= oldest}
    foldable = pen.chance(0.2)
    sketch = Sketch(picture(pen, foldable), pen.weighted(opsets))
    if foldable:
        built(pen, sketch, layer)
        if pen.chance(0.6):  # behind a small map the picture's words count
            attempt(pen, sketch, lambda *given: Conv.draw(*given, kernel=3, stride=2), len(sketch.maps) - 1)
    for goal in goals:
        for _ in range(pen.weighted({0: 3.0, 1: 2.0, 2: 0.6, 4: 0.3})):
            grow(pen, sketch)
        pursue(pen, sketch, goal)
    gather(pen, sketch)
    computes(pen, sketch)
    if pen.chance(0.95):
        pursue(pen, sketch, last)
    finish(pen, sketch)
    tail, at = Pen(seed, 2), len(sketch.maps) - 1
    if isinstance(sketch.steps[-1], Softmax | ArgMax) and tail.chance(0.5):
        at = sketch.steps[-1].inputs[0]  # it may end the network in another order
    if Tail.accepts(sketch.maps[at]) and tail.chance(0.2):
        attempt(tail, sketch, Tail.draw, at)
    others: tuple[int, ...] = ()
    if tail.chance(0.15):
        others = tuple(tail.integer(-1, len(sketch.maps) - 1) for _ in range(tail.integer(1, 3)))
        others = (-1,) * len(others) if tail.chance(0.2) else others
    order = pen.weighted({0: 4.0, 1: 0.5, 7: 0.5})
    dead = tuple(pen.integer(0, len(sketch.maps) - 1) for _ in range(pen.weighted({0: 6.0, 1: 1.0, 2: 0.3})))
    return sketch.recipe(order, dead, inline=pen.chance(0.1), qdq=pen.chance(0.3), others=others)


def picture(pen: Pen, foldable: bool) -> Picture:
    """Sizes from one pixel; half of them can be pooled twice.  foldable: few channels, an even size, and often a width
    of whole words folded, without which two columns in one save nothing.
    """
    size = (
        {"even": 0.4, "folded": 0.6}
        if foldable
        else {"point": 0.4, "small": 3.0, "even": 4.0, "wide": 1.5, "tall": 0.7}
    )
    kind = pen.weighted(size)
    rows, columns = {
        "point": lambda: (pen.integer(1, 2), pen.integer(1, 3)),
        "small": lambda: (pen.integer(1, 12), pen.integer(1, 20)),
        "even": lambda: (4 * pen.integer(1, 4), 4 * pen.integer(1, 6)),
        "folded": lambda: (8 * pen.integer(1, 3), 16 * pen.integer(2, 4)),
        "wide": lambda: (pen.integer(1, 6), pen.choice((15, 16, 17, 31, 32, 33, 48, 64, 65))),
        "tall": lambda: (pen.integer(13, 40), pen.integer(1, 9)),
    }[kind]()
    many = {} if foldable else {3: 2.0, 4: 1.0, 5: 0.3, 8: 0.4, 9: 0.3, 17: 0.2}
    channels = pen.weighted({1: 4.0, 2: 1.5, **many})
    if pen.chance(0.15):
        return Picture(
            rows, columns, channels, quantized=False, metadata=pen.choice(("", "1/255", "1/128", "0.0078125"))
        )
    bits = pen.weighted({8: 6.0, 7: 0.5, 6: 0.5, 5: 0.5, 4: 1.0, 3: 0.5, 2: 0.5, 1: 0.5})
    signed = bits > 1 and pen.chance(0.25)
    scale = pen.power_of_two(2.0**-8, 4) if pen.chance(0.75) else pen.float32(2.0**-8, 3)
    narrow = pen.chance(0.2) and bits > 1
    return Picture(rows, columns, channels, bits, signed, narrow, scale, through=pen.chance(0.1))


def pursue(pen: Pen, sketch: Sketch, goal: tuple[str, ...]) -> bool:
    """Add a chain of operations, each reading the one before; nothing is added where that fails."""
    mark = sketch.mark()
    for trial in range(12):
        at = len(sketch.maps) - 1 if trial < 6 else pen.integer(0, len(sketch.maps) - 1)
        if _chain(pen, sketch, goal, at, trial):
            return True
        sketch.back(mark)
    return False


def _chain(pen: Pen, sketch: Sketch, goal: tuple[str, ...], at: int, trial: int) -> bool:
    try:
        at = _fitting(pen, sketch, goal, at)
        for number, name in enumerate(goal):
            step, make = OPERATIONS[name]
            following = goal[number + 1] if number + 1 < len(goal) else ""
            pen.settled = following in NEEDS_INTEGERS or (following in ENDS and trial % 2 == 1)
            if number == 0:
                turned = following == "Sub from constant" and name in (
                    "Relu",
                    "LeakyRelu",
                    "PRelu",
                    "MaxPool",
                    "MaxPool 3x3",
                )
                integers = pen.settled or turned or (following == "Quant" and trial % 2 == 1)
                at = _begun(pen, sketch, name, at, integers)
            if not step.accepts(sketch.maps[at]):
                return False
            made = Join((at,)) if (name, following) == ("Concat", "Greater") else make(pen, sketch, at)
            if following == "Greater" and isinstance(made, Conv | Transposed):
                made = replace(made, outs=1)  # it compares one channel
            at = sketch.add(made)
    except Unbuildable:
        return False
    finally:
        pen.settled = False
    return True


def _fitting(pen: Pen, sketch: Sketch, goal: tuple[str, ...], at: int) -> int:
    """A map of a size and a number of channels with which the goal can be reached, and from which others can go on."""
    growth = 4 ** sum(name in ENLARGING for name in goal)
    while growth > 1 and sketch.maps[at].pixels * growth > MOST_PIXELS:
        if not sketch.maps[at].activation:
            at = sketch.add(Quantize.draw(pen, sketch, at))
        at = sketch.add(Conv.draw(pen, sketch, at, kernel=pen.choice((1, 3)), stride=2))
    halving = sum(name in ("MaxPool", "MaxPool 3x3", "AveragePool") or name.endswith("/2") for name in goal)
    factor = 2 ** (halving + sum(name in ("Conv 5x5", "Conv 7x7/2") for name in goal))
    while sketch.maps[at].rows % factor or sketch.maps[at].columns % factor:
        at = sketch.add(Enlarge.draw(pen, sketch, at))
    wanted = {"Greater": 1, "ArgMax": 3, "Softmax": 3}.get(goal[-1], sketch.maps[at].channels)
    grouped = "Conv grouped" in goal or "ConvTranspose grouped" in goal
    wanted = 4 if grouped and wanted == 1 else wanted
    if sketch.maps[at].channels != wanted and pen.chance(0.9):
        for _ in range(8):  # another scale, or narrower, may not make integers of one scale of it
            if sketch.maps[at].activation:
                break
            at = sketch.add(Quantize.draw(pen, sketch, at))
        at = sketch.add(replace(Conv.draw(pen, sketch, at, kernel=3, stride=1), outs=wanted))
    return at


def _begun(pen: Pen, sketch: Sketch, name: str, at: int, integers: bool) -> int:
    """A map that the goal's first operation can read, of integers if that is wanted."""
    step, _ = OPERATIONS[name]
    x = sketch.maps[at]
    few = word(x.low, x.high) <= 3 or name not in NEEDS_INTEGERS
    if pen.settled and not (step.accepts(x) and x.activation and few):
        return sketch.add(few_bits(pen, sketch, at))
    if not step.accepts(x) or (integers and not x.activation):
        return sketch.add(Quantize.draw(pen, sketch, at))
    return at


def few_bits(pen: Pen, sketch: Sketch, at: int) -> Quantize:
    drawn = Quantize.draw(pen, sketch, at)
    return Quantize((at,), drawn.scale, pen.integer(1, 3), style=drawn.style)
