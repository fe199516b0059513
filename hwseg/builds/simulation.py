"""A build folder on the simulated engine, and what the last such run found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwseg.builds.read import load_build
from hwseg.errors import HwsegError, require
from hwseg.files import MANIFEST, file_errors, sha256
from hwseg.sim.simulate import Progress, Simulation, simulate_program

if TYPE_CHECKING:
    from hwseg.sim.netlist import NetlistSimulation

Say = Callable[[str], None]

SIMULATION = "simulation"
FOUND = "simulation.json"
"""In the folder `SIMULATION` of a build: what `hwseg simulate` found, with the SHA-256 of the manifest it was given and
of the pictures beside it.
"""
OWNER = "hwseg-simulation"


def simulate(
    folder: Path,
    image: np.ndarray,
    *,
    latency: tuple[int, int] | None = None,
    stalls: bool | None = None,
    seed: int = 1,
    verify: bool = True,
    skip: bool = False,
    progress: Progress | None = None,
) -> Simulation:
    """Run the engine of a build on integers [H, W, C].

    latency: bounds in cycles, by default the board's fixed one.  stalls: random ones on every channel, by default when
    the bounds differ.  skip: leave out leading zero planes; cycles are then predicted for this very picture.  Raises
    HwsegError for a folder that is no build, or changed since; wrong results are no error but the result.
    """
    _, program, _ = load_build(folder, verify=verify)
    return simulate_program(
        folder, program, image, latency=latency, stalls=stalls, seed=seed, skip=skip, progress=progress
    )


def simulate_gates(
    folder: Path, image: np.ndarray, *, seed: int = 1, verify: bool = True, say: Say = lambda _: None
) -> NetlistSimulation:
    """The build's engine with the board's top level around it, synthesized to the part's cells, on integers [H, W, C].

    Minutes the first time.  Raises HwsegError as `simulate` does, and without pyosys.
    """
    from hwseg.sim.netlist import simulate_netlist

    _, program, _ = load_build(folder, verify=verify)
    return simulate_netlist(folder, program, image, seed=seed, say=say)


def simulation(build: Path) -> dict[str, Any] | None:
    """What the last simulation into the build's own folder found; None if there was none, or of an older hwseg.

    Raises HwsegError if the build has changed since.
    """
    place = build / SIMULATION / FOUND
    if not place.is_file():
        return None
    cure = "run hwseg simulate again, or remove the folder"
    try:
        with file_errors(place):
            found = json.loads(place.read_text())
        keys = ("cycles", "predicted_cycles", "mismatches", "manifest", "image")
        content = {key: found[key] for key in keys}
        overlay = found.get("sha256", {}).get("overlay")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HwsegError(str(place), "must be what hwseg simulate writes", cure) from error
    now = sha256(build / MANIFEST)
    rule = f"the build was changed since it was simulated: manifest {now[:12]}, not {str(content['manifest'])[:12]}"
    require(content["manifest"] == now, str(place), rule, cure)
    if overlay is not None:
        picture = place.with_name("overlay.png")
        require(sha256(picture) == overlay, str(picture), "is not the picture of this simulation", cure)
    return content
