"""The activity of a program's frame, layer by layer: what `hwseg.power.estimate.estimate` prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hwseg.clock.timing import STARTUP
from hwseg.compile.program import Program
from hwseg.energy.data import Observed, observe
from hwseg.energy.engine import Data, events
from hwseg.energy.maps import Maps, with_own_maps
from hwseg.energy.traffic import Traffic, startup, traffic
from hwseg.machine.activity import Skipping
from hwseg.power.activity import LayerActivity, SourceKind
from hwseg.power.cores import CoreActivity, core_activity

Progress = Callable[[str], None]

DEFAULT = Data(lane_toggles=0.18, feed_toggles=0.21, ones=0.17)
"""Where no picture was looked at: the mean over the layers of the shipped networks on the demo's picture."""

DEFAULT_ERROR = 0.5
"""Relative error of what follows from `DEFAULT`: those layers' feeds toggle between 0.07 and 0.47 of the time."""


def _silent(_: str) -> None:
    """No progress."""


def activity_of_program(
    program: Program,
    pictures: Sequence[Maps] = (),
    source: SourceKind = "default",
    *,
    full: bool = False,
    core: CoreActivity | None = None,
    skipping: Skipping | None = None,
    progress: Progress = _silent,
) -> tuple[LayerActivity, ...]:
    """Activity of a frame: start-up, then every layer.  pictures: the integers of every map of the model on some
    pictures; without them the default activity.

    core: of another netlist.  skipping: what is left out on such a picture; without it execution is dense.  Planes
    that are left out are zero, so what toggles is spread over those that remain.
    """
    pictures = [with_own_maps(program, maps) for maps in pictures]
    timing, config = program.timing(saved=skipping.saved if skipping else None), program.config
    counts = traffic(program.program, timing, config)
    core = core or core_activity(config.core, config.lanes)
    first = startup(timing)
    still = events(config, first, Data(0.0, 0.0, 0.0), core)
    found = [LayerActivity(STARTUP, STARTUP, 0, 0, 0.0, first.cycles, 0, 0, still, source, 0.0)]
    for plan in program.plans:
        progress(f"activity of {plan.layer.name}, layer {plan.index + 1} of {len(program.plans)}")
        count = counts[plan.index]
        seen = Observed(DEFAULT, 0.0, DEFAULT_ERROR)
        if pictures:
            seen = observe(plan, pictures, config, count.last_steps / max(count.steps, 1), full)
        if skipping:
            count, seen = left_out(count, seen, skipping.planes[plan.index][1])
        found.append(
            LayerActivity(
                name=plan.layer.name,
                op=plan.layer.op + ("+pool" if plan.layer.pooled else "") + ("+head" if plan.layer.dot else ""),
                macs=plan.layer.macs,
                planes=max(s.planes for s in plan.sources),
                skipped_planes=seen.skipped_planes,
                cycles=count.cycles,
                ddr_read=8 * count.read_words,
                ddr_written=8 * count.written_words,
                events=events(config, count, seen.data, core),
                source=source,
                error=float(np.hypot(seen.error, core.fit_error)) if pictures else DEFAULT_ERROR,
            )
        )
    return tuple(found)


def left_out(count: Traffic, seen: Observed, planes: int) -> tuple[Traffic, Observed]:
    """A layer without so many plane cycles, in which nothing toggled."""
    executed = count.plane_cycles - planes
    more = count.plane_cycles / executed
    data = Data(*(min(1.0, more * rate) for rate in (seen.data.lane_toggles, seen.data.feed_toggles, seen.data.ones)))
    return replace(count, plane_cycles=executed), replace(seen, data=data)
