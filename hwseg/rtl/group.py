"""A part of the array by itself, for place and route: some rows, with the encoders at their edge."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.array import Row, connect_shadow, ordered
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.emit import Library
from hwseg.rtl.layouts import PLANE
from hwseg.rtl.shadow import CHAIN


class Group(Component):
    """Rows x pixels of an array: encoders, and rows with loaders, cores and shadow registers, as in the engine."""

    def __init__(self, config: EngineConfig, rows: int, library: Library) -> None:
        self.config, self.rows, self.library = config, rows, library
        self.members = [Row(config, library) for _ in range(rows)]
        super().__init__(
            {
                "lanes": In(data.ArrayLayout(config.lanes, config.pixels)),
                "plane": In(PLANE),
                "reload": In(1),
                "chain": In(CHAIN),
                "sums": Out(data.ArrayLayout(self.members[0].sums.shape(), rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, family, rows = self.config, self.members[0].family, self.members
        for pixel in range(config.pixels):
            encoder = (family.edge or family.encoder)(config.lanes)
            m.submodules[f"encoder_{pixel}"] = self.library.instance(encoder, "hwseg_encoder")
            m.d.comb += [
                encoder.lanes.eq(ordered(self.lanes[pixel], config)),
                encoder.valid.eq(self.plane.valid),
                encoder.reload.eq(self.reload),
                rows[0].feed[pixel].eq(encoder.feed),
            ]
        connect_shadow(m, config, rows, self.chain)
        for r, row in enumerate(rows):
            m.submodules[f"row_{r}"] = self.library.instance(row, "hwseg_row")
            m.d.comb += [
                self.sums[r].eq(row.sums),
                row.plane.eq(rows[r - 1].plane_next if r else self.plane),
                row.reload.eq(rows[r - 1].reload_next if r else self.reload),
            ]
            if r:
                m.d.comb += row.feed.eq(rows[r - 1].feed_next)
        return m


def group_verilog(rows: int, pixels: int, core: str = "table") -> str:
    """Verilog of rows x pixels cores of 72 lanes, top module `group`."""
    library = Library()
    library.instance(Group(EngineConfig(pixels=pixels, core=core), rows, library), "group")
    return library.text()
