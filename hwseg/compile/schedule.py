"""One stream of instructions from two orders: LOADs and STOREs are placed by simulating the engine's clock.

Whenever the memory unit is free, the request that is ready and whose reader comes first goes next (earliest deadline
first); if none is ready, the one that will be ready first.  So inputs and weights of later tiles and layers arrive
while the array works, as far as the memories have room.  The stream is then sorted by start time: what an instruction
waits for stands before it, and in-order queues of any depth cannot deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.compile.timing import ACKNOWLEDGED, COUNTED, LATENCY, MOVED, STORED, Constants
from hwseg.compile.walk import Load, Queue, Step, Store, Walk, load_fields
from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import FORMATS, LOAD, Opcode, Target

COUNTER = 0xFFFF
NEVER = 1 << 62

FENCE, WAIT_RUNS = LOAD_FENCE, LOAD_WAIT = list(LOAD.fields).index("fence"), list(LOAD.fields).index("wait_runs")
STORE_WAIT = list(FORMATS[Opcode.STORE].fields).index("wait_runs")
RUN_LOADS = list(FORMATS[Opcode.RUN].fields).index("wait_loads")
RUN_STORES = list(FORMATS[Opcode.RUN].fields).index("wait_stores")


def schedule(walk: Walk, config: EngineConfig, program_address: int, latency: int = LATENCY) -> bytes:
    """The program's bytes."""
    _deadlines(walk)
    stream = Placement(walk, Constants.of(config, latency)).run()
    return pack(finish(stream, program_address))


def _deadlines(walk: Walk) -> None:
    """A STORE is due before the first RUN that reuses its space or needs a LOAD of what it wrote."""
    stores = walk.stores
    for step in walk.steps:
        if step.stores:
            due = stores[step.stores - 1]
            due.deadline = min(due.deadline, step.run)
    for queue in walk.loads:
        for load in queue:
            if load.after_store:
                due = stores[load.after_store - 1]
                due.deadline = min(due.deadline, load.deadline)
    deadline = NEVER
    for store in reversed(stores):
        deadline = store.deadline = min(deadline, store.deadline)


@dataclass
class Placement:
    """The clocked simulation: `run` returns the stream without program pages, counters not yet numbered."""

    walk: Walk
    constants: Constants

    def run(self) -> list[Step | Load | Store]:
        walk = self.walk
        self.stream: list[tuple[int, int, Step | Load | Store]] = []
        self.landed: tuple[list[int], list[int], list[int]] = ([], [], [])
        self.stored: list[int] = []
        self.done: list[int] = []
        self.clock = self.shadow_free = self.acknowledged = self.memory_free = 0
        self.fenced = self.next_step = self.next_store = 0
        heads = [0, 0, 0]
        queues = walk.loads
        while True:
            self._advance()
            chosen: int | None = None
            best = (NEVER, NEVER)
            now = self.memory_free
            for kind, queue in enumerate(queues):
                if heads[kind] < len(queue):
                    load = queue[heads[kind]]
                    key = (max(self._load_ready(load), now), load.deadline)
                    if key < best:
                        best, chosen = key, kind
            if self.next_store < len(walk.stores):
                store = walk.stores[self.next_store]
                key = (max(self._runs_done(store.after_run), now), store.deadline)
                if key < best:
                    best, chosen = key, 3
            if chosen is None:
                break
            if chosen == 3:
                self._place_store(walk.stores[self.next_store], best[0])
            else:
                self._place_load(queues[chosen][heads[chosen]], best[0])
                heads[chosen] += 1
        assert self.next_step == len(walk.steps), "the plan cannot deadlock"
        assert self.next_store == len(walk.stores)
        assert all(head == len(queue) for head, queue in zip(heads, queues, strict=True))
        self.stream.sort(key=lambda entry: entry[:2])
        return [item for _, _, item in self.stream]

    def _runs_done(self, count: int) -> int:
        """When so many RUNs are complete; NEVER if that is not known yet."""
        if count == 0:
            return 0
        return self.done[count - 1] if count <= len(self.done) else NEVER

    def _load_ready(self, load: Load) -> int:
        ready = self._runs_done(load.after_run)
        if load.after_store > self.fenced:
            if load.after_store > self.next_store:
                return NEVER
            ready = max(ready, self.acknowledged)
        return ready

    def _place_load(self, load: Load, start: int) -> None:
        c, f = self.constants, load.fields
        if load.after_store > self.fenced:
            f[LOAD_FENCE] = 1
            self.fenced = self.next_store
        start += 1
        self.memory_free = end = start + 1 + f[6] * f[7]
        self.landed[load.queue].append(end + c.latency + (MOVED if load.queue == Queue.WEIGHTS else COUNTED))
        self.stream.append((start, 1, load))

    def _place_store(self, store: Store, start: int) -> None:
        c, f = self.constants, store.fields
        start += 1
        self.memory_free = end = start + 1 + f[5] * f[6]
        self.stored.append(end + STORED)
        self.acknowledged = end + c.latency + ACKNOWLEDGED
        self.next_store += 1
        self.stream.append((start, 1, store))

    def _advance(self) -> None:
        """Run the compute unit as far as the placed loads and stores allow."""
        c, landed = self.constants, self.landed
        steps, clock = self.walk.steps, self.clock
        counts = [len(queue) for queue in landed]
        while self.next_step < len(steps):
            step = steps[self.next_step]
            a, b, p = step.loads
            if a > counts[0] or b > counts[1] or p > counts[2] or step.stores > len(self.stored):
                break
            clock += 1
            if step.cycles:
                if a:
                    clock = max(clock, landed[0][a - 1])
                if p:
                    clock = max(clock, landed[2][p - 1])
                if step.stores:
                    clock = max(clock, self.stored[step.stores - 1])
                if step.reload:
                    clock = max(clock, self.shadow_free + self.tile_words, landed[1][b - 1])
                    self.shadow_free = clock + 1 + c.hold
                self.stream.append((clock, 0, step))
                clock += (c.reload if step.reload else 1) + step.cycles
                self.done.append(clock + c.completion)
            else:
                if self.done:
                    clock = max(clock, self.done[-1])
                self.stream.append((clock, 0, step))
                clock += 1
            self.next_step += 1
        self.clock = clock

    @property
    def tile_words(self) -> int:
        return self.walk.config.tile_words


def finish(stream: list[Step | Load | Store], program_address: int) -> list[list[int]]:
    """Insert the LOADs of the program's pages and number the counters that instructions wait for."""
    count = len(stream) + 1
    pages = 1
    while pages * PAGE_INSTRUCTIONS < count + pages - 1:
        pages += 1
    total = (count + pages - 1) * INSTRUCTION_WORDS
    result: list[list[int]] = []
    positions: tuple[list[int], list[int], list[int]] = ([], [], [])
    loads = runs_waited = loads_waited = stores_waited = 0
    layer = 0
    for item in stream:
        page, place = divmod(len(result), PAGE_INSTRUCTIONS)
        if place == 0 and page + 1 < pages:
            start = (page + 1) * PAGE_WORDS
            words = min(PAGE_WORDS, total - start)
            fields = load_fields(
                Target.PROGRAM, layer, program_address + 8 * start, words, address=PAGE_WORDS * ((page + 1) & 1)
            )
            fields[LOAD_WAIT] = runs_waited & COUNTER
            result.append(fields)
            loads += 1
        fields, layer = item.fields, item.fields[3 if isinstance(item, Load) else 2]
        if isinstance(item, Step):
            layer = item.fields[1]
            if item.cycles:
                a, _, p = item.loads
                loads_waited = max(loads_waited, positions[0][a - 1] if a else 0, positions[2][p - 1] if p else 0)
                stores_waited = max(stores_waited, item.stores)
                fields[RUN_LOADS], fields[RUN_STORES] = loads_waited & COUNTER, stores_waited & COUNTER
        else:
            runs_waited = max(runs_waited, item.after_run)
            if isinstance(item, Load):
                fields[LOAD_WAIT] = runs_waited & COUNTER
                loads += 1
                positions[item.queue].append(loads)
            else:
                fields[STORE_WAIT] = runs_waited & COUNTER
        result.append(fields)
    result.append([Opcode.HALT])
    assert len(result) * INSTRUCTION_WORDS == total
    return result


def pack(instructions: list[list[int]]) -> bytes:
    """All instructions of one format at a time, field by field."""
    words = np.zeros((len(instructions), INSTRUCTION_WORDS), np.uint64)
    opcodes = np.array([fields[0] for fields in instructions])
    for opcode, instruction in FORMATS.items():
        rows = np.flatnonzero(opcodes == opcode)
        if not rows.size:
            continue
        values = np.array([instructions[i] for i in rows], np.int64)
        assert values.shape[1] == len(instruction.fields), instruction.name
        packed = words[rows]
        offset = 0
        for column, (name, width) in enumerate(instruction.fields.items()):
            field = values[:, column]
            if (field < 0).any() or (field >> width).any():
                bad = int(field[(field < 0) | (field >> width != 0)][0])
                instruction.pack(**{name: bad})
            word, bit = divmod(offset, 64)
            packed[:, word] |= field.astype(np.uint64) << np.uint64(bit)
            if bit + width > 64:
                packed[:, word + 1] |= field.astype(np.uint64) >> np.uint64(64 - bit)
            offset += width
        words[rows] = packed
    return words.tobytes()
