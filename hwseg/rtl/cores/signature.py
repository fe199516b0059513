"""What every family of cores looks like from outside: encoder, loader, core, and the record that holds them.

A plane is one digit plane: one bit of every lane's activation, most significant plane first.  Lane = tap * channels +
channel.  An encoder stands at the array's edge, once per pixel; a loader once per row (output channel); a core at each
crossing.

    lanes, valid --> Encoder --> feed ----.          feed, valid, first, last, negate: a plane, in one cycle
                                          v
    weights, start --> Loader -- load --> Core --> sum, sum_valid

Contract of the core: a plane per cycle, and the first plane of a sum may follow the last plane of the one before in
the next cycle.  Idle cycles (`valid` = 0) may stand anywhere.  Every sum that begins with `first` ends with `last`
(both, if it has a single plane).  `negate` goes with `first` only: the plane is the sign plane of two's complement.
`sum` is exactly sum(w * x) in the cycle of the one-cycle pulse `sum_valid`, `latency` cycles after the last plane's
cycle.  Cores that keep it (`keeps`) change it together with that pulse only; in others it moves on with the next sum's
planes.

Contract of a reload: the encoder's `reload` comes with the first of `reload_cycles` idle cycles at its inputs; their
feed is at the cores `encoder_latency` cycles later.  The loader's `start` comes `reload_lead` cycles before that feed,
when the loader is not `busy`; weights are stable from that cycle while `busy`.  Planes before those idle cycles still
count with the old weights, planes after them with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.hdl import Module, Shape, ShapeLike, Value, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, In, Member, Out

from hwseg.arith.types import CoreSpec


def encoder_ports(lanes: int, feed_bits: int) -> dict[str, Member]:
    return {"lanes": In(lanes), "valid": In(1), "reload": In(1), "feed": Out(feed_bits)}


def loader_ports(spec: CoreSpec, load: ShapeLike) -> dict[str, Member]:
    return {
        "weights": In(ArrayLayout(Shape(spec.weight_bits, spec.weight_signed), spec.lanes)),
        "start": In(1),
        "busy": Out(1),
        "load": Out(load),
    }


def core_ports(spec: CoreSpec, feed_bits: int, load: ShapeLike) -> dict[str, Member]:
    return {
        "feed": In(feed_bits),
        "valid": In(1),
        "first": In(1),
        "last": In(1),
        "negate": In(1),
        "load": In(load),
        "sum": Out(signed(spec.sum_bits)),
        "sum_valid": Out(1),
    }


def _as_they_are(lanes: Value) -> Value:
    return lanes


def _no_drain(lanes: int, weight_bits: int = 8, weight_signed: bool = True) -> int:
    return 0


@dataclass(frozen=True)
class Family:
    """A product generator.  `encoder`, `loader`, `core` make a component of (lanes, weight_bits=8, weight_signed=True).

    encoder_latency: registers between lanes and feed.  reload_cycles, reload_lead: see the contract of a reload.
    offset_binary: whether a sum is 2 * sum(w * x) + sum(w) instead of sum(w * x).
    order: how activations enter, planes from the "most" or the "least" significant on, or whole "words".
    drain: idle cycles that must pass between two sums.
    encode: the feed of a valid plane as a function of the lanes, without registers.
    keeps: whether `sum` stays until the next one.
    returns: whether the loader takes `total` from the first of its cores.
    neighbour: a core beside the first of a row, if that one has more to do.
    reader: a loader that reads weights lane by lane, if it can.
    edge: an encoder for an array whose planes come `edge_wait` cycles later after a reload than the contract says, so
    that none need wait in it.
    """

    name: str
    encoder: Callable[..., Component]
    loader: Callable[..., Component]
    core: Callable[..., Component]
    feed_bits: Callable[[int], int]
    load_layout: Callable[..., ShapeLike]
    latency: Callable[[int], int]
    encoder_latency: int
    reload_cycles: int
    offset_binary: bool
    reload_lead: int = 0
    order: str = "most"
    drain: Callable[..., int] = _no_drain
    encode: Callable[[Value], Value] = _as_they_are
    edge: Callable[[int], Component] | None = None
    edge_wait: int = 0
    keeps: bool = True
    returns: bool = False
    neighbour: Callable[..., Component] | None = None
    reader: Callable[..., Component] | None = None

    def connect(self, m: Module, loader: Component, cores: Sequence[Component]) -> None:
        """A loader and the cores that it loads."""
        for core in cores:
            m.d.comb += core.load.eq(loader.load)  # type: ignore[attr-defined]
        if self.returns:
            m.d.comb += loader.total.eq(cores[0].total)  # type: ignore[attr-defined]
