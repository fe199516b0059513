"""Encoder, loader and core of one family, wired as a crossing of the array is: one component to simulate or prove."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hwseg.arith.types import PLANES
from hwseg.rtl.cores import Family
from hwseg.rtl.cores.pipeline import delayed


class Column(Component):
    """Controls stand at the encoder; `busy` is the loader's, `taken` that it takes the weights."""

    def __init__(self, family: Family, lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> None:
        self.family, self.format = family, (lanes, weight_bits, weight_signed)
        self.parts = [make(*self.format) for make in (family.encoder, family.loader, family.core)]
        ports = {name: In(1) for name in ("valid", "first", "last", "negate", "reload")}
        ports |= {"lanes": In(lanes * (PLANES if family.order == "words" else 1)), "weights": In(lanes * weight_bits)}
        super().__init__(
            ports | {"sum": Out(self.parts[2].sum.shape()), "sum_valid": Out(1), "busy": Out(1), "taken": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        encoder, loader, core = self.parts
        self.family.connect(m, loader, [core])
        m.submodules.encoder, m.submodules.loader, m.submodules.core = encoder, loader, core
        latency = self.family.encoder_latency
        controls = Signal(4)
        m.d.comb += controls.eq(Cat(self.valid, self.first, self.last, self.negate))
        late = delayed(m, controls, latency, "controls", reset_less=False)
        start = delayed(m, self.reload, latency - self.family.reload_lead, "start", reset_less=False)
        m.d.comb += [
            encoder.lanes.eq(self.lanes),
            encoder.valid.eq(self.valid),
            encoder.reload.eq(self.reload),
            loader.start.eq(start),
            loader.weights.as_value().eq(self.weights),
            core.feed.eq(encoder.feed),
            Cat(core.valid, core.first, core.last, core.negate).eq(late),
            self.sum.eq(core.sum),
            self.sum_valid.eq(core.sum_valid),
            self.busy.eq(loader.busy),
            self.taken.eq(start),
        ]
        return m
