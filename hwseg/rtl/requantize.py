"""Requantizers: accumulators to activations, one output channel and C pixels per cycle.

    y = clamp(round_half_even((acc * multiplier + offset) / 2**shift), low, high)
    raw = acc * multiplier + offset, its low 32 bits

    cycle  -1 parameters' address    0 accumulators    1 registers    2, 3 low * low + offset    4, 5, 6 sums
            7 shift by multiples of 16    8 shift by 0..15    9 round    10 clamp    11 + x    12 halve    13 clamp

The product is that of two halves each, in four DSP slices with the registers behind their multipliers and their adders,
each of which adds what the one before leaves above its low 17 bits:

    low * low + offset  ->  high * low + .. >> 17  ->  low * high + ..  ->  high * high + .. >> 17
      3   17 bits                4                       5   17 bits          6   28 bits

The slice's adder takes only the offset's low 34 bits; a carry out of them chooses between the rest and one more.

The parameter triple is proven equal to the exact rational at every step by `hwseg.arith.requantize`.
Latency: `Requantizers.latency` cycles; one row per cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import PSUM_BITS, ROWS_PER_SET, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.isa import PARAMETER
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.resets import later

PRODUCT_BITS = 62
NARROW_BITS = 12
RAW_BITS = 32
TOTAL_BITS = 11
"""Of twice a requantized sum, at most 9 bits with its sign, and an addend of 8 bits without."""

HALF = 17
"""Bits of the low half of a multiplier's operand: an unsigned one in a DSP slice's 18 signed bits."""

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

    `acc`, `row`, `token`: an accumulator row, its number in the set and its token.  `parameters_at`: where its
    parameters are, a cycle before, with `parameters_wanted`; they live in `slots` x 8 entries, and what was read stays
    until the next row's.  `addend`: of a residual addition, in the cycle behind `take`; the row is doubled before and
    the sum halved after it where the configuration says so, and clamped once more.
    """

    latency = 13
    taking = 8
    """Cycle of `take`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        pixels = config.pixels
        super().__init__(
            {
                "acc": In(data.ArrayLayout(signed(PSUM_BITS), pixels)),
                "parameters_at": In(11),
                "parameters_wanted": In(1),
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
        m.submodules.parameters = memory = BlockRam(TRIPLE.size, ROWS_PER_SET * self.config.param_slots)
        m.d.comb += [
            memory.read_address.eq(self.parameters_at),
            memory.read_enable.eq(self.parameters_wanted),
            memory.write_address.eq(self.write.address),
            memory.write_data.eq(self.write.data),
            memory.write_enable.eq(self.write.enable),
        ]
        tokens: list[Any] = [self.token]
        for stage in range(self.latency):
            tokens.append(later(m, tokens[-1], f"token_{stage}"))
        m.d.comb += [self.out_token.eq(tokens[-1]), self.out_row.eq(delayed(m, self.row, self.latency, "row"))]

        # What the cycles behind a register of their own need: 9 clamp, 10 addend, 11 double, 12 halve, 13 clamp.
        self._first = self._bounds(m, tokens[8].half, "first_low", "first_high")
        before = tokens[self.taking - 1]
        wanted, wanted_late = Mux(before.half, self.back[1].residual, self.back[0].residual), Signal(reset_less=True)
        self._adds, take = Signal(reset_less=True), Signal(name="taking")
        m.d.comb += self.take.eq(take)
        m.d.sync += [take.eq(before.valid & wanted), wanted_late.eq(wanted)]
        m.d.sync += self._adds.eq(wanted_late)  # of cycle 9, in which the addend is there
        self._double, self._halve = Signal(), Signal()
        m.d.sync += [
            self._double.eq(Mux(tokens[9].half, self.back[1].double, self.back[0].double)),
            self._halve.eq(Mux(tokens[10].half, self.back[1].halve, self.back[0].halve)),
        ]
        self._last = self._bounds(m, tokens[11].half, "low", "high")
        triples: list[Any] = [data.View(TRIPLE, memory.read_data)]  # of cycle 1
        for stage in range(7):
            triples.append(Signal(TRIPLE, name=f"triple_{stage}", reset_less=True))
            m.d.sync += triples[-1].eq(triples[-2])
        dot = delayed(m, triples[-1].dot, self.latency - len(triples), "dot")
        m.d.comb += self.out_dot.eq(dot)
        one_more = Signal(signed(PARAMETER.fields["offset"] - 2 * HALF + 1), name="one_more", reset_less=True)
        m.d.sync += one_more.eq(triples[1].offset[2 * HALF :].as_signed() + 1)
        self._above = triples[2].offset[2 * HALF :].as_signed(), one_more
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
        def register(shape: Any, value: Any, name: str) -> Signal:
            signal = Signal(shape, name=f"{name}_{pixel}", reset_less=True)
            m.d.sync += signal.eq(value)
            return signal

        acc = register(signed(ACC_BITS), self.acc[pixel][:ACC_BITS].as_signed(), "acc")  # cycle 1
        value = self._affine(acc, triples, register)  # 6

        # Keep one fraction bit (half) and whether anything below it was dropped (sticky).  The shift is by 16s, by 4s
        # and by 1s, each a choice of four.  Only bits that can end up in the narrow result are shifted; above them it
        # is enough to know that all equal the sign.
        shift = triples[5].shift
        width, middle_width = NARROW_BITS + 15, NARROW_BITS + 3
        doubled = Cat(0, value, value[-1].replicate(3 * 16 + width - PRODUCT_BITS - 1))
        coarse = register(width, shifted(doubled, 16, width, shift[4:6]), "coarse")  # 7
        too_wide = register(1, Array(self._beyond(m, value, pixel, width - 2))[shift[4:6]], "too_wide")
        sticky_coarse = register(1, Array(self._dropped(m, value, pixel))[shift[4:6]], "sticky_coarse")
        sign = register(1, value[-1], "sign")
        raw = register(RAW_BITS, value[:RAW_BITS], "raw_early")
        fours, ones = triples[6].shift[2:4], triples[6].shift[0:2]
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
        narrow = register(NARROW_BITS, Mux(wide, limit, shifted(middle, 1, NARROW_BITS, ones)), "narrow")  # 8
        sticky = register(1, sticky_coarse | lost, "sticky")

        whole = narrow.as_signed() >> 1
        rounded = register(signed(NARROW_BITS), whole + (narrow[0] & (sticky | narrow[1])), "rounded")  # 9
        y: Any = register(signed(9), clamped(rounded, *self._first), "clamped")  # 10
        if self.config.adds:
            addend = register(8, Mux(self._adds, self.addend[pixel], 0), "addend")
            total = register(signed(TOTAL_BITS), addend + Mux(self._double, y << 1, y), "total")  # 11
            halved = (total >> 1) + (total[0] & total[1])
            y = register(signed(TOTAL_BITS), Mux(self._halve, halved, total), "halved")  # 12
            y = clamped(y, *self._last)
        else:
            y = delayed(m, y[:8], 2, f"y_{pixel}")
        m.d.comb += [  # 13
            self.y[pixel].eq(delayed(m, y[:8], 1, f"y_out_{pixel}")),
            self.raw[pixel].eq(delayed(m, raw, 5, f"raw_{pixel}")),
        ]

    def _affine(self, acc: Signal, triples: list[data.View], register: Callable[[Any, Any, str], Signal]) -> Value:
        """acc * multiplier + offset, by halves: `acc` is of cycle 1, the result of cycle 6."""

        def product(a: Value, b: Value, plus: Value, name: str) -> Signal:
            """a * b + plus in one slice: a and b of a cycle, `plus` of the next, the sum of the one after."""
            exact = a * b
            summed = register(exact.shape(), exact, f"{name}_product") + plus
            return register(summed.shape(), summed, name)

        accs = [acc]
        for cycle in (2, 3, 4):
            accs.append(register(acc.shape(), accs[-1], f"acc_{cycle}"))
        low, high = [a[:HALF] for a in accs], [a[HALF:].as_signed() for a in accs]
        by_low = [triple.multiplier[:HALF] for triple in triples]
        by_high = [triple.multiplier[HALF:].as_signed() for triple in triples]

        first = product(low[0], by_low[0], triples[1].offset[: 2 * HALF], "low_low")  # 3
        above = Mux(first[2 * HALF], self._above[1], self._above[0])
        second = product(high[1], by_low[1], Cat(first[HALF : 2 * HALF], above).as_signed(), "high_low")  # 4
        third = product(low[2], by_high[2], second, "low_high")  # 5
        fourth = product(high[3], by_high[3], third[HALF:].as_signed(), "high_high")  # 6
        lowest = first[:HALF]
        for cycle in (4, 5, 6):
            lowest = register(HALF, lowest, f"lowest_{cycle}")
        middle = register(HALF, third[:HALF], "middle_half")
        return Cat(lowest, middle, fourth)[:PRODUCT_BITS].as_signed()

    @staticmethod
    def _beyond(m: Module, value: Value, pixel: int, first: int) -> list[Value]:
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
    def _dropped(m: Module, value: Value, pixel: int) -> list[Value]:
        """For each coarse shift: does it lose a one; twice the value's low 16k bits are its own low 16k - 1."""
        found: list[Value] = [C(0)]
        for k in range(1, 4):
            here = Signal(name=f"dropped_{pixel}_{k}")
            m.d.comb += here.eq(found[-1] | value[max(0, 16 * k - 17) : 16 * k - 1].any())
            found.append(here)
        return found
