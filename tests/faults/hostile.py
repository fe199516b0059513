"""Hostile files of every kind that hwseg reads: damaged, cut, endless in what they claim; each is read or refused.

    python -m tests.faults.hostile --count 500 [--seed 0] [--kind npy]

A traceback, or more than `SECONDS` for one file, ends the program with the file's number.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from hwseg.boards import HERE, read_board
from hwseg.builds.simulation import simulation
from hwseg.errors import HwsegError
from hwseg.files import MANIFEST, MARKER, build_folder, extract_zip, owner_of, sha256, verify_manifest
from hwseg.pictures.read import read_one
from hwseg.pictures.source import read_floats
from hwseg.power.coefficients import FILE, load
from tests.faults.pictures import discs

SECONDS = 10.0

NUMBERS = (
    "0",
    "-1",
    "1e308",
    "-0.0",
    "nan",
    "inf",
    "1e-320",
    "2147483648",
    "9" * 400,
    "0x" + "f" * 50,
    "true",
    "1979-05-27",
)
TEXTS = ('""', '"\\u0000"', '"' + "x" * 5000 + '"', '"../../etc/passwd"', '"[red]"', '"\\u202e"', "[]", "{}", "[1, 2]")
PIECES = (
    "[" * 3000,
    "{" * 3000,
    '"',
    "'''",
    "\x00",
    "\ufeff",
    "\r",
    ",",
    "=",
    "\n[x]\n",
    "#",
    "é",
    "\U0001f600",
    ";;;",
    "[[x]]",
)


@dataclass(frozen=True)
class Kind:
    """One kind of file.  sound: files that are read.  read: what hwseg does with one; HwsegError is an answer.

    text: tokens are exchanged, too.  more: crafted files.
    """

    name: str
    ending: str
    sound: tuple[bytes, ...]
    read: Callable[[Path], object]
    text: bool = False
    more: tuple[bytes, ...] = ()

    def draw(self, rng: random.Random) -> bytes:
        """A file that may be anything."""
        if self.more and rng.random() < 0.2:
            return rng.choice(self.more)
        content = rng.choice(self.sound)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            content = _retold(content, rng) if self.text and rng.random() < 0.7 else _damaged(content, rng)
        return content


def _damaged(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
    at = rng.randrange(len(content)) if rng.random() < 0.5 else rng.randrange(min(len(content), 256))
    length = rng.choice((1, 2, 4, 8, 64, 1000))
    kind = rng.randrange(7)
    if kind == 0:
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content[at + length :]
    if kind == 3:
        return content[:at] + rng.randbytes(length) + content[at:]
    if kind == 4:
        return content[:at] + rng.choice((b"\xff", b"\0")) * length + content[at + length :]
    if kind == 5:
        return content[:at] + content[at : at + length] * rng.choice((2, 50)) + content[at + length :]
    return rng.randbytes(rng.randrange(200))


def _retold(content: bytes, rng: random.Random) -> bytes:
    """A text with a number, a word or a line exchanged, or a piece put in."""
    text = content.decode("utf-8", "replace")
    tokens = text.replace(",", " , ").split(" ")
    at = rng.randrange(len(tokens))
    choice = rng.random()
    if choice < 0.5:
        numbers = [i for i, token in enumerate(tokens) if any(c.isdigit() for c in token)] or [at]
        at = rng.choice(numbers)
        tokens[at] = rng.choice(NUMBERS + TEXTS) + ("\n" if "\n" in tokens[at] else "")
    elif choice < 0.7:
        tokens.insert(at, rng.choice(PIECES))
    elif choice < 0.8:
        tokens[at] = tokens[rng.randrange(len(tokens))]
    elif choice < 0.9:
        del tokens[at]
    else:
        lines = text.splitlines(keepends=True)
        rng.shuffle(lines)
        return "".join(lines).encode("utf-8", "replace")
    return " ".join(tokens).encode("utf-8", "replace")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_header(header: bytes, version: int = 1, length: int | None = None) -> bytes:
    """A .npy file of this header and eight bytes."""
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + header + bytes(8)


NPY = (
    b"PK\x03\x04" + bytes(40),
    b"PK\x05\x06" + bytes(18),
    b"",
    b"\x93NUMPY",
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), "),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }\n" + b"(" * 5000),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**20, 1, 8, 8), }\n"),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 8), }\n"),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 1, 8, 8), }\n"),
    npy_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"),
    npy_header(b"{'descr': [('a', '<f4', (1000000, 1000000))], 'fortran_order': False, 'shape': (1,), }\n"),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }\n", 2, 1 << 31),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }\n", 3),
    npy_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 1L, 8L, 8L), }\n"),
    npy_header(b"__import__('os').system('true')\n"),
    npy_header(b"\xff" * 60),
    npy_header(b"'" * 60),
    npy_header(b"0\\\n"),
)
"""Headers as a fuzzer would not find them: zip files, code, unfinished tokens, sizes beyond all memory."""


def kinds(folder: Path) -> tuple[Kind, ...]:
    """Every kind; `folder` for what surrounds the files."""
    graph: Any = SimpleNamespace(input="x", types={"x": SimpleNamespace(shape=(8, 8, 1))})
    rng = np.random.default_rng(0)
    image = npy(rng.random((1, 1, 8, 8), np.float32))
    pixels = Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8))
    pictures = []
    for form in ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM"):
        buffer = io.BytesIO()
        pixels.save(buffer, form)
        pictures.append(buffer.getvalue())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a/b.txt", "text" * 100)
        out.writestr("c.bin", bytes(1000))
    build = folder / "build"
    with build_folder(build) as scratch:
        (scratch / "weights.bin").write_bytes(bytes(100))
        (scratch / "report.json").write_text("{}")
    listed = (build / MANIFEST).read_bytes()
    generic = HERE / "zynq7020" / "board.toml"
    found = {
        "cycles": 1,
        "predicted_cycles": 1,
        "mismatches": 0,
        "manifest": sha256(build / MANIFEST),
        "image": "a.png",
        "sha256": {},
    }
    return (
        Kind("npy", ".npy", (image,), lambda path: read_floats(path, graph), more=NPY),
        Kind("picture", ".png", tuple(pictures), lambda path: read_one(path).channels(1)),
        Kind("zip", ".zip", (archive.getvalue(),), lambda path: extract_zip(path, folder / "unpacked", 1 << 24)),
        Kind("manifest", ".json", (listed,), lambda path: _as(path, build / MANIFEST, verify_manifest), True),
        Kind("marker", ".json", (b'{"owner": "x"}',), lambda path: _as(path, folder / MARKER, owner_of), True),
        Kind("simulation", ".json", (json.dumps(found).encode(),), lambda path: _simulation(path, build), True),
        Kind("coefficients", ".toml", (FILE.read_bytes()[:4000].rsplit(b"\n\n", 1)[0],), load, True),
        Kind("board", ".toml", (generic.read_bytes(),), lambda path: read_board(path, generic), True),
        *_training(folder),
    )  # fmt: skip


def _as(path: Path, place: Path, read: Callable[[Path], object]) -> None:
    """Read the file in the place where it belongs."""
    place.write_bytes(path.read_bytes())
    read(place.parent)


def _simulation(path: Path, build: Path) -> None:
    (build / "simulation").mkdir(exist_ok=True)
    (build / "simulation" / "simulation.json").write_bytes(path.read_bytes())
    simulation(build)


def _training(folder: Path) -> Iterator[Kind]:
    """Kinds that need PyTorch."""
    try:
        from hwseg.datasets.data import load as load_data
        from hwseg.quant.networks.unet import UNetConfig
        from hwseg.quant.train.checkpoint import load_network
        from hwseg.quant.train.config import TrainConfig, read_toml
        from hwseg.quant.train.run import Run
        from hwseg.quant.train.search import Memory
    except ModuleNotFoundError:
        return
    pictures = discs(folder / "discs", 6)
    config = TrainConfig(steps=2, size=16, batch=1, threads=1)
    run = Run(folder / "run", UNetConfig(depth=1, width=2), config)
    run.save()
    run.keep("best.pt", quantized=True)
    memory = Memory(folder / "search.json", {"unet": 1})
    memory.values = {"x": 1.5, "y": {"a": 3}}
    memory._write()

    def configured(path: Path) -> None:
        tables = read_toml(path)
        UNetConfig.from_dict(tables.get("unet", {}))
        TrainConfig.from_dict(tables.get("train", {}))

    def split(path: Path) -> None:
        (pictures / "split.json").write_bytes(path.read_bytes())
        try:
            load_data(pictures)
        finally:
            (pictures / "split.json").unlink()

    def csv(path: Path) -> None:
        (pictures / "set.csv").write_bytes(path.read_bytes())
        load_data(pictures / "set.csv")

    def resumed(path: Path) -> None:
        (folder / "resumed").mkdir(exist_ok=True)
        (folder / "resumed" / "last.pt").write_bytes(path.read_bytes())
        Run.resume(folder / "resumed")

    rows = "".join(f"images/{i}.png,masks/{i}.png,{part}\n" for i, part in enumerate(("train", "val", "test") * 2))
    parts = {"train": ["0.png", "1.png"], "val": ["2.png"], "test": ["3.png"]}
    yield Kind("train toml", ".toml", ((folder / "run" / "config.toml").read_bytes(),), configured, True)
    yield Kind("csv", ".csv", (("image,mask,part\n" + rows).encode(),), csv, True)
    yield Kind("split", ".json", (json.dumps(parts).encode(),), split, True)
    yield Kind(
        "search", ".json", ((folder / "search.json").read_bytes(),), lambda path: Memory(path, {"unet": 1}), True
    )
    yield Kind("network", ".pt", ((folder / "run" / "best.pt").read_bytes(),), load_network)
    yield Kind("run", ".pt", ((folder / "run" / "last.pt").read_bytes(),), resumed)


def campaign(kind: Kind, count: int, seed: int, folder: Path) -> Counter[str]:
    """Read `count` files; how many were read and refused."""
    told: Counter[str] = Counter()
    path = folder / f"hostile{kind.ending}"
    for number in range(count):
        path.write_bytes(kind.draw(random.Random(f"{kind.name} {seed} {number}")))
        start = time.monotonic()
        sentence = ""
        try:
            kind.read(path)
        except HwsegError as error:
            sentence = str(error)
        except BaseException as error:
            raise AssertionError(f"{kind.name}, seed {seed}, file {number} ({path}): {error!r}") from error
        seconds = time.monotonic() - start
        told["refused" if sentence else "read"] += 1
        assert sentence == "" or (sentence.isprintable() and len(sentence) < 5000), f"{kind.name} {number}: {sentence}"
        assert seconds < SECONDS, f"{kind.name}, seed {seed}, file {number} took {seconds:.1f} s"
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in kinds(Path(scratch)):
            if options.kind in kind.name:
                told = campaign(kind, options.count, options.seed, Path(scratch))
                print(f"{kind.name}: {told['read']} read, {told['refused']} refused", flush=True)


if __name__ == "__main__":
    sys.exit(main())
