"""Operations on maps without weights: pooling, enlarging, crops and pads of nothing.

Quantized maps are moved at once; what is not quantized yet is moved after its quantizer, which rounds monotonically.
Bilinear enlarging computes: it takes quantized maps only, and its sums want a quantizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, floor

from hwseg.errors import HwsegError, require
from hwseg.ir import TensorType
from hwseg.ops import Bilinear2d, MaxPool2d, Upsample2d, shape
from hwseg.quant.read.builder import Builder, attributes
from hwseg.quant.read.fold import slices
from hwseg.quant.read.onnx_file import EXPORT, OnnxFile, OnnxNode
from hwseg.quant.read.values import Move, Value


def max_pool(b: Builder, node: OnnxNode) -> None:
    attributes(
        node, kernel_shape=[(2, 2)], strides=[(2, 2)], pads=[(0, 0, 0, 0)], dilations=[(1, 1)], ceil_mode=[0, 1],
        storage_order=[0], auto_pad=["NOTSET", "VALID"],
    )  # fmt: skip
    given = all(key in node.attributes for key in ("kernel_shape", "strides"))
    require(given, node.name, "must be 2x2 with stride 2", "use MaxPool2d(2)")
    height, width, _ = b.value(node).shape
    if height % 2 or width % 2:
        raise HwsegError(
            node.name, f"pooling 2x2 must divide the map, which is {height}x{width}", nearest_sizes(b.file)
        )
    _move(b, node, MaxPool2d())


def nearest_sizes(file: OnnxFile) -> str:
    """Input sizes near the given one that every pooling divides."""
    depth = {file.input: 0}
    for node in file.nodes:
        strides = node.attributes.get("strides", (1, 1))
        down = node.op in ("MaxPool", "Conv") and strides == (2, 2)
        up = node.op in ("Resize", "Upsample", "ConvTranspose")
        reached = max((depth[name] for name in node.inputs if name in depth), default=None)
        if reached is not None:
            depth.update((output, reached + down - up) for output in node.outputs)
    factor = 1 << min(max(depth.values()), 20)
    _, _, height, width = file.shape
    choices = [[n for n in (size // factor * factor, -(-size // factor) * factor) if n > 0] for size in (height, width)]
    sizes = dict.fromkeys(f"{h}x{w}" for h in choices[0] for w in choices[1])
    return f"the input is {height}x{width}, the nearest sizes that fit are {', '.join(sizes)}"


def resize(b: Builder, node: OnnxNode) -> None:
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
    _move(b, node, Upsample2d())


def _bilinear(b: Builder, node: OnnxNode, coordinates: str) -> None:
    """The sixteenths of an activation; they wait for their quantizer."""
    require(
        coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"),
        node.name,
        f"bilinear enlarging must have pixel centres at halves, {coordinates} has not",
        "use scale_factor=2, mode='bilinear', align_corners=False",
    )
    x, op = b.activation(node), Bilinear2d()
    kind = b.types[x]
    scale = (kind.scale[0] / op.unit,)
    sums = TensorType(op.shape(kind.shape), op.unit * kind.low, op.unit * kind.high, scale)
    output = b.emit(node.name, op, (x,), node.outputs[0], sums)
    b.values[output] = Value((b.part(output),))


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


def _move(b: Builder, node: OnnxNode, op: MaxPool2d | Upsample2d) -> None:
    """Pool or enlarge activations at once; what is not quantized yet, after its quantizer."""
    output = node.outputs[0]
    value = b.settle(b.value(node), node.input(0))
    move, parts = Move(b.fresh(node.name), op), []
    for i, part in enumerate(value.parts):
        if b.is_activation(part):
            parts.append(b.part(b.move(move, part.tensors[0], output if len(value.parts) == 1 else f"{output}/{i}")))
        else:
            moved = shape(op, (part.shape,))
            parts.append(replace(part, shape=moved, moves=(*part.moves, move)))
    b.values[output] = replace(value, parts=tuple(parts))


def crop(b: Builder, node: OnnxNode) -> None:
    """A crop to the size that the map has already, as U-Nets for any size contain it."""
    attributes(node, starts=tuple, ends=tuple, axes=tuple)
    value = b.value(node)
    height, width, channels = value.shape
    inputs = [None, *(b.constant(node, i, "range") for i in range(1, len(node.inputs)) if node.input(i))]
    try:
        taken = slices(node, inputs, 4)
    except (ValueError, IndexError):
        raise HwsegError(node.name, "ranges of Slice must fit the map", EXPORT) from None
    sizes = (1, channels, height, width)
    whole = all(range(n)[part] == range(n) for part, n in zip(taken, sizes, strict=True) if part.step != 0)
    whole = whole and all(part.step != 0 for part in taken)
    require(whole, node.name, "cropping a map is not supported", nearest_sizes(b.file))
    b.values[node.outputs[0]] = value


def pad(b: Builder, node: OnnxNode) -> None:
    """Padding by nothing, as U-Nets for any size contain it."""
    attributes(node, mode=str, pads=tuple, value=float)
    widths = node.attributes["pads"] if "pads" in node.attributes else b.constant(node, 1, "padding").reshape(-1)
    require(not any(widths), node.name, "padding a map is not supported", nearest_sizes(b.file))
    b.values[node.outputs[0]] = b.value(node)
