"""Table cores whose last addition and accumulator are one DSP48E1; the encoder is the table core's.

The slice's pre-adder is the last node of the tree, D +- A; its multiplier multiplies by 1; its adder is the Horner step
P <- 2P +- (D +- A), with 2P brought back to input C and left out for a sum's first plane:

    nodes of the last level but one --> D, A --(INMODE)--> AD --> P      OPMODE: first plane, ALUMODE: sign
                                                            C <-- 2P

D, A, AD and P are the slice's registers.  P holds twice the sum, because T + S = 2s.  In a reload the all-ones plane
makes P = S, from where the loader takes it.  `sum` is P / 2: it moves on with the next sum's planes.

The model is `hwseg.arith.table.TableSpec`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from amaranth.hdl import Module

from hwseg.arith.table import TableSpec
from hwseg.errors import require
from hwseg.rtl.cells import PRE_ADDER_BITS, DspAccumulator
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.cores.table import ADDRESS_BITS, TABLE, Loader
from hwseg.rtl.cores.table import Core as FabricCore

BEHIND = 2
"""Registers behind the tree's own: the pre-adder's and the accumulator."""


def latency(lanes: int) -> int:
    """Tree, pre-adder, accumulator."""
    return TableSpec(lanes).depth + BEHIND


class Core(FabricCore):
    """`TableSpec` in gates, with a DSP slice at the end."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True, *, first: bool = True) -> None:
        super().__init__(lanes, weight_bits, weight_signed, first=first)
        self.latency = latency(lanes)
        bits = self.spec.node_bits(self.spec.tree[-1][0])
        require(
            bits <= PRE_ADDER_BITS,
            f"table core of {lanes} lanes",
            f"a DSP slice adds {PRE_ADDER_BITS} bits, not {bits}",
            "use the core table",
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, levels = self.spec, len(self.spec.tree)
        nodes, signs = self._look_up(m), iter(self.feed[ADDRESS_BITS * spec.tables :])
        for level in range(1, levels - 1):
            nodes = self._level(m, level, nodes, signs)
        # The registers of the level before the last are the slice's own.
        registers = spec.depth - 1
        if levels > 1:
            nodes = self._level(m, levels - 1, nodes, signs, registered=False)
        a, b, relative = self._operands(spec.tree[-1][0], nodes, signs)

        moving = self.valid | self.load.capture if self.makes_sum else self.valid
        m.submodules.dsp = dsp = DspAccumulator()
        m.d.comb += [
            dsp.d.eq(a),
            dsp.a.eq(b),
            dsp.difference.eq(delayed(m, relative, registers, "relative")),
            dsp.add_c.eq(delayed(m, self.valid & ~self.first, registers + 1, "later")),
            dsp.subtract.eq(delayed(m, self.feed[-1] ^ (self.negate & self.valid), registers + 1, "subtract")),
            dsp.enable.eq(delayed(m, moving, registers + 2, "valid", reset_less=False)),
            dsp.c.eq(dsp.p[: len(self.sum)] << 1),
            self.total.eq(dsp.p),
            self.residual.eq(dsp.p[1:]),
            self.sum.eq(self.residual),
            self.sum_valid.eq(delayed(m, self.last & self.valid, self.latency, "last", reset_less=False)),
        ]
        return m


TABLE_DSP = replace(
    TABLE,
    name="table_dsp",
    loader=partial(Loader, behind=BEHIND),
    reader=partial(Loader, behind=BEHIND, reads=True),
    core=Core,
    neighbour=partial(Core, first=False),
    latency=latency,
    keeps=False,
)
