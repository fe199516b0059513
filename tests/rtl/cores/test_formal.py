"""Proofs for all inputs, by Yosys's SAT solver: bounds by induction at full size, sums for all inputs at small sizes.

Assertions are Verilog added to the text that is synthesized.  Induction of depth 1: assume them in an arbitrary state,
show them in the next, for any input; and show them in the first state.  So they hold for ever.
"""

from __future__ import annotations

import re

import pytest

from hwseg.arith.grouped import BIAS_LANES
from hwseg.arith.types import CoreSpec, IntType
from hwseg.errors import HwsegError
from hwseg.rtl.cells import SIMULATION, Ram32m
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def with_assertions(text: str, added: str) -> str:
    """Added to module `core`, the last of the text."""
    return re.sub(r"endmodule\s*$", added + "\nendmodule\n", text)


def prove(text: str, folder, *options: str) -> None:
    (folder / "core.v").write_text(text)
    commands = ["read_verilog -formal core.v", "prep -top core -flatten", "memory_map", "async2sync", "chformal -lower"]
    commands += ["opt_clean", f"sat -verify -prove-asserts -set-assumes {' '.join(options)} core"]
    yosys.run_script(commands, folder)


def induct(text: str, folder) -> None:
    prove(text, folder, "-tempinduct", "-maxsteps 2")


def merged_assertions(family: str, lanes: int, bits: int, weight_signed: bool = True) -> str:
    """`ghost` is the prefix of the sum by definition, over plane sums of any value within 2^(K-1), both ends included
    where their word holds them.
    """
    core = CORES[family].core(lanes, bits, weight_signed)
    depth, k, word = core.latency - 1, core.growth, core.plane_bits
    valid, last, negate = (f"{name}_{depth}" for name in ("valid", "last", "negate"))
    half, width = 1 << (k - 1), len(core.sum) + 2
    pulses = "".join(f"  always @* assert (valid_{i} || !last_{i});\n" for i in range(1, depth + 1))
    return f"""
  reg signed [{width}:0] ghost = 0, wanted = 0;
  wire signed [{width}:0] s = {negate} ? -$signed({{plane_sum[{word - 1}], plane_sum}}) : $signed(plane_sum);
  wire signed [{width}:0] made = $signed(plane_sum);
  wire signed [{width}:0] exact = 2 * ghost + s;
  wire signed [{width}:0] full = 2 * $signed(residual) + s;
  reg checked = 0;
  reg [3:0] planes = 0;
  always @(posedge clk) begin
    if ({valid}) ghost <= {last} ? 0 : exact;
    if ({valid}) planes <= {last} ? 0 : planes + 1;
    checked <= {last};
    wanted <= exact;
  end
  always @* assume (!rst);
  always @* assume (made >= -{half} && made <= {half});
  always @* assume (planes < 7 || !{valid} || {last});
{pulses}
  always @* assert (planes <= 7);
  always @* assert (sum_valid == checked);
  always @* if (checked) assert ($signed(sum) == wanted);
  always @* assert (full == $signed(v));
  always @* assert (full >= -{3 * half} && full <= {3 * half});
  always @* assert (q_less == q - 1'b1);
  always @* assert (ghost <= ((1 << planes) - 1) * {half} && ghost >= -((1 << planes) - 1) * {half});
  wire [{len(core.sum) - 2}:0] extension = {{{len(core.sum) - 1}{{residual[{k - 1}]}}}};
  wire [{len(core.sum) - 2}:0] gathered = {{q, {k}'b0}} + {{extension, residual}};
  always @* assert (ghost[{len(core.sum) - 2}:0] == gathered);
"""


@pytest.mark.parametrize(
    ("lanes", "bits", "weight_signed"),
    [(1, 8, True), (9, 4, True), (72, 8, True), (1, 1, False), (16, 1, False), (72, 1, False), (9, 4, False)],
)
def test_the_residual_of_the_merged_core_stays_in_its_bound_and_digits_and_residual_are_the_sum(
    lanes, bits, weight_signed, tmp_path
):
    """For every plane sum that the lanes can make, by induction, at full size."""
    text = verilog(CORES["merged"].core(lanes, bits, weight_signed), "core")
    induct(with_assertions(text, merged_assertions("merged", lanes, bits, weight_signed)), tmp_path)


@pytest.mark.parametrize("family", ["merged", "grouped"])
@pytest.mark.parametrize("weight_signed", [True, False])
@pytest.mark.parametrize("bits", range(1, 9))
def test_the_word_of_a_plane_sum_holds_every_sum(family, bits, weight_signed):
    """What the induction assumes of `plane_sum`: its word holds the least and the largest sum of a plane, no bit less
    than K, and both are within 2^(K-1).
    """
    for lanes in (*range(1, 18), 32, 64, 72, 128):
        core = CORES[family].core(lanes, bits, weight_signed)
        core._MustUse__used = True  # its words are looked at, not its gates
        biases = BIAS_LANES if family == "grouped" else 0
        weight, bias = IntType(bits, weight_signed), IntType(bits, signed=True)
        least, most = (lanes * getattr(weight, end) + biases * getattr(bias, end) for end in ("low", "high"))
        word, half = IntType(core.plane_bits, signed=True), 1 << core.growth - 1
        assert word.low <= least <= most <= word.high
        assert -half <= least <= most <= half
        assert core.plane_bits == core.growth + (most == half)


def test_the_residual_of_the_grouped_core_stays_in_its_bound(tmp_path):
    text = verilog(CORES["grouped"].core(9, 4), "core")
    induct(with_assertions(text, merged_assertions("grouped", 9, 4)), tmp_path)


def test_a_wrong_threshold_is_not_proven(tmp_path):
    """The same proof fails for a core whose borrow is wrong."""
    text = verilog(CORES["merged"].core(9, 4), "core")
    wrong = (
        re.sub(r"(\? q_less )", "? q ", text, count=1) if "? q_less " in text else text.replace("? q_less", "? q", 1)
    )
    assert wrong != text
    with pytest.raises(HwsegError, match="must not fail"):
        induct(with_assertions(wrong, merged_assertions("merged", 9, 4)), tmp_path)


def test_the_residuals_of_the_cascade_stay_in_their_bounds(tmp_path):
    """Every adder's residual in [-2, 2] and every digit in [-1, 1], for 18 lanes, by induction."""
    text = verilog(CORES["cascaded"].core(18, 4), "core")
    rests = sorted(set(re.findall(r"\breg \[2:0\] (rest_\w+)", text)))
    digits = sorted(set(re.findall(r"\breg \[1:0\] ((?:digit|product)_\w+)", text)))
    assert len(rests) == 18 // 2 + 5 + 3 + 2 + 1
    added = [f"  always @* assert ({r} != 3'd3 && {r} != 3'd4 && {r} != 3'd5);" for r in rests]
    added += [f"  always @* assert ({d} != 2'd2);" for d in digits]
    induct(with_assertions(text, "\n".join([*added, "  always @* assume (!rst);"])), tmp_path)


@pytest.mark.parametrize("family", ["merged", "grouped", "bit_serial", "bit_parallel", "table", "cascaded"])
def test_a_sum_changes_only_with_its_pulse(family, tmp_path):
    """`sum` is stable while `sum_valid` is 0, however the inputs stall."""
    text = verilog(CORES[family].core(3, 3), "core")
    added = """
  reg seen = 0; reg [$bits(sum)-1:0] before = 0;
  always @(posedge clk) begin seen <= 1; before <= sum; end
  always @* assume (!rst);
  always @* if (seen && !sum_valid) assert (sum == before);
"""
    width = len(CORES[family].core(3, 3).sum)
    added = added.replace("$bits(sum)-1", str(width - 1))
    cell = SIMULATION.replace("`ifndef SYNTHESIS\n", "").replace("`endif\n", "") if "RAM32M" in text else ""
    induct(cell + with_assertions(text, added), tmp_path)


def exhaustive(family: str, lanes: int, bits: int, planes: int, signed: bool, weight_signed: bool = True) -> str:
    """One sum after reset with any weights and any activations: `sum` must be the dot product written with a star."""
    core = CORES[family].core(lanes, bits, weight_signed)
    late = core.latency
    word = 8 if family == "bit_parallel" else 1
    spec = CoreSpec(lanes, bits, weight_signed)
    terms = []
    for i in range(lanes):
        w = f"w[{bits * i + bits - 1}:{bits * i}]"
        w = f"$signed({w})" if weight_signed else f"$signed({{1'b0, {w}}})"
        x = f"x[{planes * i + planes - 1}:{planes * i}]"
        terms.append(f"{w} * {'$signed(' + x + ')' if signed else '$signed({1' + chr(39) + 'b0, ' + x + '})'}")
    feed = []
    for i in reversed(range(lanes)):
        low = planes * i
        feed.append(f"x[{low + planes - 1} - t]" if family != "bit_serial" else f"x[{low} + t]")
        feed[-1] = feed[-1].replace("- t]", "- t]")
    load = "w" if family != "grouped" else f"{{{4 * bits}'b0, w}}"
    negate = "1'b0" if not signed else f"t == {planes - 1}" if family == "bit_serial" else "t == 0"
    assert word == 1
    return f"""
module top(input clk, input [{lanes * bits - 1}:0] w_in, input [{lanes * planes - 1}:0] x_in);
  reg [5:0] t = 0; reg [{lanes * bits - 1}:0] w = 0; reg [{lanes * planes - 1}:0] x = 0; reg run = 0;
  always @(posedge clk) begin run <= 1; if (!run) begin w <= w_in; x <= x_in; end else t <= (&t) ? t : t + 1; end
  wire on = run && t < {planes};
  wire [{lanes - 1}:0] feed = on ? {{{", ".join(feed)}}} : 0;
  wire signed [{len(core.sum) - 1}:0] sum; wire sum_valid;
  core dut(.clk(clk), .rst(1'b0), .feed(feed), .valid(on), .first(on && t == 0), .last(on && t == {planes - 1}),
    .negate(on && ({negate})), .load({load}), .sum(sum), .sum_valid(sum_valid));
  wire signed [{spec.sum_bits}:0] exact = {" + ".join(terms)};
  always @* if (run && t == {planes - 1 + late}) assert (sum_valid && sum == exact);
  always @* if (run && t != {planes - 1 + late}) assert (!sum_valid);
endmodule
"""


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("family", "lanes"),
    [
        *(pytest.param(f, 2, id=f"{f}-2") for f in ("merged", "grouped", "bit_serial", "cascaded")),
        *(pytest.param(f, 3, id=f"{f}-3", marks=pytest.mark.slow) for f in ("merged", "bit_serial")),
    ],
)
def test_the_sum_is_the_dot_product_for_all_inputs_at_small_sizes(family, lanes, signed, tmp_path):
    """2 to 3 lanes of 3-bit weights and 3-bit activations, every value of both."""
    prove_exhaustively(tmp_path, family, lanes, 3, 3, signed)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("family", ["merged", "grouped", "bit_serial", "cascaded"])
def test_the_sum_is_the_dot_product_for_all_inputs_of_one_bit_unsigned_weights(family, lanes, signed, tmp_path):
    """A plane's sum is as large as it can be: 1 for every lane."""
    prove_exhaustively(tmp_path, family, lanes, 1, 2, signed, False)


def prove_exhaustively(
    tmp_path, family: str, lanes: int, bits: int, planes: int, signed: bool, weight_signed: bool = True
) -> None:
    core = CORES[family].core(lanes, bits, weight_signed)
    text = verilog(core, "core") + exhaustive(family, lanes, bits, planes, signed, weight_signed)
    steps = planes + core.latency + 3
    (tmp_path / "core.v").write_text(text)
    commands = ["read_verilog -formal core.v", "prep -top top -flatten", "async2sync", "chformal -lower", "opt_clean"]
    commands.append(f"sat -verify -prove-asserts -tempinduct-baseonly -tempinduct -maxsteps {steps} top")
    log = yosys.run_script(commands, tmp_path)
    assert "SUCCESS" in log or "Reached maximum number of time steps" in log


@pytest.mark.parametrize("source", ["verilog", "amaranth"])
def test_the_models_of_ram32m_are_the_one_that_yosys_ships(source, tmp_path):
    """From any equal contents, equal outputs, and a cycle later equal outputs at any address: equal for ever."""
    if source == "verilog":
        gate = SIMULATION.replace("`ifndef SYNTHESIS\n", "").replace("`endif\n", "").replace("RAM32M", "gate")
    else:
        text = verilog_behaviour()
        ports = {f"{prefix}{c.upper()}": f"{prefix.lower()}_{c}" for c in "abcd" for prefix in ("DI", "DO")}
        ports |= {f"ADDR{c.upper()}": f"addr_{c}" for c in "abcd"} | {"WCLK": "clk", "WE": "we"}
        wires = ", ".join(f".{inner}({outer})" for outer, inner in ports.items())
        head = SIMULATION.split("  reg ")[0].replace("`ifndef SYNTHESIS\n", "").replace("RAM32M", "gate")
        gate = f"{text}\n{head}  ram core_(.rst(1'b0), {wires});\nendmodule\n"
    (tmp_path / "gate.v").write_text(gate)
    compare = "\n".join(
        f"  wire [1:0] g{c}, y{c}; reg [4:0] r{c} = 0; always @* assert (g{c} == y{c});" for c in "ABCD"
    )
    ports = ", ".join(f".ADDR{c}(a{c}), .DI{c}(d{c})" for c in "ABCD")
    inputs = ", ".join(f"input [4:0] a{c}, input [1:0] d{c}" for c in "ABCD")
    gold_out, gate_out = (", ".join(f".DO{c}({p}{c})" for c in "ABCD") for p in "gy")
    (tmp_path / "miter.v").write_text(
        f"module core(input clk, input we, {inputs});\n{compare}\n"
        f"  RAM32M gold(.WCLK(clk), .WE(we), {ports}, {gold_out});\n"
        f"  gate gate(.WCLK(clk), .WE(we), {ports}, {gate_out});\nendmodule\n"
    )
    commands = ["read_verilog -formal miter.v gate.v", "read_verilog +/xilinx/cells_sim.v", "prep -top core -flatten"]
    commands += [
        "memory_map",
        "async2sync",
        "chformal -lower",
        "opt_clean",
        "sat -verify -prove-asserts -set-init-zero -seq 4 core",
    ]
    yosys.run_script(commands, tmp_path)


def verilog_behaviour() -> str:
    """The Amaranth component's behaviour as Verilog, not its instance."""
    from amaranth.back import verilog as backend

    return re.sub(r"\A/\*.*?\*/\s*", "", backend.convert(Ram32m(), name="ram", emit_src=False), flags=re.S)
