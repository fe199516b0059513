"""python -m tests.fuzz --graphs 10000 --programs 5000 --verilog 200 --seed 1

Draws graphs, compares, and prints what was drawn; `--show SEED` prints one.  Ends with 1 if anything differs.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fuzz.campaign import Record, Stages, examine, spread, told
from tests.fuzz.draw import draw
from tests.fuzz.refusals import unknown
from tests.fuzz.tables import summary

SEEDS_OF_A_CAMPAIGN = 1_000_000
"""Campaign `--seed` n draws the seeds from n times this on."""
AT_ONCE = 8


@click.command()
@click.option("--graphs", default=300, show_default=True, help="Drawn: golden model and dial against the executor.")
@click.option("--programs", default=75, show_default=True, help="Of these, compiled and run on the machine.")
@click.option("--verilog", default=0, show_default=True, help="Of these, simulated.")
@click.option("--seed", default=0, show_default=True, help="Of the campaign.")
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--shrink", default=60.0, show_default=True, help="Seconds for the smallest graph of each finding.")
@click.option("--show", type=int, help="Print the recipe of one graph's seed, and examine it alone.")
def main(graphs: int, programs: int, verilog: int, seed: int, jobs: int, shrink: float, show: int | None) -> None:
    """Random quantized graphs, computed in several ways that must agree."""
    console = Console(highlight=False, soft_wrap=True)
    if show is not None:
        sys.exit(shown(console, show, Stages(program=programs > 0, verilog=verilog > 0), shrink))
    first = SEEDS_OF_A_CAMPAIGN * seed
    chosen = spread(graphs, programs, verilog)
    jobs_of = [(first + number, chosen(number)) for number in range(graphs)]
    total = Record()
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("graphs", total=graphs)
        try:
            for record in results(jobs_of, jobs):
                total.add(record)
                for number, finding in record.findings:
                    progress.print(f"seed {number}: {finding}", markup=False)
                progress.update(task, advance=record.graphs, description=f"graphs, {len(total.findings)} differ")
        except KeyboardInterrupt:
            progress.print("interrupted: this is what was done until then")
    for number, finding in total.findings[:20]:
        console.print(f"\n{told(number, finding, chosen(number - first), shrink)}", markup=False)
    console.print(summary(total, time.monotonic() - started), markup=False)
    new = unknown(total.refusals)
    for line in new:
        console.print(f"a reason that nobody knows: {line}", markup=False)
    sys.exit(1 if total.findings or new else 0)


def shown(console: Console, seed: int, stages: Stages, shrink: float) -> int:
    """One graph alone."""
    console.print(str(draw(seed)), markup=False)
    record = examine(seed, stages)
    for refusal in record.refusals:
        console.print(f"refused: {refusal.place}: {refusal.rule}", markup=False)
    for _, finding in record.findings:
        console.print(told(seed, finding, stages, shrink), markup=False)
    return 1 if record.findings else 0


def results(jobs_of: list[tuple[int, Stages]], jobs: int) -> Iterator[Record]:
    """Records as they come; with several processes in batches."""
    if jobs == 1:
        yield from (examine(seed, stages) for seed, stages in jobs_of)
        return
    with ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        batches = [jobs_of[start : start + AT_ONCE] for start in range(0, len(jobs_of), AT_ONCE)]
        waiting = [pool.submit(together, batch) for batch in batches]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for one in waiting:
                one.cancel()


def together(batch: list[tuple[int, Stages]]) -> Record:
    total = Record()
    for seed, stages in batch:
        total.add(examine(seed, stages))
    return total


if __name__ == "__main__":
    main()
