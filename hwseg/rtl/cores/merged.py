"""Merged multiply-add cores: AND gates, one adder tree, and a residual recurrence with digit selection.

After Usman, Sadegheih, Merhof, ICECS 2025.  With s the sum of one plane's products:

    v = 2r + s ;   z = sel(v / 2^K) in {-1, 0, 1} ;   r = v - z * 2^K        (sign plane: v = 2r - s)

|r| <= 2^(K-1), so r is the low K bits of v as a signed number and z follows from the three bits above.  s has K bits,
or one more where unsigned weights reach 2^(K-1).  The digits z are appended on the fly (Ercegovac and Lang) to Q and
Q - 1.  The sum without drain digits is no addition either: with the last v its low K + 1 bits are those of v, and above
them stands Q, or Q - 1 if v is negative.

The model is `hwseg.arith.mma.MmaSpec`; `residual`, `digit` and `digit_valid` show the recurrence at every plane, the
residual as 0 after the last, when `sum` has it.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, Out

from hwseg.arith.types import CoreSpec
from hwseg.rtl.cores.pipeline import add_or_subtract, adder_tree, delayed, gated, tree_levels
from hwseg.rtl.cores.signature import Family, core_ports, encoder_ports, loader_ports


def load_layout(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> ArrayLayout:
    """The row's active weights."""
    return ArrayLayout(Shape(weight_bits, weight_signed), lanes)


def growth(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> int:
    """K = ceil(log2(sum|w|)) + 1 for the largest weights that the core can hold."""
    return (CoreSpec(lanes, weight_bits, weight_signed).magnitude - 1).bit_length() + 1


def latency(lanes: int) -> int:
    """Tree registers, then recurrence and capture together."""
    return tree_levels(lanes) + 1


class Encoder(Component):
    """Lanes as they are, registered once; zeros in idle cycles."""

    latency = 1

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        super().__init__(encoder_ports(lanes, lanes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        feed = Signal(len(self.feed), name="fed", reset_less=True)
        m.d.sync += feed.eq(self.lanes & self.valid.replicate(len(self.lanes)))
        m.d.comb += self.feed.eq(feed)
        return m


class Loader(Component):
    """Copies the row's weights into the active register."""

    reload_cycles = 1

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        spec = CoreSpec(lanes, weight_bits, weight_signed)
        super().__init__(loader_ports(spec, load_layout(lanes, weight_bits, weight_signed)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.busy.eq(self.start)
        with m.If(self.start):
            m.d.sync += self.load.eq(self.weights)
        return m


class Core(Component):
    """`MmaSpec` in gates, with the growth K of the largest weights."""

    offset_binary = False

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = CoreSpec(lanes, weight_bits, weight_signed)
        self.growth = growth(lanes, weight_bits, weight_signed)
        self.plane_bits = self.spec.plane_bits
        self.latency = latency(lanes)
        super().__init__(
            core_ports(self.spec, lanes, load_layout(lanes, weight_bits, weight_signed))
            | {"residual": Out(signed(self.growth)), "digit": Out(signed(2)), "digit_valid": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.latency - 1
        plane_sum = Signal(signed(self.plane_bits), name="plane_sum")
        m.d.comb += plane_sum.eq(self.tree(m))
        valid = delayed(m, self.valid, depth, "valid", reset_less=False)
        last = delayed(m, self.last & self.valid, depth, "last", reset_less=False)
        negate = delayed(m, self.negate, depth, "negate")
        k = self.growth
        v = Signal(signed(k + 2))
        m.d.comb += v.eq(add_or_subtract(self.residual << 1, plane_sum, negate, k + 2))
        self._recurrence(m, v, valid, last)
        m.d.sync += self.sum_valid.eq(last)
        return m

    def tree(self, m: Module) -> Value:
        """AND gates and a balanced tree, a register after every level."""
        products = [gated(self.load[i], self.feed[i]) for i in range(self.spec.lanes)]
        return adder_tree(m, products)

    def _recurrence(self, m: Module, v: Signal, valid: Value, last: Value) -> None:
        """r, z, and on-the-fly conversion: q = Z and q_less = Z - 1 take digits at their ends, without a carry.

        The last plane clears them, so that the next sum starts from 0 without a multiplexer.
        """
        k = self.growth
        high = len(self.sum) - k - 1
        q, q_less = Signal(high, name="q"), Signal(high, init=(1 << high) - 1, name="q_less")
        digit = Signal(signed(2))
        m.d.comb += digit.eq(v[k:].as_signed() + v[k - 1])
        one, zero = digit == 1, digit == 0
        m.d.sync += self.digit_valid.eq(valid)
        with m.If(valid):
            m.d.sync += [
                self.residual.eq(v[:k].as_signed()),
                self.digit.eq(digit),
                q.eq(Mux(one | zero, Cat(one, q), Cat(True, q_less))),
                q_less.eq(Mux(one, Cat(False, q), Cat(zero, q_less))),
            ]
        with m.If(last):
            m.d.sync += [
                self.residual.eq(0),
                q.eq(q.init),
                q_less.eq(q_less.init),
                self.sum.eq(Cat(v[: k + 1], Mux(v[k + 1], q_less, q))),
            ]


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
