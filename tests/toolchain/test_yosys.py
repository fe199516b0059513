"""Yosys in its own process: what it counts, and that its errors are sentences."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.toolchain import yosys

needs_yosys = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys")

DESIGN = """
module row(input clk, input [7:0] a, input [7:0] b, output reg [15:0] p, output reg [7:0] q);
  always @(posedge clk) begin p <= a * b; q <= a; end
endmodule
module top(input clk, input [7:0] a, input [7:0] b, input [9:0] x, input we, output [15:0] p, output [15:0] r,
           output [7:0] q, output [7:0] s, output reg [31:0] m);
  reg [31:0] memory [0:1023];
  always @(posedge clk) begin m <= memory[x]; if (we) memory[x] <= {a, b, a, b}; end
  row one(clk, a, b, p, q);
  row two(clk, a, b + 8'd1, r, s);
endmodule
"""


@needs_yosys
def test_counts_of_a_small_design(tmp_path: Path) -> None:
    (tmp_path / "top.v").write_text(DESIGN)
    together = yosys.synth_xilinx([tmp_path / "top.v"], "top")
    apart = yosys.synth_xilinx([tmp_path / "top.v"], "top", keep_hierarchy=["row"])
    assert (together.dsp, together.bram36, together.lutram) == (apart.dsp, apart.bram36, apart.lutram) == (2, 1.0, 0)
    assert apart.ff == together.ff + 8  # `q` of both rows: one register if flattened first, two if kept apart


def enabled(name: str, many: int, few: int) -> str:
    """A module with two enables, of so many flip-flops each, and a reset of both."""
    return f"""
module {name}(input clk, input [1:0] go, input rst, input [{many - 1}:0] a, input [{few - 1}:0] b,
              output reg [{many - 1}:0] x, output reg [{few - 1}:0] y);
  always @(posedge clk) begin
    if (rst) x <= 0; else if (go[0]) x <= a;
    if (rst) y <= 0; else if (go[1]) y <= b;
  end
endmodule
"""


@needs_yosys
@pytest.mark.parametrize(
    ("name", "few", "sets"),
    [("plain", yosys.FEWEST, 2), ("plain", yosys.FEWEST - 1, 1), ("hwseg_memory_unit_part", yosys.FEWEST - 1, 2)],
)
def test_an_enable_of_few_flip_flops_becomes_logic_where_there_is_time(
    tmp_path: Path, name: str, few: int, sets: int
) -> None:
    """Control sets are the enables that are left; no flip-flop is lost."""
    (tmp_path / "top.v").write_text(enabled(name, 20, few))
    found = yosys.synth_xilinx([tmp_path / "top.v"], name, netlist=tmp_path / "top.json")
    cells = json.loads((tmp_path / "top.json").read_text())["modules"][name]["cells"].values()
    enables = [cell["connections"]["CE"][0] for cell in cells if cell["type"] == "FDRE"]
    assert found.ff == len(enables) == 20 + few
    assert len({enable for enable in enables if isinstance(enable, int)}) == sets


def test_every_kind_of_cell_is_counted_as_the_device_counts_it() -> None:
    cells = {"LUT6": 10, "LUT2": 4, "INV": 1, "RAM32M": 2, "SRL16E": 3, "FDRE": 5, "FDSE": 1, "CARRY4": 7}
    cells |= {"RAMB36E1": 2, "RAMB18E1": 1, "DSP48E1": 4}
    counted = yosys.resources_of({"design": {"num_cells_by_type": cells, "estimated_num_lc": 12}})
    assert counted == yosys.Resources(lut=23, lutram=11, ff=6, carry4=7, bram36=2.5, dsp=4, lut_cells=26)


@needs_yosys
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (["read_verilog missing.v"], "ERROR: File `missing.v' not found"),
        (["no_such_pass"], "ERROR: No such command: no_such_pass"),
    ],
)
def test_an_error_is_a_sentence_and_not_the_end(script: list[str], sentence: str) -> None:
    with pytest.raises(HwsegError) as error:
        yosys.run_script(script)
    told = str(error.value)
    assert told.startswith("yosys: must not fail in its script, and your files are not to blame: ")
    assert sentence in told
    assert told.endswith("; run hwseg doctor, and report this line if that finds nothing")


@needs_yosys
def test_the_log_comes_back_and_not_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert "good morning" in yosys.run_script(["log good morning"])
    assert capfd.readouterr() == ("", "")


@needs_yosys
def test_a_script_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(HwsegError, match=r"took more than 0\.01 s"):
        yosys.run_script(["log"], timeout=0.01)


@needs_yosys
@pytest.mark.parametrize("name", ["a größe", "a\"b;c'd"])
def test_any_path_will_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    (folder / f"{name}.v").write_text("module top(input a, output b); assign b = ~a; endmodule\n")
    found = yosys.synth_xilinx([folder / f"{name}.v"], "top", netlist=folder / "netlist.json")
    assert found.lut_cells == 1
    assert "top" in (folder / "netlist.json").read_text()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match=r"top\.v: must exist"):
        yosys.synth_xilinx([tmp_path / "top.v"], "top")


def test_without_pyosys_there_is_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yosys, "version", lambda: None)
    with pytest.raises(HwsegError, match=r"pyosys must be installed; pip install 'hwseg\[synth\]'"):
        yosys.run_script([])
