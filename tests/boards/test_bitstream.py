"""Bitstreams: the open flow with stand-ins for its programs, and what it says where they are missing."""

from __future__ import annotations

import os
import struct
import subprocess

import pytest
from click.testing import CliRunner

from hwseg import models
from hwseg.boards import load_board
from hwseg.boards.zynq7020 import bitstream
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.commands.package import command
from hwseg.errors import HwsegError
from hwseg.files import verify_manifest

BOARD = load_board("pynq-z1")

TOOLS = {
    "nextpnr-xilinx": 'test -s hwseg.json && grep -q PACKAGE_PIN pins.xdc && echo "LUT" > hwseg.fasm',
    "fasm2frames": "cat hwseg.fasm",
    "xc7frames2bit": 'test "$(cat hwseg.frames)" = LUT && cp "$BIT" hwseg.bit',
}


def bit(size: int) -> bytes:
    """A .bit file with that much data."""
    data = b"\xff" * 32 + b"\xaa\x99\x55\x66" + bytes(range(256)) * (size // 256 + 1)
    fields = b"".join(k + struct.pack(">H", len(t)) + t for k, t in ((b"a", b"top\0"), (b"b", b"7z020clg400\0")))
    return struct.pack(">H", 9) + bytes(9) + b"\0\1" + fields + b"e" + struct.pack(">I", size) + data[:size]


@pytest.fixture
def packaged(tmp_path):
    build = compile_model(models.path("nuclei-w8a8"), array="8x1x1", out=tmp_path / "build").path
    package([build], BOARD, tmp_path / "package")
    return tmp_path / "package"


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins on PATH, and a netlist without the minutes of synthesis."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in TOOLS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "made.bit").write_bytes(bit(4_045_564))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BIT", str(tmp_path / "made.bit"))

    def synthesis(commands, work):
        assert commands[-1] == "write_json hwseg.json"
        (work / "hwseg.json").write_text("{}")

    monkeypatch.setattr(bitstream.yosys, "run_script", synthesis)
    return folder


def test_the_chain_leaves_both_forms_and_a_manifest_that_lists_them(packaged, tools, tmp_path):
    steps = []
    bitstream.make_bitstream(packaged, BOARD, tmp_path / "chip.bin", tmp_path, steps.append)
    assert steps == ["yosys: synthesis", *TOOLS]
    made = (packaged / "bitstream" / "hwseg.bit").read_bytes()
    assert made == bit(4_045_564)
    swapped = (packaged / "bitstream" / "hwseg.bit.bin").read_bytes()
    assert len(swapped) == 4_045_564
    assert swapped[32:36] == b"\x66\x55\x99\xaa"
    verify_manifest(packaged)


def test_a_tool_that_refuses_is_quoted_and_leaves_no_bitstream(packaged, tools, tmp_path):
    (tools / "nextpnr-xilinx").write_text(
        '#!/bin/sh\necho "ERROR: Max frequency for clock clk: 99 MHz (FAIL at 150 MHz)"\nexit 1\n'
    )
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: must not fail: ERROR: Max frequency .* \(FAIL at 150 MHz\)"):
        bitstream.make_bitstream(packaged, BOARD, tmp_path / "chip.bin", tmp_path, lambda _: None)
    assert not (packaged / "bitstream").exists()


FAILED = "Info: Max frequency for clock 'clk': 99.00 MHz (FAIL at 150.00 MHz)"
PASSED = "Info: Max frequency for clock 'clk': 160.00 MHz (PASS at 150.00 MHz)"


def test_timing_that_is_not_met_is_refused_even_if_the_tool_ends_well(packaged, tools, tmp_path):
    (tools / "nextpnr-xilinx").write_text(f'#!/bin/sh\necho LUT > hwseg.fasm\necho "{PASSED}"\necho "{FAILED}" >&2\n')
    with pytest.raises(HwsegError, match=r"nextpnr-xilinx: must meet timing: .*99.00 MHz \(FAIL at 150.00 MHz\)"):
        bitstream.make_bitstream(packaged, BOARD, tmp_path / "chip.bin", tmp_path, lambda _: None)
    assert not (packaged / "bitstream").exists()


@pytest.mark.parametrize(("lines", "status"), [((FAILED, PASSED), 0), ((PASSED, FAILED), 1)])
def test_the_script_does_the_same(packaged, tools, tmp_path, lines, status):
    script = "\n".join(f'echo "{line}"' for line in lines)
    (tools / "nextpnr-xilinx").write_text(f"#!/bin/sh\necho LUT > hwseg.fasm\n{script}\n")
    (tools / "yosys").write_text("#!/bin/sh\necho '{}' > hwseg.json\n")
    (tools / "yosys").chmod(0o755)
    environment = {**os.environ, "CHIPDB": "chip.bin", "PRJXRAY_DB": str(tmp_path)}
    done = subprocess.run(
        ["sh", str(packaged / "hardware" / "open.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert (packaged / "bitstream" / "hwseg.bit").exists() == (status == 0)
    assert ("FAIL at" in done.stderr) == (status != 0)


def test_a_bitstream_of_another_device_is_refused(packaged, tools, tmp_path):
    (tmp_path / "made.bit").write_bytes(bit(2_083_740))
    with pytest.raises(HwsegError, match=r"must configure all of xc7z020, about 4045564 bytes, has 2083740"):
        bitstream.make_bitstream(packaged, BOARD, tmp_path / "chip.bin", tmp_path, lambda _: None)
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
