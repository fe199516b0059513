"""`hwseg report`: what a build costs and how fast it is."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print report.json.")
def command(build: Path, as_json: bool) -> None:
    """Show the layers, totals and resources of a BUILD folder; report.html in it has the charts."""
    from hwseg.compile.report import read_report

    report = read_report(build)
    if as_json:
        click.echo((build / "report.json").read_text(), nl=False)
        return
    from hwseg.commands.compile import show

    show(report)
    click.echo(f"charts: {build / 'report.html'}")
