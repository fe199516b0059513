"""The integers that a picture is, from the quantizers that read it, or the convention."""

from __future__ import annotations

from fractions import Fraction

from hwseg.errors import require
from hwseg.quant.read.integers import SYMMETRIC, Constant, read_integers
from hwseg.quant.read.onnx_file import OnnxFile, OnnxNode
from hwseg.quant.read.quantizer import Quantizer, one_scale, read_quantizer

INPUT_SCALE = Fraction(1, 256)
"""Without an input quantizer the image is an 8-bit pixel / 256."""


def picture_range(file: OnnxFile, constant: Constant) -> tuple[int, int, Fraction, bool]:
    """Smallest and largest integer, and scale; from the Quant nodes that read the picture, if there are any."""
    names, readers = {file.input}, []
    for node in file.nodes:
        if names & set(node.inputs) and node.op != "Shape":
            if node.op in ("Identity", "Dropout", "Transpose"):
                names.add(node.outputs[0])
            else:
                readers.append(node)
    found = [
        (node, _first_quantizer(file, constant, node)) for node in readers if node.op in ("Quant", "QuantizeLinear")
    ]
    if not found:
        return 0, 255, _metadata_scale(file), False
    place = found[0][0].name
    for node, q in found:
        rule = f"the picture must have at most 8 bits, has 9: around its zero point from {q.low} to {q.high}"
        require(q.bits != 9 or node.op == "Quant", node.name, rule, SYMMETRIC)
    ranges = {(q.low, q.high, one_scale(node, q)) for node, q in found}
    same = len(ranges) == 1 and len(found) == len(readers)
    require(
        same,
        place,
        f"input {file.input} must be quantized once, alike for all its readers",
        "share one quantizer",
    )
    return (*ranges.pop(), True)


def _first_quantizer(file: OnnxFile, constant: Constant, node: OnnxNode) -> Quantizer:
    """Of a node that reads the input; Clip nodes behind a QuantizeLinear count where nothing else reads it."""
    if node.op == "Quant":
        return read_quantizer(node, constant)
    clips, readers = [], [node]
    while len(readers) == 1 and readers[0].op in ("QuantizeLinear", "Clip"):
        clips += readers if readers[0].op == "Clip" else []
        readers = [other for other in file.nodes if readers[0].outputs[0] in other.inputs]
    return read_integers(node, constant, clips).quantizer(node.name)


def _metadata_scale(file: OnnxFile) -> Fraction:
    text = file.metadata.get("hwseg.input_scale")
    if text is None:
        return INPUT_SCALE
    try:
        scale = Fraction(text) if len(text) < 64 and "e" not in text.lower() else Fraction(float(text))
    except (ValueError, OverflowError, ZeroDivisionError):
        scale = Fraction(0)
    require(
        0 < scale < 1 << 64,
        file.path.name,
        f"metadata hwseg.input_scale must be a positive number, is {text[:40]!r}",
        "write a number such as 1/256, or remove the entry",
    )
    return scale
