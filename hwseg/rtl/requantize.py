"""Requantizers: accumulators to activations, one output channel and C pixels per cycle.

    y = clamp(round_half_even((acc * multiplier + offset) / 2**shift), low, high)
    raw = acc * multiplier + offset, its low 32 bits

    cycle   0 accumulators, parameters' address    1 registers    2 product    3 + offset
            4 shift by multiples of 8    5 shift by 0..7    6 round    7 clamp    8 out

The parameter triple is proven equal to the exact rational at every step by `hwseg.arith.requantize`.
Latency: `Requantizers.latency` cycles; one row per cycle.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.config import PSUM_BITS, ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import PARAMETER
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN

PRODUCT_BITS = 62
NARROW_BITS = 12
RAW_BITS = 32
TOTAL_BITS = 11
"""Of twice a requantized sum, at most 9 bits with its sign, and an addend of 8 bits without."""

ACC_BITS = 32
"""Accumulators beyond 32 bits are refused where a model is read."""
TRIPLE = data.StructLayout(
    {
        "offset": signed(PARAMETER.fields["offset"]),
        "shift": PARAMETER.fields["shift"],
        "multiplier": signed(PARAMETER.fields["multiplier"]),
        "dot": signed(PARAMETER.fields["dot"]),
    }
)
PARAMETER_WRITE = data.StructLayout({"enable": 1, "address": 11, "data": TRIPLE})


def shifted(value: Value, unit: int, width: int, by: Value) -> Value:
    """`width` bits of value >> unit * by, `by` of two bits."""
    return Array([value[unit * k : unit * k + width] for k in range(4)])[by]


def clamped(value: Value, low: Value, high: Value) -> Value:
    """The value, or the bound that it passes."""
    return Mux(value < low, low, Mux(value > high, high, value))


class Requantizers(Component):
    """The requantizers of one set: 8 rows of the array take turns, C pixels at once.

    `acc`, `row`, `token`: an accumulator row, its number in the set and its token.  Parameters live in `slots` x 8
    entries.  `addend`: of a residual addition, taken with `take`; the row is doubled before and the sum halved after
    it where the configuration says so, and clamped once more.
    """

    latency = 10

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        pixels = config.pixels
        super().__init__(
            {
                "acc": In(data.ArrayLayout(signed(PSUM_BITS), pixels)),
                "row": In(3),
                "token": In(TOKEN),
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "write": In(PARAMETER_WRITE),
                "addend": In(data.ArrayLayout(8, pixels)),
                "take": Out(1),
                "y": Out(data.ArrayLayout(8, pixels)),
                "raw": Out(data.ArrayLayout(RAW_BITS, pixels)),
                "out_row": Out(3),
                "out_dot": Out(signed(PARAMETER.fields["dot"])),
                "out_token": Out(TOKEN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory = Memory(shape=TRIPLE, depth=ROWS_PER_SET * self.config.param_slots, init=[])
        m.submodules.parameters = memory
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(Cat(self.row, self.token.slot)),
            read.en.eq(1),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            write.en.eq(self.write.enable),
        ]
        tokens, rows = [self.token], [self.row]
        for stage in range(self.latency):
            tokens.append(Signal(TOKEN, name=f"token_{stage}"))
            rows.append(Signal(3, name=f"row_{stage}"))
            m.d.sync += [tokens[-1].eq(tokens[-2]), rows[-1].eq(rows[-2])]
        m.d.comb += [self.out_token.eq(tokens[-1]), self.out_row.eq(rows[-1])]

        # What the cycles behind a register of their own need: 6 clamp, 7 addend, 8 double, 9 halve, 10 clamp.
        self._first = self._bounds(m, tokens[5].half, "first_low", "first_high")
        self._adds = Signal()
        m.d.comb += self._adds.eq(Mux(tokens[6].half, self.back[1].residual, self.back[0].residual))
        m.d.comb += self.take.eq(tokens[6].valid & self._adds)
        self._double, self._halve = Signal(), Signal()
        m.d.sync += [
            self._double.eq(Mux(tokens[6].half, self.back[1].double, self.back[0].double)),
            self._halve.eq(Mux(tokens[7].half, self.back[1].halve, self.back[0].halve)),
        ]
        self._last = self._bounds(m, tokens[8].half, "low", "high")
        triples = [read.data]  # of cycle 1
        for stage in range(4):
            triples.append(Signal(TRIPLE, name=f"triple_{stage}"))
            m.d.sync += triples[-1].eq(triples[-2])
        dot = triples[-1].dot
        for stage in range(5, self.latency - 1):
            later = Signal.like(self.out_dot, name=f"dot_{stage}")
            m.d.sync += later.eq(dot)
            dot = later
        m.d.sync += self.out_dot.eq(dot)
        for pixel in range(self.config.pixels):
            self._one(m, pixel, triples)
        return m

    def _bounds(self, m: Module, half: Value, low: str, high: str) -> tuple[Signal, Signal]:
        """A clamp's bounds, one register behind the token."""
        bounds = Signal(signed(9), name=low), Signal(signed(9), name=high)
        for bound, name in zip(bounds, (low, high), strict=True):
            m.d.sync += bound.eq(Mux(half, getattr(self.back[1], name), getattr(self.back[0], name)))
        return bounds

    def _one(self, m: Module, pixel: int, triples: list[data.View]) -> None:
        def register(shape: object, value: object, name: str) -> Signal:
            signal = Signal(shape, name=f"{name}_{pixel}")  # type: ignore[arg-type]
            m.d.sync += signal.eq(value)  # type: ignore[arg-type]
            return signal

        acc = register(signed(ACC_BITS), self.acc[pixel][:ACC_BITS].as_signed(), "acc")  # cycle 1
        product = register(signed(PRODUCT_BITS), acc * triples[0].multiplier, "product")  # 2
        value = register(signed(PRODUCT_BITS), product + triples[1].offset, "value")  # 3

        # Keep one fraction bit (half) and whether anything below it was dropped (sticky).  The shift is by 16s, by 4s
        # and by 1s, each a choice of four.  Only bits that can end up in the narrow result are shifted; above them it
        # is enough to know that all equal the sign.
        shift = triples[2].shift
        width, middle_width = NARROW_BITS + 15, NARROW_BITS + 3
        doubled = Cat(0, value, value[-1].replicate(3 * 16 + width - PRODUCT_BITS - 1))
        coarse = register(width, shifted(doubled, 16, width, shift[4:6]), "coarse")  # 4
        too_wide = register(1, Array(self._beyond(m, value, pixel, width - 2))[shift[4:6]], "too_wide")
        sticky_coarse = register(1, Array(self._dropped(m, value, pixel))[shift[4:6]], "sticky_coarse")
        sign = register(1, value[-1], "sign")
        raw = register(RAW_BITS, value[:RAW_BITS], "raw_early")
        fours, ones = triples[3].shift[2:4], triples[3].shift[0:2]
        middle = Signal(middle_width, name=f"middle_{pixel}")
        m.d.comb += middle.eq(shifted(coarse, 4, middle_width, fours))
        differs = coarse ^ sign.replicate(width)
        wide = too_wide | Array(differs[middle_width - 1 + 4 * j :].any() for j in range(4))[fours]
        differs = middle ^ sign.replicate(middle_width)
        wide = wide | Array(differs[NARROW_BITS - 1 + i :].any() for i in range(4))[ones]
        lost = Array(Cat(coarse[: 4 * j], 0).any() for j in range(4))[fours]
        lost = lost | Array(Cat(middle[:i], 0).any() for i in range(4))[ones]
        limit = Mux(sign, 1 << (NARROW_BITS - 1), (1 << (NARROW_BITS - 1)) - 1)
        raw = register(RAW_BITS, raw, "raw_middle")
        narrow = register(NARROW_BITS, Mux(wide, limit, shifted(middle, 1, NARROW_BITS, ones)), "narrow")  # 5
        sticky = register(1, sticky_coarse | lost, "sticky")

        whole = narrow.as_signed() >> 1
        rounded = register(signed(NARROW_BITS), whole + (narrow[0] & (sticky | narrow[1])), "rounded")  # 6
        y: Any = register(signed(9), clamped(rounded, *self._first), "clamped")  # 7
        if self.config.adds:
            addend = register(8, Mux(self._adds, self.addend[pixel], 0), "addend")
            total = register(signed(TOTAL_BITS), addend + Mux(self._double, y << 1, y), "total")  # 8
            halved = (total >> 1) + (total[0] & total[1])
            y = register(signed(TOTAL_BITS), Mux(self._halve, halved, total), "halved")  # 9
            y = clamped(y, *self._last)
        else:
            for stage in range(7, 9):
                y = register(8, y, f"y_{stage}")
        for stage in range(5, 9):
            raw = register(RAW_BITS, raw, f"raw_{stage}")
        m.d.sync += [self.y[pixel].eq(y), self.raw[pixel].eq(raw)]  # 10

    @staticmethod
    def _beyond(m: Module, value: Signal, pixel: int, first: int) -> list[Value]:
        """For each coarse shift: is any bit from `first` of the shifted value up not the sign."""
        found: list[Value] = []
        above: Value = C(0)
        for k in reversed(range(4)):
            chunk = value[first + 16 * k : first + 16 * (k + 1)]
            here = Signal(name=f"beyond_{pixel}_{k}")
            m.d.comb += here.eq(above | (chunk ^ value[-1].replicate(len(chunk))).any())
            above = here
            found.append(here)
        return found[::-1]

    @staticmethod
    def _dropped(m: Module, value: Signal, pixel: int) -> list[Value]:
        """For each coarse shift: does it lose a one; twice the value's low 16k bits are its own low 16k - 1."""
        found: list[Value] = [C(0)]
        for k in range(1, 4):
            here = Signal(name=f"dropped_{pixel}_{k}")
            m.d.comb += here.eq(found[-1] | value[max(0, 16 * k - 17) : 16 * k - 1].any())
            found.append(here)
        return found
