"""Energy of the rivals on the same work: every core at an equal share of the part, through one estimator.

The work is a network compiled for the default array.  A rival does the same dot products of 72 lanes and moves the same
data; it fits N cores into the share of the part that the default array's cores take (the largest of their LUT, DSP and
BRAM fractions), so its frame takes cycles in proportion to N and to its own cycles per dot product.  What is around the
cores is the same engine for all: what it does per word or sum costs the same, what it does per cycle grows with the
frame's cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from hwseg.bench.cores import Say, synthesized
from hwseg.bench.energy_cores import Sample, gates, observe, samples
from hwseg.bench.energy_work import Case
from hwseg.energy.engine import memories
from hwseg.energy.frame import activity_of_program
from hwseg.energy.traffic import Traffic, traffic
from hwseg.power.activity import LayerActivity
from hwseg.power.coefficients import Coefficients
from hwseg.power.estimate import TEMPERATURE, EnergyReport, estimate
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores import CORES, Family
from hwseg.rtl.emit import verilog
from hwseg.toolchain.yosys import Resources

LANES = 72
SAMPLED_LAYERS = 8
"""Layers of a network that the rivals' netlists are simulated on: those with the most work."""

SAMPLE_ERROR = 0.1
"""Relative error of a rival's events: samples of some layers stand for all."""

PER_CYCLE = ("control", "clock")
"""Parts whose events come with the clock, not with the work."""

PAPER_SPEED = {"bit_parallel": 1.07, "bit_serial": 4.36, "cascaded": 2.52, "merged": 1.0}
"""How many times faster than each the merged core of the ICECS 2025 paper is reported to be, at 100 MHz."""

PAPER_MHZ, PAPER_MACS, PAPER_GOPS_PER_W, PAPER_WATTS = 100.0, 265.0, 15.14, 3.50
"""That paper's own configuration, multiply-accumulates per cycle, and its measurement at a board."""


@dataclass(frozen=True)
class Rival:
    """One core on one network.

    cores: how many there are, fractions of one among them.  cycles: of a dot product.  lut, dsp: of a core with its
    share of a loader and an encoder.  gops: sustained.  report: the frame's energy.
    """

    core: str
    network: str
    cores: float
    cycles: float
    lut: float
    dsp: float
    gops: float
    report: EnergyReport


@dataclass(frozen=True)
class Work:
    """A network on the default array: activity, traffic by layer, and samples with their share of the plane cycles."""

    case: Case
    base: tuple[LayerActivity, ...]
    traffic: Mapping[str, Traffic]
    samples: tuple[tuple[Sample, float], ...]

    @classmethod
    def of(cls, case: Case) -> Work:
        program, config = case.program, case.program.config
        counts = traffic(program.program, program.timing(), config)
        plans = sorted(program.plans, key=lambda plan: -counts[plan.index].plane_cycles)
        found = [(s, counts[p.index].plane_cycles) for p in plans for s in samples(p, case.tensors, config, 1)]
        found = found[:SAMPLED_LAYERS]
        total = sum(weight for _, weight in found)
        return cls(
            case,
            activity_of_program(program, [case.tensors], "full", full=True),
            {plan.layer.name: counts[plan.index] for plan in program.plans},
            tuple((sample, weight / total) for sample, weight in found),
        )

    @property
    def cores(self) -> int:
        """Of the default array."""
        return self.case.program.config.rows * self.case.program.config.pixels

    @property
    def planes(self) -> float:
        """Mean planes of a dot product."""
        return sum(weight * sample.planes for sample, weight in self.samples)


def per_product(family: Family, work: Work) -> tuple[dict[str, float], float]:
    """Events of one dot product of 72 lanes, mean over the work, and its mean cycles."""
    events: dict[str, float] = {}
    cycles = 0.0
    for sample, weight in work.samples:
        one = observe(family, sample)
        cycles += weight * one.cycles
        for event, value in one.per_cycle.items():
            events[event] = events.get(event, 0.0) + weight * one.cycles * value
    return events, cycles


@cache
def _shared(core: str) -> tuple[Resources, Resources]:
    """Of a core's loader and encoder."""
    family = CORES[core]
    loader, encoder = (synthesized(verilog(getattr(family, part)(LANES, 8), "part")) for part in ("loader", "encoder"))
    return loader, encoder


def area(family: Family, config: EngineConfig) -> tuple[float, float]:
    """LUTs and DSP slices of a core of 72 lanes, with its share of a row's loader and of a pixel's encoder."""
    core = gates(family, LANES)
    loader, encoder = _shared(family.name)
    return core.lut + loader.lut_cells / config.pixels + encoder.lut_cells / config.rows, core.dsp


def fitting(family: Family, config: EngineConfig, resources: Mapping[str, float]) -> float:
    """Cores that fit into the share of the part that the default array's cores take."""

    def share(name: Family) -> float:
        lut, dsp = area(name, config)
        return max(lut / resources["lut"], dsp / resources["dsp"])

    return config.rows * config.pixels * share(CORES[config.core]) / share(family)


def rival(
    family: Family,
    work: Work,
    coefficients: Coefficients,
    clock_mhz: float,
    cores: float | None = None,
    macs_per_cycle: float | None = None,
) -> Rival:
    """One core on a network.  cores: by default those that fit.  macs_per_cycle: sustained; by default what the cores
    give at the default array's utilization.
    """
    program = work.case.program
    cores = fitting(family, program.config, program.board.resources) if cores is None else cores
    events, cycles = per_product(family, work)
    macs, ours = sum(a.macs for a in work.base), sum(a.cycles for a in work.base)
    slower = float(work.cores * cycles / (cores * work.planes))
    if macs_per_cycle is not None:
        slower = macs / macs_per_cycle / ours
    clocked = {event: cores * value for event, value in gates(family, LANES).per_cycle.items()}
    found = [_slowed(a, work, events, clocked, slower) for a in work.base]
    report = estimate(found, coefficients, clock_mhz, TEMPERATURE)
    gops = 2 * macs / report.total.cycles * clock_mhz / 1e3
    return Rival(family.name, work.case.name, cores, cycles, *area(family, program.config), gops, report)


def _slowed(
    a: LayerActivity, work: Work, events: Mapping[str, float], clocked: Mapping[str, float], slower: float
) -> LayerActivity:
    """A layer with other cores: as many dot products as on the default array, in `slower` times its cycles."""
    count, core = work.traffic.get(a.name), {}
    if count is not None:
        products = work.cores * count.plane_cycles / max(a.planes, 1)
        core = {event: products * value for event, value in events.items()}
    for event, value in clocked.items():
        core[event] = core.get(event, 0.0) + value * slower * a.cycles
    parts = {p: {e: v * (slower if p in PER_CYCLE else 1) for e, v in counts.items()} for p, counts in a.events.items()}
    if count is not None:
        longer = replace(count, cycles=round(slower * count.cycles), plane_cycles=round(slower * count.plane_cycles))
        parts["memories"] = memories(work.case.program.config, longer)
    return replace(a, events=parts | {"cores": core}, cycles=round(a.cycles * slower), error=SAMPLE_ERROR)


def compare(work: Work, coefficients: Coefficients, clock_mhz: float, say: Say) -> list[Rival]:
    """Every core on one network."""
    found = []
    for number, family in enumerate(CORES.values()):
        say(f"{work.case.name}: {family.name}, {number + 1} of {len(CORES)}")
        found.append(rival(family, work, coefficients, clock_mhz))
    return found


def paper(work: Work, coefficients: Coefficients) -> Rival:
    """The merged core at the ICECS 2025 paper's own clock and multiply-accumulates per cycle."""
    cores = PAPER_MACS / (LANES / 8)
    return rival(CORES["merged"], work, coefficients, PAPER_MHZ, cores, PAPER_MACS)
