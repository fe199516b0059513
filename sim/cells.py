"""A netlist of a 7-series part's cells, as Yosys writes it in JSON, as Verilog with models of its cells.

The models are Yosys's own.  Of two cells it only declares the ports: RAMB18E1 has the model that `BlockRam` is tested
with, and PS7 is `ps7.v`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import Any

from hwseg.borders import REPORT, install
from hwseg.errors import file_errors, require
from hwseg.rtl.cells import BLOCK_RAM

OURS = {"RAMB18E1": BLOCK_RAM}
PROCESSING_SYSTEM = "PS7"
LUT = re.compile("LUT[1-6]")
FUNCTION = re.compile(r"\b(assign|always)\b")
"""In a model that is more than ports and delays."""
RESET = {"FDRE": "R", "FDSE": "S"}
"""Which pin gives a flip-flop its value whatever its enable says."""


def cell_models(kinds: frozenset[str]) -> str:
    """Verilog of these kinds of cells.  Raises HwsegError for a kind of which there is no model, and without pyosys."""
    spec = util.find_spec("pyosys")
    require(spec is not None, "yosys", "pyosys must be installed", install("synth"))
    assert spec is not None
    assert spec.origin is not None
    library = Path(spec.origin).with_name("share") / "xilinx" / "cells_sim.v"
    with file_errors(library):
        text = library.read_text()
    modules = {name: whole for whole, name in re.findall(r"^(module (\w+)\b.*?^endmodule)", text, re.S | re.M)}
    modules |= OURS
    parts = ["`timescale 1ns / 1ps"]
    for kind in sorted(kinds - {PROCESSING_SYSTEM}):
        rule = "is of a kind that Yosys has no simulation model of"
        require(FUNCTION.search(modules.get(kind, "")) is not None, f"netlist cell {kind}", rule, REPORT)
        parts.append(modules[kind])
    return "\n\n".join(parts) + "\n"


def netlist_verilog(module: Mapping[str, Any], name: str) -> str:
    """A flat module of Yosys's JSON as Verilog: each net has one bit, each cell is an instance.

    LUTs and flip-flops, nine cells of ten, are written out: as instances they cost Verilator several times as much.  So
    are carry chains: with vectors for ports Verilator takes what goes from one bit through a LUT to a later bit of the
    same chain for a loop, and runs it until it is at rest.
    """
    lines = [f"module {name}({', '.join(module['ports'])});"]
    cells = sorted(module["cells"].items())
    ends = [bits for _, cell in cells for bits in cell["connections"].values()]
    nets = {bit for bits in [*ends, *(port["bits"] for port in module["ports"].values())] for bit in bits}
    registers = {cell["connections"]["Q"][0]: cell for _, cell in cells if _is_plain_flip_flop(cell)}
    for bit in sorted(bit for bit in nets if isinstance(bit, int)):
        if bit in registers:
            lines.append(f"  reg n{bit} = {_value(registers[bit]['parameters']['INIT'])};")
        else:
            lines.append(f"  wire n{bit};")
    for port, found in module["ports"].items():
        bits, inward = found["bits"], found["direction"] == "input"
        left, right = (_bits(bits), port) if inward else (port, _bits(bits))
        lines += [f"  {found['direction']} [{len(bits) - 1}:0] {port};", f"  assign {left} = {right};"]
    lines += _flip_flops(registers)
    for number, (title, cell) in enumerate(cells):
        if LUT.fullmatch(cell["type"]):
            lines.append(_look(cell))
        elif cell["type"] == "CARRY4":
            lines += _carries(f"c{number}", cell)
        elif not _is_plain_flip_flop(cell):
            lines.append(_instance(title if re.fullmatch(r"[a-z]\w*", title) else f"c{number}", cell))
    return "\n".join([*lines, "endmodule"]) + "\n"


def _instance(label: str, cell: Mapping[str, Any]) -> str:
    parameters = ", ".join(f".{key}({_value(value)})" for key, value in sorted(cell["parameters"].items()))
    pins = ", ".join(f".{pin}({_bits(bits)})" for pin, bits in sorted(cell["connections"].items()) if bits)
    return f"  {cell['type']} {f'#({parameters}) ' if parameters else ''}{label} ({pins});"


def _look(lut: Mapping[str, Any]) -> str:
    """A LUT: the bit of its table at its inputs."""
    pins = lut["connections"]
    inputs = [(pins.get(f"I{number}") or ["0"])[0] for number in range(int(lut["type"][-1]))]
    return f"  assign {_bits(pins['O'])} = {_value(lut['parameters']['INIT'])} >> {_bits(inputs)};"


def _carries(label: str, chain: Mapping[str, Any]) -> list[str]:
    """Four bits of a carry chain.  A sum is S xor the carry in; a carry out is the carry in where S is 1, else DI."""
    pins = chain["connections"]
    lines = [f"  wire {label} = {' | '.join(_bits(pins.get(pin) or ['0']) for pin in ('CI', 'CYINIT'))};"]
    for bit, (s, di) in enumerate(zip(pins["S"], pins["DI"], strict=True)):
        carry = label if bit == 0 else f"{label}_{bit}"
        lines.append(f"  wire {label}_{bit + 1} = {_bits([s])} ? {carry} : {_bits([di])};")
        sums, carries = pins.get("O"), pins.get("CO")
        lines += [f"  assign {_bits([sums[bit]])} = {_bits([s])} ^ {carry};"] if sums else []
        lines += [f"  assign {_bits([carries[bit]])} = {label}_{bit + 1};"] if carries else []
    return lines


def _is_plain_flip_flop(cell: Mapping[str, Any]) -> bool:
    """With a synchronous reset or set, none of its inputs inverted, all of them connected."""
    if cell["type"] not in RESET or "INIT" not in cell["parameters"]:
        return False
    pins, inverted = ("C", "CE", "D", "Q", RESET[cell["type"]]), set(cell["parameters"]) - {"INIT"}
    return all(cell["connections"].get(pin) for pin in pins) and not any(
        "1" in cell["parameters"][name] for name in inverted
    )


def _flip_flops(registers: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Flip-flops by the net that they hold: those of one control set in one block."""
    sets: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for bit, cell in registers.items():
        pins = {pin: _bits(bits) for pin, bits in cell["connections"].items()}
        key = (pins["C"], pins["CE"], pins[RESET[cell["type"]]], cell["type"])
        sets.setdefault(key, []).append((f"n{bit}", pins["D"]))
    lines = []
    for (clock, enable, reset, kind), found in sets.items():
        lines.append(f"  always @(posedge {clock}) if ({reset}) begin")
        lines += [f"    {q} <= 1'b{int(kind == 'FDSE')};" for q, _ in found]
        lines.append(f"  end else if ({enable}) begin")
        lines += [f"    {q} <= {d};" for q, d in found]
        lines.append("  end")
    return lines


def kinds_of(module: Mapping[str, Any]) -> frozenset[str]:
    """Kinds of a flat module's cells."""
    return frozenset(cell["type"] for cell in module["cells"].values())


def _bits(bits: list[int | str]) -> str:
    """Nets and constants, the lowest first in JSON and last in Verilog."""
    words = [f"n{bit}" if isinstance(bit, int) else f"1'b{bit}" for bit in reversed(bits)]
    return words[0] if len(words) == 1 else f"{{{', '.join(words)}}}"


def _value(value: str) -> str:
    """A parameter: a string of bits, or another string, which has a space at its end if it could be taken for bits."""
    if re.fullmatch("[01xz]+", value):
        return f"{len(value)}'b{value}"
    return '"' + (value[:-1] if re.fullmatch("[01xz]* +", value) else value) + '"'
