"""Bitstreams: the open flow with stand-ins for its programs, and what it says where they are missing, fail or crash."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwseg.boards import load_board
from hwseg.boards.zynq7020 import bitstream, route
from hwseg.boards.zynq7020.bitstream import Effort
from hwseg.boards.zynq7020.package import archive as write_archive
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.caches import cache_folder
from hwseg.commands.package import command
from hwseg.errors import HwsegError
from hwseg.files import verify_manifest
from hwseg.runtime import read_package
from hwseg.toolchain.running import Limit
from tests.quant.models import random_unet
from tests.toolchain.test_running import gone

BOARD = load_board("pynq-z1")

FAILED = "Info: Max frequency for clock 'clk': 99.00 MHz (FAIL at 150.00 MHz)"
PASSED = "Info: Max frequency for clock 'clk': 160.00 MHz (PASS at 150.00 MHz)"

TOOLS = {
    "nextpnr-xilinx": f'test -s hwseg.json && grep -q PACKAGE_PIN pins.xdc && echo LUT > hwseg.fasm && echo "{PASSED}"',
    "fasm2frames": "cat hwseg.fasm",
    "xc7frames2bit": 'test "$(cat hwseg.frames)" = LUT && cp "$BIT" hwseg.bit',
}

NETLIST = {"modules": {"hwseg_zynq": {"cells": {}}}}


def bit(size: int) -> bytes:
    """A .bit file with that much data."""
    data = b"\xff" * 32 + b"\xaa\x99\x55\x66" + bytes(range(256)) * (size // 256 + 1)
    fields = b"".join(k + struct.pack(">H", len(t)) + t for k, t in ((b"a", b"top\0"), (b"b", b"7z020clg400\0")))
    return struct.pack(">H", 9) + bytes(9) + b"\0\1" + fields + b"e" + struct.pack(">I", size) + data[:size]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    return compile_model(random_unet(1, folder), array="8x1x1", out=folder / "build", planes=6).path


@pytest.fixture
def packaged(build, tmp_path):
    package([build], BOARD, tmp_path / "package")
    return tmp_path / "package"


class Tools:
    """Stand-ins on PATH: `set` changes one.  synthesized: how often there was a synthesis."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.synthesized, self.netlist = folder, 0, NETLIST

    def set(self, name: str, script: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def synthesis(self, commands, work, log, heard, limit):
        assert commands[-1] == "write_json hwseg.json"
        assert (work / "top.v").is_file()
        self.synthesized += 1
        log.write_text("2.1. Executing SYNTH pass.\n")
        heard("2.1. Executing SYNTH pass.")
        (work / "hwseg.json").write_text(json.dumps(self.netlist))


@pytest.fixture
def tools(build, tmp_path, monkeypatch):
    """Stand-ins on PATH, a netlist without the minutes of synthesis, and a cache without netlists and routes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    result = Tools(folder)
    for name, script in TOOLS.items():
        result.set(name, script)
    (tmp_path / "made.bit").write_bytes(bit(4_045_564))
    (tmp_path / "chip.bin").write_bytes(b"chip")
    (tmp_path / "cache" / "hwseg").mkdir(parents=True)
    (tmp_path / "cache" / "hwseg" / "engines").symlink_to(cache_folder("engines"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BIT", str(tmp_path / "made.bit"))
    monkeypatch.setattr(route.yosys, "run_followed", result.synthesis)
    monkeypatch.setattr(route.yosys, "version", lambda: "0.0")
    return result


def never(clock_mhz, note):
    raise AssertionError(f"no other clock was needed, {clock_mhz} MHz")


def make(packaged, tmp_path, steps=None, slower=never, **effort):
    said = [] if steps is None else steps
    return bitstream.make_bitstream(
        packaged, BOARD, tmp_path / "chip.bin", tmp_path, lambda *words: said.append(words), slower, Effort(**effort)
    )


def test_the_chain_leaves_both_forms_logs_and_a_manifest_that_lists_them(packaged, tools, tmp_path):
    steps = []
    made = make(packaged, tmp_path, steps)
    assert [step for step, said in steps if not said] == [
        *("yosys: synthesis", "nextpnr-xilinx: seed 1", "nextpnr-xilinx: seed 1: 160.00 MHz"),
        *("fasm2frames", "xc7frames2bit"),
    ]
    assert ("yosys: synthesis", "2.1. Executing SYNTH pass.") in steps
    assert ("nextpnr-xilinx: seed 1", PASSED) in steps
    content = (packaged / "bitstream" / "hwseg.bit").read_bytes()
    assert content == bit(4_045_564)
    swapped = (packaged / "bitstream" / "hwseg.bit.bin").read_bytes()
    assert len(swapped) == 4_045_564
    assert swapped[32:36] == b"\x66\x55\x99\xaa"
    verify_manifest(packaged)
    assert PASSED in (packaged / "reports" / "nextpnr-seed-1.log").read_text()
    assert "SYNTH" in (packaged / "reports" / "yosys.log").read_text()
    told = json.loads((packaged / "bitstream" / "routed.json").read_text())
    assert (told["clock_mhz"], told["routed_mhz"], told["seed"], told["why"]) == (150.0, 160.0, 1, made.told)
    assert "150.000 MHz were asked for, and nextpnr-xilinx routed 160.00 MHz with seed 1 (slow corner; " in made.told


def test_a_package_keeps_bitstream_and_logs_when_a_model_is_added(packaged, tools, build, tmp_path):
    make(packaged, tmp_path)
    before = {p: p.read_bytes() for p in packaged.rglob("*") if p.parent.name in ("bitstream", "reports")}
    assert len(before) == 7
    package([build], BOARD, packaged)
    assert {p: p.read_bytes() for p in before} == before
    verify_manifest(packaged)
    (packaged / "bitstream" / "hwseg.bit").write_bytes(bit(4_045_000))  # another tool's
    package([build], BOARD, packaged)
    assert not (packaged / "bitstream" / "routed.json").exists()
    assert not (packaged / "reports").exists()


def test_a_tool_that_refuses_is_quoted_and_leaves_no_bitstream_but_its_log(packaged, tools, tmp_path):
    tools.set("nextpnr-xilinx", 'echo "ERROR: Unable to place cell"\nexit 1')
    before = (packaged / "manifest.json").read_bytes()
    rule = (
        r"nextpnr-xilinx: must not fail placing and routing with seed 1, .*: ERROR: Unable to place cell; try another"
    )
    with pytest.raises(HwsegError, match=rule):
        make(packaged, tmp_path)
    assert not (packaged / "bitstream").exists()
    assert "Unable to place" in (packaged / "reports" / "failed" / "nextpnr-seed-1.log").read_text()
    assert (packaged / "manifest.json").read_bytes() == before
    read_package(packaged)


def test_a_crash_is_told_as_a_crash(packaged, tools, tmp_path):
    tools.set("nextpnr-xilinx", 'echo "Info: Running HeAP"\nkill -SEGV $$')
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: crashed \(SIGSEGV\) .* seed 1, .*words: Info: Running HeAP"):
        make(packaged, tmp_path)
    tools.set("nextpnr-xilinx", f'echo "{PASSED}"\nkill -ABRT $$')
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: crashed \(SIGABRT\)"):
        make(packaged, tmp_path)
    tools.set("nextpnr-xilinx", "echo LUT > hwseg.fasm\necho Info: Done")
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: must tell the clock that it routed: Info: Done"):
        make(packaged, tmp_path)
    tools.set("nextpnr-xilinx", f'echo "{PASSED}"')
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: must write hwseg.fasm"):
        make(packaged, tmp_path)
    tools.set("nextpnr-xilinx", TOOLS["nextpnr-xilinx"])
    tools.set("fasm2frames", "echo 'KeyError: HCLK_CMT' >&2\nexit 1")
    with pytest.raises(HwsegError, match=r"fasm2frames: must not fail packing the bitstream, .*: KeyError: HCLK_CMT"):
        make(packaged, tmp_path)
    assert "HCLK_CMT" in (packaged / "reports" / "failed" / "fasm2frames.log").read_text()
    assert not (packaged / "bitstream").exists()


def test_a_clock_that_is_demanded_and_missed_is_refused(packaged, tools, tmp_path):
    tools.set("nextpnr-xilinx", f'echo LUT > hwseg.fasm\necho "{PASSED}"\necho "{FAILED}" >&2')
    rule = r"nextpnr-xilinx: must meet timing: 99.00 MHz of 150.000 with seed 1; leave out --require-clock"
    with pytest.raises(HwsegError, match=rule):
        make(packaged, tmp_path, require_clock=True)
    assert not (packaged / "bitstream").exists()


@pytest.mark.parametrize("mhz", ["nan", "inf", "-5.00", "0.00", "1.2.3", ".", "9" * 40])
def test_the_last_word_on_the_clock_must_be_a_number(mhz, packaged, tools, tmp_path):
    """What was estimated before routing does not stand for it."""
    line = PASSED.replace("160.00", mhz)
    tools.set("nextpnr-xilinx", f'echo LUT > hwseg.fasm\necho "{PASSED}"\necho "{line}"')
    rule = rf"nextpnr-xilinx: must tell the clock that it routed in MHz, says '{re.escape(mhz)}' of clk"
    with pytest.raises(HwsegError, match=rule):
        make(packaged, tmp_path)
    assert not (packaged / "bitstream").exists()


def test_the_clock_is_below_what_was_missed_whatever_the_verdict_says():
    """A verdict on another clock than the one that was asked for is none, and what failed is not taken as it is."""
    for line, met, most in (
        ("140.00 MHz (PASS at 12.00 MHz)", False, 139.995),
        ("160.00 MHz (FAIL at 150.00 MHz)", False, 149.995),
        ("150.00 MHz (FAIL at 150.00 MHz)", False, 149.995),
        ("160.00 MHz", True, 149.995),
        ("140.00 MHz", False, 139.995),
    ):
        mhz, found = route.clock_of(f"Info: Max frequency for clock 'clk': {line}", 150.0)
        assert found == met
        assert route.Routed(1, mhz, found).most(150.0) == pytest.approx(most)


def test_a_design_that_is_slower_than_any_clock_is_told_as_that(packaged, tools, tmp_path):
    tools.set("nextpnr-xilinx", f'echo LUT > hwseg.fasm\necho "{FAILED.replace("99.00", "0.90")}"')
    rule = r"nextpnr-xilinx: no clock of pynq-z1, all from 1 MHz on, is as slow as 0.895 MHz; choose a smaller array"
    with pytest.raises(HwsegError, match=rule):
        make(packaged, tmp_path)
    assert not (packaged / "bitstream").exists()


def test_what_else_a_tool_leaves_is_not_kept(packaged, tools, tmp_path):
    left = "rm hwseg.json; mkdir left; mkfifo left/pipe; ln -s /etc/passwd link; echo LUT > hwseg.fasm"
    tools.set("nextpnr-xilinx", f'{left}\necho "{PASSED}"')
    make(packaged, tmp_path)
    (entry,) = cache_folder("routes").iterdir()
    assert sorted(p.name for p in entry.iterdir()) == ["hwseg-seal.json", "hwseg.fasm", "log", "pins.xdc"]
    tools.set("nextpnr-xilinx", f'ln -s /etc/passwd hwseg.fasm\necho "{PASSED}"')
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: must write hwseg.fasm placing and routing with seed 1"):
        make(packaged, tmp_path)


SEEDS = """
while [ "$1" != --seed ]; do shift; done
echo LUT > hwseg.fasm
case $2 in
    1) echo "Info: Max frequency for clock 'clk': 110.00 MHz (FAIL at 150.00 MHz)" ;;
    2) echo "Info: crashing"; kill -SEGV $$ ;;
    3) echo "Info: Max frequency for clock 'clk': 140.00 MHz (FAIL at 150.00 MHz)"
       echo "Info: Max frequency for clock   'b': 300.00 MHz (PASS at 150.00 MHz)"
       echo "Info: Max frequency for clock 'clk': 120.30 MHz (FAIL at 150.00 MHz)" ;;
    *) echo "ERROR: no"; exit 1 ;;
esac
"""


def test_the_best_of_some_seeds_is_taken_and_each_one_told(packaged, tools, build, tmp_path):
    """The clock follows what was routed, in package, constraints, programs, reports and the driver's PLL setting."""
    tools.set("nextpnr-xilinx", SEEDS)
    arguments = [str(build), "--board", "pynq-z1", "-o", str(packaged), "--bitstream", "--seeds", "4"]
    arguments += ["--chipdb", str(tmp_path / "chip.bin"), "--prjxray-db", str(tmp_path)]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.exception
    for said in (
        *("seed 1: 110.00 MHz", "seed 2: nextpnr-xilinx: crashed (SIGSEGV)", "seed 3: 120.30 MHz"),
        *("seed 4: nextpnr-xilinx: must not fail", "seed 3, 3 of 4", "at 118.182 MHz"),
    ):
        assert said in done.stderr + done.stdout
    why = (
        "150.000 MHz were asked for, nextpnr-xilinx routed 120.30 MHz with seed 3 (slow corner; the tool as it is "
        "published does not time block RAMs, DSP slices and the PS7), so everything is for 118.182 MHz, the nearest "
        "below that FCLK0 can have (ARM PLL / 11)"
    )
    assert why in done.stdout
    verify_manifest(packaged)
    found = read_package(packaged)
    assert found.board.clock_mhz == pytest.approx(1300 / 11)
    assert (found.board.fclk_pll, found.board.fclk_divisors) == ("arm", (11, 1))
    hardware = packaged / "hardware"
    assert "-period 8.462 " in (hardware / "timing.xdc").read_text()
    assert "--freq 118.182 " in (hardware / "open.sh").read_text()
    assert why in (packaged / "README.md").read_text()
    told = json.loads((packaged / "bitstream" / "routed.json").read_text())
    assert [row["mhz"] for row in told["seeds"]] == [110.0, None, 120.3, None]
    assert (told["seed"], told["why"], told["clock_mhz"]) == (3, why, pytest.approx(1300 / 11))
    (name,) = found.models
    model = packaged / "models" / name
    report = json.loads((model / "report.json").read_text())
    assert report["clock_mhz"] == pytest.approx(1300 / 11)
    assert why in report["warnings"]
    assert (report["planes"], report["array"]) == (6, "8x1x1")
    again = compile_model(
        random_unet(1, tmp_path), array="8x1x1", out=tmp_path / "again", clock_mhz=1300 / 11, planes=6
    ).path
    for file in ("program.bin", "weights.bin", "memory.json"):
        assert (model / file).read_bytes() == (again / file).read_bytes()
    assert (model / "program.bin").read_bytes() != (build / "program.bin").read_bytes()
    assert (hardware / "top.v").read_bytes() == (build / "top.v").read_bytes()
    assert sorted(p.name for p in (packaged / "reports").iterdir()) == [
        *("fasm2frames.log", "nextpnr-seed-1.log", "nextpnr-seed-2.log", "nextpnr-seed-3.log", "nextpnr-seed-4.log"),
        *("xc7frames2bit.log", "yosys.log"),
    ]
    assert sorted(p.name for p in packaged.parent.iterdir() if p.name.startswith(".")) == []

    # What is finished is not done again, and is not given up before there is another.
    before = {p: p.read_bytes() for p in packaged.rglob("*") if p.is_file()}
    tools.set("fasm2frames", "echo no >&2; exit 1")
    done = CliRunner().invoke(command, arguments)
    assert "fasm2frames: must not fail packing the bitstream" in str(done.exception)
    assert tools.synthesized == 1
    assert {p: p.read_bytes() for p in before} == before
    assert "no" in (packaged / "reports" / "failed" / "fasm2frames.log").read_text()
    write_archive(packaged, tmp_path / "package.zip")
    tools.set("fasm2frames", "cat hwseg.fasm")
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.exception
    assert not (packaged / "reports" / "failed").exists()
    verify_manifest(packaged)


def test_a_build_of_another_hwseg_is_refused_before_hours_are_spent(tools, build, tmp_path):
    other = shutil.copytree(build, tmp_path / "other")
    (other / "top.v").write_text((build / "top.v").read_text() + "// another\n")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["top.v"] = hashlib.sha256((other / "top.v").read_bytes()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    arguments = [str(other), "--board", "pynq-z1", "-o", str(tmp_path / "out"), "--bitstream"]
    arguments += ["--chipdb", str(tmp_path / "chip.bin"), "--prjxray-db", str(tmp_path)]
    done = CliRunner().invoke(command, arguments)
    assert "was compiled by another hwseg, whose engine is not this one's; compile it again" in str(done.exception)
    assert tools.synthesized == 0
    assert not (tmp_path / "out").exists()


def test_at_the_time_limit_what_is_finished_is_kept(packaged, tools, tmp_path):
    tools.set("nextpnr-xilinx", 'echo "Info: placing"\nsleep 60')
    begun = time.monotonic()
    rule = r"nextpnr-xilinx: did not finish placing and routing with seed 1 within the 0.05 minutes of --time-limit"
    with pytest.raises(HwsegError, match=rule):
        make(packaged, tmp_path, limit=Limit(3))
    assert time.monotonic() - begun < 20
    assert "placing" in (packaged / "reports" / "failed" / "nextpnr-seed-1.log").read_text()
    script = TOOLS["nextpnr-xilinx"]
    tools.set("nextpnr-xilinx", f'{script}\ncase "$*" in *"--seed 2"*) sleep 60 ;; esac')
    make(packaged, tmp_path)
    made = make(packaged, tmp_path, seeds=(1, 2, 3), limit=Limit(1.5))
    assert [run.mhz for run in made.runs] == [160.0, None]
    assert "did not finish" in made.runs[1].failed
    assert made.told.startswith("150.000 MHz were asked for, and nextpnr-xilinx routed 160.00 MHz with seed 1")
    assert (packaged / "bitstream" / "hwseg.bit").is_file()
    assert tools.synthesized == 1


DRIVER = """
import json, sys
from hwseg.boards.zynq7020 import route
from hwseg.cli import main

def synthesis(commands, work, log, heard, limit):
    print("synthesized", flush=True)
    log.write_text("SYNTH")
    (work / "hwseg.json").write_text(json.dumps({"modules": {"hwseg_zynq": {"cells": {}}}}))

route.yosys.run_followed = synthesis
route.yosys.version = lambda: "0.0"
main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_package_and_what_is_finished(number, packaged, tools, build, tmp_path):
    tools.set("nextpnr-xilinx", f'echo $$ > "{tmp_path}/self"\nsleep 60 &\necho $! > "{tmp_path}/child"\nwait')
    arguments = ["package", str(build), "--board", "pynq-z1", "-o", str(packaged), "--bitstream"]
    arguments += ["--chipdb", str(tmp_path / "chip.bin"), "--prjxray-db", str(tmp_path)]
    run = [sys.executable, "-c", DRIVER, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    before = (packaged / "manifest.json").read_bytes()
    with subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (tmp_path / "child").is_file() or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(0.2)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "interrupted" in err
    assert "synthesized" in out
    for name in ("self", "child"):
        assert gone(tmp_path / name)
    assert (packaged / "manifest.json").read_bytes() == before
    assert not (packaged / "bitstream").exists()
    assert not [p for p in packaged.parent.iterdir() if p.name.startswith(".")]
    if number == signal.SIGTERM:  # once is enough
        return
    tools.set("nextpnr-xilinx", TOOLS["nextpnr-xilinx"])
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "synthesized" not in done.stdout
    assert (packaged / "bitstream" / "hwseg.bit").is_file()


@pytest.mark.parametrize(("lines", "status"), [((FAILED, PASSED), 0), ((PASSED, FAILED), 1)])
def test_the_script_does_the_same(packaged, tools, tmp_path, lines, status):
    script = "\n".join(f'echo "{line}"' for line in lines)
    tools.set("nextpnr-xilinx", f'echo "$@" > arguments\necho LUT > hwseg.fasm\n{script}')
    tools.set("yosys", "echo '{}' > hwseg.json")
    environment = {**os.environ, "CHIPDB": "chip.bin", "PRJXRAY_DB": str(tmp_path), "SEED": "7"}
    done = subprocess.run(
        ["sh", str(packaged / "hardware" / "open.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert (packaged / "bitstream" / "hwseg.bit").exists() == (status == 0)
    assert ("FAIL at" in done.stderr) == (status != 0)
    assert "--seed 7 --timing-allow-fail" in (packaged / "hardware" / "arguments").read_text()


def test_a_bitstream_of_another_device_is_refused(packaged, tools, tmp_path):
    (tmp_path / "made.bit").write_bytes(bit(2_083_740))
    with pytest.raises(HwsegError, match=r"must configure all of xc7z020, about 4045564 bytes, has 2083740"):
        make(packaged, tmp_path)
    for script, sentence in (
        ("exit 0", r"xc7frames2bit: must write hwseg.bit, but did not; check that the databases are of this part"),
        ("ln -s /dev/zero hwseg.bit", r"xc7frames2bit: must write hwseg.bit, but did not"),
        (": > hwseg.bit", r"xc7frames2bit: hwseg.bit: must be a .bit file, ends too early"),
        (
            "truncate -s 3G hwseg.bit",
            r"xc7frames2bit: must write a bitstream of at most 67108864 bytes, wrote 3221225472",
        ),
    ):
        tools.set("xc7frames2bit", script)
        with pytest.raises(HwsegError, match=sentence):
            make(packaged, tmp_path)
    assert not (packaged / "bitstream").exists()


def test_what_is_missing_is_listed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = [str(tmp_path / "build"), "--board", "pynq-z1", "-o", str(tmp_path / "out"), "--bitstream"]
    done = CliRunner().invoke(command, [*arguments, "--chipdb", str(tmp_path / "none.bin")])
    told = str(done.exception)
    for missing in ("nextpnr-xilinx", "fasm2frames", "xc7frames2bit", "none.bin is no file", "--prjxray-db FOLDER"):
        assert missing in told
    assert "https://github.com/openXC7" in told
    assert not (tmp_path / "out").exists()


def test_options_of_the_bitstream_go_with_it_alone(tmp_path):
    for option in (["--seed", "2"], ["--seeds", "3"], ["--time-limit", "5"], ["--require-clock"]):
        done = CliRunner().invoke(command, [str(tmp_path), "--board", "pynq-z1", *option])
        assert "go with --bitstream alone; add --bitstream" in str(done.exception)
    for limit in ("nan", "inf"):
        done = CliRunner().invoke(command, [str(tmp_path), "--board", "pynq-z1", "--bitstream", "--time-limit", limit])
        assert f"--time-limit: must be a number of minutes, is {limit}; leave it out" in str(done.exception)


def test_what_the_tool_can_never_place_does_not_reach_it(packaged, tools, build, tmp_path):
    carry = {"type": "CARRY4", "connections": {"S": ["0"] * 4, "DI": ["0"] * 4}, "port_directions": {}}
    tools.netlist = {"modules": {"hwseg_zynq": {"cells": {str(number): carry for number in range(6651)}}}}
    tools.set("nextpnr-xilinx", "echo ERROR: it ran\nexit 1")
    arguments = [str(build), "--board", "pynq-z1", "-o", str(packaged), "--bitstream"]
    arguments += ["--chipdb", str(tmp_path / "chip.bin"), "--prjxray-db", str(tmp_path)]
    done = CliRunner().invoke(command, arguments)
    assert str(done.exception).startswith("nextpnr-xilinx: can place 6,650 of the xc7z020's 13,300 CARRY4, the design")
    assert not (packaged / "bitstream").exists()
    assert (packaged / "reports" / "failed" / "yosys.log").is_file()
