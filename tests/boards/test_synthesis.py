"""The packaged top level mapped by Yosys: as large as the compiler says, and nothing that the open tools refuse."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from hwseg.boards.zynq7020.top import TOP
from hwseg.rtl.config import parse_array
from hwseg.target.resources import estimate, logic
from hwseg.toolchain import yosys
from tests.boards.packaged import BOARD, netlist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)"),
]

TOLERANCE = {"lut": 0.15, "lutram": 0.15, "ff": 0.15, "dsp": 0.15, "bram36": 0.0}

REFUSED = {"RAM64X1S", "RAM128X1S", "RAM256X1S", "LUT6_2", "MMCME2_ADV", "MMCME2_BASE"}
"""Cells that nextpnr-xilinx does not place."""


def counted(netlist, folder) -> yosys.Resources:
    """As `synth_xilinx` counts."""
    stat = folder / "stat.json"
    yosys.run_script([f"read_json {netlist}", f"hierarchy -top {TOP}", f"tee -q -o {stat} stat -tech xilinx -json"])
    return yosys.resources_of(json.loads(stat.read_text()))


@pytest.fixture(scope="module", params=["8x2x2", "8x4x4", pytest.param("zynq7020", marks=pytest.mark.hours)])
def mapped(request, tmp_path_factory):
    """Configuration, counts, and cells of the flat netlist."""
    path = netlist(request.param)
    found = counted(path, tmp_path_factory.mktemp("synthesis"))
    modules = json.loads(path.read_text())["modules"]
    return parse_array(request.param), found, list(modules[TOP]["cells"].values())


def test_utilization_is_the_compilers_estimate_and_fits_the_part(mapped):
    config, found, _ = mapped
    wanted = estimate(config)
    print(config.name, {name: (getattr(found, name), wanted[name]) for name in TOLERANCE})
    for name, tolerance in TOLERANCE.items():
        assert getattr(found, name) == pytest.approx(wanted[name], rel=tolerance), name
        assert getattr(found, name) <= BOARD.resources[name], name


def test_shift_registers_are_as_many_as_the_energy_estimate_clocks(mapped):
    config, _, cells = mapped
    found = sum(cell["type"] in ("SRL16E", "SRLC32E") for cell in cells)
    assert found == pytest.approx(logic(config).srl, rel=0.15)


def test_nothing_is_used_that_the_open_tools_refuse(mapped):
    _, _, cells = mapped
    kinds = Counter(cell["type"] for cell in cells)
    assert kinds["PS7"] == 1
    assert kinds["BUFG"] == 1
    assert not REFUSED & set(kinds)
    assert not [kind for kind in kinds if kind.startswith("$")]
    cascaded = [cell for cell in cells if cell["type"] == "SRLC32E" and cell["connections"].get("Q31")]
    assert not cascaded
    for cell in cells:
        if cell["type"].startswith("RAMB36"):
            assert cell["parameters"].get("RAM_EXTENSION_A", "NONE") == "NONE"
