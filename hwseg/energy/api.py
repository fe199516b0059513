"""From a build folder to its energy: what `hwseg report` calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hwseg.compile.api import Program
from hwseg.compile.report import STARTUP
from hwseg.energy.engine import Data, events
from hwseg.energy.traffic import startup, traffic
from hwseg.power.activity import LayerActivity, SourceKind
from hwseg.power.coefficients import Coefficients, load
from hwseg.power.cores import core_activity
from hwseg.power.estimate import TEMPERATURE, EnergyReport, estimate

Progress = Callable[[str], None]

DEFAULT = Data(lane_toggles=0.25, feed_toggles=0.35, ones=0.3)
"""Where no picture was looked at."""

DEFAULT_ERROR = 0.5
"""Relative error of what follows from `DEFAULT`."""


def _silent(_: str) -> None:
    """No progress."""


def energy_of(
    build: Path,
    images: Path | None = None,
    *,
    full: bool = False,
    temperature: float = TEMPERATURE,
    coefficients: Coefficients | None = None,
    progress: Progress = _silent,
) -> EnergyReport:
    """Energy of a frame of a build folder; arguments as of `activity_of` and `hwseg.power.estimate.estimate`."""
    from hwseg.sim.simulate import load_build

    _, program, report = load_build(build)
    activities = activity_of_program(program, progress=progress)
    return estimate(activities, coefficients or load(), float(report["clock_mhz"]), temperature)


def activity_of_program(program: Program, *, progress: Progress = _silent) -> tuple[LayerActivity, ...]:
    """Start-up, then every layer, as in report.json."""
    timing, config = program.timing(), program.config
    counts = traffic(program.program, timing, config)
    core = core_activity(config.core, config.lanes)
    none = Data(0.0, 0.0, 0.0)
    first = startup(timing)
    source: SourceKind = "default"
    found = [
        LayerActivity(STARTUP, STARTUP, 0, 0, 0.0, first.cycles, 0, 0, events(config, first, none, core), source, 0.0)
    ]
    for plan in program.plans:
        progress(f"activity of {plan.layer.name}")
        count = counts[plan.index]
        found.append(
            LayerActivity(
                name=plan.layer.name,
                op=plan.layer.op,
                macs=plan.layer.macs,
                planes=max(s.planes for s in plan.sources),
                skipped_planes=0.0,
                cycles=count.cycles,
                ddr_read=8 * count.read_words,
                ddr_written=8 * count.written_words,
                events=events(config, count, DEFAULT, core),
                source=source,
                error=DEFAULT_ERROR,
            )
        )
    return tuple(found)
