"""`hwseg compile`: a QONNX model becomes Verilog, a program, weights and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hwseg.compile.explain import Explanation


LEAST_SHARE = 0.005
"""Of a layer's cycles: what is less is not shown."""


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Build folder to write.")
@click.option("--board", default="zynq7020", show_default=True, help="Board to compile for.")
@click.option("--clock-mhz", type=float, help="Clock of the engine; default: the board's.")
@click.option(
    "--array", default="auto", show_default=True, help="auto, a preset, or output channels x pixels x input channels."
)
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
@click.option("--explain", "explained", is_flag=True, help="Say where each layer's cycles go and what would help.")
@click.option("--synth", is_flag=True, help="Measure resources with yosys (minutes).")
@click.option("--allow-inexact", is_flag=True, help="Accept requantizers that differ from the model, and count them.")
def command(
    model: Path,
    out: Path,
    board: str,
    clock_mhz: float | None,
    array: str,
    core: str,
    planes: int,
    calibrate: Path | None,
    explained: bool,
    synth: bool,
    allow_inexact: bool,
) -> None:
    """Turn a QONNX MODEL into Verilog, program, weights and a report."""
    from rich.console import Console
    from rich.markup import escape

    from hwseg.commands.report import show_energy_of_frame
    from hwseg.compile.api import compile_model

    with Console(stderr=True).status("starting") as status:
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
            progress=lambda phrase: status.update(escape(phrase)),
        )
    show(build.report)
    show_energy_of_frame(build.report)
    if explained:
        show_explanations(build.program.explain())
        click.echo(f"timeline: {build.path / 'timeline.svg'}, down to single instructions in report.html")
    click.echo(f"wrote {build.path}")


def show_explanations(rows: Sequence[Explanation]) -> None:
    """Shares of each layer's cycles on the terminal; layers of one chain have the same number."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for name in ("chain", "rows", "busy", "lanes"):
        table.add_column(name, justify="right")
    table.add_column("lost to")
    table.add_column("bound by")
    table.add_column("what would help", overflow="fold")
    for row in rows:
        lost = sorted(((share, cause) for cause, share in row.shares.items() if cause != "compute"), reverse=True)
        table.add_row(
            row.layer.replace("[", "\\["),
            str(row.chain) if row.fused else "",
            str(row.rows),
            f"{100 * row.shares['compute']:.0f} %",
            f"{100 * row.lanes:.0f} %",
            ", ".join(f"{cause} {100 * share:.0f} %" for share, cause in lost[:2] if share >= LEAST_SHARE),
            row.bound,
            row.help,
        )
    Console().print(table)


def show(report: Mapping[str, Any]) -> None:
    """Layers and totals on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("operation")
    for name in ("output", "planes", "cycles", "utilization", "KB moved", "GOPS"):
        table.add_column(name, justify="right")
    for row in report["layers"]:
        if "output_shape" not in row:
            table.add_row(row["name"], "", "", "", f"{row['cycles']:,}", "", "", "")
            continue
        table.add_row(
            row["name"].replace("[", "\\["),
            row["op"],
            "x".join(map(str, row["output_shape"])),
            str(row["planes"]),
            f"{row['cycles']:,}",
            f"{100 * row['utilization']:.0f} %",
            f"{row['ddr_bytes'] / 1e3:,.1f}",
            f"{row['gops']:.1f}",
        )
    console, totals = Console(), report["totals"]
    console.print(table)
    console.print(
        f"{report['array']} at {report['clock_mhz']:g} MHz: {totals['cycles']:,} cycles, "
        f"{totals['latency_ms']:.3f} ms, {totals['fps']:.1f} frames/s, {totals['gops']:.1f} GOPS, "
        f"{100 * totals['utilization']:.0f} % of peak"
    )
    used = []
    for name, row in report["resources"].items():
        value, kind = (row["estimated"], "estimated") if row["measured"] is None else (row["measured"], "measured")
        used.append(f"{name.upper()} {value:,} of {row['available']:,} ({kind})")
    console.print(", ".join(used))
    for sentence in report["warnings"]:
        console.print(f"[yellow]{sentence}[/]")
    for name, count in report["inexact"].items():
        console.print(f"{name}: {count} steps differ from the exact ones")
