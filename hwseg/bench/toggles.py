"""A netlist's toggles by resource class: which events of `hwseg.power.activity` its nets and cells stand for.

A net stays inside its slice, where it costs no routing, if a LUT, a LUT memory or a CARRY4 drives it and everything
that it goes to is packed with its driver: a carry chain's S and DI, one flip-flop's D, a wide multiplexer's inputs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hwseg.bench.netlist import Netlist

TABLES = ("RAM32M", "SRL16E", "SRLC32E")
CARRIES = ("CARRY4", "MUXF7", "MUXF8")
FLIP_FLOPS = ("FDRE", "FDSE")
DSP = "DSP48E1"
INSIDE = {("CARRY4", "S"), ("CARRY4", "DI"), ("CARRY4", "CI"), ("MUXF7", "I0"), ("MUXF7", "I1"), ("MUXF8", "I0")}
INSIDE |= {("MUXF8", "I1"), *((kind, "D") for kind in FLIP_FLOPS)}
CASCADES = ("PCOUT", "ACOUT", "BCOUT", "CARRYCASCOUT")

DRIVERS = {"LUT": "lut_toggle", "INV": "lut_toggle"} | dict.fromkeys(TABLES, "table_toggle")
DRIVERS |= dict.fromkeys(CARRIES, "carry_toggle") | dict.fromkeys(FLIP_FLOPS, "ff_toggle")


def classes(netlist: Netlist) -> dict[str, list[int]]:
    """Nets of each toggle event; a net is in its driver's class and, if it leaves its slice, in a class of nets."""
    sinks: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for cell, port, net in connections(netlist, "input"):
        sinks[net].append((cell["type"], port))
    outside = {netlist.index[b] for bits in netlist.ports.values() for b in bits}
    found: dict[str, list[int]] = defaultdict(list)
    for cell, port, net in connections(netlist, "output"):
        kind = "LUT" if cell["type"].startswith("LUT") else cell["type"]
        if kind in DRIVERS:
            found[DRIVERS[kind]].append(net)
        if port in CASCADES or (net not in outside and not sinks[net]):
            continue
        registered = kind in FLIP_FLOPS or kind == DSP
        if registered or net in outside or not _inside(sinks[net]):
            found["net_toggle" if registered else "lut_net_toggle"].append(net)
    return dict(found)


def _inside(sinks: list[tuple[str, str]]) -> bool:
    flip_flops = sum(kind in FLIP_FLOPS for kind, _ in sinks)
    return flip_flops <= 1 and all(sink in INSIDE for sink in sinks)


def connections(netlist: Netlist, direction: str) -> list[tuple[dict[str, Any], str, int]]:
    """Cell, port and net of every connected bit of that direction; constants are left out."""
    return [
        (cell, port, netlist.index[bit])
        for cell in netlist.cells
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == direction
        for bit in bits
        if netlist.index[bit] > 1
    ]


def toggles(netlist: Netlist) -> dict[str, float]:
    """Events per cycle and stream of what was counted with `count_nets`."""
    every = max(netlist.cycles_counted, 1) * netlist.streams
    return {event: sum(netlist.by_net[n] for n in nets) / every for event, nets in sorted(classes(netlist).items())}


def clocked(netlist: Netlist) -> dict[str, float]:
    """Events of every clock cycle: flip-flops, LUT memories (one clock pin each) and shift registers."""
    kinds = [cell["type"] for cell in netlist.cells]
    flip_flops = sum(kind in FLIP_FLOPS for kind in kinds) + kinds.count("RAM32M")
    shifts = kinds.count("SRL16E") + kinds.count("SRLC32E")
    return {"ff_clock": float(flip_flops), "srl_clock": float(shifts)}
