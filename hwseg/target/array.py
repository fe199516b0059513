"""Which array a build is for: the one asked for, if the board has room, or the fastest with room to route."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from math import log2

from hwseg.boards import TOOLS, Board, Tool
from hwseg.errors import HwsegError, require
from hwseg.rtl.config import PRESETS, EngineConfig, parse_array
from hwseg.target.resources import MARGIN, estimate

ROWS = range(64, 0, -8)
SIDES = (8, 4, 2, 1)


def choose_array(array: str, core: str, board: Board, tool: str | None = None) -> EngineConfig:
    """`auto`, whatever the model: the most MACs per cycle that leave room on the board for `tool` (the board's own) to
    place and route; with table cores the accumulators may stand in DSP slices.
    """
    require(tool is None or tool in TOOLS, "--for", f"{tool!r} is no tool", f"use {' or '.join(TOOLS)}")
    if array != "auto":
        try:
            return parse_array(array, core)
        except HwsegError as error:
            raise HwsegError(error.place, error.rule, f"use {nearest_that_fits(array, core, board, tool)}") from None
    for config in candidates(core):
        if leaves_room(config, board, tool):
            return config
    raise HwsegError("--array auto", f"must fit {board.name}: no {core} array does", "choose another board or core")


def nearest_that_fits(array: str, core: str, board: Board, tool: str | None = None) -> str:
    """A preset of a similar name, or a shape of similar numbers, for what is no array at all."""
    numbers = re.fullmatch(r"(\d{1,4})x(\d{1,4})x(\d{1,4})(-.*)?", array)
    if numbers is None:
        names = [name for name, config in PRESETS.items() if leaves_room(config, board, tool)]
        return next(iter(get_close_matches(array, names, 1, 0)), "--array auto")
    wanted = [max(1, int(number)) for number in numbers.groups()[:3]]

    def distance(config: EngineConfig) -> tuple[float, bool]:
        found = (config.rows, config.pixels, config.channels)
        return sum(abs(log2(a / b)) for a, b in zip(found, wanted, strict=True)), config.core != core

    fitting = [config for config in candidates(core) if leaves_room(config, board, tool)]
    return min(fitting, key=distance).name if fitting else "another board"


def candidates(core: str) -> Iterator[EngineConfig]:
    """Every array, the most MACs per cycle first; among equals the one with the fewest LUTs."""
    cores = (core, "table_dsp") if core == "table" else (core,)
    arrays = (parse_array(f"{r}x{c}x{n}", form) for form in cores for r in ROWS for c in SIDES for n in SIDES)
    yield from sorted(arrays, key=lambda config: (-config.peak_macs, estimate(config)["lut"], config.name))


def load(config: EngineConfig, board: Board) -> float:
    """The largest share that any resource takes of the board's."""
    needed = estimate(config)
    return max(needed[name] / available for name, available in board.resources.items())


def leaves_room(config: EngineConfig, board: Board, tool: str | None = None) -> bool:
    """No more of anything than the tool has routed, as far as that is known.

    Else at most `MARGIN` of everything that wires must reach between other things; DSP slices may all be used.
    """
    needed, routed = estimate(config), _known(board, tool).routed
    most = {name: routed.get(name, 1 if name == "dsp" else MARGIN) for name in board.resources}
    return all(needed[name] <= most[name] * available for name, available in board.resources.items())


def smaller_that_fits(config: EngineConfig, board: Board, tool: str | None = None) -> str:
    """The fastest array that leaves room for the tool and is slower than this one; empty if there is none."""
    core = "table" if config.core == "table_dsp" else config.core
    slower = (c for c in candidates(core) if c.peak_macs < config.peak_macs)
    return next((c.name for c in slower if leaves_room(c, board, tool)), "")


def _known(board: Board, tool: str | None) -> Tool:
    return board.tools.get(tool or board.tool, Tool())


def beyond(config: EngineConfig, board: Board, tool: str) -> str:
    """A sentence, where an array is more than the tool is known to have routed; else empty."""
    known = _known(board, tool)
    if not known.routed:
        return f"{tool} is not known to have routed any array on the {board.device}"
    if leaves_room(config, board, tool):
        return ""
    return f"{config.name} is more than {tool} is known to have routed on the {board.device}: {known.source}"


def doubt(board: Board, tool: str | None = None) -> str:
    """A sentence, where `auto` is for a tool of which nobody knows what it routes; else empty."""
    if _known(board, tool).routed:
        return ""
    named = f"{tool or board.tool} is not known to have routed any array on the {board.device}"
    free = f"{100 * (1 - MARGIN):.0f} % of it free, but for DSP slices"
    return f"{named}: --array auto takes what leaves {free}, which may not route"


def require_fit(config: EngineConfig, board: Board) -> None:
    """Refuse an array whose estimated resources exceed the board's, naming the largest within it that fits."""
    needed = estimate(config)
    for name, available in board.resources.items():
        if needed[name] > available:
            within = (c for c in candidates(config.core) if c.rows <= config.rows and c.pixels <= config.pixels)
            nearest = next((c for c in within if c.channels <= config.channels and load(c, board) <= 1), None)
            raise HwsegError(
                f"--array {config.name}",
                f"needs about {needed[name]:,} {name.upper()}, {board.name} has {available:,}",
                f"use {nearest.name if nearest else 'another board'}",
            )


def warnings(resources: Mapping[str, Mapping[str, float | None]], board: str) -> list[str]:
    """A sentence for each resource, measured or else estimated, that leaves place and route little room."""
    found = []
    for name, row in resources.items():
        available = row["available"]
        used = row["estimated"] if row["measured"] is None else row["measured"]
        assert used is not None
        assert available is not None
        if used > (1 if name == "dsp" else MARGIN) * available:
            share = f"{100 * used / available:.0f} % of {board}'s {name.upper()}"
            found.append(f"{share}: over {100 * MARGIN:.0f} % place and route may fail; --array auto leaves room")
    return found
