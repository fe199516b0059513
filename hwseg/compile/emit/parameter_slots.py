"""Where the requantizers' parameters lie: a slot for each pass, all of a layer's loaded at once if they fit."""

from __future__ import annotations

from hwseg.compile.emit.instruction import load_fields
from hwseg.compile.emit.rings import Space
from hwseg.compile.emit.walk import Queue, Walk
from hwseg.compile.plan.plan import LayerPlan
from hwseg.rtl.isa import Target


class ParameterSlots:
    """One layer's slots: all, from the first use to the end, or one pass's at a time."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        self.walk, self.plan = walk, plan
        self.together = len(plan.passes) <= walk.config.param_slots
        self.held: dict[int, tuple[Space, int]] = {}

    def slot(self, p: int) -> tuple[int, int]:
        """A pass's slot, and how many LOADs of parameters it needs."""
        walk, key = self.walk, self._key(p)
        if key not in self.held:
            count = len(self.plan.passes) if self.together else 1
            space = walk.slots.take(count)
            words = 2 * walk.config.rows * count
            address = walk.memory.parameters[self.plan.index] + (0 if self.together else p) * words * 8
            fields = load_fields(Target.PARAMETERS, self.plan.index, address, words, address=space.start)
            self.held[key] = space, walk.load(Queue.PARAMETERS, fields, walk.slots.released)
        space, loads = self.held[key]
        return space.start + (p if self.together else 0), loads

    def used(self, p: int) -> None:
        """The RUNs so far are the last ones of the pass in this rectangle."""
        self.held[self._key(p)][0].until = self.walk.runs
        if not self.together:
            self.held.pop(p)[0].live = False

    def end(self) -> None:
        """The layer is done."""
        for space, _ in self.held.values():
            space.live = False

    def _key(self, p: int) -> int:
        return -1 if self.together else p
