"""Netlists with a wrong cell on purpose: which are seen.  `python -m pytest -m slow -s`, minutes."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

from hwseg.boards.zynq7020.top import TOP
from hwseg.builds.read import load_build
from hwseg.sim import netlist
from hwseg.sim.cells import cell_models, kinds_of, netlist_verilog
from tests.sim.netlists import cell, needs_yosys, simulated, small_build

COUNT = 60


def mux(zero, one, select, out):
    return cell("LUT3", parameters={"INIT": "11001010"}, I0=zero, I1=one, I2=select, O=out)


MUTANT = """
module MUTANT #(parameter [31:0] NUMBER = 0) (output reg O);
  integer chosen;
  initial begin
    O = 0;
    if ($value$plusargs("mutant=%d", chosen)) O = chosen == NUMBER;
  end
endmodule
"""


def with_mutants(module, count: int, seed: int):
    """The netlist with a wrong cell for each number from 1 to `count`, chosen when it runs, and what each is.

    A bit of a LUT's table, the data of a flip-flop, an input of a carry chain; as many of each as there are such cells.
    """
    rng = random.Random(seed)
    module = copy.deepcopy(module)
    cells = module["cells"]
    nets = {bit for c in cells.values() for bits in c["connections"].values() for bit in bits if isinstance(bit, int)}
    fresh = iter(range(max(nets) + 1, max(nets) + 1 + 4 * count))
    kinds = ("LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "FDRE", "CARRY4")
    names = sorted(name for name, c in cells.items() if c["type"] in kinds)
    sources = sorted(c["connections"]["Q"][0] for c in cells.values() if c["type"] == "FDRE")
    told = []
    for number, name in enumerate(rng.sample(names, count), 1):
        wrong, chosen = cells[name], next(fresh)
        cells[f"$mutant${number}"] = cell("MUTANT", parameters={"NUMBER": f"{number:032b}"}, O=chosen)
        pins = wrong["connections"]
        if wrong["type"].startswith("LUT"):
            other = copy.deepcopy(wrong)
            table = other["parameters"]["INIT"]
            at = rng.randrange(len(table))
            other["parameters"]["INIT"] = table[:at] + "10"[int(table[at])] + table[at + 1 :]
            out, right, left = pins["O"][0], next(fresh), next(fresh)
            pins["O"], other["connections"]["O"] = [right], [left]
            cells[f"$other${number}"], cells[f"$mux${number}"] = other, mux(right, left, chosen, out)
            told.append(f"{name}: bit {len(table) - 1 - at} of a {wrong['type']}")
        else:
            pin, bit = ("D", 0) if wrong["type"] == "FDRE" else ("S", rng.randrange(4))
            other, joined = rng.choice(sources), next(fresh)
            cells[f"$mux${number}"] = mux(pins[pin][bit], other, chosen, joined)
            pins[pin] = [*pins[pin][:bit], joined, *pins[pin][bit + 1 :]]
            told.append(f"{name}: {pin} of a {wrong['type']} from net {other}")
    return module, told


@needs_yosys
@pytest.mark.slow
@pytest.mark.verilator
def test_a_wrong_cell_is_seen(tmp_path, monkeypatch):
    """One simulator with all mutants, so that it is compiled once.  Many a wrong cell computes the same for a picture:
    a bit of a table at inputs that never meet, a part that this network does not use.
    """
    path, picture = small_build(tmp_path)
    _, program, _ = load_build(path)
    job = netlist.job_of(path, program, np.load(picture))
    module, told = with_mutants(netlist.synthesized(path / "top.v", program), COUNT, seed=1)
    (tmp_path / netlist.CELLS).write_text(cell_models(kinds_of(module) - {"MUTANT"}) + MUTANT)
    (tmp_path / netlist.GATES).write_text(netlist_verilog(module, TOP))

    def run(number):
        options = {"plusargs": {"mutant": number}, "patience": 3 * program.timing().total}
        return netlist.run(job, tmp_path, netlist.build_netlist, "the netlist", **options)

    right = run(0)[:3]
    assert right == netlist.run_verilog(job)[:3]
    seen = [number for number in range(1, COUNT + 1) if run(number)[:3] != right]
    for number, what in enumerate(told, 1):
        print("seen  " if number in seen else "unseen", what)
    print(f"{len(seen)} of {COUNT} wrong cells seen")
    assert len(seen) >= COUNT // 3

    # The command, too, with the first of them.
    monkeypatch.setattr(netlist, "run_gates", lambda *_: run(seen[0]))
    found, results = simulated(path, picture, tmp_path)
    assert found.return_value == 1, found.output
    assert not results["passed"]
