"""The program in the compute unit's order: every CONFIG and RUN, and the LOADs and STOREs that they need.

RUNs are numbered as they come.  Loads and stores are not ordered against each other yet: every LOAD says after which
RUN its space is free and which RUN reads it, every STORE which RUN wrote it; `schedule` puts them into one order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum

from hwseg.compile.emit.memory import MemoryMap
from hwseg.compile.emit.rings import Ring, WeightSpaces
from hwseg.compile.plan.plan import Rectangle
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import DESTINATION, NO_WRAP, RUN, Opcode, Target

NEVER = 1 << 60
JUMP, TILE = (list(RUN.fields).index(name) for name in ("jump", "tile"))


class Queue(IntEnum):
    """LOADs of one kind stay in order among themselves."""

    REGION = 0
    WEIGHTS = 1
    PARAMETERS = 2
    MOVES = 3


@dataclass(slots=True)
class Load:
    queue: Queue
    fields: list[int]
    after_run: int
    """RUNs that must be complete first."""
    deadline: int
    """Number of the first RUN that needs it."""
    after_store: int = 0
    """STOREs whose words must have arrived in memory first."""


@dataclass(slots=True)
class Store:
    fields: list[int]
    after_run: int
    deadline: int = NEVER


@dataclass(slots=True)
class Step:
    """CONFIG or RUN.  `loads`: per queue the number of LOADs it needs; `stores`: STOREs that must be complete."""

    fields: list[int]
    run: int
    """Number of this RUN; of the next one for a CONFIG; negative numbers do not occur."""
    loads: tuple[int, ...] = (0,) * len(Queue)
    stores: int = 0
    cycles: int = 0
    reload: bool = False


@dataclass
class Walk:
    """Collects steps, loads and stores, layer after layer."""

    config: EngineConfig
    memory: MemoryMap
    steps: list[Step] = field(default_factory=list)
    loads: tuple[list[Load], ...] = field(default_factory=lambda: tuple([] for _ in Queue))
    stores: list[Store] = field(default_factory=list)
    runs: int = 0
    written_blocks: list[tuple[int, int, Rectangle]] = field(default_factory=list)
    """Layer, pass and rectangle of every RUN that writes planes, in order: what a tap on the requantizers sees."""

    def __post_init__(self) -> None:
        config = self.config
        self.banks = Ring(config.bank_words)
        self.out = Ring(config.out_words)
        self.loop = Ring(config.loop_words)
        self.pool = Ring(config.pool_words)
        self.slots = Ring(config.param_slots)
        self.weights = WeightSpaces(config.weight_words)
        self.written: dict[str, defaultdict[int, int]] = {}
        self.tables = (-1, -1, -1)
        self.written_by = ""
        """What RUNs under the last CONFIG put into the output memory."""
        self.key: object = None
        """What the last CONFIG said to read."""
        self.reloaded: list[int] | None = None
        """The last RUN with a reload."""

    def load(self, queue: Queue, fields: list[int], after_run: int, after_store: int = 0) -> int:
        """Returns how many loads of this queue there are now."""
        self.loads[queue].append(Load(queue, fields, after_run, self.runs, after_store))
        return len(self.loads[queue])

    def tile(self, layer: int, address: int, tile: tuple[int, int, int], packed: bool) -> bool:
        """Bring a weight tile for the next RUN, unless the tables hold it already; True if there is a reload."""
        if tile == self.tables:
            return False
        self.tables = tile
        words = self.config.stored_words(packed)
        place, after = self.weights.find(tile, words, self.runs)
        if after is not None:
            fields = load_fields(Target.WEIGHTS, layer, address, words, every_other=int(packed))
            self.load(Queue.WEIGHTS, fields, after)
        if self.reloaded is not None and place != self.weights.following:
            self.reloaded[JUMP], self.reloaded[TILE] = 1, place % (2 * self.config.weight_words)
        self.weights.following = place + words
        return True


def load_fields(
    target: Target, layer: int, ddr: int, words: int, runs: int = 1, stride: int = 0, **fields: int
) -> list[int]:
    """Values in the order of `isa.LOAD`; what it waits for and costs is filled in by the schedule."""
    fields.setdefault("wrap_at", NO_WRAP)
    fields.setdefault("wrap_to", NO_WRAP)
    where = [fields.get(name, 0) for name in DESTINATION]
    return [Opcode.LOAD, target, layer, 0, ddr, words, runs, stride, *where, 0, 0]
