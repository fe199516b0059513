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
from hwseg.files import file_errors, write_whole
from hwseg.runtime.board import MANAGER, open_device
from hwseg.runtime.package import BoardFacts, Package, read_package

SYNC_WORD = b"\xaa\x99\x55\x66"
FIRMWARE = "hwseg.bit.bin"

# Registers of the processing system, Zynq-7000 Technical Reference Manual (UG585), appendix B.
SLCR = 0xF800_0000
SLCR_LOCK, SLCR_UNLOCK = 0x004, 0x008
LOCK_KEY, UNLOCK_KEY = 0x767B, 0xDF0D
FPGA0_CLK_CTRL = 0x170
FPGA_RST_CTRL = 0x240
PLL_SELECT = {"io": 0, "arm": 2, "ddr": 3}
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
    """The configuration data of a .bit file.

    After a fixed field come fields of a letter, a length and that many bytes; field e, of a 32-bit length, is the data.
    """
    cure = "use the .bit file that the tools wrote"
    try:
        (length,) = struct.unpack_from(">H", bit, 0)
        position = 2 + length
        (one,) = struct.unpack_from(">H", bit, position)
        require(length == 9 and one == 1, place, "must be a .bit file: its first field is another", cure)
        position += 2
        while True:
            letter = bit[position : position + 1]
            if letter == b"e":
                (size,) = struct.unpack_from(">I", bit, position + 1)
                payload = bit[position + 5 : position + 5 + size]
                rule = f"must hold {size} bytes of data, holds {len(payload)}"
                require(len(payload) == size, place, rule, cure)
                return payload
            require(letter in (b"a", b"b", b"c", b"d"), place, f"must be a .bit file: field {letter!r}", cure)
            (size,) = struct.unpack_from(">H", bit, position + 1)
            position += 3 + size
    except struct.error as error:
        raise HwsegError(place, "must be a .bit file, ends too early", cure) from error


def load_bitstream(package: Package, root: str | Path = "/") -> None:
    """Configure the fabric, its clock and its ports; needs root."""
    top = Path(root)
    content = read_bitstream(package)
    set_clock(package.board, top)
    write_whole(top / "lib" / "firmware" / FIRMWARE, content)
    manager = top / MANAGER
    with file_errors(manager):
        (manager / "flags").write_text("0")
        (manager / "firmware").write_text(FIRMWARE)
        state = (manager / "state").read_text().strip()
    require(state == "operating", str(manager / "state"), f"must be operating, is {state}", "see dmesg")
    set_port_widths(top)


def read_bitstream(package: Package) -> bytes:
    """What fpga_manager takes: hwseg.bit, which is what tools write, converted, or hwseg.bit.bin."""
    binary = package.bitstream
    bit = binary.with_suffix("")
    with file_errors(binary.parent):
        if bit.is_file():
            return bit_to_bin(bit.read_bytes(), str(bit))
        rule = "must be there, but no tool has made one yet"
        require(binary.is_file(), str(binary), rule, "run hwseg package --bitstream, or vivado.tcl")
        return binary.read_bytes()


def set_clock(board: BoardFacts, root: Path) -> None:
    """FCLK0 as the board file says: PLL and divisors."""
    first, second = board.fclk_divisors
    value = second << 20 | first << 8 | PLL_SELECT[board.fclk_pll] << 4
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
    print(f"loaded {package.bitstream}: array {package.array} at {clock:g} MHz")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
