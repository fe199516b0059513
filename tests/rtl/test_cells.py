"""The models of vendor cells against the ones that Yosys ships: equal for every input, proven by induction."""

import re
from functools import cache
from importlib import resources
from pathlib import Path

import pytest
from amaranth.back import verilog as backend
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, connect, flipped

from hwseg.errors import HwsegError
from hwseg.rtl.cells import ACCUMULATOR, SIMULATION, DspAccumulator, sim_cells
from hwseg.rtl.emit import verilog
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


class Around(Component):
    """One accumulator: an instance cannot be the top."""

    def __init__(self) -> None:
        self.dsp = DspAccumulator()
        super().__init__(self.dsp.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dsp = self.dsp
        connect(m, flipped(self), self.dsp)
        return m


PORTS = {"d": 25, "a": 25, "c": 48, "difference": 1, "add_c": 1, "subtract": 1, "enable": 1, "clk": 1, "rst": 1}


@cache
def instance() -> str:
    return verilog(Around(), "accumulator")


def behaviour() -> str:
    """The Amaranth component's behaviour as Verilog, not its instance."""
    text = backend.convert(Around(), name="ours", emit_src=False)
    return re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.S)


def prove_accumulator(ours: str, folder) -> str:
    """One instance with Yosys's DSP48E1 and `ours` on the same inputs: their outputs are equal in every cycle.

    Induction over three cycles: registers that are always enabled forget their state in one, and p follows from them.
    """
    (folder / "theirs.v").write_text(instance().replace("module accumulator", "module theirs"))
    (folder / "ours.v").write_text(ours)
    wires = ", ".join(f"input [{bits - 1}:0] {name}" for name, bits in PORTS.items())
    theirs, mine = (
        ", ".join(f".{name}({name})" for name in PORTS if re.search(rf"\binput (\S+ )*{name};", text))
        for text in (instance(), ours)
    )
    (folder / "miter.v").write_text(
        f"module miter({wires});\n"
        "  wire [47:0] p_theirs, p_ours;\n"
        f"  theirs theirs({theirs}, .p(p_theirs));\n  ours ours({mine}, .p(p_ours));\n"
        "  always @* assert (p_theirs == p_ours);\n  always @* assume (!rst);\nendmodule\n"
    )
    commands = ["read_verilog -formal miter.v ours.v theirs.v", "read_verilog +/xilinx/cells_sim.v"]
    commands += ["prep -top miter -flatten", "async2sync", "chformal -lower", "setundef -zero", "opt -full"]
    commands.append("sat -verify -prove-asserts -set-assumes -tempinduct -maxsteps 3 miter")
    return run_script(commands, folder)


def written(model: str) -> str:
    """The instance over a Verilog model, under names of their own."""
    around = instance().replace("module accumulator", "module ours").replace("DSP48E1 #", "our_cell #")
    return model.replace("module DSP48E1", "module our_cell") + around


@pytest.mark.parametrize("source", ["verilog", "amaranth"])
def test_the_models_of_the_dsp_accumulator_are_the_one_that_yosys_ships(source, tmp_path):
    assert "our_cell #" in written(ACCUMULATOR)
    log = prove_accumulator(written(ACCUMULATOR) if source == "verilog" else behaviour(), tmp_path)
    assert "Q.E.D." in log or "SUCCESS" in log


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("? d - a", "? a - d"),
        ("INMODE[3]", "INMODE[2]"),
        ("start - term", "start"),
        ("if (CEP) ", ""),
    ],
)
def test_the_proof_sees_a_wrong_accumulator(old, new, tmp_path):
    assert old in ACCUMULATOR
    with pytest.raises(HwsegError, match="must not fail"):
        prove_accumulator(written(ACCUMULATOR.replace(old, new)), tmp_path)
