"""A package on disk, as `hwseg package` wrote it: what the driver has to know of the board and of its models.

Every file is read through the package's manifest: a changed address is refused as a changed weight is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwseg.errors import require
from hwseg.files import Sealed, is_inside, parsed_json
from hwseg.runtime.entries import Entry
from hwseg.runtime.model import Model, read_model

PACKAGE = "package.json"
MODEL = "model.json"
FORMAT = 4
"""Version of the two files that is written, and the one that a driver reads: older ones do not say what pixels are."""
LARGEST = 1 << 24
"""Bytes of either."""

ALL_PLANES = 8
"""The accuracy dial's end: no activation loses a digit plane."""

USED_REGISTERS = (
    *("identity", "array", "control", "status", "base", "program", "program_words", "interrupt_enable", "interrupt"),
    *("cycles", "cycles_high", "walking", "read_beats", "write_beats", "layer", "limit", "error_cause"),
    *("error_address", "skip", "skipped"),
)
USED_STATUS = ("busy", "done", "error", "overrun")
"""What the driver calls by name."""

WORD = (1 << 32) - 1
PAGE = 4096
"""Bytes of registers, and what memory is given out in."""
PLLS = {"io": 0, "arm": 2, "ddr": 3}
"""What FCLK0 may come from, and how its control register calls it (UG585, FPGA0_CLK_CTRL)."""
DIVISOR = 63
"""The largest of FCLK0's two."""
PORTS = ("HP0", "HP1", "HP2", "HP3")
"""High-performance ports of the processing system."""

CURE = "copy the whole folder again, or make it again with hwseg package"


@dataclass(frozen=True)
class BoardFacts:
    """What the driver must know of the board.  registers: first address of the accelerator's registers.

    ddr_first, ddr_last: what the accelerator's ports reach.  read_ports, write_ports: their names, "HP0" for example.
    fclk_divisors: of `fclk_pll`, for `clock_mhz`.
    """

    name: str
    part: str
    ddr_bits: int
    registers: int
    interrupt: int
    ddr_first: int
    ddr_last: int
    read_ports: tuple[str, ...]
    write_ports: tuple[str, ...]
    clock_mhz: float
    fclk_pll: str
    fclk_divisors: tuple[int, int]

    @property
    def ddr_bytes(self) -> int:
        """What the accelerator's ports reach."""
        return self.ddr_last - self.ddr_first + 1


@dataclass(frozen=True)
class Package:
    """`files`: the folder.  `offsets`: of the registers by name.  `status`: bits of the status register by name."""

    files: Sealed
    board: BoardFacts
    array: str
    identity: int
    array_code: int
    offsets: Mapping[str, int]
    status: Mapping[str, int]
    causes: Mapping[int, str]
    models: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.files.folder

    def model(self, name: str) -> Model:
        """One of `models`, by name; raises HwsegError if its description is damaged or for another array."""
        cure = f"use {', '.join(self.models)}"
        require(name in self.models, f"model {name!r}", "must be one of this package", cure)
        folder = f"models/{name}"
        content = _described(self.files, f"{folder}/{MODEL}")
        return read_model(content, self.files, folder, name, self.array, self.board.ddr_bytes)


def turned_name(model: str, planes: int) -> str:
    """Name of a model that was compiled with at most `planes` digit planes per activation."""
    return model if planes >= ALL_PLANES else f"{model}-{planes}planes"


def is_plain(name: str) -> bool:
    """Whether a model may have this name: one that a folder can have, on one line."""
    return is_inside(name) and "/" not in name and name.isprintable() and len(name) <= 200


def read_package(folder: str | Path) -> Package:
    """Raises HwsegError for a folder that is no package, one of another version, or one that was changed."""
    root = Path(folder)
    require(root.is_dir(), str(root), "must be the folder of a package, but there is none", "run hwseg package first")
    files = Sealed.of(root, CURE)
    content = _described(files, PACKAGE)
    models = tuple(name.text() for name in content["models"].entries(1))
    for name in models:
        if not is_plain(name) or models.count(name) > 1:
            raise content["models"].fail(f"must be names of folders, each once, have {name!r}")
    offsets = {register["name"].text(): register["offset"] for register in content["registers"].entries()}
    status = {name: bit.integer(1, WORD) for name, bit in content["status"].items()}
    missing = [name for name in USED_REGISTERS if name not in offsets] + [n for n in USED_STATUS if n not in status]
    require(not missing, str(root / PACKAGE), f"must have all registers and status bits, lacks {missing[:1]}", CURE)
    return Package(
        files=files,
        board=_board(content["board"]),
        array=content["array"].text(),
        identity=content["identity"].integer(0, WORD),
        array_code=content["array_code"].integer(0, WORD),
        offsets={name: offset.integer(0, PAGE - 4, 4) for name, offset in offsets.items()},
        status=status,
        causes={_number(code, text): text.text() for code, text in content["causes"].items()},
        models=models,
    )


def _board(board: Entry) -> BoardFacts:
    first = board["ddr_first"].integer(0, WORD)
    divisors = [divisor.integer(1, DIVISOR) for divisor in board["fclk"]["divisors"].entries(2, 2)]
    return BoardFacts(
        name=board["name"].text(),
        part=board["part"].text(),
        ddr_bits=board["ddr_bits"].integer(16, 32, 16),
        registers=board["registers"].integer(0, WORD, PAGE),
        interrupt=board["interrupt"].integer(0, 1023),
        ddr_first=first,
        ddr_last=board["ddr_last"].integer(first, WORD),
        read_ports=_ports(board["read_ports"]),
        write_ports=_ports(board["write_ports"]),
        clock_mhz=board["clock_mhz"].number(0.1, 10_000),
        fclk_pll=board["fclk"]["pll"].one_of(*PLLS),
        fclk_divisors=(divisors[0], divisors[1]),
    )


def _ports(entry: Entry) -> tuple[str, ...]:
    return tuple(port.one_of(*PORTS) for port in entry.entries(1, len(PORTS)))


def _number(code: str, text: Entry) -> int:
    if not (code.isascii() and code.isdigit() and len(code) <= 10):
        raise text.fail("causes must be numbered")
    return int(code)


def _described(files: Sealed, name: str) -> Entry:
    """One of the two descriptions, if it is of a version that this driver knows."""
    place = str(files.folder / name)
    content = parsed_json(files.read(name, LARGEST), place, CURE)
    known = content.get("format") if isinstance(content, dict) else None
    require(known == FORMAT, place, f"must have format {FORMAT}, has {str(known)[:20]}", CURE)
    return Entry(content, place, CURE)
