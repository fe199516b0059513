"""`hwseg demo`: a real picture, segmented by simulated hardware, and the proof that it equals the model."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("hwseg-demo"), help="Folder to write.")
def command(out: Path) -> int:
    """Segment a real microscopy picture in simulated hardware, and compare it with the model and a hand-drawn mask.

    Compiles a shipped network, simulates its Verilog on a crop of the picture, compares every feature map and the
    cycles, and writes picture, mask and overlay into the folder.  The exit status is 1 if anything differs.
    """
    from hwseg.demo import run

    return int(not run(out))
