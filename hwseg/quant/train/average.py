"""Averaged weights: often better than the last ones of a noisy descent, for one addition per weight and step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Average:
    """Exponential moving average of the parameters, in place of them while `applied`; young averages follow faster."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.values = [p.detach().clone() for p in self.parameters]
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        self.count += 1
        keep = min(self.decay, (1 + self.count) / (10 + self.count))
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.lerp_(parameter, 1 - keep)

    @torch.no_grad()
    def adopt(self) -> None:
        """The averages become the parameters."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange parameters and averages, and back."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for value, parameter in zip(self.values, self.parameters, strict=True):
            kept = parameter.clone()
            parameter.copy_(value)
            value.copy_(kept)
