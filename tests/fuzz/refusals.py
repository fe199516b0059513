"""Why drawn graphs may be refused: every reason that is known, and no other.

A graph that is accepted today and refused tomorrow shows here: as a new reason, or as a share below `ACCEPTED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tests.fuzz.checks import Refusal

ACCEPTED = 0.9
"""Of all drawn graphs by the loader, and of those that are compiled by the compiler, at least."""

REASONS: Mapping[str, str] = {
    r"load: must have a convolution": "the drawer's last operation read an older tensor",
    r"load: input x must be quantized once, alike for all its readers": "a picture without a quantizer of its own",
    r"load: \S+ must have at most N bits, has (N|from N to N) because of its zero points?": (
        "a product or a shuffle of a map with a zero point; an addition or a mean of joined ones that reach too far"
    ),
    r"load: a slope below N wants a quantizer of N bits, this one has N because of its zero point": (
        "both branches of a PReLU above the base of a map of 9 bits"
    ),
    r"load: N is too near to a tie": "a function nearer to a tie than fifty digits tell, as GELU far out",
    r"load: inputs must be quantized to at most N bits, TENSOR is not": "a product of a map behind a ReLU",
    r"compile: channel N: N of N requantization steps, .* are not reproduced by": "float scales with many ties",
    r"compile: residual add has N pairs of values that N-bit weights do not reproduce": "float scales of an addition",
    r"compile: the smallest strip, N rows of N pixels, (needs N (partial sums|bank words), has N|does not fit N)": (
        "an array of small memories"
    ),
}


def reason(refusal: Refusal) -> str:
    """The rule without its place, numbers as N and names left out."""
    rule = refusal.rule.replace(refusal.place, "PLACE") if refusal.place else refusal.rule
    rule = re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "N", re.sub(r"\bt\d+\S*", "TENSOR", rule))
    return f"{refusal.stage}: {rule}"


def accepted(refusals: Iterable[Refusal], stage: str, count: int) -> float:
    """The share of `count` graphs that "load" or "compile" did not refuse."""
    return 1 - sum(refusal.stage == stage for refusal in refusals) / max(count, 1)


def unknown(refusals: Iterable[Refusal]) -> list[str]:
    """Reasons that are not in the table."""
    found = {reason(refusal) for refusal in refusals}
    return sorted(r for r in found if not any(re.search(pattern, r) for pattern in REASONS))
