"""Block RAM with its output register, in Amaranth's simulator and as primitives in Verilator, against a list."""

import os
import random
import re
import subprocess

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.block_ram import SHALLOW, BlockRam
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.emit import verilog
from hwseg.toolchain.verilator import verilator_root

SIZES = [(64, 16, 1), (36, 512, 1), (102, 512, 1), (65, 1024, 1), (64, 2048, 1), (64, 512, 8), (64, 1024, 8)]
DEEP = [(64, 2048, 8), (64, 4096, 8), (20, 4096, 1), (7, 8192, 1), (5, 16384, 1)]


def accesses(width, depth, parts, count=400):
    """Cycles of what goes in, and of what comes out: few addresses, so that they meet; words of all bits."""
    rng = random.Random(width * depth + parts)
    places = [0, depth - 1, *(rng.randrange(depth) for _ in range(6))]
    part = width // parts
    # Every word is written whole before it is read.
    cycles = [(place, rng.getrandbits(width), (1 << parts) - 1, places[0], 0, 1) for place in places]
    for _ in range(count):
        written, read = rng.choice(places), rng.choice(places)
        enable = rng.choice([0, (1 << parts) - 1, rng.getrandbits(parts)])
        cycles.append((written, rng.getrandbits(width), enable, read, rng.random() < 0.7, rng.random() < 0.8))
    words, latch, kept, found = {}, 0, 0, []
    for written, word, enable, read, look, advance in cycles:
        kept = latch if advance else kept
        latch = words.get(read, 0) if look else latch
        mask = sum(((1 << part) - 1) << part * p for p in range(parts) if enable >> p & 1)
        words[written] = words.get(written, 0) & ~mask | word & mask
        found.append(kept)
    return cycles, found


def ports(cycle):
    names = ("write_address", "write_data", "write_enable", "read_address", "read_enable", "advance")
    return dict(zip(names, map(int, cycle), strict=True))


@pytest.mark.parametrize(("width", "depth", "parts"), SIZES + DEEP)
def test_words_come_two_cycles_behind_their_address(width, depth, parts):
    cycles, wanted = accesses(width, depth, parts, 100)
    dut = BlockRam(width, depth, parts)

    async def bench(ctx):
        for cycle, word in zip(cycles, wanted, strict=True):
            for name, value in ports(cycle).items():
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            assert ctx.get(dut.read_data) == word

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def module(number, width, depth, parts):
    return verilog(BlockRam(width, depth, parts), f"ram_{number}")


@pytest.mark.verilator
def test_the_primitives_do_the_same(tmp_path):
    """All sizes in one simulator: each module beside a table of what goes in and what must come out."""
    text, bench = [], []
    for number, (width, depth, parts) in enumerate(SIZES + DEEP):
        text.append(module(number, width, depth, parts))
        assert bool(re.search(r"reg \[[^]]*\] \w+ \[", text[-1])) == (depth <= SHALLOW)
        cycles, wanted = accesses(width, depth, parts)
        dut = BlockRam(width, depth, parts)
        bits = {name: len(getattr(dut, name)) for name in ports(cycles[0])}
        lines = []
        for cycle, word in zip(cycles, wanted, strict=True):
            packed = 0
            for name, value in ports(cycle).items():
                packed = packed << bits[name] | value
            lines.append(f"{packed << width | word:x}")
        (tmp_path / f"{number}.hex").write_text("\n".join(lines))
        total = sum(bits.values()) + width
        names = ", ".join(f"{name}_{number}" for name in bits)
        declared = "".join(f"  wire [{size - 1}:0] {name}_{number};\n" for name, size in bits.items())
        connected = ", ".join(f".{name}({name}_{number})" for name in bits)
        bench.append(f"""
  reg [{total - 1}:0] table_{number} [0:{len(cycles) - 1}];
  initial $readmemh("{tmp_path}/{number}.hex", table_{number});
{declared}  wire [{width - 1}:0] wanted_{number}, got_{number};
  reg [{width - 1}:0] due_{number};
  assign {{{names}, wanted_{number}}} = table_{number}[at];
  ram_{number} ram_{number}(.clk(clk), .rst(1'b0), {connected}, .read_data(got_{number}));
  always @(posedge clk) begin
    due_{number} <= wanted_{number};
    if (at != 0 && got_{number} != due_{number}) begin
      $display("size {number} cycle %d: %h, not %h", at, got_{number}, due_{number}); $stop;
    end
  end
""")
    last = len(cycles) - 1
    top = f"""
module bench;
  reg clk = 0; integer at = 0;
  always #5 clk = !clk;
{"".join(bench)}
  always @(posedge clk) if (at == {last}) begin $display("done"); $finish; end else at <= at + 1;
endmodule
"""
    modules = "\n".join(text)
    source = tmp_path / "all.v"
    source.write_text("`timescale 1ns/1ps\n" + modules + sim_cells(modules) + top)
    assert "RAMB18E1" in modules
    tool = verilator_root()
    options = ["--binary", "--timing", "-Wno-fatal", "--top-module", "bench", "--Mdir", str(tmp_path / "made")]
    made = subprocess.run(
        [tool.executable, *options, str(source)],
        env={**os.environ, **tool.environment(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    ran = subprocess.run([tmp_path / "made" / "Vbench"], capture_output=True, text=True, check=False)
    assert "done" in ran.stdout, ran.stdout[-3000:]


def test_as_many_half_block_rams_as_the_estimate_says():
    from hwseg.target.resources import memory

    for width, depth, parts in SIZES + DEEP:
        assert module(0, width, depth, parts).count("RAMB18E1") == 2 * memory(depth, width), (width, depth, parts)
