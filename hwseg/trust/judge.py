"""Confidence, deferral and review of one network's masks, from its head's integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.trust.confidence import Confidence, fit_table
from hwseg.trust.fitted import Trust
from hwseg.trust.scores import SCORES, WORDS, Doubtful

ACCEPT, REVIEW = "accept", "review"

KEY = "trust"
"""Of a package's model.json."""


@dataclass(frozen=True)
class Review:
    """Whether a person should look at a picture.  score: which; value, limit: of it."""

    score: str
    value: float
    limit: float

    @property
    def verdict(self) -> str:
        """ "accept" or "review"."""
        return REVIEW if self.value > self.limit else ACCEPT

    @property
    def reason(self) -> str:
        """In words."""
        how = "above" if self.verdict == REVIEW else "at most"
        return f"{WORDS[self.score]} is {self.value:.3g}, {how} {self.limit:.3g}"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"


@dataclass(frozen=True)
class Judge:
    """trust: what was fitted.  table: from the head's integers to confidence."""

    trust: Trust
    table: Confidence

    @classmethod
    def of(cls, trust: Trust, scale: tuple[Fraction, ...], offset: tuple[Fraction, ...]) -> Judge:
        """scale, offset: of each channel of the head, whose logit is scale * q + offset, less its threshold."""
        return cls(trust, fit_table(tuple(map(Fraction, trust.temperatures)), scale, offset))

    def confidence(self, sums: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """uint8 [H, W] of the head's integers [H, W, C] and the mask [H, W] that they give."""
        return self.table.map(sums, mask)

    def deferred(self, confidence: np.ndarray) -> np.ndarray:
        """bool [H, W]: the pixels that a person should decide."""
        return np.asarray(confidence < self.trust.bound)

    def review(self, confidence: np.ndarray, mask: np.ndarray) -> Review:
        """Whether a person should look at the picture, and why."""
        value = SCORES[self.trust.score](Doubtful.of(confidence, mask, self.trust.bound))
        return Review(self.trust.score, value, float(Fraction(self.trust.limit)))


@dataclass(frozen=True)
class Doubts:
    """Of one mask: confidence, uint8 [H, W]; deferred, bool [H, W]; review."""

    confidence: np.ndarray
    deferred: np.ndarray
    review: Review

    @classmethod
    def of(cls, judge: Judge, sums: np.ndarray, mask: np.ndarray) -> Doubts:
        """Of the head's integers [H, W, C] and the mask [H, W] that they give."""
        confidence = judge.confidence(sums, mask)
        return cls(confidence, judge.deferred(confidence), judge.review(confidence, mask))

    @property
    def share(self) -> float:
        """Of the pixels that are deferred."""
        return int(np.count_nonzero(self.deferred)) / self.deferred.size

    def sentence(self) -> str:
        """For people."""
        return f"{self.review}; {100 * self.share:.1f} % of the pixels are deferred"

    def json(self) -> dict[str, Any]:
        """Plain values."""
        verdict, reason = self.review.verdict, self.review.reason
        return {"verdict": verdict, "reason": reason, "score": self.review.score, "value": self.review.value,
                "limit": self.review.limit, "deferred": self.share}  # fmt: skip


def packed(trust: Trust, scale: tuple[Fraction, ...], offset: tuple[Fraction, ...]) -> dict[str, Any]:
    """What `Judge.of` needs, for model.json, where `hwseg.runtime.model` reads it."""
    return {"fitted": trust.text(), "scale": [str(one) for one in scale], "offset": [str(one) for one in offset]}
