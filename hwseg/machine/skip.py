"""Leading digit planes that are zero in a whole window: how many a RUN has, and what leaving them out saves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwseg.machine.banks import Banks
from hwseg.machine.instruction import Run
from hwseg.machine.window import centres, places
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Mode
from hwseg.rtl.skip import MOST, PLANES


@dataclass
class LeadingZeros:
    """enabled: the register `skip`.  saved: cycles that each RUN takes less than a dense one.

    planes: by layer, digit planes of windows, and those of them that were left out.
    """

    config: EngineConfig
    banks: Banks
    enabled: bool
    saved: list[int] = field(default_factory=list)
    planes: dict[int, tuple[int, int]] = field(default_factory=dict)

    def count(self, run: Run) -> None:
        """Count the leading planes that are zero in every window of a RUN; its first step is always dense."""
        i, substeps = run.fields, self.config.substeps
        dense, skipped = self.planes.get(i["layer"], (0, 0))
        dense += run.rows * run.columns * substeps * run.config["planes"]
        self.planes[i["layer"]] = dense, skipped
        if not (self.enabled and run.config["skip"]):
            self.saved.append(0)
            return
        counts = self._leading(run)
        first = counts[0, 0]
        self.planes[i["layer"]] = dense, skipped + int(counts.sum() * substeps - first)
        self.saved.append(0 if i["last"] else int(np.minimum(counts, MOST).sum() * substeps - min(first, MOST)))

    def _leading(self, run: Run) -> np.ndarray:
        """[row, word column] of a RUN's steps: zero planes at the head of all nine words."""
        rho, kappa = centres(run)
        dark_rows, dark_columns = _dark(run)
        found: np.ndarray = np.full((run.rows, run.columns), PLANES - 1)
        for ky in range(3):
            for kx in range(3):
                bank, address = places(run, rho + ky - 1, kappa + kx - 1, PLANES)
                zero = np.cumprod(self.banks.planes(bank, address, PLANES) == 0, axis=-1).sum(-1)
                dark = dark_rows[ky][:, None] | dark_columns[kx][None, :]
                found = np.where(dark, found, np.minimum(found, zero))
        return found


def _dark(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """bool [3, row] and [3, word column]: rows and columns of windows outside the map, or not read."""
    i, y, x = run.fields, np.arange(run.rows), np.arange(run.columns)
    dark_rows, dark_columns = np.zeros((3, run.rows), bool), np.zeros((3, run.columns), bool)
    if run.mode == Mode.NEAREST:
        for dark, half in ((dark_rows, i["odd_row"] + y & 1), (dark_columns, i["odd_column"] + x & 1)):
            dark[0], dark[2] = half == 1, half == 0
    dark_rows[0, 0] |= bool(i["top"])
    dark_rows[2, -1] |= bool(i["bottom"])
    dark_columns[0, 0] |= bool(i["left"])
    dark_columns[2, -1] |= bool(i["right"])
    return dark_rows, dark_columns
