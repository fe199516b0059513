"""Concatenation of planes."""

from __future__ import annotations

import numpy as np

from hwseg.golden.types import Integer
from hwseg.ir import Node


def concatenation(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Concat."""
    return np.concatenate([x.astype(dtype, copy=False) for x in inputs])
