"""Boards: what a part offers, how fast its memory is, where the processing system puts things.

One folder per part: `board.toml` is any board with that part, `NAME.toml` beside it one board that you can buy, which
says only what it does differently.  A board file of the user's own says what is different from its part's.

board   the dataclasses, and which clocks a board can have
read    board files, also untrusted ones
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from hwseg.boards.board import CLOCK_TOLERANCE as CLOCK_TOLERANCE
from hwseg.boards.board import NEXTPNR as NEXTPNR
from hwseg.boards.board import PART
from hwseg.boards.board import TOOLS as TOOLS
from hwseg.boards.board import VIVADO as VIVADO
from hwseg.boards.board import Board as Board
from hwseg.boards.board import ProcessingSystem as ProcessingSystem
from hwseg.boards.board import Tool as Tool
from hwseg.boards.read import LARGEST as LARGEST
from hwseg.boards.read import board_from, merged, parsed, parsed_file
from hwseg.boards.read import read_board as read_board
from hwseg.errors import HwsegError, require
from hwseg.files import read_file

HERE = Path(__file__).parent
GENERIC = "board.toml"
"""In the folder of a part; also in a build folder: the user's own file that it was compiled for."""


def part_names() -> tuple[str, ...]:
    """The parts there are, each of which is also the name of any board with it."""
    return tuple(sorted(path.parent.name for path in HERE.glob(f"*/{GENERIC}")))


def board_names(part: str = "") -> tuple[str, ...]:
    """Every board there is, parts before the boards that carry them; with `part` the boards that carry that one."""
    parts = (part,) if part else part_names()
    boards = (path.stem for name in parts for path in (HERE / name).glob("*.toml") if path.name != GENERIC)
    return (*(() if part else parts), *sorted(boards))


@cache
def load_board(name: str) -> Board:
    """hwseg's board of that name, or `HwsegError` listing those there are."""
    if name not in board_names():
        raise HwsegError("--board", f"{name!r} is not a board", f"use {', '.join(board_names())}, or a .toml file")
    own = next((path for path in HERE.glob(f"*/{name}.toml")), HERE / name / GENERIC)
    return read_board(own, own.with_name(GENERIC))


def find_board(choice: str) -> Board:
    """What --board says: the name of one of hwseg's boards, or the path of a board file, which ends in .toml."""
    if not choice.endswith(".toml"):
        return load_board(choice)
    require(os.path.isfile(choice), choice, "must be a board file that can be read", "check the path")
    found = own_board(read_file(choice, LARGEST), choice)
    rule = f"must have a name of its own, {found.name} is one of hwseg's boards"
    require(found.name not in board_names(), choice, rule, "choose another name")
    return found


def own_board(content: bytes, place: str) -> Board:
    """The board of a user's file, which says only what differs from any board with its part, if hwseg knows that."""
    own = parsed(content, place)
    match = PART.fullmatch(str(own.get("part", "")))
    rule, cure = "must have the entry part, which reads like xc7z020clg400-1", "say which part the board has"
    require(match is not None, place, rule, cure)
    assert match is not None
    base = next((name for name in part_names() if load_board(name).device == match[1]), "")
    require("name" in own, place, "must have the entry name", "give the board a name")
    own.setdefault("title", own["name"])
    entries = merged(parsed_file(HERE / base / GENERIC), own) if base else own
    return board_from(entries, place, f"boards/{base or 'zynq7020'}/{GENERIC}", content)
