"""What a training run tells: each step, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.quant.train import metrics


@dataclass(frozen=True)
class Result:
    """What a run came to.  status: 0, or where a signal stopped it and it can be resumed what a shell expects then: 130
    after Ctrl-C, 143 after SIGTERM.
    """

    step: int
    status: int
    best_dice: float
    scores: dict[str, metrics.Score]

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its end."""
        return self.status != 0


@dataclass(frozen=True)
class Progress:
    """One training step, as told to whoever shows it; `val_dice` only where it was measured."""

    step: int
    stage: str
    loss: float
    val_dice: float | None
