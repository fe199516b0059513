"""A package: everything between a compiled model and a running board, in one folder.

    package.json            what the driver has to know: board, registers, array, names of the models
    hardware/               hwseg_zynq.v, top.v, sim_cells.v (for simulators), pins.xdc, timing.xdc,
                            vivado.tcl, synth.ys, open.sh
    models/NAME/            program.bin, weights.bin, model.json, memory.json, graph.json, report.*
    linux/                  hwseg.dts (device-tree overlay), 99-hwseg.rules (udev)
    bitstream/              hwseg.bit, hwseg.bit.bin, where a tool made them
    python/                 the driver, for a board without the rest of hwseg
    notebooks/segment.ipynb the example
    licences/, versions.json, manifest.json (SHA-256 of each file)

The same builds, board and hwseg give the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.boards import Board, load_board
from hwseg.boards.zynq7020 import scripts
from hwseg.boards.zynq7020.contents import licences, notebook, python_files, readme, versions
from hwseg.boards.zynq7020.linux import device_tree, udev_rule
from hwseg.boards.zynq7020.top import zynq_verilog
from hwseg.errors import HwsegError, require
from hwseg.files import build_folder, file_errors, owner_of, verify_manifest, write_whole
from hwseg.ir import Head, TensorType
from hwseg.pictures.choice import of_metadata
from hwseg.pictures.labels import declared
from hwseg.pictures.packed import KEY, PixelInput
from hwseg.pictures.table import Quantizer
from hwseg.rtl import registers
from hwseg.rtl.config import SUFFIXES, parse_array
from hwseg.runtime.board import PAGE
from hwseg.runtime.package import ALL_PLANES, FORMAT, MODEL, PACKAGE, turned_name

OWNER = "hwseg-package"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in the archive, so that bytes depend on contents alone."""

MODEL_FILES = ("program.bin", "weights.bin", "memory.json", "graph.json", "report.json", "report.md", "report.html")

STATUS = {
    "busy": registers.STATUS_BUSY,
    "done": registers.STATUS_DONE,
    "error": registers.STATUS_ERROR,
    "overrun": registers.STATUS_OVERRUN,
}


@dataclass(frozen=True)
class Build:
    """What a package takes from a build folder."""

    name: str
    folder: Path
    report: Mapping[str, Any]
    memory: Mapping[str, Any]
    head: Head
    input: TensorType
    pixels: PixelInput
    top: bytes
    cells: bytes


def package(builds: Sequence[Path], board: Board, folder: Path) -> list[str]:
    """Write the package of some builds of one array; names of its files.

    A package that was there is replaced; its bitstream stays if the hardware is the same, so that models can be added.
    Raises HwsegError for a build that was changed, is for another part, DDR width or array, or needs too much memory.
    """
    read = [read_build(build) for build in builds]
    _require_fit(read, board)
    contents = files(read, board)
    contents |= _bitstreams(folder, contents)
    with build_folder(folder, OWNER) as scratch:
        for name, content in contents.items():
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if name.endswith(".sh"):
                target.chmod(0o755)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _bitstreams(folder: Path, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of an older package at the same place whose hardware is, byte for byte, that of `contents`."""
    hardware = [name for name in contents if name.startswith("hardware/")]
    with file_errors(folder):
        if owner_of(folder) != OWNER or any(not (folder / name).is_file() for name in hardware):
            return {}
        if any((folder / name).read_bytes() != contents[name] for name in hardware):
            return {}
        found = [path for path in (folder / "bitstream").glob("hwseg.bit*") if path.is_file()]
        return {f"bitstream/{path.name}": path.read_bytes() for path in found}


def read_build(folder: Path) -> Build:
    """A build folder whose every file is as the compiler wrote it."""
    require(folder.is_dir(), str(folder), "must be a build folder, but there is none", "run hwseg compile first")
    verify_manifest(folder)
    cells = folder / "sim_cells.v"
    try:
        with file_errors(folder):
            report = json.loads((folder / "report.json").read_text())
            memory = json.loads((folder / "memory.json").read_text())
            graph = json.loads((folder / "graph.json").read_text())
            top = (folder / "top.v").read_bytes()
            content = cells.read_bytes() if cells.is_file() else b""
        name = turned_name(str(report["model"]), int(report.get("planes", ALL_PLANES)))
        head, kind = _head(graph["head"]), _tensor_type(graph["tensors"][graph["input"]])
        shape, classes = kind.shape, graph["tensors"][graph["head"]["tensor"]]["shape"][2]
        metadata, model = graph["metadata"], str(report["model"])
        meaning = of_metadata(metadata, shape[2], model).meaning
        pixels = PixelInput(meaning, Quantizer(kind.scale[0], kind.low, kind.high), declared(metadata, classes, model))
    except (ValueError, KeyError) as error:
        raise HwsegError(str(folder), f"must be a build folder: {error!r}", "run hwseg compile again") from error
    return Build(name, folder, report, memory, head, kind, pixels, top, content)


def _head(entry: Mapping[str, Any]) -> Head:
    """The head of graph.json, whose rationals are text."""
    scale, offset = (tuple(map(Fraction, entry[name])) for name in ("scale", "offset"))
    return Head(entry["tensor"], scale, offset, entry["activation"], Fraction(entry["threshold"]))


def _tensor_type(entry: Mapping[str, Any]) -> TensorType:
    height, width, channels = entry["shape"]
    return TensorType((height, width, channels), entry["low"], entry["high"], tuple(map(Fraction, entry["scale"])))


def _require_fit(builds: Sequence[Build], board: Board) -> None:
    first = builds[0]
    for build in builds:
        place, own = str(build.folder), load_board(build.report["board"])
        cure = f"compile again with --board {board.name}"
        require(
            own.device == board.device, place, f"was compiled for {own.device}, {board.name} has {board.device}", cure
        )
        require(
            own.ddr_bits == board.ddr_bits,
            place,
            f"was compiled for {own.ddr_bits}-bit DDR ({own.name}), {board.name} has {board.ddr_bits}-bit",
            cure,
        )
        need = int(build.memory["total_bytes"])
        require(
            need <= board.ddr_bytes,
            place,
            f"needs {need} bytes of memory, {board.name} grants {board.ddr_bytes}",
            "use smaller images or fewer channels",
        )
        require(
            build.top == first.top,
            place,
            f"is for the array {build.report['array']}, {first.folder} is for {first.report['array']}",
            "compile all models of a package for one array with one version of hwseg",
        )
    names = [build.name for build in builds]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, "builds", f"must have different names, {twice} comes twice", "rename the model's file")


def files(builds: Sequence[Build], board: Board) -> dict[str, bytes]:
    """Every file of the package by its path."""
    first = builds[0]
    top = first.top.decode()
    texts = {
        "README.md": readme(board, [build.name for build in builds], str(first.report["array"])),
        PACKAGE: _json(_package_json(builds, board)),
        "versions.json": _json(versions()),
        "hardware/hwseg_zynq.v": zynq_verilog(top, board),
        "hardware/top.v": top,
        "hardware/pins.xdc": scripts.pins_xdc(board),
        "hardware/timing.xdc": scripts.timing_xdc(board),
        "hardware/vivado.tcl": scripts.vivado_tcl(board),
        "hardware/synth.ys": "\n".join(scripts.yosys_commands()) + "\n",
        "hardware/open.sh": scripts.open_script(board),
        "notebooks/segment.ipynb": _json(notebook(board)),
        "linux/hwseg.dts": device_tree(board, sum(aligned(build.memory["total_bytes"]) for build in builds)),
        "linux/99-hwseg.rules": udev_rule(),
    }
    content = {name: text.encode() for name, text in texts.items()} | python_files() | licences()
    if first.cells:
        content["hardware/sim_cells.v"] = first.cells
    for build in builds:
        folder = f"models/{build.name}"
        for name in MODEL_FILES:
            with file_errors(build.folder / name):
                content[f"{folder}/{name}"] = (build.folder / name).read_bytes()
        content[f"{folder}/{MODEL}"] = _json(_model_json(build)).encode()
    return content


def aligned(size: int) -> int:
    """The next multiple of a page."""
    return -(-size // PAGE) * PAGE


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def _package_json(builds: Sequence[Build], board: Board) -> dict[str, Any]:
    config = parse_array(builds[0].report["array"])
    code = config.rows | config.pixels << 8 | config.channels << 16 | list(SUFFIXES).index(config.core) << 24
    return {
        "format": FORMAT,
        "board": {
            "name": board.name,
            "title": board.title,
            "part": board.part,
            "ddr_bits": board.ddr_bits,
            "registers": board.ps.registers,
            "interrupt": board.ps.interrupt,
            "ddr_first": board.ps.ddr_first,
            "ddr_last": board.ps.ddr_last,
            "read_ports": board.ps.read_ports,
            "write_ports": board.ps.write_ports,
            "clock_mhz": board.ps.fclk.mhz,
            "fclk": {"pll": board.ps.fclk.pll, "divisors": list(board.ps.fclk.divisors)},
        },
        "array": config.name,
        "identity": registers.IDENTITY,
        "array_code": code,
        "registers": [asdict(register) for register in registers.REGISTERS],
        "status": STATUS,
        "causes": {str(code): text for code, text in registers.CAUSES.items()},
        "models": [build.name for build in builds],
    }


def _model_json(build: Build) -> dict[str, Any]:
    head, channels = build.head, build.memory["head"]["shape"][2]
    # The mask compares linear functions of integers; two points of each give it.
    at_zero = golden.head_integers(head, np.zeros((1, 1, channels), np.int64))[0, 0]
    at_one = golden.head_integers(head, np.ones((1, 1, channels), np.int64))[0, 0]
    manifest = json.loads((build.folder / "manifest.json").read_text())
    return {
        "format": FORMAT,
        "name": build.name,
        "memory": {key: value for key, value in build.memory.items() if key != "tensors"},
        "sha256": {what: manifest[build.memory[what]["file"]] for what in ("program", "weights")},
        KEY: build.pixels.json(),
        "head": {
            "factors": [int(one) - int(zero) for one, zero in zip(at_one, at_zero, strict=True)],
            "addends": [int(zero) for zero in at_zero],
            "scale": [float(head.scale[c % len(head.scale)]) for c in range(channels)],
            "offset": [float(head.offset[c % len(head.offset)]) for c in range(channels)],
            "activation": head.activation,
        },
        "cycles": int(build.report["totals"]["cycles"]),
        "layers": [layer["name"] for layer in build.report["layers"] if layer["op"] != "start-up"],
    }


def archive(folder: Path, target: Path) -> None:
    """A package in one ZIP file."""
    with file_errors(folder):
        content = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
    write_whole(target, zipped(content))


def zipped(content: Mapping[str, bytes]) -> bytes:
    """A ZIP archive that depends on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content[name])
    return buffer.getvalue()
