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
from hwseg.rtl.cells import ACCUMULATOR, SIMULATION, DspAccumulator, DspMultiplier, sim_cells
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
    """One slice, an accumulator if nothing is said: an instance cannot be the top."""

    def __init__(self, *multiplier) -> None:
        self.dsp = DspMultiplier(*multiplier) if multiplier else DspAccumulator()
        super().__init__(self.dsp.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dsp = self.dsp
        connect(m, flipped(self), self.dsp)
        return m


PORTS = {"d": 25, "a": 25, "c": 48, "difference": 1, "add_c": 1, "subtract": 1, "enable": 1, "clk": 1, "rst": 1}
FACTORS = {"a": 25, "b": 18, "c": 48, "p_in": 48, "clk": 1, "rst": 1}


@cache
def instance(*multiplier) -> str:
    return verilog(Around(*multiplier), "accumulator")


def behaviour(*multiplier) -> str:
    """The Amaranth component's behaviour as Verilog, not its instance."""
    text = backend.convert(Around(*multiplier), name="ours", emit_src=False)
    return re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.S)


def prove_accumulator(ours: str, folder, *multiplier, narrow: str = "") -> str:
    """One instance with Yosys's DSP48E1 and `ours` on the same inputs: their outputs are equal in every cycle.

    Induction over few cycles: registers that are always enabled forget their state in one, and p follows from them.
    multiplier: of the slice that multiplies; narrow: what is assumed of its factors.
    """
    ports, steps = (FACTORS, 5) if multiplier else (PORTS, 3)
    (folder / "theirs.v").write_text(instance(*multiplier).replace("module accumulator", "module theirs"))
    (folder / "ours.v").write_text(ours)
    wires = ", ".join(f"input [{bits - 1}:0] {name}" for name, bits in ports.items())
    theirs, mine = (
        ", ".join(f".{name}({name})" for name in ports if re.search(rf"\binput (\S+ )*{name};", text))
        for text in (instance(*multiplier), ours)
    )
    (folder / "miter.v").write_text(
        f"module miter({wires});\n"
        "  wire [47:0] p_theirs, p_ours;\n"
        f"  theirs theirs({theirs}, .p(p_theirs));\n  ours ours({mine}, .p(p_ours));\n"
        f"  always @* assert (p_theirs == p_ours);\n  always @* assume (!rst);\n{narrow}endmodule\n"
    )
    commands = ["read_verilog -formal miter.v ours.v theirs.v", "read_verilog +/xilinx/cells_sim.v"]
    commands += ["prep -top miter -flatten", "async2sync", "chformal -lower", "setundef -zero", "opt -full"]
    commands.append(f"sat -verify -prove-asserts -set-assumes -tempinduct -maxsteps {steps} miter")
    return run_script(commands, folder)


def written(model: str, *multiplier) -> str:
    """The instance over a Verilog model, under names of their own."""
    around = instance(*multiplier).replace("module accumulator", "module ours").replace("DSP48E1 #", "our_cell #")
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


NARROW = "  always @* assume (a[24:4] == {21{a[4]}} && b[17:3] == {15{b[3]}});\n"
"""Factors of few bits: two multipliers that differ are more than a solver takes."""


@pytest.mark.parametrize("source", ["verilog", "amaranth"])
@pytest.mark.parametrize("multiplier", [("c", 1, 0), ("shifted", 2, 1), ("below", 2, 1)])
def test_the_models_of_the_dsp_multiplier_are_the_one_that_yosys_ships(multiplier, source, tmp_path):
    ours = written(ACCUMULATOR, *multiplier) if source == "verilog" else behaviour(*multiplier)
    log = prove_accumulator(ours, tmp_path, *multiplier, narrow=NARROW)
    assert "Q.E.D." in log or "SUCCESS" in log


@pytest.mark.parametrize(
    ("old", "new", "multiplier"),
    [
        (">>> 17", ">>> 16", ("shifted", 2, 1)),
        ("OPMODE[5] ? c", "OPMODE[5] ? C", ("c", 1, 0)),
        ("AREG == 1 ? a_1 : a_2", "a_1", ("below", 2, 1)),
        ("BREG == 0 ? B : ", "", ("c", 1, 0)),
    ],
)
def test_the_proof_sees_a_wrong_multiplier(old, new, multiplier, tmp_path):
    assert old in ACCUMULATOR
    with pytest.raises(HwsegError, match="must not fail"):
        prove_accumulator(written(ACCUMULATOR.replace(old, new), *multiplier), tmp_path, *multiplier, narrow=NARROW)
