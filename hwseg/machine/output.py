"""A RUN's results in the output, loop and pool memories: maps, scattered or pooled, scalar products, raw sums.

Output and loop memories have two banks a set: word columns go to them by turns, planes of a word at consecutive
addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.instruction import Run
from hwseg.machine.requantize import Requantizers
from hwseg.machine.residual import ResidualQueues
from hwseg.rtl.config import ROWS_PER_SET, WORD_PIXELS, EngineConfig
from hwseg.rtl.isa import Scatter


def channels_of(s: int) -> slice:
    """The rows of the array that are set `s`."""
    return slice(ROWS_PER_SET * s, ROWS_PER_SET * (s + 1))


def packed(values: np.ndarray, planes: int) -> np.ndarray:
    """uint64 [..., plane] of values [..., pixel, channel]."""
    bits = np.stack([values >> planes - 1 - p & 1 for p in range(planes)], axis=-3).astype(np.uint8)
    folded = np.packbits(bits, axis=-1, bitorder="little")[..., 0]
    words: np.ndarray = np.ascontiguousarray(folded).view("<u8")[..., 0]
    return words


@dataclass
class Output:
    """out, loop: uint64 [set, parity, word]; pool: uint64 [set, word]."""

    config: EngineConfig
    requantizers: Requantizers
    residual: ResidualQueues
    out: np.ndarray
    loop: np.ndarray
    pool: np.ndarray

    def write(self, run: Run, sums: np.ndarray) -> None:
        """Sums [step, pixel, row of the array] of a last tile go wherever the CONFIG says."""
        i, cfg = run.fields, run.config
        if cfg["raw"]:
            self._write_raw(run, self.requantizers.raw(run, sums))
            return
        shape = (i["rows"], run.columns, run.depth, WORD_PIXELS, self.config.rows)
        quantized = self.requantizers.values(run, sums).reshape(shape)
        if cfg["residual"]:
            quantized = self.residual.added(run, quantized)
        values = run.in_rows(quantized).copy()
        values[:, -1, i["tail"] :] = 0
        if cfg["dot"]:
            self._write_dot(run, values)
        if cfg["keep"]:
            self._write_map(run, values, self.out, i["out_address"])
        if cfg["loop"]:
            self._write_map(run, values, self.loop, i["loop_address"])
        if cfg["pool"]:
            self._write_pool(run, values)

    def _write_map(self, run: Run, values: np.ndarray, memory: np.ndarray, start: int) -> None:
        """Values [row, word column, pixel, channel], all of them or every other pixel of a row twice as wide."""
        cfg, scatter, b = run.config, Scatter(run.fields["scatter"]), run.config["out_planes"]
        y, x = np.arange(run.rows)[:, None, None], np.arange(run.columns)[None, :, None]
        row = start + y * cfg["out_pitch"] + np.arange(b)
        for s in range(self.config.sets):
            chosen = values[..., channels_of(s)]
            if cfg["split"]:
                memory[s, int(s < self.config.sets // 2), row + x * b] = packed(chosen, b)
            elif scatter == Scatter.NONE:
                memory[s, x & 1, row + (x >> 1) * b] = packed(chosen, b)
            else:
                for half in (0, 1):
                    wide = np.zeros_like(chosen)
                    places = 2 * np.arange(4) + int(scatter == Scatter.ODD)
                    wide[:, :, places] = chosen[:, :, 4 * half : 4 * half + 4]
                    mask = np.uint64(sum(255 << 8 * int(p) for p in places))
                    old = memory[s, half, row + x * b]
                    memory[s, half, row + x * b] = old & ~mask | packed(wide, b) & mask

    def _write_pool(self, run: Run, values: np.ndarray) -> None:
        """The maximum of every 2x2 of values [row, word column, pixel, channel]."""
        cfg, b = run.config, run.config["out_planes"]
        rows, columns, _, channels = values.shape
        if cfg["split"]:
            # Every step is both halves of a pooled word: of each set the half that it makes counts.
            blank = np.zeros_like(values)
            half = channels // 2
            pairs_of = np.stack([values, blank], axis=2), np.stack([blank, values], axis=2)
            values = np.concatenate([pairs_of[1][..., :half], pairs_of[0][..., half:]], axis=-1)
            values = values.reshape(rows, 2 * columns, 8, channels)
            columns *= 2
        if columns % 2:
            values = np.concatenate([values, np.zeros_like(values[:, :1])], axis=1)
        pairs = values.reshape(rows // 2, 2, -1, 2, channels).max(axis=(1, 3))
        pooled = pairs.reshape(rows // 2, -1, 8, channels)
        y, x = np.arange(rows // 2)[:, None, None], np.arange(pooled.shape[1])[None, :, None]
        address = run.fields["pool_address"] + y * cfg["pool_pitch"] + x * b + np.arange(b)
        for s in range(self.config.sets):
            self.pool[s, address] = packed(pooled[..., channels_of(s)], b)

    def _write_dot(self, run: Run, values: np.ndarray) -> None:
        """Scalar products of the output channels with their head weights, into the last set's output memory."""
        products = run.in_pairs(values).astype(np.int64) @ self.requantizers.head(run)
        self._write_words(run, self.config.sets - 1, products.astype(np.int32))

    def _write_raw(self, run: Run, values: np.ndarray) -> None:
        """int32 [step, pixel, row of the array], the first `raw_rows` of each set, row after row of the array."""
        for s in range(self.config.sets):
            first = ROWS_PER_SET * s
            self._write_words(run, s, values[:, :, first : first + run.config["raw_rows"]].transpose(0, 2, 1))

    def _write_words(self, run: Run, s: int, values: np.ndarray) -> None:
        """int32 values of a set, of neighbouring pixels two in a word; words go to the two banks by turns."""
        if self.config.pixels == 1:
            words = values.reshape(-1).astype(np.uint32).astype(np.uint64)
        else:
            words = np.ascontiguousarray(values, "<i4").reshape(-1).view("<u8")
        number = np.arange(len(words))
        self.out[s, number & 1, run.fields["out_address"] + (number >> 1)] = words
