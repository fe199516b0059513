"""A product of more bits than a DSP slice has, and an offset: four slices, one above the other.

    acc = high * 2^17 + low, and so the multiplier; each slice has a register behind its product and behind its sum:

    cycle    3  s0 = low * low + offset's lower part                       value = s3 << 34
             4  s1 = low * high + (s0 >> 17)                                       + s2's low 17 bits << 17
             5  s2 = high * low + s1                                               + s0's low 17 bits
             6  s3 = high * high + (s2 >> 17)                                      + offset's upper part
             7  value

What a shift to the right drops stays where it is, so nothing is lost.  A slice's addend has 48 bits, the offset more:
its upper part is added at the end, in the fabric.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.cells import DspMultiplier
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.isa import PARAMETER

HALF = 17
"""Bits of the low half of an operand: an unsigned one in a slice's 18 signed bits."""

ACC_BITS = 32
"""Accumulators beyond 32 bits are refused where a model is read."""
MULTIPLIER_BITS, OFFSET_BITS = PARAMETER.fields["multiplier"], PARAMETER.fields["offset"]
PRODUCT_BITS = 62
LOWER_BITS = 46
"""Of the offset, added in the first slice: with a product of two halves it still fits 48 bits with their sign."""


class WideProducts(Component):
    """value = acc * multiplier + offset for `count` acc.  `multiplier` and `offset` come a cycle after `acc`; one set of
    products a cycle.
    """

    latency = 7

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(
            {
                "acc": In(data.ArrayLayout(signed(ACC_BITS), count)),
                "multiplier": In(signed(MULTIPLIER_BITS)),
                "offset": In(signed(OFFSET_BITS)),
                "value": Out(data.ArrayLayout(signed(PRODUCT_BITS), count)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        by_low, by_high = Cat(self.multiplier[:HALF], Const(0, 1)).as_signed(), self.multiplier[HALF:].as_signed()
        by_low_later, by_high_later = delayed(m, by_low, 1, "by_low"), delayed(m, by_high, 2, "by_high")
        upper = delayed(m, self.offset[LOWER_BITS:].as_signed(), 5, "upper")
        for number in range(self.count):
            acc = self.acc[number]
            low, high = Cat(acc[:HALF], Const(0, 1)).as_signed(), acc[HALF:].as_signed()
            high = delayed(m, high, 1, f"high_{number}")
            # Slice n multiplies in cycle 2 + n; two of the registers before it are its own.
            slices = [
                (DspMultiplier("c", 1, 0), low, by_low),
                (DspMultiplier("shifted", 2, 1), low, by_high),
                (DspMultiplier("below", 2, 1), high, by_low_later),
                (DspMultiplier("shifted", 2, 1), delayed(m, high, 1, f"high_again_{number}"), by_high_later),
            ]
            below: Value = self.offset[:LOWER_BITS]
            for n, (dsp, a, b) in enumerate(slices):
                m.submodules[f"slice_{number}_{n}"] = dsp
                m.d.comb += [dsp.a.eq(a), dsp.b.eq(b), (dsp.p_in if n else dsp.c).eq(below)]
                below = dsp.p_out
            sums = [dsp.p for dsp, _, _ in slices]
            top = Signal(signed(PRODUCT_BITS - 2 * HALF), name=f"top_{number}", reset_less=True)
            at = LOWER_BITS - 2 * HALF
            m.d.sync += top.eq(Cat(sums[3][:at], (sums[3][at:] + upper)[: len(top) - at]))
            lowest = delayed(m, sums[0][:HALF], 4, f"lowest_{number}")
            m.d.comb += self.value[number].eq(Cat(lowest, delayed(m, sums[2][:HALF], 2, f"middle_{number}"), top))
        return m
