"""Tensors in another order of axes: which number of a map, [channel, row, column], each of their elements is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx

from tests.fuzz.exact import Exact
from tests.fuzz.executor import Executor, Final, Operation, Ordered, Value, attributes, classes, reference


def ordered(e: Executor, name: str) -> Ordered:
    """Any map, or what ends the network, as [1, C, H, W] if it has no order of its own."""
    found = e.value(name)
    if isinstance(found, Ordered):
        return found
    if isinstance(found, Final) and found.mask is not None:
        shape: tuple[int, ...] = (1, *found.mask.shape)
    else:
        x = found.x if isinstance(found, Final) else found
        assert isinstance(x, Exact), name
        shape = x.shape
    return Ordered(found, np.arange(math.prod(shape)).reshape(1, *shape))


def moved(e: Executor, node: onnx.NodeProto) -> Value:
    """Transpose and its like, on the numbers of the elements, by ONNX's own reference."""
    x = ordered(e, node.input[0])
    given = {name: np.asarray(e.value(name)) for name in node.input[1:] if name}
    (places,) = reference(node, {node.input[0]: x.places.astype(np.float32), **given}, e.opset)
    return Ordered(x.of, places.astype(np.int64))


def cast(e: Executor, node: onnx.NodeProto) -> Value:
    return e.value(node.input[0])


def over_channels(x: Ordered, axis: int) -> np.ndarray:
    """Number of the pixel at every place of the other axes; axis: one that counts the channels and nothing else."""
    assert isinstance(x.of, Exact)
    channels, rows, columns = x.of.shape
    first = np.moveaxis(x.places, axis, 0)
    assert len(first) == channels
    assert all(np.array_equal(first[c], first[0] + c * rows * columns) for c in range(channels)), "no channels"
    return np.asarray(first[0])


def softmax(e: Executor, node: onnx.NodeProto) -> Value:
    x = ordered(e, node.input[0])
    assert isinstance(x.of, Exact)
    over_channels(x, attributes(node).get("axis", -1))
    found = Final("softmax", x.of)
    return Ordered(found, x.places) if isinstance(e.value(node.input[0]), Ordered) else found


def arg_max(e: Executor, node: onnx.NodeProto) -> Value:
    x, given = ordered(e, node.input[0]), attributes(node)
    assert isinstance(x.of, Exact)
    axis = given.get("axis", 0)
    pixels = over_channels(x, axis)
    if given.get("keepdims", 1):
        pixels = np.expand_dims(pixels, axis)
    found, plain = Final("class", x.of, classes(x.of)), not isinstance(e.value(node.input[0]), Ordered)
    return found if plain and given.get("keepdims", 1) else Ordered(found, pixels)


def first(operation: Operation) -> Operation:
    """An operation of every number by itself, in any order."""

    def any_order(e: Executor, node: onnx.NodeProto) -> Value:
        x = e.value(node.input[0])
        if not isinstance(x, Ordered):
            return operation(e, node)
        e.values[node.input[0]] = x.of
        found = operation(e, node)
        e.values[node.input[0]] = x
        return Ordered(found, x.places)

    return any_order


ORDERS: Mapping[str, Operation] = {
    "Transpose": moved,
    "Reshape": moved,
    "Flatten": moved,
    "Squeeze": moved,
    "Unsqueeze": moved,
    "Cast": cast,
    "Softmax": softmax,
    "ArgMax": arg_max,
}


def shuffled(e: Executor, node: onnx.NodeProto) -> Value:
    """DepthToSpace and SpaceToDepth of the numbers of the pixels, by ONNX's own reference."""
    x = e.map(node)
    integers, unit = (x.integers, x.units[0]) if len(set(x.units)) == 1 else x.in_one_unit()
    numbers = np.arange(x.integers.size, dtype=np.float32).reshape(1, *x.shape)
    (places,) = reference(node, {node.input[0]: numbers}, e.opset)
    found = integers.reshape(-1)[places[0].astype(np.int64)]
    return Exact(found, (unit,) * len(found))


SHUFFLES: Mapping[str, Operation] = {"DepthToSpace": shuffled, "SpaceToDepth": shuffled}
