"""An energy estimate put into a report: the same layers, in the same order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwseg.errors import require
from hwseg.power.band import BOUNDARIES, require_boundary
from hwseg.power.estimate import EnergyReport
from hwseg.report.pages.draw import three

DEFAULT_BOUNDARY = "pl"

BOUNDARY_NAMES = {
    "core": "cores, dynamic",
    "pl": "programmable logic",
    "pl_ps": "logic, PS and DDR",
    "board": "board",
}
BOUNDARY_TEXTS = {
    "core": "switching and clock of the array's cores alone",
    "pl": "the whole programmable logic, dynamic and static",
    "pl_ps": "the logic, the processing system and the DDR chips",
    "board": "everything that the board's supply feeds, regulators included",
}


def with_energy(report: Mapping[str, Any], energy: EnergyReport) -> dict[str, Any]:
    """The report with `energy_mj`, `gops_per_w` (by boundary: low, mid, high), `energy_parts_mj` and `skipped_planes`
    in every layer and in the totals, and what was assumed under `energy`.

    `skipped_planes` is None where no picture was looked at.  Raises HwsegError where the layers are not the report's.
    """
    rows = report["layers"]
    names, found = [row["name"] for row in rows], [layer.name for layer in energy.layers]
    require(found == names, "energy estimate", "must be of the report's layers", "estimate this build")
    layers = []
    for row, activity, layer in zip(rows, energy.activities, energy.layers, strict=True):
        skipped = None if activity.source == "default" else activity.skipped_planes
        layers.append({**row, "skipped_planes": skipped, **layer.json()})
    activities = [a for a in energy.activities if a.macs]
    looked = [a for a in activities if a.source != "default"]
    macs = sum(a.macs for a in activities)
    skipped = (
        sum(a.macs * a.skipped_planes for a in activities) / macs if macs and len(looked) == len(activities) else None
    )
    totals = {**report["totals"], "skipped_planes": skipped, **energy.total.json()}
    totals["watts"] = {boundary: energy.watts(boundary).json() for boundary in BOUNDARIES}
    kinds = list(dict.fromkeys(a.source for a in activities))
    return {
        **report,
        "totals": totals,
        "layers": layers,
        "energy": {
            "temperature_c": energy.temperature,
            "coefficients_sha256": energy.coefficients_sha256,
            "activity": kinds,
            "activity_source": energy.activity_source,
            "sampling_error": energy.sampling_error,
            "boundaries": dict(BOUNDARY_TEXTS),
        },
    }


def has_energy(report: Mapping[str, Any]) -> bool:
    """Whether a report holds an estimate: those of older builds do not."""
    return "energy" in report and all("energy_mj" in row for row in report["layers"])


def chosen_boundary(name: str | None) -> str:
    """The boundary that a reader asked for; raises HwsegError where it is unknown."""
    return DEFAULT_BOUNDARY if name is None else require_boundary(name)


def band_text(band: Mapping[str, float], unit: str = "") -> str:
    """`1.23 (0.8 to 2.1)`, three digits each."""
    after = f" {unit}" if unit else ""
    return f"{three(band['mid'])}{after} ({three(band['low'])} to {three(band['high'])})"
