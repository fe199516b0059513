"""Pad: zeros around a map are further padding of the convolutions that read it.

They wait until these come, and a quantizer between keeps them: 0 is 0 in integers, too.  Anything else that reads them
is refused: the engine's maps have no edges of their own.
"""

from __future__ import annotations

from dataclasses import replace

from hwseg.errors import require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder, Padded
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError

CONVOLUTIONS = "use padding of the convolutions, which is with zeros"


def pad(b: Builder, node: OnnxNode) -> None:
    """Pad by nothing, as U-Nets for any size contain it, or by zeros before a convolution."""
    attributes(node, mode=str, pads=tuple, value=float)
    widths = _widths(b, node)
    if not any(widths):
        b.values[node.outputs[0]] = b.value(node)
        return
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        raise UnfitSizeError(node.name, f"padding of mode {mode} is not supported", CONVOLUTIONS)
    filled = b.constant(node, 2, "value").reshape(-1) if node.input(2) else [node.attributes.get("value", 0)]
    around = widths[:2] == [0, 0] == widths[4:6] and min(widths) >= 0
    rule = f"padding a map must be by zeros before and behind rows and columns, is by {widths[:8]}"
    require(around and not any(filled), node.name, rule, CONVOLUTIONS)
    b.value(node)  # or says why not
    b.padded[node.outputs[0]] = Padded(node.name, node.input(0), (widths[2], widths[3], widths[6], widths[7]))


def _widths(b: Builder, node: OnnxNode) -> list[int]:
    """Before, then behind each of four axes."""
    old = "pads" in node.attributes
    given = [int(n) for n in (node.attributes["pads"] if old else b.constant(node, 1, "padding").reshape(-1))]
    axes = [int(n) for n in b.constant(node, 3, "axes").reshape(-1)] if node.input(3) else [0, 1, 2, 3]
    places = [axis % 4 for axis in axes if -4 <= axis < 4]
    good = len(given) == 2 * len(axes) and len(set(places)) == len(axes)
    rule = f"padding must be two numbers for each of {len(axes)} axes of a map, is {given[:8]} for axes {axes[:8]}"
    require(good, node.name, rule, EXPORT)
    found = [0] * 8
    for i, place in enumerate(places):
        found[place], found[4 + place] = given[i], given[len(axes) + i]
    return found


def unpadded(b: Builder, node: OnnxNode) -> tuple[OnnxNode, str]:
    """A convolution that reads what is padded, as one of the map itself; the name of the Pad, or nothing."""
    found = b.padded.get(node.input(0))
    if found is None:
        return node, ""
    own = node.attributes.get("pads", (0,) * 4)
    pads = tuple(n + more for n, more in zip(own, found.widths, strict=True)) if len(own) == 4 else own
    inputs = (found.source, *node.inputs[1:])
    return replace(node, inputs=inputs, attributes={**node.attributes, "pads": pads}), found.node
