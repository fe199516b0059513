"""Resize and Upsample of ONNX: which of their many ways are an enlarging by a whole number that hwseg has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any

from hwseg.errors import require
from hwseg.quant.convert.onnx_reader import AGAIN, Reader
from hwseg.quant.read.onnx_file import OnnxNode

HALF = Fraction(1, 2)
ROUND: Mapping[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda x: ceil(x - HALF),
    "round_prefer_ceil": lambda x: floor(x + HALF),
    "floor": floor,
    "ceil": ceil,
}
"""By nearest_mode."""
WAYS = ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric"]
LINEAR = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners")
"""Ways of a linear enlarging by a whole number: but for align_corners, with pixel centres at halves."""
OPSET_OF_WAYS = 11


def resize(r: Reader, node: OnnxNode) -> str:
    """An enlarging; by 1, it is none."""
    if node.op == "Upsample" or r.file.opset < OPSET_OF_WAYS:  # asymmetric, the nearest below
        given: dict[str, Any] = r.attributes(node, 2, mode=["nearest", "linear"])
        given |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        factor = _factor(r, node, r.numbers(node, 1), [0, 1, 2, 3])
    else:
        given = r.attributes(
            node, 4, mode=["nearest", "linear"], coordinate_transformation_mode=WAYS, nearest_mode=list(ROUND),
            antialias=[0], axes=(), keep_aspect_ratio_policy=["stretch"], cubic_coeff_a=-0.75, exclude_outside=[0],
            extrapolation_value=0.0,
        )  # fmt: skip
        factor = _factor(r, node, _scales(r, node, given["axes"]), list(range(4)))
    way = given["coordinate_transformation_mode"]
    if factor == 1:
        return r.value(node)
    if given["mode"] == "nearest":
        both = f"{way} and {given['nearest_mode']}"
        rule = f"the nearest by {both} is not that of pixels repeated {factor} times"
        repeats = all(_repeats(side, factor, way, ROUND[given["nearest_mode"]]) for side in set(r.shape(node)[2:]))
        require(repeats, node.name, rule, "use asymmetric and floor, as PyTorch's mode='nearest' has them")
        return r.add(node, "nearest", (r.value(node),), {"factor": factor})
    rule = f"enlarging linear with {way} is not supported"
    require(way in LINEAR, node.name, rule, "use pytorch_half_pixel, as PyTorch's mode='bilinear' has it")
    return r.add(node, "bilinear", (r.value(node),), {"factor": factor, "align_corners": way == "align_corners"})


def _scales(r: Reader, node: OnnxNode, axes: tuple[int, ...]) -> list[float]:
    """Of all four axes, from scales or sizes of some."""
    scales, wanted, before = r.numbers(node, 2), r.numbers(node, 3), r.shape(node)
    listed = [axis % 4 for axis in axes] if axes else [0, 1, 2, 3]
    numbers = scales or wanted
    rule = f"must have a scale or a size for each of {len(listed)} axes, has {len(numbers)}"
    require(len(numbers) == len(listed) == len(set(listed)), node.name, rule, AGAIN)
    found = [1.0] * 4
    for axis, number in zip(listed, numbers, strict=True):
        found[axis] = number if scales else number / before[axis]
    return found


def _factor(r: Reader, node: OnnxNode, scales: list[float], axes: list[int]) -> int:
    whole = len(scales) == len(axes) and scales[:2] == [1, 1] and scales[2] == scales[3] == int(scales[2]) >= 1
    rule = f"must enlarge height and width alone, both by one whole number, not {scales}"
    require(whole, node.name, rule, "use a whole scale_factor")
    return int(scales[2])


def _repeats(side: int, factor: int, way: str, rounded: Callable[[Fraction], int]) -> bool:
    """Whether every pixel is the one below it, of all that are repeated."""
    large = side * factor
    for x in range(large):
        at = Fraction(2 * x + 1, 2 * factor) - HALF
        if way == "asymmetric":
            at = Fraction(x, factor)
        elif way == "align_corners":
            at = Fraction(x * (side - 1), max(large - 1, 1))
        if min(max(rounded(at), 0), side - 1) != x // factor:
            return False
    return True
