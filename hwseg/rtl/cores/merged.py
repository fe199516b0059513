"""Merged multiply-add cores: AND gates, one adder tree, and a residual recurrence with digit selection.

After Usman, Sadegheih, Merhof, ICECS 2025.  With s the sum of one plane's products:

    v = 2r + s ;   z = sel(v / 2^K) in {-1, 0, 1} ;   r = v - z * 2^K        (sign plane: v = 2r - s)

|r| <= 2^(K-1), so r is the low K bits of v as a signed number and z follows from the three bits above.  The digits z
are appended on the fly (Ercegovac and Lang) to Q and Q - 1, whence the sum without drain digits, sum = Z * 2^K + r, is
no addition either: its low K bits are r's, and those above are Q, or Q - 1 if r is negative.

The model is `hwseg.arith.mma.MmaSpec`; `residual`, `digit` and `digit_valid` show the recurrence at every plane.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, Out

from hwseg.arith.types import CoreSpec
from hwseg.rtl.cores.pipeline import add_or_subtract, delayed
from hwseg.rtl.cores.signature import Family, core_ports, encoder_ports, loader_ports


def load_layout(lanes: int) -> ArrayLayout:
    """The row's active weights."""
    return ArrayLayout(signed(CoreSpec(lanes).weight_bits), lanes)


def growth(lanes: int) -> int:
    """K = ceil(log2(sum|w|)) + 1 for the largest weights that the core can hold."""
    return (CoreSpec(lanes).magnitude - 1).bit_length() + 1


def latency(lanes: int) -> int:
    """Tree registers, recurrence, capture."""
    return max(1, (lanes - 1).bit_length()) + 2


class Encoder(Component):
    """Lanes as they are, registered once."""

    latency = 1

    def __init__(self, lanes: int) -> None:
        super().__init__(encoder_ports(lanes, lanes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.feed.eq(self.lanes & self.valid.replicate(len(self.lanes)))
        return m


class Loader(Component):
    """Copies the row's weights into the active register."""

    reload_cycles = 1

    def __init__(self, lanes: int) -> None:
        super().__init__(loader_ports(CoreSpec(lanes), load_layout(lanes)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.busy.eq(self.start)
        with m.If(self.start):
            m.d.sync += self.load.eq(self.weights)
        return m


class Core(Component):
    """`MmaSpec` in gates, with the growth K of the largest weights."""

    offset_binary = False

    def __init__(self, lanes: int) -> None:
        self.spec = CoreSpec(lanes)
        self.growth = growth(lanes)
        self.latency = latency(lanes)
        super().__init__(
            core_ports(self.spec, lanes, load_layout(lanes))
            | {"residual": Out(signed(self.growth)), "digit": Out(signed(2)), "digit_valid": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.latency - 2
        plane_sum = self._tree(m)
        valid = delayed(m, self.valid, depth, "valid", reset_less=False)
        first = delayed(m, self.first, depth, "first")
        last = delayed(m, self.last & self.valid, depth, "last", reset_less=False)
        negate = delayed(m, self.negate, depth, "negate")
        residual, digit = self._recurrence(m, plane_sum, valid, first, negate)
        self._capture(m, residual, digit, valid, first, last)
        return m

    def _tree(self, m: Module) -> Value:
        """AND gates and a balanced tree, a register after every level; each adder as wide as its operands need.

        Without registers between them synthesis merges adders into carry-save ones, which take more LUTs, not fewer.
        """
        nodes: list[Value] = [
            (self.load[i] & self.feed[i].replicate(self.spec.weight_bits).as_signed()) for i in range(self.spec.lanes)
        ]
        for level in range(self.latency - 2):
            sums = [sum(nodes[i + 1 : i + 2], start=nodes[i]) for i in range(0, len(nodes), 2)]
            nodes = [delayed(m, node, 1, f"node_{level}_{i}") for i, node in enumerate(sums)]
        return nodes[0]

    def _recurrence(
        self, m: Module, plane_sum: Value, valid: Value, first: Value, negate: Value
    ) -> tuple[Signal, Signal]:
        """r and z of the plane whose sum is at the tree's output, before their registers."""
        k = self.growth
        previous = Mux(first, 0, self.residual)
        v = Signal(signed(k + 2))
        m.d.comb += v.eq(add_or_subtract(previous << 1, plane_sum, negate, k + 2))
        residual, digit = Signal(signed(k)), Signal(signed(2))
        m.d.comb += [residual.eq(v[:k].as_signed()), digit.eq(v[k:].as_signed() + v[k - 1])]
        m.d.sync += self.digit_valid.eq(valid)
        with m.If(valid):
            m.d.sync += [self.residual.eq(residual), self.digit.eq(digit)]
        return residual, digit

    def _capture(self, m: Module, residual: Signal, digit: Signal, valid: Value, first: Value, last: Value) -> None:
        """On-the-fly conversion: q = Z and q_less = Z - 1 take digits at their ends, without a carry."""
        high = len(self.sum) - self.growth
        q, q_less = Signal(high, reset_less=True), Signal(high, reset_less=True)
        before, before_less = Mux(first, 0, q), Mux(first, (1 << high) - 1, q_less)
        one, zero = digit == 1, digit == 0
        with m.If(valid):
            m.d.sync += [
                q.eq(Mux(one | zero, Cat(one, before), Cat(True, before_less))),
                q_less.eq(Mux(one, Cat(False, before), Cat(zero, before_less))),
            ]
        done = delayed(m, last, 1, "captured", reset_less=False)
        with m.If(done):
            m.d.sync += self.sum.eq(Cat(self.residual, Mux(self.residual[-1], q_less, q)))
        m.d.sync += self.sum_valid.eq(done)


MERGED = Family(
    name="merged",
    encoder=Encoder,
    loader=Loader,
    core=Core,
    feed_bits=lambda lanes: lanes,
    load_layout=load_layout,
    latency=latency,
    encoder_latency=Encoder.latency,
    reload_cycles=Loader.reload_cycles,
    offset_binary=Core.offset_binary,
)
