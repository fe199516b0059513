"""`hwseg compile`: a QONNX model becomes Verilog, a program, weights and a report."""

from __future__ import annotations

from pathlib import Path

import click

from hwseg.commands.options import input_option, output_option, page_option, tool_option


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Build folder to write.")
@click.option(
    "--board", default="zynq7020", show_default=True, help="Board to compile for: a name, or a board file (.toml)."
)
@click.option("--clock-mhz", type=float, help="Clock of the engine; default: the board's.")
@click.option(
    "--array", default="auto", show_default=True, help="auto, a preset, or output channels x pixels x input channels."
)
@tool_option()
@click.option(
    "--core",
    type=click.Choice(["table", "table_dsp", "merged"]),
    default="table",
    show_default=True,
    help="Product generator.",
)
@click.option(
    "--planes",
    type=int,
    default=8,
    show_default=True,
    help="Accuracy dial: the most digit planes of an activation; fewer take fewer cycles.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Picture whose activity the energy report counts; it is stored in the build.",
)
@page_option()
@input_option()
@output_option()
@click.option("--size", help="Height x width of pictures, such as 512x512, if another than the file's; weights stay.")
@click.option("--explain", "explained", is_flag=True, help="Say where each layer's cycles go and what would help.")
@click.option("--synth", is_flag=True, help="Measure resources with yosys (minutes).")
@click.option("--allow-inexact", is_flag=True, help="Accept requantizers that differ from the model, and count them.")
def command(
    model: Path,
    out: Path,
    board: str,
    clock_mhz: float | None,
    array: str,
    tool: str | None,
    core: str,
    planes: int,
    calibrate: Path | None,
    page: int | None,
    meaning: str,
    output: str,
    size: str | None,
    explained: bool,
    synth: bool,
    allow_inexact: bool,
) -> None:
    """Turn a QONNX MODEL into Verilog, program, weights and a report."""
    from hwseg.builds.build import compile_model
    from hwseg.commands.tables import show, show_energy_of_frame, show_explanations
    from hwseg.commands.terminal import Phases
    from hwseg.errors import require
    from hwseg.quant.read.reshape import parse_size

    require(page is None or calibrate is not None, "--page", "chooses a page of --calibrate's picture", "leave it out")
    with Phases("starting") as phases:
        build = compile_model(
            model,
            board,
            clock_mhz,
            array,
            out=out,
            synth=synth,
            allow_inexact=allow_inexact,
            core=core,
            planes=planes,
            calibrate=calibrate,
            page=page,
            meaning=meaning,
            output=output,
            size=None if size is None else parse_size(size),
            progress=phases,
            tool=tool,
        )
    show(build.report)
    show_energy_of_frame(build.report)
    if explained:
        show_explanations(build.program.explain())
        click.echo(f"timeline: {build.path / 'timeline.svg'}, down to single instructions in report.html")
    click.echo(f"wrote {build.path}")
