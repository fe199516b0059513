"""Whatever third-party code raises is one sentence that blames who is to blame."""

from __future__ import annotations

import errno
import signal
import tokenize
import zipfile

import pytest

from hwseg.borders import crash_of, finished, given, install, told, tool
from hwseg.errors import LONGEST_PLACE, LONGEST_TEXT, HwsegError, printable

CAUSES = (
    ValueError("bad magic"),
    tokenize.TokenError("EOF in multi-line statement"),
    zipfile.BadZipFile("File is not a zip file"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    KeyError("x"),
    OSError("cannot identify image file"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
def test_a_reader_that_fails_blames_the_file_and_a_tool_itself(cause: Exception) -> None:
    with pytest.raises(HwsegError) as error, given("a.npy", "a .npy file", "write it with numpy.save"):
        raise cause
    assert str(error.value) == f"a.npy: is not a .npy file, or is damaged ({told(cause)}); write it with numpy.save"
    with pytest.raises(HwsegError) as error, tool("matplotlib", "drawing", install("train")):
        raise cause
    sentence = (
        f"matplotlib: must not fail drawing, and your files are not to blame: {told(cause)}; pip install 'hwseg[train]'"
    )
    assert str(error.value) == sentence


def test_what_is_told_of_an_error_is_one_short_line() -> None:
    assert told(ValueError("first\nsecond")) == "ValueError: first"
    assert told(AssertionError()) == "AssertionError"
    assert len(told(ValueError("x" * 10_000))) < 400


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("write failed: No space left on device (os error 28)"), "the disk is full"),
        (MemoryError(), "there is not enough memory"),
        (OSError(errno.EROFS, "Read-only file system", "/home/x"), "the file system is read-only"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open; raise ulimit -n"),
    ],
)
def test_what_is_the_machines_fault_is_told_as_such_on_both_sides(cause: Exception, sentence: str) -> None:
    for border in (given("a.npy", "a .npy file", "cure"), tool("matplotlib", "drawing", "cure")):
        with pytest.raises(HwsegError) as error, border:
            raise cause
        assert sentence in str(error.value)
        assert "matplotlib" not in str(error.value)


def test_a_file_that_a_tool_misses_is_its_installations() -> None:
    sentence = "yosys: must not fail starting it, and your files are not to blame: FileNotFoundError"
    with pytest.raises(HwsegError, match=sentence), tool("yosys", "starting it", "pip install it"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/lib/yosys.wasm")
    with pytest.raises(HwsegError, match=r"a\.npy: must exist; check the path"), given("a.npy", "a .npy file", "cure"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "a.npy")


def test_a_package_that_is_missing_is_named_with_its_cure() -> None:
    sentence = r"must not fail loading it: the package cocotb_tools is missing or broken .*; pip install 'hwseg\[sim\]'"
    with pytest.raises(HwsegError, match=sentence), tool("cocotb", "loading it", install("sim")):
        raise ModuleNotFoundError("No module named 'cocotb_tools'", name="cocotb_tools")


@pytest.mark.parametrize("passing", [KeyboardInterrupt(), HwsegError("a", "b"), GeneratorExit()])
def test_ctrl_c_and_sentences_pass(passing: BaseException) -> None:
    for border in (given("a", "b", "c"), tool("a", "b", "c")):
        with pytest.raises(type(passing)) as error, border:
            raise passing
        assert error.value is passing


def test_a_tool_that_exits_does_not_end_this_process() -> None:
    sentence = r"cocotb: must not fail building, .*: SystemExit: ERROR: verilator not found"
    with pytest.raises(HwsegError, match=sentence), tool("cocotb", "building", "run hwseg doctor"):
        raise SystemExit("ERROR: verilator not found")


@pytest.mark.parametrize(
    ("status", "log", "sentence"),
    [
        (
            1,
            "fine\nERROR: no such pass\nbye\n",
            "must not fail doing x, and your files are not to blame: ERROR: no such pass; cure",
        ),
        (
            1,
            "one\ntwo\nthree\nfour\n",
            "must not fail doing x, and your files are not to blame: two | three | four; cure",
        ),
        (3, "", "must not fail doing x, and your files are not to blame: exit status 3; cure"),
        (-signal.SIGTERM, "", "must not fail doing x, and your files are not to blame: SIGTERM; cure"),
        (-signal.SIGKILL, "", "was killed doing x, perhaps because memory was short; end other programs"),
        (1, "cc1plus: error: No space left on device", "the disk is full; free space"),
    ],
)
def test_how_a_process_ended(status: int, log: str, sentence: str) -> None:
    with pytest.raises(HwsegError) as error:
        finished("yosys", "doing x", status, log, "cure")
    assert str(error.value).startswith(f"yosys: {sentence}")
    finished("yosys", "doing x", 0, log, "cure")


def test_a_crash_is_told_as_one_also_by_a_shell() -> None:
    for status in (-11, 139):
        with pytest.raises(HwsegError) as error:
            finished("yosys", "doing x", status, "error: a\nInfo: b\n", "cure")
        said = "crashed (SIGSEGV) doing x, and your files are not to blame; its last words: Info: b; cure"
        assert str(error.value) == f"yosys: {said}"
    with pytest.raises(HwsegError, match=r"crashed \(SIGABRT\) doing x, .*: it printed nothing"):
        finished("yosys", "doing x", -6, "\n", "cure")
    assert [crash_of(status) for status in (0, 1, 2, -9, -15, 137, 143, 255)] == [""] * 8


def test_a_sentence_is_one_printable_line_of_bounded_length() -> None:
    hostile = "enc\x1b[2J\x07\u202econv\n\udcff" + "x" * 5000
    text = str(HwsegError(hostile, "must be\tshort", hostile))
    assert text.isprintable()
    assert text.startswith("enc\\x1b[2J\\x07\\u202econv \\udcffxxx")
    assert len(text) < LONGEST_PLACE + LONGEST_TEXT + 100
    assert printable("größe 1/8 µs, 汉字") == "größe 1/8 µs, 汉字"
