"""Addresses of a step: of the input banks, a plane every cycle, and of everything that follows the array.

An address in the input buffer is a row's block plus a word column's block plus the plane; rows, columns and the ring
that rows go round in are told apart modulo 3, as the banks are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.cores.pipeline import delayed, unreset
from hwseg.rtl.emit import Part
from hwseg.rtl.isa import Mode, Scatter
from hwseg.rtl.layouts import CONFIG_LAYOUT, RUN_LAYOUT
from hwseg.rtl.skip import COUNT_BITS, POSITION
from hwseg.rtl.walk import AHEAD, ROW, WALK
from hwseg.rtl.window import ADDRESS_BITS

TARGETS = data.StructLayout({"psum": 10, "out": 15, "loop": 14, "pool": 14})
"""A step's places behind the array, as in its token."""


@dataclass(frozen=True)
class Ring:
    """The ring of a buffer's rows: `pitch` from one block to the next, `first` follows `last`."""

    pitch: Value
    first: Value
    last: Value

    def around(self, m: Module, row: data.View, point: Signal | int, name: str) -> tuple[Value, Value]:
        """Block addresses of the rows above and below, where those lie in another block than the row itself."""
        above, below = Signal(ADDRESS_BITS, name=f"{name}_above"), Signal(ADDRESS_BITS, name=f"{name}_below")
        m.d.comb += [
            above.eq(Mux(row.address == self.first, self.last, row.address - self.pitch)),
            below.eq(Mux(row.address == self.last, self.first, row.address + self.pitch)),
        ]
        before = Mux((row.phase == 0) & ~point, above, row.address)
        after = Mux((row.phase == 2) & ~point, below, row.address)
        return before, after


class InputAddresses(Part):
    """Bank 3a+b reads row block of residue a plus column block of residue b plus the plane.

    wait: cycles more than `latency` from the walk's cycle to its addresses.
    """

    latency = 3

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(
            {
                "run": In(RUN_LAYOUT),
                "configuration": In(CONFIG_LAYOUT),
                "wrap_back": In(ADDRESS_BITS),
                "at": In(WALK),
                "addresses": Out(data.ArrayLayout(ADDRESS_BITS, BANKS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.configuration
        row, column = Signal(ROW, reset_less=True), Signal(ROW, reset_less=True)
        plane, point = Signal(4), Signal()
        m.d.sync += [
            row.eq(self.at.row),
            column.eq(self.at.column),
            plane.eq(self.at.plane),
            point.eq(cfg.mode == Mode.POINT),
        ]
        ring = Ring(cfg.pitch, self.run.wrap_to, self.wrap_back)
        before, after = ring.around(m, row, point, "row")
        rows, columns = [], []
        for residue in range(3):
            # Centre at phase 0: residue 2 lies in the block before; centre at phase 2: residue 0 in the block after.
            a = Signal(ADDRESS_BITS, name=f"row_block_{residue}", reset_less=True)
            b = Signal(ADDRESS_BITS, name=f"column_block_{residue}", reset_less=True)
            m.d.sync += a.eq((after, row.address, before)[residue])
            neighbour: Any = 0
            if residue == 2:
                neighbour = Mux((column.phase == 0) & ~point, -cfg.planes, 0)
            elif residue == 0:
                neighbour = Mux((column.phase == 2) & ~point, cfg.planes, 0)
            m.d.sync += b.eq(column.address + neighbour + plane)
            rows.append(delayed(m, a, self.wait, f"row_block_{residue}"))
            columns.append(delayed(m, b, self.wait, f"column_block_{residue}"))
        for bank in range(BANKS):
            address = (rows[bank // 3] + columns[bank % 3])[:ADDRESS_BITS]
            m.d.comb += self.addresses[bank].eq(delayed(m, address, 1, f"address_{bank}"))
        return m


class WindowAhead(Part):
    """Blocks of the next step's window, by residues modulo 3 as the banks are: `position` a cycle after `ahead`."""

    latency = 1

    def __init__(self) -> None:
        super().__init__(
            {
                "run": In(RUN_LAYOUT),
                "configuration": In(CONFIG_LAYOUT),
                "wrap_back": In(ADDRESS_BITS),
                "ahead": In(AHEAD),
                "position": Out(POSITION),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ahead = self.ahead
        nearest = self.configuration.mode == Mode.NEAREST
        ring = Ring(self.configuration.pitch, self.run.wrap_to, self.wrap_back)
        before, after = ring.around(m, ahead.row, 0, "ahead")
        top, bottom = ahead.top | (nearest & ahead.row.odd), ahead.bottom | (nearest & ~ahead.row.odd)
        left, right = ahead.left | (nearest & ahead.column.odd), ahead.right | (nearest & ~ahead.column.odd)
        column = ahead.column.address[COUNT_BITS:]
        offsets = (
            Mux(ahead.column.phase == 2, column + 1, column),
            column,
            Mux(ahead.column.phase == 0, column - 1, column),
        )
        blocks: Any = Signal(POSITION, reset_less=True)
        m.d.comb += self.position.eq(blocks)
        for residue, row in enumerate((after, ahead.row.address, before)):
            m.d.sync += [
                blocks.rows[residue].eq(row[COUNT_BITS:]),
                blocks.columns[residue].eq(offsets[residue]),
                # The row above has the residue before the centre's, the row below the one behind it.
                blocks.dark_rows[residue].eq(
                    (top & (ahead.row.phase == (residue + 1) % 3)) | (bottom & (ahead.row.phase == (residue + 2) % 3))
                ),
                blocks.dark_columns[residue].eq(
                    (left & (ahead.column.phase == (residue + 1) % 3))
                    | (right & (ahead.column.phase == (residue + 2) % 3))
                ),
            ]
        return m


class OutputAddresses(Part):
    """Counters for the partial sum, the output word, the pooled word and the raw word of each step: `targets`, of the
    walk's cycle `at`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "run": In(RUN_LAYOUT),
                "configuration": In(CONFIG_LAYOUT),
                "begin": In(1),
                "step_end": In(1),
                "at": In(WALK),
                "targets": Out(TARGETS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg, run, at = self.configuration, self.run, self.at
        out_row, out_second, out_column = unreset(out_row=14, out_second=14, out_column=14)
        pool_row, pool_column, raw, psum = unreset(pool_row=14, pool_column=14, raw=15, psum=10)
        scattered = run.scatter != Scatter.NONE
        shift, here = Signal(ADDRESS_BITS, reset_less=True), Signal(ADDRESS_BITS)
        m.d.sync += shift.eq(run.loop_address - run.out_address)
        m.d.comb += here.eq(Mux(at.second, out_second, out_row) + out_column)
        m.d.comb += [
            self.targets.psum.eq(psum),
            self.targets.loop.eq(here + shift),
            self.targets.out.eq(Mux(cfg.raw | cfg.dot, raw, here)),
            self.targets.pool.eq(pool_row + pool_column),
        ]
        m.d.sync += out_second.eq(out_row + cfg.out_pitch)
        with m.If(self.step_end):
            m.d.sync += [psum.eq(psum + 1), raw.eq(raw + (cfg.raw_rows << exact_log2(max(1, self.config.pixels // 2))))]
            with m.If(at.last_substep & at.last_second):
                with m.If(at.x[0] | scattered | cfg.split):
                    m.d.sync += out_column.eq(out_column + cfg.out_planes)
                with m.If(at.x[0] | cfg.split):
                    m.d.sync += pool_column.eq(pool_column + cfg.out_planes)
                with m.If(at.last_x):
                    m.d.sync += [
                        out_column.eq(0),
                        pool_column.eq(0),
                        out_row.eq(Mux(run.pair, out_second, out_row) + cfg.out_pitch),
                        pool_row.eq(pool_row + cfg.pool_pitch),
                    ]
        with m.If(self.begin):
            m.d.sync += [
                psum.eq(run.psum),
                raw.eq(run.out_address << 1),
                out_row.eq(run.out_address),
                out_column.eq(0),
                pool_row.eq(run.pool_address),
                pool_column.eq(0),
            ]
        return m
