"""What goes wrong: another bitstream, other images, errors on the bus, hangs, and caches that nobody flushed."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.runtime import Accelerator, read_package
from tests.runtime.cases import reseal
from tests.runtime.fake import FakeBoard, FakeBuffer


@pytest.fixture
def package(folder):
    return read_package(folder)


@pytest.fixture
def board(package):
    return FakeBoard(package)


@pytest.fixture
def copy(folder, tmp_path):
    """The package, to be damaged."""
    return shutil.copytree(folder, tmp_path / "copy")


def first(expected, package):
    pixels, sums, _ = expected[package.models[0]]
    return pixels[0], sums[0]


@pytest.mark.parametrize(
    ("register", "value", "sentence"),
    [
        ("identity", 0xFFFFFFFF, r"register identity: must read 0x48575347, reads 0xffffffff: another bitstream"),
        ("array", 0x080808, r"register array: must read 0x00010108 for 8x1x1, reads 0x00080808; load the bitstream"),
        ("status", 1, r"register status: must not be busy"),
    ],
)
def test_another_bitstream_is_refused_before_anything_is_written(package, board, register, value, sentence):
    board.values[register] = value
    with pytest.raises(HwsegError, match=sentence):
        Accelerator(package, board)
    assert all(what == "read" for what, _ in board.log)


@pytest.mark.parametrize("sealed", [True, False])
def test_program_and_weights_of_another_model_are_refused_before_the_first_write(copy, sealed):
    """By the manifest, and where that has been made again, by what the model says of its images."""

    def refused(name, damaged, sentence):
        if sealed:
            reseal(copy)
        package = read_package(copy)
        board = FakeBoard(package)
        accelerator = Accelerator(package, board)
        before, written = board.ddr.copy(), len(board.log)
        with pytest.raises(HwsegError, match=sentence if sealed else damaged):
            accelerator.load(name)
        assert (board.ddr == before).all()
        assert board.log[written:] == []

    names = read_package(copy).models
    one, other = (copy / "models" / name for name in names)
    changed = r"weights.bin: was changed: SHA-256 \w+, not \w+; copy the whole folder again"
    (one / "weights.bin").write_bytes((one / "weights.bin").read_bytes()[:-1] + b"\x01")
    refused(names[0], changed, r"weights.bin: must be the image of .*, SHA-256 .*, is .*; copy it again")
    (one / "weights.bin").write_bytes((other / "weights.bin").read_bytes())
    refused(names[0], changed, r"weights.bin: must have \d+ bytes, has \d+")
    (one / "weights.bin").write_bytes(bytes(1 << 20))
    refused(names[0], r"weights.bin: must have at most \d+ bytes, has 1048576", r"weights.bin: must have at most")
    (other / "program.bin").unlink()
    refused(names[1], r"program.bin: is listed in the manifest and missing", r"program.bin: is not listed in the")


@pytest.mark.parametrize("kind", ["input", "program", "head"])
def test_a_flush_or_an_invalidation_that_is_forgotten_shows(package, board, expected, monkeypatch, kind):
    """The fake's cache is not coherent: without the one call that matters the head is wrong."""
    pixels, sums = first(expected, package)
    model = package.model(package.models[0])
    forgotten = {"input": model.input.bytes, "program": model.program.size, "head": model.head_bytes}[kind]
    name = "invalidate" if kind == "head" else "flush"
    right = getattr(FakeBuffer, name)

    def forgetful(self, start, size):
        if size != forgotten:
            right(self, start, size)

    accelerator = Accelerator(package, board)
    assert (accelerator.segment(pixels).sums == sums).all()
    monkeypatch.setattr(FakeBuffer, name, forgetful)
    again = FakeBoard(package)
    again.ddr[:] = 0  # a program of zeros halts at once
    assert (Accelerator(package, again).segment(pixels).sums != sums).any()


def test_the_picture_is_flushed_before_the_start_and_the_head_invalidated_after_the_end(package, board, expected):
    pixels, _ = first(expected, package)
    accelerator = Accelerator(package, board)
    accelerator.load()
    board.log.clear()
    accelerator.segment(pixels)
    model = package.model(package.models[0])
    order = [board.log.index(step) for step in (("flush", model.input.bytes), ("write", "control"))]
    order += [board.log.index(step) for step in (("read", "status"), ("invalidate", model.head_bytes))]
    assert order == sorted(order)


def test_a_steady_frame_takes_few_register_accesses(package, board, expected):
    pixels, _ = first(expected, package)
    accelerator = Accelerator(package, board)
    accelerator.segment(pixels)
    board.log.clear()
    accelerator.segment(pixels)
    accesses = [step for step in board.log if step[0] in ("read", "write")]
    assert len(accesses) <= 9
    assert [name for what, name in accesses if what == "write"] == ["control", "interrupt"]


def test_without_interrupts_the_status_is_polled(package, expected):
    board = FakeBoard(package, interrupts=False)
    pixels, sums = first(expected, package)
    assert (Accelerator(package, board).segment(pixels).sums == sums).all()


@pytest.mark.parametrize("interrupts", [True, False, "stuck"])
def test_a_run_that_hangs_is_told_with_its_layer_and_does_not_hang_the_driver(package, expected, interrupts):
    board = FakeBoard(package, interrupts=interrupts)
    if interrupts == "stuck":
        board.wait = lambda seconds: True
    pixels, sums = first(expected, package)
    accelerator = Accelerator(package, board)
    board.hang = True
    began = time.monotonic()
    run = accelerator.start(pixels)
    layer = package.model(package.models[0]).layers[1]
    with pytest.raises(HwsegError, match=rf"must finish within 0.02 s, is still in layer {layer} \(status busy\)"):
        run.wait(timeout=0.02)
    assert time.monotonic() - began < 5
    assert not run.done
    board.hang = False
    board.write(package.offsets["control"], 1)
    assert (run.wait().sums == sums).all()


def test_limits_count_on_the_backends_clock(package, expected):
    """A simulation takes as long as it takes: its own clock says whether a run is late."""
    board = FakeBoard(package)
    pixels, sums = first(expected, package)
    accelerator = Accelerator(package, board)
    clock = 0.0

    def wait(seconds):
        nonlocal clock
        time.sleep(0.03)
        clock += seconds / 4
        if clock > 0.5 * seconds:
            board.hang = False
            board.write(package.offsets["control"], 1)
            return True
        return False

    board.now, board.wait, board.hang = lambda: clock, wait, True
    assert (accelerator.start(pixels).wait(timeout=0.02).sums == sums).all()


def test_a_bus_error_is_told_and_the_next_run_works(package, board, expected):
    pixels, sums = first(expected, package)
    accelerator = Accelerator(package, board)
    board.error = True
    with pytest.raises(
        HwsegError,
        match=r"fake: a run must end by itself, ended early at address 0x10000080: the memory answered a read",
    ):
        accelerator.segment(pixels)
    board.error = False
    assert (accelerator.segment(pixels).sums == sums).all()


def test_memory_that_the_ports_do_not_reach_is_refused(package, board, monkeypatch):
    real = board.allocate

    def low(size):
        buffer = real(size)
        buffer.address = 0x1000
        return buffer

    monkeypatch.setattr(board, "allocate", low)
    with pytest.raises(HwsegError, match=r"buffer: must lie between 0x100000 and 0x1fffffff, is at 0x1000 to"):
        Accelerator(package, board).load()


def test_everything_is_given_back(package, board, expected):
    pixels, _ = first(expected, package)
    with Accelerator(package, board) as accelerator:
        accelerator.start(pixels)
    assert board.closed
    assert [what for what, _ in board.log].count("free") == 1


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("package.json", lambda c: c.pop("array"), r"package.json: must have the entry array; copy the whole folder"),
        (
            "package.json",
            lambda c: c.update(format=9),
            r"must have format 4, has 9; copy the whole folder again, or make",
        ),
        (
            "package.json",
            lambda c: c.update(format=1),
            r"must have format 4, has 1; .* or make it again with hwseg package",
        ),
        (
            "package.json",
            lambda c: c["board"].pop("read_ports"),
            r"must have the entry board.read_ports; .* make it again",
        ),
        ("model.json", lambda c: c.pop("head"), r"model.json: must have the entry head"),
        (
            "model.json",
            lambda c: c["memory"].update(array="8x8x8"),
            r"must be compiled for the array 8x1x1 .* is for 8x8x8",
        ),
    ],
)
def test_damaged_descriptions_are_refused(copy, name, change, sentence):
    path = copy / name if name == "package.json" else copy / "models" / read_package(copy).models[0] / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    reseal(copy)
    with pytest.raises(HwsegError, match=sentence):
        package = read_package(copy)
        package.model(package.models[0])


def test_descriptions_that_are_no_json_or_not_there_are_refused(copy, tmp_path):
    (copy / "package.json").write_text("{")
    with pytest.raises(HwsegError, match=r"package.json: was changed"):
        read_package(copy)
    reseal(copy)
    with pytest.raises(HwsegError, match=r"package.json: must be JSON"):
        read_package(copy)
    with pytest.raises(HwsegError, match=r"must be the folder of a package"):
        read_package(tmp_path / "none")
    with pytest.raises(HwsegError, match=r"backend: must be board or simulation, is 'usb'"):
        Accelerator.open(copy, "usb")


def test_several_channels_take_the_smallest_of_equals():
    from hwseg.runtime.model import Head

    head = Head((2, 2, 1), (0, 0, 5), (1.0,) * 3, (0.0,) * 3, "argmax")
    sums = np.array([[[1, 1, -9], [0, 3, 0], [-4, -4, -3]]])
    assert head.mask(sums).tolist() == [[0, 1, 2]]
