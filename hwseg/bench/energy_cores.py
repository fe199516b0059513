"""Events of a core's synthesized netlist on real layers, and how they follow from the data.

One sample is a tile of a layer, a row of its weights, and 64 streams of consecutive steps of the array's walk.  Each
sum is compared with the integer dot product.  What the samples show is fitted by lines (`fit`), and the fit is judged
on layers that it has not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from hwseg.bench.cores import STREAMS, Say, Work, _Planes, _remembered, _Tables, _Words, synthesized
from hwseg.bench.netlist import Netlist
from hwseg.bench.toggles import clocked, toggles
from hwseg.caches import kept
from hwseg.compile.emit.parameters import weight_bytes
from hwseg.compile.plan.plan import LayerPlan
from hwseg.energy.windows import bands, lanes
from hwseg.errors import require
from hwseg.power.coefficients import Coefficients
from hwseg.power.cores import CoreActivity
from hwseg.power.estimate import energy_of
from hwseg.rtl.array import lane_order
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores import CORES, Family
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys

STEPS = 4
"""Consecutive steps of a stream."""

Feeds = Sequence[tuple[int, int, int, list[int]]]
"""Masks valid, first, last and the feed of each cycle."""


@dataclass(frozen=True)
class Sample:
    """uint8 [stream, step, lane], its planes, and int8 [lane]; lanes in the order in which the cores take them."""

    layer: str
    values: np.ndarray
    planes: int
    weights: np.ndarray

    @property
    def digest(self) -> str:
        """Of everything that its events depend on."""
        content = self.values.tobytes() + self.weights.tobytes() + bytes([self.planes])
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Observation:
    """One sample on one core.  feed_toggles, ones: shares of the feed's bits and of the lanes.  per_cycle: events of a
    core, mean over all cycles of a step.  cycles: of a step.
    """

    layer: str
    feed_toggles: float
    ones: float
    cycles: int
    per_cycle: dict[str, float]


@dataclass(frozen=True)
class Gates:
    """What does not depend on the data: cells, clock, and a reload's events."""

    lut: int
    ff: int
    dsp: int
    per_cycle: dict[str, float]
    per_reload: dict[str, float]


def samples(
    plan: LayerPlan, tensors: Mapping[str, np.ndarray], config: EngineConfig, count: int, seed: int = 0
) -> Iterator[Sample]:
    """`count` samples of a layer: tiles in turn, rows of weights and places drawn with a fixed seed."""
    generator, order = np.random.default_rng(seed), lane_order(config.channels)
    pairs = [(p, t) for p in plan.passes for t in p.tiles if plan.tiles[t].part == 0]
    for i in range(count):
        p, t = pairs[int(generator.integers(len(pairs)))]
        tile = plan.tiles[t]
        rows = weight_bytes(plan, p, tile, config).view(np.int8)[:, : config.lanes]
        real = np.flatnonzero(np.abs(rows.astype(np.int64)).sum(1))
        if len(real) == 0 or plan.sources[tile.source].signed:
            continue
        streams: list[np.ndarray] = []
        planes = plan.sources[tile.source].planes
        while len(streams) < STREAMS:
            values, planes = lanes(plan, tile, tensors, int(generator.integers(bands(plan))), config)
            if len(values) < STEPS:
                break
            start = int(generator.integers(len(values) - STEPS + 1))
            streams += list(values[start : start + STEPS].transpose(1, 0, 2))
        if len(streams) >= STREAMS:
            weights = rows[int(generator.choice(real))][order]
            yield Sample(f"{plan.layer.name}#{i}", np.array(streams[:STREAMS])[:, :, order], planes, weights)


@cache
def core_text(core: str, lanes: int) -> str:
    """Verilog of a core for words of 8 bits, as module `part`."""
    return verilog(CORES[core].core(lanes, 8), "part")


def observe(family: Family, sample: Sample) -> Observation:
    """From the cache, or simulated now."""
    text = core_text(family.name, len(sample.weights))
    content = ("energy", text, yosys.version(), family.name, sample.digest)
    found = _remembered(content, lambda: asdict(_observe(family, sample, text)))
    return Observation(**{**found, "layer": sample.layer})


def gates(family: Family, count: int) -> Gates:
    """Cells of a core of `count` lanes and the events of a reload; weights drawn with a fixed seed."""
    text = core_text(family.name, count)
    content = ("gates", text, yosys.version(), family.name)
    return Gates(**_remembered(content, lambda: asdict(_gates(family, count, text))))


def netlist(text: str) -> tuple[Netlist, yosys.Resources]:
    """Module `part` synthesized, from the cache where the same text was before."""
    key = "netlist", text, yosys.version(), yosys.synthesis("")
    folder = kept("bench", key, lambda scratch: _synthesize(text, scratch))
    resources = yosys.Resources(**json.loads((folder / "resources.json").read_text()))
    return Netlist(folder / "core.json", "part", STREAMS), resources


def _synthesize(text: str, folder: Path) -> None:
    resources = synthesized(text, folder / "core.json")
    (folder / "resources.json").write_text(json.dumps(asdict(resources)))


def _driver(family: Family, values: np.ndarray, weights: np.ndarray) -> _Planes:
    work = Work(values.astype(np.int64), weights.astype(np.int64), 8, weights[None].astype(np.int64))
    kind = _Tables if family.name in ("table", "table_dsp") else _Words if family.order == "words" else _Planes
    return kind(family, work)


def _gates(family: Family, count: int, text: str) -> Gates:
    generator = np.random.default_rng(0)
    weights = generator.normal(0, 30, (2, count)).round().clip(-128, 127).astype(np.int64)
    machine, resources = netlist(text)
    zero = np.zeros((STREAMS, 1, count), np.uint8)
    _idle(machine)
    _driver(family, zero, weights[0]).load(machine)
    machine.count_nets = True
    _driver(family, zero, weights[1]).load(machine)
    every = {event: value * machine.cycles_counted for event, value in toggles(machine).items()}
    writes = sum(cell["type"] == "RAM32M" for cell in machine.cells) * family.reload_cycles
    if writes:
        every["table_write"] = float(writes)
    return Gates(resources.lut_cells, resources.ff, resources.dsp, clocked(machine), every)


def _idle(machine: Netlist) -> None:
    for name in ("valid", "first", "last", "negate"):
        machine.drive(name, 0)


def run_netlist(family: Family, sample: Sample) -> Netlist:
    """The core's netlist after a sample's steps, with its nets' toggles counted; each sum was the dot product."""
    return _run(family, sample, core_text(family.name, len(sample.weights)))[0]


def _observe(family: Family, sample: Sample, text: str) -> Observation:
    machine, feeds, dsp = _run(family, sample, text)
    return _observation(sample, feeds, toggles(machine), dsp)


def _run(family: Family, sample: Sample, text: str) -> tuple[Netlist, Feeds, int]:
    machine, resources = netlist(text)
    driver = _driver(family, sample.values, sample.weights)
    _idle(machine)
    driver.load(machine)
    feeds = list(_cycles(family, driver, sample))
    sums = []
    for number in range(len(feeds) + driver.flush):
        machine.count_nets = number < len(feeds)
        valid, first, last, feed = feeds[number] if number < len(feeds) else (0, 0, 0, driver.idle())
        for name, mask in (("valid", valid), ("first", first), ("last", last)):
            machine.drive_streams(name, [mask])
        machine.drive_streams("feed", feed)
        settled = machine.cycle(None)
        if settled[machine.index[machine.ports["sum_valid"][0]]]:
            kept, machine.values = machine.values, settled
            sums.append(machine.read("sum"))
            machine.values = kept
    expected = (sample.values.astype(np.int64) @ sample.weights.astype(np.int64)).T.tolist()
    require(sums == expected, f"netlist of {family.name}", "must compute the dot products; this is a bug")
    return machine, feeds, resources.dsp


def _observation(sample: Sample, feeds: Feeds, events: dict[str, float], dsp: int) -> Observation:
    words = [feed for _, _, _, feed in feeds]
    flips = sum((a ^ b).bit_count() for x, y in pairwise(words) for a, b in zip(x, y, strict=True))
    cycles = len(feeds) // STEPS
    if dsp:
        events["dsp_multiply"] = float(dsp)
    return Observation(
        sample.layer,
        flips / (STREAMS * len(words[0]) * (len(words) - 1)),
        float(np.bitwise_count(sample.values).mean()) / sample.planes,
        cycles,
        events,
    )


def _cycles(family: Family, driver: _Planes, sample: Sample) -> Iterator[tuple[int, int, int, list[int]]]:
    """Masks valid, first, last and the feed of each cycle: dense, one step after the other."""
    every = driver.all
    if family.order == "words":
        yield from driver.cycles(False)
        return
    planes = range(sample.planes - 1, -1, -1) if family.order == "most" else range(sample.planes)
    for step in range(sample.values.shape[1]):
        for j, bit in enumerate(planes):
            first, last = every * (j == 0), every * (j == sample.planes - 1)
            yield every, first, last, driver.feed(sample.values[:, step] >> bit & 1)
        for _ in range(driver.drain):
            yield 0, 0, 0, driver.idle()


def fit(found: Sequence[Observation]) -> dict[str, tuple[float, float, float]]:
    """Constant, by feed toggles, by ones: least squares for every event."""
    names = sorted({name for one in found for name in one.per_cycle})
    x = np.array([[1.0, one.feed_toggles, one.ones] for one in found])
    y = np.array([[one.per_cycle.get(name, 0.0) for name in names] for one in found])
    solution, *_ = np.linalg.lstsq(x, y, rcond=None)
    return {name: tuple(round(float(v), 4) for v in column) for name, column in zip(names, solution.T, strict=True)}  # type: ignore[misc]


def energy(events: Mapping[str, float], coefficients: Coefficients) -> float:
    """pJ at middle coefficients."""
    return sum(count * energy_of(event, coefficients).mid for event, count in events.items())


def left_out_error(found: Sequence[Observation], coefficients: Coefficients) -> float:
    """Root mean square error of the energy over its mean, each layer predicted by a fit without it."""
    names = sorted({layer_of(one) for one in found})
    errors = []
    for name in names:
        line = fit([one for one in found if layer_of(one) != name])
        for one in found:
            if layer_of(one) == name:
                predicted = {e: a + b * one.feed_toggles + c * one.ones for e, (a, b, c) in line.items()}
                errors.append(energy(predicted, coefficients) - energy(one.per_cycle, coefficients))
    mean = np.mean([energy(one.per_cycle, coefficients) for one in found])
    return float(np.sqrt(np.mean(np.square(errors))) / mean)


def layer_of(one: Observation) -> str:
    """The layer's name, without the sample's number."""
    return one.layer.rpartition("#")[0]


def calibrate(family: Family, work: Sequence[Sample], coefficients: Coefficients, say: Say) -> CoreActivity:
    """What `hwseg.power.cores` keeps of a core: the fit over these samples, its error, and what data do not change."""
    lanes = len(work[0].weights)
    fixed = gates(family, lanes)
    found = []
    for number, sample in enumerate(work):
        say(f"{family.name}: sample {number + 1} of {len(work)}, {sample.layer}")
        found.append(observe(family, sample))
    error = left_out_error(found, coefficients)
    # While tables are written, the feed of those that are read there changes in every cycle, and with it the sum.
    multiplied = {"dsp_multiply": float(fixed.dsp * family.reload_cycles)} if fixed.dsp else {}
    rates = [one.feed_toggles for one in found]
    return CoreActivity(
        core=family.name,
        lanes=lanes,
        lut=fixed.lut,
        ff=fixed.ff,
        fit=fit(found),
        per_reload=fixed.per_reload | multiplied,
        per_cycle=fixed.per_cycle | ({"dsp_clock": float(fixed.dsp)} if fixed.dsp else {}),
        fit_error=round(error, 3),
        source=f"{len(found)} samples, feed toggles {min(rates):.2f} to {max(rates):.2f}, yosys {yosys.version()}",
    )
