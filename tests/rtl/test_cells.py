"""The models of vendor cells against the ones that Yosys ships: equal for every input, proven by induction."""

import re
from importlib import resources
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.rtl.cells import SIMULATION, sim_cells
from hwseg.toolchain.yosys import run_script


def shipped_model(name):
    """The cell's module from Yosys's cells_sim.v."""
    text = Path(str(resources.files("pyosys"))).joinpath("share/xilinx/cells_sim.v").read_text()
    return re.search(rf"module {name} \(.*?endmodule", text, re.S)[0]


def test_a_text_without_cells_needs_no_models():
    assert sim_cells("module m; endmodule") == ""
    assert sim_cells("RAM32M memory_0 (").count("endmodule") == 1


def test_ram32m_is_what_yosys_simulates(tmp_path):
    (tmp_path / "ours.v").write_text(SIMULATION.replace("module RAM32M", "module ours"))
    (tmp_path / "theirs.v").write_text(shipped_model("RAM32M").replace("module RAM32M", "module theirs"))
    log = run_script(
        [
            "read_verilog ours.v",
            "read_verilog theirs.v",
            "proc",
            "equiv_make theirs ours both",
            "hierarchy -top both",
            "equiv_simple -undef",
            "equiv_induct -undef",
            "equiv_status -assert",
        ],
        tmp_path,
    )
    assert "Equivalence successfully proven" in log


def test_the_proof_sees_a_wrong_model(tmp_path):
    (tmp_path / "ours.v").write_text(
        SIMULATION.replace("module RAM32M", "module ours").replace("mem_b[2*ADDRB", "mem_b[2*ADDRC")
    )
    (tmp_path / "theirs.v").write_text(shipped_model("RAM32M").replace("module RAM32M", "module theirs"))
    steps = ["read_verilog ours.v", "read_verilog theirs.v", "proc", "equiv_make theirs ours both"]
    with pytest.raises(HwsegError, match="unproven"):
        run_script([*steps, "hierarchy -top both", "equiv_simple -undef", "equiv_status -assert"], tmp_path)
