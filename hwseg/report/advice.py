"""What in a network keeps the array from its work, in sentences for the person who may change the network."""

from __future__ import annotations

from collections.abc import Sequence

from hwseg.clock.timing import Timing
from hwseg.compile.plan.plan import LayerPlan
from hwseg.rtl.config import EngineConfig

SHARE = 0.2
"""Of all cycles, from which a kind of layer is worth a sentence."""
LANES = 0.5
"""Share of busy lanes below which it is."""


def idle_lanes(plans: Sequence[LayerPlan], timing: Timing, config: EngineConfig) -> list[str]:
    """1x1 convolutions of few channels, as between the depthwise ones of inverted residuals: a tile holds 64 inputs of
    each of 16 outputs, and few are there.  Heads are not counted.
    """
    narrow = [p for p in plans if p.layer.op.startswith("conv1x1") and p.layer.requantize is not None]
    cycles, walking = (sum(found[p.index] for p in narrow) for found in (timing.layers, timing.walking))
    busy = sum(p.layer.macs * max(s.planes for s in p.sources) for p in narrow)
    if cycles <= SHARE * timing.total or not walking:
        return []
    lanes = busy / (config.rows * config.pixels * config.lanes) / walking
    if lanes >= LANES:
        return []
    return [
        f"1x1 convolutions take {100 * cycles / timing.total:.0f} % of the cycles and keep {100 * lanes:.0f} % of the "
        "lanes busy: plain 3x3 convolutions use the array better"
    ]
