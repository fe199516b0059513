"""What the ways up cost: cycles of U-Nets with nearest, bilinear and transposed upsampling, predicted.

Bilinear layers are the enlarging itself; edge layers are the maps that its first and last word column read besides.
"""

from __future__ import annotations

from benchmarks.measure import machine, table
from benchmarks.throughput import compiled, unet
from hwseg.rtl.config import PRESETS, EngineConfig

UPSAMPLINGS = ("nearest", "bilinear", "transposed")
SIZES = ((8, 3, 128, 1), (16, 4, 256, 1), (32, 4, 256, 3))
"""Width, depth, size, channels of the picture."""


def measure(size: tuple[int, int, int, int], bits: int, upsampling: str, config: EngineConfig) -> list[str]:
    """A line of the table, for a 16-bit DDR."""
    program = compiled(unet(*size, upsampling)(bits), config, 16)
    timing = program.timing()
    spent = {"bilinear": 0, "edge": 0}
    for plan in program.plans:
        if plan.layer.op in spent:
            spent[plan.layer.op] += timing.layers[plan.index]
    shares = [f"{100 * cycles / timing.total:.1f} %" if cycles else "" for cycles in spent.values()]
    return [f"unet{size[0]}", str(bits), upsampling, f"{timing.total:,}", *shares]


def main() -> None:
    config = PRESETS["zynq7020"]
    rows = [measure(size, bits, name, config) for size in SIZES for bits in (8, 4) for name in UPSAMPLINGS]
    print(f"{machine()}, array {config.name}, 16-bit DDR")
    print()
    print(table(["network", "bits", "upsampling", "cycles", "bilinear layers", "edge layers"], rows))


if __name__ == "__main__":
    main()
