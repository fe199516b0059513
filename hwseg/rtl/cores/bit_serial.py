"""Bit-serial cores, the baseline: planes least significant first, AND gates, a tree, a shifter and an accumulator.

After BISMO (Umuroglu, Rasnayake, Sjalander, FPL 2018), with parallel weights.  `negate` comes with the last plane,
which is the sign plane here.  The model is `hwseg.arith.baseline.BitSerialSpec`; `residual` is its accumulator, 0
after the last plane.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Module, Signal, signed
from amaranth.lib.wiring import Component, Out

from hwseg.arith.types import PLANES, CoreSpec
from hwseg.rtl.cores import merged
from hwseg.rtl.cores.pipeline import add_or_subtract, adder_tree, delayed, gated, signed_register, tree_levels
from hwseg.rtl.cores.signature import core_ports


def latency(lanes: int) -> int:
    """Tree, shifter, accumulator."""
    return tree_levels(lanes) + 2


class Core(Component):
    """`BitSerialSpec` in gates."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = CoreSpec(lanes, weight_bits, weight_signed)
        self.latency = latency(lanes)
        ports = core_ports(self.spec, lanes, merged.load_layout(lanes, weight_bits, weight_signed))
        super().__init__(ports | {"residual": Out(signed(self.spec.sum_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.latency - 2
        plane_sum = adder_tree(m, [gated(self.load[i], self.feed[i]) for i in range(self.spec.lanes)])
        shift = Signal(range(PLANES))
        valid = delayed(m, self.valid, depth, "valid", reset_less=False)
        last = delayed(m, self.last & self.valid, depth, "last", reset_less=False)
        with m.If(valid):
            m.d.sync += shift.eq(shift + 1)
        with m.If(last):
            m.d.sync += shift.eq(0)
        shifted = signed_register(len(self.sum), "shifted")
        m.d.sync += shifted.eq(plane_sum.as_signed() << shift if self.spec.weight_signed else plane_sum << shift)
        valid, last = (delayed(m, s, 1, f"{s.name}_shifted", reset_less=False) for s in (valid, last))
        negate = delayed(m, self.negate, depth + 1, "negate")
        following = Signal.like(self.sum, name="following")
        m.d.comb += following.eq(add_or_subtract(self.residual, shifted, negate, len(self.sum)))
        with m.If(valid):
            m.d.sync += self.residual.eq(following)
        with m.If(last):
            m.d.sync += [self.residual.eq(0), self.sum.eq(following)]
        m.d.sync += self.sum_valid.eq(last)
        return m


BIT_SERIAL = replace(merged.MERGED, name="bit_serial", core=Core, latency=latency, order="least")
