"""NumPy types that hold integers."""

from __future__ import annotations

import numpy as np

from hwseg.ir import TensorType

Integer = np.signedinteger | np.unsignedinteger


def storage(kind: TensorType) -> type[Integer]:
    """The NumPy type that holds a tensor."""
    choices: tuple[type[Integer], ...] = (np.uint8, np.int8, np.int32, np.int64)
    return next(t for t in choices if np.iinfo(t).min <= kind.low and kind.high <= np.iinfo(t).max)


def largest(x: np.ndarray) -> int:
    """Largest magnitude, or what bounds it."""
    return max(-int(x.min()), int(x.max()))
