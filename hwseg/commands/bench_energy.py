"""`hwseg bench energy`: the default array's energy and its rivals', through one estimator in one run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("energy")
@click.option("--clock-mhz", type=float, default=150.0, show_default=True, help="Clock of the engine.")
@click.option("--coefficients", type=click.Path(path_type=Path), help="Coefficient file; default: hwseg's own.")
@click.option("--rivals/--no-rivals", default=True, show_default=True, help="Every core on the same work (minutes).")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write them into the section `energy` of this file.")
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    help="Measure the cores' events again and write this file (hwseg/power/cores.toml); nothing else.",
)
def energy(
    clock_mhz: float,
    coefficients: Path | None,
    rivals: bool,
    out: Path | None,
    markdown: Path | None,
    calibrate: Path | None,
) -> None:
    """Energy and GOPS/W at every boundary, of this array and of rival cores on the same work."""
    from hwseg.bench import energy_report
    from hwseg.bench.figures import write_json
    from hwseg.errors import require
    from hwseg.power.coefficients import FILE, load
    from hwseg.toolchain import yosys

    require(1 <= clock_mhz <= 1000, "--clock-mhz", f"must be from 1 to 1000, is {clock_mhz:g}", "use 150")
    needs = rivals or calibrate is not None
    cure = "install hwseg[synth], or use --no-rivals"
    require(not needs or yosys.version() is not None, "hwseg bench energy", "needs pyosys, which is not there", cure)
    chosen = load(coefficients or FILE)

    def say(text: str) -> None:
        click.echo(text, err=True)

    if calibrate is not None:
        from hwseg.bench.energy_calibrate import cores_text
        from hwseg.files import write_whole

        write_whole(calibrate, cores_text(chosen, say).encode())
        click.echo(f"wrote {calibrate}")
        return
    found = energy_report.measure(chosen, clock_mhz, rivals, say)
    text = energy_report.markdown(found)
    click.echo(text)
    if out is not None:
        write_json(out, found)
    if markdown is not None:
        energy_report.write(markdown, text)
