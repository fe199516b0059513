"""Table cores: products by look-up of precomputed weight sums (distributed arithmetic, offset binary).

Six lanes share a table.  With c = 2x - 1 in {-1, 1}, sum(w * c) of six lanes is c0 * U[a], where the five address bits
are a_i = x_i XNOR x_0 and U[a] = w_0 + sum(a_i ? w_i : -w_i).  All 32 entries of a table have the same parity, so the
table keeps U >> 1 in 10 bits, five two-bit columns of a RAM32M, and the row's loader keeps the parity.  The tables'
values meet in a tree; each adder applies the *relative* sign of its two subtrees, and the accumulator that of table 0.
The tree's sum is T = 2s - S for a plane sum s = sum(w * x) and S = sum(w); S, kept in each core, enters the tree at its
odd node, so T + S = 2s and the accumulator holds the exact sum:

    r <- 2r + s                (Horner; the sign plane of two's complement is subtracted)

All cores of a row have the same S, and the loader keeps it for them.  The all-ones plane makes T = S, and that is what
an encoder feeds in idle cycles: in one of them the loader takes S from what the row's first core adds up.  A quarter of
the columns can only be read where they are written.  During a reload the encoder therefore feeds their tables (the last
ones, `TableSpec.write_side`) the write address, and their part of S is the loader's own.

Registers stand behind every second addition: look-up and first level, the next two, and so on.

The model is `hwseg.arith.table.TableSpec`, which also gives the tree's shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import Component, In, Out

from hwseg.arith.table import ENTRIES, LANES, Node, TableSpec
from hwseg.rtl.cells import COLUMNS, Ram32m
from hwseg.rtl.cores.pipeline import add_or_subtract, delayed, signed_register
from hwseg.rtl.cores.signature import Family, core_ports, encoder_ports, loader_ports

ADDRESS_BITS = LANES - 1


def load_layout(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> StructLayout:
    """One table write, at the address that the feed of the write-side tables carries.

    capture: the weight sum is made of this cycle's feed.  parity: lowest bit of each table's entries.  odd: of the sums
    of two tables on the first level of the tree.  weight_sum: S; while it is made, the write-side tables' share of it,
    less their parities.
    """
    spec = TableSpec(lanes, weight_bits, weight_signed)
    return StructLayout(
        {
            "write": 1,
            "capture": 1,
            "entries": ArrayLayout(signed(spec.stored_bits), spec.tables),
            "parity": spec.tables,
            "odd": len(first_pairs(spec)),
            "weight_sum": signed(spec.core.plane_bits),
        }
    )


def first_pairs(spec: TableSpec) -> list[tuple[int, int]]:
    """Tables that are added on the first level of the tree."""
    return [(node.a, node.b) for node in spec.tree[0] if node.kind == "add"]


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


def lane_code(lane: int) -> int:
    """How a loader calls a lane of a table: 2 to 5 are 0 to 3, lanes 0 and 1 are 4 and 5."""
    return (lane - 2) % LANES


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
        feed = Signal(len(self.feed), name="fed", reset_less=True)
        m.d.sync += feed.eq(Mux(valid, encode(lanes), idle))
        m.d.comb += self.feed.eq(feed)
        return m


class Loader(Component):
    """Writes a row's tables: the weights' sum first (address 31), then one entry per cycle in Gray order.

    cycle   0    1 .. 6      7 = lead    8           ...  38          39
            start            entry 31    capture          last entry  planes may come
    Each entry differs from the one before by twice one weight, so a table needs one adder.

    total: T + S of a core of the row, from which S is taken; `behind`: registers between a core's `depth` and it.
    reads: `weights` are not all of them, but those of the lane coded `lane`, one for each table.
    """

    lead = LANES + 1
    reload_cycles = ENTRIES

    def __init__(
        self,
        lanes: int,
        weight_bits: int = 8,
        weight_signed: bool = True,
        *,
        behind: int = 0,
        reads: bool = False,
    ) -> None:
        self.spec, self.behind, self.reads = TableSpec(lanes, weight_bits, weight_signed), behind, reads
        ports = loader_ports(self.spec.core, load_layout(lanes, weight_bits, weight_signed))
        ports |= {"total": In(signed(self.spec.core.plane_bits))}
        if reads:
            word = Shape(weight_bits, weight_signed)
            ports |= {"weights": In(ArrayLayout(word, self.spec.tables)), "lane": Out(3)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps = LANES + ENTRIES - 1
        step, following = Signal(range(steps), name="step"), Signal(range(steps), name="following")
        selecting, adding = Signal(name="selecting"), Signal(name="adding")
        writing, first_entry = Signal(name="writing"), Signal(name="first_entry")
        m.d.comb += selecting.eq(self.start | (step != 0))
        m.d.comb += following.eq(Mux(selecting & (step != steps - 1), step + 1, 0))
        m.d.sync += [step.eq(following), adding.eq(selecting), first_entry.eq(adding & (step == LANES))]
        lane, double, subtract = (delayed(m, signal, 1, signal.name) for signal in self._schedule(m, following))

        done = Signal()
        m.d.sync += [writing.eq(adding & (first_entry | writing | (step == LANES))), self.load.capture.eq(first_entry)]
        m.d.comb += [
            done.eq(writing & ~adding),
            self.load.write.eq(writing),
            self.busy.eq(selecting | adding | writing),
        ]
        if self.reads:
            m.d.comb += self.lane.eq(lane)
        entries = [self._accumulate(m, t, lane, double, subtract, adding, done) for t in range(self.spec.tables)]
        parity = Signal(self.spec.tables, name="parity", reset_less=True)
        odd = Signal(len(first_pairs(self.spec)), name="odd", reset_less=True)
        with m.If(first_entry):
            m.d.sync += [
                parity.eq(Cat(entry[0] for entry in entries)),
                odd.eq(Cat(entries[a][0] ^ entries[b][0] for a, b in first_pairs(self.spec))),
            ]
        m.d.comb += [self.load.parity.eq(parity), self.load.odd.eq(odd)]
        self._keep_weight_sum(m, entries, first_entry)
        return m

    def _keep_weight_sum(self, m: Module, entries: list[Signal], first_entry: Signal) -> None:
        """The write-side tables' part as soon as no plane needs the old S, then S, from the core's total."""
        late = max(0, self.spec.registers(self.spec.sum_level) - 1)
        shares: Value = sum((entries[t][1:].as_signed() for t in self.spec.write_side), start=Const(0, signed(1)))
        begun = delayed(m, first_entry, late, "begun")
        ended = delayed(m, begun, 1 + self.spec.depth + self.behind - late, "ended")
        weight_sum = signed_register(self.spec.core.plane_bits, "weight_sum")
        with m.If(begun | ended):
            m.d.sync += weight_sum.eq(Mux(begun, delayed(m, shares, late, "shares") << 1, self.total))
        m.d.comb += self.load.weight_sum.eq(weight_sum)

    def _schedule(self, m: Module, step: Signal) -> tuple[Signal, Signal, Signal]:
        """Lane, doubling and sign of each addition, two registers before it: all six lanes once, then 31 Gray steps."""
        lane = Signal(3, init=lane_code(0), name="lane", reset_less=True)
        double, subtract = Signal(name="double", reset_less=True), Signal(name="subtract", reset_less=True)
        schedule = [(i, False, False) for i in range(LANES)]
        schedule += [(flipped, True, falling) for flipped, falling in self.spec.gray_steps()]
        with m.Switch(step):
            for i, (number, twice, falling) in enumerate(schedule):
                with m.Case(i):
                    m.d.sync += [lane.eq(lane_code(number)), double.eq(twice), subtract.eq(falling)]
            with m.Default():  # none comes: said so that nothing need be kept
                m.d.sync += [lane.eq(0), double.eq(0), subtract.eq(0)]
        return lane, double, subtract

    def _accumulate(
        self, m: Module, t: int, lane: Value, double: Value, subtract: Value, adding: Signal, done: Value
    ) -> Signal:
        bits = self.spec.entry_bits
        operand = Signal(Shape(self.spec.weight_bits, self.spec.weight_signed), name=f"operand_{t}")
        m.d.comb += operand.eq(self._weight(t, lane))
        entry = Signal(signed(bits), name=f"entry_{t}")
        term = Mux(double, operand << 1, operand) + Const(0, signed(1))
        with m.If(adding):
            m.d.sync += entry.eq(add_or_subtract(entry, term, subtract, bits))
        with m.If(done):
            m.d.sync += entry.eq(0)
        m.d.comb += self.load.entries[t].eq(entry[1:])
        return entry

    def _weight(self, t: int, lane: Value) -> Value:
        """Of a table the weight of a coded lane: a multiplexer of four, one LUT, and one of three."""
        if self.reads:
            return Value.cast(self.weights[t])
        w = [self.weights[i] for i in self.spec.lanes_of(t)]
        w += [Const(0, 1)] * (LANES - len(w))
        low, high = Mux(lane[0], w[3], w[2]), Mux(lane[0], w[5], w[4])
        return Mux(lane[2], Mux(lane[0], w[1], w[0]), Mux(lane[1], high, low))


class Core(Component):
    """`TableSpec` in gates: table look-up, adder tree, Horner accumulator; a register after every second addition.

    `total` is T + S.  first: whether the loader takes S from this core; its neighbours in the row do without what
    that takes.  `residual`, for observation, is r after each plane, and 0 after the last, when `sum` has it.
    """

    offset_binary = False

    def __init__(self, lanes: int, weight_bits: int = 8, weight_signed: bool = True, *, first: bool = True) -> None:
        self.spec, self.makes_sum = TableSpec(lanes, weight_bits, weight_signed), first
        self.latency = self.spec.latency
        super().__init__(
            core_ports(self.spec.core, feed_bits(lanes), load_layout(lanes, weight_bits, weight_signed))
            | {"residual": Out(signed(self.spec.core.sum_bits)), "total": Out(signed(self.spec.core.plane_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        nodes, signs = self._look_up(m), iter(self.feed[ADDRESS_BITS * spec.tables :])
        for level in range(1, len(spec.tree) + 1):
            nodes = self._level(m, level, nodes, signs)
        (total,) = nodes
        m.d.comb += self.total.eq(total)
        self._accumulate(m, total, self.feed[-1], spec.depth)
        return m

    def _level(
        self, m: Module, level: int, nodes: list[Value], signs: Iterator[Value], registered: bool | None = None
    ) -> list[Value]:
        """One level of the tree: a register after each node, in odd levels if nothing else is said."""
        results: list[Value] = []
        domain = m.d.sync if (level % 2 == 1 if registered is None else registered) else m.d.comb
        odd = iter(self.load.odd)
        for i, operation in enumerate(self.spec.tree[level - 1]):
            bits = self.spec.node_bits(operation)
            if level == 1 and operation.kind == "add":
                results.append(self._pair(domain, i, operation, nodes, next(signs), next(odd)))
                continue
            node = signed_register(bits, f"node_{level}_{i}")
            if operation.kind == "pass":
                domain += node.eq(nodes[operation.a])
            else:
                a, b, relative = self._operands(operation, nodes, signs)
                sign = delayed(m, relative, self.spec.registers(level), f"sign_{level}_{i}")
                domain += node.eq(add_or_subtract(a, b, sign, bits))
            results.append(node)
        return results

    def _pair(self, domain: Any, i: int, node: Node, values: list[Value], sign: Value, odd: Value) -> Value:
        """Two tables' values, of which the lowest bits are the row's: only what these carry enters the addition."""
        a, b = values[node.a], values[node.b]
        upper = signed_register(self.spec.node_bits(node) - 1, f"node_1_{i}")
        borrow = Mux(sign, ~a[0] & b[0], ~(a[0] & b[0]))
        domain += upper.eq(add_or_subtract(a[1:].as_signed(), b[1:].as_signed(), sign, len(upper), borrow))
        return Cat(odd, upper).as_signed()

    def _operands(self, operation: Node, nodes: list[Value], signs: Iterator[Value]) -> tuple[Value, Value, Value]:
        """What an "add" or "sum" node adds, and the relative sign of the second in the feed."""
        if operation.kind == "add":
            return nodes[operation.a], nodes[operation.b], next(signs)
        return nodes[operation.a], self.load.weight_sum, self.feed[-1]

    def _look_up(self, m: Module) -> list[Value]:
        """The tables' values; 0 for write-side tables when the weight sum is made."""
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
            value = Signal(spec.stored_bits, name=f"value_{t}")
            silent = self.load.capture if self.makes_sum and t in spec.write_side else Const(0, 1)
            m.d.comb += value.eq(read[t] & (~silent).replicate(len(value)))
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
    returns=True,
    neighbour=partial(Core, first=False),
    reader=partial(Loader, reads=True),
)
