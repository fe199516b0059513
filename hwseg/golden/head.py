"""What the network gives: values, mask, the model's own output."""

from __future__ import annotations

from fractions import Fraction
from math import lcm, prod

import numpy as np

from hwseg.ir import Axes, Head


def mask(head: Head, q: np.ndarray) -> np.ndarray:
    """Class of every pixel: comparison of exact rationals."""
    ordered = head_integers(head, q)
    if ordered.shape[2] == 1:
        return np.asarray(ordered[:, :, 0] > 0, np.uint8)
    return np.asarray(np.argmax(ordered, axis=2), np.uint8)


def head_integers(head: Head, q: np.ndarray) -> np.ndarray:
    """Integers in the order of value[c] - threshold over all channels: scale and offset on one denominator."""
    n = q.shape[2]
    scale = [head.scale[c % len(head.scale)] for c in range(n)]
    offset = [head.offset[c % len(head.offset)] - head.threshold for c in range(n)]
    d = lcm(*(f.denominator for f in (*scale, *offset)))
    factors, addends = ([f.numerator * (d // f.denominator) for f in fs] for fs in (scale, offset))
    largest = max(-int(q.min()), int(q.max()), 1)
    bound = max(abs(f) * largest + abs(a) for f, a in zip(factors, addends, strict=True))
    dtype = np.int64 if bound < 1 << 62 else object
    return np.asarray(q.astype(dtype) * np.array(factors, dtype) + np.array(addends, dtype))


def values(scale: tuple[Fraction, ...], offset: tuple[Fraction, ...], q: np.ndarray) -> np.ndarray:
    """The real numbers of integers [H, W, C], in float64."""
    return np.asarray(q * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset]))


def output(head: Head, q: np.ndarray) -> np.ndarray:
    """The model's own output, float32, [1, C, H, W] or as the head's axes say: real values, then the activation."""
    if head.activation in ("argmax", "threshold"):
        return _arranged(mask(head, q)[None].astype(np.float32), head.axes)
    x = values(head.scale, head.offset, q)
    if head.activation == "sigmoid":
        x = np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))
    elif head.activation == "softmax":
        powers = np.exp(x - x.max(axis=2, keepdims=True))
        x = powers / powers.sum(axis=2, keepdims=True)
    if head.rounding is not None:
        scale = float(head.rounding.scale)
        x = np.clip(np.rint(x / scale), head.rounding.low, head.rounding.high) * scale
    return _arranged(x.transpose(2, 0, 1).astype(np.float32), head.axes)


def _arranged(planes: np.ndarray, axes: Axes) -> np.ndarray:
    """Channel planes [C, H, W] in the order of the model's axes."""
    sizes = dict(zip("CHW", planes.shape, strict=True))
    ordered = planes.transpose(["CHW".index(letter) for letter in "".join(axes)])
    return np.ascontiguousarray(ordered.reshape([prod(sizes[letter] for letter in axis) for axis in axes]))
