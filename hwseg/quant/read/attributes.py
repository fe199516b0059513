"""A node's attributes, checked: each must be known and have a value that hwseg means."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwseg.errors import require
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode

_POOL = "use MaxPool2d(2), or MaxPool2d(3, 2, 1)"
_TRANSPOSED = "use kernel_size=2, stride=2, padding=0, or nearest upsampling and a convolution"
_AVERAGE = "use AvgPool2d(2)"
_CURES = {
    "MaxPool": _POOL,
    "AveragePool": _AVERAGE,
    "ConvTranspose": _TRANSPOSED,
    "Resize mode": "use mode='nearest', or mode='bilinear' with align_corners=False",
    "Upsample mode": "use mode='nearest', or mode='bilinear' with align_corners=False",
    "Concat axis": "concatenate channels (dim=1)",
    "Softmax axis": "use dim=1",
    "ArgMax axis": "use dim=1",
    "Conv kernel_shape": EXPORT,
    "blocksize": "use PixelShuffle(2) or PixelUnshuffle(2), twice for a factor of 4",
    "group": "use a dense convolution",
    "dilations": "use a convolution without dilation",
    "strides": "use stride 1 or 2",
    "auto_pad": "give the padding as numbers",
    "rounding_mode": "round half to even (ROUND)",
    "training_mode": "call model.eval() before the export",
}
"""What to do instead: for an operation's attribute, an operation, an attribute of any; else, what is allowed."""


def attributes(node: OnnxNode, **allowed: list[Any] | type) -> dict[str, Any]:
    """The node's attributes; each must be known, and its value one of those listed, or any of a type."""
    found = {}
    for key, value in node.attributes.items():
        require(key in allowed, node.name, f"attribute {key} of {node.op} is not supported", "leave it out")
        options = allowed[key]
        if isinstance(options, type):
            require(
                type(value) is options,
                node.name,
                f"attribute {key} of {node.op} must be of type {options.__name__}",
                EXPORT,
            )
            finite = options is not float or np.isfinite(value)
            require(finite, node.name, f"attribute {key} of {node.op} must be finite, is {value}", "train again")
            found[key] = value
            continue
        good = any(type(value) is type(option) and value == option for option in options)
        wanted = " or ".join(map(str, options))
        text = str(value) if not isinstance(value, np.ndarray) else "a tensor"
        cures = (_CURES[name] for name in (f"{node.op} {key}", node.op, key) if name in _CURES)
        rule = f"attribute {key} of {node.op} must be {wanted}, not {text[:80]}"
        require(good, node.name, rule, next(cures, f"use {wanted}"))
        found[key] = value
    return found
