"""A package on disk, as `hwseg package` wrote it: what the driver has to know, and images that are what they claim."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import file_errors
from hwseg.layout import HeadLayout, TensorLayout
from hwseg.pictures import packed
from hwseg.pictures.packed import PixelInput

PACKAGE = "package.json"
MODEL = "model.json"
FORMAT, READABLE = 4, (1, 2, 4)
"""Version of the two files that is written, and those that a driver reads: in 1 no picture is folded, before 4 pixels
have a table of 256 integers."""

ALL_PLANES = 8
"""The accuracy dial's end: no activation loses a digit plane."""

CURE = "make the package again with hwseg package"


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

    pixels: what pictures and classes are to it.  cycles: as the compiler predicts them for one picture.
    """

    name: str
    folder: Path
    total_bytes: int
    program: Image
    weights: Image
    input_address: int
    input: TensorLayout
    head_address: int
    head_layout: HeadLayout | TensorLayout
    head: Head
    pixels: PixelInput
    cycles: int
    layers: tuple[str, ...]

    @property
    def head_bytes(self) -> int:
        return self.head_layout.bytes

    def images(self) -> tuple[tuple[Image, np.ndarray], ...]:
        """Program and weights as uint8, checked against size and SHA-256; raises HwsegError naming the file."""
        return tuple((image, self._checked(image)) for image in (self.weights, self.program))

    def _checked(self, image: Image) -> np.ndarray:
        path = self.folder / image.file
        with file_errors(path):
            content = path.read_bytes()
        cure = f"copy it again from the package that holds {self.name}"
        require(len(content) == image.size, str(path), f"must have {image.size} bytes, has {len(content)}", cure)
        found = hashlib.sha256(content).hexdigest()
        rule = f"must be the image of {self.name}, SHA-256 {image.sha256[:12]}, is {found[:12]}"
        require(found == image.sha256, str(path), rule, cure)
        return np.frombuffer(content, np.uint8)


@dataclass(frozen=True)
class BoardFacts:
    """What the driver must know of the board.  registers: first address of the accelerator's registers.

    ddr_first, ddr_last: what the accelerator's ports reach.  read_ports, write_ports: their names, "HP0" for example.
    fclk_divisors: of `fclk_pll`, for `clock_mhz`.
    """

    name: str
    part: str
    ddr_bits: int
    registers: int
    interrupt: int
    ddr_first: int
    ddr_last: int
    read_ports: tuple[str, ...]
    write_ports: tuple[str, ...]
    clock_mhz: float
    fclk_pll: str
    fclk_divisors: tuple[int, int]


@dataclass(frozen=True)
class Package:
    """`offsets`: of the registers by name.  `status`: bits of the status register by name."""

    folder: Path
    board: BoardFacts
    array: str
    identity: int
    array_code: int
    offsets: Mapping[str, int]
    status: Mapping[str, int]
    causes: Mapping[int, str]
    models: tuple[str, ...]

    @property
    def bitstream(self) -> Path:
        """For fpga_manager; absent where no tool made one."""
        return self.folder / "bitstream" / "hwseg.bit.bin"

    def model(self, name: str) -> Model:
        """One of `models`, by name."""
        cure = f"use {', '.join(self.models)}"
        require(name in self.models, f"model {name!r}", "must be one of this package", cure)
        return read_model(self.folder / "models" / name, self.array)


def turned_name(model: str, planes: int) -> str:
    """Name of a model that was compiled with at most `planes` digit planes per activation."""
    return model if planes >= ALL_PLANES else f"{model}-{planes}planes"


def read_package(folder: str | Path) -> Package:
    """Raises HwsegError for a folder that is no package, or one of another version."""
    root = Path(folder)
    require(root.is_dir(), str(root), "must be the folder of a package, but there is none", "run hwseg package first")
    content = _json(root / PACKAGE)
    try:
        board, fclk = content["board"], content["board"]["fclk"]
        return Package(
            folder=root,
            board=BoardFacts(
                board["name"],
                board["part"],
                int(board["ddr_bits"]),
                int(board["registers"]),
                int(board["interrupt"]),
                int(board["ddr_first"]),
                int(board["ddr_last"]),
                tuple(board["read_ports"]),
                tuple(board["write_ports"]),
                float(board["clock_mhz"]),
                fclk["pll"],
                (int(fclk["divisors"][0]), int(fclk["divisors"][1])),
            ),
            array=content["array"],
            identity=int(content["identity"]),
            array_code=int(content["array_code"]),
            offsets={str(r["name"]): int(r["offset"]) for r in content["registers"]},
            status={str(name): int(bit) for name, bit in content["status"].items()},
            causes={int(code): str(text) for code, text in content["causes"].items()},
            models=tuple(content["models"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise HwsegError(str(root / PACKAGE), f"must describe a package: {error!r}", CURE) from error


def read_model(folder: Path, array: str) -> Model:
    """One model's folder; raises HwsegError if it is damaged or made for another array."""
    content = _json(folder / MODEL)
    try:
        memory, head = content["memory"], content["head"]
        rule = f"must be compiled for the array {array} of this bitstream, is for {memory['array']}"
        require(memory["array"] == array, str(folder), rule, "compile the model for that array")
        images = {
            kind: Image(memory[kind]["file"], memory[kind]["address"], memory[kind]["bytes"], content["sha256"][kind])
            for kind in ("program", "weights")
        }
        result = memory["head"]
        return Model(
            name=content["name"],
            folder=folder,
            total_bytes=int(memory["total_bytes"]),
            program=images["program"],
            weights=images["weights"],
            input_address=int(memory["input"]["address"]),
            input=TensorLayout.from_json(memory["input"]),
            head_address=int(result["address"]),
            head_layout=_sums(result) if result["kind"] == "sums" else TensorLayout.from_json(result),
            head=Head(
                tuple(map(int, head["factors"])),
                tuple(map(int, head["addends"])),
                tuple(map(float, head["scale"])),
                tuple(map(float, head["offset"])),
                head["activation"],
            ),
            pixels=_pixels(content, str(folder / MODEL)),
            cycles=int(content["cycles"]),
            layers=tuple(content["layers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HwsegError(str(folder / MODEL), f"must describe a model: {error!r}", CURE) from error


def _pixels(content: Mapping[str, Any], place: str) -> PixelInput:
    if packed.KEY in content:
        return packed.of_json(content[packed.KEY], len(content["head"]["factors"]), place)
    table = np.array(content["table"], np.int16)
    require(table.shape == (256,), place, "must have a table of 256 integers", CURE)
    return packed.of_table(content["normalize"], table, len(content["head"]["factors"]))


def _json(path: Path) -> Any:
    with file_errors(path):
        text = path.read_bytes()
    try:
        content = json.loads(text)
    except ValueError as error:
        raise HwsegError(str(path), f"must be JSON: {error}", CURE) from error
    known = content.get("format") if isinstance(content, dict) else None
    require(known in READABLE, str(path), f"must have format {FORMAT}, has {known}", CURE)
    return content


def _sums(entry: Mapping[str, Any]) -> HeadLayout:
    height, width, channels = map(int, entry["shape"])
    return HeadLayout((height, width, channels), int(entry["sets"]), int(entry["set_rows"]), int(entry["pixels"]))
