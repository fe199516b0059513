"""One accelerator, many who want it: threads, processes, and callers that go away in the middle of a run.

After each of these the next picture's mask is right, on every backend.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.runtime import Accelerator, read_package
from tests.runtime.fake import FakeBoard, LateBoard

THREADS = r"accelerator: must not be used by two threads at once; use it from one thread, or guard every use"
SHORT = 1e-6
"""Seconds that no run ends within."""


@pytest.fixture
def case(accelerator, expected):
    """An accelerator, pictures, sums."""
    pixels, sums, _ = expected[accelerator.package.models[0]]
    return accelerator, pixels, sums


@pytest.fixture
def package(folder):
    return read_package(folder)


def is_right(accelerator, pixels, sums):
    return all((accelerator.segment(p).sums == s).all() for p, s in zip(pixels, sums, strict=True))


@contextmanager
def hanging(accelerator):
    """A fake's runs are over at once unless they hang; others' take their time."""
    board = accelerator.backend
    if isinstance(board, FakeBoard):
        board.hang = True
    yield
    if isinstance(board, FakeBoard):
        board.hang = False


def in_thread(work):
    """What `work` returned or raised in a thread of its own."""
    found = []

    def run():
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


def test_a_second_thread_is_refused_and_the_first_ones_mask_is_right(case, monkeypatch):
    accelerator, pixels, sums = case
    real, told = accelerator.backend.wait, []
    run = accelerator.start(pixels[0])
    uses = {
        "load": accelerator.load,
        "segment": lambda: accelerator.segment(pixels[1]),
        "batch": lambda: accelerator.batch(pixels),
        "start": lambda: accelerator.start(pixels[1]),
        "status": accelerator.status,
        "reset": accelerator.reset,
        "close": accelerator.close,
        "wait": run.wait,
        "done": lambda: run.done,
        "stop": run.stop,
    }

    def wait(seconds):
        if not told:
            told.extend((name, in_thread(use)) for name, use in uses.items())
        return real(seconds)

    monkeypatch.setattr(accelerator.backend, "wait", wait)
    assert (run.wait().sums == sums[0]).all()
    assert len(told) == len(uses)
    for name, outcome in told:
        with pytest.raises(HwsegError, match=THREADS):
            raise outcome if isinstance(outcome, BaseException) else AssertionError(f"{name} gave {outcome}")
    assert is_right(accelerator, pixels, sums)
    assert (in_thread(lambda: accelerator.segment(pixels[1])).sums == sums[1]).all()


def test_six_threads_get_right_masks_or_the_sentence(case):
    accelerator, pixels, sums = case
    together, masks, refusals, wrong = threading.Barrier(6), [], [], []

    def work(number):
        together.wait()
        for turn in range(4):
            place = (number + turn) % len(pixels)
            try:
                result = accelerator.segment(pixels[place])
                masks.append((result.sums == sums[place]).all())
            except HwsegError as error:
                refusals.append(str(error))
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    assert masks
    assert all(masks)
    assert {sentence.split(";")[0] for sentence in refusals} <= {
        "accelerator: must not be used by two threads at once",
        "accelerator: must not be busy with another picture",
    }
    assert is_right(accelerator, pixels, sums)


def test_a_forked_process_is_refused(case):
    accelerator, pixels, sums = case
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            accelerator.segment(pixels[0])
            os.write(write, b"a mask")
        except HwsegError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        assert told.read().decode().startswith("accelerator: must be used by the process that opened it; use it there")
    assert is_right(accelerator, pixels, sums)


def failing(pixels, error):
    yield from pixels
    raise error


@pytest.mark.parametrize(
    ("whole", "bad"),
    [
        *((1, bad) for bad in ("empty", "float", "none", "ragged", LookupError("no more"), KeyboardInterrupt("^C"))),
        *((whole, bad) for whole in (0, 3) for bad in ("empty", LookupError("no more"))),
    ],
)
def test_after_a_batch_that_fails_the_next_picture_may_come(case, whole, bad):
    accelerator, pixels, sums = case
    pictures = {
        "empty": pixels[0][:0],
        "float": pixels[0].astype(float),
        "none": None,
        "ragged": [[1, 2], [3]],
    }
    images = [*pixels[:whole], pictures[bad]] if isinstance(bad, str) else failing(pixels[:whole], bad)
    kind = HwsegError if isinstance(bad, str) else type(bad)
    with pytest.raises(kind, match=r"image: must " if isinstance(bad, str) else re.escape(str(bad))):
        accelerator.batch(images)
    assert accelerator.running is None
    assert is_right(accelerator, pixels, sums)


def test_a_batch_may_ask_the_accelerator_for_its_pictures(case):
    """The generator may load models and see what is under way, but not begin a run of its own in between."""
    accelerator, pixels, sums = case

    def of_size():
        for picture in pixels:
            yield picture.reshape(accelerator.load().input.shape)
        with pytest.raises(HwsegError, match="must not be busy with another picture"):
            accelerator.segment(pixels[0])

    results = accelerator.batch(of_size())
    assert all((result.sums == s).all() for result, s in zip(results, sums, strict=True))

    def beginning():
        accelerator.start(pixels[2])
        yield pixels[0]

    with pytest.raises(HwsegError, match="must not be busy with another picture"):
        accelerator.batch(beginning())
    assert accelerator.running is not None
    assert (accelerator.running.wait().sums == sums[2]).all()
    assert is_right(accelerator, pixels, sums)


def test_what_is_no_list_of_pictures_is_refused(case):
    accelerator, _, _ = case
    with pytest.raises(HwsegError, match=r"images: must be pictures, one after the other, is int; give a list"):
        accelerator.batch(5)


def test_a_picture_that_takes_too_long_is_stopped_and_the_next_may_come(case):
    accelerator, pixels, sums = case
    for call in (accelerator.segment, lambda p, timeout: accelerator.batch([p, p], timeout=timeout)):
        with hanging(accelerator), pytest.raises(HwsegError, match=r"must finish within 1e-06 s, is still in layer"):
            call(pixels[0], timeout=SHORT)
        assert accelerator.running is None
        assert is_right(accelerator, pixels, sums)


def test_a_run_whose_wait_was_too_short_may_be_waited_for_or_stopped(case):
    accelerator, pixels, sums = case
    with hanging(accelerator):
        run = accelerator.start(pixels[0])
        with pytest.raises(HwsegError, match="must finish within"):
            run.wait(SHORT)
        assert accelerator.running is run
        with pytest.raises(HwsegError, match=r"wait for its mask first, with accelerator\.running\.wait\(\)"):
            accelerator.segment(pixels[1])
    if not isinstance(accelerator.backend, FakeBoard):
        assert (run.wait().sums == sums[0]).all()
        assert accelerator.running is None
        run = accelerator.start(pixels[0])
    run.stop()
    for _ in range(2):
        with pytest.raises(HwsegError, match=r"ended early at address .*: stopped by the driver"):
            run.wait()
        assert run.done
        assert is_right(accelerator, pixels, sums)


def test_a_run_that_was_lost_is_found(case):
    accelerator, pixels, sums = case
    accelerator.start(pixels[1])
    assert (accelerator.running.wait().sums == sums[1]).all()
    assert accelerator.running is None


NO_TIMEOUTS = (float("inf"), float("nan"), -1, -1e-9, "x", "1", 1e9, True, b"", [1], 1j, object)


def test_a_timeout_that_cannot_be_waited_for_is_refused_before_anything_begins(case):
    accelerator, pixels, sums = case
    sentence = r"timeout: must be seconds from 0 to 86400, is .*; leave it out to wait 8 times as long as is predicted"
    for timeout in NO_TIMEOUTS:
        for call in (accelerator.segment, lambda p, timeout: accelerator.batch([p], timeout=timeout)):
            with pytest.raises(HwsegError, match=sentence):
                call(pixels[0], timeout=timeout)
            assert accelerator.running is None
    run = accelerator.start(pixels[0])
    for timeout in NO_TIMEOUTS:
        with pytest.raises(HwsegError, match=sentence):
            run.wait(timeout)
    assert (run.wait(np.float64(100)).sums == sums[0]).all()


NO_ARGUMENTS = (
    ({"planes": "4"}, r"planes: must be an integer from 1 to 8, is '4'; leave it out"),
    ({"planes": 0}, r"planes: must be an integer from 1 to 8, is 0"),
    ({"planes": 2.5}, r"planes: must be an integer from 1 to 8, is 2.5"),
    ({"model": 5}, r"model: must be a name, is 5; use '\w+'"),
    ({"model": ["unet1"]}, r"model: must be a name"),
    ({"model": "../unet1"}, r"model '../unet1': must be one of this package"),
)


def test_arguments_that_are_none_are_refused(case):
    accelerator, pixels, sums = case
    for arguments, sentence in NO_ARGUMENTS:
        for call in (accelerator.segment, accelerator.start, lambda p, **named: accelerator.batch([p], **named)):
            with pytest.raises(HwsegError, match=sentence):
                call(pixels[0], **arguments)
        with pytest.raises(HwsegError, match=sentence):
            accelerator.load(**arguments)
    assert is_right(accelerator, pixels, sums)


@pytest.mark.parametrize("backend", ["fake", pytest.param("simulation", marks=pytest.mark.verilator)])
def test_after_the_end_every_call_says_so(backend, folder, package, expected):
    pixels, sums, _ = expected[package.models[0]]
    if backend == "simulation":
        pytest.importorskip("cocotb")
        accelerator = Accelerator.open(folder, backend)
    else:
        accelerator = Accelerator(package, FakeBoard(package))
    finished = accelerator.start(pixels[0])
    mask = finished.wait()
    with hanging(accelerator):
        lost = accelerator.start(pixels[1])
        accelerator.close()
    accelerator.close()
    for call in (
        accelerator.load,
        accelerator.status,
        accelerator.reset,
        lambda: accelerator.segment(pixels[0]),
        lambda: accelerator.batch(pixels),
        lambda: accelerator.start(pixels[0]),
        accelerator.__enter__().load,
    ):
        with pytest.raises(HwsegError, match=r"accelerator: must be open, was closed; open it again"):
            call()
    with pytest.raises(HwsegError, match="a run that was stopped has no mask"):
        lost.wait()
    assert lost.done
    assert finished.wait() is mask
    assert (mask.sums == sums[0]).all()
    with Accelerator(package, FakeBoard(package)) as again:
        assert is_right(again, pixels, sums)


def test_an_end_that_the_accelerator_does_not_come_to_is_told_and_its_memory_is_kept(package, expected):
    """It may still write there."""
    pixels, _, _ = expected[package.models[0]]
    board = LateBoard(package, waits=1 << 30)
    board.stops = False
    accelerator = Accelerator(package, board)
    accelerator.start(pixels[0])
    board.grace = 0.02
    with pytest.raises(
        HwsegError, match=r"must stop when it is told to, is still in layer .*; load the bitstream again"
    ):
        accelerator.close()
    assert board.closed
    assert ("free", accelerator.package.model(package.models[0]).total_bytes) not in board.log
    with pytest.raises(LookupError), Accelerator(package, LateBoard(package, waits=1)):
        raise LookupError("the body's own error is not hidden")


def test_a_run_of_somebody_else_in_between_is_told(package, expected):
    pixels, sums, _ = expected[package.models[0]]
    board = LateBoard(package)
    accelerator = Accelerator(package, board)
    run = accelerator.start(pixels[0])
    board.write(package.offsets["control"], 1)
    with pytest.raises(HwsegError, match="must not be started by somebody else during a run; run it again"):
        run.wait()
    assert is_right(accelerator, pixels, sums)


class Interrupting:
    """A backend whose call number `last` is interrupted, before or after it has done its work."""

    def __init__(self, board, last, after):
        self._board, self._left, self._after = board, last, after

    def __getattr__(self, name):
        found = getattr(self._board, name)
        if name not in ("read", "write", "wait", "now", "allocate"):
            return found

        def call(*arguments):
            self._left -= 1
            if self._left == 0 and not self._after:
                raise KeyboardInterrupt
            result = found(*arguments)
            if self._left == 0:
                raise KeyboardInterrupt
            return result

        return call


@pytest.mark.parametrize("after", [False, True])
def test_a_driver_that_is_interrupted_anywhere_gives_right_masks_afterwards(package, expected, after):
    """At every access to the board, of a picture alone and of a batch; once more while that is put right."""
    pixels, sums, _ = expected[package.models[0]]
    moments = 0
    for work in (lambda a: a.segment(pixels[0]), lambda a: a.batch(pixels)):
        for last in range(1, 1000):
            accelerator = Accelerator(package, LateBoard(package))
            accelerator.backend = accelerator._engine.backend = Interrupting(accelerator.backend, last, after)
            try:
                work(accelerator)
                break
            except KeyboardInterrupt:
                moments += 1
            accelerator.backend._left = last % 3
            for number in (1, 2):
                for _ in range(3):
                    try:
                        assert (accelerator.segment(pixels[number]).sums == sums[number]).all()
                        break
                    except KeyboardInterrupt:
                        continue
                else:
                    pytest.fail("never ends")
        else:
            pytest.fail("never whole")
    assert moments > 40


@pytest.mark.verilator
def test_a_simulation_that_is_interrupted_goes_on(folder, expected):
    """Ctrl-C at random moments of a run, as the terminal sends it."""
    pytest.importorskip("cocotb")
    with Accelerator.open(folder, "simulation") as accelerator:
        pixels, sums, _ = expected[accelerator.package.models[0]]
        assert is_right(accelerator, pixels, sums)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        interrupted = 0
        try:
            for moment in np.random.default_rng(2).uniform(0.001, 0.15, 8):
                try:
                    signal.setitimer(signal.ITIMER_REAL, moment)
                    accelerator.batch([pixels[0]] * 40)
                except KeyboardInterrupt:
                    interrupted += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                assert is_right(accelerator, pixels[1:], sums[1:])
        finally:
            signal.signal(signal.SIGALRM, before)
        assert interrupted > 5
