"""Bitstreams, clocks and port widths: what must be done once after boot, by root, before `Accelerator.open`.

python -m hwseg.runtime.fpga PACKAGE
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import file_errors, read_regular, write_whole
from hwseg.runtime.board import MANAGER, claim, open_device, registers_device, release, require_zynq
from hwseg.runtime.package import CURE, PLLS, BoardFacts, Package, read_package

SYNC_WORD = b"\xaa\x99\x55\x66"
FIRMWARE = "hwseg.bit.bin"
BIT, BINARY = "bitstream/hwseg.bit", "bitstream/hwseg.bit.bin"
"""In a package, where a tool has made them."""
LARGEST = 1 << 26
"""Bytes of a bitstream; the 7020's has 4 MB."""
LENGTHS = {b"a": ">H", b"b": ">H", b"c": ">H", b"d": ">H", b"e": ">I"}
"""Of the fields of a .bit file."""

# Registers of the processing system, Zynq-7000 Technical Reference Manual (UG585), appendix B.
SLCR = 0xF800_0000
SLCR_LOCK, SLCR_UNLOCK = 0x004, 0x008
LOCK_KEY, UNLOCK_KEY = 0x767B, 0xDF0D
FPGA0_CLK_CTRL = 0x170
FPGA_RST_CTRL = 0x240
AFI = 0xF800_8000
AFI_STEP = 0x1000
RDCHAN_CTRL, WRCHAN_CTRL = 0x00, 0x14
NARROW = 1
"""Bit of both: the port is 32 bits wide instead of 64."""
PORTS = 4


def bit_to_bin(bit: bytes, place: str = "bitstream") -> bytes:
    """What Linux's fpga_manager takes, from a .bit file: no header, and the bytes of each 32-bit word reversed.

    Raises HwsegError for a file that is no bitstream of a 7-series part, or not whole.
    """
    payload = bit_payload(bit, place)
    require(SYNC_WORD in payload[:4096], place, "must contain the sync word AA995566 near its beginning", "build again")
    require(len(payload) % 4 == 0, place, f"must be whole 32-bit words, has {len(payload)} bytes", "build it again")
    return np.frombuffer(payload, ">u4").astype("<u4").tobytes()


def bit_payload(bit: bytes, place: str = "bitstream") -> bytes:
    """The configuration data of a .bit file."""
    return bit_fields(bit, place)[b"e"]


def bit_fields(bit: bytes, place: str = "bitstream") -> dict[bytes, bytes]:
    """The fields of a .bit file by their letters: `b` is the part, `e` the configuration data.

    After a fixed field come fields of a letter, a length and that many bytes; field e, of a 32-bit length, is the data.
    """
    cure = "use the .bit file that the tools wrote"
    found: dict[bytes, bytes] = {}
    try:
        (length,) = struct.unpack_from(">H", bit, 0)
        position = 2 + length
        (one,) = struct.unpack_from(">H", bit, position)
        require(length == 9 and one == 1, place, "must be a .bit file: its first field is another", cure)
        position += 2
        while b"e" not in found:
            letter = bit[position : position + 1]
            require(letter in LENGTHS, place, f"must be a .bit file: field {letter!r}", cure)
            (size,) = struct.unpack_from(LENGTHS[letter], bit, position + 1)
            position += 1 + struct.calcsize(LENGTHS[letter])
            found[letter] = bit[position : position + size]
            rule = f"must hold {size} bytes of data, holds {len(found[letter])}"
            require(len(found[letter]) == size, place, rule, cure)
            position += size
    except struct.error as error:
        raise HwsegError(place, "must be a .bit file, ends too early", cure) from error
    return found


def require_part(bit: bytes, part: str, place: str) -> None:
    """HwsegError if a .bit file says that it is for another part; tools leave out `xc`, the speed grade, or both."""
    field = bit_fields(bit, place).get(b"b", b"").rstrip(b"\0").decode(errors="replace").lower()
    names = (part, part.removeprefix("xc"))
    known = {name for full in names for name in (full, full.rsplit("-", 1)[0])}
    require(not field or field in known, place, f"must be for {part}, is for {field}", "use this package's bitstream")


def load_bitstream(package: Package, root: str | Path = "/") -> None:
    """Configure the fabric, its clock and its ports; needs root.  Refused while a program has the accelerator open."""
    top = Path(root)
    content = read_bitstream(package)
    require_zynq(top, package.board.name)
    handle = claim(registers_device(top))
    try:
        set_clock(package.board, top)
        write_whole(top / "lib" / "firmware" / FIRMWARE, content)
        manager = top / MANAGER
        with file_errors(manager):
            (manager / "flags").write_text("0")
            (manager / "firmware").write_text(FIRMWARE)
            state = (manager / "state").read_text().strip()
        require(state == "operating", str(manager / "state"), f"must be operating, is {state}", "see dmesg")
        set_port_widths(top)
    finally:
        release(handle)


def read_bitstream(package: Package) -> bytes:
    """What fpga_manager takes: hwseg.bit, which is what tools write, converted, or hwseg.bit.bin.

    The manifest vouches for those that it lists.  What a tool has made since is not listed, and must be a whole
    bitstream of the package's part.
    """
    files, folder = package.files, package.folder
    for name, is_bit in ((BIT, True), (BINARY, False)):
        if os.path.lexists(folder / name):
            listed = name in files.digests
            content = files.read(name, LARGEST) if listed else read_regular(folder / name, LARGEST, CURE)
            if is_bit:
                require_part(content, package.board.part, str(folder / name))
            return bit_to_bin(content, str(folder / name)) if is_bit else content
    rule, cure = "must be there, but no tool has made one yet", "run hwseg package --bitstream, or vivado.tcl"
    raise HwsegError(str(folder / BINARY), rule, cure)


def set_clock(board: BoardFacts, root: Path) -> None:
    """FCLK0 as the board file says: PLL and divisors."""
    first, second = board.fclk_divisors
    value = second << 20 | first << 8 | PLLS[board.fclk_pll] << 4
    with Page(root, SLCR) as slcr:
        slcr[SLCR_UNLOCK // 4] = UNLOCK_KEY
        slcr[FPGA0_CLK_CTRL // 4] = value
        slcr[FPGA_RST_CTRL // 4] = 0
        slcr[SLCR_LOCK // 4] = LOCK_KEY


def set_port_widths(root: Path) -> None:
    """All high-performance ports 64 bits wide; boot loaders may have left them at 32."""
    for port in range(PORTS):
        with Page(root, AFI + port * AFI_STEP) as afi:
            for control in (RDCHAN_CTRL, WRCHAN_CTRL):
                afi[control // 4] &= np.uint32(~NARROW & 0xFFFF_FFFF)


class Page:
    """Words of a page of /dev/mem."""

    def __init__(self, root: Path, address: int) -> None:
        self._root, self._address = root, address

    def __enter__(self) -> Any:
        path = self._root / "dev" / "mem"
        self._file = open_device(path)
        with file_errors(path):
            self._map = mmap.mmap(self._file, 4096, offset=self._address)
        self._words: Any = np.frombuffer(self._map, np.uint32)
        return self._words

    def __exit__(self, *_: object) -> None:
        self._words = None
        os.close(self._file)


def main(arguments: list[str]) -> int:
    """Load the bitstream of the package that the command line names."""
    try:
        require(len(arguments) == 1, "arguments", "must be the folder of a package", "name it")
        package = read_package(arguments[0])
        load_bitstream(package)
    except HwsegError as error:
        print(f"hwseg: {error}", file=sys.stderr)
        return 2
    clock = package.board.clock_mhz
    print(f"loaded the bitstream of {package.folder}: array {package.array} at {clock:g} MHz")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
