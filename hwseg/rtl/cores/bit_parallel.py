"""Bit-parallel cores, the baseline: a multiplier per lane, which synthesis puts into DSP slices, and an adder tree.

A cycle takes whole words: eight bits per lane, sign-extended to eight if they are signed, which `negate` says.  The
model is the dot product.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component

from hwseg.arith.types import PLANES, CoreSpec
from hwseg.rtl.cores import merged
from hwseg.rtl.cores.pipeline import adder_tree, delayed, tree_levels
from hwseg.rtl.cores.signature import core_ports, encoder_ports


def latency(lanes: int) -> int:
    """Product, tree, sum."""
    return tree_levels(lanes) + 2


class Encoder(Component):
    """Words as they are, registered once; zeros in idle cycles."""

    latency = 1

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        super().__init__(encoder_ports(PLANES * lanes, PLANES * lanes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.feed.eq(self.lanes & self.valid.replicate(len(self.lanes)))
        return m


class Core(Component):
    """The dot product in gates; `first` and `last` mark every word."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = CoreSpec(lanes, weight_bits, weight_signed)
        self.latency = latency(lanes)
        layout = merged.load_layout(lanes, weight_bits, weight_signed)
        super().__init__(core_ports(self.spec, PLANES * lanes, layout))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products = []
        for i in range(self.spec.lanes):
            word = self.feed[PLANES * i : PLANES * (i + 1)]
            product = Cat(word, word[-1] & self.negate).as_signed() * self.load[i]
            products.append(delayed(m, product, 1, f"product_{i}"))
        total = adder_tree(m, products)
        done = delayed(m, self.valid & self.last, self.latency - 1, "done", reset_less=False)
        with m.If(done):
            m.d.sync += self.sum.eq(total)
        m.d.sync += self.sum_valid.eq(done)
        return m


BIT_PARALLEL = replace(
    merged.MERGED,
    name="bit_parallel",
    encoder=Encoder,
    core=Core,
    feed_bits=lambda lanes: PLANES * lanes,
    latency=latency,
    encoder_latency=Encoder.latency,
    order="words",
)
