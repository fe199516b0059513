"""Resize and Upsample by 2, nearest neighbour or bilinear.

Nearest neighbour moves pixels.  Bilinear computes: it takes quantized maps only, and its sums want a quantizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor

from hwseg.errors import require
from hwseg.ops import Bilinear2d, Upsample2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.moving import move_map
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.wide import sums_of_8_bits


def enlarging(b: Builder, node: OnnxNode) -> None:
    """Resize and Upsample, of any version of the operator set."""
    found = attributes(
        node, mode=["nearest", "linear"], nearest_mode=str, coordinate_transformation_mode=str, cubic_coeff_a=float,
        scales=tuple, exclude_outside=[0], extrapolation_value=float, antialias=[0],
        keep_aspect_ratio_policy=["stretch"],
    )  # fmt: skip
    height, width, channels = b.value(node).shape
    scales = _scales(b, node, (1, channels, height, width))
    cure = "use scale_factor=2, mode='nearest'"
    require(scales == (1, 1, 2, 2), node.name, f"must enlarge height and width by 2, not {list(scales)[:8]}", cure)
    modes = found.get("coordinate_transformation_mode", "half_pixel"), found.get("nearest_mode", "round_prefer_floor")
    if node.op == "Upsample" or b.file.opset == 10:
        modes = "asymmetric", "floor"
    if found.get("mode") == "linear":
        _bilinear(b, node, modes[0])
        return
    require(_repeats(*modes), node.name, f"must repeat every pixel, {modes[0]} with {modes[1]} does not", cure)
    move_map(b, node, Upsample2d())


def _bilinear(b: Builder, node: OnnxNode, coordinates: str) -> None:
    """The sixteenths of an activation; they wait for their quantizer."""
    require(
        coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"),
        node.name,
        f"bilinear enlarging must have pixel centres at halves, {coordinates} has not",
        "use scale_factor=2, mode='bilinear', align_corners=False",
    )
    sums_of_8_bits(b, node, Bilinear2d())


def _scales(b: Builder, node: OnnxNode, size: tuple[int, ...]) -> tuple[float, ...]:
    """The factor of each of N, C, H, W, from scales or sizes, wherever this version of the operator keeps them."""
    if "scales" in node.attributes:
        return tuple(float(s) for s in node.attributes["scales"])
    index = 1 if node.op == "Upsample" or b.file.opset == 10 else 2
    name = node.input(index)
    if name and (name not in b.constants or b.constants[name].size):
        return tuple(float(s) for s in b.constant(node, index, "scales").reshape(-1))
    sizes = b.constant(node, 3, "sizes").reshape(-1)
    require(sizes.size == 4, node.name, f"sizes must be four numbers, are {sizes.size}", EXPORT)
    return tuple(float(new) / old for new, old in zip(sizes, size, strict=True))


def _repeats(coordinates: str, rounding: str) -> bool:
    """Does this nearest-neighbour rule enlarge by 2 as y[i] = x[i // 2]?  Asked of its formula."""
    formulas: Mapping[str, Callable[[int], float]] = {
        "asymmetric": lambda i: i / 2,
        "half_pixel": lambda i: (i + 0.5) / 2 - 0.5,
        "half_pixel_symmetric": lambda i: (i + 0.5) / 2 - 0.5,
        "pytorch_half_pixel": lambda i: (i + 0.5) / 2 - 0.5,
    }
    nearest: Mapping[str, Callable[[float], int]] = {
        "floor": floor,
        "ceil": ceil,
        "round_prefer_floor": lambda x: ceil(x - 0.5),
        "round_prefer_ceil": lambda x: floor(x + 0.5),
    }
    if coordinates not in formulas or rounding not in nearest:
        return False
    return all(min(max(nearest[rounding](formulas[coordinates](i)), 0), 7) == i // 2 for i in range(16))
