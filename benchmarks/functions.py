"""What activation functions, gates and depthwise convolutions cost: cycles of one more layer in a network, predicted.

The network is a 3x3 convolution of as many channels and a ReLU, at the clock and the memory of the board.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction

from benchmarks.graphs import GraphBuilder
from benchmarks.measure import machine, table
from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.curves import Curve, X, number
from hwseg.ops import Function, PRelu, Product
from hwseg.rtl.config import EngineConfig, parse_array

SIZE, CHANNELS = 64, 16
STEP = Fraction(1, 16)
"""What an integer counts before a function: 8 bits are from -8 to 8."""

Layer = Callable[[GraphBuilder, str], str]


def _plain(b: GraphBuilder, x: str) -> str:
    return b.conv(x, CHANNELS)


def _sloped(*slopes: Fraction) -> Layer:
    def layer(b: GraphBuilder, x: str) -> str:
        op = PRelu((Fraction(1, 1 << 10),), (Fraction(0),), slopes, -128, 127)
        return b.apply(op, b.sums(x, CHANNELS), low=-128, high=127)

    return layer


def _bent(curve: Curve, scale: Fraction, low: int, high: int) -> Layer:
    def layer(b: GraphBuilder, x: str) -> str:
        return b.apply(Function(curve, scale, low, high), b.conv(x, CHANNELS, signed=True), low=low, high=high)

    return layer


def _gated(channels: int, bits: int) -> Layer:
    """A map times the sigmoid of a 1x1 of itself."""

    def layer(b: GraphBuilder, x: str) -> str:
        y = b.conv(x, CHANNELS)
        high = (1 << bits) - 1
        sigmoid = Function(SIGMOID, Fraction(1, 1 << bits), 0, high)
        gate = b.apply(sigmoid, b.conv(y, channels, 1, signed=True), low=0, high=high)
        gated = b.apply(Product(), y, gate, low=0, high=255 * high)
        return b.requantize(gated, Fraction(1, 1 << bits), 0, 255)

    return layer


INSIDE = X * number(STEP)
SIGMOID = Curve("sigmoid", (INSIDE,))
LAYERS: Mapping[str, Layer] = {
    "3x3 and ReLU": _plain,
    "3x3 and LeakyReLU": _sloped(Fraction(1, 10)),
    "3x3 and PReLU, a slope for each channel": _sloped(*(Fraction(n, 20) for n in range(CHANNELS))),
    "3x3, 8 bits, HardSigmoid": _bent(
        Curve("clip", (INSIDE * number(Fraction(1, 6)) + number(Fraction(1, 2)),), (Fraction(0), Fraction(1))),
        Fraction(1, 256), 0, 255,
    ),
    "3x3, 8 bits, sigmoid": _bent(SIGMOID, Fraction(1, 256), 0, 255),
    "3x3, 8 bits, SiLU": _bent(INSIDE * SIGMOID, STEP, -128, 127),
    "3x3, and a gate of one channel, sigmoid of 4 bits": _gated(1, 4),
    "3x3, and a gate of one channel, sigmoid of 8 bits": _gated(1, 8),
    "3x3, and a gate of every channel, sigmoid of 8 bits": _gated(CHANNELS, 8),
    "depthwise 3x3 and ReLU": lambda b, x: b.grouped(x, CHANNELS),
}  # fmt: skip


def program(name: str, config: EngineConfig, size: int = SIZE) -> Program:
    """A network with one more layer, or with none."""
    b = GraphBuilder(size, size, CHANNELS)
    x = _plain(b, "image")
    x = LAYERS[name](b, x) if name else x
    last = b.conv(x, CHANNELS, weight_bits=7)  # exporters leave -128 out of 8 bits, random weights would not
    return compile_graph(b.graph(last), config, load_board("zynq7020"), allow_inexact=True)


def measure(config: EngineConfig, names: Sequence[str] = tuple(LAYERS), size: int = SIZE) -> Iterator[list[str]]:
    """Lines of the table: cycles, passes of the engine that the layer adds, and cycles beside the plain layer's."""
    less = program("", config, size)
    plain = 0
    for name in names:
        more = program(name, config, size)
        cycles = more.timing().total - less.timing().total
        plain = plain or cycles
        yield [name, f"{cycles:,}", f"{cycles / plain:.1f}", str(len(more.plans) - len(less.plans))]


def main() -> None:
    config = parse_array("8x4x4")
    print(f"{machine()}, array {config.name}, {CHANNELS} channels at {SIZE}x{SIZE}", flush=True)
    print()
    print(table(["one more layer", "cycles", "of the first", "passes"], list(measure(config))))


if __name__ == "__main__":
    main()
