"""How tensors lie in memory: `hwseg.layout`, which the driver on a board shares with the compiler."""

from __future__ import annotations

from hwseg.layout import (
    CHANNELS,
    PIXELS,
    WORD_BYTES,
    Fold,
    HeadLayout,
    TensorLayout,
    folded,
    groups,
    pack_input,
    pack_tensor,
    unpack_head,
    unpack_tensor,
)

__all__ = [
    "CHANNELS",
    "PIXELS",
    "WORD_BYTES",
    "Fold",
    "HeadLayout",
    "TensorLayout",
    "folded",
    "groups",
    "pack_input",
    "pack_tensor",
    "unpack_head",
    "unpack_tensor",
]
