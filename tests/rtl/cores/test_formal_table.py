"""Proofs for the table cores: the accumulator's bound, what the loader writes, and sums from weights to sum.

Three steps make one argument.  The loader writes U[a] for every address a, whatever the weights; tables of such entries
keep a plane sum within sum|w|; and then the accumulator stays within its bound and is exact.  The middle step, which
is the tree's, is shown with the others by whole columns of encoder, loader and core at small sizes, for all inputs.
"""

from __future__ import annotations

import re

import pytest

from hwseg.arith.table import ENTRIES, LANES, TableSpec
from hwseg.arith.types import CoreSpec
from hwseg.errors import HwsegError
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys
from tests.rtl.cores.column import Column

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def into(text: str, module: str, added: str) -> str:
    """`text` with `added` at the end of one of its modules."""
    return re.sub(rf"(^module {module}\b.*?)^endmodule", rf"\1{added}\nendmodule", text, count=1, flags=re.S | re.M)


def prove(text: str, folder, top: str, steps: int, from_reset: bool = False) -> None:
    """By induction over at most so many steps, or from reset for so many cycles."""
    (folder / "proof.v").write_text(text)
    commands = ["read_verilog -formal proof.v", f"prep -top {top} -flatten", "memory_map", "async2sync"]
    commands += ["chformal -lower", "opt_clean", "opt -full"]
    kind = "-seq" if from_reset else "-tempinduct -maxsteps"
    commands.append(f"sat -verify -prove-asserts -set-assumes {kind} {steps} {top}")
    yosys.run_script(commands, folder)


def horner(lanes: int, bits: int, total: str, valid: str, starts: str, negative: str, equal: str) -> str:
    """Any even total within twice sum|w| per plane, at most 8 planes: the register is the sum, within its bound."""
    spec = CoreSpec(lanes, bits)
    width, high = spec.sum_bits + 4, 2 * spec.magnitude
    return f"""
  reg signed [{width}:0] ghost = 0;
  reg [3:0] planes = 0;
  wire signed [{width}:0] twice = {starts} ? 0 : 2 * ghost;
  wire signed [{width}:0] exact = {negative} ? twice - $signed({total}) : twice + $signed({total});
  always @(posedge clk_here) if ({valid}) begin
    ghost <= exact;
    planes <= {starts} ? 1 : planes + 1;
  end
  always @* assume (!({valid}) || (({starts}) || planes < 8));
  always @* assume ($signed({total}) <= {high} && $signed({total}) >= -{high} && !{total}[0]);
  always @* assert (planes <= 8);
  always @* assert (ghost <= ((1 << planes) - 1) * {high} && ghost >= -((1 << planes) - 1) * {high});
  wire [{spec.sum_bits}:0] low = ghost[{spec.sum_bits}:0];
  always @* assert ({equal});
"""


def accumulator(core: str, lanes: int, bits: int) -> str:
    """The core's Verilog with what must hold."""
    text, high = verilog(CORES[core].core(lanes, bits), "core"), CoreSpec(lanes, bits).sum_bits
    if core == "table_dsp":
        added = horner(lanes, bits, "sum_of_two", "CEP", "!add_c", "subtract", f"P[{high}:0] == low")
        return into(sim_cells(text), "DSP48E1", added.replace("clk_here", "CLK")) + text
    spec = TableSpec(lanes, bits)
    levels, depth = len(spec.tree), spec.depth
    valid, last, subtract = (f"{name}_{depth}" for name in ("valid", "last", "subtract"))
    added = f"  reg ended = 1;\n  always @(posedge clk) if ({valid}) ended <= {last};\n  always @* assume (!rst);\n"
    added += "".join(f"  always @* assert (valid_{i} || !last_{i});\n" for i in range(1, depth + 1))
    equal = f"ended ? !residual && (planes == 0 || sum == low[{high}:1]) : {{residual, 1'b0}} == low"
    added += horner(lanes, bits, f"node_{levels}_0", valid, "ended", subtract, equal)
    return sim_cells(text) + into(text, "core", added.replace("clk_here", "clk"))


@pytest.mark.parametrize("core", ["table", "table_dsp"])
@pytest.mark.parametrize(("lanes", "bits"), [(9, 4), pytest.param(72, 8, marks=pytest.mark.slow)])
def test_the_accumulator_stays_in_its_bound_and_is_the_sum_of_the_planes(core, lanes, bits, tmp_path):
    prove(accumulator(core, lanes, bits), tmp_path, "core", 4)


@pytest.mark.parametrize(
    ("core", "old", "new"),
    [
        ("table", "planes < 8", "planes < 15"),
        ("table_dsp", "planes < 8", "planes < 15"),
        ("table_dsp", "- term", "+ term"),
    ],
)
def test_the_proof_sees_one_plane_too_many_and_a_wrong_sign(core, old, new, tmp_path):
    text = accumulator(core, 9, 4)
    assert old in text
    with pytest.raises(HwsegError, match="must not fail"):
        prove(text.replace(old, new, 1), tmp_path, "core", 4)


def coefficients(n: int) -> list[int]:
    """Of the six weights in an entry after n additions: the first six, then one of the 32 in the order of writing."""
    if n <= LANES:
        return [int(i < n) for i in range(LANES)]
    address = [address for address, _ in TableSpec(LANES).entries([0] * LANES)[0]][n - LANES]
    return [1, *(1 if address >> i & 1 else -1 for i in range(LANES - 1))]


def loader(lanes: int, bits: int) -> str:
    """`age` counts cycles since a start; a start finds the loader idle, and weights stay while it is busy."""
    spec, last = TableSpec(lanes, bits), LANES + ENTRIES
    text = verilog(CORES["table"].loader(lanes, bits), "loader")
    cases = [
        f"      {n}: c = {{{', '.join(f'2{chr(39)}d{k & 3}' for k in coefficients(n)[::-1])}}};" for n in range(last)
    ]
    sums = []
    for t in range(spec.tables):
        terms = [
            f"$signed(c[{2 * j + 1}:{2 * j}]) * $signed(weights[{bits * i + bits - 1}:{bits * i}])"
            for j, i in enumerate(spec.lanes_of(t))
        ]
        sums.append(f"  wire signed [{spec.entry_bits - 1}:0] exact_{t} = {' + '.join(terms)};")
    stored, parity = spec.stored_bits, 2 + spec.tables * spec.stored_bits
    checks = [f"  always @* assert (entry_{t} == (age > 1 ? exact_{t} : 0));" for t in range(spec.tables)]
    for t in range(spec.tables):
        low = 2 + t * stored
        odd = " ^ ".join(f"weights[{bits * i}]" for i in spec.lanes_of(t))
        checks.append(f"  always @* assert (load[{low + stored - 1}:{low}] == entry_{t}[{stored}:1]);")
        checks.append(f"  always @* assert (age < 8 || load[{parity + t}] == ({odd}));")
    body = "\n".join([*sums, *checks])
    return into(
        text,
        "loader",
        f"""
  reg [5:0] age = 0;
  reg [{lanes * bits - 1}:0] before = 0;
  always @(posedge clk) begin
    age <= age == {last} ? 0 : age != 0 || start ? age + 1 : 0;
    before <= weights;
  end
  always @* assume (!rst);
  always @* assume (!start || age == 0);
  always @* assume (age == 0 || before == weights);
  reg [11:0] c;
  always @* begin
    c = 0;
    case (age - 1)
{chr(10).join(cases)}
    endcase
  end
{body}
  always @* assert (age <= {last});
  always @* assert (busy == (start || age != 0));
  always @* assert (load[0] == (age >= 7));
  always @* assert (load[1] == (age == 8));
  always @* assert (step == (age <= {last - 2} ? age : 0));
  always @* assert (adding == (age >= 1 && age <= {last - 1}));
  always @* assert (writing == (age >= 7));
  always @* assert (first_entry == (age == 7));
""",
    )


@pytest.mark.parametrize(
    ("lanes", "bits"), [(6, 2), pytest.param(6, 3, marks=pytest.mark.slow), pytest.param(14, 2, marks=pytest.mark.slow)]
)
def test_the_loader_writes_every_entry_and_is_busy_for_39_cycles(lanes, bits, tmp_path):
    """For all weights: write is 1 in just 32 cycles of a reload and 0 without one, each entry is U of its address."""
    prove(loader(lanes, bits), tmp_path, "loader", 6)


def test_the_proof_sees_a_wrong_entry(tmp_path):
    text = loader(6, 2)
    wrong = text.replace("      20: c = {", "      20: c = 12'd1 ^ {", 1)
    assert wrong != text
    with pytest.raises(HwsegError, match="must not fail"):
        prove(wrong, tmp_path, "loader", 6)


def column(core: str, lanes: int, bits: int, planes: int, signed: bool) -> tuple[str, int]:
    """Reset, a reload with any weights, then at once a sum of any activations; and the cycles until it has come."""
    family = CORES[core]
    made = Column(family, lanes, bits)
    text = verilog(made, "column")
    begin = 2 + family.reload_cycles
    end = begin + planes - 1 + family.encoder_latency + family.latency(lanes)
    terms = []
    for i in range(lanes):
        x = f"x[{planes * i + planes - 1}:{planes * i}]"
        x = f"$signed({x})" if signed else f"$signed({{1'b0, {x}}})"
        terms.append(f"$signed(w[{bits * i + bits - 1}:{bits * i}]) * {x}")
    lanes_now = ", ".join(f"x[{planes * i + planes - 1} - j]" for i in reversed(range(lanes)))
    width = len(made.sum)
    return (
        sim_cells(text)
        + text
        + f"""
module top(input clk, input [{lanes * bits - 1}:0] w_in, input [{lanes * planes - 1}:0] x_in);
  reg [6:0] t = 0;
  reg [{lanes * bits - 1}:0] w = 0;
  reg [{lanes * planes - 1}:0] x = 0;
  always @(posedge clk) begin
    t <= &t ? t : t + 1;
    if (t == 0) begin w <= w_in; x <= x_in; end
  end
  wire on = t >= {begin} && t < {begin + planes};
  wire [6:0] j = on ? t - {begin} : 0;
  wire signed [{width - 1}:0] sum;
  wire sum_valid;
  column dut(.clk(clk), .rst(1'b0), .weights(w), .reload(t == 1), .lanes(on ? {{{lanes_now}}} : 0), .valid(on),
    .first(on && t == {begin}), .last(on && t == {begin + planes - 1}), .negate(on && t == {begin} && {int(signed)}),
    .sum(sum), .sum_valid(sum_valid));
  wire signed [{width}:0] exact = {" + ".join(terms)};
  always @* assert (sum_valid == (t == {end}));
  always @* if (t == {end}) assert (sum == exact);
endmodule
""",
        end + 2,
    )


@pytest.mark.parametrize("core", ["table", "table_dsp"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("lanes", "bits", "planes"),
    [(2, 2, 2), pytest.param(3, 2, 2, marks=pytest.mark.slow), pytest.param(7, 1, 1, marks=pytest.mark.slow)],
)
def test_a_column_computes_the_dot_product_for_all_inputs(core, lanes, bits, planes, signed, tmp_path):
    """Encoder, loader and core: any weights, loaded as in use, and any activations."""
    text, steps = column(core, lanes, bits, planes, signed)
    prove(text, tmp_path, "top", steps, from_reset=True)


def test_the_column_proof_sees_a_wrong_sum(tmp_path):
    text, steps = column("table", 2, 2, 2, False)
    with pytest.raises(HwsegError, match="must not fail"):
        prove(text.replace("= $signed(w[1:0])", "= 1 + $signed(w[1:0])"), tmp_path, "top", steps, from_reset=True)
