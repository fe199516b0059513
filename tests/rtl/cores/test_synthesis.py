"""What the cores cost on the xc7z020: yosys `synth_xilinx` in a process of its own, 72 lanes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.emit import verilog

pytest.importorskip("pyosys", reason="needs pyosys (extra synth)")

SCRIPT = """
import sys, pyosys.libyosys as yosys
design = yosys.Design()
for command in sys.argv[1:]:
    yosys.run_pass(command, design)
"""


def cells(component, name: str, folder: Path) -> dict[str, int]:
    source, counts = folder / f"{name}.v", folder / f"{name}.json"
    source.write_text(verilog(component, name))
    commands = [
        f"read_verilog {source}",
        f"tee -q -o {folder}/log synth_xilinx -family xc7 -flatten -noiopad -top {name}",
        f"tee -q -o {counts} stat -tech xilinx -json",
    ]
    subprocess.run([sys.executable, "-c", SCRIPT, *commands], check=True, capture_output=True, timeout=120)
    return json.loads(counts.read_text())["design"]["num_cells_by_type"]


def luts(found: dict[str, int]) -> int:
    """LUT sites: a RAM32M takes four."""
    return sum(n for cell, n in found.items() if cell.startswith(("LUT", "SRL"))) + 4 * found.get("RAM32M", 0)


def test_the_table_core_keeps_its_tables_in_lut_memory_and_one_lut_per_adder_bit(tmp_path):
    found = cells(FAMILIES["table"].core(72), "core", tmp_path)
    assert found["RAM32M"] == 24
    assert luts(found) <= 276


def test_the_table_loader_and_encoder(tmp_path):
    assert luts(cells(FAMILIES["table"].loader(72), "loader", tmp_path)) <= 370
    assert luts(cells(FAMILIES["table"].encoder(72), "encoder", tmp_path)) <= 72


@pytest.mark.slow
def test_the_merged_core_is_a_tree_of_and_gates(tmp_path):
    found = cells(FAMILIES["merged"].core(72), "core", tmp_path)
    assert "RAM32M" not in found
    assert luts(found) <= 1010
