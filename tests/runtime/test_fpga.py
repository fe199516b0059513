"""Bitstreams for fpga_manager, the clock and the ports' widths, on a made-up root folder."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.runtime import fpga, read_package
from tests.runtime.fake import zynq

SYNC = bytes.fromhex("aa995566")


def made_up(payload: bytes) -> bytes:
    fields = b"".join(k + struct.pack(">H", len(t)) + t for k, t in ((b"a", b"hwseg_zynq\0"), (b"d", b"12:00:00\0")))
    return (
        struct.pack(">H", 9)
        + b"\x0f\xf0\x0f\xf0\x0f\xf0\x0f\xf0\0"
        + b"\0\1"
        + fields
        + b"e"
        + struct.pack(">I", len(payload))
        + payload
    )


def test_the_header_goes_and_the_bytes_of_each_word_turn_round():
    payload = b"\xff" * 8 + SYNC + bytes([1, 2, 3, 4, 5, 6, 7, 8])
    assert fpga.bit_to_bin(made_up(payload)) == b"\xff" * 8 + bytes.fromhex("665599aa") + bytes(
        [4, 3, 2, 1, 8, 7, 6, 5]
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "must be a .bit file, ends too early"),
        (b"PK\3\4" + bytes(40), "must be a .bit file"),
        (made_up(SYNC + bytes(8))[:-1], "must hold 12 bytes of data, holds 11"),
        (made_up(bytes(16)), "must contain the sync word"),
        (made_up(SYNC + b"xyz"), "must be whole 32-bit words, has 7 bytes"),
        (made_up(SYNC).replace(b"d\0", b"z\0"), "must be a .bit file: field b'z'"),
    ],
)
def test_what_is_no_bitstream_is_refused(content, sentence):
    with pytest.raises(HwsegError, match=sentence):
        fpga.bit_to_bin(content)


@pytest.fixture
def root(tmp_path):
    """/dev/mem as a sparse file, fpga_manager as plain ones."""
    (tmp_path / "dev").mkdir()
    with open(tmp_path / "dev" / "mem", "wb") as memory:
        memory.truncate(0xF801_0000)
    manager = tmp_path / fpga.MANAGER
    manager.mkdir(parents=True)
    (manager / "state").write_text("operating\n")
    return zynq(tmp_path)


@pytest.fixture
def package(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "bitstream").mkdir()
    (copy / "bitstream" / "hwseg.bit.bin").write_bytes(b"swapped")
    return read_package(copy)


def word(root, address):
    with open(root / "dev" / "mem", "rb") as memory:
        memory.seek(address)
        return int(np.frombuffer(memory.read(4), "<u4")[0])


def test_loading_sets_clock_firmware_and_port_widths(package, root):
    for port in range(4):
        with open(root / "dev" / "mem", "r+b") as memory:
            memory.seek(0xF8008000 + 0x1000 * port)
            memory.write((0x11).to_bytes(4, "little"))
    fpga.load_bitstream(package, root)
    assert (root / "lib" / "firmware" / "hwseg.bit.bin").read_bytes() == b"swapped"
    assert (root / fpga.MANAGER / "firmware").read_text() == "hwseg.bit.bin"
    # DDR PLL (3) / 7 / 1.
    assert word(root, 0xF8000170) == 1 << 20 | 7 << 8 | 3 << 4
    assert [word(root, 0xF8008000 + 0x1000 * port) for port in range(4)] == [0x10] * 4


def test_a_bit_file_alone_is_converted(package, root):
    (package.folder / fpga.BINARY).unlink()
    (package.folder / fpga.BIT).write_bytes(made_up(SYNC + bytes([1, 2, 3, 4])))
    fpga.load_bitstream(package, root)
    loaded = (root / "lib" / "firmware" / "hwseg.bit.bin").read_bytes()
    assert loaded == bytes.fromhex("665599aa 04030201")


def test_a_manager_that_does_not_operate_and_a_missing_bitstream_are_told(package, root):
    (root / fpga.MANAGER / "state").write_text("write error\n")
    with pytest.raises(HwsegError, match=r"state: must be operating, is write error; see dmesg"):
        fpga.load_bitstream(package, root)
    (package.folder / fpga.BINARY).unlink()
    with pytest.raises(HwsegError, match=r"hwseg.bit.bin: must be there, but no tool has made one yet"):
        fpga.load_bitstream(package, root)


def test_the_program_tells_in_one_line(tmp_path, capsys):
    assert fpga.main([]) == 2
    assert fpga.main([str(tmp_path / "none")]) == 2
    assert "must be the folder of a package" in capsys.readouterr().err
