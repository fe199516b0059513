"""The command line: quick to start, one line per fault, and the exit codes that scripts rely on."""

from __future__ import annotations

import errno
import importlib
import json
import subprocess
import sys
import time

import click
import pytest

from hwseg import cli
from hwseg.errors import HwsegError


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    out, err = capfd.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `hwseg doctor` raise `error`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: click.Command("doctor", callback=fail))


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['hwseg', '--help']\n"
        "from hwseg.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'onnx', 'torch', 'amaranth', 'rich', 'PIL', 'cocotb'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 3  # 0.06 s alone; a loaded machine is no reason to fail
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: hwseg" in done.stdout


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if cli._exists(name)])
def test_each_command_is_named_and_summarized_as_listed(name: str) -> None:
    command = importlib.import_module(f"hwseg.commands.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if cli._exists(name)])
def test_each_command_has_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, name, "--help")
    assert (status, err) == (0, "")
    assert f"Usage: hwseg {name}" in out


def test_user_fault_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, HwsegError("enc1/Conv_3", "groups must be 1,\n not 4", "use a dense convolution"))
    assert run(capfd, "doctor") == (2, "", "hwseg: enc1/Conv_3: groups must be 1, not 4; use a dense convolution\n")


def test_interrupt_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    status, out, err = run(capfd, "doctor")
    assert (status, out, err.strip()) == (130, "", "hwseg: interrupted")


def test_full_disk_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "out/weights.bin"))
    expected = "hwseg: out/weights.bin: the disk is full; free space or write elsewhere\n"
    assert run(capfd, "doctor") == (2, "", expected)


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize("arguments", [["nothing-of-this-name"], ["doctor", "--no-such-option"], ["doctor", "extra"]])
def test_wrong_usage_is_status_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, *arguments)
    assert (status, out) == (2, "")
    assert "Traceback" not in err


def test_a_comparison_that_fails_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: click.Command("doctor", callback=lambda: 1))
    assert run(capfd, "doctor")[0] == 1


def test_doctor_lists_what_is_there_and_cures_what_is_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    status, out, _ = run(capfd, "doctor", "--json")
    tools = {tool["name"]: tool for tool in json.loads(out)}
    assert status == 0
    assert tools["onnx"]["version"] == "1.22.0"
    assert tools["onnx"]["cure"] is None
    for name in ("g++", "make", "perl", "vivado", "nextpnr-xilinx"):
        assert tools[name]["version"] is None
        assert tools[name]["cure"]


def test_doctor_fails_when_the_base_is_incomplete(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from hwseg.toolchain import inventory

    broken = inventory.Tool("onnx", None, "reading models", True, "pip install onnx==1.22.0")
    monkeypatch.setattr(inventory, "inventory", lambda: (broken,))
    status, out, _ = run(capfd, "doctor")
    assert status == 1
    assert "pip install onnx==1.22.0" in out
