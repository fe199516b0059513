"""The board itself: registers through UIO or /dev/mem, memory through u-dma-buf or pynq.

                 first choice                                        otherwise
    registers    /dev/uioN whose name is hwseg, with its interrupt   /dev/mem, without interrupt
    memory       /dev/udmabufN, cached, flushed by ranges            pynq.allocate

The first column needs no root once udev has given the devices to a group; docs/zynq7020.md shows how.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import file_errors
from hwseg.runtime.backend import Buffer
from hwseg.runtime.package import PAGE, Package

UIO_NAME = "hwseg"
TO_DEVICE, FROM_DEVICE = 1, 2
"""Directions of u-dma-buf's synchronization."""
LINE = 64
"""Bytes to which ranges are rounded: two cache lines of a Cortex-A9."""
WITHOUT_INTERRUPT = 0.001
"""Seconds of one wait where no interrupt can be waited for."""
MEMORY = "mem"
TREE, ZYNQ = "proc/device-tree/compatible", b"xlnx,zynq-7000"
"""What Linux calls the machine, and one of the names that it has on every board with this part."""
MANAGER = "sys/class/fpga_manager/fpga0"
SYSFS = ("sys/class/u-dma-buf", "sys/class/udmabuf")
PERMISSION = "give the device to your group with the udev rule of docs/zynq7020.md, or run as root"


def open_board(package: Package, root: str | Path = "/") -> Board:
    """The board that this program runs on.  root: where /dev and /sys are.  HwsegError says what is missing."""
    top = Path(root)
    require_zynq(top, package.board.name)
    require_configured(top)
    memory = find_memory(top)
    try:
        return Board(find_registers(top, package.board.registers), memory)
    except BaseException:
        memory.close()
        raise


class Board:
    """A backend of `Accelerator`: registers and memory of whatever kind."""

    grace = 1.0
    """Seconds: Linux may run something else for long."""

    def __init__(self, registers: Registers, memory: Any) -> None:
        self._registers, self._memory = registers, memory
        self.name = f"{registers.name} with {memory.name}"

    def read(self, offset: int) -> int:
        return self._registers.read(offset)

    def write(self, offset: int, value: int) -> None:
        self._registers.write(offset, value)

    def allocate(self, size: int) -> Buffer:
        buffer: Buffer = self._memory.allocate(size)
        return buffer

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        return self._registers.wait(seconds)

    def close(self) -> None:
        self._registers.close()
        self._memory.close()


class Registers:
    """A page of registers in a device file; `interrupt`: the file is a UIO device, which tells of interrupts."""

    def __init__(self, path: Path, address: int, interrupt: bool) -> None:
        self.name = str(path)
        self._file = claim(path)
        self._interrupt = interrupt
        self._map: mmap.mmap | None = None
        try:
            with file_errors(path):
                self._map = mmap.mmap(self._file, PAGE, offset=address)
            self._words: Any = np.frombuffer(self._map, np.uint32)
        except (ValueError, HwsegError) as error:
            release(self._file)
            cure = "check the board's address of the registers"
            raise HwsegError(str(path), f"must have a page at {address:#x}: {error}", cure) from error

    def read(self, offset: int) -> int:
        return int(self._words[offset // 4])

    def write(self, offset: int, value: int) -> None:
        self._words[offset // 4] = value

    def wait(self, seconds: float) -> bool:
        """Whether the interrupt came; False at once, or nearly so, where there is none to wait for."""
        if not self._interrupt:
            select.select([], [], [], min(seconds, WITHOUT_INTERRUPT))
            return False
        # Linux masks the line at each interrupt; writing 1 unmasks it, and one that is pending then comes at once.
        with file_errors(self.name):
            os.write(self._file, (1).to_bytes(4, "little"))
            ready = select.select([self._file], [], [], seconds)[0]
            if ready:
                os.read(self._file, 4)
        return bool(ready)

    def close(self) -> None:
        self._words = None
        if self._map is not None:
            with suppress(BufferError):
                self._map.close()
            release(self._file)
            self._map = None


class DmaBuffers:
    """Memory of one u-dma-buf device, given out from its beginning."""

    def __init__(self, device: Path, attributes: Path) -> None:
        self.name = str(device)
        self._attributes = attributes
        self.address = self._attribute("phys_addr")
        self.size = self._attribute("size")
        self._used: list[tuple[int, int]] = []
        self._file = claim(device)
        try:
            with file_errors(device):
                self._map = mmap.mmap(self._file, self.size)
        except (ValueError, HwsegError) as error:
            release(self._file)
            raise HwsegError(str(device), f"must have {self.size} bytes: {error}", "load u-dma-buf again") from error
        self.array: Any = np.frombuffer(self._map, np.uint8)

    def _attribute(self, name: str) -> int:
        path = self._attributes / name
        with file_errors(path):
            return int(path.read_text(), 0)

    def allocate(self, size: int) -> Buffer:
        need = -(-size // PAGE) * PAGE
        start = 0
        for first, length in sorted(self._used):
            if start + need <= first:
                break
            start = max(start, first + length)
        rule = f"must hold {size} bytes more, has {max(0, self.size - start)} of {self.size} left"
        require(start + need <= self.size, self.name, rule, "load u-dma-buf with a larger size")
        self._used.append((start, need))
        return DmaBuffer(self, start, size, need)

    def release(self, start: int, length: int) -> None:
        self._used.remove((start, length))

    def synchronize(self, attribute: str, start: int, size: int, direction: int) -> None:
        """One write to sysfs: offset in the upper half, size, direction and the order to begin in the lower."""
        first, last = start // LINE * LINE, min(self.size, -(-(start + size) // LINE) * LINE)
        path = self._attributes / attribute
        with file_errors(path):
            path.write_text(f"0x{first:08X}{(last - first) & 0xFFFFFFF0 | direction << 2 | 1:08X}")

    def close(self) -> None:
        self.array = None
        with suppress(BufferError):
            self._map.close()
        release(self._file)


class DmaBuffer:
    """A part of a u-dma-buf device."""

    def __init__(self, memory: DmaBuffers, start: int, size: int, length: int) -> None:
        self._memory, self._start, self._length = memory, start, length
        self.address = memory.address + start
        self.array = memory.array[start : start + size]

    def flush(self, start: int, size: int) -> None:
        self._memory.synchronize("sync_for_device", self._start + start, size, TO_DEVICE)

    def invalidate(self, start: int, size: int) -> None:
        self._memory.synchronize("sync_for_cpu", self._start + start, size, FROM_DEVICE)

    def free(self) -> None:
        self._memory.release(self._start, self._length)


class PynqBuffers:
    """Memory that pynq allocates; it flushes and invalidates whole buffers."""

    name = "pynq.allocate"

    def __init__(self, pynq: Any) -> None:
        self._pynq = pynq

    def allocate(self, size: int) -> Buffer:
        try:
            return PynqBuffer(self._pynq.allocate(shape=(size,), dtype=np.uint8))
        except (MemoryError, RuntimeError, OSError) as error:
            cure = "boot with a larger cma= on the kernel's command line"
            raise HwsegError(self.name, f"must hold {size} contiguous bytes: {error}", cure) from error

    def close(self) -> None:
        """pynq keeps nothing open."""


class PynqBuffer:
    """One buffer of pynq."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self.address = int(buffer.physical_address)
        self.array = np.asarray(buffer)

    def flush(self, start: int, size: int) -> None:
        self._buffer.flush()

    def invalidate(self, start: int, size: int) -> None:
        self._buffer.invalidate()

    def free(self) -> None:
        self._buffer.freebuffer()


def require_zynq(root: Path, board: str) -> None:
    """Raise HwsegError elsewhere than on a Zynq-7000: what lies at the registers' address there is something else."""
    named: list[bytes] = []
    with suppress(OSError):
        named = (root / TREE).read_bytes().rstrip(b"\0").split(b"\0")
    told = ", ".join(name.decode(errors="replace") for name in named) or platform.machine()
    rule = f"must be {ZYNQ.decode()}, as the {board} is, this program runs on {told}"
    cure = "copy the package to the board and run this there, or choose simulation"
    require(ZYNQ in named, "board", rule, cure)


def require_configured(root: Path) -> None:
    """Raise HwsegError if the fabric holds no bitstream: the processor would hang on the first register, for good."""
    state = root / MANAGER / "state"
    with suppress(FileNotFoundError):
        found = state.read_text().strip()
        cure = "run python3 -m hwseg.runtime.fpga PACKAGE as root"
        require(found == "operating", str(state), f"must be operating, is {found}: no bitstream is loaded", cure)


def find_registers(root: Path, address: int) -> Registers:
    """The UIO device called hwseg, otherwise /dev/mem."""
    device = registers_device(root)
    interrupt = device.name != MEMORY
    return Registers(device, 0 if interrupt else address, interrupt)


def registers_device(root: Path) -> Path:
    """Where the registers are: whoever has claimed it has the accelerator."""
    for name in sorted(root.glob("sys/class/uio/uio*/name")):
        with suppress(OSError):
            if name.read_text().strip() == UIO_NAME:
                return root / "dev" / name.parent.name
    memory = root / "dev" / MEMORY
    rule = f"there is no UIO device called {UIO_NAME}, and no /dev/{MEMORY}"
    require(memory.exists(), str(root / "dev"), rule, "follow docs/zynq7020.md on the board")
    return memory


def find_memory(root: Path) -> DmaBuffers | PynqBuffers:
    """The largest u-dma-buf device, otherwise pynq."""
    found: list[tuple[int, Path]] = []
    for folder in SYSFS:
        for attributes in sorted((root / folder).glob("*")):
            with suppress(OSError, ValueError):
                found.append((int((attributes / "size").read_text(), 0), attributes))
    if found:
        attributes = max(found)[1]
        return DmaBuffers(root / "dev" / attributes.name, attributes)
    try:
        import pynq
    except ImportError as error:
        rule = "must have a u-dma-buf device or pynq, there is neither"
        raise HwsegError(str(root / "dev"), rule, "load the module u-dma-buf as docs/zynq7020.md shows") from error
    return PynqBuffers(pynq)


def claim(path: Path) -> int:
    """A device file that no other accelerator, of whatever program, has as long as this one has it open.

    The lock is the kernel's, and ends with the process; where a file system has none, nothing is refused.
    """
    handle = open_device(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        cure = "close the other one first, the kernel of a notebook for example"
        raise HwsegError(str(path), "must not be used by two programs at once", cure) from error
    except OSError:
        return handle
    return handle


def release(handle: int) -> None:
    """Close a device that was claimed, and give it back, also where a forked process has a copy open."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def open_device(path: Path) -> int:
    """A device file for reading and writing; HwsegError with the cure if it is not ours to open."""
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError as error:
        raise HwsegError(str(path), "must be readable and writable: permission denied", PERMISSION) from error
    except OSError as error:
        rule = f"must open: {error.strerror}"
        raise HwsegError(str(path), rule, "follow docs/zynq7020.md on the board") from error
