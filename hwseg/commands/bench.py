"""`hwseg bench`: the figures behind the documentation, measured again."""

from __future__ import annotations

from pathlib import Path

import click

from hwseg.commands.bench_energy import energy


@click.group("bench")
def command() -> None:
    """Run the benchmarks and print their figures."""


@command.command("cores")
@click.option("--lanes", type=int, multiple=True, help="Lanes of a core; may be repeated.  [default: 9, 72, 144]")
@click.option("--bits", type=int, multiple=True, help="Length of weights and activations, 1 to 8.  [default: 4, 8]")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write them into the section `cores` of this file.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw them (needs matplotlib).")
@click.option(
    "--image", type=click.Path(path_type=Path), help="Picture whose activations are used; default: the demo's."
)
@click.option(
    "--route/--no-route",
    default=None,
    help="Place and route too, for an ECP5; default: where nextpnr-ecp5 is installed.",
)
def cores(
    lanes: tuple[int, ...],
    bits: tuple[int, ...],
    out: Path | None,
    markdown: Path | None,
    plot: Path | None,
    image: Path | None,
    route: bool | None,
) -> None:
    """Compare the cores: resources, cycles per output, toggles, on the same work in one run."""
    from hwseg.bench import cores as bench
    from hwseg.bench import figures
    from hwseg.bench import route as routing
    from hwseg.errors import require

    for value in lanes:
        require(value >= 1, "--lanes", f"must be at least 1, not {value}")
    for value in bits:
        require(value in range(1, 9), "--bits", f"must be 1 to 8, not {value}")
    lane_counts, lengths = lanes or bench.LANE_COUNTS, bits or bench.WORD_LENGTHS
    layers = figures.layers(image)
    layer = figures.typical(layers, max(lane_counts))

    def say(text: str) -> None:
        click.echo(text, err=True)

    routed = routing.installed() if route is None else route
    found = figures.document(bench.run(layer, lane_counts, lengths, routed, say), layers, layer, say)
    text = figures.markdown(found)
    click.echo(text)
    if out is not None:
        figures.write_json(out, found)
    if markdown is not None:
        figures.write_section(markdown, text)
    if plot is not None:
        figures.plot(plot, found)


command.add_command(energy)
