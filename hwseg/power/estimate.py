"""Counts times coefficients: energy and GOPS/W of every layer at every boundary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from hwseg.errors import require
from hwseg.power.activity import PARTS, PRICED, LayerActivity
from hwseg.power.band import BOUNDARIES, Band, total
from hwseg.power.coefficients import Coefficients

PICOJOULE = 1e-9
"""In millijoules."""

TEMPERATURE = 50.0
"""Junction temperature in degrees Celsius unless another is given: a Zynq-7020 of 3 W in a room, no fan."""

SOURCES = {
    "default": "the default activity: no picture was looked at, so its band is the wider one",
    "calibration": "the calibration picture stored in the build, sampled",
    "images": "the pictures given, sampled",
    "full": "the pictures given, every group of pixels",
}


@dataclass(frozen=True)
class LayerEnergy:
    """One layer of one frame: energy in mJ and GOPS/W (2 * MAC = 2 operations) by boundary, and energy by part.

    `energy_mj[boundary]` holds everything inside the boundary.  A layer without multiplications has 0 GOPS/W.  `parts`
    are the terms that they are sums of, by `hwseg.power.activity.PARTS`.
    """

    name: str
    op: str
    macs: int
    cycles: int
    energy_mj: Mapping[str, Band]
    gops_per_w: Mapping[str, Band]
    parts: Mapping[str, Band]

    def json(self) -> dict[str, Any]:
        """Keys `energy_mj` and `gops_per_w` (by boundary) and `energy_parts_mj`, each with low, mid, high."""
        return {
            "energy_mj": {name: band.json() for name, band in self.energy_mj.items()},
            "gops_per_w": {name: band.json() for name, band in self.gops_per_w.items()},
            "energy_parts_mj": {name: band.json() for name, band in self.parts.items()},
        }


@dataclass(frozen=True)
class EnergyReport:
    """Every layer of a frame, in the order of report.json (start-up first), with what was assumed.

    clock_mhz: of the engine.  temperature: of the junction, degrees Celsius.  coefficients_sha256: of the file that was
    used.  activity_source: in words, for the reader.  sampling_error: relative, of the frame's data-dependent counts,
    from sampling and from the fit of the cores' events.
    """

    layers: tuple[LayerEnergy, ...]
    activities: tuple[LayerActivity, ...]
    clock_mhz: float
    temperature: float
    coefficients_sha256: str
    activity_source: str
    sampling_error: float

    @cached_property
    def total(self) -> LayerEnergy:
        """The frame.  Its energies are the layers' added in their order, exactly."""
        energy = {b: total(layer.energy_mj[b] for layer in self.layers) for b in BOUNDARIES}
        parts = {p: total(layer.parts[p] for layer in self.layers) for p in PARTS}
        macs = sum(layer.macs for layer in self.layers)
        cycles = sum(layer.cycles for layer in self.layers)
        return LayerEnergy("total", "total", macs, cycles, energy, efficiency(macs, energy), parts)

    def watts(self, boundary: str) -> Band:
        """Mean power of a frame after a frame."""
        return self.total.energy_mj[boundary] * (self.clock_mhz * 1e3 / self.total.cycles)

    def json(self) -> dict[str, Any]:
        """The assumptions, `layers` by name and `totals`; see `LayerEnergy.json`."""
        return {
            "clock_mhz": self.clock_mhz,
            "temperature_c": self.temperature,
            "coefficients_sha256": self.coefficients_sha256,
            "activity_source": self.activity_source,
            "sampling_error": self.sampling_error,
            "layers": {layer.name: layer.json() for layer in self.layers},
            "totals": self.total.json(),
        }


def efficiency(macs: int, energy: Mapping[str, Band]) -> dict[str, Band]:
    """GOPS/W, which is operations per nanojoule: low where the energy is high."""
    operations = Band.exactly(2e-6 * macs)
    return {b: operations.per(energy[b]) if macs else Band(0.0, 0.0, 0.0) for b in BOUNDARIES}


def estimate(
    activities: Sequence[LayerActivity],
    coefficients: Coefficients,
    clock_mhz: float,
    temperature: float = TEMPERATURE,
) -> EnergyReport:
    """Energy of a frame from its layers' activity.

    What a caller may rely on: one `LayerEnergy` per activity, in their order; a boundary holds all that is inside the
    one before it; totals are exactly the sum of the layers; nothing but the arguments decides.  Powers (leakage,
    processing system, board) are shared out by each layer's cycles.  Raises HwsegError for no layers, a clock or
    temperature out of range, a coefficient that is missing.
    """
    require(len(activities) > 0, "energy", "must be of at least one layer, has none", "give a build's layers")
    rule = f"must be from 1 to 1000 MHz, is {clock_mhz:g}"
    require(1 <= clock_mhz <= 1000, "clock", rule, "use the clock of the build")
    layers = tuple(_layer(a, coefficients, clock_mhz, temperature) for a in activities)
    kinds = dict.fromkeys(a.source for a in activities)
    weight = sum(a.cycles for a in activities) or 1
    error = sum(a.error * a.cycles for a in activities) / weight
    return EnergyReport(
        layers=layers,
        activities=tuple(activities),
        clock_mhz=clock_mhz,
        temperature=temperature,
        coefficients_sha256=coefficients.sha256,
        activity_source="; ".join(SOURCES[kind] for kind in kinds),
        sampling_error=error,
    )


def _layer(a: LayerActivity, coefficients: Coefficients, clock_mhz: float, temperature: float) -> LayerEnergy:
    parts = {part: _events(a.events.get(part, {}), coefficients).widened(_error(a, part)) for part in PARTS}
    # a power of one watt for one microsecond is a thousandth of a millijoule
    time = 1e-3 * a.cycles / clock_mhz
    parts["static"] += coefficients.static(temperature) * time
    parts["ps"] += coefficients.band("ps_idle") * time
    parts["ddr"] += coefficients.band("ddr_idle") * time
    energy: dict[str, Band] = {}
    inside = Band(0.0, 0.0, 0.0)
    for boundary in BOUNDARIES[:-1]:
        inside = inside + total(parts[p] for p, b in PARTS.items() if b == boundary)
        energy[boundary] = inside
    # what a regulator loses is a share of what it delivers, over and above the rest of the board
    drawn = inside * coefficients.band("regulator") + coefficients.band("board_rest") * time
    parts["supply"] = Band(drawn.low - inside.low, drawn.mid - inside.mid, drawn.high - inside.high)
    energy["board"] = inside + parts["supply"]
    return LayerEnergy(a.name, a.op, a.macs, a.cycles, energy, efficiency(a.macs, energy), parts)


DATA_DEPENDENT = ("cores", "operands")
"""Parts whose counts follow from the data, so that the sampling error is theirs."""


def _error(a: LayerActivity, part: str) -> float:
    return min(a.error, 1.0) if part in DATA_DEPENDENT else 0.0


def _events(counts: Mapping[str, float], coefficients: Coefficients) -> Band:
    return total(energy_of(event, coefficients) * (PICOJOULE * count) for event, count in counts.items())


def energy_of(event: str, coefficients: Coefficients) -> Band:
    """pJ of one event."""
    bands = [coefficients.band(name) for name in PRICED[event]]
    return reduce(lambda a, b: a * b, bands)
