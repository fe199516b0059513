"""The program in the compute unit's order: every CONFIG and RUN, and the LOADs and STOREs that they need.

RUNs are numbered as they come.  Loads and stores are not ordered against each other yet: every LOAD says after which
RUN its space is free and which RUN reads it, every STORE which RUN wrote it; `schedule` puts them into one order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from hwseg.compile.emit.instruction import load_fields, place
from hwseg.compile.emit.memory import MemoryMap
from hwseg.compile.emit.rings import Ring, WeightSpaces
from hwseg.compile.plan.plan import Rectangle
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode, Target

NEVER = 1 << 60
JUMP, TILE = (place(Opcode.RUN, field) for field in ("jump", "tile"))


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
        """STOREs after which a tensor's rows are complete."""
        self.tables = (-1, -1, -1)
        """Layer, pass and tile of the weights that the tables hold."""
        self.written_by = ""
        """What RUNs under the last CONFIG put into the output memory."""
        self.planes = 0
        """Of the last CONFIG."""
        self.key: object = None
        """What the last CONFIG said to read."""
        self.reloaded: list[int] | None = None
        """The last RUN with a reload."""

    def load(self, queue: Queue, fields: list[int], after_run: int, after_store: int = 0) -> int:
        """Returns how many loads of this queue there are now."""
        self.loads[queue].append(Load(queue, fields, after_run, self.runs, after_store))
        return len(self.loads[queue])

    def configure(self, fields: list[int]) -> None:
        """A CONFIG, for the RUNs that follow."""
        self.steps.append(Step(fields, self.runs))

    def run(self, fields: list[int], loads: tuple[int, ...], stores: int, cycles: int, reload: bool) -> None:
        """The next RUN; what it needs as in `Step`."""
        if reload:
            self.reloaded = fields
        self.steps.append(Step(fields, self.runs, loads, stores, cycles, reload))
        self.runs += 1

    def store(self, fields: list[int]) -> None:
        """A STORE of what the RUNs so far have written."""
        self.stores.append(Store(fields, self.runs))

    def wrote(self, name: str, rows: range) -> None:
        """With the STOREs so far these rows of a tensor are complete."""
        written = self.written.setdefault(name, defaultdict(int))
        for row in rows:
            written[row] = len(self.stores)

    def stores_before(self, name: str, rows: Iterable[int]) -> int:
        """STOREs that must have arrived before these rows of a tensor may be read."""
        written = self.written.get(name)
        return max((written[row] for row in rows), default=0) if written else 0

    def tile(self, layer: int, address: int, tile: tuple[int, int, int], packed: bool) -> bool:
        """Bring a weight tile for the next RUN, unless the tables hold it already; True if there is a reload."""
        if tile == self.tables:
            return False
        self.tables = tile
        words = self.config.stored_words(packed)
        start, after = self.weights.find(tile, words, self.runs)
        if after is not None:
            fields = load_fields(Target.WEIGHTS, layer, address, words, every_other=int(packed))
            self.load(Queue.WEIGHTS, fields, after)
        if self.reloaded is not None and start != self.weights.following:
            self.reloaded[JUMP], self.reloaded[TILE] = 1, start % (2 * self.config.weight_words)
        self.weights.following = start + words
        return True
