"""Table cores: products by look-up of precomputed weight sums (distributed arithmetic, offset binary).

Six lanes share a table.  With c = 2x - 1 in {-1, 1}, sum(w * c) of six lanes is c0 * U[a], where the five address bits
are a_i = x_i XNOR x_0 and U[a] = w_0 + sum(a_i ? w_i : -w_i).  All 32 entries of a table have the same parity, so the
table keeps U >> 1 in 10 bits, five two-bit columns of a RAM32M, and the row's loader keeps the parity.  The tables'
values meet in a tree; each adder applies the *relative* sign of its two subtrees, and the accumulator that of table 0.
The tree's sum is T = 2s - S for a plane sum s = sum(w * x) and S = sum(w); S, kept in each core, enters the tree at its
odd node, so T + S = 2s and the accumulator holds the exact sum:

    r <- 2r + s                (Horner; the sign plane of two's complement is subtracted)

S is not sent: the all-ones plane makes T = S, and that is what an encoder feeds in idle cycles.  A quarter of the
columns can only be read where they are written.  During a reload the encoder therefore feeds their tables (the last
ones, `TableSpec.write_side`) the write address, and their part of S comes from the loader.

The model is `hwseg.arith.table.TableSpec`, which also gives the tree's shape.
"""

from __future__ import annotations

from collections.abc import Iterator

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import Component, Out

from hwseg.arith.table import ENTRIES, LANES, Node, TableSpec
from hwseg.arith.types import IntType
from hwseg.rtl.cells import COLUMNS, Ram32m
from hwseg.rtl.cores.pipeline import add_or_subtract, delayed, sign_extended, signed_register
from hwseg.rtl.cores.signature import Family, core_ports, encoder_ports, loader_ports

ADDRESS_BITS = LANES - 1


def load_layout(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> StructLayout:
    """One table write, at the address that the feed of the write-side tables carries.

    capture: take the weight sum from this cycle's feed.  part: half of the write-side tables' share of that sum, less
    its parities, in the cycle in which it is wanted.  parity: lowest bit of each table's entries.
    """
    spec = TableSpec(lanes, weight_bits, weight_signed)
    return StructLayout(
        {
            "write": 1,
            "capture": 1,
            "entries": ArrayLayout(signed(spec.stored_bits), spec.tables),
            "parity": spec.tables,
            "part": signed(part_bits(spec)),
        }
    )


def part_bits(spec: TableSpec) -> int:
    bound = len(spec.write_side) << (spec.stored_bits - 1)
    return IntType.of(-bound, bound).width


def feed_bits(lanes: int) -> int:
    """Per table five address bits and one relative sign."""
    return TableSpec(lanes).tables * LANES


def encode(lanes: Value) -> Value:
    """The feed of a plane: of each table the address bits x_i XNOR x_0, then relative signs."""
    spec = TableSpec(len(lanes))
    padding = spec.tables * LANES - spec.lanes
    lanes = Cat(lanes, Const(0, padding)) if padding else lanes
    groups = [lanes[LANES * t : LANES * (t + 1)] for t in range(spec.tables)]
    heads = [group[0] for group in groups]
    addresses = [~(x ^ head) for head, *rest in groups for x in rest]
    return Cat(*addresses, *(heads[a] ^ heads[b] for a, b in spec.pairs), ~heads[0])


class Encoder(Component):
    """Lanes to table addresses and relative signs.  Idle cycles feed the all-ones plane; see the module for reloads.

    The planes wait here while the loader adds up its first entries, once per pixel instead of in each core; or they
    have waited before they became lanes (`waited`), where they are fewer bits.
    """

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True, *, waited: bool = False) -> None:
        self.spec, self.waited = TableSpec(lanes, weight_bits, weight_signed), waited
        super().__init__(encoder_ports(lanes, feed_bits(lanes)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wait = 0 if self.waited else Loader.lead
        lanes = delayed(m, self.lanes, wait, "lanes")
        valid = delayed(m, self.valid, wait, "valid", reset_less=False)
        entry = Signal(ADDRESS_BITS)
        reload = delayed(m, self.reload, Loader.lead, "reload", reset_less=False)
        m.d.sync += entry.eq(entry + (reload | (entry != 0)))
        written = ~(entry ^ (entry >> 1))

        ones = Const(ENTRIES - 1, ADDRESS_BITS)
        idle = Cat(written if t in self.spec.write_side else ones for t in range(self.spec.tables))
        m.d.sync += self.feed.eq(Mux(valid, encode(lanes), idle))
        return m


class Loader(Component):
    """Writes a row's tables: the weights' sum first (address 31), then one entry per cycle in Gray order.

    cycle   0    1 .. 6      7 = lead    8           ...  38          39
            start            entry 31    capture          last entry  planes may come
    Each entry differs from the one before by twice one weight, so a table needs one adder.
    """

    lead = LANES + 1
    reload_cycles = ENTRIES

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = TableSpec(lanes, weight_bits, weight_signed)
        super().__init__(loader_ports(self.spec.core, load_layout(lanes, weight_bits, weight_signed)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps = LANES + ENTRIES - 1
        step, following = Signal(range(steps), name="step"), Signal(range(steps), name="following")
        selecting, adding = Signal(name="selecting"), Signal(name="adding")
        writing, first_entry = Signal(name="writing"), Signal(name="first_entry")
        m.d.comb += selecting.eq(self.start | (step != 0))
        m.d.comb += following.eq(Mux(selecting & (step != steps - 1), step + 1, 0))
        m.d.sync += [step.eq(following), adding.eq(selecting), first_entry.eq(adding & (step == LANES))]
        lane, *scale = self._schedule(m, following)
        double, subtract = (delayed(m, signal, 1, signal.name) for signal in scale)

        done = Signal()
        m.d.sync += [writing.eq(adding & (first_entry | writing | (step == LANES))), self.load.capture.eq(first_entry)]
        m.d.comb += [
            done.eq(writing & ~adding),
            self.load.write.eq(writing),
            self.busy.eq(selecting | adding | writing),
        ]
        entries = [self._accumulate(m, t, lane, double, subtract, adding, done) for t in range(self.spec.tables)]
        held = Signal(signed(part_bits(self.spec)), reset_less=True)
        with m.If(first_entry):
            m.d.sync += [
                self.load.parity.eq(Cat(entry[0] for entry in entries)),
                held.eq(sum(entries[t][1:].as_signed() for t in self.spec.write_side)),
            ]
        wanted = delayed(m, first_entry, self.spec.sum_level, "wanted", reset_less=False)
        m.d.sync += self.load.part.eq(0)
        with m.If(wanted):
            m.d.sync += self.load.part.eq(held)
        return m

    def _schedule(self, m: Module, step: Signal) -> tuple[Signal, Signal, Signal]:
        """Lane, doubling and sign of each addition, one register after `step`: all six lanes once, then 31 Gray steps.

        Lanes 2 to 5 are coded 0 to 3, lanes 0 and 1 as 4 and 5: a multiplexer of four, one LUT, and one of three.
        """
        lane, double, subtract = Signal(3, init=LANES - 2), Signal(name="double"), Signal(name="subtract")
        schedule = [(i, False, False) for i in range(LANES)]
        schedule += [(flipped, True, falling) for flipped, falling in self.spec.gray_steps()]
        with m.Switch(step):
            for i, (number, twice, falling) in enumerate(schedule):
                with m.Case(i):
                    m.d.sync += [lane.eq((number - 2) % LANES), double.eq(twice), subtract.eq(falling)]
        return lane, double, subtract

    def _accumulate(
        self, m: Module, t: int, lane: Signal, double: Value, subtract: Value, adding: Signal, done: Value
    ) -> Signal:
        bits = self.spec.entry_bits
        w = [self.weights[i] for i in self.spec.lanes_of(t)]
        w += [Const(0, 1)] * (LANES - len(w))
        word = Shape(self.spec.weight_bits, self.spec.weight_signed)
        operand = Signal(word, name=f"operand_{t}", reset_less=True)
        low, high = Mux(lane[0], w[3], w[2]), Mux(lane[0], w[5], w[4])
        m.d.sync += operand.eq(Mux(lane[2], Mux(lane[0], w[1], w[0]), Mux(lane[1], high, low)))
        entry = Signal(signed(bits), name=f"entry_{t}")
        term = Mux(double, operand << 1, operand) + Const(0, signed(1))
        with m.If(adding):
            m.d.sync += entry.eq(add_or_subtract(entry, term, subtract, bits))
        with m.If(done):
            m.d.sync += entry.eq(0)
        m.d.comb += self.load.entries[t].eq(entry[1:])
        return entry


class Core(Component):
    """`TableSpec` in gates: table look-up, adder tree, Horner accumulator; a register after each.

    `residual`, for observation, is r after each plane, and 0 after the last, when `sum` has it.
    """

    offset_binary = False

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.spec = TableSpec(lanes, weight_bits, weight_signed)
        self.latency = self.spec.latency
        super().__init__(
            core_ports(self.spec.core, feed_bits(lanes), load_layout(lanes, weight_bits, weight_signed))
            | {"residual": Out(signed(self.spec.core.sum_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        weight_sum = signed_register(spec.core.plane_bits, "weight_sum")
        nodes, signs = self._look_up(m), iter(self.feed[ADDRESS_BITS * spec.tables :])
        for level in range(1, len(spec.tree) + 1):
            nodes = self._level(m, level, nodes, signs, weight_sum)
        (total,) = nodes
        depth = 1 + len(spec.tree)
        self._keep_weight_sum(m, weight_sum, total, depth)
        self._accumulate(m, total, self.feed[-1], depth)
        return m

    def _level(
        self, m: Module, level: int, nodes: list[Value], signs: Iterator[Value], weight_sum: Signal
    ) -> list[Value]:
        """One level of the tree: a register after each node."""
        results: list[Value] = []
        for i, operation in enumerate(self.spec.tree[level - 1]):
            node = signed_register(self.spec.node_bits(operation), f"node_{level}_{i}")
            if operation.kind == "pass":
                m.d.sync += node.eq(nodes[operation.a])
            else:
                a, b, relative = self._operands(operation, nodes, signs, weight_sum)
                sign = delayed(m, relative, level, f"sign_{level}_{i}")
                m.d.sync += node.eq(add_or_subtract(a, b, sign, len(node)))
            results.append(node)
        return results

    def _operands(
        self, operation: Node, nodes: list[Value], signs: Iterator[Value], weight_sum: Signal
    ) -> tuple[Value, Value, Value]:
        """What an "add" or "sum" node adds, and the relative sign of the second in the feed."""
        if operation.kind == "add":
            return nodes[operation.a], nodes[operation.b], next(signs)
        # weight sum and part: one of them is 0
        joining = weight_sum | sign_extended(self.load.part << 1, self.spec.core.plane_bits)
        return nodes[operation.a], joining, self.feed[-1]

    def _keep_weight_sum(self, m: Module, weight_sum: Signal, total: Value, depth: int) -> list[Value]:
        """Take S, which `total` is `depth` cycles after the loader's mark; the mark, delayed by 0 to `depth` cycles."""
        captures = [self.load.capture]
        for i in range(depth):
            captures.append(delayed(m, captures[-1], 1, f"capture_{i}", reset_less=False))
        with m.If(captures[self.spec.sum_level - 1]):
            m.d.sync += weight_sum.eq(0)
        with m.If(captures[depth]):
            m.d.sync += weight_sum.eq(total)
        return captures

    def _look_up(self, m: Module) -> list[Value]:
        """The tables' values, a register after the memory; 0 for write-side tables when the weight sum is taken."""
        spec = self.spec
        entries = [Cat(entry, Const(0, spec.stored_bits % 2)) for entry in self.load.entries]
        read = [Signal(2 * spec.columns, name=f"read_{t}") for t in range(spec.tables)]
        addresses = [self.feed[ADDRESS_BITS * t : ADDRESS_BITS * (t + 1)] for t in range(spec.tables)]
        for n, memory in enumerate(spec.memories):
            m.submodules[f"memory_{n}"] = ram = Ram32m()
            m.d.comb += ram.we.eq(self.load.write)
            for letter, (t, column) in zip(COLUMNS.lower(), memory, strict=False):
                bits = slice(2 * column, 2 * column + 2)
                m.d.comb += [
                    getattr(ram, f"addr_{letter}").eq(addresses[t]),
                    getattr(ram, f"di_{letter}").eq(entries[t][bits]),
                    read[t][bits].eq(getattr(ram, f"do_{letter}")),
                ]
        values: list[Value] = []
        for t in range(spec.tables):
            value = Signal(spec.stored_bits, name=f"value_{t}", reset_less=True)
            m.d.sync += value.eq(read[t])
            if t in spec.write_side:
                with m.If(self.load.capture):
                    m.d.sync += value.eq(0)
            values.append(Cat(self.load.parity[t], value).as_signed())
        return values

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
    encoder_latency=Loader.lead + 1,
    reload_cycles=Loader.reload_cycles,
    offset_binary=Core.offset_binary,
    reload_lead=Loader.lead,
    encode=encode,
    edge=lambda lanes: Encoder(lanes, waited=True),
    edge_wait=Loader.lead,
)
