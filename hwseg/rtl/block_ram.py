"""Block RAM with its output register, as RAMB18E1 primitives: synthesis by Yosys infers none with it.

One port writes, one reads; data follow an address by two cycles, the second of them in the register that is part of the
block RAM (0.9 ns from the clock to the data, without it 2.5 ns):

    cycle    0 address, enable    1 latch    2 register: data

A memory is put together of columns, each as wide as a half block RAM is at that depth:

    words     512   1024   2048   4096   8192   16384
    bits       36     18      9      4      2       1        of them every ninth has no write enable of its own

`BlockRam` is its behaviour for the Amaranth simulator and its primitives in Verilog; `hwseg.rtl.cells` has the
primitive's model for Verilog simulators.  A memory of a few words is its behaviour everywhere, with the same latency.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Elaboratable, Instance, Module, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.cells import VERILOG

WORDS, BITS = 512, 36
"""The widest form of a RAMB18E1."""
ADDRESS_BITS = 14
"""Of the primitive, down to single bits."""
SHALLOW = 64
"""Words of a memory that synthesis makes of LUTs."""


class BlockRam(Component):
    """`depth` words of `width` bits.  parts: of a word that are written apart, each with a bit of `write_enable`.

    `read_data` is the word at `read_address` of two cycles before, if `read_enable` was 1 then; if not, the word of the
    last such cycle.  `advance` lets the register follow the latch; it belongs to the second cycle.  A word that is
    written while it is read is read as it was.
    """

    latency = 2

    def __init__(self, width: int, depth: int, parts: int = 1) -> None:
        self.width, self.depth, self.parts = width, depth, parts
        self.address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "write_address": In(self.address_bits),
                "write_data": In(width),
                "write_enable": In(parts),
                "read_address": In(self.address_bits),
                "read_enable": In(1),
                "advance": In(1, init=1),  # type: ignore[call-arg]  # the stubs know an older name
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Elaboratable:
        return self._primitives() if platform == VERILOG and self.depth > SHALLOW else self._behaviour()

    def _behaviour(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(granularity=self.width // self.parts), memory.read_port()
        kept = Signal(self.width, name="kept")
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(self.read_address),
            read.en.eq(self.read_enable),
            self.read_data.eq(kept),
        ]
        with m.If(self.advance):
            m.d.sync += kept.eq(read.data)
        return m

    def _primitives(self) -> Module:
        m = Module()
        deep = max(WORDS, 1 << self.address_bits)
        # 36, 18, 9 bits with one in nine beside the bytes; then 4, 2, 1.
        bits = BITS * WORDS // deep
        column = bits if self.parts == 1 else bits * 8 // 9 if bits >= 9 else bits
        for number, first in enumerate(range(0, self.width, column)):
            last = min(first + column, self.width)
            m.submodules[f"column_{number}"] = self._column(m, bits, first, last)
        return m

    def _column(self, m: Module, bits: int, first: int, last: int) -> Instance:
        """Bits from `first` to `last` of every word, in one RAMB18E1 of `bits` bits a word."""
        plain = bits * 8 // 9 if bits >= 9 else bits
        beside = bits - plain
        word = self.write_data[first:last]
        data = Cat(word[:plain], Const(0, 32))[:32]
        parity = Cat(word[plain:], Const(0, 4))[:4] if beside else Const(0, 4)
        wide = bits == BITS
        enables = self._enables(plain, first, last)
        found, extra = Signal(32, name=f"found_{first}"), Signal(4, name=f"extra_{first}")
        m.d.comb += self.read_data[first:last].eq(Cat(found[:plain], extra[:beside])[: last - first])
        wires: list[tuple[str, str, object]] = [
            ("p", "RAM_MODE", "SDP" if wide else "TDP"),  # a simple dual port has 36 bits on one side
            ("p", "READ_WIDTH_A", bits),
            ("p", "READ_WIDTH_B", 0),
            ("p", "WRITE_WIDTH_A", 0),
            ("p", "WRITE_WIDTH_B", bits),
            ("p", "WRITE_MODE_A", "READ_FIRST"),
            ("p", "WRITE_MODE_B", "READ_FIRST"),
            ("p", "DOA_REG", 1),
            ("p", "DOB_REG", 1),
            ("i", "CLKARDCLK", ClockSignal()),
            ("i", "CLKBWRCLK", ClockSignal()),
            ("i", "ENARDEN", self.read_enable),
            ("i", "ENBWREN", self.write_enable.any()),
            ("i", "REGCEAREGCE", self.advance),
            ("i", "REGCEB", self.advance),
            ("i", "ADDRARDADDR", self._address(self.read_address, bits)),
            ("i", "ADDRBWRADDR", self._address(self.write_address, bits)),
            ("i", "DIADI", data[:16]),
            ("i", "DIBDI", data[16:] if wide else data[:16]),
            ("i", "DIPADIP", parity[:2]),
            ("i", "DIPBDIP", parity[2:] if wide else parity[:2]),
            ("i", "WEA", Const(0, 2)),
            ("i", "WEBWE", enables),
            ("o", "DOADO", found[:16]),
            ("o", "DOBDO", found[16:]),
            ("o", "DOPADOP", extra[:2]),
            ("o", "DOPBDOP", extra[2:]),
        ]
        wires += [("i", name, Const(0, 1)) for name in ("RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB")]
        return Instance("RAMB18E1", *wires)

    def _enables(self, plain: int, first: int, last: int) -> Value:
        """Four write enables: one a byte, the same again where the primitive has fewer bytes."""
        if self.parts == 1:
            return Value.cast(self.write_enable[0].replicate(4))
        part = self.width // self.parts
        lanes = max(1, plain // 8)
        enables = [self.write_enable[min(first + 8 * lane, last - 1) // part] for lane in range(lanes)]
        return Cat(*(enables[lane % lanes] for lane in range(4)))

    @staticmethod
    def _address(address: Value, bits: int) -> Value:
        """A word's address where the primitive expects it: down to single bits."""
        below = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}[bits]
        wide = Value.cast(Cat(Const(0, below), address, Const(0, ADDRESS_BITS)))
        return wide[:ADDRESS_BITS]
