"""Table cores whose last addition and accumulator are one DSP48E1; encoder and loader are the table core's.

The slice's pre-adder is the last node of the tree, D +- A; its multiplier multiplies by 1; its adder is the Horner step
P <- 2P +- (D +- A), with 2P brought back to input C and left out for a sum's first plane:

    nodes of the last level but one --> D, A --(INMODE)--> AD --> P      OPMODE: first plane, ALUMODE: sign
                                                            C <-- 2P

P holds twice the sum, because T + S = 2s.  In a reload the all-ones plane makes P = S, from where the core keeps it.
`sum` is a register of its own, so that it stays while the next sum's planes pass: one cycle later than in the table
core.  `residual` is P / 2, a cycle before `sum`; it keeps the sum until the next one's first plane.

The model is `hwseg.arith.table.TableSpec`.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Module

from hwseg.arith.table import TableSpec
from hwseg.errors import require
from hwseg.rtl.cells import PRE_ADDER_BITS, DspAccumulator
from hwseg.rtl.cores.pipeline import delayed, signed_register
from hwseg.rtl.cores.table import ADDRESS_BITS, TABLE
from hwseg.rtl.cores.table import Core as FabricCore


def latency(lanes: int) -> int:
    """The table core's and the register that keeps the sum."""
    return TableSpec(lanes).latency + 1


class Core(FabricCore):
    """`TableSpec` in gates, with a DSP slice at the end."""

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        super().__init__(lanes, weight_bits, weight_signed)
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
        weight_sum = signed_register(spec.core.plane_bits, "weight_sum")
        nodes, signs = self._look_up(m), iter(self.feed[ADDRESS_BITS * spec.tables :])
        for level in range(1, levels):
            nodes = self._level(m, level, nodes, signs, weight_sum)
        a, b, relative = self._operands(spec.tree[-1][0], nodes, signs, weight_sum)

        m.submodules.dsp = dsp = DspAccumulator()
        captures = self._keep_weight_sum(m, weight_sum, dsp.p, levels + 2)
        valid = delayed(m, self.valid, levels + 1, "valid", reset_less=False)
        last = delayed(m, self.last & self.valid, levels + 2, "last", reset_less=False)
        m.d.comb += [
            dsp.d.eq(a),
            dsp.a.eq(b),
            dsp.difference.eq(delayed(m, relative, levels - 1, "relative")),
            dsp.add_c.eq(delayed(m, self.valid & ~self.first, levels, "later")),
            dsp.subtract.eq(delayed(m, self.feed[-1] ^ (self.negate & self.valid), levels, "subtract")),
            dsp.enable.eq(valid | captures[levels + 1]),
            dsp.c.eq(dsp.p[: len(self.sum)] << 1),
            self.residual.eq(dsp.p[1:]),
        ]
        with m.If(last):
            m.d.sync += self.sum.eq(self.residual)
        m.d.sync += self.sum_valid.eq(last)
        return m


TABLE_DSP = replace(TABLE, name="table_dsp", core=Core, latency=latency)
