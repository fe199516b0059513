"""Products of two maps, of which the second may have one channel for all of the first."""

from __future__ import annotations

import numpy as np

from hwseg.golden.types import Integer
from hwseg.ir import Node


def product(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Product, of at most 8 bits each."""
    x, g = (planes.astype(np.int32) for planes in inputs)
    return np.asarray(x * g, dtype)
