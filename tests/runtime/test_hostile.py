"""Packages that were changed: by accident, which their sums show, or by somebody who made the sums again.

What is accepted is what was written; what is refused is one sentence, at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
from contextlib import contextmanager

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.files import MANIFEST, Sealed
from hwseg.layout import HeadLayout, unpack_head, unpack_tensor
from hwseg.runtime import Accelerator, fpga, read_package
from hwseg.runtime.loaded import Loaded
from tests.runtime.cases import reseal
from tests.runtime.fake import FakeBoard

CASES = 600
SECONDS = 10


@contextmanager
def within(seconds=SECONDS):
    """Fail where the body hangs."""

    def late(*_):
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def copy(folder, tmp_path):
    """The package, to be damaged."""
    return shutil.copytree(folder, tmp_path / "copy")


def seen(folder):
    """Everything that the driver takes from a package, and the bytes that it would load."""
    package = read_package(folder)
    found = [package.board, package.array, package.identity, package.array_code, package.models]
    found += [dict(package.offsets), dict(package.status), dict(package.causes)]
    for name in package.models:
        model = package.model(name)
        found += [getattr(model, key) for key in model.__dataclass_fields__ if key not in ("files",)]
        found += [[content.tobytes() for _, content in model.images()]]
    return found


def used(folder):
    """Names of the files that the driver reads."""
    models = (f"models/{name}/{file}" for name in read_package(folder).models for file in MODEL_FILES)
    return ["package.json", *models]


MODEL_FILES = ("model.json", "program.bin", "weights.bin")


def one_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 1000
    return str(error)


@pytest.mark.parametrize("place", ["input", "head", "program", "weights"])
def test_a_changed_address_is_refused_and_never_another_mask(copy, place, expected):
    """Each of these gave another mask, or another program, without a word."""
    package = read_package(copy)
    name = package.models[0]
    path = copy / "models" / name / "model.json"
    content = json.loads(path.read_text())
    content["memory"][place]["address"] += 128
    path.write_text(json.dumps(content, indent=1) + "\n")
    board = FakeBoard(package)
    for described in (package, read_package(copy)):
        accelerator = Accelerator(described, board)
        written = len(board.log)
        with pytest.raises(HwsegError, match=r"model.json: was changed: SHA-256 \w+, not \w+; copy the whole folder"):
            accelerator.segment(expected[name][0][0], name)
        assert board.log[written:] == []


def leaves(value, path=()):
    """Paths to everything in JSON."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from leaves(child, (*path, key))


def at(content, path):
    for key in path:
        content = content[key]
    return content


def test_every_entry_counts(copy):
    """No entry of either description can be changed without being seen, with the manifest as it was."""
    for name in used(copy):
        if not name.endswith(".json"):
            continue
        whole = (copy / name).read_bytes()
        for path in leaves(json.loads(whole)):
            if not path:
                continue
            content = json.loads(whole)
            at(content, path[:-1])[path[-1]] = "changed"
            (copy / name).write_text(json.dumps(content))
            with pytest.raises(HwsegError, match="was changed"):
                package = read_package(copy)
                list(map(package.model, package.models))
        (copy / name).write_bytes(whole)
    seen(copy)


@pytest.mark.parametrize("most", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_no_byte_can_be_changed_unseen(copy, most):
    """Bytes of the descriptions, the manifest and the images: refused, or the same."""
    wanted, noise = seen(copy), random.Random(1)
    for name in (MANIFEST, *used(copy)):
        whole = bytearray((copy / name).read_bytes())
        places = sorted(noise.sample(range(len(whole)), min(most, len(whole))))
        refused = 0
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << noise.randrange(8)
            (copy / name).write_bytes(changed)
            try:
                assert seen(copy) == wanted, (name, place)
            except HwsegError as error:
                one_line(error)
                refused += 1
        assert refused == len(places) or name == MANIFEST
        # The manifest's last byte is the line's end.
        for cut in (0, 1, len(whole) // 2, len(whole) - 2):
            (copy / name).write_bytes(whole[:cut])
            with pytest.raises(HwsegError):
                seen(copy)
        (copy / name).write_bytes(whole)
    assert seen(copy) == wanted


NASTY = (
    *(None, True, False, -1, 0, 1, 3, 7, 2**31, 2**32, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *(
        "",
        ".",
        "..",
        "/",
        "/etc/passwd",
        "../../secret",
        "a\0b",
        "a\nb",
        "x" * 5000,
        "\ud800",
        "NaN",
        "percentile 0 1e9",
        "1/0",
        "0",
        "9" * 70,
        '{"format": 1, "values": "window 0 0"}',
        '{"format": 1, "mean": ["1e99"], "deviation": ["1e-99"]}',
        '{"format": 1, "channels": 1, "coding": "values 0"}',
    ),
    *([], {}, [[]], [None], [1, 2], [1, 2, 3], [0, 0, 0], [1 << 40] * 3, list(range(300)), {"a": 1}),
)


def damaged(content, noise):
    """JSON with some entries replaced, removed, doubled or exchanged."""
    content = json.loads(json.dumps(content))
    for _ in range(noise.choice((1, 1, 1, 2, 5))):
        places = [path for path in leaves(content) if path]
        path = noise.choice(places)
        parent = at(content, path[:-1])
        kind = noise.randrange(6)
        if kind < 3:
            parent[path[-1]] = noise.choice(NASTY)
        elif kind == 3:
            del parent[path[-1]]
        elif kind == 4:
            parent[path[-1]] = json.loads(
                json.dumps(at(content, noise.choice(places)) if noise.random() < 0.8 else content)
            )
        elif isinstance(parent, list):
            parent.extend(parent)
        else:
            parent[noise.choice(("a", "", "format", "address"))] = noise.choice(NASTY)
    return content


def torn(text, noise):
    """Text that is no JSON any more, or hardly."""
    kind = noise.randrange(5)
    place = noise.randrange(len(text))
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text[:place] + bytes([noise.randrange(256)]) + text[place + 1 :]
    if kind == 2:
        return b"[" * 100_000 + text
    if kind == 3:
        return text[:place] + b"9" * noise.choice((20, 6000)) + text[place:]
    return noise.choice((b"", b"null", b"[]", b"{}", b'""', b"0", b"\xff\xfe", b"\x00" * 50, b'{"format": 3}'))


def exercise(folder):
    """As far as the driver goes with a package before it needs a board that is one."""
    package = read_package(folder)
    for name in package.models:
        model = package.model(name)
        model.images()
        if model.total_bytes > 1 << 20:
            continue
        loaded = Loaded(model, package, FakeBoard(package))
        loaded.pack(np.zeros(model.input.shape, np.uint8))
        layout, image = model.head_layout, bytes(model.head_bytes)
        sums = unpack_head(image, layout) if isinstance(layout, HeadLayout) else unpack_tensor(image, layout)
        assert model.head.mask(sums).shape == layout.shape[:2]
        with np.errstate(all="ignore"):
            assert model.head.logits(sums).shape == layout.shape


def test_hostile_packages_are_refused_with_a_sentence_or_used(copy):
    """The manifest is made again for each: only what the entries say can be judged."""
    names = [name for name in used(copy) if name.endswith(".json")]
    digests = json.loads((copy / MANIFEST).read_text())
    contents = {name: (copy / name).read_bytes() for name in names}
    refused, sentences = 0, set()
    for case in range(CASES):
        noise = random.Random(case)
        name = noise.choice(names)
        if noise.random() < 0.8:
            text = json.dumps(damaged(json.loads(contents[name]), noise)).encode()
        else:
            text = torn(contents[name], noise)
        (copy / name).write_bytes(text)
        manifest = digests | {name: hashlib.sha256(text).hexdigest()}
        if noise.random() < 0.1:
            manifest = damaged(manifest, noise)
        (copy / MANIFEST).write_text(json.dumps(manifest))
        try:
            with within():
                exercise(copy)
        except HwsegError as error:
            refused += 1
            sentences.add(one_line(error).split("; ")[0][-30:])
        except BaseException as error:
            raise AssertionError(f"case {case}: {name}") from error
        finally:
            (copy / name).write_bytes(contents[name])
    assert refused > CASES // 2
    assert len(sentences) > 50


def put_fifo(path):
    os.mkfifo(path)


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def put_loop(path):
    path.symlink_to(path.name)


KINDS = {
    "fifo": put_fifo,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "socket": put_socket,
    "loop": put_loop,
    "nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "large": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_waited_for(copy, kind):
    """A pipe has no writer, /dev/zero no end, and a file of a terabyte no place in memory."""

    def loading(folder):
        fpga.load_bitstream(read_package(folder), copy)

    (copy / fpga.BIT).parent.mkdir()
    for name in (MANIFEST, *used(copy), fpga.BIT, fpga.BINARY):
        path, use = copy / name, loading if name.startswith("bitstream") else seen
        path.touch()
        kept = copy / "kept"
        path.rename(kept)
        KINDS[kind](path)
        with within(), pytest.raises(HwsegError) as caught:
            use(copy)
        assert path.name in one_line(caught.value)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        if use is seen:
            kept.rename(path)
    seen(copy)


@pytest.mark.parametrize("file", ["/etc/hostname", "../../manifest.json", "other.bin", "", 5, None, "program.bin\0"])
def test_an_image_outside_its_model_is_refused(copy, file):
    name = read_package(copy).models[0]
    path = copy / "models" / name / "model.json"
    content = json.loads(path.read_text())
    content["memory"]["program"]["file"] = file
    path.write_text(json.dumps(content))
    reseal(copy)
    with pytest.raises(HwsegError, match=r"memory.program.file must be program.bin or weights.bin, is"):
        read_package(copy).model(name)


@pytest.mark.parametrize("name", ["/etc", "..", ".", "", "a/b", "a\nb", "unet7", "x" * 300, "\ud800"])
def test_a_model_of_another_name_than_a_folders_is_refused(copy, name):
    path = copy / "package.json"
    content = json.loads(path.read_text())
    content["models"] = [name, "unet7"]
    path.write_text(json.dumps(content))
    reseal(copy)
    with pytest.raises(HwsegError, match=r"models.* must be (names of folders, each once|Unicode text)"):
        read_package(copy)


def test_files_beside_the_manifest_are_not_read(copy):
    """Neither one that was left out of it, nor one that was put there."""
    digests = json.loads((copy / MANIFEST).read_text())
    for name in used(copy):
        (copy / MANIFEST).write_text(json.dumps({key: value for key, value in digests.items() if key != name}))
        with pytest.raises(
            HwsegError, match=rf"{os.path.basename(name)}: is not listed in the manifest; copy the whole"
        ):
            seen(copy)
    (copy / MANIFEST).write_text(json.dumps(digests))
    (copy / "notes.txt").write_text("a user's own file")
    (copy / "notebooks" / "segment.ipynb").write_text("{}")
    seen(copy)


@pytest.mark.parametrize("name", ["top.v", "hwseg_zynq.v", "sim_cells.v"])
def test_the_simulation_takes_the_hardware_of_the_manifest(copy, name, monkeypatch):
    zynq = pytest.importorskip("hwseg.sim.zynq")
    monkeypatch.setattr(zynq, "SimulatedBoard", lambda *_, **__: pytest.fail("it was simulated"))
    path = copy / "hardware" / name
    path.write_bytes(path.read_bytes() + b"// changed" if path.exists() else b"// new")
    with pytest.raises(HwsegError, match=rf"{name}: (was changed|is not listed in the manifest)"):
        Accelerator.open(copy, "simulation")


def test_a_bitstream_that_the_manifest_lists_is_the_listed_one(copy):
    (copy / fpga.BIT).parent.mkdir()
    (copy / fpga.BINARY).write_bytes(b"sound")
    reseal(copy)
    package = read_package(copy)
    assert fpga.read_bitstream(package) == b"sound"
    (copy / fpga.BINARY).write_bytes(b"other")
    with pytest.raises(HwsegError, match=r"hwseg.bit.bin: was changed: .*or make it again with hwseg package"):
        fpga.read_bitstream(package)


def test_a_package_is_the_sum_of_its_files_wherever_it_lies(copy, tmp_path):
    moved = copy.rename(tmp_path / "with a space, ümläut")
    assert Sealed.of(moved).digests
    seen(moved)
