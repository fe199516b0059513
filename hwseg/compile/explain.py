"""Why each layer takes the cycles it takes, and what would help: shares of the exact recurrence, no estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwseg.clock.timing import CAUSES, Timing
from hwseg.compile.lower.layers import Layer
from hwseg.compile.plan.chain import Chain

BUSY = 0.9
"""Share of cycles from which a layer counts as bound by the array itself."""

HELP = {
    "compute": "fewer planes (bits) or channels",
    "lanes": "more input channels (3x3: multiples of 8, 1x1: of 64) or output channels (multiples of the rows)",
    "dispatch": "larger strips: an array with deeper memories",
    "input": "a faster DDR, or fewer bits in what it reads",
    "output": "a faster DDR, or fewer bits in what it writes",
    "weights": "taller strips, so that a weight tile serves more pixels",
    "reload": "taller strips, so that tables are loaded less often",
    "turn": "taller strips: fewer instructions",
}


NEAREST = "nearest upsampling, which takes no time"
INSTEAD = {
    "bilinear": f"{NEAREST}, or a transposed convolution",
    "edge": f"{NEAREST}, or a transposed convolution",
    "fold": "a kernel of 3x3",
    "conv5x5": "kernels of 3x3",
    "conv5x5/2": "a kernel of 3x3",
    "conv7x7/2": "a kernel of 3x3",
    "conv7x7": "kernels of 3x3",
    "conv9x9": "kernels of 3x3, or a dilation of 1 or 2",
    "unfold": "kernels of 3x3, or a dilation of 1 or 2",
    "maxpool3x3": "max pooling of 2x2, which takes no time",
    "leaky": "ReLU, which takes no time: a LeakyReLU or PReLU makes the layer before it run twice, too",
    "function": "ReLU, which takes no time, HardSigmoid instead of Sigmoid, or fewer bits before and behind it",
    "product": "fewer bits in the gate, a gate of one channel, or none: a concatenation takes no time",
    "avgpool": "max pooling, which takes no time, or a convolution of stride 2",
}
"""What helps layers that do a model's cheap operation with few of the array's lanes."""


def _instead(layer: Layer) -> str:
    """What to use instead of an operation that the array has no cheap way for, or nothing."""
    if layer.op.startswith("tconv") and layer.phases is not None:
        return f"a transposed convolution of 2x2, of a quarter of the cycles, or {NEAREST}"
    if layer.op.startswith("grouped"):
        return (
            "dense convolutions of fewer channels: of a pass's 8 input channels each output has use for its group only"
        )
    return INSTEAD.get(layer.op, "")


def _told_once(layers: Sequence[Layer], cycles: Sequence[int]) -> dict[int, str]:
    """What to use instead of each operation, by the number of a layer: of those that it became, the one that counts the
    model's multiplications, or takes longest; the others have nothing to tell.
    """
    found: dict[int, str] = {}
    steps: dict[str, list[int]] = {}
    for number, layer in enumerate(layers):
        if _instead(layer):
            steps.setdefault(layer.made_for or layer.name, []).append(number)
    for numbers in steps.values():
        first = max(numbers, key=lambda number: (layers[number].macs, cycles[number]))
        found |= dict.fromkeys(numbers, "")
        together = f": {len(numbers)} layers, {sum(cycles[n] for n in numbers):,} cycles" if len(numbers) > 1 else ""
        found[first] = _instead(layers[first]) + together
    return found


@dataclass(frozen=True)
class Explanation:
    """One layer.  chain: number of the chain it runs in; fused: with how many others.  rows: of its strips.

    shares: of its cycles, "compute" and each of `CAUSES`.  lanes: share of the array's lanes that multiply real weights
    with real pixels while it computes.  bound: what the layer's time goes to: "compute", "lanes" that have nothing to
    multiply, or the cause that stalls the array most.
    """

    layer: str
    chain: int
    fused: int
    rows: int
    cycles: int
    shares: dict[str, float]
    lanes: float
    bound: str
    help: str


def explain(chains: Sequence[Chain], timing: Timing, lane_cycles: Sequence[float]) -> tuple[Explanation, ...]:
    """Every layer, in order; `lane_cycles`: cycles that its multiplications would take with every lane busy."""
    found: list[Explanation] = []
    plans = [plan for chain in chains for plan in chain.plans]
    instead = _told_once([plan.layer for plan in plans], [timing.layers[plan.index] for plan in plans])
    for number, chain in enumerate(chains):
        for plan in chain.plans:
            cycles, walking = timing.layers[plan.index], timing.walking[plan.index]
            stalls = timing.stalls[plan.index]
            shares = {"compute": walking / cycles} | {cause: stalls[cause] / cycles for cause in CAUSES}
            lanes = lane_cycles[plan.index] / walking
            bound = max(CAUSES, key=lambda cause: stalls[cause])
            if shares["compute"] >= BUSY:
                bound = "compute" if lanes >= BUSY * _reachable(plan.layer) else "lanes"
            found.append(
                Explanation(
                    plan.layer.name,
                    number,
                    len(chain.plans) - 1,
                    plan.rows,
                    cycles,
                    shares,
                    lanes,
                    bound,
                    instead.get(len(found), HELP[bound]),
                )
            )
    return tuple(found)


def _reachable(layer: Layer) -> float:
    """Lanes of a tile that can be busy: transposed convolutions use 64 of 72."""
    return 64 / 72 if layer.kernel == 2 else 1.0
