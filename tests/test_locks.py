"""A folder in use is refused to others, by one sentence, until its user ends, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.files import build_folder
from hwseg.locks import LONGEST_NAME, in_use, lock_file

HOLDER = """
import sys, time
from hwseg.locks import in_use
with in_use(sys.argv[1], shared=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Another process that holds the lock when this returns."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(folder), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def refused(folder: Path, shared: bool = False) -> str:
    with pytest.raises(HwsegError) as error, in_use(folder, shared=shared):
        pytest.fail("the body must not run")
    return str(error.value)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_in_use_is_refused_with_its_process_and_a_cure(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "run"
    if exists:
        folder.mkdir()
    process = holder(folder)
    try:
        cure = "wait until that ends, or choose another folder"
        assert refused(folder) == f"{folder}: is in use by another hwseg, process {process.pid}; {cure}"
        assert refused(folder, shared=True).startswith(f"{folder}: is in use")
        with pytest.raises(HwsegError, match="is in use by another hwseg"), build_folder(folder):
            pytest.fail("the body must not run")
    finally:
        process.kill()
        process.wait()
    with in_use(folder):  # a killed holder leaves its file, and no lock
        pass
    assert not lock_file(folder).exists()


def test_the_cure_works_the_other_folder_is_free_and_waiting_ends(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    with in_use(tmp_path / "other"):
        pass
    timer = threading.Timer(0.3, process.send_signal, [signal.SIGKILL])
    timer.start()
    start = time.monotonic()
    with in_use(tmp_path / "run", wait=True):
        assert time.monotonic() - start > 0.2
    process.wait()


def test_readers_share_and_writers_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    process = holder(folder, "shared")
    try:
        with in_use(folder, shared=True):
            pass
        assert "is in use by another hwseg;" in refused(folder)
    finally:
        process.kill()
        process.wait()


def test_a_thread_may_take_its_own_lock_again_and_another_may_not(tmp_path: Path) -> None:
    said = []
    with in_use(tmp_path / "run"):
        with in_use(tmp_path / "run"), in_use(tmp_path / "run", shared=True):
            thread = threading.Thread(target=lambda: said.append(refused(tmp_path / "run")))
            thread.start()
            thread.join()
        assert lock_file(tmp_path / "run").exists()
    assert f"process {os.getpid()}" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_every_path_to_a_folder_is_the_same_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    paths = ("real", "link", "./real/", "real/../real", tmp_path / "link")
    assert len({lock_file(path) for path in paths}) == 1


def test_names_of_any_length_and_kind_have_locks_of_their_own(tmp_path: Path) -> None:
    names = ["x" * 255, "x" * 254, "ü" * 127, "a b", "-", "x" * LONGEST_NAME, "x" * (LONGEST_NAME + 1)]
    for name in names:
        with in_use(tmp_path / name):
            assert len(os.fsencode(lock_file(tmp_path / name).name)) <= 255
    assert len({lock_file(tmp_path / name) for name in names}) == len(names)
    assert list(tmp_path.iterdir()) == []


def test_two_threads_never_hold_it_at_once(tmp_path: Path) -> None:
    """Locks are removed and made again while others wait for them."""
    inside, most = [], []

    def work() -> None:
        for _ in range(100):
            with in_use(tmp_path / "run", wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 400
    assert set(most) == {1}
    assert list(tmp_path.iterdir()) == []


def test_a_child_process_does_not_free_its_parents_lock(tmp_path: Path) -> None:
    with in_use(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            try:
                with in_use(tmp_path / "run"):
                    os._exit(1)
            except HwsegError:
                os._exit(7)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert lock_file(tmp_path / "run").exists()


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A folder that cannot be replaced may be read; one that cannot be made is refused by its own name."""
    place = Path("/proc/self/no-folder/build")
    with in_use(place, shared=True) as locked:
        assert not locked
    assert refused(place).startswith("/proc/self/no-folder/build: ")
    assert not (tmp_path / "missing").exists()
    with in_use(tmp_path / "missing" / "build", shared=True):
        pass
    assert not (tmp_path / "missing").exists()


def test_what_only_looks_like_a_lock_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(lock_file(tmp_path / "run"))
    assert str(tmp_path / "run") in refused(tmp_path / "run")
    (tmp_path / "target").write_text("years of work")
    lock_file(tmp_path / "other").symlink_to("target")
    assert str(tmp_path / "other") in refused(tmp_path / "other")
    assert (tmp_path / "target").read_text() == "years of work"
