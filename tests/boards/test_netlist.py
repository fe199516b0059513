"""What nextpnr-xilinx can never place is known from the netlist: counts by hand, Yosys's own, and the sentences."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hwseg.boards import load_board
from hwseg.boards.zynq7020.netlist import Counts, count, require_placeable
from hwseg.errors import HwsegError
from hwseg.toolchain import yosys

BOARD = load_board("pynq-z1")
FITS = Counts(luts=50_000, carry4=6_650, feeds=56_400, flip_flops=90_000, control_sets=400, slices=13_300)


def cell(kind, **ports):
    """A cell of Yosys's JSON; a port's bits after its direction."""
    connections = {name: bits for name, (_, *bits) in ports.items()}
    return {"type": kind, "connections": connections, "port_directions": {k: v[0] for k, v in ports.items()}}


def netlist(*cells):
    return {"modules": {"top": {"cells": {str(number): one for number, one in enumerate(cells)}}}}


def flip_flop(kind="FDRE", clock=2, enable="1", reset="0", pin="R"):
    return cell(
        kind, C=("input", clock), CE=("input", enable), D=("input", 9), Q=("output", 8), **{pin: ("input", reset)}
    )


def test_an_input_of_a_chain_that_no_lut_of_its_own_drives_gets_one():
    """S: a LUT of its own, one that others read, too, a register, a constant; DI: a LUT6, constants, nothing."""
    found = count(
        netlist(
            cell("LUT2", I0=("input", 3), I1=("input", 4), O=("output", 20)),
            cell("LUT5", I0=("input", 3), O=("output", 21)),
            cell("LUT1", I0=("input", 21), O=("output", 30)),
            cell("LUT6", I0=("input", 3), O=("output", 24)),
            cell("INV", I=("input", 3), O=("output", 31)),
            cell("RAM32M", DOA=("output", 40, 41)),
            flip_flop(),
            cell(
                "CARRY4",
                S=("input", 20, 21, 8, "0"),
                DI=("input", 24, "0", "1", "x"),
                CO=("output", 50, 51, 52, 53),
                O=("output", 60, 61, 62, 63),
            ),
        ),
        "top",
    )
    assert found == Counts(luts=4 + 1 + 4, carry4=1, feeds=6, flip_flops=1, control_sets=1, slices=1)


def test_flip_flops_share_a_slice_with_equal_clock_enable_and_reset_alone():
    same = [flip_flop() for _ in range(8)] + [flip_flop("FDSE", pin="S")]  # set or reset: each its own, one net
    others = [
        flip_flop(clock=3),
        flip_flop(enable=5),
        flip_flop(reset=5),
        flip_flop("FDCE", pin="CLR"),
        flip_flop("FDRE_1"),
    ]
    found = count(netlist(*same, *others), "top")
    assert (found.flip_flops, found.control_sets, found.slices) == (14, 6, 7)


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_counts_are_those_of_yosys(tmp_path):
    (tmp_path / "a.v").write_text(
        "module top(input c, input e, input r, input [15:0] a, input [15:0] b, output reg [15:0] q,\n"
        "output reg [15:0] p);\n"
        "always @(posedge c) begin q <= a + b; if (r) p <= 0; else if (e) p <= p + a; end endmodule\n"
    )
    stat = yosys.synth_xilinx([tmp_path / "a.v"], "top", netlist=tmp_path / "a.json")
    found = count(json.loads((tmp_path / "a.json").read_text()), "top")
    assert (found.carry4, found.flip_flops, found.luts) == (stat.carry4, stat.ff, stat.lut_cells)
    assert (found.control_sets, found.slices) == (2, 4)
    # Every S has its LUT and every DI is a pin; but the lowest bit of a sum is what its LUT says, which is read twice.
    assert found.feeds == 8 * stat.carry4 - found.luts + 2


@pytest.mark.parametrize(
    ("worse", "sentence"),
    [
        (
            {"carry4": 7_961},
            "nextpnr-xilinx: can place 6,650 of the xc7z020's 13,300 CARRY4, the design has 7,961; compile with "
            "--array 8x4x4",
        ),
        (
            {"slices": 13_301, "control_sets": 900},
            "can place 13,300 slices of the xc7z020, the 90,000 flip-flops of 900 control sets need 13,301 at least; "
            "compile with --array 8x4x4",
        ),
        (
            {"feeds": 56_401},
            "can place 106,400 LUTs of five inputs on the xc7z020, the design has 50,000 LUTs and 56,401 inputs of "
            "carry chains that get one each; compile with --array 8x4x4",
        ),
    ],
)
def test_what_can_never_be_placed_is_refused_in_a_sentence(worse, sentence):
    require_placeable(FITS, BOARD, "8x4x4")
    with pytest.raises(HwsegError) as caught:
        require_placeable(replace(FITS, **worse), BOARD, "8x4x4")
    assert sentence in str(caught.value)
    with pytest.raises(HwsegError, match="compile with a smaller array"):
        require_placeable(replace(FITS, **worse), BOARD, "")
