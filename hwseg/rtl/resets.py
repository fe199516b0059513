"""Resets without long nets: a register before every part that is reset, and data that need none.

A reset of thousands of loads is a path across the chip.  So a request goes to one register (`Leaf`) for each part,
which resets the part a cycle later, and only what says that something is valid is reset at all.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.emit import Library
from hwseg.rtl.layouts import BEAT, TOKEN


class Leaf(Component):
    """`out` is `request` a register later: one of several that share a signal's loads.

    A module of its own, or synthesis would join equal registers to one net.  init: of the register.
    """

    latency = 1

    def __init__(self, init: int = 0, width: int = 1) -> None:
        self.init, self.width = init, width
        super().__init__({"request": In(width), "out": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        leaf = Signal(self.width, init=self.init, reset_less=True, name="leaf")
        m.d.sync += leaf.eq(self.request)
        m.d.comb += self.out.eq(leaf)
        return m


def reset_apart(m: Module, library: Library, name: str, part: Any, request: Any) -> None:
    """`part` becomes submodule `name`, reset by a register of its own a cycle after `request`."""
    leaf = Leaf(init=1)  # a reset from configuration on
    m.submodules[f"{name}_reset"] = library.instance(leaf, "hwseg_reset")
    domain = ClockDomain(f"{name}_domain", local=True)
    m.domains += domain
    m.d.comb += [leaf.request.eq(request), domain.clk.eq(ClockSignal("sync")), domain.rst.eq(leaf.out)]
    m.submodules[name] = DomainRenamer({"sync": domain.name})(part)


def leaves(m: Module, request: Any, count: int, name: str) -> list[Signal]:
    """`request` a register later, `count` times, for a part of the loads each."""
    found = []
    for number in range(count):
        m.submodules[f"{name}_{number}"] = leaf = Leaf(width=len(Value.cast(request)))
        m.d.comb += leaf.request.eq(request)
        found.append(leaf.out)
    return found


def later(m: Module, token: Any, name: str) -> Any:
    """A token, one register further: only its `valid` is reset."""
    valid, rest = Signal(name=f"{name}_valid"), Signal(TOKEN, name=name, reset_less=True)
    m.d.sync += [valid.eq(token.valid), rest.eq(token)]
    return valid_apart(rest, valid)


def valid_apart(token: Any, valid: Signal) -> Any:
    """A token with `valid` in the place of its own."""
    return data.View(TOKEN, Cat(valid, token.as_value()[1:]))


def beat_later(m: Module, beat: Any, name: str) -> Any:
    """A beat, one register further: only what says that there is a plane, or a reload, is reset."""
    valid, reload = Signal(name=f"{name}_valid"), Signal(name=f"{name}_reload")
    rest = Signal(BEAT.size - 2, name=name, reset_less=True)
    m.d.sync += [valid.eq(beat.plane.valid), reload.eq(beat.reload), rest.eq(beat.as_value()[1:-1])]
    return data.View(BEAT, Cat(valid, rest, reload))
