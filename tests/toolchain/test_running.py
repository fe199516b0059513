"""Tools that run for long: heard, limited, ended with all that they started, and told as crashed where they crash."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hwseg.borders import crash_of, finished
from hwseg.errors import HwsegError
from hwseg.toolchain import yosys
from hwseg.toolchain.running import CUT, Limit, TimeOver, run_logged


def gone(path: Path) -> bool:
    """Whether the process whose number a file holds has ended."""
    number = int(path.read_text())
    for _ in range(50):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_lines_are_heard_and_kept_and_results_go_elsewhere(tmp_path):
    heard: list[str] = []
    script = "echo one; echo two >&2; printf 'three\\rfour\\n\\377five\\n'; cat; exit 3"
    assert run_logged(["sh", "-c", script], tmp_path, tmp_path / "log", heard.append, Limit(), "given\n") == 3
    assert sorted(heard) == sorted(["one", "two", "three", "four", "\ufffdfive", "given"])
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree\rfour\n\xfffive\ngiven\n"
    script = "echo result; echo said >&2"
    assert run_logged(["sh", "-c", script], tmp_path, tmp_path / "l", heard.append, Limit(), output=tmp_path / "o") == 0
    assert ((tmp_path / "o").read_text(), (tmp_path / "l").read_text()) == ("result\n", "said\n")


@pytest.mark.parametrize("lines", [19, 21, 5000])
def test_of_a_log_that_is_too_long_beginning_and_end_are_kept(lines, tmp_path, monkeypatch):
    monkeypatch.setattr("hwseg.toolchain.running.HALF", 100)
    script = f"seq -f %09g {lines}"
    assert run_logged(["sh", "-c", script], tmp_path, tmp_path / "log", lambda _: None, Limit()) == 0
    whole = "".join(f"{number:09d}\n" for number in range(1, lines + 1)).encode()
    kept = whole if lines <= 20 else whole[:100] + CUT + whole[-100:]
    assert (tmp_path / "log").read_bytes() == kept


STUBBORN = "trap '' TERM; sleep 60 & echo $! > child; echo $$ > self; echo ready; wait; wait; wait; sleep 60"


def test_at_the_limit_the_tool_and_what_it_started_have_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("hwseg.toolchain.running.GRACE", 0.2)
    begun = time.monotonic()
    with pytest.raises(TimeOver):
        run_logged(["sh", "-c", STUBBORN], tmp_path, tmp_path / "log", lambda _: None, Limit(3.0))
    assert time.monotonic() - begun < 30
    assert gone(tmp_path / "self")
    assert gone(tmp_path / "child")
    assert (tmp_path / "log").read_text() == "ready\n"
    error = Limit(90).error("nextpnr-xilinx", "routing", "allow more")
    assert "nextpnr-xilinx: did not finish routing within the 1.5 minutes of --time-limit; allow more" in str(error)


def test_an_interrupt_ends_the_tool_and_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("hwseg.toolchain.running.GRACE", 0.2)

    def heard(line: str) -> None:
        assert line == "ready"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_logged(["sh", "-c", STUBBORN], tmp_path, tmp_path / "log", heard, Limit())
    assert gone(tmp_path / "self")
    assert gone(tmp_path / "child")


def test_a_child_that_holds_the_pipe_does_not_hold_the_command(tmp_path):
    begun = time.monotonic()
    script = "sleep 60 & echo $! > child; echo done"
    assert run_logged(["sh", "-c", script], tmp_path, tmp_path / "log", lambda _: None, Limit()) == 0
    assert time.monotonic() - begun < 10
    assert gone(tmp_path / "child")


def test_a_tool_that_closes_its_output_is_waited_for_and_limited(tmp_path):
    script = "exec >&- 2>&-; sleep 0.5; exit 4"
    assert run_logged(["sh", "-c", script], tmp_path, tmp_path / "log", lambda _: None, Limit()) == 4
    with pytest.raises(TimeOver):
        run_logged(["sh", "-c", script.replace("0.5", "60")], tmp_path, tmp_path / "log", lambda _: None, Limit(0.5))


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
@pytest.mark.parametrize("shell", [False, True])
def test_a_crash_is_told_as_one(number, shell, tmp_path):
    """Also where a shell around the tool makes an exit status of it."""
    inner = f"import os, sys; print('Info: placing', flush=True); os.kill(os.getpid(), {int(number)})"
    command = [sys.executable, "-c", inner]
    if shell:
        command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    status = run_logged(command, tmp_path, tmp_path / "log", lambda _: None, Limit())
    assert crash_of(status) == number.name
    rule = (
        rf"nextpnr-xilinx: crashed \({number.name}\) while routing, and your files are not to blame; its last words: "
    )
    with pytest.raises(HwsegError, match=rule):
        finished("nextpnr-xilinx", "while routing", status, (tmp_path / "log").read_text(), "try another seed")


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_yosys_is_heard_step_by_step_and_its_error_told(tmp_path):
    (tmp_path / "a.v").write_text("module a(input x, output y); assign y = ~x; endmodule\n")
    heard: list[str] = []
    commands = ["read_verilog a.v", "hierarchy -top a", "write_json a.json"]
    yosys.run_followed(commands, tmp_path, tmp_path / "log", heard.append, Limit())
    assert any("Executing HIERARCHY pass" in line for line in heard)
    assert (tmp_path / "a.json").is_file()
    with pytest.raises(HwsegError, match=r"yosys: must not fail in its script, .*ERROR"):
        yosys.run_followed(["hierarchy -top none"], tmp_path, tmp_path / "log2", heard.append, Limit())


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells a child only there")
def test_a_tool_does_not_outlive_a_killed_parent(tmp_path):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.dup2(writer, 1)
        run_logged(
            ["sh", "-c", "echo $$ > self; echo ready; sleep 60"],
            tmp_path,
            tmp_path / "log",
            lambda line: os.write(writer, b"x") and None,
            Limit(),
        )
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert gone(tmp_path / "self")
