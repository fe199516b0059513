"""Grouped cores: the merged multiply-add with a two-stage tree of 64-lane groups, and the bias in pseudo-lanes (DEX).

The pseudo-lanes' weights come with the reload; their activations are constants, so that they are gated by `first` and
`last` instead of by a feed.  The first nonzero digit of a sum is the sign of sum(w * x) + bias, and `decided` and
`negative` show it in the cycle in which it is known, a plane or more before the sum.

The model is `hwseg.arith.grouped.GroupedSpec`.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Module, Shape, Signal, Value, signed
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import Component, In, Out

from hwseg.arith.grouped import BIAS_LANES, FIRST_LANES, GroupedSpec
from hwseg.arith.types import IntType
from hwseg.rtl.cores import merged
from hwseg.rtl.cores.pipeline import adder_tree, delayed, gated, tree_levels
from hwseg.rtl.cores.signature import core_ports, loader_ports


def load_layout(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> StructLayout:
    return StructLayout(
        {
            "weights": ArrayLayout(Shape(weight_bits, weight_signed), lanes),
            "bias": ArrayLayout(signed(weight_bits), BIAS_LANES),
        }
    )


def stages(lanes: int) -> tuple[int, int]:
    """Registers of the groups' trees and of the tree over them and the bias."""
    groups = GroupedSpec(lanes, IntType(1)).groups
    return tree_levels(len(groups[0])), tree_levels(len(groups) + BIAS_LANES)


class Loader(Component):
    """Copies weights and bias lanes into the active register."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        spec = GroupedSpec(lanes, IntType(1), weight_bits, weight_signed)
        super().__init__(
            loader_ports(spec.core, load_layout(lanes, weight_bits, weight_signed))
            | {"bias": In(ArrayLayout(signed(weight_bits), BIAS_LANES))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.busy.eq(self.start)
        with m.If(self.start):
            m.d.sync += [self.load.weights.eq(self.weights), self.load.bias.eq(self.bias)]
        return m


class Core(merged.Core):
    """`GroupedSpec` in gates."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        spec = GroupedSpec(lanes, IntType(8), weight_bits, weight_signed)
        self.spec = spec.core
        self.groups = spec.groups
        # The pseudo-lanes' words are signed: a plane's largest sum is less than sum|w|.
        self.growth = self.plane_bits = spec.mma.growth
        self.latency = sum(stages(lanes)) + 1
        bound = spec.magnitude * 255
        ports = core_ports(self.spec, lanes, load_layout(lanes, weight_bits, weight_signed))
        ports |= {"residual": Out(signed(self.growth)), "digit": Out(signed(2)), "digit_valid": Out(1)}
        ports |= {"sum": Out(signed(IntType.of(-bound, bound).width)), "decided": Out(1), "negative": Out(1)}
        Component.__init__(self, ports)

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        ended = Signal()
        depth = self.latency
        m.d.comb += ended.eq(delayed(m, self.last & self.valid, depth, "ended", reset_less=False))
        nonzero = self.digit_valid & (self.digit != 0)
        known, sign = Signal(), Signal()
        m.d.comb += [
            self.decided.eq(known | nonzero),
            self.negative.eq(known & sign | ~known & nonzero & self.digit[1]),
        ]
        m.d.sync += [known.eq(self.decided & ~ended), sign.eq(self.negative)]
        return m

    def tree(self, m: Module) -> Value:
        first_stage, _ = stages(self.spec.lanes)
        nodes = []
        for g, lanes in enumerate(self.groups):
            group = adder_tree(m, [gated(self.load.weights[i], self.feed[i]) for i in lanes], f"group_{g}")
            nodes.append(delayed(m, group, first_stage - tree_levels(len(lanes)), f"group_{g}_late"))
        gates = (self.first & self.valid, self.last & self.valid)
        for i in range(BIAS_LANES):
            lane = gated(self.load.bias[i], gates[int(i >= FIRST_LANES)])
            nodes.append(delayed(m, lane, first_stage, f"bias_{i}"))
        return adder_tree(m, nodes, "total")


GROUPED = replace(
    merged.MERGED,
    name="grouped",
    loader=Loader,
    core=Core,
    load_layout=load_layout,
    latency=lambda lanes: sum(stages(lanes)) + 1,
)
