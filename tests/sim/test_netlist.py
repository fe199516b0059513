"""The packaged top level after synthesis: its cells as Verilog, what it computes, and that a wrong cell is seen."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hwseg.boards import load_board
from hwseg.builds.read import load_build
from hwseg.commands.simulate import command
from hwseg.errors import HwsegError
from hwseg.rtl.config import parse_array
from hwseg.sim.cells import cell_models, netlist_verilog
from hwseg.sim.netlist import synthesized
from hwseg.target.engine_text import engine_verilog
from hwseg.toolchain import yosys
from tests.sim.netlists import cell, needs_yosys, simulated, small_build


def sample(seed: int, count: int = 60):
    """A flat module with LUTs of every size, carry chains, flip-flops of every form; its loops have flip-flops."""
    rng = random.Random(seed)
    inputs, clock = list(range(3, 11)), 2
    nets, cells = list(inputs), {}
    held = [100 + n for n in range(20)]
    for n in range(count):
        size = 1 + n % 6
        table = "".join(rng.choice("01") for _ in range(1 << size))
        pins = {f"I{i}": rng.choice([*nets, *held, "0", "1"]) for i in range(size)}
        cells[f"$lut${n}"] = cell(f"LUT{size}", parameters={"INIT": table}, O=200 + n, **pins)
        nets.append(200 + n)
    for n in range(8):
        drawn = [[rng.choice([*nets, *held, "0", "1"]) for _ in range(4)] for _ in range(2)]
        start = {"CYINIT": rng.choice([3, "0", "1"]), "CI": "0"} if n % 2 == 0 else {"CYINIT": "0", "CI": nets[-1]}
        sums, carries = [list(range(first + 4 * n, first + 4 * n + 4)) for first in (300, 400)]
        cells[f"chain${n}"] = cell("CARRY4", S=drawn[0], DI=drawn[1], O=sums, CO=carries, **start)
        nets += [*sums, *carries]
    for n, q in enumerate(held):
        kind, reset = ("FDRE", "R") if n % 2 else ("FDSE", "S")
        parameters = {"INIT": rng.choice("01")}
        if n % 5 == 0:
            parameters["IS_D_INVERTED"] = rng.choice("01")
        if n % 7 == 0:
            parameters[f"IS_{reset}_INVERTED"] = rng.choice("01")
        enable, reset_net = rng.choice(["1", 3, 4, nets[-1]]), rng.choice(["0", 5, 6, nets[-2]])
        pins = {"C": clock, "CE": enable, reset: reset_net, "D": rng.choice([*nets, *held]), "Q": q}
        cells[f"slice${n}"] = cell(kind, parameters=parameters, **pins)
    ports = {
        "clock": {"direction": "input", "bits": [clock]},
        "a": {"direction": "input", "bits": inputs},
        "y": {"direction": "output", "bits": [*nets[8:], *held, "1"]},
    }
    return {"ports": ports, "cells": cells}


def instances(module, name: str) -> str:
    """The same module in plain Verilog, every cell an instance."""

    def bits(found):
        return "{" + ", ".join(f"n{bit}" if isinstance(bit, int) else f"1'b{bit}" for bit in reversed(found)) + "}"

    used = {bit for c in module["cells"].values() for bits in c["connections"].values() for bit in bits}
    lines = [f"module {name}({', '.join(module['ports'])});"]
    lines += [f"wire n{bit};" for bit in sorted(bit for bit in used | set(range(2, 11)) if isinstance(bit, int))]
    for port, found in module["ports"].items():
        lines.append(f"{found['direction']} [{len(found['bits']) - 1}:0] {port};")
        left, right = bits(found["bits"]), port
        lines.append(f"assign {left} = {right};" if found["direction"] == "input" else f"assign {right} = {left};")
    for number, c in enumerate(module["cells"].values()):
        parameters = ", ".join(f".{key}({len(value)}'b{value})" for key, value in c["parameters"].items())
        pins = ", ".join(f".{pin}({bits(found)})" for pin, found in c["connections"].items())
        lines.append(f"{c['type']} #({parameters}) c{number}({pins});")
    return "\n".join([*lines, "endmodule"]) + "\n"


def equivalent(module, changed, folder) -> bool:
    """Whether `changed` as it is written is `module` with Yosys's models of its cells: by induction, for all time."""
    kinds = frozenset(c["type"] for c in module["cells"].values())
    width = len(module["ports"]["y"]["bits"])
    both = f"""
module both(input clock, input [7:0] a, output differ);
  wire [{width - 1}:0] gold_y, gate_y;
  gold gold(.clock(clock), .a(a), .y(gold_y));
  gate gate(.clock(clock), .a(a), .y(gate_y));
  assign differ = gold_y != gate_y;
endmodule
"""
    (folder / "both.v").write_text(
        cell_models(kinds) + instances(module, "gold") + netlist_verilog(changed, "gate") + both
    )
    commands = ["read_verilog -sv both.v", "hierarchy -top both", "proc", "flatten", "opt_clean"]
    log = yosys.run_script([*commands, "sat -tempinduct -prove differ 0 both"], folder, timeout=120)
    proven, refuted = "SUCCESS!" in log, "FAIL!" in log
    assert proven != refuted, log[-2000:]
    return proven


@needs_yosys
@pytest.mark.parametrize("seed", range(3))
def test_cells_are_written_out_as_yosys_models_them(tmp_path, seed):
    module = sample(seed)
    text = netlist_verilog(module, "gate")
    assert "LUT" not in text
    assert "CARRY4" not in text
    assert any(f" {kind} #" in text for kind in ("FDRE", "FDSE"))  # inverted inputs are left to Yosys's model
    assert equivalent(module, module, tmp_path)


@needs_yosys
@pytest.mark.parametrize("kind", ["LUT6", "LUT1", "CARRY4", "FDRE", "FDSE"])
def test_one_changed_cell_is_no_equivalent(tmp_path, kind):
    module, changed = sample(1), sample(1)
    name = next(name for name, c in changed["cells"].items() if c["type"] == kind)
    if kind.startswith("LUT"):
        table = changed["cells"][name]["parameters"]["INIT"]
        changed["cells"][name]["parameters"]["INIT"] = "".join("10"[int(bit)] for bit in table)
    elif kind == "CARRY4":
        changed["cells"][name]["connections"]["S"][2] = 4
    else:
        parameters = changed["cells"][name]["parameters"]
        parameters["INIT"] = "10"[int(parameters["INIT"])]
    assert not equivalent(module, changed, tmp_path)


def test_parameters_are_numbers_or_strings():
    parameters = {"RAM_MODE": "SDP", "DOA_REG": "01", "TITLE": "10 "}
    module = {
        "ports": {"y": {"direction": "output", "bits": [2]}},
        "cells": {"ram": cell("RAMB18E1", parameters=parameters, DOADO=[2, "0", "x"])},
    }
    assert netlist_verilog(module, "top").splitlines()[-2] == (
        '  RAMB18E1 #(.DOA_REG(2\'b01), .RAM_MODE("SDP"), .TITLE("10")) ram (.DOADO({1\'bx, 1\'b0, n2}));'
    )


@needs_yosys
@pytest.mark.parametrize("kind", ["XADC", "RAMB36E1"])
def test_a_cell_without_a_model_is_refused(kind):
    with pytest.raises(HwsegError, match=f"netlist cell {kind}: is of a kind that Yosys has no simulation model of"):
        cell_models(frozenset({"LUT6", kind}))


def test_without_yosys_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(yosys, "version", lambda: None)
    program = SimpleNamespace(board=load_board("zynq7020"))
    (tmp_path / "top.v").write_text(engine_verilog(parse_array("8x1x1")))
    with pytest.raises(HwsegError, match=r"yosys: pyosys must be installed; pip install 'hwseg\[synth\]'"):
        synthesized(tmp_path / "top.v", program)


@pytest.mark.parametrize("option", [["--latency", "20:200"], ["--skip"], ["--trust"], ["--pictures", "somewhere"]])
def test_options_that_a_netlist_does_not_have_are_refused(tmp_path, option):
    found = CliRunner().invoke(command, [str(tmp_path), "--image", "x.npy", "--netlist", *option])
    assert isinstance(found.exception, HwsegError), found.output
    wanted = f"{option[0]}: does not go with --netlist; leave out {option[0]} or --netlist"
    assert str(found.exception) == wanted


@needs_yosys
@pytest.mark.slow
@pytest.mark.verilator
def test_the_gates_give_the_same_memory_in_the_same_cycle(tmp_path):
    path, picture = small_build(tmp_path)
    predicted = load_build(path)[1].timing().total
    found, results = simulated(path, picture, tmp_path)
    assert found.return_value == 0, found.output
    assert results["passed"]
    assert (results["mismatches"], results["equal_memory"]) == (0, True)
    assert results["cycles"] == results["verilog_cycles"] == predicted > 5000
    assert results["cells"]["FDRE"] > 10_000
    assert results["cells"]["PS7"] == 1
    print(found.output)
