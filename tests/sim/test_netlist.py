"""Netlists in Verilator: models of the part's cells, and the packaged top level after synthesis."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.sim.cells import cell_models, cells_used
from hwseg.toolchain import yosys

pytestmark = [pytest.mark.verilator, pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")]

HERE = Path(__file__).parent
SDP = {"a": (72, 512, 9), "b": (32, 512, 8), "c": (9, 4096, 9), "d": (1, 16384, 1), "e": (36, 1024, 9)}
"""Width, words and the bits that one write enable writes, of memories that are read at one port and written at the other."""
TDP = {"f": (18, 1024, 0), "g": (4, 4096, 1), "h": (9, 2048, 1), "i": (2, 8192, 0)}
"""Width, words, and whether the port that writes shows the new word."""

SERVE = """
import os, sys
from pathlib import Path
from hwseg.sim import build
work = Path(sys.argv[1])
sources = [work / "rams.v", build.HERE / "block_ram.v", work / "cells.v", work / "gates.v", work / "bench.v"]
simulator = build.build_bench("bench", sources, ())
build.run_cocotb(simulator, "bench", "tests.sim.ram_campaign", work, (), **{n: os.environ[n] for n in sys.argv[2:]})
"""


def shape(name: str) -> str:
    """The module of one memory."""
    if name in SDP:
        width, words, byte = SDP[name]
        at, writes = f"[{(words - 1).bit_length() - 1}:0]", f"[{width // byte - 1}:0]"
        return (
            f"module ram_{name}(input clk, input {writes} write, input {at} to, from, input [{width - 1}:0] in,\n"
            f"  input enable, read, output [{width - 1}:0] out, second);\n"
            f"  ram_sdp #({width}, {words}, {byte}) ram(clk, write, to, in, read, from, out);\n"
            "  assign second = 0;\nendmodule\n"
        )
    width, words, new = TDP[name]
    at = f"[{(words - 1).bit_length() - 1}:0]"
    return (
        f"module ram_{name}(input clk, write, input {at} to, from, input [{width - 1}:0] in,\n"
        f"  input enable, read, output [{width - 1}:0] out, second);\n"
        f"  ram_tdp #({width}, {words}, {new}) ram(clk, write, enable, to, in, out, read, from, second);\nendmodule\n"
    )


def bench(names: list[str]) -> str:
    """Memories and netlists side by side; addresses are drawn from 64, half of them high, so that ports often meet."""
    lines = [
        "`timescale 1ns / 1ps",
        "module bench(input clk /*verilator public_flat_rw*/);",
        "  reg [31:0] cycles /*verilator public_flat_rd*/ = 0;",
        "  reg [127:0] r = 128'h9e3779b97f4a7c15f39cc0605cedc834;",
        "  always @(posedge clk) begin",
        "    cycles <= cycles + 1;",
        "    r <= {r[126:0], r[127] ^ r[125] ^ r[100] ^ r[98]} ^ {r[63:0], 32'd0, 32'd2654435761 * cycles};",
        "  end",
    ]
    for name in names:
        width, words = (SDP.get(name) or TDP[name])[:2]
        high = (words - 1).bit_length() - 6
        writes = width // SDP[name][2] if name in SDP else 1
        inputs = (
            f".clk(clk), .write(r[{39 + writes}:40] & r[{59 + writes}:60]), .to({{{{{high}{{r[0]}}}}, r[6:1]}}), "
            f".from({{{{{high}{{r[7]}}}}, r[13:8]}}), .in(r[{56 + width - 1}:56]), .enable(r[14] | r[15]), .read(r[16] | r[17])"
        )
        for form in ("source", "gates"):
            wires = ", ".join(f"{name}_{form}_{port}" for port in ("out", "second"))
            lines.append(f"  wire [{width - 1}:0] {wires};")
            module = f"ram_{name}" + ("_gates" if form == "gates" else "")
            outputs = ", ".join(f".{port}({name}_{form}_{port})" for port in ("out", "second"))
            lines.append(f"  {module} {name}_{form}({inputs}, {outputs});")
        lines += [
            f"  reg [31:0] {name}_errors /*verilator public_flat_rd*/ = 0;",
            f"  always @(posedge clk) if ({name}_source_out != {name}_gates_out || {name}_source_second != "
            f"{name}_gates_second) {name}_errors <= {name}_errors + 1;",
        ]
    return "\n".join([*lines, "endmodule"]) + "\n"


def test_block_rams_of_all_shapes_do_what_the_memories_did_that_they_were_made_of(tmp_path):
    names = [*SDP, *TDP]
    (tmp_path / "rams.v").write_text((HERE / "rams.v").read_text() + "".join(map(shape, names)))
    gates = []
    for name in names:
        netlist = tmp_path / f"{name}.v"
        found = yosys.synth_xilinx([tmp_path / "rams.v"], f"ram_{name}", written=netlist)
        assert found.bram36 > 0, name
        gates.append(re.sub(rf"\bram_{name}\b", f"ram_{name}_gates", netlist.read_text()))
    (tmp_path / "gates.v").write_text("\n".join(gates))
    kinds = cells_used("\n".join(gates))
    assert {"RAMB18E1", "RAMB36E1"} <= kinds
    (tmp_path / "cells.v").write_text(cell_models("\n".join(gates)))
    (tmp_path / "bench.v").write_text(bench(names))
    root = HERE.parents[1]
    variables = {"HWSEG_RAMS": " ".join(names), "HWSEG_RESULTS": str(tmp_path / "results.json")}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path), *variables],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root), **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (tmp_path / "results.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "results.json").read_text())
    assert found.pop("cycles") >= 3999
    assert found == dict.fromkeys(names, 0)


def test_a_cell_without_a_model_is_refused():
    with pytest.raises(HwsegError, match="netlist cell XADC: has no model in Yosys's cells_sim.v; update pyosys"):
        cell_models("module part(a);\n  XADC adc (\n    .A(a)\n  );\nendmodule\n")
