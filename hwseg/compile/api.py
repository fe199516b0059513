"""From a model file to a build folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwseg import golden
from hwseg.boards import Board, load_board
from hwseg.compile.advice import idle_lanes
from hwseg.compile.array import choose_array, require_fit
from hwseg.compile.chain import Chain, plans_of
from hwseg.compile.dial import turned
from hwseg.compile.emit import graph_json, json_bytes
from hwseg.compile.engine_text import in_background
from hwseg.compile.explain import Explanation, explain
from hwseg.compile.fused import walk_network
from hwseg.compile.lower import Network, lower
from hwseg.compile.memory import MemoryMap, map_memory
from hwseg.compile.parameters import images, layer_triples
from hwseg.compile.plan import LayerPlan
from hwseg.compile.report import build_report
from hwseg.compile.report_energy import with_energy
from hwseg.compile.report_html import CALIBRATED, html, segmented, timeline_svg
from hwseg.compile.report_text import csv_text, markdown
from hwseg.compile.schedule import Pace, schedule
from hwseg.compile.spans import Spans, record
from hwseg.compile.timeline import Timeline, timeline
from hwseg.compile.timing import Timing, predict
from hwseg.compile.variants import plan_cheapest
from hwseg.errors import require
from hwseg.files import build_folder
from hwseg.ir import Graph
from hwseg.power.coefficients import load as load_coefficients
from hwseg.power.estimate import EnergyReport, estimate
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.config import EngineConfig

MAX_LAYERS = 256
MAX_PROGRAM_WORDS = 1 << 24


Progress = Callable[[str], None]
"""Called with what begins, as a phrase."""


def _silent(_: str) -> None:
    """No progress."""


@dataclass(frozen=True)
class Program:
    """A graph compiled for an array: everything but the files."""

    graph: Graph
    network: Network
    config: EngineConfig
    board: Board
    chains: tuple[Chain, ...]
    memory: MemoryMap
    program: bytes
    weights: bytes
    inexact: Mapping[str, int]

    @property
    def plans(self) -> tuple[LayerPlan, ...]:
        """Every layer's plan, in order."""
        return tuple(plans_of(self.chains))

    @cached_property
    def spans(self) -> Spans:
        """When each instruction runs, with the board's memory latency."""
        return record(self.program, self.config, self.board.ddr_latency)

    def timeline(self) -> Timeline:
        """One frame, to be drawn."""
        return timeline(self.spans, [plan.layer.name for plan in self.plans])

    def timing(self, latency: int | None = None, saved: Sequence[int] | None = None) -> Timing:
        """Predicted cycles; the board's memory latency unless another is given.  `saved`: by skipping, of every RUN
        (`hwseg.compile.activity.skipping`); without it execution is dense, which is a bound.
        """
        if latency in (None, self.board.ddr_latency) and saved is None and "spans" in self.__dict__:
            return self.spans.timing
        return predict(self.program, self.config, self.board.ddr_latency if latency is None else latency, saved)

    def explain(self) -> tuple[Explanation, ...]:
        """Where each layer's predicted cycles go, and what would help."""
        lanes = self.config.rows * self.config.pixels * self.config.lanes
        busy = [p.layer.array_macs * max(s.planes for s in p.sources) / lanes for p in self.plans]
        return explain(self.chains, self.timing(), busy)

    def memory_json(self) -> dict[str, Any]:
        return self.memory.to_json(len(self.program), self.config)


@dataclass(frozen=True)
class Build:
    """A build folder and its report."""

    path: Path
    program: Program
    report: Mapping[str, Any]


def compile_graph(
    graph: Graph,
    config: EngineConfig,
    board: Board,
    allow_inexact: bool = False,
    progress: Progress = _silent,
    clock_mhz: float | None = None,
) -> Program:
    """Plan, schedule and encode.  The program paces itself to the board's memory at `clock_mhz` (the board's own)."""
    progress("planning layers")
    network, inexact = lower(graph, allow_inexact)
    require(
        len(network.layers) <= MAX_LAYERS,
        graph.name,
        f"must have at most {MAX_LAYERS} layers, has {len(network.layers)}",
        "use a smaller network",
    )
    pace = Pace.of(board.ddr_bytes_per_second, clock_mhz or board.clock_mhz)
    network, chains = plan_cheapest(network, config, pace.cycles_per_word)
    plans = tuple(plans_of(chains))
    memory = map_memory(network, plans, config, board.ddr_bytes)
    tiles, parameters = [], []
    for plan in plans:
        progress(f"weights of {plan.layer.name}, layer {plan.index + 1} of {len(plans)}")
        triples = layer_triples(plan.layer, allow_inexact)
        if triples.wrong:
            inexact[plan.layer.name] = inexact.get(plan.layer.name, 0) + triples.wrong
        weights, words = images(plan, triples.triples, memory.tiles[plan.index], config)
        tiles.append(weights)
        parameters.append(words)
    progress("scheduling")
    walk = walk_network(chains, config, memory)
    program = schedule(walk, config, memory.program_address, pace, board.ddr_latency)
    require(
        len(program) // 8 < MAX_PROGRAM_WORDS,
        graph.name,
        f"needs a program of {len(program) // 32} instructions, the engine counts to {MAX_PROGRAM_WORDS // 4}",
        "use a larger array or smaller images",
    )
    return Program(graph, network, config, board, chains, memory, program, b"".join(tiles + parameters), inexact)


def compile_model(
    path: str | Path,
    board: str = "zynq7020",
    clock_mhz: float | None = None,
    array: str = "auto",
    out: str | Path | None = None,
    synth: bool = False,
    allow_inexact: bool = False,
    core: str = "table",
    progress: Progress = _silent,
    planes: int = 8,
    calibrate: str | Path | None = None,
) -> Build:
    """Read a QONNX file, compile it and write the build folder (default: the model's name with `.hwseg`).

    planes: the accuracy dial, the most digit planes that an activation is written with.  calibrate: a picture whose
    activity the energy report counts, stored in the build.
    """
    from hwseg.energy.api import CALIBRATION, npy_bytes, read_fitting
    from hwseg.quant.load import load

    target = load_board(board)
    config = choose_array(array, core, target)
    clock = target.clock_mhz if clock_mhz is None else clock_mhz
    require(1 <= clock <= 1000, "--clock-mhz", f"must be from 1 to 1000, is {clock:g}", f"use {target.clock_mhz:g}")
    require_fit(config, target)
    top = in_background(config)
    progress(f"reading {Path(path).name}")
    graph = turned(load(path), planes)
    picture = None if calibrate is None else read_fitting(Path(calibrate), graph)
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
        measured = measure(scratch / "top.v") if synth else None
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
        report["warnings"] += idle_lanes(program.plans, program.timing(), config)
        seen = None if picture is None else golden.run(graph, picture)
        report = with_energy(report, estimated_energy(program, clock, seen))
        pictures = [] if picture is None or seen is None else [segmented(graph, picture, seen.mask, CALIBRATED)]
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
        }
        if picture is not None:
            contents[CALIBRATION] = npy_bytes(picture)
        for name, content in contents.items():
            (scratch / name).write_bytes(content)
        shutil.copyfile(path, scratch / "model.onnx")
    return Build(folder, program, report)


def estimated_energy(program: Program, clock_mhz: float, seen: golden.Result | None) -> EnergyReport:
    """Energy of a frame with the activity of a calibration picture's maps, or with the default one."""
    from hwseg.energy.api import activity_of_program

    activity = (
        activity_of_program(program) if seen is None else activity_of_program(program, [seen.tensors], "calibration")
    )
    return estimate(activity, load_coefficients(), clock_mhz)


def measure(top: Path) -> dict[str, float]:
    """Synthesized resources of the engine; its modules stay apart until they are mapped."""
    from hwseg.toolchain.yosys import synth_xilinx

    found = synth_xilinx([top], "hwseg", keep_hierarchy=("hwseg_*",))
    return {name: getattr(found, name) for name in ("lut", "lutram", "ff", "bram36", "dsp")}
