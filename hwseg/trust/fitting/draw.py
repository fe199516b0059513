"""An evaluation as a picture: reliability, risk over coverage, score against Dice."""

from __future__ import annotations

import io
from typing import Any

from hwseg.borders import install, tool
from hwseg.trust.fitting import measures
from hwseg.trust.fitting.evaluate import Evaluation
from hwseg.trust.scores import WORDS

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def figure_png(found: Evaluation) -> bytes:
    """Three panels, a colour for each part."""
    with tool("matplotlib", "drawing", install("train")):
        import matplotlib

        matplotlib.use("agg")
        from matplotlib.figure import Figure

        picture = Figure(figsize=(14, 4.4), layout="constrained")
        left, middle, right = picture.subplots(1, 3)
        for part, colour in zip(found.parts, COLOURS, strict=False):
            for counts, style, when in ((part.before, ":", "before"), (part.counts, "-", "after")):
                rows = measures.reliability(counts)
                left.plot(rows[:, 1], rows[:, 2], style, marker=".", color=colour, label=f"{part.name}, {when}")
            coverage, risk = measures.risk_coverage(part.counts)
            middle.plot(coverage, risk, color=colour, label=part.name)
            values = [one.scores[found.score] for one in part.pictures]
            right.scatter(values, [one.dice for one in part.pictures], s=14, color=colour, label=part.name)
        left.plot([0.5, 1], [0.5, 1], color="grey", linewidth=0.8)
        right.axvline(found.limit, color="grey", linestyle="--", linewidth=0.8)
        right.axhline(found.dice, color="grey", linestyle=":", linewidth=0.8)
        _words(left, "confidence", "share of right pixels", "Reliability")
        _words(middle, "coverage: share of pixels kept", "risk: wrong ones among them", "Risk over coverage")
        _words(right, f"{WORDS[found.score].rstrip(',')} (limit dashed)", "Dice", "Pictures to review")
        return _png(picture)


def _words(axis: Any, x: str, y: str, title: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_title(title)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
