"""Folders that two processes want, and processes that are killed: one sentence, nothing half-written, nothing left."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hwseg import files, locks
from hwseg.errors import HwsegError

KILLS = 40


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, name: str, count: int = 1) -> None:
    with files.build_folder(target) as folder:
        for number in range(count):
            (folder / f"{name}-{number}").write_text(name)


def test_a_second_writer_is_refused_and_the_first_one_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "build"
    sentence = "build: must not be written by two processes at once; wait for the other or choose another folder"
    with files.build_folder(target) as folder:
        (folder / "first").write_text("")
        with pytest.raises(HwsegError, match=sentence):
            write(target, "second")
        write(tmp_path / "build.b", "of another name")
    assert (target / "first").is_file()
    write(target, "third")
    assert listing(tmp_path) == ["build", "build.b"]
    assert (target / "third-0").is_file()


def test_names_that_are_too_long_for_a_suffix_have_locks_of_their_own(tmp_path: Path) -> None:
    one, other = (tmp_path / ("n" * 240 + end) for end in "ab")
    with files.build_folder(one):
        write(other, "other")
    assert listing(tmp_path) == [one.name, other.name]


def test_a_lock_that_a_dead_process_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".build.lock").write_text("")
    write(tmp_path / "build", "a")
    assert listing(tmp_path) == ["build"]


def test_a_lock_that_was_removed_while_it_was_opened_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder ends between our opening and our locking: another may by then hold a new file of that name."""
    path, calls = tmp_path / "lock", []
    real = locks.lock

    def late(handle: int) -> bool:
        calls.append(handle)
        if len(calls) == 1:
            path.unlink()
        return real(handle)

    monkeypatch.setattr(locks, "lock", late)
    with locks.held(path, "place"):
        assert len(calls) == 2
        with open(path) as again:
            assert not real(again.fileno())
    assert listing(tmp_path) == []


def test_where_there_are_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    write(tmp_path / "build", "a")
    assert listing(tmp_path) == ["build"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_link_to_a_folder_is_replaced_and_the_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "build").symlink_to("real")
    if not exchange:
        monkeypatch.setattr(files, "swap", lambda one, other: False)
    write(tmp_path / "build", "new")
    assert listing(tmp_path) == ["build", "real"]
    assert (tmp_path / "real" / "old-0").is_file()
    assert (tmp_path / "build" / "new-0").is_file()
    assert not (tmp_path / "build").is_symlink()


def test_without_an_exchange_a_build_that_was_moved_away_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the two renames."""
    write(tmp_path / "build", "old")
    monkeypatch.setattr(files, "swap", lambda one, other: False)
    (tmp_path / "build").rename(tmp_path / ".build.old-abcdefgh")
    (tmp_path / ".build.new-abcdefgh").mkdir()
    with pytest.raises(KeyboardInterrupt), files.build_folder(tmp_path / "build"):
        raise KeyboardInterrupt
    assert listing(tmp_path) == ["build"]
    files.verify_manifest(tmp_path / "build")


def killed_after(seconds: float, work: object, *arguments: object) -> None:
    """Run `work` in a child, which is killed after so many seconds if it has not ended by then."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)  # type: ignore[operator]
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("exchange", [True, False])
def test_kill_9_leaves_the_old_build_or_the_new_one_and_the_next_run_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    target, moments = tmp_path / "build", random.Random(1)
    if not exchange:
        monkeypatch.setattr(files, "swap", lambda one, other: False)
    began = time.monotonic()
    write(target, "first", 100)
    whole = time.monotonic() - began
    seen, missing = set(), 0
    for number in range(KILLS):
        killed_after(moments.uniform(0, 1.5 * whole), write, target, f"run {number}", 100)
        if exchange or target.exists():
            files.verify_manifest(target)
            names = {path.name.split("-")[0] for path in target.iterdir()} - {"hwseg", "manifest.json"}
            assert len(names) == 1
            seen |= names
        else:
            missing += 1
        if number % 4 == 3:
            with files.build_folder(target, manifest=False) as folder:
                (folder / "tidy").write_text("")
            assert listing(tmp_path) == ["build"]
            write(target, "first", 100)
    assert len(seen) > 2
    assert missing < KILLS // 2
