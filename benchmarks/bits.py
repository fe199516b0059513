"""What 4-bit activations save: predicted cycles of U-Nets with random weights at 8 and 4 bits.

    python -m benchmarks.bits --widths 8,16,32,64 --widths 16,64,64,64 --size 128

Cycles follow from shapes and digit planes alone, so that a network can be chosen before it is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.graphs import GraphBuilder
from benchmarks.measure import table
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.ir import Graph
from hwseg.target.array import choose_array


def unet(widths: Sequence[int], size: int, upsampling: str, bits: int) -> Graph:
    """Two 3x3 convolutions a level and a 1x1 head, as `hwseg train` makes it; the picture keeps 8 bits."""
    b = GraphBuilder(size, size, 1)

    def block(x: str, width: int) -> str:
        return b.conv(b.conv(x, width, bits=bits), width, bits=bits)

    x, skips = "image", []
    for width in widths[:-1]:
        x = block(x, width)
        skips.append(x)
        x = b.pool(x)
    x = block(x, widths[-1])
    for width, skip in zip(widths[-2::-1], reversed(skips), strict=True):
        up = b.up(x) if upsampling == "nearest" else b.conv(x, width, 2, bits=bits)
        x = block(b.concat(skip, up), width)
    return b.graph(b.sums(x, 1, 1))


def row(widths: Sequence[int], size: int, upsampling: str, array: str) -> tuple[str, ...]:
    """One network as a line of the table."""
    board = load_board("zynq7020")
    config = choose_array(array, "table", board)
    full, half = (compile_graph(unet(widths, size, upsampling, bits), config, board) for bits in (8, 4))
    macs = sum(plan.layer.macs for plan in full.plans)
    cycles = [program.timing().total for program in (full, half)]
    name = ", ".join(str(width) for width in widths)
    return (name, upsampling, f"{size}x{size}", f"{macs / 1e6:,.0f}", *(f"{c:,}" for c in cycles),
            f"{cycles[1] / cycles[0]:.3f}", f"{len(full.weights):,}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", action="append", required=True, help="channels by level; may be given again")
    parser.add_argument("--size", type=int, action="append", help="side of the picture; may be given again  [128]")
    parser.add_argument("--upsampling", choices=("nearest", "transposed"), default="nearest")
    parser.add_argument("--array", default="auto")
    options = parser.parse_args()
    networks = [tuple(int(width) for width in text.split(",")) for text in options.widths]
    rows = [row(w, size, options.upsampling, options.array) for w in networks for size in options.size or [128]]
    print(table(("channels by level", "upsampling", "picture", "MMAC", "8 bits", "4 bits", "share", "image"), rows))


if __name__ == "__main__":
    main()
