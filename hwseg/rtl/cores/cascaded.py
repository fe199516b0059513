"""Cascaded MSDF cores, the baseline: an online multiplier per lane and a tree of online adders, digits between them.

Each unit gives its digits one register later, and the digits of a sum are added up at the end.  After the last plane
the units go on by themselves, `drain` cycles before the next sum may begin; an idle cycle inside a sum holds the
multipliers, and a cycle later the adders behind them.  `latency` counts cycles in which none is held.

The model is `hwseg.arith.online.CascadeSpec`; `digit` and `digit_valid` show the tree's digits.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, Out

from hwseg.arith.online import CascadeSpec
from hwseg.arith.types import CoreSpec, IntType
from hwseg.rtl.cores import merged
from hwseg.rtl.cores.pipeline import add_or_subtract, gated, tree_levels
from hwseg.rtl.cores.signature import core_ports


def cascade(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> CascadeSpec:
    return CascadeSpec(lanes, IntType(8), CoreSpec(lanes, weight_bits, weight_signed).weight)


def latency(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> int:
    """Online delays of multiplier and adders, a register after each, accumulation."""
    spec = cascade(lanes, weight_bits, weight_signed)
    return spec.multiplier.online_delay + 3 * spec.levels + 2


class Core(Component):
    """`CascadeSpec` in gates."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = CoreSpec(lanes, weight_bits, weight_signed)
        self.cascade = cascade(lanes, weight_bits, weight_signed)
        self.latency = latency(lanes, weight_bits, weight_signed)
        ports = core_ports(self.spec, lanes, merged.load_layout(lanes, weight_bits, weight_signed))
        super().__init__(ports | {"digit": Out(signed(2)), "digit_valid": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside, enable = Signal(name="begun"), Signal(name="enable")
        m.d.comb += enable.eq(self.valid | ~inside)
        with m.If(self.valid):
            m.d.sync += inside.eq(~self.last)
        nodes = [self._multiplier(m, i, enable) for i in range(self.spec.lanes)]
        ending = [
            Signal(name=f"ending_{i}") for i in range(self.cascade.multiplier.online_delay + 2 * self.cascade.levels)
        ]
        with m.If(enable):
            m.d.sync += Cat(ending).eq(Cat(self.valid & self.last, *ending))
        done = ending[-1] & enable
        for level in range(tree_levels(self.spec.lanes)):
            late, done_late = Signal(name=f"enable_{level}"), Signal(name=f"done_{level}")
            m.d.sync += [late.eq(enable), done_late.eq(done)]
            enable, done = late, done_late
            pairs = [(nodes[i], nodes[i + 1] if i + 1 < len(nodes) else None) for i in range(0, len(nodes), 2)]
            nodes = [self._adder(m, a, b, enable, f"{level}_{i}") for i, (a, b) in enumerate(pairs)]
        end, last = Signal(), Signal()
        m.d.sync += [end.eq(enable), last.eq(done)]
        m.d.comb += [self.digit.eq(nodes[0]), self.digit_valid.eq(end)]
        self._gather(m, end, last)
        return m

    def _multiplier(self, m: Module, lane: int, enable: Value) -> Value:
        k = self.cascade.multiplier.online_delay
        residual = Signal(signed(k), name=f"residual_{lane}")
        digit = Signal(signed(2), name=f"product_{lane}")
        term = gated(self.load[lane], self.feed[lane] & self.valid)
        v = Signal(signed(k + 2), name=f"v_{lane}")
        if not self.spec.weight_signed:
            term = Cat(term, 0).as_signed()
        m.d.comb += v.eq(add_or_subtract(residual << 1, term, self.negate & self.valid, k + 2))
        with m.If(enable):
            m.d.sync += [residual.eq(v[:k]), digit.eq(v[k:].as_signed() + v[k - 1])]
        return digit

    def _adder(self, m: Module, a: Value, b: Value | None, enable: Value, name: str) -> Value:
        residual = Signal(signed(3), name=f"rest_{name}")
        digit = Signal(signed(2), name=f"digit_{name}")
        s, following, z = Signal(signed(3), name=f"s_{name}"), Signal(signed(3)), Signal(signed(2))
        v = Signal(signed(4), name=f"total_{name}")
        m.d.comb += [s.eq(a + b if b is not None else a), v.eq((residual << 1) + s)]
        one, minus = (residual != 0) & (v >= 2), (residual != 0) & (v <= -2)
        m.d.comb += [z.eq(Cat(one | minus, minus)), following.eq(Mux(one, v - 4, Mux(minus, v + 4, v)))]
        with m.If(enable):
            m.d.sync += [residual.eq(following), digit.eq(z)]
        return digit

    def _gather(self, m: Module, enable: Value, done: Value) -> None:
        total, following = Signal.like(self.sum, name="total"), Signal.like(self.sum, name="following")
        m.d.comb += following.eq((total << 1) + self.digit)
        with m.If(enable):
            m.d.sync += total.eq(following)
        with m.If(done):
            m.d.sync += [total.eq(0), self.sum.eq(following)]
        m.d.sync += self.sum_valid.eq(done)


CASCADED = replace(
    merged.MERGED,
    name="cascaded",
    core=Core,
    latency=latency,
    drain=lambda lanes, weight_bits=8, weight_signed=True: cascade(lanes, weight_bits, weight_signed).drain,
)
