"""Parameter slots, and what requantizers make of sums with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.arith.requantize import apply
from hwseg.machine.instruction import Fields, Run, signed
from hwseg.rtl.isa import CONFIG, PARAMETER


def clamp(config: Fields, low: str, high: str) -> tuple[int, int]:
    """A CONFIG's clamp, by the names of its two fields."""
    return signed(config[low], CONFIG.fields[low]), signed(config[high], CONFIG.fields[high])


@dataclass(frozen=True)
class Requantizers:
    """`parameters`: uint64 [slot, row, half], one `PARAMETER` for each row of the array."""

    parameters: np.ndarray

    def values(self, run: Run, sums: np.ndarray) -> np.ndarray:
        """Sums [..., row] requantized and clamped, before any addition."""
        multiplier, offset, shift = self._triples(run)
        return apply(sums, multiplier, offset, shift, *clamp(run.config, "first_low", "first_high"))

    def raw(self, run: Run, sums: np.ndarray) -> np.ndarray:
        """int32 [..., row]: sums scaled, neither shifted nor clamped; the low 32 bits."""
        multiplier, offset, _ = self._triples(run)
        found: np.ndarray = (sums * multiplier + offset).astype(np.int32)
        return found

    def head(self, run: Run) -> np.ndarray:
        """int64 [row]: the weights of a 1x1 head."""
        return self._column(run, "dot")

    def _triples(self, run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shift = np.array([fields["shift"] for fields in self._fields(run)])
        return self._column(run, "multiplier"), self._column(run, "offset"), shift

    def _column(self, run: Run, name: str) -> np.ndarray:
        return np.array([signed(fields[name], PARAMETER.fields[name]) for fields in self._fields(run)], np.int64)

    def _fields(self, run: Run) -> list[Fields]:
        slot = self.parameters[run.fields["slot"]]
        return [PARAMETER.unpack(int(low) | int(high) << 64) for low, high in slot]
