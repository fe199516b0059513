"""What the vendor's and the open tools are told: constraints and scripts, as text."""

from __future__ import annotations

from hwseg.boards import Board
from hwseg.boards.zynq7020.top import TOP
from hwseg.toolchain.yosys import synthesis

SOURCES = ("top.v", "hwseg_zynq.v")
KEEP = "hwseg_*"
"""Modules that stay apart until they are mapped; otherwise equal registers of different rows merge and cost clock."""


def pins_xdc(board: Board) -> str:
    """Places of the LEDs; both tools read it."""
    lines = [f"# Pins of the {board.title}."]
    for number, pin in enumerate(board.pins.leds):
        port = f"[get_ports {{leds[{number}]}}]"
        lines.append(f"set_property PACKAGE_PIN {pin} {port}")
        lines.append(f"set_property IOSTANDARD {board.pins.standard} {port}")
    return "\n".join(lines) + "\n"


def timing_xdc(board: Board) -> str:
    """The clock, and the paths that no clock times: each exception says why it is one."""
    lines = [
        f"# FCLK0: {board.ps.fclk.pll.upper()} PLL of {board.ps.fclk.pll_mhz:g} MHz"
        f" / {board.ps.fclk.divisors[0]} / {board.ps.fclk.divisors[1]}",
        f"create_clock -name fclk0 -period {1000 / board.ps.fclk.mhz:.3f} [get_pins {{ps7/FCLKCLK[0]}}]",
        "",
        "# The processing system asks for a reset whenever it likes; two flip-flops take that to the clock.",
        "set_false_path -to [get_pins {reset_first/D}]",
        "",
        "# The interrupt is a level that the interrupt controller synchronizes.",
        "set_false_path -to [get_pins {ps7/IRQF2P[0]}]",
    ]
    if board.pins.leds:
        lines += ["", "# LEDs are looked at by people.", "set_false_path -to [get_ports {leds[*]}]"]
    return "\n".join(lines) + "\n"


def vivado_tcl(board: Board) -> str:
    """Synthesis to bitstream without a project; ends with an error, and without a bitstream, if timing is not met."""
    return f"""# vivado -mode batch -source vivado.tcl
# Makes ../bitstream/hwseg.bit for the {board.title} ({board.part}) at {board.ps.fclk.mhz:.3f} MHz.
set reports ../reports
file mkdir $reports ../bitstream
read_verilog {{{" ".join(SOURCES)}}}
read_xdc {{pins.xdc}}
read_xdc {{timing.xdc}}
# Merging equal registers of different rows would put wires across the chip.
synth_design -top {TOP} -part {board.part} -flatten_hierarchy none -keep_equivalent_registers
report_utilization -file $reports/utilization_synth.txt
opt_design
place_design -directive ExtraNetDelay_high
phys_opt_design -directive AggressiveExplore
route_design -directive Explore
phys_opt_design
report_utilization -hierarchical -file $reports/utilization.txt
report_timing_summary -max_paths 10 -file $reports/timing.txt
report_power -file $reports/power.txt
report_drc -file $reports/drc.txt
write_checkpoint -force $reports/routed.dcp

proc worst_slack {{kind}} {{
    set path [get_timing_paths -$kind -max_paths 1]
    if {{$path eq ""}} {{ error "there is no timed path: the clock is missing" }}
    return [get_property SLACK $path]
}}
foreach kind {{setup hold}} {{
    set slack [worst_slack $kind]
    if {{$slack < 0}} {{
        error "timing is not met at {board.ps.fclk.mhz:.3f} MHz: worst $kind slack $slack ns; see $reports/timing.txt"
    }}
    puts "worst $kind slack: $slack ns"
}}
set unrouted [report_route_status -return_string]
if {{[regexp {{# of nets with routing errors[ .]*:\\s*([1-9]\\d*)}} $unrouted]}} {{ error $unrouted }}
write_bitstream -force ../bitstream/hwseg.bit
puts "wrote ../bitstream/hwseg.bit"
"""


def yosys_commands(folder: str = "") -> list[str]:
    """Synthesis for nextpnr-xilinx, which wants no `$scopeinfo`."""
    return [
        *(f"read_verilog {folder}{name}" for name in SOURCES),
        f"hierarchy -top {TOP}",
        f"setattr -mod -set keep_hierarchy 1 {KEEP}",
        f"setattr -mod -unset keep_hierarchy {TOP}",
        *synthesis(f"-top {TOP}"),
        f"setattr -mod -unset keep_hierarchy {KEEP}",
        "flatten",
        "opt_clean",
        "delete t:$scopeinfo",
        "write_json hwseg.json",
    ]


def route_command(board: Board, chipdb: str, seed: object) -> list[str]:
    """Place and route.  A clock that is missed is told and no failure: whoever reads the log decides."""
    return [
        *("nextpnr-xilinx", "--chipdb", chipdb, "--xdc", "pins.xdc", "--json", "hwseg.json"),
        *("--fasm", "hwseg.fasm", "--freq", f"{board.ps.fclk.mhz:.3f}", "--seed", str(seed), "--timing-allow-fail"),
    ]


def pack_commands(board: Board, database: str) -> list[tuple[list[str], str]]:
    """From a routed design to a bitstream: each command with the file that takes its output, empty for its own."""
    part = board.part
    return [
        (["fasm2frames", "--part", part, "--db-root", database, "hwseg.fasm"], "hwseg.frames"),
        (
            [
                *("xc7frames2bit", "--part_file", f"{database}/{part}/part.yaml", "--part_name", part),
                *("--frm_file", "hwseg.frames", "--output_file", "hwseg.bit"),
            ],
            "",
        ),
    ]


ROUTED = """ > nextpnr.log 2>&1 || { tail -n 20 nextpnr.log >&2; exit 1; }
# The last word on each clock is the one after routing.
if grep "Max frequency for clock" nextpnr.log | tail -n 1 | grep -q "FAIL at"; then
    grep "Max frequency for clock" nextpnr.log | tail -n 1 >&2
    echo "try another SEED, compile for such a clock (--clock-mhz), or let hwseg package --bitstream do it" >&2
    exit 1
fi"""


def open_script(board: Board) -> str:
    """The same as a shell script, for a machine that has the tools but not hwseg."""
    lines = []
    routing = (route_command(board, '"$CHIPDB"', '"${SEED:-1}"'), "")
    for command, output in (routing, *pack_commands(board, '"$PRJXRAY_DB"')):
        lines.append(" ".join(command).replace('"$PRJXRAY_DB"/', '"$PRJXRAY_DB/').replace("part.yaml", 'part.yaml"'))
        lines[-1] += f" > {output}" if output else ""
    lines[0] += ROUTED
    return f"""#!/bin/sh
# Bitstream with open tools: yosys, nextpnr-xilinx, fasm2frames, xc7frames2bit (https://github.com/openXC7).
# CHIPDB: nextpnr-xilinx's database of {board.device}.  PRJXRAY_DB: prjxray's folder of the family (zynq7).
# SEED: of the placement, 1 if it is not set.
set -eu
: "${{CHIPDB:?must name the chip database of {board.device}}}"
: "${{PRJXRAY_DB:?must name the folder zynq7 of prjxray-db}}"
cd "$(dirname "$0")"
for tool in yosys nextpnr-xilinx fasm2frames xc7frames2bit; do
    command -v "$tool" > /dev/null || {{ echo "$tool is not on PATH" >&2; exit 1; }}
done
yosys -q -s synth.ys
{chr(10).join(lines)}
mkdir -p ../bitstream
mv hwseg.bit ../bitstream/hwseg.bit
"""
