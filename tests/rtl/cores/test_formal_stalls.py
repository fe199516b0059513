"""What an idle cycle may not change, and what every last plane must bring, however the inputs stall: by induction."""

from __future__ import annotations

import pytest

from hwseg.errors import HwsegError
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys
from tests.rtl.cores.test_formal_table import into, prove

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def pulses(core: str) -> tuple[str, int]:
    """`lasts`, `moved`: last planes and planes of the cycles before; outputs follow them and nothing else."""
    made = CORES[core].core(3, 3)
    text, latency = verilog(CORES[core].core(3, 3), "core"), made.latency
    held = [name for name in ("residual", "digit") if hasattr(made, name)]
    late = latency - 1
    widths = {name: len(getattr(made, name)) for name in held}
    keep = "".join(f"  reg [{bits - 1}:0] before_{name} = 0;\n" for name, bits in widths.items())
    keep += "".join(f"  always @(posedge clk) before_{name} <= {name};\n" for name in held)
    keep += "".join(f"  always @* if (seen && !moved[{late + 1}]) assert ({name} == before_{name});\n" for name in held)
    captures = "  always @* assume (!load[1]);\n" if core == "table_dsp" else ""
    added = f"""
  reg seen = 0;
  reg [{latency}:0] lasts = 0, moved = 0;
  wire [{latency + 1}:0] ends = {{lasts, valid && last}}, moves = {{moved, valid}};
  always @(posedge clk) begin
    seen <= 1;
    lasts <= ends[{latency}:0];
    moved <= moves[{latency}:0];
  end
  always @* assume (!rst);
  always @* assert (sum_valid == lasts[{latency - 1}]);
{captures}{keep.replace(f"moved[{late + 1}]", f"moved[{late}]")}"""
    return sim_cells(text) + into(text, "core", added), latency + 3


@pytest.mark.parametrize("core", [name for name in CORES if name != "cascaded"])
def test_every_last_plane_gives_one_pulse_and_idle_cycles_change_nothing(core, tmp_path):
    """`latency` cycles after each last plane and never else; residual and digit change only behind a plane."""
    text, steps = pulses(core)
    prove(text, tmp_path, "core", steps)


@pytest.mark.parametrize(
    ("core", "old", "new"),
    [
        ("merged", "valid && last", "valid"),
        ("bit_serial", "assert (sum_valid == lasts[", "assert (sum_valid == moved["),
        ("table", "!moved[", "moved["),
    ],
)
def test_the_proof_sees_pulses_without_a_last_plane_and_idle_cycles_that_count(core, old, new, tmp_path):
    text, steps = pulses(core)
    assert old in text
    with pytest.raises(HwsegError, match="must not fail"):
        prove(text.replace(old, new, 1), tmp_path, "core", steps)


def test_a_held_cascade_keeps_its_multipliers(tmp_path):
    """Inside a sum, a cycle without a plane changes no residual and no digit of a multiplier: back-pressure."""
    text = verilog(CORES["cascaded"].core(3, 3), "core")
    made = CORES["cascaded"].core(3, 3).cascade.multiplier.online_delay
    names = {f"residual_{i}": made for i in range(3)} | {f"product_{i}": 2 for i in range(3)}
    keep = "".join(f"  reg [{bits - 1}:0] before_{name} = 0;\n" for name, bits in names.items())
    keep += "".join(f"  always @(posedge clk) before_{name} <= {name};\n" for name in names)
    keep += "".join(f"  always @* if (held) assert ({name} == before_{name});\n" for name in names)
    added = f"""
  reg opened = 0, held = 0;
  always @(posedge clk) begin
    if (valid) opened <= !last;
    held <= opened && !valid;
  end
  always @* assume (!rst);
  always @* assert (opened == begun);
{keep}"""
    prove(into(text, "core", added), tmp_path, "core", 4)
    with pytest.raises(HwsegError, match="must not fail"):
        prove(into(text, "core", added.replace("held <= opened && !valid", "held <= opened")), tmp_path, "core", 4)


@pytest.mark.parametrize("core", ["merged", "grouped"])
def test_a_load_changes_only_with_its_start(core, tmp_path):
    text = verilog(CORES[core].loader(3, 3), "loader")
    bits = len(CORES[core].loader(3, 3).load.as_value())
    added = f"""
  reg [{bits - 1}:0] before = 0;
  reg started = 1;
  always @(posedge clk) begin before <= load; started <= start; end
  always @* assume (!rst);
  always @* assert (busy == start);
  always @* if (!started) assert (load == before);
"""
    prove(into(text, "loader", added), tmp_path, "loader", 3)
