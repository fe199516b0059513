"""One network of a package: where its parts lie in memory, what its head's integers mean, images that are theirs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import Sealed
from hwseg.layout import CHANNELS, PIXELS, WORD_BYTES, Fold, HeadLayout, Shape, TensorLayout, folded_shape, stored
from hwseg.pictures import labels, meaning
from hwseg.pictures.meaning import FITS
from hwseg.pictures.packed import KEY, PixelInput
from hwseg.pictures.table import Quantizer
from hwseg.pictures.tiles import Reach, of_json
from hwseg.runtime.entries import Entry
from hwseg.trust import fitted, judge
from hwseg.trust.judge import Judge

MOST = 1 << 16
"""Rows, columns or channels of a tensor, whatever a file says."""
MOST_CYCLES = 1 << 40
TILES = "tiles"
"""Entry of model.json: how far a pixel of the mask looks, or why pictures cannot be cut."""
SAID = 200
"""Characters of a sentence that quotes what a file says."""

Declared = TypeVar("Declared")


@dataclass(frozen=True)
class Head:
    """What becomes of the head's integers: factor * q + addend orders them as the model does, without rounding.

    One channel: the mask is where that is positive.  Several: the smallest channel among those where it is largest.
    scale, offset: the same as floating-point numbers, for logits.
    """

    factors: tuple[int, ...]
    addends: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    activation: str

    def mask(self, sums: np.ndarray) -> np.ndarray:
        """Class of every pixel, uint8 [H, W], of integers [H, W, C]."""
        largest = max(-int(sums.min()), int(sums.max()), 1)
        bound = max(abs(f) * largest + abs(a) for f, a in zip(self.factors, self.addends))  # noqa: B905
        kind: Any = np.int64 if bound < 1 << 62 else object
        values = sums.astype(kind) * np.array(self.factors, kind) + np.array(self.addends, kind)
        if values.shape[2] == 1:
            return np.asarray(values[:, :, 0] > 0, np.uint8)
        return np.asarray(np.argmax(values, axis=2), np.uint8)

    def logits(self, sums: np.ndarray) -> np.ndarray:
        """The model's numbers before its activation, float32 [H, W, C]."""
        return np.asarray(sums * np.array(self.scale) + np.array(self.offset), np.float32)


@dataclass(frozen=True)
class Image:
    """A file that belongs at an address: program or weights.  address: byte offset in the memory map."""

    file: str
    address: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Model:
    """One network for the array of the package.  Addresses are byte offsets in its memory map of `total_bytes`.

    files, folder: the package, and the model's folder in it.  pixels: what pictures and classes are to it.
    tiles: how far a pixel of its mask looks, or why pictures cannot be cut for it.
    cycles: as the compiler predicts them for one picture.  judge: of its masks' doubts, where that was fitted.
    """

    name: str
    files: Sealed
    folder: str
    total_bytes: int
    program: Image
    weights: Image
    input_address: int
    input: TensorLayout
    head_address: int
    head_layout: HeadLayout | TensorLayout
    head: Head
    pixels: PixelInput
    tiles: Reach | str
    cycles: int
    layers: tuple[str, ...]
    judge: Judge | None = None

    @property
    def head_bytes(self) -> int:
        return self.head_layout.bytes

    def images(self) -> tuple[tuple[Image, np.ndarray], ...]:
        """Program and weights as uint8, checked against manifest, size and SHA-256; HwsegError names the file."""
        return tuple((image, self._checked(image)) for image in (self.weights, self.program))

    def _checked(self, image: Image) -> np.ndarray:
        name = f"{self.folder}/{image.file}"
        content, path = self.files.read(name, self.total_bytes), str(self.files.folder / name)
        cure = f"copy it again from the package that holds {self.name}"
        require(len(content) == image.size, path, f"must have {image.size} bytes, has {len(content)}", cure)
        found = hashlib.sha256(content).hexdigest()
        rule = f"must be the image of {self.name}, SHA-256 {image.sha256[:12]}, is {found[:12]}"
        require(found == image.sha256, path, rule, cure)
        return np.frombuffer(content, np.uint8)


def read_model(content: Entry, files: Sealed, folder: str, name: str, array: str, room: int) -> Model:
    """What model.json says; HwsegError if that cannot be, or if it was made for another array.

    room: bytes of the board's memory.
    """
    memory, head = content["memory"], content["head"]
    own = memory["array"].text()
    rule = f"must be compiled for the array {array} of this bitstream, is for {own}"
    require(own == array, str(files.folder / folder), rule, "compile the model for that array")
    if content["name"].text() != name:
        raise content["name"].fail(f"must be {name!r}, as its folder, is {content['name'].value!r}")
    total = memory["total_bytes"].integer(WORD_BYTES, room)
    images = {kind: _image(memory[kind], content["sha256"][kind], total) for kind in ("program", "weights")}
    tensor, result = memory["input"], memory["head"]
    entered, sums = _tensor(tensor), result["kind"].one_of("sums", "planes") == "sums"
    layout = _sums(result) if sums else _tensor(result)
    places = {kind: (image.address, image.size) for kind, image in images.items()}
    places["input"] = _placed(tensor, entered.bytes, total), entered.bytes
    places["head"] = _placed(result, layout.bytes, total), layout.bytes
    _require_apart(places, content["memory"])
    channels = layout.shape[2]
    return Model(
        name=name,
        files=files,
        folder=folder,
        total_bytes=total,
        program=images["program"],
        weights=images["weights"],
        input_address=places["input"][0],
        input=entered,
        head_address=places["head"][0],
        head_layout=layout,
        head=Head(
            tuple(value.whole() for value in head["factors"].entries(channels, channels)),
            tuple(value.whole() for value in head["addends"].entries(channels, channels)),
            tuple(value.number() for value in head["scale"].entries(channels, channels)),
            tuple(value.number() for value in head["offset"].entries(channels, channels)),
            head["activation"].text(),
        ),
        pixels=_pixels(content[KEY], entered, channels),
        tiles=_tiles(content[TILES], entered, layout),
        cycles=content["cycles"].integer(1, MOST_CYCLES),
        layers=tuple(layer.text() for layer in content["layers"].entries()),
        judge=_judge(content[judge.KEY], channels) if judge.KEY in content.value else None,
    )


def _pixels(entry: Entry, tensor: TensorLayout, channels: int) -> PixelInput:
    """What pixels are to the network, the quantizer of its input, and what its `channels` of output are."""
    low = -(1 << tensor.planes - 1) if tensor.signed else 0
    high = low + (1 << tensor.planes) - 1
    first = entry["low"].integer(low, high - 1)
    quantizer = Quantizer(_scale(entry["scale"]), first, entry["high"].integer(first + 1, high))
    if "older" in entry.value:
        fit = entry["fit"].one_of(*FITS)
        found = _declared(entry["older"], lambda text: meaning.older(text, fit))
    else:
        found = _declared(entry["meaning"], lambda text: meaning.parse(text).check(tensor.shape[2]))
    return PixelInput(found, quantizer, _declared(entry["labels"], lambda text: labels.parse(text, channels)))


def _tiles(entry: Entry, tensor: TensorLayout, head: TensorLayout | HeadLayout) -> Reach | str:
    """How pictures are cut into tiles of the network's size, or why they cannot be."""
    if isinstance(entry.value, Mapping) and "refused" in entry.value:
        return entry["refused"].text()[:SAID]
    found = of_json(entry.value, f"{entry.place}: {entry.name}", entry.cure)
    if any(n % m for n, m in zip(tensor.shape[:2], found.multiple, strict=True)):
        raise entry["multiple"].fail(f"must divide {tensor.shape[0]}x{tensor.shape[1]} pixels")
    if head.shape[:2] != tensor.shape[:2]:
        raise entry.fail(f"must be refused: the mask has {head.shape[0]}x{head.shape[1]} pixels")
    return found


def _judge(entry: Entry, channels: int) -> Judge:
    """What was fitted to the network, and its head's logits, exactly."""
    trust = _declared(entry["fitted"], lambda text: fitted.parse(text, channels))
    scale, offset = (
        tuple(_fraction(one) for one in entry[name].entries(channels, channels)) for name in ("scale", "offset")
    )
    return Judge.of(trust, scale, offset)


def _fraction(entry: Entry) -> Fraction:
    """A fraction, as `str` writes it; the products of float32 constants have long ones."""
    if not re.fullmatch(r"-?[0-9]{1,300}(/[1-9][0-9]{0,299})?", entry.text()):
        raise entry.fail(f"must be a fraction, is {entry.value[:20]!r}")
    return Fraction(entry.text())


def _scale(entry: Entry) -> Fraction:
    """A positive fraction, as `str` writes it."""
    if not re.fullmatch(r"[1-9][0-9]{0,62}(/[1-9][0-9]{0,62})?", entry.text()):
        raise entry.fail(f"must be a positive fraction, is {entry.value[:20]!r}")
    return Fraction(entry.text())


def _declared(entry: Entry, parse: Callable[[str], Declared]) -> Declared:
    try:
        return parse(entry.text())
    except HwsegError as error:
        raise entry.fail(error.rule[:SAID]) from error


def _image(entry: Entry, digest: Entry, total: int) -> Image:
    size = entry["bytes"].integer(WORD_BYTES, total, WORD_BYTES)
    file = entry["file"].one_of("program.bin", "weights.bin")
    return Image(file, _placed(entry, size, total), size, digest.text())


def _placed(entry: Entry, size: int, total: int) -> int:
    """Its address, from which it must fit the memory map."""
    entry["bytes"].integer(size, size)
    if size > total:
        raise entry["bytes"].fail(f"must fit {total} bytes of memory, are {size}")
    return entry["address"].integer(0, total - size, WORD_BYTES)


def _require_apart(places: dict[str, tuple[int, int]], memory: Entry) -> None:
    end, before = 0, ""
    for name, (address, size) in sorted(places.items(), key=lambda place: place[1]):
        if address < end:
            raise memory[name]["address"].fail(f"must lie behind {before}, which ends at {end}, is {address}")
        end, before = address + size, name


def _shape(entry: Entry) -> tuple[int, int, int]:
    height, width, channels = (size.integer(1, MOST) for size in entry["shape"].entries(3, 3))
    return height, width, channels


def _folded(entry: Entry) -> tuple[Shape, Fold]:
    """Shape and fold of a tensor."""
    _shape(entry)
    if "fold" in entry.value:
        for count in entry["fold"].entries(2, 2):
            count.integer(1, CHANNELS)
    try:
        return folded_shape(entry.value)
    except HwsegError as error:
        raise entry["fold"].fail(error.rule) from error


def _tensor(entry: Entry) -> TensorLayout:
    shape, fold = _folded(entry)
    return TensorLayout(shape, entry["planes"].integer(1, 8), entry["signed"].flag(), fold)


def _sums(entry: Entry) -> HeadLayout:
    (shape, fold), rows = _folded(entry), entry["set_rows"].integer(1, CHANNELS)
    count = -(-stored(shape, fold)[2] // rows)
    sets = entry["sets"].integer(count, count)
    pixels = entry["pixels"].integer(1, PIXELS)
    if PIXELS % pixels:
        raise entry["pixels"].fail(f"must divide {PIXELS}, is {pixels}")
    return HeadLayout(shape, sets, rows, pixels, fold)
