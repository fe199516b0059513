"""What the cores cost on the xc7z020: yosys `synth_xilinx`, 72 lanes of 8-bit weights; LUTs counted without pairing."""

from __future__ import annotations

import pytest

from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def cost(family: str, part: str, folder) -> yosys.Resources:
    source = folder / f"{family}_{part}.v"
    source.write_text(verilog(getattr(CORES[family], part)(72), "part"))
    return yosys.synth_xilinx([source], "part")


def test_the_table_core_takes_3_4_luts_per_lane_and_60_for_its_tables(tmp_path):
    found = cost("table", "core", tmp_path)
    assert found.lut_cells <= 245
    assert found.lutram <= 60
    assert found.ff <= 165
    assert found.dsp == 0


@pytest.mark.slow
def test_the_table_core_with_a_dsp_slice_takes_2_8_luts_per_lane(tmp_path):
    found, neighbour = (cost("table_dsp", part, tmp_path) for part in ("core", "neighbour"))
    assert found.lut_cells <= 211
    assert neighbour.lut_cells <= 2.8 * 72
    assert found.lutram == neighbour.lutram == 60
    assert found.ff <= 90
    assert found.dsp == neighbour.dsp == 1


def test_the_table_loader_and_encoder(tmp_path):
    assert cost("table", "loader", tmp_path).lut_cells <= 407
    assert cost("table", "reader", tmp_path).lut_cells <= 215
    assert cost("table", "encoder", tmp_path).lut_cells <= 146


@pytest.mark.slow
def test_the_merged_core_takes_four_times_the_table_core(tmp_path):
    found = cost("merged", "core", tmp_path)
    assert found.lut_cells <= 13.6 * 72
    assert found.lut_cells >= 3.5 * cost("table", "core", tmp_path).lut_cells
