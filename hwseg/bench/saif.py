"""Switching activity for other tools: SAIF 2.0, written and read.

A net has the times at 0 and at 1, in units of the time scale, and the number of its toggles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hwseg.bench.netlist import Netlist
from hwseg.errors import HwsegError, require

DIVIDER = "/"


@dataclass(frozen=True)
class Net:
    """t0, t1: time at 0 and at 1.  tc: toggles."""

    name: str
    t0: int
    t1: int
    tc: int


@dataclass(frozen=True)
class Instance:
    """A module's instance: its nets, and the instances inside it."""

    name: str
    nets: tuple[Net, ...] = ()
    inside: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Saif:
    """duration: in picoseconds, like all times."""

    duration: int
    top: Instance


def nets_of(netlist: Netlist, clock_mhz: float) -> tuple[int, tuple[Net, ...]]:
    """Duration and named nets of what a netlist counted, all of its streams one after the other."""
    period = round(1e6 / clock_mhz)
    cycles = netlist.cycles_counted * netlist.streams
    found = []
    for number, name in sorted(netlist.names.items(), key=lambda item: item[1]):
        ones = netlist.ones_by_net[number]
        found.append(Net(name, (cycles - ones) * period, ones * period, netlist.by_net[number]))
    return cycles * period, tuple(found)


def text(saif: Saif) -> str:
    """The file's content."""
    head = [
        "(SAIFILE",
        '(SAIFVERSION "2.0")',
        '(DIRECTION "backward")',
        '(PROGRAM_NAME "hwseg")',
        f"(DIVIDER {DIVIDER} )",
        "(TIMESCALE 1 ps)",
        f"(DURATION {saif.duration})",
    ]
    return "\n".join([*head, *_lines(saif.top), ")", ""])


def _lines(instance: Instance) -> Iterator[str]:
    yield f"(INSTANCE {instance.name}"
    if instance.nets:
        yield "(NET"
        for net in instance.nets:
            name = re.sub(r"([\[\]])", r"\\\1", net.name)
            yield f"({name} (T0 {net.t0}) (T1 {net.t1}) (TX 0) (TC {net.tc}) (IG 0))"
        yield ")"
    for one in instance.inside:
        yield from _lines(one)
    yield ")"


def parse(content: str) -> Saif:
    """A file's content back; raises HwsegError where it is not SAIF of that form."""
    tokens = re.findall(r'"[^"]*"|[()]|[^\s()"]+', content)
    tree, rest = _tree(tokens, 0)
    require(rest == len(tokens) and tree[:1] == ["SAIFILE"], "SAIF", "must be one (SAIFILE ...)", "export it again")
    fields = {part[0]: part for part in tree[1:] if isinstance(part, list) and part}
    missing = [name for name in ("DURATION", "INSTANCE", "TIMESCALE") if name not in fields]
    require(not missing, "SAIF", f"must have {', '.join(missing)}, has not", "export it again")
    require(fields["TIMESCALE"][1:] == ["1", "ps"], "SAIF", "must count in 1 ps", "export it again")
    saif = Saif(int(fields["DURATION"][1]), _instance(fields["INSTANCE"]))
    for net in _every(saif.top):
        whole = net.t0 + net.t1
        require(
            whole == saif.duration, f"SAIF {net.name}", f"must last {saif.duration}, lasts {whole}", "export it again"
        )
    return saif


def _every(instance: Instance) -> Iterator[Net]:
    yield from instance.nets
    for one in instance.inside:
        yield from _every(one)


def _tree(tokens: list[str], at: int) -> tuple[list, int]:  # type: ignore[type-arg]
    require(at < len(tokens) and tokens[at] == "(", "SAIF", "must begin with (", "export it again")
    found: list[object] = []
    at += 1
    while at < len(tokens) and tokens[at] != ")":
        if tokens[at] == "(":
            inner, at = _tree(tokens, at)
            found.append(inner)
        else:
            found.append(tokens[at])
            at += 1
    require(at < len(tokens), "SAIF", "ends inside a bracket", "export it again")
    return found, at + 1


def _instance(tree: list) -> Instance:  # type: ignore[type-arg]
    nets: list[Net] = []
    inside: list[Instance] = []
    for part in tree[2:]:
        if part[0] == "NET":
            nets += [_net(one) for one in part[1:]]
        elif part[0] == "INSTANCE":
            inside.append(_instance(part))
    return Instance(tree[1], tuple(nets), tuple(inside))


def _net(tree: list) -> Net:  # type: ignore[type-arg]
    name = tree[0].replace("\\", "")
    try:
        counts = {part[0]: int(part[1]) for part in tree[1:]}
        return Net(name, counts["T0"], counts["T1"], counts["TC"])
    except (KeyError, ValueError, IndexError):
        raise HwsegError(f"SAIF {name}", "must have whole numbers T0, T1 and TC", "export it again") from None
