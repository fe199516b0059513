"""Why drawn graphs may be refused: every reason that is known, and no other.

A graph that is accepted today and refused tomorrow shows here: as a new reason, or as a share below `ACCEPTED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tests.fuzz.checks import Refusal

ACCEPTED = 0.9
"""Of all drawn graphs, at least."""

REASONS: Mapping[str, str] = {
    r"must have a convolution": "the drawer's last operation read an older tensor",
    r"channel N: N of N requantization steps, .* are not reproduced by": "float scales with many ties",
    r"residual add has N pairs of values that N-bit weights do not reproduce": "float scales of an addition",
    r"the smallest strip, N rows of N pixels, needs N (partial sums|bank words), has N": "an array of small memories",
}


def reason(refusal: Refusal) -> str:
    """The rule without its place, numbers as N and names left out."""
    rule = refusal.rule.replace(refusal.place, "PLACE") if refusal.place else refusal.rule
    rule = re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "N", re.sub(r"\bt\d+\S*", "TENSOR", rule))
    return f"{refusal.stage}: {rule}"


def unknown(refusals: Iterable[Refusal]) -> list[str]:
    """Reasons that are not in the table."""
    found = {reason(refusal) for refusal in refusals}
    return sorted(r for r in found if not any(re.search(pattern, r) for pattern in REASONS))
