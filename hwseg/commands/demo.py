"""`hwseg demo`: a real picture, segmented by simulated hardware, and the proof that it equals the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from hwseg.demo import Segmented


@click.command("demo")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("hwseg-demo"), help="Folder to write.")
def command(out: Path) -> int:
    """Segment a real microscopy picture by tiles, one of them in simulated hardware; compare it with a hand-drawn mask.

    Compiles a shipped network for tiles, simulates its Verilog on one of them, compares every feature map and the
    cycles, computes the other tiles in the golden model and compares all with the picture computed at once.  Picture,
    mask and overlay are written into the folder.  The exit status is 1 if anything differs.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from hwseg.commands.terminal import console as plain_console
    from hwseg.commands.terminal import visible
    from hwseg.demo import run

    console = plain_console()
    columns = (
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None, visible=False)

        def show(done: int, total: int, step: str) -> None:
            bars.update(task, completed=done, total=total, description=visible(step), visible=True)

        result = run(out, lambda line: console.print(line, highlight=False, soft_wrap=True), show)
    _report(console, result, out)
    return int(not result.passed)


def _report(console: Console, result: Segmented, out: Path) -> None:
    from rich.table import Table

    simulation = result.simulation
    table = Table("layer", box=None, pad_edge=False)
    for heading in ("mismatches", "cycles", "predicted"):
        table.add_column(heading, justify="right")
    for layer in simulation.layers:
        table.add_row(layer.name, str(layer.mismatches), f"{layer.cycles:,}", f"{layer.predicted_cycles:,}")
    table.add_row("total", str(simulation.mismatches), f"{simulation.cycles:,}", f"{simulation.predicted_cycles:,}")
    console.print(table)
    if simulation.first_mismatch is not None:
        console.print(f"first mismatch: {simulation.first_mismatch}", highlight=False, soft_wrap=True)
    milliseconds = simulation.cycles / result.clock_mhz / 1000
    verdict = "equal to the model, every value and every cycle" if simulation.passed else "NOT equal to the model"
    grid, (rows, columns) = result.grid, result.tile.place
    more = f"{100 * grid.surplus:.0f} % more pixels than its own"
    place = f"rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"
    for line in (
        f"simulated: the tile that gives {place}; {verdict}; {milliseconds:.2f} ms at {result.clock_mhz:g} MHz",
        f"simulator: compiled in {simulation.build_seconds:.0f} s, run in {simulation.seconds:.0f} s",
        f"picture: {len(grid)} tiles of {grid.tile[0]}x{grid.tile[1]}, {more}; all others in the golden model",
        f"{result.different} of {result.mask.size:,} pixels differ from the picture computed at once",
        f"Dice against the hand-drawn mask, where no training picture shows the same: {result.dice:.4f}",
        *([] if result.doubts is None else [result.doubts.sentence()]),
        f"wrote {out / 'demo.png'}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
