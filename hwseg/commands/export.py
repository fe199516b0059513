"""`hwseg export`: a trained or converted network becomes a QONNX file of fixed size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from hwseg.commands.options import tool_option
from hwseg.errors import HwsegError, require
from hwseg.files import require_unread

Size = tuple[int, int]


@click.command("export")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The .onnx file to write.  [model.onnx in the run]")
@click.option(
    "--size",
    help="Height x width of the pictures, such as 256x256, or auto: the tiles whose predicted cycles for a "
    "pixel of the picture are near the lowest.  [as trained or converted]",
)
@click.option("--picture", help="Height x width of the pictures that --size auto is for.  [large ones]")
@click.option("--board", default="zynq7020", show_default=True, help="Board that --size auto is for: a name or a file.")
@click.option("--array", default="auto", show_default=True, help="Array that --size auto is for, as of hwseg compile.")
@tool_option()
@click.option("--name", help="Name of the network in the file; default: the file's.")
def command(
    source: Path,
    out: Path | None,
    size: str | None,
    picture: str | None,
    board: str,
    array: str,
    tool: str | None,
    name: str | None,
) -> None:
    """Write SOURCE as QONNX: a run, a checkpoint, or an exported .onnx file (for another size).

    Runs are of `hwseg train`, `adapt` or `search`, checkpoints of these or of `hwseg quantize`.

    The same network gives the same bytes.  --size auto compiles some sizes, prints what a pixel of the picture costs
    with each, and takes the smallest of those within 5 % of the cheapest.
    """
    require(source.exists(), str(source), "does not exist", "give a run folder, a checkpoint or an .onnx file")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant.train import export
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg export", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    from hwseg.quant.read.reshape import parse_size

    if out is None:
        require(source.is_dir(), "-o", "is needed", "name the .onnx file to write")
        out = source / "model.onnx"
    checkpoint = source / "best.pt" if source.is_dir() else source
    require_unread(out, [checkpoint])
    rule, cure = "goes with --size auto alone", "leave it out"
    require(picture is None or size == "auto", "--picture", rule, cure)

    def write(target: Path, wanted: Size | None) -> Size:
        if source.suffix == ".onnx":
            require(wanted is not None, "--size", "is needed to export an .onnx file again")
            assert wanted is not None
            return export.resize_file(source, target, wanted)
        return _export(source, target, wanted, name or out.stem)

    if size == "auto":
        pictures = None if picture is None else parse_size(picture)
        chosen: Size | None = _cheapest(write, source, pictures, board, array, tool)
    else:
        chosen = parse_size(size) if size else None
    found = write(out, chosen)
    click.echo(f"{out}: {found[0]}x{found[1]}, {out.stat().st_size / 1e6:.2f} MB")


def _cheapest(
    write: Callable[[Path, Size | None], Size],
    source: Path,
    picture: Size | None,
    board: str,
    array: str,
    tool: str | None,
) -> Size:
    """The size that is proposed; every size that was tried is printed with its costs."""
    from rich.table import Table

    from hwseg.boards import find_board
    from hwseg.commands.terminal import Phases, console
    from hwseg.quant.read.load import load
    from hwseg.target.array import choose_array
    from hwseg.tile_size import candidates, proposed

    part = find_board(board)
    config = choose_array(array, "table", part, tool)
    with TemporaryDirectory(prefix="hwseg-size-") as folder, Phases("reading the network") as phases:
        path = source
        if source.suffix != ".onnx":
            path = Path(folder) / f"{source.stem}.onnx"
            write(path, None)
        found = candidates(load(path), config, part, picture, phases)
    best = proposed(found)
    table = Table("tile", box=None, pad_edge=False)
    for heading in ("cycles", "beyond the picture", "cycles per pixel of it"):
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    for one in found:
        costs = (f"{one.cycles:,}", f"{one.per_pixel:.2f}") if not one.refused else ("", "")
        said = "taken" if one is best else one.refused
        table.add_row(f"{one.size[0]}x{one.size[1]}", costs[0], f"{one.surplus:.1%}", costs[1], said)
    console().print(table)
    return best.size


def _export(source: Path, out: Path, size: Size | None, name: str) -> Size:
    from hwseg.quant.train.checkpoint import load_network
    from hwseg.quant.train.export import export_qonnx

    checkpoint = source / "best.pt" if source.is_dir() else source
    if source.is_dir() and (source / "last.pt").exists() and not checkpoint.exists():
        raise HwsegError(str(source), "has no folded network yet", "let `hwseg train --resume` finish")
    model, meta = load_network(checkpoint)
    require(bool(meta["quantized"]), str(checkpoint), "is a float network", "train with a preset other than float")
    size = size or meta["picture"]
    export_qonnx(model, out, size, meta["input"], meta["labels"], name, meta["seen"])
    return size
