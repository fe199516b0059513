"""What a build costs and how fast it is: report.json as a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwseg.boards import Board
from hwseg.clock.timing import STARTUP, Timing
from hwseg.compile.plan.plan import LayerPlan
from hwseg.ir import Graph
from hwseg.layout import TensorLayout
from hwseg.rtl.config import EngineConfig
from hwseg.target.array import warnings
from hwseg.target.resources import estimate

RESOURCES = ("lut", "lutram", "ff", "bram36", "dsp")
PORT_BYTES = 16
"""Bytes that the engine's memory port moves in a cycle: a word read and a word written."""


def build_report(
    graph: Graph,
    plans: Sequence[LayerPlan],
    tensors: Mapping[str, TensorLayout],
    timing: Timing,
    config: EngineConfig,
    board: Board,
    clock_mhz: float,
    measured: Mapping[str, float] | None = None,
    inexact: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything predicted, before anything is simulated."""
    layers = [startup_row(timing)]
    layers += [layer_row(plan, tensors, timing, config, board, clock_mhz) for plan in plans]
    macs = sum(plan.layer.macs for plan in plans)
    seconds = timing.total / (clock_mhz * 1e6)
    moved = 8 * (sum(timing.read_words.values()) + sum(timing.write_words.values()))
    busy = sum(row["lane_cycles"] for row in layers[1:])
    for row in layers:
        row.pop("lane_cycles", None)
    estimated = estimate(config)
    resources = {
        name: {
            "estimated": estimated[name],
            "measured": None if measured is None else measured[name],
            "available": board.resources[name],
        }
        for name in RESOURCES
    }
    return {
        "model": graph.name,
        "board": board.name,
        "clock_mhz": clock_mhz,
        "array": config.name,
        "core": config.core,
        "resources": resources,
        "warnings": warnings(resources, board.name),
        "totals": {
            "name": "total",
            "op": "total",
            "planes": mean_planes(layers),
            "cycles": timing.total,
            "latency_ms": seconds * 1e3,
            "fps": 1 / seconds,
            "gops": 2 * macs / seconds / 1e9,
            "macs": macs,
            "weights": sum(plan.layer.weights.size for plan in plans),
            "ddr_bytes": moved,
            "ddr_bytes_per_second": moved / seconds,
            "utilization": busy / timing.total,
            "peak_gops": 2 * config.peak_macs * clock_mhz / 1e3,
            "memory_bytes_per_second": memory_rate(board, clock_mhz),
        },
        "inexact": dict(inexact or {}),
        "layers": layers,
    }


def mean_planes(rows: Sequence[Mapping[str, Any]]) -> float:
    """Digit planes of an input, on average over the multiplications."""
    macs = sum(row["macs"] for row in rows)
    return sum(row["macs"] * row["planes"] for row in rows) / macs if macs else 0.0


def memory_rate(board: Board, clock_mhz: float) -> float:
    """Bytes per second that both the board's memory and the engine's port can move."""
    return min(board.ddr_bytes_per_second, PORT_BYTES * clock_mhz * 1e6)


def startup_row(timing: Timing) -> dict[str, Any]:
    """Cycles before the first compute instruction; what is loaded then is counted with the layer that it is for."""
    nothing = {"macs": 0, "planes": 0, "utilization": 0.0, "gops": 0.0, "ddr_bytes": 0}
    return {"name": STARTUP, "op": STARTUP, **nothing, "cycles": timing.startup, "bound": "memory"}


def layer_row(
    plan: LayerPlan,
    tensors: Mapping[str, TensorLayout],
    timing: Timing,
    config: EngineConfig,
    board: Board,
    clock_mhz: float,
) -> dict[str, Any]:
    """One layer; utilization is the share of lane cycles that multiply real weights with real pixels."""
    layer, number = plan.layer, plan.index
    cycles = timing.layers[number]
    moved = 8 * (timing.read_words[number] + timing.write_words[number])
    planes = max(source.planes for source in plan.sources)
    lane_cycles = layer.macs * planes / (config.rows * config.pixels * config.lanes)
    compute, memory = timing.walking[number], moved / memory_rate(board, clock_mhz) * clock_mhz * 1e6
    low, high = layer.interval
    return {
        "name": layer.name,
        "op": layer.op + ("+pool" if layer.pooled else "") + ("+head" if layer.dot else ""),
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.shape),
        "inputs": list(dict.fromkeys(operand.tensor for operand in layer.operands)),
        "outputs": [name for name in (layer.output, layer.pooled) if name],
        "macs": layer.macs,
        "planes": planes,
        "out_planes": 32 if layer.requantize is None else plan.out_planes,
        "cycles": cycles,
        "compute_cycles": compute,
        "stalls": timing.stalls[number],
        "utilization": lane_cycles / cycles if cycles else 0.0,
        "ddr_bytes": moved,
        "gops": 2 * layer.macs / max(cycles, 1) * clock_mhz / 1e3,
        "accumulator": [low, high],
        "bound": "compute" if compute >= memory else "memory",
        "lane_cycles": lane_cycles,
        "tiling": {
            "rows": plan.rows,
            "word_columns": plan.columns,
            "passes_per_block": len(plan.blocks[0]),
            "resident": plan.resident or len(plan.blocks) == 1,
        },
    }
