"""The memory-mapped backend on made-up devices: plain files where Linux has UIO, /dev/mem and u-dma-buf."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.runtime import Accelerator, fpga, read_package
from hwseg.runtime.board import Board, find_registers, open_board
from tests.runtime.fake import zynq

PHYSICAL = 0x1C00_0000


@pytest.fixture
def package(folder):
    return read_package(folder)


@pytest.fixture
def root(tmp_path):
    """A system with everything."""
    for path in ("dev", "sys/class/uio/uio0", "sys/class/uio/uio1", "sys/class/u-dma-buf/udmabuf0"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "sys/class/uio/uio0/name").write_text("other\n")
    (tmp_path / "sys/class/uio/uio1/name").write_text("hwseg\n")
    (tmp_path / "dev/uio1").write_bytes((0x48575347).to_bytes(4, "little") + bytes(4092))
    attributes = tmp_path / "sys/class/u-dma-buf/udmabuf0"
    (attributes / "phys_addr").write_text(f"{PHYSICAL:#x}\n")
    (attributes / "size").write_text("65536\n")
    (tmp_path / "dev/udmabuf0").write_bytes(bytes(65536))
    return zynq(tmp_path)


def test_registers_are_words_of_the_uio_device_of_our_name(root, package):
    board = open_board(package, root)
    assert board.read(0) == 0x48575347
    board.write(0x10, 0xDEADBEEF)
    board.close()
    assert (root / "dev/uio1").read_bytes()[0x10:0x14] == bytes.fromhex("efbeadde")
    assert "uio1" in board.name
    assert "udmabuf0" in board.name


def test_without_uio_registers_are_in_dev_mem_and_waits_are_short(root, package):
    (root / "sys/class/uio/uio1/name").unlink()
    with open(root / "dev/mem", "wb") as memory:
        memory.truncate(package.board.registers + 4096)
    board = open_board(package, root)
    board.write(8, 1)
    assert board.read(8) == 1
    assert board.wait(10.0) is False
    board.close()


def test_buffers_are_pages_of_the_device_and_synchronized_by_ranges_of_cache_lines(root, package):
    board = open_board(package, root)
    first, second = board.allocate(100), board.allocate(5000)
    assert (first.address, second.address) == (PHYSICAL, PHYSICAL + 4096)
    second.array[10:14] = [1, 2, 3, 4]
    second.flush(70, 100)
    attributes = root / "sys/class/u-dma-buf/udmabuf0"
    # Offset 4096 + 64, size 128, to the device, go.
    assert (attributes / "sync_for_device").read_text() == f"0x{4160:08X}{128 | 1 << 2 | 1:08X}"
    second.invalidate(0, 5000)
    assert (attributes / "sync_for_cpu").read_text() == f"0x{4096:08X}{5056 | 2 << 2 | 1:08X}"
    first.free()
    assert board.allocate(4096).address == PHYSICAL
    assert board.allocate(4096).address == PHYSICAL + 3 * 4096
    del first, second
    board.close()
    assert (root / "dev/udmabuf0").read_bytes()[4096 + 10 : 4096 + 14] == bytes([1, 2, 3, 4])


def test_too_little_memory_is_told_with_both_sizes(root, package):
    board = open_board(package, root)
    board.allocate(4096)
    with pytest.raises(
        HwsegError, match=r"udmabuf0: must hold 65536 bytes more, has 61440 of 65536 left; load u-dma-buf"
    ):
        board.allocate(65536)
    board.close()


def test_without_a_bitstream_no_register_is_touched(root, package):
    """The processor would wait for an answer for ever."""
    manager = root / "sys/class/fpga_manager/fpga0"
    manager.mkdir(parents=True)
    (manager / "state").write_text("unknown\n")
    (root / "dev/uio1").unlink()
    with pytest.raises(
        HwsegError, match=r"state: must be operating, is unknown: no bitstream is loaded; run python3 -m"
    ):
        open_board(package, root)
    (manager / "state").write_text("operating\n")
    with pytest.raises(HwsegError, match=r"uio1: must open: No such file"):
        open_board(package, root)


def test_no_permission_is_told_with_the_cure(root, package, monkeypatch):
    real = os.open

    def denied(path, *arguments, **named):
        if str(path).endswith("uio1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(HwsegError, match=r"uio1: must be readable and writable: permission denied; give the device to"):
        open_board(package, root)


def test_a_system_without_devices_is_told_what_it_lacks(tmp_path, package, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynq", None)
    (zynq(tmp_path) / "dev").mkdir()
    with pytest.raises(HwsegError, match=r"must have a u-dma-buf device or pynq, there is neither; load the module"):
        open_board(package, tmp_path)


@pytest.mark.parametrize("tree", [None, b"raspberrypi,4-model-b\0brcm,bcm2711\0", b"", b"xlnx,zynq-70000\0"])
def test_another_machine_is_refused_before_anything_of_it_is_touched(root, package, tree):
    """Its memory at these addresses is something else, and root may write it."""
    compatible = root / "proc/device-tree/compatible"
    if tree is None:
        compatible.unlink()
    else:
        compatible.write_bytes(tree)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for use in (open_board, fpga.load_bitstream):
        if use is fpga.load_bitstream:
            copy = root / "copy"
            shutil.copytree(package.folder, copy)
            (copy / fpga.BINARY).parent.mkdir()
            (copy / fpga.BINARY).write_bytes(b"sound")
            package = read_package(copy)
        with pytest.raises(HwsegError, match=r"board: must be xlnx,zynq-7000, as the pynq-z2 is, .*; copy the package"):
            use(package, root)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_pynq_serves_where_there_is_no_u_dma_buf(root, package, monkeypatch):
    calls = []

    class Buffer(np.ndarray):
        physical_address = PHYSICAL

        def flush(self):
            calls.append("flush")

        def invalidate(self):
            calls.append("invalidate")

        def freebuffer(self):
            calls.append("free")

    def allocate(shape, dtype):
        if shape[0] > 1 << 20:
            raise MemoryError("no contiguous memory")
        return np.zeros(shape, dtype).view(Buffer)

    monkeypatch.setitem(sys.modules, "pynq", SimpleNamespace(allocate=allocate))
    (root / "sys/class/u-dma-buf/udmabuf0/size").unlink()
    board = open_board(package, root)
    buffer = board.allocate(1000)
    assert (buffer.address, len(buffer.array)) == (PHYSICAL, 1000)
    buffer.flush(0, 10)
    buffer.invalidate(0, 10)
    buffer.free()
    assert calls == ["flush", "invalidate", "free"]
    with pytest.raises(HwsegError, match=r"pynq.allocate: must hold 2097152 contiguous bytes: no contiguous memory"):
        board.allocate(1 << 21)
    board.close()


def test_the_interrupt_is_unmasked_before_each_wait_and_told_when_it_comes(root, package):
    registers = open_board(package, root)._registers
    kernel, device = socket.socketpair()
    real, registers._file = registers._file, device.fileno()
    try:
        assert registers.wait(0.01) is False
        assert kernel.recv(16) == b"\1\0\0\0"
        kernel.send(b"\7\0\0\0")
        assert registers.wait(10) is True
        assert kernel.recv(16) == b"\1\0\0\0"
        assert registers.wait(0.01) is False
    finally:
        registers._file = real
        registers.close()
        kernel.close()
        device.close()


class Silicon(threading.Thread):
    """An engine behind device files: looks at `control` in /dev/mem, executes on what lies in udmabuf0."""

    def __init__(self, root, package):
        super().__init__(daemon=True)
        self.package = package
        self.stop = threading.Event()
        self.registers = np.memmap(root / "dev/mem", np.uint32, "r+", package.board.registers, (1024,))
        self.memory = np.memmap(root / "dev/udmabuf0", np.uint64, "r+")
        self.set("identity", package.identity)
        self.set("array", package.array_code)

    def set(self, name, value):
        self.registers[self.package.offsets[name] // 4] = value

    def get(self, name):
        return int(self.registers[self.package.offsets[name] // 4])

    def run(self):
        from hwseg.machine.machine import Machine
        from hwseg.rtl.config import parse_array

        while not self.stop.wait(0.001):
            if self.get("control"):
                self.set("control", 0)
                self.set("status", self.package.status["busy"])
                words = self.memory[(self.get("base") - PHYSICAL) // 8 :]
                Machine(
                    parse_array(self.package.array), words, self.get("program"), 8 * self.get("program_words")
                ).run()
                self.set("cycles", 777)
                self.set("status", self.package.status["done"])


def test_the_whole_driver_through_device_files(root, package, expected, monkeypatch):
    (root / "sys/class/uio/uio1/name").unlink()
    with open(root / "dev/mem", "wb") as memory:
        memory.truncate(package.board.registers + 4096)
    size = sum(-(-package.model(name).total_bytes // 4096) * 4096 for name in package.models)
    (root / "sys/class/u-dma-buf/udmabuf0/size").write_text(str(size))
    (root / "dev/udmabuf0").write_bytes(bytes(size))
    silicon = Silicon(root, package)
    silicon.start()
    real = Board.write

    def write(self, offset, value):
        # Gates are busy in the next cycle, a thread may not be for long.
        if offset == package.offsets["control"]:
            silicon.set("status", package.status["busy"])
        real(self, offset, value)

    monkeypatch.setattr(Board, "write", write)
    try:
        with Accelerator(package, open_board(package, root)) as accelerator:
            for name in package.models:
                pixels, sums, masks = expected[name]
                results = accelerator.batch(pixels, name, timeout=60)
                assert all((result.sums == s).all() for result, s in zip(results, sums, strict=True))
                assert (results[-1].mask == masks[-1]).all()
                assert results[0].cycles == 777
    finally:
        silicon.stop.set()
        silicon.join()


def test_devices_have_one_program_at_a_time(root, package, tmp_path):
    """Two would share the buffer's first bytes, and the registers; a child's copy of the files keeps nothing."""
    board = open_board(package, root)
    with pytest.raises(HwsegError, match=r"udmabuf0: must not be used by two programs at once; close the other one"):
        open_board(package, root)
    child = os.fork()
    if child == 0:
        threading.Event().wait(60)
        os._exit(0)
    try:
        board.close()
        open_board(package, root).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (root / "sys/class/u-dma-buf/udmabuf0/size").unlink()
    registers = find_registers(root, 0)
    with pytest.raises(HwsegError, match=r"uio1: must not be used by two programs at once"):
        find_registers(root, 0)
    registers.close()


def test_a_bitstream_is_not_loaded_under_an_open_accelerator(root, package, tmp_path):
    copy = shutil.copytree(package.folder, tmp_path / "copy")
    (copy / fpga.BINARY).parent.mkdir()
    (copy / fpga.BINARY).write_bytes(b"sound")
    with open(root / "dev/mem", "wb") as memory:
        memory.truncate(0xF801_0000)
    manager = root / fpga.MANAGER
    manager.mkdir(parents=True)
    (manager / "state").write_text("operating\n")
    board = open_board(package, root)
    with pytest.raises(HwsegError, match=r"uio1: must not be used by two programs at once"):
        fpga.load_bitstream(read_package(copy), root)
    assert not (root / "lib").exists()
    board.close()
    fpga.load_bitstream(read_package(copy), root)
    assert (root / "lib/firmware/hwseg.bit.bin").read_bytes() == b"sound"


def test_a_buffer_that_cannot_be_mapped_and_a_device_that_is_gone_are_told(root, package):
    attributes = root / "sys/class/u-dma-buf/udmabuf0"
    (attributes / "size").write_text(f"{1 << 40}\n")
    with pytest.raises(HwsegError, match=r"udmabuf0: must have 1099511627776 bytes: .*; load u-dma-buf again"):
        open_board(package, root)
    (attributes / "size").write_text("65536\n")
    board = open_board(package, root)
    file, board._registers._file = board._registers._file, os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(HwsegError, match=r"uio1: could not be read or written"):
        board.wait(0)
    os.close(board._registers._file)
    board._registers._file = file
    board.close()
