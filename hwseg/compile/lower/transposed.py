"""Transposed convolutions of any kernel whose taps a 3x3 window shows: four 3x3, one for each phase of the result.

Output 2 j + r of a kernel with padding p reads pixel j + (r + p - a) / 2 through each tap a of the parity of r + p:

    kernel 3, padding 1      r = 0: tap 1 at j                     r = 1: tap 0 at j + 1, tap 2 at j
    kernel 4, padding 1      r = 0: tap 1 at j, tap 3 at j - 1     r = 1: tap 0 at j + 1, tap 2 at j

So each phase is a 3x3 of at most 2x2 taps that are not zero; rows of a phase are output sets, and columns passes, as
those of the 2x2 kernel are.  The loop nest of `hwseg.ops.ConvTranspose2d` says which tap reads where.
"""

from __future__ import annotations

import numpy as np

from hwseg.ops import ConvTranspose2d


def window(op: ConvTranspose2d, weights: np.ndarray, row: int, column: int) -> np.ndarray:
    """[out, in, 3, 3] of the weights' type: the convolution that makes one phase."""
    found = np.zeros((*weights.shape[:2], 3, 3), weights.dtype)
    for (y, x), (a, b) in op.taps(row, column):
        found[:, :, 1 + y, 1 + x] = weights[:, :, a, b]
    return found
