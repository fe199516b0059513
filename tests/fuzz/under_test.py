"""Everything of the package that the fuzzer calls, in one place."""

from __future__ import annotations

from hwseg import golden
from hwseg.boards import load_board
from hwseg.compile.api import Program, compile_graph
from hwseg.compile.dial import turned
from hwseg.compile.execute import execute, memory_contents
from hwseg.compile.machine import Machine
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.ops import MaxPool2d, Upsample2d
from hwseg.quant.load import load_with_origins
from hwseg.quant.values import Part, Value
from hwseg.rtl.config import PRESETS, EngineConfig, parse_array
from hwseg.rtl.isa import FORMATS, Opcode

__all__ = [
    "FORMATS",
    "PRESETS",
    "EngineConfig",
    "Graph",
    "HwsegError",
    "Machine",
    "MaxPool2d",
    "Opcode",
    "Part",
    "Program",
    "Upsample2d",
    "Value",
    "compile_graph",
    "execute",
    "golden",
    "load_board",
    "load_with_origins",
    "memory_contents",
    "parse_array",
    "turned",
]
