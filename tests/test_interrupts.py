"""SIGTERM ends a command as Ctrl-C does, a step in work is finished first, and children do not outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hwseg.interrupts import Terminated, deferred, exit_status, terminable

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_becomes_an_exception_that_cleans_up(number: signal.Signals, status: int) -> None:
    before = signal.getsignal(number)
    cleaned = []
    with pytest.raises(KeyboardInterrupt) as stop, terminable():
        try:
            send(number)
            time.sleep(5)
        finally:
            cleaned.append(True)
    assert cleaned == [True]
    assert isinstance(stop.value, Terminated)
    assert str(stop.value) == number.name
    assert exit_status(stop.value) == status
    assert exit_status(KeyboardInterrupt()) == 130
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_step_is_finished_first_and_a_second_signal_acts_at_once(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with terminable(), deferred() as asked:
        assert not asked
        asked.check()
        send(number)
        time.sleep(0.01)
        assert asked
        with pytest.raises(KeyboardInterrupt) as stop:
            asked.check()
        assert exit_status(stop.value) == 128 + number
        with pytest.raises(KeyboardInterrupt):
            send(number)
            time.sleep(5)
    assert {n: signal.getsignal(n) for n in before} == before


def test_what_a_process_was_told_to_ignore_stays_ignored() -> None:
    """As `nohup` does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable(), deferred() as asked:
            send(signal.SIGHUP)
            time.sleep(0.01)
            assert not asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def work() -> None:
        with terminable(), deferred() as asked:
            found.append((signal.getsignal(signal.SIGTERM), bool(asked)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    child = (
        "import time; from hwseg.interrupts import end_with_parent as e; e(); print('up', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    assert process.stdout.read() == ""  # the child had the other end of the pipe
    process.wait()
