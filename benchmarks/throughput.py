"""Cycles, GOPS and DDR traffic of whole networks: the compiler's recurrence, checked in Verilator with `--verify`.

Weights are random: cycles follow from shapes and digit planes alone. GOPS are 2 x multiply-accumulates of convolutions;
residual additions and pooling take cycles and count nothing. Beside five drawn networks there are those that hwseg
ships, at the bits they were trained with. With `--images` these skip leading zero planes of real pictures, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from benchmarks import skipping
from benchmarks.graphs import GraphBuilder
from benchmarks.measure import machine, table
from benchmarks.verification import MOST_CYCLES, Check, verify_strips, verify_whole
from hwseg import models
from hwseg.boards import Board, load_board
from hwseg.boards.board import FASTEST, SLOWEST
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.pictures.source import read_input
from hwseg.rtl.config import EngineConfig
from hwseg.target.array import choose_array, require_fit

CLOCK_MHZ = 150.0
DDR = {16: 1.47e9, 32: 2.94e9}
"""Sustained bytes per second: 70 % of the peak of a DDR3-1050 of that width."""
RESIDUAL_WIDTHS = (16, 32, 64, 144, 288)
WHOLE = ("unet8", "unet16")
"""The two smallest: `--verify` simulates every cycle of them, and strips of every layer of the others."""
SHIPPED: dict[str, int | str] = {"nuclei-w8a8": 8, "nuclei-mixed": "mixed"}
"""Networks of `hwseg.models` and their bits."""


@dataclass(frozen=True)
class Row:
    """One network under one condition."""

    name: str
    bits: int | str
    ddr_bits: int
    mode: str
    clock_mhz: float
    macs: int
    cycles: int
    utilization: float
    gops: float
    ddr_bytes: int


def unet(
    width: int, depth: int, size: int, channels: int, upsampling: str = "transposed"
) -> Callable[[int, int], Graph]:
    """Two 3x3 convolutions a level, transposed convolutions (or nearest or bilinear upsampling), a 1x1 head; `size` may
    be replaced.
    """

    def build(bits: int = 8, side: int = 0) -> Graph:
        b = GraphBuilder(side or size, side or size, channels)
        x, skips = "image", []
        for level in range(depth):
            x = b.conv(b.conv(x, width << level, bits=bits), width << level, bits=bits)
            skips.append(x)
            x = b.pool(x)
        x = b.conv(b.conv(x, width << depth, bits=bits), width << depth, bits=bits)
        for level in reversed(range(depth)):
            if upsampling == "transposed":
                x = b.conv(x, width << level, 2, bits=bits)
            else:
                x = b.up(x) if upsampling == "nearest" else b.bilinear(x, bits)
            x = b.concat(x, skips[level])
            x = b.conv(b.conv(x, width << level, bits=bits), width << level, bits=bits)
        return b.graph(b.sums(x, 1, 1))

    return build


def resunet(bits: int, side: int = 0) -> Graph:
    """Two convolutions and an addition a level, nearest upsampling, 18 convolutions of 3x3 and a head."""
    b = GraphBuilder(side or 192, side or 192, 4)
    half = Fraction(1, 2)
    high = (1 << bits) - 1

    def block(x: str, width: int) -> str:
        first = b.conv(x, width, bits=bits)
        return b.add(first, b.conv(first, width, bits=bits), half, half, 0, high, Fraction(0))

    x, skips = "image", []
    for width in RESIDUAL_WIDTHS[:-1]:
        x = block(x, width)
        skips.append(x)
        x = b.pool(x)
    x = block(x, RESIDUAL_WIDTHS[-1])
    for width, skip in zip(RESIDUAL_WIDTHS[-2::-1], reversed(skips), strict=True):
        x = block(b.concat(b.up(x), skip), width)
    return b.graph(b.sums(x, 1, 1))


NETWORKS: dict[str, Callable[..., Graph]] = {
    "unet64": unet(64, 4, 512, 1),
    "unet32": unet(32, 4, 256, 3),
    "unet16": unet(16, 4, 256, 1),
    "unet8": unet(8, 3, 128, 1),
    "resunet": resunet,
}


def graph_of(name: str, bits: int | str) -> Graph:
    """A drawn network at `bits`, or a shipped one."""
    if name in NETWORKS:
        return NETWORKS[name](bits)
    from hwseg.quant.read.load import load

    return load(models.path(name, ".onnx"))


def compiled(graph: Graph, config: EngineConfig, ddr_bits: int, clock_mhz: float = CLOCK_MHZ) -> Program:
    return compile_graph(graph, config, board(ddr_bits), clock_mhz=clock_mhz)


def board(ddr_bits: int) -> Board:
    found = load_board("zynq7020")
    return replace(found, ddr_bits=ddr_bits, ddr_bytes_per_second=DDR[ddr_bits])


def measure(name: str, bits: int | str, ddr_bits: int, config: EngineConfig, clock_mhz: float = CLOCK_MHZ) -> Row:
    """One compilation and its prediction."""
    program = compiled(graph_of(name, bits), config, ddr_bits, clock_mhz)
    timing = program.timing()
    macs = sum(plan.layer.macs for plan in program.plans)
    planes = [max(s.planes for s in plan.sources) for plan in program.plans]
    busy = sum(plan.layer.macs * b for plan, b in zip(program.plans, planes, strict=True))
    words = sum(timing.read_words.values()) + sum(timing.write_words.values())
    return Row(
        name,
        bits,
        ddr_bits,
        "dense",
        clock_mhz,
        macs,
        timing.total,
        busy / (config.rows * config.pixels * config.lanes) / timing.total,
        2 * macs / timing.total * clock_mhz / 1e3,
        8 * words,
    )


def measure_skipping(
    name: str, ddr_bits: int, config: EngineConfig, pictures: Sequence[Path], clock_mhz: float = CLOCK_MHZ
) -> Row:
    """A shipped network on pictures, resized to what it takes; cycles are the mean."""
    dense = measure(name, SHIPPED[name], ddr_bits, config, clock_mhz)
    program = compiled(graph_of(name, SHIPPED[name]), config, ddr_bits, clock_mhz)
    found = [skipping.measure(program, p.name, read_input(p, program.graph, "resize")) for p in pictures]
    cycles = round(sum(saved.cycles for saved in found) / len(found))
    executed = sum(1 / saved.planes for saved in found) / len(found)
    faster = dense.cycles / cycles
    busy = dense.utilization * faster * executed
    return replace(dense, mode="skip", cycles=cycles, utilization=busy, gops=dense.gops * faster)


def verify(name: str, bits: int | str, config: EngineConfig, most_cycles: int) -> list[Check]:
    """The whole network, or strips of each of its layers, on a 16-bit DDR."""
    program = compiled(graph_of(name, bits), config, 16)
    if name in WHOLE or name in SHIPPED:
        checks = [verify_whole(name, program)]
        print(checks[0], flush=True)
        return checks
    return verify_strips(name, program, lambda graph: compiled(graph, config, 16), most_cycles)


PUBLISHED = (
    ("MSD, FCCM 2023: ResNet-18, 8 bits and mixed", 138.3),
    ("ICECS 2025 paper: U-Net convolutions, 8 bits", 53.0),
)
"""GOPS on the same part."""


def plot(rows: list[Row], config: EngineConfig, path: Path) -> None:
    """GOPS by network and word length on a 16-bit DDR, the array's peak and published figures as lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row.name in NETWORKS and (row.ddr_bits, row.clock_mhz) == (16, CLOCK_MHZ)]
    names = list(dict.fromkeys(row.name for row in rows))
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for offset, (bits, colour) in enumerate(((8, "#2b6ca3"), (4, "#5f9a45"))):
        found = {row.name: row.gops for row in rows if row.bits == bits}
        places = [i + 0.36 * (offset - 0.5) for i, name in enumerate(names) if name in found]
        bars = axes.bar(places, list(found.values()), 0.34, color=colour, label=f"{bits}-bit activations")
        axes.bar_label(bars, fmt="%.0f", fontsize=9, color="white", label_type="center")
    peak = 2 * config.peak_macs * CLOCK_MHZ / 1e3
    for (label, value), style in zip((("peak at 8 bits", peak), *PUBLISHED), ("-", "--", ":"), strict=True):
        axes.axhline(value, color="#444", linestyle=style, linewidth=1, label=f"{label}: {value:.0f}")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(f"GOPS at {CLOCK_MHZ:g} MHz (predicted)")
    axes.set_ylim(0, 820)
    axes.legend(fontsize=8, ncols=2, loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*NETWORKS, *SHIPPED], action="append")
    parser.add_argument("--bits", type=int, action="append", choices=range(2, 9))
    parser.add_argument("--array", default="zynq7020", help="[zynq7020]")
    parser.add_argument("--clock", type=float, action="append", metavar="MHZ", help=f"[{CLOCK_MHZ:g}]")
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures on which shipped networks skip")
    parser.add_argument("--pictures", type=int, default=8, help="the first ones of them [8]")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--verify", action="store_true", help="simulate in Verilator; resumes where it was interrupted")
    parser.add_argument("--most-cycles", type=int, default=MOST_CYCLES, help="of a cut that --verify simulates")
    arguments = parser.parse_args()
    clocks = arguments.clock or [CLOCK_MHZ]
    try:
        config = choose_array(arguments.array, "table", board(16))
        require_fit(config, board(16))
    except HwsegError as error:
        parser.error(str(error))
    for wrong in (clock for clock in clocks if not SLOWEST <= clock <= FASTEST):
        parser.error(f"--clock: must be from {SLOWEST} to {FASTEST} MHz, is {wrong:g}")
    chosen = [
        (name, bits)
        for name in arguments.only or [*NETWORKS, *SHIPPED]
        for bits in ([SHIPPED[name]] if name in SHIPPED else arguments.bits or [8, 4])
    ]
    for path in filter(None, (arguments.json, arguments.plot)):
        if not path.absolute().parent.is_dir() or path.is_dir():
            parser.error(f"{path}: must be a file in a folder that exists")
    if arguments.plot:
        if arguments.plot.suffix != ".png":
            parser.error(f"{arguments.plot}: must end in .png")
        if CLOCK_MHZ not in clocks or not any(name in NETWORKS for name, _ in chosen):
            parser.error(f"--plot: shows drawn networks at {CLOCK_MHZ:g} MHz, of which there is none; leave it out")
    rows = [
        measure(name, bits, ddr_bits, config, clock) for clock in clocks for name, bits in chosen for ddr_bits in DDR
    ]
    if arguments.images is not None:
        pictures = skipping.pictures_of(arguments.images, arguments.pictures)
        rows += [
            measure_skipping(name, ddr_bits, config, pictures, clock)
            for clock in clocks
            for name, _ in chosen
            if name in SHIPPED
            for ddr_bits in DDR
        ]
    print(f"{machine()}, array {config.name}")
    print()
    print(table(HEAD, [cells(row) for row in rows]))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if arguments.plot:
        plot(rows, config, arguments.plot)
    if arguments.verify:
        checks = [check for name, bits in chosen for check in verify(name, bits, config, arguments.most_cycles)]
        failed = [check for check in checks if not check.passed]
        print(f"{len(checks)} simulations, {sum(c.cycles for c in checks):,} cycles: {len(failed)} differ")
        raise SystemExit(bool(failed))


HEAD = ["network", "bits", "DDR bits", "mode", "MHz", "GMAC", "cycles", "lanes busy", "GOPS", "DDR MB", "GB/s"]


def cells(row: Row) -> list[str]:
    """A line of the table."""
    return [
        row.name,
        str(row.bits),
        str(row.ddr_bits),
        row.mode,
        f"{row.clock_mhz:g}",
        f"{row.macs / 1e9:.3f}",
        f"{row.cycles:,}",
        f"{100 * row.utilization:.1f} %",
        f"{row.gops:.1f}",
        f"{row.ddr_bytes / 1e6:.1f}",
        f"{row.ddr_bytes * row.clock_mhz * 1e6 / row.cycles / 1e9:.2f}",
    ]


if __name__ == "__main__":
    main()
