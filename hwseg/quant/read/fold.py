"""Shape arithmetic that exporters leave in a file: sizes computed from sizes, folded to constants.

`interpolate(x, size=skip.shape[2:])` or `pad` by the difference of two shapes become a dozen nodes on vectors of a few
integers.  Shapes are fixed here, so these are constants; anything large, or not computable so, is left to be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
from onnx import TensorProto

from hwseg.errors import HwsegError
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode

MAX_ELEMENTS = 256
CASTS: Mapping[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.INT64: np.int64,
    TensorProto.INT32: np.int32,
}

Arrays = Sequence[np.ndarray | None]


def folded(node: OnnxNode, inputs: Arrays) -> np.ndarray | None:
    """The node's constant result, or None if it is no arithmetic of small constants."""
    fold = FOLDS.get(node.op)
    first = inputs[0] if inputs else None
    if fold is None or first is None or any(x is not None and x.size > MAX_ELEMENTS for x in inputs):
        return None
    try:
        result = fold(node, inputs)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, ZeroDivisionError) as error:
        raise HwsegError(node.name, f"cannot be computed from its constants ({error})", EXPORT) from None
    return result if result.size <= MAX_ELEMENTS else None


def _integers(x: np.ndarray | None) -> list[int]:
    return [] if x is None else [int(i) for i in np.asarray(x).reshape(-1)]


def _cast(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(inputs[0]).astype(CASTS[node.attributes["to"]])


def _gather(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.take(np.asarray(inputs[0]), np.asarray(inputs[1]).astype(np.int64), node.attributes.get("axis", 0))


def _concat(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.concatenate([np.asarray(x) for x in inputs], node.attributes["axis"])


def slices(node: OnnxNode, inputs: Arrays, rank: int) -> list[slice]:
    """What a Slice node takes of each axis; attributes in operator sets before 10, inputs since."""
    old = [node.attributes.get(key) for key in ("starts", "ends", "axes")]
    given = [_integers(np.array(x) if x is not None else None) for x in old] if old[0] else [
        _integers(x) for x in inputs[1:]
    ]  # fmt: skip
    starts, ends, axes, steps = [*given, [], [], [], []][:4]
    taken = [slice(None)] * rank
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[number] if axes else number
        taken[axis] = slice(start, end, steps[number] if steps else 1)
    return taken


def _slice(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    x = np.asarray(inputs[0])
    return np.asarray(x[tuple(slices(node, inputs, x.ndim))])


def _axes(node: OnnxNode, inputs: Arrays) -> list[int]:
    return list(node.attributes["axes"]) if "axes" in node.attributes else _integers(inputs[1] if inputs[1:] else None)


def _unsqueeze(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.expand_dims(np.asarray(inputs[0]), tuple(_axes(node, inputs)))


def _squeeze(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.squeeze(np.asarray(inputs[0]), tuple(_axes(node, inputs)) or None)


def _reshape(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.asarray(inputs[0]).reshape(_integers(inputs[1]))


def _transpose(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.transpose(np.asarray(inputs[0]), node.attributes.get("perm"))


def _constant_of_shape(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    shape = _integers(inputs[0])
    if len(shape) > 8 or prod(shape) > MAX_ELEMENTS:
        raise ValueError("too large")
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
    return np.full(shape, value.reshape(-1)[0])


def _arithmetic(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[OnnxNode, Arrays], np.ndarray]:
    def fold(node: OnnxNode, inputs: Arrays) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(np.asarray(inputs[0]), np.asarray(inputs[1])))

    return fold


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ONNX divides: integers towards zero."""
    if np.issubdtype(a.dtype, np.integer):
        if not b.all():
            raise ZeroDivisionError("division by zero")
        return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
    return np.asarray(a / b)


def _floor(node: OnnxNode, inputs: Arrays) -> np.ndarray:
    return np.asarray(np.floor(np.asarray(inputs[0])))


FOLDS: Mapping[str, Callable[[OnnxNode, Arrays], np.ndarray]] = {
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ConstantOfShape": _constant_of_shape,
    "Floor": _floor,
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide),
}
