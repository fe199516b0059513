"""Distributed arithmetic with run-time weights, offset binary: six lanes per look-up.

With x = (1 + c) / 2, c in {-1, 1}, a plane sum s = sum(w * x) and S = sum(w):

    T = sum(w * c) = 2s - S,          so        s = (T + S) / 2.

Six lanes' part of T is antisymmetric in c, so a table of 32 entries serves: c_0 * U[a], a_i = x_i XNOR x_0 (i = 1..5),
U[a] = w_0 + sum(a_i ? w_i : -w_i).  |U| <= 6 * 128, 11 bits.

Signs: a node of the tree is a magnitude with a sign bit, value = (-1)^n * V.  Two nodes make
V = V_a + (-1)^(n_a XOR n_b) * V_b with sign n_a: only *relative* signs enter the tree, n_0 of table 0 comes out, and
the accumulator applies it.  S has sign 0, so its relative sign at node 0 is n_0.

Recurrence: r <- 2r + s, r = 0 before the first plane; the sign plane of two's complement is subtracted.
Bound: |r| after j planes <= (2^j - 1) * sum|w|.  Latency: a register after every second addition, from the first one
of the tree on; the last of them is r, or what feeds it.

Sources: A. Croisier et al., US patent 3,777,130, 1973; A. Peled and B. Liu, IEEE Trans. ASSP 22 (1974) 456;
S. A. White, "Applications of distributed arithmetic to digital signal processing", IEEE ASSP Magazine 6 (1989) 4, whose
section on offset-binary coding halves the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwseg.arith.types import CoreSpec, IntType
from hwseg.errors import require

LANES = 6
"""Lanes per table."""

ENTRIES = 1 << (LANES - 1)


@dataclass(frozen=True)
class Node:
    """A node of the tree.  kind: "add" of nodes a and b, "sum" of node a and S, or "pass" of node a.

    head: the table whose sign the node has.  lanes: how many weights are below it.  summed: whether S is.
    """

    kind: str
    a: int
    b: int
    head: int
    lanes: int
    summed: bool


@dataclass(frozen=True)
class TableSpec:
    """A core of `lanes` lanes, `LANES` per table; the last table's missing lanes have weight 0."""

    lanes: int
    weight_bits: int = 8
    weight_signed: bool = True

    def __post_init__(self) -> None:
        require(self.lanes >= 1, f"table core of {self.lanes} lanes", f"lanes must be at least 1, not {self.lanes}")
        self.core  # noqa: B018  # checks the word length

    @property
    def core(self) -> CoreSpec:
        return CoreSpec(self.lanes, self.weight_bits, self.weight_signed)

    def _magnitude(self, lanes: int) -> int:
        return CoreSpec(lanes, self.weight_bits, self.weight_signed).magnitude

    @property
    def tables(self) -> int:
        return -(-self.lanes // LANES)

    @property
    def entry_bits(self) -> int:
        bound = self._magnitude(LANES)
        return IntType.of(-bound, bound).width

    @property
    def stored_bits(self) -> int:
        """A table keeps U >> 1: all its entries have the parity of its weights' sum, which is kept once."""
        return self.entry_bits - 1

    @property
    def columns(self) -> int:
        """Two-bit columns of memory that a table takes."""
        return -(-self.stored_bits // 2)

    @property
    def memories(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Columns (table, number) of each four-column memory, the one read at the write address first.

        Those first columns all belong to the last tables (`write_side`), whose feed carries the write address.
        """
        table = [(t, c) for t in reversed(range(self.tables)) for c in range(self.columns)]
        count = -(-len(table) // 4)
        rest = table[count:]
        return tuple((table[n], *rest[3 * n : 3 * n + 3]) for n in range(count))

    @property
    def write_side(self) -> range:
        """Tables with a column that is read at the write address."""
        return range(min(memory[0][0] for memory in self.memories), self.tables)

    @property
    def sum_level(self) -> int:
        """Level of the tree, from 1, at which S enters."""
        return next(i for i, level in enumerate(self.tree, 1) if any(node.kind == "sum" for node in level))

    def lanes_of(self, table: int) -> range:
        return range(LANES * table, min(LANES * (table + 1), self.lanes))

    @staticmethod
    def registers(level: int) -> int:
        """Between a plane at the inputs and the operands of a level of the tree, from 1: behind every odd level."""
        return level // 2

    @property
    def depth(self) -> int:
        """Registers between a plane at the inputs and its T + S."""
        return (len(self.tree) + 1) // 2

    @property
    def latency(self) -> int:
        """Cycles from the last plane at the inputs to the sum: the tree and the accumulator."""
        return self.depth + 1

    @cached_property
    def tree(self) -> tuple[tuple[Node, ...], ...]:
        """Levels of nodes; S joins node 0 at the first level that has an odd number of operands."""
        nodes = [Node("table", 0, 0, t, len(self.lanes_of(t)), False) for t in range(self.tables)]
        levels = []
        while len(nodes) > 1 or not nodes[0].summed:
            level, start = [], len(nodes) % 2
            if start:
                kind = "pass" if nodes[0].summed else "sum"
                level.append(Node(kind, 0, 0, 0, nodes[0].lanes, True))
            for i in range(start, len(nodes), 2):
                a, b = nodes[i], nodes[i + 1]
                level.append(Node("add", i, i + 1, a.head, a.lanes + b.lanes, a.summed))
            levels.append(tuple(level))
            nodes = level
        return tuple(levels)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Tables whose signs make the relative sign of each "add" node, in order of the tree."""
        found, heads = [], list(range(self.tables))
        for level in self.tree:
            found += [(heads[n.a], heads[n.b]) for n in level if n.kind == "add"]
            heads = [n.head for n in level]
        return tuple(found)

    def node_bits(self, node: Node) -> int:
        bound = self._magnitude(node.lanes) + (self.core.magnitude if node.summed else 0)
        return IntType.of(-bound, bound).width

    @staticmethod
    def gray_steps() -> tuple[tuple[int, bool], ...]:
        """Lane that flips between consecutive entries, and whether it falls from + to -; from all + on."""
        steps, address = [], ENTRIES - 1
        for k in range(1, ENTRIES):
            i = (k & -k).bit_length() - 1
            steps.append((i + 1, bool(address >> i & 1)))
            address ^= 1 << i
        return tuple(steps)

    def entries(self, weights: Sequence[int]) -> list[list[tuple[int, int]]]:
        """Per table (address, entry) in the order of writing: each from the one before by one addition."""
        self.core.check(weights)
        tables = []
        for t in range(self.tables):
            w = [int(weights[i]) for i in self.lanes_of(t)]
            w += [0] * (LANES - len(w))
            address, entry = ENTRIES - 1, sum(w)
            written = [(address, entry)]
            for lane, falling in self.gray_steps():
                address ^= 1 << (lane - 1)
                entry += -2 * w[lane] if falling else 2 * w[lane]
                written.append((address, entry))
            tables.append(written)
        return tables

    def encode(self, plane: Sequence[int]) -> tuple[list[int], list[int]]:
        """Addresses and signs n (1: negative) of all tables for one plane."""
        place = f"table core of {self.lanes} lanes"
        require(len(plane) == self.lanes, place, f"a plane needs {self.lanes} digits, not {len(plane)}")
        for i, digit in enumerate(plane):
            require(digit in (0, 1), place, f"digit {i} must be 0 or 1, is {digit}")
        addresses, signs = [], []
        for t in range(self.tables):
            x = [int(plane[i]) for i in self.lanes_of(t)]
            x += [0] * (LANES - len(x))
            addresses.append(sum((x[i] == x[0]) << (i - 1) for i in range(1, LANES)))
            signs.append(1 - x[0])
        return addresses, signs

    def plane_sum(self, weights: Sequence[int], plane: Sequence[int]) -> int:
        """sum(w * x) of one plane, by look-up, relative signs and the tree, as the hardware does it."""
        tables = [dict(written) for written in self.entries(weights)]
        addresses, signs = self.encode(plane)
        total = sum(int(w) for w in weights)
        values = [table[a] for table, a in zip(tables, addresses, strict=True)]
        relative = iter([signs[a] ^ signs[b] for a, b in self.pairs])
        for level in self.tree:
            values = [_node_value(node, values, total, signs[0], relative) for node in level]
        doubled = -values[0] if signs[0] else values[0]
        assert doubled % 2 == 0, "T and S have the same parity"
        return doubled // 2

    def step(self, residual: int, weights: Sequence[int], plane: Sequence[int], negate: bool = False) -> int:
        """One cycle of the recurrence."""
        s = self.plane_sum(weights, plane)
        return 2 * residual + (-s if negate else s)

    def compute(self, weights: Sequence[int], planes: Sequence[Sequence[int]], signed: bool = False) -> int:
        """The whole sum, most significant plane first; the invariant |r| <= (2^j - 1) * sum|w| holds at every plane."""
        residual, bound = 0, sum(abs(int(w)) for w in weights)
        for j, plane in enumerate(planes):
            residual = self.step(residual, weights, plane, signed and j == 0)
            assert abs(residual) <= ((2 << j) - 1) * bound
        return residual

    def compute_all(self, weights: np.ndarray, planes: np.ndarray, signed: bool = False) -> np.ndarray:
        """Sums of many groups of planes [group, plane, lane] at once: the same tables and signs in NumPy."""
        pad = self.tables * LANES - self.lanes
        x = np.pad(planes.astype(np.int64), ((0, 0), (0, 0), (0, pad))).reshape(*planes.shape[:2], self.tables, LANES)
        table = np.zeros((self.tables, ENTRIES), np.int64)
        for t, written in enumerate(self.entries(weights.tolist())):
            for address, entry in written:
                table[t, address] = entry
        address = ((x[..., 1:] == x[..., :1]) << np.arange(LANES - 1)).sum(-1)
        total = (table[np.arange(self.tables), address] * (2 * x[..., 0] - 1)).sum(-1)
        s = (total + weights.astype(np.int64).sum()) // 2
        place = 1 << np.arange(planes.shape[1] - 1, -1, -1, dtype=np.int64)
        if signed:
            place[0] = -place[0]
        sums: np.ndarray = s @ place
        return sums


def _node_value(node: Node, values: list[int], total: int, head_sign: int, relative: object) -> int:
    if node.kind == "pass":
        return values[node.a]
    if node.kind == "sum":
        return values[node.a] + (-total if head_sign else total)
    sign = next(relative)  # type: ignore[call-overload]
    return values[node.a] + (-values[node.b] if sign else values[node.b])
