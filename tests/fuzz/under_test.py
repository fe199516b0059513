"""Everything of the package that the fuzzer calls, in one place."""

from __future__ import annotations

from hwseg import golden
from hwseg.boards import Board, load_board
from hwseg.clock.clock import Clock
from hwseg.clock.columns import unpack
from hwseg.clock.constants import Constants
from hwseg.clock.pacer import Pacer
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.machine.activity import skipping
from hwseg.machine.execute import execute
from hwseg.ops import ROUNDING, Add, Concat, MaxPool2d, PRelu, Requantize, Upsample2d
from hwseg.quant.read.load import RULES, load_with_origins
from hwseg.quant.read.values import Part, Value
from hwseg.rtl.config import PRESETS, EngineConfig, parse_array
from hwseg.rtl.isa import CONFIG, FORMATS, PARAMETER, Mode, Opcode, Scatter, Target
from hwseg.sim.simulate import lay_out, simulate_program

__all__ = [
    "CONFIG",
    "FORMATS",
    "PARAMETER",
    "PRESETS",
    "ROUNDING",
    "RULES",
    "Add",
    "Board",
    "Clock",
    "Concat",
    "Constants",
    "EngineConfig",
    "Graph",
    "HwsegError",
    "MaxPool2d",
    "Mode",
    "Opcode",
    "PRelu",
    "Pacer",
    "Part",
    "Program",
    "Requantize",
    "Scatter",
    "Target",
    "Upsample2d",
    "Value",
    "compile_graph",
    "execute",
    "golden",
    "lay_out",
    "load_board",
    "load_with_origins",
    "parse_array",
    "simulate_program",
    "skipping",
    "turned",
    "unpack",
]
