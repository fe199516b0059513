"""Outputs are whole or absent, belong to hwseg or are left alone, and archives stay in their folder."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from hwseg import files
from hwseg.errors import HwsegError
from tests.faults.crash import crashes


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_write_whole_replaces_the_content(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    files.write_whole(target, b"old")
    files.write_whole(target, b"new content")
    assert target.read_bytes() == b"new content"
    assert listing(tmp_path) == ["new", "new/a.bin"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o400


def test_write_whole_leaves_the_old_file_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(HwsegError, match=r"a\.bin: the disk is full; free space"):
        files.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert listing(tmp_path) == ["a.bin"]


def test_write_whole_refuses_what_a_rename_would_make_a_file_of(tmp_path: Path) -> None:
    """As root, `--json /dev/stdout` would be a file for everybody from then on."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(HwsegError, match=r"must be a file, no pipe or device; choose another path"):
            files.write_whole(tmp_path / name, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_write_whole_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match="must be a file, not a folder"):
        files.write_whole(tmp_path, b"")


def test_build_folder_appears_whole_with_marker_and_manifest(tmp_path: Path) -> None:
    target = tmp_path / "build"
    with files.build_folder(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "b.bin").write_bytes(b"b")
        (folder / "a.bin").write_bytes(b"a")
        assert not target.exists()
    assert listing(tmp_path) == [
        "build",
        "build/a.bin",
        "build/hwseg-build.json",
        "build/manifest.json",
        "build/sub",
        "build/sub/b.bin",
    ]
    assert list(json.loads((target / "manifest.json").read_text())) == ["a.bin", "hwseg-build.json", "sub/b.bin"]
    files.verify_manifest(target)


def test_build_folder_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with files.build_folder(tmp_path / name) as folder:
            (folder / "a").write_bytes(b"a")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_build_folder_replaces_an_older_build_completely(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with files.build_folder(tmp_path / "build") as folder:
            (folder / name).write_text(name)
    assert listing(tmp_path) == ["build", "build/hwseg-build.json", "build/manifest.json", "build/new"]


def test_build_folder_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    with files.build_folder(tmp_path / "build") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "build" / "a").is_file()


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyboardInterrupt(), HwsegError("a", "b")])
def test_build_folder_that_fails_leaves_nothing_and_keeps_the_old_build(tmp_path: Path, failure: BaseException) -> None:
    with files.build_folder(tmp_path / "build") as folder:
        (folder / "a").write_text("old")
    before = listing(tmp_path)
    with pytest.raises(type(failure)), files.build_folder(tmp_path / "build") as folder:
        (folder / "a").write_text("new")
        raise failure
    assert listing(tmp_path) == before
    assert (tmp_path / "build" / "a").read_text() == "old"


def test_build_folder_on_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(HwsegError, match="build: the disk is full; free space or write elsewhere"),
        files.build_folder(tmp_path / "build") as folder,
    ):
        (folder / "a").write_text("a")
        full_disk()
    assert listing(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device_is_the_same_sentence(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match="the disk is full"), files.build_folder(tmp_path / "build"):
        Path("/dev/full").write_text("a")
    assert listing(tmp_path) == []


def test_build_folder_names_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match=r"input\.png: must exist"), files.build_folder(tmp_path / "build"):
        (tmp_path / "input.png").read_bytes()


@pytest.mark.parametrize("owner", [None, "hwseg-package", 7])
def test_build_folder_refuses_what_is_not_its_own(tmp_path: Path, owner: object) -> None:
    target = tmp_path / "build"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    if owner is not None:
        (target / files.MARKER).write_text(json.dumps({"owner": owner}))
    before = listing(tmp_path)
    sentence = "was not written by hwseg-build; choose another folder or remove it"
    with pytest.raises(HwsegError, match=sentence), files.build_folder(target):
        pytest.fail("the body must not run")
    assert listing(tmp_path) == before


def test_build_folder_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file")
    with pytest.raises(HwsegError, match="must be a folder, not a file"), files.build_folder(tmp_path / "build"):
        pytest.fail("the body must not run")
    assert (tmp_path / "build").read_text() == "a file"


def test_build_folder_checks_again_before_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "build"
    with pytest.raises(HwsegError, match="was not written by"), files.build_folder(target):
        target.mkdir()
        (target / "thesis.tex").write_text("arrived meanwhile")
    assert listing(tmp_path) == ["build", "build/thesis.tex"]


def built(tmp_path: Path) -> Path:
    with files.build_folder(tmp_path / "build") as folder:
        (folder / "weights.bin").write_bytes(bytes(100))
    return tmp_path / "build"


def test_manifest_finds_one_flipped_bit(tmp_path: Path) -> None:
    folder = built(tmp_path)
    (folder / "weights.bin").write_bytes(bytes(99) + b"\1")
    with pytest.raises(HwsegError, match=r"weights\.bin: was changed: SHA-256"):
        files.verify_manifest(folder)


def test_manifest_finds_a_missing_file(tmp_path: Path) -> None:
    folder = built(tmp_path)
    (folder / "weights.bin").unlink()
    with pytest.raises(HwsegError, match="is listed in the manifest and missing"):
        files.verify_manifest(folder)


@pytest.mark.parametrize("text", ["", "[]x", "3", '{"../secret": "0"}', '{"/etc/passwd": "0"}'])
def test_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = built(tmp_path)
    (folder / files.MANIFEST).write_text(text)
    with pytest.raises(HwsegError, match=r"must|is not a list of file names"):
        files.verify_manifest(folder)


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match=r"manifest\.json: must exist"):
        files.verify_manifest(tmp_path)


def archive(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            out.writestr(name, content)
    return path


def test_extract_writes_every_member(tmp_path: Path) -> None:
    written = files.extract_zip(archive(tmp_path / "a.zip", "a", "b/c"), tmp_path / "out")
    assert listing(tmp_path / "out") == ["a", "b", "b/c"]
    assert written == [tmp_path / "out" / "a", tmp_path / "out" / "b" / "c"]


@pytest.mark.parametrize("name", ["../a", "/a", "b/../../a", "..\\a"])
def test_extract_refuses_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    bad = archive(tmp_path / "a.zip", "fine", name)
    with pytest.raises(HwsegError, match="must not name a file outside its folder"):
        files.extract_zip(bad, tmp_path / "out")
    assert listing(tmp_path) == ["a.zip"]


def test_extract_refuses_links(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(HwsegError, match="must not hold links"):
        files.extract_zip(tmp_path / "a.zip", tmp_path / "out")


def test_extract_bounds_the_unpacked_size_and_the_number_of_files(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "a.zip", "zeros", content=bytes(1 << 20))
    with pytest.raises(HwsegError, match="must unpack to at most 1000 bytes"):
        files.extract_zip(bomb, tmp_path / "out", max_bytes=1000)
    many = archive(tmp_path / "b.zip", *map(str, range(5)))
    with pytest.raises(HwsegError, match="must hold at most 4 files, not 5"):
        files.extract_zip(many, tmp_path / "out", max_files=4)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "a", content=os.urandom(1000))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(HwsegError, match="is not a sound ZIP archive"):
        files.extract_zip(path, tmp_path / "out")
    path.write_bytes(b"no archive")
    with pytest.raises(HwsegError, match="is not a sound ZIP archive"):
        files.read_zip_member(path, "a")


def old_and_new(target: Path) -> None:
    """`target` holds all of one of two builds."""
    names = {path.name for path in target.iterdir()}
    assert names in ({"old", files.MARKER, files.MANIFEST}, {"new", "more", files.MARKER, files.MANIFEST})
    files.verify_manifest(target)


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_crash_at_any_step_of_a_build_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    target = tmp_path / "build"

    def build(*names: str) -> None:
        with files.build_folder(target) as folder:
            for name in names:
                (folder / name).write_text(name)

    if not in_one_step:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    build("old")
    steps = []
    for step in crashes(lambda: build("new", "more")):
        steps.append(step)
        if target.exists() or in_one_step:
            old_and_new(target)
        if (target / "new").exists():
            build("old")
            assert listing(tmp_path) == ["build", "build/hwseg-build.json", "build/manifest.json", "build/old"]
    assert len(steps) > 15
    build("old")
    assert listing(tmp_path) == ["build", "build/hwseg-build.json", "build/manifest.json", "build/old"]


def test_what_was_put_aside_before_a_crash_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two names cannot be exchanged in one step, a crash may fall between two renames."""
    target = tmp_path / "build"
    with files.build_folder(target) as folder:
        (folder / "old").write_text("old")
    target.rename(tmp_path / ".build.hwseg-old")
    (tmp_path / ".build.hwseg-partial").mkdir()
    with pytest.raises(KeyError), files.build_folder(target) as folder:
        assert (target / "old").read_text() == "old"
        raise KeyError
    assert listing(tmp_path) == ["build", "build/hwseg-build.json", "build/manifest.json", "build/old"]


def test_a_crash_at_any_step_of_a_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "last.pt"
    files.write_whole(target, b"old" * 100)
    steps = []
    for step in crashes(lambda: files.write_whole(target, b"new" * 200)):
        steps.append(step)
        assert target.read_bytes() in (b"old" * 100, b"new" * 200)
    assert len(steps) > 3
    files.write_whole(target, b"old" * 100)
    assert listing(tmp_path) == ["last.pt"]


def test_writers_of_one_file_at_once_leave_one_of_their_files_whole(tmp_path: Path) -> None:
    target = tmp_path / "metrics.csv"
    contents = [bytes([number]) * (1 << 12 + number) for number in range(4)]

    def work(content: bytes) -> None:
        for _ in range(50):
            files.write_whole(target, content)
            assert target.read_bytes() in contents

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() in contents
    assert listing(tmp_path) == ["metrics.csv"]


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "fifo"])
def test_a_write_goes_around_what_stands_where_it_would_write(tmp_path: Path, kind: str) -> None:
    victim, partial = tmp_path / "thesis.tex", tmp_path / ".a.hwseg-partial"
    victim.write_text("years of work")
    {"link": partial.symlink_to, "hard link": partial.hardlink_to, "fifo": lambda _: os.mkfifo(partial),
     "folder": lambda _: partial.mkdir()}[kind](victim)  # fmt: skip
    files.write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert victim.read_text() == "years of work"


def test_names_of_255_bytes_can_be_written_and_longer_ones_are_a_sentence(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 127):
        files.write_whole(tmp_path / name, b"a")
        assert (tmp_path / name).read_bytes() == b"a"
    with files.build_folder(tmp_path / ("y" * 255)) as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / ("y" * 255) / "a").is_file()
    for name in ("x" * 256, "x" * 5000):
        with pytest.raises(HwsegError, match="the name is too long; choose a shorter one"):
            files.write_whole(tmp_path / name, b"a")
        with pytest.raises(HwsegError, match="the name is too long"), files.build_folder(tmp_path / name):
            pytest.fail("the body must not run")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_build_goes_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "build").symlink_to("large-disk/build")
    for name in ("old", "new"):
        with files.build_folder(tmp_path / "build") as folder:
            (folder / name).write_text(name)
    assert (tmp_path / "build").is_symlink()
    assert sorted(path.name for path in (tmp_path / "large-disk").iterdir()) == ["build"]
    assert (tmp_path / "large-disk" / "build" / "new").is_file()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000, '"a"', "{}x", "\0", '{"' + "x" * 5000 + '": "0"}'])
def test_hostile_manifests_are_sentences(tmp_path: Path, text: str) -> None:
    folder = built(tmp_path)
    (folder / files.MANIFEST).write_text(text)
    with pytest.raises(HwsegError):
        files.verify_manifest(folder)
