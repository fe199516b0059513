"""Residual additions on the way out: a layer's own input words wait in queues until its requantized sums come."""

from __future__ import annotations

from collections import deque

import numpy as np

from hwseg.machine.instruction import Run
from hwseg.machine.requantize import clamp
from hwseg.machine.rules import rule
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.residual import WAITING


class ResidualQueues:
    """`queues`: of each of two sets, int64 [pixel, channel] of words in the order of steps."""

    def __init__(self, config: EngineConfig) -> None:
        self.channels = config.channels
        self.queues: tuple[deque[np.ndarray], ...] = (deque(), deque())

    def put_by(self, run: Run, lanes: np.ndarray) -> None:
        """The centre words of windows [row, word column, pixel, lane] wait for a set's sums."""
        i, n = run.fields, self.channels
        queue = self.queues[i["residual_set"]]
        queue.extend(run.in_pairs(lanes[..., 4 * n : 5 * n]).astype(np.int64).reshape(-1, 8, n))
        rule(len(queue) <= WAITING, "more input waits for a residual addition than the queue holds")

    def added(self, run: Run, values: np.ndarray) -> np.ndarray:
        """Requantized sums [row or pair, word column, row of the pair, pixel, channel] with what waits for them."""
        total = values.astype(np.int64) << run.config["double"]
        count = total[..., 0, 0].size
        for s, queue in enumerate(self.queues):
            if not queue:
                continue  # a set without channels
            rule(len(queue) >= count, "fewer words wait for an addition than sums come")
            words = np.array([queue.popleft() for _ in range(count)])
            total[..., ROWS_PER_SET * s : ROWS_PER_SET * (s + 1)] += words.reshape(*total.shape[:-1], ROWS_PER_SET)
        if run.config["halve"]:
            total = (total >> 1) + (total & total >> 1 & 1)
        clipped: np.ndarray = np.clip(total, *clamp(run.config, "low", "high"))
        return clipped
