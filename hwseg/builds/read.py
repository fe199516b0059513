"""A build folder read again: its report, and its program compiled anew from the model in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwseg.boards import GENERIC, LARGEST, Board, load_board, own_board
from hwseg.borders import given
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError, require
from hwseg.files import read_file, verify_manifest
from hwseg.ir import Graph
from hwseg.pictures.choice import CHOSEN
from hwseg.pictures.source import chosen
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from hwseg.trust.fitted import FIT
from hwseg.trust.graph import judge_of, trust_of
from hwseg.trust.judge import Judge

CALIBRATION = "calibration.npy"
"""In a build folder: the integers [H, W, C] of the picture of `hwseg compile --calibrate`."""
USED = (
    *("report.json", "model.onnx", "program.bin", "weights.bin", "memory.json", "graph.json", "top.v", "sim_cells.v"),
    CALIBRATION,
    GENERIC,
)
"""What is read of a build folder, by any command."""


def require_build(folder: Path, *, verify: bool = True) -> None:
    """Raise HwsegError unless `folder` is a build, with `verify` one whose every file is as it was written."""
    cure = "run hwseg compile first"
    require(folder.is_dir(), str(folder), "must be a build folder, but there is none", cure)
    require((folder / "report.json").is_file(), str(folder), "must be a build folder, but has no report.json", cure)
    if verify:
        verify_manifest(folder, USED)


def load_build(folder: Path, *, verify: bool = True) -> tuple[Graph, Program, Mapping[str, Any]]:
    """What a build folder contains, compiled again from its model."""
    require_build(folder, verify=verify)
    with given(folder / "report.json", "a report of hwseg compile", "compile the model again"):
        report = json.loads((folder / "report.json").read_bytes())
        planes, config = int(report.get("planes", 8)), parse_array(report["array"])
        clock = float(report["clock_mhz"])
    board = board_of(folder, report)
    graph = turned(_graph(folder, report), planes)
    program = compile_graph(graph, config, board, bool(report.get("inexact")), clock_mhz=clock)
    return graph, program, report


def board_of(folder: Path, report: Mapping[str, Any]) -> Board:
    """What a build was compiled for: the board file that it has a copy of, else one of hwseg's boards by its name."""
    own = folder / GENERIC
    return own_board(read_file(own, LARGEST), str(own)) if own.is_file() else load_board(str(report["board"]))


def load_graph(folder: Path) -> Graph:
    """The integer graph of a build's model, all planes, with what was chosen of its pixels."""
    with given(folder / "report.json", "a report of hwseg compile", "compile the model again"):
        report = json.loads((folder / "report.json").read_bytes())
    return _graph(folder, report)


def judge_of_build(folder: Path) -> Judge:
    """What judges the masks of a build; HwsegError where nothing was fitted to its model, with all its planes."""
    planes = int(read_report(folder).get("planes", 8))
    graph = turned(load_graph(folder), planes)
    if trust_of(graph) is None:
        few = f"a build of {planes} planes has none" if planes < 8 else "its model had none when it was compiled"
        rule = f"must have metadata hwseg.trust, which say where masks may be wrong: {few}"
        raise HwsegError(str(folder), rule, f"{FIT}, then compile it again")
    return judge_of(graph)


def _graph(folder: Path, report: Mapping[str, Any]) -> Graph:
    found = report.get("input", {})
    return chosen(load(folder / "model.onnx"), str(found["meaning"]) if found.get("origin") == CHOSEN else "")


def read_report(build: Path) -> dict[str, Any]:
    """report.json of a build folder, checked against the folder's manifest."""
    require(
        (build / "report.json").is_file(), str(build), "must be a build folder with report.json", "run hwseg compile"
    )
    verify_manifest(build, USED)
    with given(build / "report.json", "a report of hwseg compile", "compile the model again"):
        content: dict[str, Any] = json.loads((build / "report.json").read_bytes())
    return content
