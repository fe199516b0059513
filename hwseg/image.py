"""A picture, or the float tensor that the model takes, becomes the integers of the graph's input.

A pixel p of 8 bits is the number p / 256.  Normalization (`hwseg.normalize` in the model's metadata) comes first, on
the whole picture; then, if asked, the picture is cropped or resized to the model's size; then numbers are quantized.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwseg.borders import given
from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, TensorType
from hwseg.normalize import NONE, normalize

Pixels = NDArray[np.uint8]
"""[height, width, channels]."""

MAX_PIXELS = 1 << 26
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
FITS = ("crop", "resize")
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA")


def read_input(path: str | Path, graph: Graph, fit: str = "") -> np.ndarray:
    """Integers [H, W, C] for `graph` from a picture, or from a .npy file with the model's float32 tensor."""
    if Path(path).suffix.lower() == ".npy":
        return from_floats(graph, read_floats(path, graph), str(path))
    kind = graph.types[graph.input]
    pixels = normalize(read_picture(path, kind.shape[2]), graph.metadata.get("hwseg.normalize", NONE))
    return quantize_pixels(fitted(pixels, kind.shape[:2], fit, str(path)), kind)


def quantize_pixels(pixels: Pixels, kind: TensorType) -> np.ndarray:
    """round(p / 256 / scale), half to even, clamped: from a table of the 256 pixel values."""
    table = [min(max(round(p / (256 * kind.scale[0])), kind.low), kind.high) for p in range(256)]
    return np.array(table, np.int16 if kind.signed else np.uint8)[pixels]


def read_picture(path: str | Path, channels: int) -> Pixels:
    """8-bit pixels; grey (ITU-R 601 luma of a colour picture) for 1 channel, red, green, blue for 3."""
    place = str(path)
    cure = f"use a .npy file with the float32 tensor [1, {channels}, H, W]"
    require(channels in (1, 3), place, f"a model of {channels} channels takes no pictures", cure)
    require(os.path.isfile(path), place, "must be a picture, but there is no such file", "check the path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
                fits = width * height <= MAX_PIXELS
                require(fits, place, f"must have at most {MAX_PIXELS} pixels, has {width}x{height}", "crop it first")
                require(
                    picture.mode in GREY + COLOUR,
                    place,
                    f"must have 8 bits per channel, grey or colour, is of mode {picture.mode}",
                    "convert it to 8-bit grey or RGB",
                )
                picture.load()
                return _channels(place, picture, channels)
        except HwsegError:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds of error on damaged files
            reason = f"is no picture or a damaged one ({type(error).__name__})"
            raise HwsegError(place, reason, f"use {', '.join(FORMATS)} or .npy") from None


def _channels(place: str, picture: Image.Image, channels: int) -> Pixels:
    if picture.mode in ("LA", "RGBA"):
        opaque = picture.getchannel("A").getextrema()[0] == 255
        require(opaque, place, "must not be transparent", "flatten it onto a background")
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def fitted(pixels: Pixels, size: tuple[int, int], fit: str, place: str) -> Pixels:
    """The picture at the model's height and width: as it is, its middle (`crop`), or all of it, scaled (`resize`)."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    wanted = f"must be {size[1]} wide and {size[0]} high, is {width} by {height}"
    require(fit in FITS, place, wanted, f"use --fit {' or --fit '.join(FITS)}")
    if fit == "crop":
        require(height >= size[0] and width >= size[1], place, f"{wanted}, too small to crop", "use --fit resize")
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        return pixels[top : top + size[0], left : left + size[1]]
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels[:, :, c])).resize((size[1], size[0]), Image.Resampling.BOX)
        )
        for c in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=2)


def read_floats(path: str | Path, graph: Graph) -> np.ndarray:
    """The model's input tensor, float32 [1, C, H, W], from a .npy file with it or with [C, H, W]."""
    place = str(path)
    height, width, channels = graph.types[graph.input].shape
    shape = (1, channels, height, width)
    require(os.path.isfile(path), place, "must be a .npy file, but there is no such file", "check the path")
    with given(place, "a .npy file of numbers", "write it with numpy.save"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    wanted = f"must hold float32 {list(shape)}"
    require(isinstance(x, np.ndarray), place, wanted, "write one array with numpy.save")
    require(x.dtype == np.float32, place, f"{wanted}, holds {x.dtype}", "convert with .astype(numpy.float32)")
    require(x.shape in (shape, shape[1:]), place, f"{wanted}, holds {list(x.shape)}", "use the model's size")
    x = np.array(x).reshape(shape)
    require(bool(np.isfinite(x).all()), place, f"{wanted}, holds values that are not finite", "check how it was made")
    return x


def from_floats(graph: Graph, x: np.ndarray, place: str = "input") -> np.ndarray:
    """The input's integers for float32 [1, C, H, W]: as the model quantizes them, or exact multiples of the scale."""
    kind = graph.types[graph.input]
    with np.errstate(over="ignore"):
        ratio = x[0].transpose(1, 2, 0) / np.float32(kind.scale[0])
    q = np.rint(np.clip(ratio, kind.low, kind.high))
    if not graph.input_quantizer:
        unit = float(1 / kind.scale[0])
        rule = f"the model has no input quantizer, so values must be n / {unit:g}, n = 0 to {kind.high}"
        require(bool((q == ratio).all()), place, rule, "put a QuantIdentity on the model's input")
    return np.asarray(q, np.int16)


def to_floats(graph: Graph, q: np.ndarray) -> np.ndarray:
    """The float32 tensor [1, C, H, W] that the model takes for the integers [H, W, C]."""
    x = (np.asarray(q).transpose(2, 0, 1)[None] * float(graph.types[graph.input].scale[0])).astype(np.float32)
    return np.ascontiguousarray(x)
