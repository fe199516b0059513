"""A package: everything between a compiled model and a running board, in one folder.

    package.json            what the driver has to know: board, registers, array, names of the models
    hardware/               hwseg_zynq.v, top.v, sim_cells.v (for simulators), pins.xdc, timing.xdc,
                            vivado.tcl, synth.ys, open.sh
    models/NAME/            program.bin, weights.bin, model.json, memory.json, graph.json, report.*
    linux/                  hwseg.dts (device-tree overlay), 99-hwseg.rules (udev)
    bitstream/              hwseg.bit, hwseg.bit.bin, where a tool made them; routed.json: how, with which clock and why
    reports/                the tools' logs
    python/                 the driver, for a board without the rest of hwseg: its modules, and as a wheel
    notebooks/segment.ipynb the example
    licences/, versions.json, manifest.json (SHA-256 of each file)

The same builds, board and hwseg give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.boards import CLOCK_TOLERANCE, GENERIC, Board, board_names, load_board, own_board, part_names
from hwseg.boards import LARGEST as LARGEST_BOARD
from hwseg.boards.zynq7020 import scripts
from hwseg.boards.zynq7020.contents import licences, notebook, python_files, readme, versions
from hwseg.boards.zynq7020.linux import device_tree, udev_rule
from hwseg.boards.zynq7020.top import zynq_verilog
from hwseg.boards.zynq7020.wheel import zipped
from hwseg.errors import HwsegError, require
from hwseg.files import MANIFEST, Sealed, build_folder, owner_of, parsed_json, read_regular, write_whole
from hwseg.ir import Head, TensorType
from hwseg.pictures.choice import of_metadata
from hwseg.pictures.labels import declared
from hwseg.pictures.packed import KEY, PixelInput
from hwseg.pictures.table import Quantizer
from hwseg.pictures.tiles import of_json
from hwseg.rtl import registers
from hwseg.rtl.config import SUFFIXES, parse_array
from hwseg.runtime.entries import Entry
from hwseg.runtime.fpga import BINARY, BIT, LARGEST, bit_to_bin, require_part
from hwseg.runtime.model import MOST_CYCLES, TILES
from hwseg.runtime.package import ALL_PLANES, CURE, FORMAT, MODEL, PACKAGE, PAGE, is_plain, turned_name
from hwseg.trust.fitted import TRUST, Trust, parse
from hwseg.trust.graph import linear
from hwseg.trust.judge import KEY as TRUSTED
from hwseg.trust.judge import packed

OWNER = "hwseg-package"
ROUTED, REPORTS = "bitstream/routed.json", "reports"
"""How a bitstream was made: seeds, clocks and why; and the folder of the tools' logs."""
AGAIN = "run hwseg compile again"
RENAME = "rename the model's file and compile it again"
CELLS = "sim_cells.v"
MODEL_FILES = ("program.bin", "weights.bin", "memory.json", "graph.json", "report.json", "report.md", "report.html")

STATUS = {
    "busy": registers.STATUS_BUSY,
    "done": registers.STATUS_DONE,
    "error": registers.STATUS_ERROR,
    "overrun": registers.STATUS_OVERRUN,
}


@dataclass(frozen=True)
class Build:
    """What a package takes from a build folder.  contents: the files that go into it as they are, by their names."""

    name: str
    folder: Path
    board: str
    board_file: bytes
    clock_mhz: float
    array: str
    cycles: int
    layers: tuple[str, ...]
    memory: Mapping[str, Any]
    head: Head
    input: TensorType
    pixels: PixelInput
    tiles: Mapping[str, Any]
    trust: Trust | None
    top: bytes
    cells: bytes
    contents: Mapping[str, bytes]


def package(builds: Sequence[Path], board: Board, folder: Path) -> Board:
    """Write the package of some builds of one array, for a board at the clock that they were compiled for; that board.

    A package that was there is replaced; its bitstream stays if the hardware is the same, so that models can be added.
    Raises HwsegError for a build that was changed, is for another part, DDR width, clock or array, or needs too much
    memory, and while another process writes the same package.
    """
    contents, clocked = packaged(builds, board)
    with build_folder(folder, OWNER) as scratch:
        write(scratch, contents | _bitstreams(folder, contents, clocked))
    return clocked


def packaged(builds: Sequence[Path], board: Board, note: str = "") -> tuple[dict[str, bytes], Board]:
    """Every file of the package of some builds by its path, and the board at their clock.  note: for its read-me."""
    read = [read_build(build) for build in builds]
    _require_fit(read, board)
    clocked = board.at(read[0].clock_mhz, str(read[0].folder))
    return files(read, clocked, note), clocked


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Files by their paths in a package."""
    for name, content in contents.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if name.endswith(".sh"):
            target.chmod(0o755)


def _bitstreams(folder: Path, contents: Mapping[str, bytes], board: Board) -> dict[str, bytes]:
    """Those of an older package at the same place whose hardware is, byte for byte, that of `contents`.

    A tool may have made them since the older manifest was written; so they must be whole, and for the part.
    """
    hardware = [name for name in contents if name.startswith("hardware/")]
    if owner_of(folder) != OWNER or any(not (folder / name).is_file() for name in hardware):
        return {}
    if any(read_regular(folder / name) != contents[name] for name in hardware):
        return {}
    bit, binary = folder / BIT, folder / BINARY
    if bit.is_file():
        content = read_regular(bit, LARGEST)
        require_part(content, board.part, str(bit))
        made = {BIT: content, BINARY: bit_to_bin(content, str(bit))}
        return {name: made[name] for name in made if (folder / name).is_file()} | _reports(folder, content)
    if not binary.is_file():
        return {}
    listed = Sealed.of(folder, f"remove {binary} or put hwseg.bit beside it")
    return {BINARY: listed.read(BINARY, LARGEST) if BINARY in listed.digests else read_regular(binary, LARGEST)}


def _reports(folder: Path, bit: bytes) -> dict[str, bytes]:
    """What is known of how this very bitstream was made, and the tools' logs."""
    sealed = Sealed.of(folder, CURE)
    if ROUTED not in sealed.digests:
        return {}
    told = sealed.read(ROUTED, LARGEST)
    found = parsed_json(told, str(folder / ROUTED), CURE)
    if not isinstance(found, dict) or found.get("sha256") != hashlib.sha256(bit).hexdigest():
        return {}
    logs = {name: sealed.read(name, LARGEST) for name in sealed.digests if name.startswith(f"{REPORTS}/")}
    return {ROUTED: told} | logs


def read_build(folder: Path) -> Build:
    """A build folder whose every file is as the compiler wrote it."""
    require(folder.is_dir(), str(folder), "must be a build folder, but there is none", "run hwseg compile first")
    sealed = Sealed.of(folder, AGAIN)
    contents = {name: sealed.read(name) for name in MODEL_FILES}
    found = {
        name: Entry(parsed_json(contents[name], str(folder / name), AGAIN), str(folder / name), AGAIN)
        for name in ("report.json", "memory.json", "graph.json")
    }
    report, memory, graph = found.values()
    name = turned_name(report["model"].text(), report["planes"].integer(1) if "planes" in report.value else ALL_PLANES)
    require(is_plain(name), str(folder), f"the model's name must be one of a folder, is {name!r}", RENAME)
    array = report["array"].text()
    require(memory["array"].text() == array, str(folder), f"must be for one array, {array}", AGAIN)
    cells = folder / CELLS
    own = GENERIC in sealed.digests or os.path.lexists(folder / GENERIC)
    try:
        head = _head(graph["head"].value)
        kind = _tensor_type(graph["tensors"][graph["input"].text()].value)
        pixels = _pixels(graph, kind, report["model"].text())
        trust = _trust(graph, report["model"].text())
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise HwsegError(str(folder), f"must be a build folder: {error!r}", AGAIN) from error
    return Build(
        name=name,
        folder=folder,
        board=report["board"].text(),
        board_file=sealed.read(GENERIC, LARGEST_BOARD) if own else b"",
        clock_mhz=report["clock_mhz"].number(1, 1000),
        array=array,
        cycles=report["totals"]["cycles"].integer(1, MOST_CYCLES),
        layers=tuple(row["name"].text() for row in report["layers"].entries() if row["op"].value != "start-up"),
        memory=memory.value,
        head=head,
        input=kind,
        pixels=pixels,
        tiles=_tiles(graph["tiles"]),
        trust=trust,
        top=sealed.read("top.v"),
        cells=sealed.read(CELLS) if CELLS in sealed.digests or os.path.lexists(cells) else b"",
        contents=contents,
    )


def _pixels(graph: Entry, kind: TensorType, model: str) -> PixelInput:
    """What the pixels of a model's pictures and its classes are, from graph.json."""
    metadata = {key: text.text() for key, text in graph["metadata"].items()}
    classes = graph["tensors"][graph["head"]["tensor"].text()]["shape"].entries(3, 3)[2].integer(1)
    meaning = of_metadata(metadata, kind.shape[2], model).meaning
    return PixelInput(meaning, Quantizer(kind.scale[0], kind.low, kind.high), declared(metadata, classes, model))


def _trust(graph: Entry, model: str) -> Trust | None:
    """What was fitted to the model, from graph.json: `hwseg compile` has compared it with the network."""
    if TRUST not in graph["metadata"].value:
        return None
    channels = graph["tensors"][graph["head"]["tensor"].text()]["shape"].entries(3, 3)[2].integer(1)
    return parse(graph["metadata"][TRUST].text(), channels, f"{model}, metadata {TRUST}")


def _tiles(entry: Entry) -> Mapping[str, Any]:
    """How pictures may be cut into tiles, or why they may not: `hwseg.reach`, from graph.json."""
    if "refused" in entry.value:
        return {"refused": entry["refused"].text()}
    return of_json(entry.value, f"{entry.place}: {entry.name}", AGAIN).json()


def _head(entry: Mapping[str, Any]) -> Head:
    """The head of graph.json, whose rationals are text."""
    scale, offset = (tuple(map(Fraction, entry[name])) for name in ("scale", "offset"))
    return Head(entry["tensor"], scale, offset, entry["activation"], Fraction(entry["threshold"]))


def _tensor_type(entry: Mapping[str, Any]) -> TensorType:
    height, width, channels = entry["shape"]
    return TensorType((height, width, channels), entry["low"], entry["high"], tuple(map(Fraction, entry["scale"])))


def _require_fit(builds: Sequence[Build], board: Board) -> None:
    first = builds[0]
    require_bought(board)
    for build in builds:
        place, cure = str(build.folder), f"compile again with {board.choice}"
        own = _compiled_for(build, cure)
        require(
            own.device == board.device, place, f"was compiled for {own.device}, {board.name} has {board.device}", cure
        )
        require(
            own.ddr_bits == board.ddr_bits,
            place,
            f"was compiled for {own.ddr_bits}-bit DDR ({own.name}), {board.name} has {board.ddr_bits}-bit",
            cure,
        )
        rate, granted = own.ddr_bytes_per_second / 1e9, board.ddr_bytes_per_second / 1e9
        require(
            own.ddr_bytes_per_second == board.ddr_bytes_per_second,
            place,
            f"was compiled for a DDR of {rate:g} GB/s ({own.name}), {board.name} has {granted:g}",
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
            abs(build.clock_mhz - first.clock_mhz) < CLOCK_TOLERANCE,
            place,
            f"was compiled for {build.clock_mhz:g} MHz, {first.folder} for {first.clock_mhz:g}",
            f"compile again with --clock-mhz {first.clock_mhz:g}: a package has one clock",
        )
        require(
            build.top == first.top,
            place,
            f"is for the array {build.array}, {first.folder} is for {first.array}",
            "compile all models of a package for one array with one version of hwseg",
        )
    names = [build.name for build in builds]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, "builds", f"must have different names, {twice} comes twice", "rename the model's file")


def require_bought(board: Board) -> None:
    """Refuse what is any board with a part: it has no pins of its own, and perhaps other memory."""
    names = [name for part in part_names() if part == board.name for name in board_names(part)]
    rule = f"must be a board that there is, {board.name} is any with an {board.device}"
    require(not names, "--board", rule, f"use {', '.join(names)}, or a board file of your own")


def _compiled_for(build: Build, cure: str) -> Board:
    if build.board_file:
        return own_board(build.board_file, str(build.folder / GENERIC))
    known = build.board in board_names()
    require(known, str(build.folder), f"was compiled for {build.board}, which is no board any more", cure)
    return load_board(build.board)


def files(builds: Sequence[Build], board: Board, note: str = "") -> dict[str, bytes]:
    """Every file of the package by its path."""
    first = builds[0]
    top = first.top.decode()
    texts = {
        "README.md": readme(board, [build.name for build in builds], first.array, note),
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
        content[f"hardware/{CELLS}"] = first.cells
    for build in builds:
        folder = f"models/{build.name}"
        content |= {f"{folder}/{name}": build.contents[name] for name in MODEL_FILES}
        content[f"{folder}/{MODEL}"] = _json(_model_json(build)).encode()
    return content


def aligned(size: int) -> int:
    """The next multiple of a page."""
    return -(-size // PAGE) * PAGE


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def _package_json(builds: Sequence[Build], board: Board) -> dict[str, Any]:
    config = parse_array(builds[0].array)
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
    images = {what: build.contents[build.memory[what]["file"]] for what in ("program", "weights")}
    judge = {} if build.trust is None else {TRUSTED: packed(build.trust, *linear(head, channels))}
    return judge | {
        "format": FORMAT,
        "name": build.name,
        "memory": {key: value for key, value in build.memory.items() if key != "tensors"},
        "sha256": {what: hashlib.sha256(content).hexdigest() for what, content in images.items()},
        KEY: build.pixels.json(),
        TILES: build.tiles,
        "head": {
            "factors": [int(one) - int(zero) for one, zero in zip(at_one, at_zero, strict=True)],
            "addends": [int(zero) for zero in at_zero],
            "scale": [float(head.scale[c % len(head.scale)]) for c in range(channels)],
            "offset": [float(head.offset[c % len(head.offset)]) for c in range(channels)],
            "activation": head.activation,
        },
        "cycles": build.cycles,
        "layers": list(build.layers),
    }


def archive(folder: Path, target: Path) -> None:
    """A package in one ZIP file: what its manifest lists, as it lists it, and the manifest."""
    sealed = Sealed.of(folder, CURE)
    content = {name: sealed.read(name) for name in sealed.digests}
    write_whole(target, zipped(content | {MANIFEST: read_regular(folder / MANIFEST)}))
