"""The largest connected area of a map, in NumPy alone.

Rows are cut into runs.  A run and those of the next row that it touches have one label; labels are merged until nothing
changes: the larger label of each pair is hung below the smaller one, then every label jumps to its root.
(Shiloach and Vishkin, An O(log n) parallel connectivity algorithm, J. Algorithms 3, 1982.)
"""

from __future__ import annotations

import numpy as np


def largest_area(region: np.ndarray) -> int:
    """Pixels of the largest area of bool [H, W] that is connected by edges."""
    height, width = region.shape
    apart = np.zeros((height, width + 1), np.int8)  # a column that parts each row from the next
    apart[:, :width] = region
    changes = np.flatnonzero(np.diff(apart.reshape(-1), prepend=np.int8(0), append=np.int8(0)))
    starts, ends = changes[0::2], changes[1::2]
    if not len(starts):
        return 0
    label = _merged(len(starts), *_touching(starts, ends, width + 1))
    return int(np.bincount(label, weights=ends - starts).max())


def _touching(starts: np.ndarray, ends: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs [start, end) of neighbouring rows that share a column."""
    first = np.searchsorted(ends, starts + row, "right")
    count = np.searchsorted(starts, ends + row, "left") - first
    upper = np.repeat(np.arange(len(starts)), count)
    within = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count)
    return upper, first[upper] + within


def _merged(runs: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A label for each run, the same for runs that are joined by pairs."""
    parent = np.arange(runs)
    while True:
        a, b = parent[one], parent[other]
        if (a == b).all():
            return parent
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:
            root = parent[parent]
            if (root == parent).all():
                break
            parent = root
