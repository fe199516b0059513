"""Pictures for people: a mask as PNG, and its outline on the picture it came from."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hwseg.pictures.labels import Labels
from hwseg.pictures.table import Quantizer

if TYPE_CHECKING:
    from hwseg.ir import TensorType

COLOURS = ((255, 196, 0), (0, 190, 255), (255, 80, 120), (120, 220, 80), (190, 120, 255), (255, 140, 60))


def mask_png(mask: np.ndarray, labels: Labels) -> bytes:
    """A class map in the one coding of its labels: 0 and 255, or class numbers with a palette in the file."""
    picture = Image.fromarray(labels.coded(mask))
    if labels.channels > 1:
        picture.putpalette(labels.palette().reshape(-1).tolist())
    return _encoded(picture)


def overlay_png(
    q: np.ndarray,
    kind: TensorType | Quantizer,
    mask: np.ndarray,
    reference: np.ndarray | None = None,
    labels: Labels | None = None,
    deferred: np.ndarray | None = None,
) -> bytes:
    """The input's integers stretched to grey or colour, each class outlined, in the colours that `labels` declare;
    `reference`'s outline in white, if given; `deferred` pixels, bool [H, W], hatched in white.

    A mask of another size than the picture's is laid over it: the smaller one of both is enlarged by nearest neighbour.
    """
    declared = labels.palette()[1:] if labels is not None and labels.colours else np.array(COLOURS, np.uint8)
    pixels = (q.astype(np.float64) - kind.low) * 255 / max(1, kind.high - kind.low)
    pixels = pixels[..., :3] if q.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    height, width = (max(sizes) for sizes in zip(q.shape[:2], mask.shape, strict=True))
    pixels, mask = enlarged(pixels, height, width), enlarged(mask, height, width)
    reference = None if reference is None else enlarged(reference, height, width)
    scale = max(1, 512 // max(height, width))
    canvas = np.kron(pixels.astype(np.uint8), np.ones((scale, scale, 1), np.uint8))
    if reference is not None:
        canvas[outline(reference.astype(bool), scale)] = (255, 255, 255)
    for number in range(1, int(mask.max(initial=0)) + 1):
        region = mask == number
        colour = declared[(number - 1) % len(declared)]
        inside = np.kron(region, np.ones((scale, scale), bool))
        canvas[inside] = (0.8 * canvas[inside] + 0.2 * colour).astype(np.uint8)
        canvas[outline(region, scale)] = colour
    if deferred is not None:
        canvas[_hatched(enlarged(deferred, height, width), scale)] = (255, 255, 255)
    return _png(canvas)


def confidence_png(confidence: np.ndarray) -> bytes:
    """Confidence, uint8 [H, W], as it is: black is a coin's toss, white is sure (`hwseg.trust.confidence`)."""
    return _png(np.asarray(confidence, np.uint8))


def _hatched(region: np.ndarray, scale: int) -> np.ndarray:
    """Diagonal lines, a third of them, through a region enlarged by `scale`."""
    large = np.kron(region, np.ones((scale, scale), bool))
    height, width = large.shape
    diagonal = np.arange(height)[:, None] + np.arange(width)
    lines: np.ndarray = large & (diagonal // max(1, height // 256) % 3 == 0)
    return lines


def enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, ...] in another size, by nearest neighbour."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), image.shape[:2], strict=True))
    found: np.ndarray = image[rows[:, None], columns]
    return found


def outline(region: np.ndarray, scale: int) -> np.ndarray:
    """Border pixels of a region enlarged by `scale`."""
    large = np.pad(np.kron(region, np.ones((scale, scale), bool)), 1, mode="edge")
    inner = large[1:-1, 1:-1]
    whole = inner & large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
    border: np.ndarray = inner & ~whole
    return border


def _png(array: np.ndarray) -> bytes:
    return _encoded(Image.fromarray(array))


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
