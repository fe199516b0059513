"""`hwseg golden`: the model's exact result for a picture, and whether other executors compute the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from hwseg.commands.options import input_option, output_option, page_option, say_input
from hwseg.errors import require
from hwseg.files import require_unread

if TYPE_CHECKING:
    import numpy as np

    from hwseg.quant.read.referee import Comparison, Verdict


@click.command("golden")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--image", required=True, type=click.Path(path_type=Path), help="A picture, or a .npy file with the input."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the output, float32 [1, C, H, W], as .npy.")
@click.option(
    "--compare",
    type=click.Choice(["qonnx", "brevitas", "finn", "onnxruntime"]),
    help="Compare every tensor with an executor.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Brevitas network; by default MODEL with ending .pt."
)
@click.option("--fit", type=click.Choice(["crop", "resize"]), default=None, help="Bring a picture to the model's size.")
@input_option()
@output_option()
@page_option()
@click.option("--verbose", "-v", is_flag=True, help="Show every tensor, not only those that differ.")
def command(
    model: Path,
    image: Path,
    out: Path | None,
    compare: str | None,
    checkpoint: Path | None,
    fit: str | None,
    meaning: str,
    output: str,
    page: int | None,
    verbose: bool,
) -> int:
    """Run MODEL in exact integers; compare it, tensor by tensor, with executors that use floating point.

    The exit status is 1 if a difference is not explained by float32 rounding next to a tie.
    """
    from time import perf_counter

    from hwseg import golden
    from hwseg.pictures.source import chosen, is_tensor, read_input
    from hwseg.quant.read.load import load

    trained = compare == "brevitas" and output != ""
    require(not trained, "--compare brevitas", "runs the whole network, without --output", "use --compare qonnx")
    if out is not None:
        require_unread(out, [model, image, checkpoint or model.with_suffix(".pt")], "choose another --out")
    graph = chosen(load(model, output), meaning)
    q = read_input(image, graph, fit or "", page)
    if not is_tensor(image):
        say_input(graph)
    start = perf_counter()
    result = golden.run(graph, q, taps=())
    seconds = perf_counter() - start
    height, width = result.mask.shape
    share = float((result.mask > 0).mean())
    click.echo(
        f"{graph.name}: {len(graph.nodes)} operations, {height}x{width}, {seconds:.2f} s, foreground {share:.1%}"
    )
    if out is not None:
        _write(out, result.output)
    if compare is None:
        return 0
    with _only(model, output) as alone:
        verdict = _compare(alone, q, compare, checkpoint)
    _print(verdict, verbose)
    return 0 if verdict.agrees else 1


def _write(out: Path, array: np.ndarray) -> None:
    import io

    import numpy as np

    from hwseg.files import write_whole

    buffer = io.BytesIO()
    np.save(buffer, array)
    write_whole(out, buffer.getvalue())


@contextmanager
def _only(model: Path, output: str) -> Iterator[Path]:
    """A file that gives the chosen output and no other; the model itself where none is chosen."""
    from hwseg.quant.read.onnx_file import self_contained

    if not output:
        yield model
        return
    with TemporaryDirectory(prefix="hwseg-output-") as folder:
        path = Path(folder) / model.name
        path.write_bytes(self_contained(model, output))
        yield path


def _compare(model: Path, q: np.ndarray, executor: str, checkpoint: Path | None) -> Verdict:
    from hwseg.quant.read import referee

    if executor == "qonnx":
        return referee.compare(model, q, executor, referee.run_qonnx)
    if executor == "onnxruntime":
        return referee.compare(model, q, executor, referee.run_onnxruntime)
    if executor == "finn":
        from hwseg.quant.read.finn import run_finn

        return referee.compare(model, q, executor, run_finn)
    from hwseg.quant.train.executor import load_brevitas, run_brevitas

    return referee.compare(model, q, executor, run_brevitas(load_brevitas(model, checkpoint)))


def _print(verdict: Verdict, verbose: bool) -> None:
    for row in verdict.tensors:
        if row.different or row.unexplained or verbose:
            error = f", farthest {row.error:.3g} steps" if row.different else ""
            click.echo(f"  {row.kind:11} {row.tensor}: {row.different} of {row.elements} differ{error}{_own(row)}")
    kind = "power-of-two model, equality required" if verdict.exact else "float scales"
    share = f" ({verdict.different / verdict.activations:.1%})" if verdict.different else ""
    click.echo(
        f"{verdict.executor}: {len(verdict.tensors)} tensors compared ({kind}): "
        f"{verdict.different} of {verdict.activations} activations differ{share}"
    )
    if verdict.different and verdict.agrees:
        layers = [row.tensor for row in verdict.tensors if row.kind == "activation" and row.own.count]
        click.echo(
            f"  {verdict.own} were rounded to the other side of a tie, {verdict.tie:.2g} steps away at most, in "
            f"{len(layers)} layers, the first {layers[0]}; all others follow: on {verdict.executor}'s own inputs, "
            "layer by layer, hwseg computes them exactly so"
        )
    click.echo("agree" if verdict.agrees else "DISAGREE")


def _own(row: Comparison) -> str:
    """What arises in the layer that makes a tensor."""
    if not row.own.count:
        return ""
    if not row.unexplained:
        return f"; {row.own.count} in this layer, carried at most {row.own.far:.2g} steps over a tie"
    reason = "no rounding explains it" if isinf(row.own.far) else f"{row.own.far:.2g} steps from a tie"
    return f"; {row.own.count} in this layer: {reason}"
