"""Which picture it is, whatever its name and wherever it lies: exactly, by its pixels, and nearly, by how it looks.

The digest is of decoded pixels, not of the file's bytes: a picture that was renamed, stripped of its metadata or saved
again without losses (PNG as TIFF) is the same one, and each page of a stack has its own.  Grey stored as three equal
channels is grey, and 8-bit values stored in 16 bits are 8-bit values.  A JPEG is decoded to the same pixels by one
version of libjpeg, and to other ones perhaps by another.

The perceptual hash is pHash: the signs, about their median, of the lowest 8x8 frequencies (DCT-II) of the picture at
32x32 in grey (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, 3.2).  It finds
copies that were scaled, brightened or compressed, not those that were turned or cropped.  The package ImageHash has it,
too, and would bring SciPy and PyWavelets for these ten lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from hwseg.pictures.raster import Raster

WIDTH = 16
"""Bytes of a digest: with 2^32 pictures, two of them share one by chance with a probability of 2^-65."""

SIDE, LOW = 32, 8
NEAR = 6
"""Bits of 64 in which hashes of near-duplicates differ at most."""

ALIKE = 0.985
"""Least correlation of what near-duplicates have in detail at 32x32: the hash proposes them, this confirms.  Different
pictures of one kind, such as retinas with the same round edge, stay below 0.982; copies with noise of a deviation of 4,
or as a JPEG of quality 50, come to 0.99 (measured on 434 radiographs, micrographs and retinas)."""

CLOSEST = 64
"""Hashes that one picture is compared with at most, the nearest: a thousand of one kind are told by a few."""


def digest(picture: Raster) -> bytes:
    """16 bytes of SHA-256 over size, type and pixels."""
    pixels = picture.pixels
    if pixels.shape[2] == 3 and bool((pixels[..., :1] == pixels).all()):
        pixels = pixels[..., :1]
    if pixels.dtype == np.uint16 and int(pixels.max(initial=0)) < 256:
        pixels = pixels.astype(np.uint8)
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    found = hashlib.sha256(f"{'x'.join(map(str, native.shape))} {native.dtype.str} ".encode())
    found.update(native.data)
    return found.digest()[:WIDTH]


def shown(picture: Raster) -> np.ndarray:
    """The picture for people, uint8 [H, W] or [H, W, 3], stretched between its percentiles 0.5 and 99.5."""
    pixels = picture.pixels[..., :3] if picture.pixels.shape[2] >= 3 else picture.pixels[..., 0]
    step = max(1, min(pixels.shape[:2]) // 128)
    low, high = np.percentile(pixels[::step, ::step].astype(np.float64), (0.5, 99.5))
    scale = 255 / max(high - low, 1e-12)
    if pixels.dtype in (np.uint8, np.uint16):
        values = np.arange(np.iinfo(pixels.dtype).max + 1)
        return np.asarray(np.clip((values - low) * scale + 0.5, 0, 255).astype(np.uint8)[pixels])
    return np.asarray(np.clip((pixels.astype(np.float64) - low) * scale + 0.5, 0, 255).astype(np.uint8))


def small(view: np.ndarray) -> np.ndarray:
    """uint8 [32, 32] of what `shown` gives."""
    return np.asarray(Image.fromarray(view).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def perceptual(thumbnail: np.ndarray) -> int:
    """The 64 bits of pHash."""
    k, n = np.arange(SIDE)[:, None], np.arange(SIDE)[None]
    cosines = np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))[: LOW + 1]
    lowest = (cosines @ thumbnail.astype(np.float64) @ cosines.T)[1:, 1:].ravel()
    bits = lowest > np.median(lowest)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near(hashes: Sequence[int], thumbnails: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Numbers of the pairs of pictures that look the same, i < j; one without any detail looks like none."""
    details = [_detail(thumbnail) for thumbnail in thumbnails]
    shown = [number for number, detail in enumerate(details) if detail.any()]
    codes = np.array([hashes[number] for number in shown], np.uint64)
    found: list[tuple[int, int]] = []
    for place, number in enumerate(shown):
        distance = np.bitwise_count(codes[:place] ^ codes[place])
        others = np.flatnonzero(distance <= NEAR)
        for other in others[np.argsort(distance[others], kind="stable")][:CLOSEST]:
            if float(details[shown[other]] @ details[number]) >= ALIKE:
                found.append((shown[other], number))
    return found


def _detail(thumbnail: np.ndarray) -> np.ndarray:
    """What 8x8 means leave of a thumbnail, of length 1; 0 where that is nothing."""
    blocks = thumbnail.astype(np.float32).reshape(SIDE // 4, 4, SIDE // 4, 4)
    rest = (blocks - blocks.mean(axis=(1, 3), keepdims=True)).ravel()
    length = float(np.linalg.norm(rest))
    return np.asarray(rest / length if length else rest)
