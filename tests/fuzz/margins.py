"""Slice and Pad: what leaves a map as it is, and zeros around it."""

from __future__ import annotations

import numpy as np
import onnx

from tests.fuzz import bent, exact
from tests.fuzz.bent import Bent
from tests.fuzz.exact import Exact
from tests.fuzz.executor import Executor, Value, attributes, reference


def whole(e: Executor, node: onnx.NodeProto) -> Value:
    """Slice, or Pad, that leaves everything as it is, by ONNX's own reference on the numbers of the pixels."""
    x = e.bent(node)
    numbers = np.arange(np.prod(x.shape), dtype=np.float32).reshape(1, *x.shape)
    given = {name: np.asarray(e.value(name)) for name in node.input[1:] if name}
    given[node.input[0]] = numbers
    (found,) = reference(node, given, e.opset)
    assert np.array_equal(found, numbers), node.name
    return x


def pad(e: Executor, node: onnx.NodeProto) -> Value:
    """By zeros around, or by nothing."""
    given = attributes(node)
    widths = given["pads"] if "pads" in given else np.asarray(e.value(node.input[1])).reshape(-1).tolist()
    if not any(widths):
        return whole(e, node)
    x = e.bent(node)
    number = float(np.asarray(e.value(node.input[2])).reshape(())) if len(node.input) > 2 and node.input[2] else 0
    assert given.get("mode", "constant") == "constant" and number == given.get("value", 0) == 0, node.name  # noqa: PT018
    axes = [axis % 4 for axis in np.asarray(e.value(node.input[3])).reshape(-1)] if len(node.input) > 3 else range(4)
    around = [[0, 0] for _ in range(4)]
    for i, axis in enumerate(axes):
        around[axis] = [widths[i], widths[len(widths) // 2 + i]]
    assert around[:2] == [[0, 0], [0, 0]], node.name
    if isinstance(x, Bent):
        return bent.padded(x, around[1:])
    return Exact(exact.padded(x.integers, around[1:], 0), x.units)
