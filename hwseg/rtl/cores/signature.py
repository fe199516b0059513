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
`sum` is exactly sum(w * x), changes together with the one-cycle pulse `sum_valid`, `latency` cycles after the last
plane's cycle, and then stays.

Contract of the loader: `start` may be given when not `busy`; weights are stable from that cycle (cycle 0) while `busy`.
From cycle 0 to cycle reload_cycles - 1 no valid plane may be at the inputs of the row's cores, and the feed of an idle
cycle must be what the encoder made of `valid` = 0 (the table core reads its weight sum in one of these cycles).  Planes
before cycle 0 still count with the old weights, planes from cycle reload_cycles on with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.hdl import ShapeLike, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, In, Member, Out

from hwseg.arith.types import CoreSpec


def encoder_ports(lanes: int, feed_bits: int) -> dict[str, Member]:
    return {"lanes": In(lanes), "valid": In(1), "feed": Out(feed_bits)}


def loader_ports(spec: CoreSpec, load: ShapeLike) -> dict[str, Member]:
    return {
        "weights": In(ArrayLayout(signed(spec.weight_bits), spec.lanes)),
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


@dataclass(frozen=True)
class Family:
    """A product generator.  `encoder`, `loader`, `core` make a component for a number of lanes.

    encoder_latency: registers between lanes and feed.  reload_cycles: see the loader's contract.
    offset_binary: whether a sum is 2 * sum(w * x) + sum(w) instead of sum(w * x).
    """

    name: str
    encoder: Callable[[int], Component]
    loader: Callable[[int], Component]
    core: Callable[[int], Component]
    feed_bits: Callable[[int], int]
    load_layout: Callable[[int], ShapeLike]
    latency: Callable[[int], int]
    encoder_latency: int
    reload_cycles: int
    offset_binary: bool
