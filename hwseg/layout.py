"""How tensors lie in memory: digit planes in words of 8 pixels x 8 channels, and the head's 32-bit sums.

    tensor    word[row][channel group][pixel group][plane], plane 0 most significant, bit = 8 * pixel + channel
    head      sum[set][row][word column][substep][channel of the set][pixel], int32; with one pixel per step the value
              fills the low half of a 64-bit word

A tensor of few channels may be *folded*: neighbouring pixels, of one or two rows and columns, are stored as channels of
one pixel, which fills the words' 8 channels.  This file is the only place that knows how.

Everything is little-endian; unused pixels and channels of a tensor are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hwseg.errors import require

Shape = tuple[int, int, int]
"""(height, width, channels)."""

Fold = tuple[int, int]
"""Neighbouring rows and columns of a tensor that are stored as channels of one pixel."""

WORD_BYTES = 8
PIXELS = 8
CHANNELS = 8


def groups(count: int) -> int:
    """Words of 8 that `count` pixels or channels take."""
    return -(-count // 8)


@dataclass(frozen=True)
class TensorLayout:
    """An integer tensor as digit planes; `signed` planes are two's complement.

    fold: rows and columns that are channels, see `folded`.  Rows, groups and offsets here are those of the stored
    tensor; `shape` is the tensor's own.
    """

    shape: Shape
    planes: int
    signed: bool
    fold: Fold = (1, 1)

    @property
    def stored_shape(self) -> Shape:
        return stored(self.shape, self.fold)

    @property
    def rows(self) -> int:
        return self.stored_shape[0]

    @property
    def channel_groups(self) -> int:
        return groups(self.stored_shape[2])

    @property
    def pixel_groups(self) -> int:
        return groups(self.stored_shape[1])

    @property
    def group_bytes(self) -> int:
        """From one channel group of a row to the next."""
        return self.pixel_groups * self.planes * WORD_BYTES

    @property
    def row_bytes(self) -> int:
        return self.channel_groups * self.group_bytes

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    def offset(self, row: int, channel_group: int, pixel_group: int) -> int:
        """Byte offset of plane 0 of a word."""
        return row * self.row_bytes + channel_group * self.group_bytes + pixel_group * self.planes * WORD_BYTES

    def to_json(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "planes": self.planes, "signed": self.signed, "fold": list(self.fold)}

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> TensorLayout:
        """What `to_json` wrote."""
        shape, fold = folded_shape(entry)
        return TensorLayout(shape, int(entry["planes"]), bool(entry["signed"]), fold)


def step_words(set_rows: int, pixels: int) -> int:
    """Words that a step's sums of `set_rows` channels and `pixels` pixels fill."""
    return set_rows * max(1, pixels // 2)


@dataclass(frozen=True)
class HeadLayout:
    """The head's accumulators as the engine writes them: `sets` of `set_rows` channels, steps of `pixels` pixels.

    fold: as of a `TensorLayout`; rows and sets are those of the stored tensor, `shape` is the head's own.
    """

    shape: Shape
    sets: int
    set_rows: int
    pixels: int
    fold: Fold = (1, 1)

    @property
    def stored_shape(self) -> Shape:
        return stored(self.shape, self.fold)

    @property
    def step_words(self) -> int:
        return step_words(self.set_rows, self.pixels)

    @property
    def row_bytes(self) -> int:
        return groups(self.stored_shape[1]) * (PIXELS // self.pixels) * self.step_words * WORD_BYTES

    @property
    def set_bytes(self) -> int:
        return self.stored_shape[0] * self.row_bytes

    @property
    def bytes(self) -> int:
        return self.sets * self.set_bytes

    def to_json(self) -> dict[str, Any]:
        entry = {"shape": list(self.shape), "sets": self.sets, "set_rows": self.set_rows, "pixels": self.pixels}
        return entry if self.fold == (1, 1) else entry | {"fold": list(self.fold)}

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> HeadLayout:
        """What `to_json` wrote."""
        shape, fold = folded_shape(entry)
        return HeadLayout(shape, int(entry["sets"]), int(entry["set_rows"]), int(entry["pixels"]), fold)


def stored(shape: Shape, fold: Fold) -> Shape:
    """The shape that a tensor is stored with."""
    (height, width, channels), (down, across) = shape, fold
    return height // down, width // across, channels * down * across


def folded_shape(entry: Mapping[str, Any]) -> tuple[Shape, Fold]:
    """Shape and fold of a tensor's description; without an entry `fold` nothing is folded."""
    height, width, channels = map(int, entry["shape"])
    down, across = map(int, entry.get("fold", (1, 1)))
    divides = down > 0 and across > 0 and height % down == 0 and width % across == 0
    require(divides, "tensor", f"fold must divide {height}x{width} pixels, is {down}x{across}", "make it again")
    return (height, width, channels), (down, across)


def folded(values: np.ndarray, fold: Fold) -> np.ndarray:
    """Integers [row, column, channel] as they are stored.

    With fold (f, g), channel c of pixel (f * y + r, g * x + s) is channel (r * g + s) * channels + c of pixel (y, x).
    """
    (height, width, channels), (down, across) = values.shape, fold
    blocks = values.reshape(height // down, down, width // across, across, channels)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(height // down, width // across, -1)


def unfolded(values: np.ndarray, fold: Fold) -> np.ndarray:
    """What `folded` was made of."""
    (rows, columns, _), (down, across) = values.shape, fold
    blocks = values.reshape(rows, columns, down, across, -1)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(rows * down, columns * across, -1)


def pack_tensor(values: np.ndarray, layout: TensorLayout) -> bytes:
    """The memory image of integers [row, column, channel]."""
    image = np.empty(layout.bytes, np.uint8)
    pack_into(image, values, layout)
    return image.tobytes()


def pack_into(out: np.ndarray, values: np.ndarray, layout: TensorLayout) -> None:
    """Write the memory image of integers [row, column, channel] into `out`, uint8 [layout.bytes], without a copy."""
    height, width, channels = layout.shape
    require(
        values.shape == layout.shape,
        "tensor",
        f"must be {height}x{width}x{channels}, is {'x'.join(map(str, values.shape))}",
        "resize it",
    )
    low = -(1 << layout.planes - 1) if layout.signed else 0
    high = low + (1 << layout.planes) - 1
    least, most = int(values.min()), int(values.max())
    require(low <= least and most <= high, "tensor", f"values must be in [{low}, {high}], are in [{least}, {most}]")
    codes = values.astype(np.uint8, copy=False) & np.uint8((1 << layout.planes) - 1)
    codes = folded(codes, layout.fold)
    height, width, channels = layout.stored_shape
    spread = _planes_as_bytes(layout.planes)
    words = np.zeros((height, layout.channel_groups, layout.pixel_groups * PIXELS), "<u8")
    for channel in range(channels):
        words[:, channel // CHANNELS, :width] |= spread[codes[:, :, channel]] << np.uint64(channel % CHANNELS)
    # Of each pixel a byte per plane; in memory, of each plane a byte per pixel.
    blocks = words.view(np.uint8).reshape(height, layout.channel_groups, layout.pixel_groups, PIXELS, 8)
    out.reshape(*blocks.shape[:3], layout.planes, PIXELS)[...] = blocks[..., : layout.planes].swapaxes(-1, -2)


@cache
def _planes_as_bytes(planes: int) -> np.ndarray:
    """A 64-bit word for each code of `planes` bits: plane p in bit 0 of byte p."""
    codes = np.arange(1 << planes, dtype="<u8")
    return np.asarray(sum((codes >> planes - 1 - p & 1) << 8 * p for p in range(planes)))


def unpack_tensor(image: bytes | memoryview, layout: TensorLayout) -> np.ndarray:
    """int16 [row, column, channel] from its memory image."""
    height, width, channels = layout.stored_shape
    stored = np.frombuffer(image, np.uint8, layout.bytes).reshape(
        height, layout.channel_groups, layout.pixel_groups, layout.planes, PIXELS
    )
    values = np.zeros((*stored.shape[:3], PIXELS, CHANNELS), np.int16)
    for plane in range(layout.planes):
        weight = 1 << layout.planes - 1 - plane
        digit = -weight if layout.signed and plane == 0 else weight
        bits = np.unpackbits(stored[:, :, :, plane, :, None], axis=-1, bitorder="little")
        values += np.where(bits, np.int16(digit), np.int16(0))
    ordered = values.transpose(0, 2, 3, 1, 4).reshape(height, layout.pixel_groups * PIXELS, -1)
    return np.ascontiguousarray(unfolded(ordered[:, :width, :channels], layout.fold))


def unpack_head(image: bytes | memoryview, layout: HeadLayout) -> np.ndarray:
    """int32 [row, column, channel] from the head's memory image."""
    height, width, channels = layout.stored_shape
    values = np.frombuffer(image, "<i4", layout.bytes // 4)
    if layout.pixels == 1:
        values = values[::2]
    steps = values.reshape(layout.sets, height, groups(width), PIXELS // layout.pixels, layout.set_rows, layout.pixels)
    ordered = steps.transpose(1, 2, 3, 5, 0, 4).reshape(height, groups(width) * PIXELS, -1)
    return np.ascontiguousarray(unfolded(ordered[:, :width, :channels], layout.fold))


def pack_input(array: np.ndarray, layout: TensorLayout) -> bytes:
    """The memory image of a picture of integers, [row, column] or [row, column, channel]."""
    return pack_tensor(array[..., None] if array.ndim == 2 else array, layout)
