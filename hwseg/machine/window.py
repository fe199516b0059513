"""What a RUN multiplies: the nine words around each output word, and the lanes that the array takes from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.banks import Banks, starts
from hwseg.machine.instruction import Run
from hwseg.machine.rules import check_ring
from hwseg.rtl.config import TAPS, EngineConfig
from hwseg.rtl.isa import Mode

PIXEL = np.arange(8)
STEP = np.arange(-1, 2)[:, None]
"""From a window's centre to its lines and to the words of a line."""


def scale(run: Run) -> int:
    """Input rows from one output row to the next, where the source is not enlarged."""
    return 2 if run.mode == Mode.STRIDE2 else 1


def centres(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Buffer row of each output row's centre word, and word column of each step's along it."""
    i, y, x = run.fields, np.arange(run.rows), np.arange(run.columns)
    if run.mode == Mode.NEAREST:
        return i["row_phase"] + (i["odd_row"] + y >> 1), i["column_phase"] + (i["odd_column"] + x >> 1)
    return i["row_phase"] + scale(run) * y, i["column_phase"] + (2 if run.config["split"] else scale(run)) * x


def places(run: Run, row: np.ndarray, column: np.ndarray, planes: int) -> tuple[np.ndarray, np.ndarray]:
    """Bank and address [row, word column] of the first plane of words in those buffer rows and word columns."""
    address = _blocks(run, row // 3)[:, None] + run.fields["column_address"] + (column // 3 * planes)[None, :]
    return 3 * (row % 3)[:, None] + (column % 3)[None, :], address


def _blocks(run: Run, number: np.ndarray) -> np.ndarray:
    """Addresses of row blocks counted from the RUN's first centre row: -1 is the one before."""
    i, pitch = run.fields, run.config["pitch"]
    start = i["row_address"]
    before = (i["wrap_at"] if start == i["wrap_to"] else start) - pitch
    blocks = starts(start, pitch, max(1, int(number.max()) + 1), i)
    check_ring(blocks.tolist(), pitch, i)
    found: np.ndarray = np.append(blocks, before)[number]
    return found


@dataclass(frozen=True)
class Window:
    """Windows of the words in `banks`, for the array of `config`."""

    config: EngineConfig
    banks: Banks

    def lanes(self, run: Run) -> tuple[np.ndarray, np.ndarray | None]:
        """float64 [row, word column, pixel, lane] of a RUN; of a split layer those of the upper rows too.

        Lanes: tap by tap, the channels of the RUN's slice.
        """
        lower, upper = (self._point(run), None) if run.mode == Mode.POINT else self._square(run)
        shape = (*lower.shape[:3], -1)
        return lower.reshape(shape), None if upper is None else upper.reshape(shape)

    def _channels(self, run: Run) -> slice:
        n = self.config.channels
        return slice(run.fields["slice"] * n, run.fields["slice"] * n + n)

    def _point(self, run: Run) -> np.ndarray:
        """[row, word column, pixel, tap, channel] of 1x1: tap t is bank t, the last one zero."""
        i, pitch = run.fields, run.config["pitch"]
        lanes = np.zeros((run.rows, run.columns, 8, TAPS, self.config.channels))
        first = starts(i["row_address"], pitch, run.rows, i)
        along = np.arange(run.columns) * run.config["planes"]
        address = first[:, None] + i["column_address"] + along[None, :]
        for tap in range(TAPS - 1):
            lanes[:, :, :, tap] = self.banks.values(tap, address, run.config, self._channels(run))
        return lanes

    def _square(self, run: Run) -> tuple[np.ndarray, np.ndarray | None]:
        """[row, word column, pixel, tap, channel] of 3x3; of a split layer those of the upper rows too."""
        lanes = np.zeros((run.rows, run.columns, 8, TAPS, self.config.channels))
        upper = np.zeros_like(lanes) if run.config["split"] else None
        for ky, line in enumerate(self._lines(run)):
            for kx in range(3):
                lanes[:, :, :, 3 * ky + kx] = _taken(run, line, kx)
            if upper is not None:
                # Left of the left word: the last pixel of the step before's centre word.
                before = np.zeros_like(line[:, :, :1])
                before[:, 1:, 0] = line[:, :-1, 15]
                whole = np.concatenate([before, line[:, :, :9]], axis=2)
                for kx in range(3):
                    upper[:, :, :, 3 * ky + kx] = whole[:, :, kx : kx + 8]
        return lanes, upper

    def _lines(self, run: Run) -> np.ndarray:
        """[ky, row, word column, 24 pixels, channel of the slice]: the nine words of each window, line by line, zero
        beyond the picture.
        """
        i, rows, columns = run.fields, run.rows, run.columns
        rho, kappa = centres(run)
        row = rho + STEP
        if run.mode == Mode.NEAREST:
            row = i["row_phase"] + (i["odd_row"] + np.arange(rows) + STEP >> 1)
        bank, address = places(run, row.ravel(), (kappa + STEP).ravel(), run.config["planes"])
        words = self.banks.values(bank, address, run.config, self._channels(run))
        # [ky, row, kx, word column, pixel, channel] to [ky, row, word column, kx, pixel, channel]
        lines = np.ascontiguousarray(words.reshape(3, rows, 3, columns, 8, -1).swapaxes(2, 3))
        if i["left"] and not run.config["split"]:
            lines[:, :, 0, 0] = 0
        if i["right"]:
            lines[:, :, -1, 2] = 0
        if i["top"]:
            lines[0, 0] = 0
        if i["bottom"]:
            lines[2, -1] = 0
        return lines.reshape(3, rows, columns, 24, -1)


def _taken(run: Run, line: np.ndarray, kx: int) -> np.ndarray:
    """[row, word column, pixel, channel]: the pixels of a line that are tap `kx` of the eight output pixels."""
    if run.mode != Mode.NEAREST:
        step, first = scale(run), 7 + kx
        return line[:, :, first : first + 7 * step + 1 : step]
    half = 4 * ((run.fields["odd_column"] + np.arange(run.columns)) & 1)
    at = 8 + half[:, None] + (PIXEL + kx - 1 >> 1)[None, :]
    taken: np.ndarray = line[:, np.arange(run.columns)[:, None], at]
    return taken
