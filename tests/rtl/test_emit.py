"""One definition per module, plain Verilog-2005, the same text every time, and the same gates when flat."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator

from hwseg.rtl.emit import Library, Part, verilog


class Cell(Component):
    """y = a + b * taps, registered; an internal submodule, and a structured port."""

    def __init__(self, taps: int) -> None:
        self.taps = taps
        super().__init__({"pair": In(StructLayout({"a": signed(8), "b": 8})), "y": Out(signed(20))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = Module()
        product = Signal(18)
        inner.d.comb += product.eq(self.pair.b * self.taps)
        m.d.sync += self.y.eq(self.pair.a + product)
        return m


class Gate(Component):
    """Combinational: no clock port."""

    def __init__(self) -> None:
        super().__init__({"x": In(4), "all": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.all.eq(self.x.all())
        return m


class Row(Component):
    def __init__(self, library: Library, cells: int) -> None:
        self.library, self.cells = library, cells
        super().__init__({"pairs": In(ArrayLayout(16, cells)), "total": Out(signed(24)), "full": Out(1)})

    def elaborate(self, platform):
        m = Module()
        total = 0
        for i in range(self.cells):
            cell, name = Cell(3 + i % 2), f"cell_{3 + i % 2}"
            m.submodules[f"cell_{i}"] = self.library.instance(cell, name)
            m.d.comb += cell.pair.eq(self.pairs[i])
            total = total + cell.y
        gate = Gate()
        m.submodules.gate = self.library.instance(gate, "gate")
        m.d.comb += [gate.x.eq(self.pairs[0]), self.full.eq(gate.all), self.total.eq(total)]
        return m


class Top(Component):
    def __init__(self, library: Library) -> None:
        self.library = library
        super().__init__({"pairs": In(64), "total": Out(signed(24)), "full": Out(3)})

    def elaborate(self, platform):
        m = Module()
        rows = [Row(self.library, 4) for _ in range(3)]
        for i, row in enumerate(rows):
            m.submodules[f"row_{i}"] = self.library.instance(row, "row")
            m.d.comb += row.pairs.eq(self.pairs)
        m.d.comb += [
            self.total.eq(rows[0].total ^ rows[1].total ^ rows[2].total),
            self.full.eq(Cat(r.full for r in rows)),
        ]
        return m


def whole() -> str:
    library = Library()
    library.instance(Top(library), "top")
    return library.text()


def test_every_distinct_module_stands_once_children_first():
    modules = re.findall(r"^module (\w+)", whole(), flags=re.M)
    assert sorted(modules) == ["cell_3", "cell_3__inner", "cell_4", "cell_4__inner", "gate", "row", "top"]
    assert modules.index("cell_3") < modules.index("row") < modules.index("top")


def test_the_text_is_plain_and_the_same_every_time():
    text = whole()
    assert text == whole()
    assert "\\" not in text
    assert "src" not in text
    assert "/*" not in text
    assert not re.search(r"\blogic\b|always_(?:ff|comb)\b", text)


def test_instances_have_only_the_ports_that_exist():
    text = whole()
    assert re.search(r"  gate \w+ \(\s+\.all\([^)]*\),\s+\.x\([^)]*\)\s+\);", text)
    assert text.count("  row row_") == 3


def test_flat_elaboration_simulates_without_instances():
    top = Top(Library(flat=True))
    seen = []

    async def testbench(ctx):
        ctx.set(top.pairs, sum((5 | (i + 1) << 8) << (16 * i) for i in range(4)))
        await ctx.tick()
        seen.append((ctx.get(top.total), ctx.get(top.full)))

    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == [(5 * 4 + 3 * 1 + 4 * 2 + 3 * 3 + 4 * 4, 0)]


def test_one_name_for_two_components_is_refused():
    library = Library()
    library.instance(Cell(3), "cell")
    with pytest.raises(ValueError, match="already another component"):
        library.instance(Cell(5), "cell")


def test_one_component_alone():
    modules = re.findall(r"^module (\w+)", verilog(Cell(3), "multiply_add"), flags=re.M)
    assert sorted(modules) == ["multiply_add", "multiply_add__inner"]


class Doubled(Part):
    """2 x, a register later, with a part of its own and a component that stays a module."""

    def __init__(self) -> None:
        super().__init__({"x": In(8), "y": Out(9)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.kept, m.submodules.sum = kept, total = Kept(), Sum()
        m.d.comb += [kept.x.eq(self.x), total.a.eq(kept.y), total.b.eq(kept.y), self.y.eq(total.y)]
        return m


class Kept(Component):
    def __init__(self) -> None:
        super().__init__({"x": In(8), "y": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.x)
        return m


class Sum(Part):
    def __init__(self) -> None:
        super().__init__({"a": In(8), "b": In(8), "y": Out(9)})

    def elaborate(self, platform):
        m = Module()
        wide = Signal(9, name="wide")
        m.d.comb += [wide.eq(self.a + self.b), self.y.eq(wide)]
        return m


class Quadrupled(Component):
    """Of a part whose name a signal has, too."""

    def __init__(self) -> None:
        super().__init__({"x": In(8), "doubled": Out(10)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.doubled = doubled = Doubled()
        m.d.comb += doubled.x.eq(self.x)
        m.d.sync += self.doubled.eq(doubled.y << 1)
        return m


def test_a_part_lies_in_the_module_around_it():
    library = Library()
    library.instance(Quadrupled(), "quadrupled")
    text = library.text()
    modules = re.findall(r"^module (\w+)", text, flags=re.M)
    assert len(modules) == 2
    assert modules[0] == "quadrupled"
    assert modules[1].endswith("__kept")
    assert re.search(r"\w+__sum__wide\b", text)
    assert text.count("always @(posedge") == 2, "the register of what stays a module is there and nowhere else"
    assert "\\" not in text
    assert text == verilog(Quadrupled(), "quadrupled")


def test_a_part_simulates_as_a_component():
    dut, seen = Quadrupled(), []

    async def testbench(ctx):
        for x in (77, 255, 0):
            ctx.set(dut.x, x)
            await ctx.tick()
            await ctx.tick()
            seen.append(ctx.get(dut.doubled))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == [4 * 77, 4 * 255, 0]


class Store(Component):
    """A memory that starts as `init`."""

    def __init__(self, init: list[int]) -> None:
        self.init = init
        super().__init__({"at": In(5), "write": In(1), "x": In(8), "y": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=32, init=self.init)
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [read.addr.eq(self.at), read.en.eq(1), self.y.eq(read.data)]
        m.d.comb += [write.addr.eq(self.at), write.en.eq(self.write), write.data.eq(self.x)]
        return m


def test_memories_of_zeros_are_written_faster_and_not_otherwise(monkeypatch):
    blank, full = verilog(Store([]), "store"), verilog(Store([5]), "store")
    monkeypatch.setattr("hwseg.rtl.emit.blank_memories", nullcontext)
    assert verilog(Store([]), "store") == blank
    assert verilog(Store([5]), "store") == full
    assert "initial" not in blank
    assert "8'h05" in full
