"""The 7-series place and route of the bench, with a stand-in for the tool that the package index has not."""

from __future__ import annotations

import stat

import pytest

from hwseg.bench import route_xilinx
from hwseg.errors import HwsegError
from hwseg.toolchain import yosys
from tests.bench.test_route import ADDER

TOOL = """#!/bin/sh
echo "$@" > "$HWSEG_SEEN"
grep -q harness top.json || exit 1
grep -c LOC pins.xdc >> "$HWSEG_SEEN"
echo "Info: Max frequency for clock 'clk': 99.00 MHz (FAIL at 150.00 MHz)"
echo "Info: Max frequency for clock 'clk': 191.61 MHz (PASS at 150.00 MHz)"
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A folder on PATH with the stand-in, and a database's file."""
    program, database = tmp_path / route_xilinx.TOOL, tmp_path / "xc7z020.bin"
    program.write_text(TOOL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    database.write_bytes(b"")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv(route_xilinx.DATABASE, str(database))
    monkeypatch.setenv("HWSEG_SEEN", str(tmp_path / "seen"))
    return tmp_path


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_the_clock_after_routing_is_told(tool):
    assert route_xilinx.installed()
    assert route_xilinx.route(ADDER, "part") == 191.61
    arguments, pins = (tool / "seen").read_text().splitlines()
    assert "--json top.json" in arguments
    assert str(tool / "xc7z020.bin") in arguments
    assert int(pins) == len(route_xilinx.PINS)


def test_what_is_missing_is_a_sentence(tool, monkeypatch):
    monkeypatch.setenv(route_xilinx.DATABASE, str(tool / "none"))
    with pytest.raises(HwsegError, match="must name nextpnr-xilinx's database"):
        route_xilinx.route(ADDER, "part")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert not route_xilinx.installed()
    with pytest.raises(HwsegError, match="nextpnr-xilinx: must be on PATH; install the tools of openXC7"):
        route_xilinx.route(ADDER, "part")


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("", "must tell a clock: it printed nothing"),
        ("Info: done\n", "must tell a clock: Info: done"),
        ("ERROR: no way\nInfo: 1 error\n", "must not fail placing and routing: ERROR: no way"),
    ],
)
def test_a_run_without_a_clock_is_a_sentence(log, sentence):
    with pytest.raises(HwsegError, match=sentence):
        route_xilinx.fmax(log)


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_a_crash_is_told_as_one(tool):
    (tool / route_xilinx.TOOL).write_text("#!/bin/sh\necho Info: placing\nkill -SEGV $$\n")
    with pytest.raises(HwsegError, match=r"crashed \(SIGSEGV\) placing and routing, .*last words: Info: placing"):
        route_xilinx.route(ADDER, "part")
