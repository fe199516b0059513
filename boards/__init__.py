"""Boards: what a part offers and how fast its memory is, one folder with a `board.toml` each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hwseg.errors import HwsegError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Board:
    """ddr_bytes_per_second: sustained.  ddr_bytes: reserved for the accelerator.

    ddr_latency: cycles of the memory model.  lutram: LUTs that can be memory.
    """

    name: str
    title: str
    part: str
    clock_mhz: float
    lut: int
    lutram: int
    ff: int
    bram36: int
    dsp: int
    ddr_bits: int
    ddr_bytes_per_second: float
    ddr_bytes: int
    ddr_latency: int

    @property
    def resources(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("lut", "lutram", "ff", "bram36", "dsp")}


def board_names() -> tuple[str, ...]:
    """Every board there is."""
    return tuple(sorted(path.parent.name for path in HERE.glob("*/board.toml")))


@cache
def load_board(name: str) -> Board:
    """The board of that name, or `HwsegError` listing those there are."""
    if name not in board_names():
        raise HwsegError("--board", f"{name!r} is not a board", f"use {', '.join(board_names())}")
    content = tomllib.loads((HERE / name / "board.toml").read_text())
    ddr = content["ddr"]
    return Board(
        name=content["name"],
        title=content["title"],
        part=content["part"],
        clock_mhz=float(content["clock_mhz"]),
        **content["resources"],
        ddr_bits=ddr["bits"],
        ddr_bytes_per_second=ddr["bytes_per_second"],
        ddr_bytes=ddr["accelerator_bytes"],
        ddr_latency=ddr["latency_cycles"],
    )
