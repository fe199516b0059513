"""`hwseg export`: a trained network becomes a QONNX file of fixed size."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from hwseg.errors import HwsegError, require


@click.command("export")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The .onnx file to write.  [model.onnx in the run]")
@click.option("--size", help="Height x width of the pictures, such as 256x256; default: that of the training crops.")
@click.option("--name", help="Name of the network in the file; default: the file's.")
def command(source: Path, out: Path | None, size: str | None, name: str | None) -> None:
    """Write SOURCE as QONNX: a run of `hwseg train`, a checkpoint, or an exported .onnx file (for another size).

    The same network gives the same bytes.
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
    wanted = parse_size(size) if size else None
    if source.suffix == ".onnx":
        require(wanted is not None, "--size", "is needed to export an .onnx file again")
        assert wanted is not None
        found = export.resize_file(source, out, wanted)
    else:
        found = _export(source, out, wanted, name)
    click.echo(f"{out}: {found[0]}x{found[1]}, {out.stat().st_size / 1e6:.2f} MB")


def _export(source: Path, out: Path, size: tuple[int, int] | None, name: str | None) -> tuple[int, int]:
    from hwseg.quant.train.checkpoint import load_network
    from hwseg.quant.train.export import export_qonnx

    checkpoint = source / "best.pt" if source.is_dir() else source
    if source.is_dir() and (source / "last.pt").exists() and not checkpoint.exists():
        raise HwsegError(str(source), "has no folded network yet", "let `hwseg train --resume` finish")
    model, meta = load_network(checkpoint)
    require(bool(meta["quantized"]), str(checkpoint), "is a float network", "train with a preset other than float")
    size = size or (int(meta["resize"] or meta["size"]),) * 2
    export_qonnx(model, out, size, meta["input"], meta["labels"], name or out.stem, meta["seen"])
    return size
