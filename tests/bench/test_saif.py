"""Switching activity for other tools: what is written is read back, and counts what the netlist did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwseg.bench.energy_cores import Sample, run_netlist
from hwseg.bench.netlist import Netlist
from hwseg.bench.saif import Instance, Net, Saif, nets_of, parse, text
from hwseg.bench.toggles import classes, clocked, toggles
from hwseg.bench.vivado import array_saif
from hwseg.errors import HwsegError
from hwseg.rtl.config import parse_array
from hwseg.rtl.cores import CORES
from hwseg.toolchain import yosys
from tests.faults.cache import empty_but_for_yosys

NETS = (Net("sum[3]", 3000, 7000, 4), Net("valid", 10000, 0, 0))
SAIF = Saif(10000, Instance("hwseg", (), (Instance("array", NETS, (Instance("core_0", NETS[:1]),)),)))


def counter(folder: Path) -> Netlist:
    """Two bits that count: q0 toggles in every cycle, q1 in every second one; a LUT inverts, a LUT adds."""

    def cell(
        kind: str, ports: dict[str, list[object]], outputs: tuple[str, ...], **parameters: str
    ) -> dict[str, object]:
        directions = {name: "output" if name in outputs else "input" for name in ports}
        return {"type": kind, "parameters": parameters, "port_directions": directions, "connections": ports}

    cells = {
        "invert": cell("LUT1", {"I0": [2], "O": [4]}, "O", INIT="01"),
        "add": cell("LUT2", {"I0": [2], "I1": [3], "O": [5]}, "O", INIT="0110"),
        "q0": cell("FDRE", {"C": [6], "CE": ["1"], "D": [4], "R": ["0"], "Q": [2]}, "Q", INIT="0"),
        "q1": cell("FDRE", {"C": [6], "CE": ["1"], "D": [5], "R": ["0"], "Q": [3]}, "Q", INIT="0"),
    }
    names = {
        "q": {"hide_name": 0, "bits": [2, 3]},
        "next": {"hide_name": 0, "bits": [5]},
        "x": {"hide_name": 1, "bits": [4]},
    }
    module = {"ports": {"clk": {"direction": "input", "bits": [6]}}, "cells": cells, "netnames": names}
    (folder / "part.json").write_text(json.dumps({"modules": {"part": module}}))
    return Netlist(folder / "part.json", "part", 2)


def test_what_is_written_is_read_back():
    assert parse(text(SAIF)) == SAIF
    assert "(sum\\[3\\] (T0 3000) (T1 7000) (TX 0) (TC 4) (IG 0))" in text(SAIF)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("(SAIFILE", "(FILE", "SAIF: must be one (SAIFILE ...); export it again"),
        ("(SAIFILE", "SAIFILE", "SAIF: must begin with ("),
        ("(DURATION 10000)\n", "", "SAIF: must have DURATION, has not"),
        ("(TIMESCALE 1 ps)", "(TIMESCALE 1 ns)", "SAIF: must count in 1 ps"),
        ("(T0 3000)", "(T0 2000)", "SAIF sum[3]: must last 10000, lasts 9000"),
        ("(T0 3000)", "(T0 x)", "SAIF sum[3]: must have whole numbers T0, T1 and TC"),
        (")\n", "", "SAIF: ends inside a bracket"),
    ],
)
def test_what_is_no_saif_is_told(old, new, sentence):
    with pytest.raises(HwsegError) as error:
        parse(text(SAIF).replace(old, new))
    assert sentence in str(error.value)


def test_a_counters_toggles_by_net_and_by_class(tmp_path):
    machine = counter(tmp_path)
    machine.cycle(None)
    machine.count_nets = True
    for _ in range(8):
        machine.cycle(None)
    duration, nets = nets_of(machine, 100.0)
    assert duration == 8 * 2 * 10_000
    assert {net.name: (net.t1 // 10_000, net.tc) for net in nets} == {"q[0]": (8, 16), "q[1]": (8, 8), "next": (8, 8)}
    # one LUT output stays with its flip-flop: both do here; both flip-flops leave their slices
    found = {event: len(members) for event, members in classes(machine).items()}
    assert found == {"lut_toggle": 2, "ff_toggle": 2, "net_toggle": 2}
    assert toggles(machine) == {"ff_toggle": 1.5, "lut_toggle": 1.5, "net_toggle": 1.5}
    assert clocked(machine) == {"ff_clock": 2.0, "srl_clock": 0.0}


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_a_cores_activity_reaches_every_core_of_the_array(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_but_for_yosys(tmp_path)))
    config = replace(parse_array("8x2x1"), core="merged")
    generator = np.random.default_rng(0)
    values = generator.integers(0, 16, (64, 4, 9)).astype(np.uint8)
    machine = run_netlist(CORES["merged"], Sample("conv#0", values, 4, generator.integers(-9, 9, 9).astype(np.int8)))
    found = nets_of(machine, 150.0)
    assert sum(net.tc for net in found[1]) > 0
    back = parse(text(array_saif(config, found)))
    (array,) = back.top.inside
    assert [row.name for row in array.inside] == [f"row_{r}" for r in range(8)]
    for row in array.inside:
        assert [core.nets for core in row.inside] == [found[1]] * 2
    assert {net.name.split("[")[0] for net in found[1]} >= {"sum", "feed", "valid"}
