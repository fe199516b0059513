"""The array: rows of cores with operands flowing from row to row, one cycle later in each.

                         shadow 0, the next tile's weights beside each row (`hwseg.rtl.shadow`)
                           |
    lanes -> encoders -> row 0: loader, C cores -> sums
                           |
                         row 1: loader, C cores -> sums       one cycle later
                           ...

In a split layer the upper half of the rows multiplies other pixels: its first row takes the second operands, which
come in with the delay of the rows before it, instead of what the row below passes on.

A row is one output channel.  Its loader reads the row's shadow weights on the reload marker, which travels with the
planes, so a reload is a wave like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.arith.types import CoreSpec
from hwseg.rtl.config import TAPS, EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Library
from hwseg.rtl.layouts import PLANE
from hwseg.rtl.resets import reset_apart
from hwseg.rtl.shadow import CHAIN, PLACED, ShadowMemory, chained, in_memory, place_words


def lane_order(channels: int) -> list[int]:
    """Lane (tap * channels + channel) of each place in the cores: channel by channel, nine taps each.

    So the lanes that share a table are neighbouring pixels of one channel, whose digits are alike more often than those
    of different channels: a quarter fewer toggles in feeds and cores.
    """
    return [tap * channels + channel for channel in range(channels) for tap in range(TAPS)]


class Row(Component):
    """One output channel: a loader, C cores, shadow weights, and the registers that pass operands on.

    `placed`: words for a shadow in LUT memory.  `chain`, `chain_enable`: for one of registers.
    """

    def __init__(self, config: EngineConfig, library: Library) -> None:
        self.config, self.library = config, library
        self.family = FAMILIES[config.core]
        feed = data.ArrayLayout(self.family.feed_bits(config.lanes), config.pixels)
        self.sum_bits = CoreSpec(config.lanes).sum_bits
        super().__init__(
            {
                "feed": In(feed),
                "plane": In(PLANE),
                "reload": In(1),
                "feed_next": Out(feed),
                "plane_next": Out(PLANE),
                "reload_next": Out(1),
                "sums": Out(data.ArrayLayout(signed(self.sum_bits), config.pixels)),
            }
            | (
                {"placed": In(PLACED)}
                if in_memory(config)
                else {"chain": In(64), "chain_enable": In(1), "chain_next": Out(64)}
            )
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, family = self.config, self.family
        m.d.comb += self.feed_next.eq(delayed(m, self.feed.as_value(), 1, "feed"))
        m.d.sync += [self.plane_next.eq(self.plane), self.reload_next.eq(self.reload)]
        suffix = f"{config.core}_{config.lanes}"
        loader: Any = self._read_loader(m) if in_memory(config) else self._chained_loader(m)
        m.submodules.loader = self.library.instance(loader, f"hwseg_loader_{suffix}")
        m.d.comb += loader.start.eq(self.reload)
        makes = [family.core, *[family.neighbour or family.core] * (config.pixels - 1)]
        cores = [make(config.lanes) for make in makes]
        family.connect(m, loader, cores)
        for pixel, core in enumerate(cores):
            kind = "neighbour" if pixel and family.neighbour else "core"
            m.submodules[f"core_{pixel}"] = self.library.instance(core, f"hwseg_{kind}_{suffix}")
            m.d.comb += [
                core.feed.eq(self.feed[pixel]),  # type: ignore[attr-defined]
                self.sums[pixel].eq(core.sum),  # type: ignore[attr-defined]
            ]
            for name in ("valid", "first", "last", "negate"):
                m.d.comb += getattr(core, name).eq(getattr(self.plane, name))
        return m

    def _read_loader(self, m: Module) -> Component:
        """A loader that reads its weights from LUT memory."""
        loader: Any = self.family.reader(self.config.lanes)  # type: ignore[misc]
        m.submodules.shadow = shadow = ShadowMemory()
        m.d.comb += [
            shadow.write.eq(self.placed),
            shadow.lane.eq(loader.lane),
            loader.weights.as_value().eq(shadow.weights),
        ]
        return loader  # type: ignore[no-any-return]

    def _chained_loader(self, m: Module) -> Component:
        """A loader that has all weights before it."""
        loader: Any = self.family.loader(self.config.lanes)
        words = chained(m, self.library, self.config.row_words, self.chain, self.chain_enable)
        bits = Cat(*words)
        weights = Cat(bits[8 * lane : 8 * lane + 8] for lane in lane_order(self.config.channels))
        m.d.comb += [loader.weights.as_value().eq(weights), self.chain_next.eq(words[0])]
        return loader  # type: ignore[no-any-return]


def connect_shadow(m: Module, config: EngineConfig, rows: Sequence[Row], chain: Any) -> None:
    """Words of weights from `chain` to all rows."""
    if in_memory(config):
        for row, placed in zip(rows, place_words(m, len(rows), chain), strict=True):
            m.d.comb += row.placed.eq(placed)
        return
    late = delayed(m, chain.data, 1, "chain")  # the shadow's words take it a cycle after the enable
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        m.d.comb += [
            row.chain.eq(late if following is None else following.chain_next),
            row.chain_enable.eq(chain.enable),
        ]


def upper_skew(config: EngineConfig) -> int:
    """Cycles from a plane's lanes to those of the same plane for the upper half of the rows."""
    family = FAMILIES[config.core]
    return family.encoder_latency - family.edge_wait + config.rows // 2 - 1


def ordered(lanes: Value, config: EngineConfig) -> Value:
    """Lanes as the cores take them."""
    return Cat(lanes[lane] for lane in lane_order(config.channels))


class CoreArray(Component):
    """R rows.  `sums[r]` of a step are valid in the cycle `latency` + r after its last plane's lanes.  `lanes`, `plane`
    and `valid`, the plane's for each pixel, come the family's `edge_wait` cycles after the time at which `reload`
    counts.  `upper`: second operands of the rows from R/2 on, `skew` cycles after `lanes`, used where `upper_valid`.
    """

    def __init__(self, config: EngineConfig, library: Library) -> None:
        self.config, self.library = config, library
        self.family = FAMILIES[config.core]
        self.sum_bits = CoreSpec(config.lanes).sum_bits
        self.edge_latency = self.family.encoder_latency - self.family.edge_wait
        self.latency = self.edge_latency + self.family.latency(config.lanes)
        self.skew = upper_skew(config)
        super().__init__(
            {
                "lanes": In(data.ArrayLayout(config.lanes, config.pixels)),
                "upper": In(data.ArrayLayout(config.lanes, config.pixels)),
                "upper_valid": In(config.pixels),
                "valid": In(config.pixels),
                "plane": In(PLANE),
                "reload": In(1),
                "chain": In(CHAIN),
                "sums": Out(data.ArrayLayout(data.ArrayLayout(signed(self.sum_bits), config.pixels), config.rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, family = self.config, self.family
        plane, reload = self.plane, self.reload
        for stage in range(self.edge_latency):
            plane_late = Signal(PLANE, name=f"plane_{stage}")
            m.d.sync += plane_late.eq(plane)
            plane = plane_late
        for stage in range(family.encoder_latency - family.reload_lead):
            reload_late = Signal(name=f"reload_{stage}")
            m.d.sync += reload_late.eq(reload)
            reload = reload_late
        feeds = []
        for pixel in range(config.pixels):
            encoder = (family.edge or family.encoder)(config.lanes)
            m.submodules[f"encoder_{pixel}"] = self.library.instance(
                encoder, f"hwseg_encoder_{config.core}_{config.lanes}"
            )
            m.d.comb += [
                encoder.lanes.eq(ordered(self.lanes[pixel], config)),  # type: ignore[attr-defined]
                encoder.valid.eq(self.valid[pixel]),  # type: ignore[attr-defined]
                encoder.reload.eq(self.reload),  # type: ignore[attr-defined]
            ]
            feeds.append(encoder.feed)  # type: ignore[attr-defined]

        rows = [Row(config, self.library) for _ in range(config.rows)]
        connect_shadow(m, config, rows, self.chain)
        for r, row in enumerate(rows):
            module = self.library.instance(row, f"hwseg_row_{config.core}_{config.pixels}x{config.lanes}")
            reset_apart(m, self.library, f"row_{r}", module, ResetSignal())
            m.d.comb += [
                row.plane.eq(plane if r == 0 else rows[r - 1].plane_next),
                row.reload.eq(reload if r == 0 else rows[r - 1].reload_next),
                self.sums[r].eq(row.sums),
            ]
            if config.splits and r == config.rows // 2:
                m.d.comb += row.feed.eq(self._upper_feed(m, rows[r - 1].feed))
                continue
            for pixel in range(config.pixels):
                m.d.comb += row.feed[pixel].eq(feeds[pixel] if r == 0 else rows[r - 1].feed_next[pixel])
        return m

    def _upper_feed(self, m: Module, below: data.View) -> Any:
        """What the upper rows' first one takes: the second operands, or in idle cycles and where there are none the
        feed of the row below, one register later either way.
        """
        feed: Any = Signal(below.shape(), name="upper_feed", reset_less=True)
        for pixel in range(self.config.pixels):
            second = self.family.encode(ordered(self.upper[pixel], self.config))
            m.d.sync += feed[pixel].eq(Mux(self.upper_valid[pixel], second, below[pixel]))
        return feed
