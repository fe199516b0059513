"""How a network grows: one step more on what there is, blocks that networks have, loose ends joined, and a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.fuzz.net import Unbuildable
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step
from tests.fuzz.steps_bent import Bend, Gate
from tests.fuzz.steps_forms import FORMS, Formed, Shuffle, Zeros
from tests.fuzz.steps_heads import ArgMax, Greater, Sigmoid, Softmax
from tests.fuzz.steps_moves import Average, Enlarge, Interpolate, Join, Pool, Sum
from tests.fuzz.steps_points import Affine, Clipped, Leaky, Normalize, Quantize, Relu, Same, far
from tests.fuzz.steps_sums import Conv, Transposed

STEPS: tuple[type[Step], ...] = (
    Conv, Transposed, Quantize, Affine, Normalize, Relu, Leaky, Same, Pool, Average, Enlarge, Interpolate, Join, Sum,
    Bend, Gate, Clipped,
    Formed, Shuffle,
)  # fmt: skip
FINALS: tuple[type[Step], ...] = (Sigmoid, Softmax, ArgMax, Greater)

Maker = Callable[[Pen, Sketch, int], Step]


def attempt(pen: Pen, sketch: Sketch, make: Maker, at: int) -> bool:
    try:
        sketch.add(make(pen, sketch, at))
    except Unbuildable:
        return False
    return True


def built(pen: Pen, sketch: Sketch, block: Callable[[Pen, Sketch], object]) -> bool:
    """Several steps, or none."""
    mark = sketch.mark()
    try:
        block(pen, sketch)
    except Unbuildable:
        sketch.back(mark)
        return False
    return True


def grow(pen: Pen, sketch: Sketch) -> None:
    """One more step, on the newest tensor or, sometimes, an older one."""
    at = len(sketch.maps) - 1
    loose = sketch.loose(at)
    if loose and pen.chance(0.4):
        built(pen, sketch, lambda pen, sketch: rejoin(pen, sketch, pen.choice(loose)))
        return
    block = pen.weighted({None: 0.68, residual: 0.16, skip: 0.08, attention: 0.04, padded: 0.04})
    if block is not None:
        built(pen, sketch, block)
        return
    if pen.chance(0.2):
        at = pen.integer(0, at)
    x = sketch.maps[at]
    if not x.activation and pen.chance(0.5):
        if pen.chance(0.15):
            built(pen, sketch, lambda pen, sketch: quantize_far(pen, sketch, at))
        else:
            attempt(pen, sketch, Quantize.draw, at)
        return
    options = {step: step.weight for step in STEPS if step.accepts(x)}
    step = pen.weighted(options)
    attempt(pen, sketch, step.draw, at)


def layer(pen: Pen, sketch: Sketch) -> None:
    """A 3x3 convolution and its quantizer."""
    at = len(sketch.maps) - 1
    if not Conv.accepts(sketch.maps[at]):
        at = sketch.add(Quantize.draw(pen, sketch, at))
    sums = sketch.add(Conv.draw(pen, sketch, at, kernel=3, stride=1))
    sketch.add(Quantize.draw(pen, sketch, sums))


def residual(pen: Pen, sketch: Sketch) -> None:
    """x + f(x), f a 3x3 convolution; scales mostly so that the engine adds on the way out."""
    at = len(sketch.maps) - 1
    if not sketch.maps[at].activation or sketch.maps[at].low < 0:
        at = sketch.add(replace(Quantize.draw(pen, sketch, at), signed=False))
    scale = float(sketch.maps[at].scale or 0)
    drawn = Conv.draw(pen, sketch, at, kernel=3, stride=1)
    sums = sketch.add(replace(drawn, outs=sketch.maps[at].channels))
    branch = replace(Quantize.draw(pen, sketch, sums), scale=scale * pen.choice((1.0, 1.0, 2.0)))
    total = sketch.add(Sum((at, sketch.add(branch))))
    sketch.add(replace(Quantize.draw(pen, sketch, total), scale=scale * pen.choice((1.0, 2.0, 2.0))))


def skip(pen: Pen, sketch: Sketch) -> None:
    """A step of a U-Net: a map is pooled, and joined again behind what is made of its pooled form."""
    layer(pen, sketch)
    at = len(sketch.maps) - 1
    bottom = sketch.add(Conv.draw(pen, sketch, sketch.add(Pool.draw(pen, sketch, at))))
    scale = float(sketch.maps[at].scale or 0)
    drawn, signed = Quantize.draw(pen, sketch, bottom), sketch.maps[at].low < 0
    bottom = sketch.add(replace(drawn, scale=scale, signed=signed, bits=max(drawn.bits, 1 + signed)))
    while sketch.maps[bottom].rows < sketch.maps[at].rows:
        bottom = sketch.add(Enlarge.draw(pen, sketch, bottom))
    sketch.add(Join((at, bottom)))


def attention(pen: Pen, sketch: Sketch) -> None:
    """A map times a gate of one channel, a bent convolution of it or its sigmoid without a quantizer before it."""
    at = len(sketch.maps) - 1
    if not sketch.maps[at].activation:
        at = sketch.add(Quantize.draw(pen, sketch, at))
    gate = sketch.add(replace(Conv.draw(pen, sketch, at, kernel=1, stride=1), outs=1))
    gate = sketch.add(Bend.draw(pen, sketch, sketch.add(Quantize.draw(pen, sketch, gate))))
    sketch.add(Gate((at, sketch.add(Quantize.draw(pen, sketch, gate)))))


def padded(pen: Pen, sketch: Sketch) -> None:
    """Zeros around a map, perhaps a quantizer, and convolutions that have them as padding."""
    at = len(sketch.maps) - 1
    early = pen.chance(0.4)
    if not early and not sketch.maps[at].activation:
        at = sketch.add(Quantize.draw(pen, sketch, at))
    made: list[Step] = []
    if pen.chance(0.5):
        formed = Formed.draw(pen, sketch, at)
        made, most = [formed], FORMS[formed.form][4]
    else:
        kernel = pen.choice((3, 3, 5))
        made, most = [Conv.draw(pen, sketch, at, kernel=kernel)], (kernel // 2,) * 4
    at = sketch.add(Zeros.draw(pen, sketch, at, most))
    if early:
        at = sketch.add(Quantize.draw(pen, sketch, at))
    sketch.add(replace(made[0], inputs=(at,)))


def quantize_far(pen: Pen, sketch: Sketch, at: int) -> None:
    for step in filter(None, far(pen, sketch, at)):
        sketch.add(step)


def gather(pen: Pen, sketch: Sketch) -> None:
    """Join what nobody reads to the newest tensor, enlarged or pooled to its size: else it would be dead."""
    for loose in sketch.loose(len(sketch.maps) - 1):
        if pen.chance(0.97):
            built(pen, sketch, lambda pen, sketch, other=loose: rejoin(pen, sketch, other))


def rejoin(pen: Pen, sketch: Sketch, other: int) -> None:
    """Join a tensor to the newest one."""
    at = len(sketch.maps) - 1
    size = sketch.maps[at].rows, sketch.maps[at].columns
    while sketch.maps[other].rows < size[0] or sketch.maps[other].columns < size[1]:
        other = sketch.add(Enlarge.draw(pen, sketch, other))
    while sketch.maps[other].rows > size[0]:
        other = sketch.add(Pool.draw(pen, sketch, other))
    sketch.add(Join((other, at) if pen.chance(0.5) else (at, other)))


def computes(pen: Pen, sketch: Sketch) -> None:
    """See to it that there is a convolution on the way."""
    for _ in range(6):
        if any(isinstance(sketch.steps[i], Conv | Transposed) for i in ancestors(sketch.steps)):
            return
        at = len(sketch.maps) - 1
        attempt(pen, sketch, Conv.draw if Conv.accepts(sketch.maps[at]) else Quantize.draw, at)
    attempt(pen, sketch, Conv.draw, 0)


def ancestors(steps: Sequence[Step]) -> set[int]:
    """Numbers of the steps that the last one needs, itself among them."""
    found: set[int] = set()
    waiting = [len(steps)]
    while waiting:
        tensor = waiting.pop()
        if tensor > 0 and tensor - 1 not in found:
            found.add(tensor - 1)
            waiting += steps[tensor - 1].inputs
    return found


def finish(pen: Pen, sketch: Sketch) -> None:
    """A head: sums, or what is quantized, and what may follow them."""
    at = len(sketch.maps) - 1
    if not sketch.maps[at].final:
        kind = pen.weighted({"sums": 3.0, "quantized": 2.0, "as it is": 1.5})
        if pen.chance(0.25):
            built(pen, sketch, layer)  # a head that reads a layer alone may be fused with it
            at = len(sketch.maps) - 1
        if kind == "sums" or not sketch.maps[at].ends:
            while not sketch.maps[at].activation:
                at = sketch.add(Quantize.draw(pen, sketch, at))
        if kind == "sums":
            attempt(pen, sketch, lambda *given: head(*given), at)
            if pen.chance(0.2):
                attempt(pen, sketch, pen.choice((Normalize.draw, Affine.draw)), len(sketch.maps) - 1)
        elif kind == "quantized" and not sketch.maps[at].activation:
            sketch.add(Quantize.draw(pen, sketch, at))
    for _ in range(2):
        at = len(sketch.maps) - 1
        choices = [step for step in FINALS if step.accepts(sketch.maps[at])]
        if choices and pen.chance(0.55):
            attempt(pen, sketch, pen.choice(choices).draw, at)


def head(pen: Pen, sketch: Sketch, at: int) -> Conv:
    drawn = Conv.draw(pen, sketch, at, kernel=pen.choice((1, 1, 3)), stride=1)
    classes = pen.weighted({1: 4.0, 2: 1.0, 3: 1.0, 5: 0.4})
    return Conv(drawn.inputs, classes, drawn.weights, drawn.bias, drawn.style, drawn.kernel)
