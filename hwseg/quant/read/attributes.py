"""A node's attributes, checked: each must be known and have a value that hwseg means."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwseg.errors import require
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode

_CURES = {
    "group": "use a dense convolution",
    "dilations": "use a convolution without dilation",
    "auto_pad": "give the padding as numbers",
    "rounding_mode": "round half to even (ROUND)",
    "training_mode": "call model.eval() before the export",
}


def attributes(node: OnnxNode, **allowed: list[Any] | type) -> dict[str, Any]:
    """The node's attributes; each must be known, and its value one of those listed, or any of a type."""
    found = {}
    for key, value in node.attributes.items():
        require(key in allowed, node.name, f"attribute {key} of {node.op} is not supported", EXPORT)
        options = allowed[key]
        if isinstance(options, type):
            require(
                type(value) is options,
                node.name,
                f"attribute {key} of {node.op} must be of type {options.__name__}",
                EXPORT,
            )
            found[key] = value
            continue
        good = any(type(value) is type(option) and value == option for option in options)
        wanted = " or ".join(map(str, options))
        text = str(value) if not isinstance(value, np.ndarray) else "a tensor"
        require(
            good, node.name, f"attribute {key} of {node.op} must be {wanted}, not {text[:80]}", _CURES.get(key, EXPORT)
        )
        found[key] = value
    return found
