"""From a model file to a build folder, which is whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.boards import GENERIC, find_board
from hwseg.builds.energy import CALIBRATION, npy_bytes, read_fitting
from hwseg.builds.files import graph_json, json_bytes
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import Program, Progress, compile_graph, silent
from hwseg.energy.frame import activity_of_program
from hwseg.errors import require
from hwseg.files import build_folder
from hwseg.pictures.choice import ASSUMED
from hwseg.pictures.source import choice_of, chosen
from hwseg.power.coefficients import load as load_coefficients
from hwseg.power.estimate import EnergyReport, estimate
from hwseg.report.advice import idle_lanes
from hwseg.report.energy import with_energy
from hwseg.report.figures import build_report
from hwseg.report.html import CALIBRATED, html, segmented, timeline_svg
from hwseg.report.text import csv_text, markdown
from hwseg.rtl.cells import sim_cells
from hwseg.target.array import beyond, choose_array, doubt, require_fit
from hwseg.target.engine_text import in_background
from hwseg.trust.graph import trust_of


@dataclass(frozen=True)
class Build:
    """A build folder and its report."""

    path: Path
    program: Program
    report: Mapping[str, Any]


def compile_model(
    path: str | Path,
    board: str = "zynq7020",
    clock_mhz: float | None = None,
    array: str = "auto",
    out: str | Path | None = None,
    synth: bool = False,
    allow_inexact: bool = False,
    core: str = "table",
    progress: Progress = silent,
    planes: int = 8,
    calibrate: str | Path | np.ndarray | None = None,
    meaning: str = "",
    size: tuple[int, int] | None = None,
    page: int | None = None,
    output: str = "",
    tool: str | None = None,
    measured: Mapping[str, float] | None = None,
    note: str = "",
) -> Build:
    """Read a QONNX file, compile it and write the build folder (default: the model's name with `.hwseg`).

    board: a name, or the path of a board file, of which the build then has a copy.  planes: the accuracy dial, the most
    digit planes that an activation is written with.  calibrate: a picture whose activity the energy report counts,
    stored in the build, or the integers [H, W, C] of one; page: which one of a file that holds several.  meaning: what
    pixels are to a model whose file does not say, as of `hwseg.pictures.choice.named`; it is remembered in the report
    and the graph.  size: (height, width) of pictures, if another than the file's; the build holds the file for it.
    output: the tensor that the network gives, of a file with several outputs; the build's file has no other.
    tool: the one for place and route that `auto` is for (the board's), or that another array is judged for.  measured:
    resources, where they were synthesized before.  note: a warning for the report.
    """
    from hwseg.quant.read.load import load
    from hwseg.quant.read.onnx_file import self_contained
    from hwseg.quant.read.outputs import CHOSEN as CHOSEN_OUTPUT
    from hwseg.quant.read.reshape import reshaped_file

    target = find_board(board)
    config = choose_array(array, core, target, tool)
    known = doubt(target, tool) if array == "auto" else beyond(config, target, tool) if tool else ""
    clock = target.clock_mhz if clock_mhz is None else clock_mhz
    require(1 <= clock <= 1000, "--clock-mhz", f"must be from 1 to 1000, is {clock:g}", f"use {target.clock_mhz:g}")
    require_fit(config, target)
    top = in_background(config)
    progress(f"reading {Path(path).name}")
    if size is None:
        read, copied = load(path, output), self_contained(path, output)
    else:
        copied, read = reshaped_file(Path(path), size, output)
    fitted = trust_of(read)
    graph = turned(chosen(read, meaning), planes)
    pixels = choice_of(graph)
    if isinstance(calibrate, np.ndarray):
        picture: np.ndarray | None = calibrate
    else:
        picture = None if calibrate is None else read_fitting(Path(calibrate), graph, page=page)
    program = compile_graph(graph, config, target, allow_inexact, progress, clock)
    folder = Path(path).with_suffix(".hwseg") if out is None else Path(out)
    with build_folder(folder) as scratch:
        progress(f"generating the Verilog of {config.name}, once per array")
        text = top.result()
        (scratch / "top.v").write_text(text)
        if cells := sim_cells(text):
            (scratch / "sim_cells.v").write_text(cells)
        if synth:
            progress(f"synthesizing {config.name}: minutes")
        measured = measure(scratch / "top.v") if synth else measured
        progress("predicting cycles")
        found = program.timeline()
        report = build_report(
            graph,
            program.plans,
            program.memory.layouts,
            program.timing(),
            config,
            target,
            clock,
            measured,
            program.inexact,
        )
        report["planes"] = planes
        report["warnings"] += [said for said in (note, known) if said]
        report["input"] = pixels.json(graph.name)
        if CHOSEN_OUTPUT in graph.metadata:
            report["output"] = graph.metadata[CHOSEN_OUTPUT]
        report["warnings"] += [report["input"]["sentence"]] if pixels.origin == ASSUMED else []
        if fitted is not None and trust_of(graph) is None:
            report["warnings"].append(f"trust was fitted to all planes, so a build of {planes} has none")
        report["warnings"] += idle_lanes(program.plans, program.timing(), config)
        seen = None if picture is None else golden.run(graph, picture)
        report = with_energy(report, estimated_energy(program, clock, seen))
        pictures = [] if picture is None or seen is None else [segmented(graph, picture, seen, CALIBRATED)]
        contents = {
            "program.bin": program.program,
            "weights.bin": program.weights,
            "memory.json": json_bytes(program.memory_json()),
            "graph.json": json_bytes(graph_json(graph)),
            "report.json": json_bytes(report),
            "report.md": markdown(report).encode(),
            "report.csv": csv_text(report).encode(),
            "report.html": html(report, found, pictures).encode(),
            "timeline.svg": timeline_svg(report, found).encode(),
            "model.onnx": copied,
        }
        if target.file:
            contents[GENERIC] = target.file
        if picture is not None:
            contents[CALIBRATION] = npy_bytes(picture)
        for name, content in contents.items():
            (scratch / name).write_bytes(content)
    return Build(folder, program, report)


def estimated_energy(program: Program, clock_mhz: float, seen: golden.Result | None) -> EnergyReport:
    """Energy of a frame with the activity of a calibration picture's maps, or with the default one."""
    activity = (
        activity_of_program(program) if seen is None else activity_of_program(program, [seen.tensors], "calibration")
    )
    return estimate(activity, load_coefficients(), clock_mhz)


def measure(top: Path) -> dict[str, float]:
    """Synthesized resources of the engine; its modules stay apart until they are mapped."""
    from hwseg.toolchain.yosys import synth_xilinx

    found = synth_xilinx([top], "hwseg", keep_hierarchy=("hwseg_*",))
    return {name: getattr(found, name) for name in ("lut", "lutram", "ff", "bram36", "dsp")}
