"""The array: rows of cores with operands flowing from row to row, one cycle later in each.

             weights' shadow chain (enters at the last row, leaves nowhere)
                  |
    lanes -> encoders -> row 0: loader, C cores -> sums
                           |
                         row 1: loader, C cores -> sums       one cycle later
                           ...

In a split layer the upper half of the rows multiplies other pixels: its first row takes the second operands, which
come in with the delay of the rows before it, instead of what the row below passes on.

A row is one output channel.  Its loader reads the row's shadow registers on the reload marker, which travels with the
planes, so a reload is a wave like any other.
"""

from __future__ import annotations

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


def lane_order(channels: int) -> list[int]:
    """Lane (tap * channels + channel) of each place in the cores: channel by channel, nine taps each.

    So the lanes that share a table are neighbouring pixels of one channel, whose digits are alike more often than those
    of different channels: a quarter fewer toggles in feeds and cores.
    """
    return [tap * channels + channel for channel in range(channels) for tap in range(TAPS)]


class ShadowWord(Component):
    """One word of the weights' shadow chain: takes `word` in the cycle after `enable`.

    The enable has a register in each word, and the word is a module of its own, because synthesis would join such
    registers to one net through the whole array.
    """

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "word": In(64), "kept": Out(64)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        enable, kept = Signal(reset_less=True), Signal(64, name="shadow", reset_less=True)
        m.d.sync += enable.eq(self.enable)
        with m.If(enable):
            m.d.sync += kept.eq(self.word)
        m.d.comb += self.kept.eq(kept)
        return m


class Row(Component):
    """One output channel: a loader, C cores, shadow registers, and the registers that pass operands on."""

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
                "chain": In(64),
                "chain_enable": In(1),
                "chain_next": Out(64),
                "sums": Out(data.ArrayLayout(signed(self.sum_bits), config.pixels)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, family = self.config, self.family
        m.d.comb += self.feed_next.eq(delayed(m, self.feed.as_value(), 1, "feed"))
        m.d.sync += [self.plane_next.eq(self.plane), self.reload_next.eq(self.reload)]
        # The first word pushed ends furthest down the chain, so word 0 is the last register.
        word, shadow = self.chain, []
        for number in reversed(range(config.row_words)):
            kept = ShadowWord()
            m.submodules[f"shadow_{number}"] = self.library.instance(kept, "hwseg_shadow")
            m.d.comb += [kept.enable.eq(self.chain_enable), kept.word.eq(word)]
            word = kept.kept
            shadow.insert(0, word)
        m.d.comb += self.chain_next.eq(word)

        suffix = f"{config.core}_{config.lanes}"
        loader = family.loader(config.lanes)
        m.submodules.loader = self.library.instance(loader, f"hwseg_loader_{suffix}")
        chain = Cat(*shadow)
        weights = Cat(chain[8 * lane : 8 * lane + 8] for lane in lane_order(config.channels))
        m.d.comb += [loader.weights.eq(weights), loader.start.eq(self.reload)]  # type: ignore[attr-defined]
        for pixel in range(config.pixels):
            core = family.core(config.lanes)
            m.submodules[f"core_{pixel}"] = self.library.instance(core, f"hwseg_core_{suffix}")
            m.d.comb += [
                core.feed.eq(self.feed[pixel]),  # type: ignore[attr-defined]
                core.load.eq(loader.load),  # type: ignore[attr-defined]
                self.sums[pixel].eq(core.sum),  # type: ignore[attr-defined]
            ]
            for name in ("valid", "first", "last", "negate"):
                m.d.comb += getattr(core, name).eq(getattr(self.plane, name))
        return m


def upper_skew(config: EngineConfig) -> int:
    """Cycles from a plane's lanes to those of the same plane for the upper half of the rows."""
    family = FAMILIES[config.core]
    return family.encoder_latency - family.edge_wait + config.rows // 2 - 1


def ordered(lanes: Value, config: EngineConfig) -> Value:
    """Lanes as the cores take them."""
    return Cat(lanes[lane] for lane in lane_order(config.channels))


class CoreArray(Component):
    """R rows.  `sums[r]` of a step are valid `latency` + r cycles after its last plane's lanes, and stay until the
    next.  `lanes` and `plane` come the family's `edge_wait` cycles after the time at which `reload` counts.  `upper`:
    second operands of the rows from R/2 on, `skew` cycles after `lanes`, used where `upper_valid`.
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
                "upper_valid": In(1),
                "plane": In(PLANE),
                "reload": In(1),
                "chain": In(64),
                "chain_enable": In(1),
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
                encoder.valid.eq(self.plane.valid),  # type: ignore[attr-defined]
                encoder.reload.eq(self.reload),  # type: ignore[attr-defined]
            ]
            feeds.append(encoder.feed)  # type: ignore[attr-defined]

        rows = [Row(config, self.library) for _ in range(config.rows)]
        chain = delayed(m, self.chain, 1, "chain")  # the shadow's words take it a cycle after `chain_enable`
        for r, row in enumerate(rows):
            module = self.library.instance(row, f"hwseg_row_{config.core}_{config.pixels}x{config.lanes}")
            reset_apart(m, self.library, f"row_{r}", module, ResetSignal())
            m.d.comb += [
                row.plane.eq(plane if r == 0 else rows[r - 1].plane_next),
                row.reload.eq(reload if r == 0 else rows[r - 1].reload_next),
                row.chain.eq(chain if r == config.rows - 1 else rows[r + 1].chain_next),
                row.chain_enable.eq(self.chain_enable),
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
            m.d.sync += feed[pixel].eq(Mux(self.upper_valid, second, below[pixel]))
        return feed
