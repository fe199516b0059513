"""Table cores: products by look-up of precomputed weight sums (distributed arithmetic, offset binary).

Six lanes share a table.  With c = 2x - 1 in {-1, 1}, sum(w * c) of six lanes is c0 * U[a], where the five address bits
are a_i = x_i XNOR x_0 and U[a] = w_0 + sum(a_i ? w_i : -w_i): 32 entries of 11 bits, one RAM32M pair.  The tables'
values meet in a tree; each adder applies the *relative* sign of its two subtrees, and the accumulator that of table 0.
The tree's sum is T = 2s - S for a plane sum s = sum(w * x) and S = sum(w); S, kept in each core, enters the tree at its
odd node, so T + S = 2s and the accumulator holds the exact sum:

    r <- 2r + s                (Horner; the sign plane of two's complement is subtracted)

S is not sent: the all-ones plane makes T = S, and that is what an encoder feeds in idle cycles.

The model is `hwseg.arith.table.TableSpec`, which also gives the tree's shape.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, Out

from hwseg.arith.table import ENTRIES, LANES, TableSpec
from hwseg.rtl.cores.pipeline import add_or_subtract, delayed, signed_register
from hwseg.rtl.cores.signature import Family, core_ports, encoder_ports, loader_ports

ADDRESS_BITS = LANES - 1


def load_layout(lanes: int) -> StructLayout:
    """One table write, the same address for all tables; `capture`: take the weight sum from this cycle's feed."""
    spec = TableSpec(lanes)
    return StructLayout(
        {
            "write": 1,
            "capture": 1,
            "address": ADDRESS_BITS,
            "entries": ArrayLayout(signed(spec.entry_bits), spec.tables),
        }
    )


def feed_bits(lanes: int) -> int:
    """Per table five address bits and one relative sign."""
    return TableSpec(lanes).tables * LANES


class Encoder(Component):
    """Lanes to table addresses and relative signs, registered once.  Idle cycles feed the all-ones plane."""

    latency = 1

    def __init__(self, lanes: int) -> None:
        self.spec = TableSpec(lanes)
        super().__init__(encoder_ports(lanes, feed_bits(lanes)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        idle = ~self.valid
        padding = self.spec.tables * LANES - self.spec.lanes
        lanes = Cat(self.lanes, Const(0, padding)) if padding else self.lanes
        groups = [lanes[LANES * t : LANES * (t + 1)] for t in range(self.spec.tables)]
        addresses = [~(x ^ g[0]) | idle for g in groups for x in g[1:]]
        heads = [g[0] for g in groups]
        signs = [(heads[a] ^ heads[b]) & self.valid for a, b in self.spec.pairs]
        m.d.sync += self.feed.eq(Cat(*addresses, *signs, ~heads[0] & self.valid))
        return m


class Loader(Component):
    """Writes a row's tables: the weights' sum first (address 31), then one entry per cycle in Gray order.

    cycle   0    1 .. 6      7            8           ...  38          39
            start            entry 31     capture          last entry  planes may come
    Each entry differs from the one before by twice one weight, so a table needs one adder.
    """

    reload_cycles = LANES + ENTRIES + 1

    def __init__(self, lanes: int) -> None:
        self.spec = TableSpec(lanes)
        super().__init__(loader_ports(self.spec.core, load_layout(lanes)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps = LANES + ENTRIES - 1
        step, following = Signal(range(steps)), Signal(range(steps))
        selecting, adding, writing, first_entry = Signal(), Signal(), Signal(), Signal()
        m.d.comb += selecting.eq(self.start | (step != 0))
        m.d.comb += following.eq(Mux(selecting & (step != steps - 1), step + 1, 0))
        m.d.sync += [step.eq(following), adding.eq(selecting), first_entry.eq(adding & (step == LANES))]
        lane, *scale = self._schedule(m, following)
        double, subtract = (delayed(m, signal, 1, signal.name) for signal in scale)

        entry_number = Signal(ADDRESS_BITS)
        done = entry_number == ENTRIES - 1
        m.d.comb += writing.eq(first_entry | (entry_number != 0))
        m.d.sync += [entry_number.eq(entry_number + writing), self.load.capture.eq(first_entry)]
        m.d.comb += [
            self.load.write.eq(writing),
            self.load.address.eq(~(entry_number ^ (entry_number >> 1))),
            self.busy.eq(selecting | adding | writing),
        ]
        for t in range(self.spec.tables):
            self._accumulate(m, t, lane, double, subtract, adding, done)
        return m

    def _schedule(self, m: Module, step: Signal) -> tuple[Signal, Signal, Signal]:
        """Lane, doubling and sign of each addition, one register after `step`: all six lanes once, then 31 Gray steps.

        Lanes 2 to 5 are coded 0 to 3, lanes 0 and 1 as 4 and 5: a multiplexer of four, one LUT, and one of three.
        """
        lane, double, subtract = Signal(3, init=LANES - 2), Signal(), Signal()
        schedule = [(i, False, False) for i in range(LANES)]
        schedule += [(flipped, True, falling) for flipped, falling in self.spec.gray_steps()]
        with m.Switch(step):
            for i, (number, twice, falling) in enumerate(schedule):
                with m.Case(i):
                    m.d.sync += [lane.eq((number - 2) % LANES), double.eq(twice), subtract.eq(falling)]
        return lane, double, subtract

    def _accumulate(
        self, m: Module, t: int, lane: Signal, double: Value, subtract: Value, adding: Signal, done: Value
    ) -> None:
        bits = self.spec.entry_bits
        w = [self.weights[i] for i in self.spec.lanes_of(t)]
        w += [Const(0, signed(self.spec.core.weight_bits))] * (LANES - len(w))
        operand = Signal(signed(self.spec.core.weight_bits), name=f"operand_{t}", reset_less=True)
        low, high = Mux(lane[0], w[3], w[2]), Mux(lane[0], w[5], w[4])
        m.d.sync += operand.eq(Mux(lane[2], Mux(lane[0], w[1], w[0]), Mux(lane[1], high, low)))
        entry = Signal(signed(bits), name=f"entry_{t}")
        term = Mux(double, operand << 1, operand)
        with m.If(adding):
            m.d.sync += entry.eq(add_or_subtract(entry, term, subtract, bits))
        with m.If(done):
            m.d.sync += entry.eq(0)
        m.d.comb += self.load.entries[t].eq(entry)


class Core(Component):
    """`TableSpec` in gates: table look-up, adder tree, Horner accumulator; a register after each.

    `residual`, for observation, is r after each plane, and 0 after the last, when `sum` has it.
    """

    offset_binary = False

    def __init__(self, lanes: int) -> None:
        self.spec = TableSpec(lanes)
        self.latency = self.spec.latency
        super().__init__(
            core_ports(self.spec.core, feed_bits(lanes), load_layout(lanes))
            | {"residual": Out(signed(self.spec.core.sum_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        weight_sum = signed_register(spec.core.plane_bits, "weight_sum")
        nodes = [self._look_up(m, t) for t in range(spec.tables)]
        signs = iter(self.feed[ADDRESS_BITS * spec.tables :])
        head = self.feed[-1]
        for level, operations in enumerate(spec.tree, 1):
            results = []
            for i, operation in enumerate(operations):
                node = signed_register(spec.node_bits(operation), f"node_{level}_{i}")
                if operation.kind == "add":
                    sign = delayed(m, next(signs), level, f"sign_{level}_{i}")
                    a, b = nodes[operation.a], nodes[operation.b]
                    m.d.sync += node.eq(add_or_subtract(a, b, sign, len(node)))
                elif operation.kind == "sum":
                    sign = delayed(m, head, level, f"sign_{level}_{i}")
                    m.d.sync += node.eq(add_or_subtract(nodes[operation.a], weight_sum, sign, len(node)))
                else:
                    m.d.sync += node.eq(nodes[operation.a])
                results.append(node)
            nodes = results
        (total,) = nodes
        depth = 1 + len(spec.tree)

        capture = delayed(m, self.load.capture, depth, "capture", reset_less=False)
        with m.If(self.load.capture):
            m.d.sync += weight_sum.eq(0)
        with m.If(capture):
            m.d.sync += weight_sum.eq(total)
        self._accumulate(m, total, head, depth)
        return m

    def _look_up(self, m: Module, t: int) -> Signal:
        bits = self.spec.entry_bits
        table = Memory(shape=Shape(bits), depth=ENTRIES, init=())
        m.submodules[f"table_{t}"] = table
        write, read = table.write_port(), table.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.load.write),
            write.addr.eq(self.load.address),
            write.data.eq(self.load.entries[t]),
            read.addr.eq(self.feed[ADDRESS_BITS * t : ADDRESS_BITS * (t + 1)]),
        ]
        value = signed_register(bits, f"value_{t}")
        m.d.sync += value.eq(read.data)
        return value

    def _accumulate(self, m: Module, total: Signal, head: Signal, depth: int) -> None:
        """r <- 2r +- s; cleared by the last plane, so that the next sum starts from 0 without a multiplexer."""
        valid = delayed(m, self.valid, depth, "valid", reset_less=False)
        last = delayed(m, self.last & self.valid, depth, "last", reset_less=False)
        subtract = delayed(m, head ^ self.negate, depth, "subtract")
        following = Signal.like(self.sum, name="following")
        m.d.comb += following.eq(add_or_subtract(self.residual << 1, total[1:].as_signed(), subtract, len(self.sum)))
        with m.If(valid):
            m.d.sync += self.residual.eq(following)
        with m.If(last):
            m.d.sync += [self.residual.eq(0), self.sum.eq(following)]
        m.d.sync += self.sum_valid.eq(last)


TABLE = Family(
    name="table",
    encoder=Encoder,
    loader=Loader,
    core=Core,
    feed_bits=feed_bits,
    load_layout=load_layout,
    latency=lambda lanes: TableSpec(lanes).latency,
    encoder_latency=Encoder.latency,
    reload_cycles=Loader.reload_cycles,
    offset_binary=Core.offset_binary,
)
