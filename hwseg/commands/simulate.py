"""`hwseg simulate`: a build on its simulated engine, compared with the golden model value by value and cycle by
cycle.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwseg.commands.options import input_option, page_option, say_input

if TYPE_CHECKING:
    import numpy as np

    from hwseg.sim.netlist import NetlistSimulation
    from hwseg.sim.simulate import Simulation
    from hwseg.trust.judge import Doubts


def parse_latency(text: str) -> tuple[int, int]:
    """`40` or `20:200`, in cycles."""
    from hwseg.errors import HwsegError

    low, colon, high = text.partition(":")
    try:
        return int(low), int(high) if colon else int(low)
    except ValueError as error:
        raise HwsegError("--latency", f"must be CYCLES or MIN:MAX, not {text}", "use for example 20:200") from error


@click.command("simulate")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--image", required=True, type=click.Path(path_type=Path), help="A picture, or .npy with the input tensor."
)
@click.option("--fit", type=click.Choice(["crop", "resize"]), default=None, help="Bring a picture to the model's size.")
@input_option()
@page_option()
@click.option("--out", type=click.Path(path_type=Path), help="Write the model's output, float32 [1, C, H, W], as .npy.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results as JSON.")
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="Folder for mask.png, overlay.png, simulation.json; default BUILD/simulation.",
)
@click.option("--latency", metavar="MIN:MAX", help="Memory latency in cycles; unequal bounds bring random stalls, too.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Of latency, stalls and the memory's old contents."
)
@click.option("--skip", is_flag=True, help="Leave out leading zero planes; cycles are predicted for this picture.")
@click.option(
    "--netlist",
    is_flag=True,
    help="Simulate the packaged top level as Yosys maps it to the part's cells (minutes).",
)
@click.option("--trust", is_flag=True, help="Write confidence.png, hatch deferred pixels, say whether to review.")
@click.option("--force", is_flag=True, help="Simulate even if the build's files were changed since they were written.")
def command(
    build: Path,
    image: Path,
    fit: str | None,
    meaning: str,
    page: int | None,
    out: Path | None,
    json_path: Path | None,
    pictures: Path | None,
    latency: str | None,
    seed: int,
    skip: bool,
    netlist: bool,
    trust: bool,
    force: bool,
) -> int:
    """Simulate BUILD's Verilog on a picture and compare every feature map with the golden model.

    The exit status is 1 if a value or, with a fixed latency, a cycle count differs.

    With --netlist the gates that the part gets run at the ports of its processing system, and must end in the same
    cycle with the same memory as the Verilog in the same place.
    """
    from hwseg.builds.read import judge_of_build, load_graph, require_build
    from hwseg.builds.simulation import simulate, simulate_gates
    from hwseg.commands.terminal import Phases, visible
    from hwseg.errors import require
    from hwseg.files import MANIFEST, sha256
    from hwseg.locks import in_use
    from hwseg.pictures.source import chosen, is_tensor, read_input
    from hwseg.trust.judge import Doubts

    bounds = None if latency is None else parse_latency(latency)
    others = {"--latency": latency, "--skip": skip, "--trust": trust, "--pictures": pictures}
    for name, given in others.items():
        require(not (netlist and given), name, "does not go with --netlist", f"leave out {name} or --netlist")
    require_build(build, verify=False)
    folder = pictures or build / "simulation"
    with in_use(build, shared=True), in_use(folder):
        require_build(build, verify=not force)
        graph = chosen(load_graph(build), meaning)
        q = read_input(image, graph, fit or "", page)
        if not is_tensor(image):
            say_input(graph)
        judge = judge_of_build(build) if trust else None
        with Phases("building the simulator") as phases:

            def progress(cycles: int, predicted: int, layer: str) -> None:
                share = min(99, 100 * cycles // predicted)
                phases(f"{layer}: {cycles:,} of about {predicted:,} cycles ({share} %)")

            if netlist:
                gates = simulate_gates(build, q, seed=seed, verify=False, say=phases)
            else:
                result = simulate(build, q, latency=bounds, seed=seed, verify=False, skip=skip, progress=progress)
        if netlist:
            _told(gates)
            _written(gates.output, out, netlist_json(gates), json_path)
            return 0 if gates.passed else 1
        _print(result)
        found = {**as_json(result, {}), "image": image.name, "manifest": sha256(build / MANIFEST)}
        doubts = None if judge is None else Doubts.of(judge, result.sums, result.mask)
        if doubts is not None:
            found["trust"] = doubts.json()
            click.echo(visible(doubts.sentence()))
        paths = keep(folder, drawn(graph, q, result.mask, doubts), found)
    _written(result.output, out, as_json(result, paths), json_path)
    click.echo(visible(f"mask {paths['mask']}, overlay {paths['overlay']}"))
    return 0 if result.passed else 1


def _written(output: np.ndarray, out: Path | None, found: dict[str, Any], json_path: Path | None) -> None:
    """The model's output and the results, where they were asked for."""
    from hwseg.files import write_whole

    if out is not None:
        write_whole(out, _npy(output))
    if json_path is not None:
        write_whole(json_path, (json.dumps(found, indent=1) + "\n").encode())


def _told(found: NetlistSimulation) -> None:
    """Say what the netlist is and what it computed."""
    from hwseg.commands.terminal import visible
    from hwseg.toolchain.yosys import FLIP_FLOPS, LUTS_PER_RAM

    kinds = Counter(found.cells)
    memories = sum(luts * kinds[kind] for kind, luts in LUTS_PER_RAM.items())
    luts = memories + sum(kinds[f"LUT{inputs}"] for inputs in range(1, 7))
    flip_flops = sum(kinds[kind] for kind in FLIP_FLOPS)
    blocks = kinds["RAMB36E1"] + kinds["RAMB18E1"] / 2
    if not found.finished:
        click.echo("the engine did not finish, or broke a rule of the bus")
    if found.first_mismatch is not None:
        click.echo(visible(found.first_mismatch))
    if not found.equal_memory:
        click.echo("the netlist and the Verilog left different bytes in memory")
    equal = "equal" if found.cycles == found.verilog_cycles else "different"
    click.echo(
        f"netlist of {luts:,} LUTs, {flip_flops:,} flip-flops, {kinds['CARRY4']:,} CARRY4, {blocks:g} block RAMs, "
        f"{kinds['DSP48E1']} DSP slices: {found.mismatches} mismatches, {found.cycles:,} cycles, the Verilog "
        f"{found.verilog_cycles:,} ({equal}); simulated in {found.seconds:.1f} s, simulators built in "
        f"{found.build_seconds:.1f} s"
    )


def netlist_json(found: NetlistSimulation) -> dict[str, Any]:
    """What --json writes with --netlist."""
    names = ("passed", "finished", "mismatches", "cycles", "verilog_cycles", "equal_memory")
    first = None if found.first_mismatch is None else str(found.first_mismatch)
    return {name: getattr(found, name) for name in names} | {
        "first_mismatch": first,
        "cells": dict(sorted(found.cells.items())),
        "seconds": round(found.seconds, 2),
        "build_seconds": round(found.build_seconds, 2),
    }


def as_json(result: Simulation, paths: dict[str, Path]) -> dict[str, Any]:
    """What --json writes; `mask` and `overlay` are paths."""
    return {
        "passed": result.passed,
        "finished": result.finished,
        "mismatches": result.mismatches,
        "first_mismatch": None if result.first_mismatch is None else str(result.first_mismatch),
        "cycles": result.cycles,
        "predicted_cycles": result.predicted_cycles,
        "exact": result.exact,
        "layers": [
            {
                "name": layer.name,
                "mismatches": layer.mismatches,
                "cycles": layer.cycles,
                "predicted_cycles": layer.predicted_cycles,
                "feed_toggles": layer.feed_toggles,
            }
            for layer in result.layers
        ],
        "counters": dict(result.counters),
        "predicted_skipped": result.predicted_skipped,
        "seconds": round(result.seconds, 2),
        "build_seconds": round(result.build_seconds, 2),
        **{name: str(path) for name, path in paths.items()},
    }


def drawn(graph: Any, q: np.ndarray, mask: np.ndarray, doubts: Doubts | None = None) -> dict[str, bytes]:
    """The mask (0 and 255, or class numbers with a palette) and the overlay (its outline on the picture) as PNG.

    With doubts: the confidence, too, and deferred pixels hatched.
    """
    from hwseg.pictures.draw import confidence_png, mask_png, overlay_png
    from hwseg.pictures.source import labels_of

    labels = labels_of(graph)
    deferred = None if doubts is None else doubts.deferred
    overlay = overlay_png(q, graph.types[graph.input], mask, labels=labels, deferred=deferred)
    more = {} if doubts is None else {"confidence": confidence_png(doubts.confidence)}
    return {"mask": mask_png(mask, labels), "overlay": overlay, **more}


def keep(folder: Path, pictures: dict[str, bytes], found: dict[str, Any]) -> dict[str, Path]:
    """Write mask.png, overlay.png and simulation.json, which has their SHA-256; the pictures' paths.

    A folder that is new or an older result is replaced as a whole; in any other folder file by file.
    """
    from hwseg.builds.simulation import FOUND, OWNER
    from hwseg.files import build_folder, file_errors, owner_of, write_whole

    digests = {name: hashlib.sha256(content).hexdigest() for name, content in pictures.items()}
    contents = {f"{name}.png": content for name, content in pictures.items()}
    contents[FOUND] = (json.dumps({**found, "sha256": digests}, indent=1) + "\n").encode()
    with file_errors(folder):
        other = folder.is_dir() and any(folder.iterdir()) and owner_of(folder) != OWNER
    if other:
        for name, content in contents.items():
            write_whole(folder / name, content)
    else:
        with build_folder(folder, OWNER, manifest=False) as scratch:
            for name, content in contents.items():
                (scratch / name).write_bytes(content)
    return {name: folder / f"{name}.png" for name in pictures}


def _npy(array: np.ndarray) -> bytes:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _print(result: Simulation) -> None:
    from rich.table import Table

    from hwseg.commands.terminal import console, visible

    table = Table(box=None, header_style="bold")
    for column, justify in (("layer", "left"), ("mismatches", "right"), ("cycles", "right"), ("predicted", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for layer in result.layers:
        table.add_row(layer.name, f"{layer.mismatches:,}", f"{layer.cycles:,}", f"{layer.predicted_cycles:,}")
    table.add_row("total", f"{result.mismatches:,}", f"{result.cycles:,}", f"{result.predicted_cycles:,}", style="bold")
    console().print(table)
    if not result.finished:
        click.echo("the engine did not finish, or reported a bus error")
    if result.first_mismatch is not None:
        click.echo(visible(result.first_mismatch))
    if result.predicted_skipped or result.counters["skipped"]:
        skipped = result.counters["skipped"]
        click.echo(f"{skipped:,} digit planes of windows left out, predicted {result.predicted_skipped:,}")
    verdict = "equal" if result.cycles == result.predicted_cycles else "different"
    if not result.exact:
        verdict = "for the largest latency without stalls; random ones have no prediction"
    click.echo(
        f"{result.mismatches} mismatches, {result.cycles:,} cycles, predicted {result.predicted_cycles:,} ({verdict}); "
        f"simulated in {result.seconds:.1f} s, simulator built in {result.build_seconds:.1f} s"
    )
