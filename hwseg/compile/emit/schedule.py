"""One stream of instructions from several orders: LOADs, MOVEs and STOREs are placed by simulating the engine's clock.

Whenever the reader is free, the request that is ready and whose RUN comes first goes next (earliest deadline first); if
none is ready, the one that will be ready first.  STOREs go in their own order beside it.  So inputs and weights of
later tiles and layers arrive while the array works, as far as the memories have room.  The stream is then sorted by
start time: what an instruction waits for stands before it, and in-order queues of any depth cannot deadlock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwseg.clock.constants import ACKNOWLEDGED, COUNTED, LATENCY, MOVED, STORED, TAKEN, Constants
from hwseg.compile.emit.instruction import load_fields, place
from hwseg.compile.emit.walk import Load, Queue, Step, Store, Walk
from hwseg.errors import require
from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import FORMATS, Opcode, Target

COUNTER = 0xFFFF
NEVER = 1 << 62

LOAD_WAIT, LOAD_STORES, LOAD_COST = (place(Opcode.LOAD, f) for f in ("wait_runs", "wait_stores", "cost"))
LOAD_PACKED = place(Opcode.LOAD, "every_other")
LOAD_WORDS, LOAD_RUNS = (place(Opcode.LOAD, f) for f in ("run_words", "runs"))
MOVE_WAIT, MOVE_COST = (place(Opcode.MOVE, f) for f in ("wait_runs", "cost"))
STORE_WAIT, STORE_COST = (place(Opcode.STORE, f) for f in ("wait_runs", "cost"))
STORE_WORDS, STORE_RUNS = (place(Opcode.STORE, f) for f in ("run_words", "runs"))
RUN_LOADS, RUN_STORES = (place(Opcode.RUN, f) for f in ("wait_loads", "wait_stores"))


@dataclass(frozen=True)
class Pace:
    """The memory's share: cycles per 64-bit word, reads and writes together."""

    cycles_per_word: float

    @classmethod
    def of(cls, bytes_per_second: float, clock_mhz: float) -> Pace:
        rule = f"must be a positive number of bytes per second, is {bytes_per_second:g}"
        require(0 < bytes_per_second < math.inf, "the board's DDR rate", rule, "correct ddr.bytes_per_second")
        return cls(8 * clock_mhz * 1e6 / bytes_per_second)

    def cost(self, words: int) -> int:
        """Cycles that a transfer keeps the memory: what `isa.LOAD` and `isa.STORE` say."""
        return min((1 << 20) - 1, math.ceil(words * self.cycles_per_word))


def schedule(walk: Walk, config: EngineConfig, program_address: int, pace: Pace, latency: int = LATENCY) -> bytes:
    """The program's bytes."""
    _deadlines(walk)
    stream = Placement(walk, Constants.of(config, latency), pace).run()
    return pack(finish(stream, program_address, pace))


def _deadlines(walk: Walk) -> None:
    """A STORE or MOVE is due before the first RUN that reuses its space or needs what it wrote."""
    stores, moves = walk.stores, walk.loads[Queue.MOVES]
    for step in walk.steps:
        if step.stores:
            due = stores[step.stores - 1]
            due.deadline = min(due.deadline, step.run)
        if step.loads[Queue.MOVES]:
            move = moves[step.loads[Queue.MOVES] - 1]
            move.deadline = min(move.deadline, step.run)
    deadline = NEVER
    for move in reversed(moves):
        deadline = move.deadline = min(deadline, move.deadline)
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
    pace: Pace

    def run(self) -> list[Step | Load | Store]:
        walk = self.walk
        self.stream: list[tuple[int, int, Step | Load | Store]] = []
        self.landed: tuple[list[int], ...] = tuple([] for _ in Queue)
        self.stored: list[int] = []
        self.done: list[int] = []
        self.clock = self.shadow_free = self.reader_free = self.writer_free = self.paced = 0
        self.next_step = self.next_store = 0
        self.acknowledged: list[int] = []
        heads = [0] * len(Queue)
        while True:
            self._advance()
            best, chosen = (NEVER, NEVER), -1
            for kind, queue in enumerate(walk.loads):
                if heads[kind] < len(queue):
                    load = queue[heads[kind]]
                    free = self.reader_free if kind == Queue.MOVES else max(self.reader_free, self.paced)
                    key = (max(self._load_ready(load), free), load.deadline)
                    if key < best:
                        best, chosen = key, kind
            if self.next_store < len(walk.stores):
                store = walk.stores[self.next_store]
                ready = max(self._runs_done(store.after_run), self.writer_free, self.paced)
                if (ready, store.deadline) < best:
                    self._place_store(store, ready)
                    continue
            if chosen < 0:
                break
            assert best[0] < NEVER, "the plan cannot deadlock"
            self._place_load(walk.loads[chosen][heads[chosen]], best[0])
            heads[chosen] += 1
        assert self.next_step == len(walk.steps), "the plan cannot deadlock"
        assert self.next_store == len(walk.stores)
        self.stream.sort(key=lambda entry: entry[:2])
        return [item for _, _, item in self.stream]

    def _runs_done(self, count: int) -> int:
        """When so many RUNs are complete; NEVER if that is not known yet."""
        if count == 0:
            return 0
        return self.done[count - 1] if count <= len(self.done) else NEVER

    def _load_ready(self, load: Load) -> int:
        ready = self._runs_done(load.after_run)
        if load.after_store > len(self.acknowledged):
            return NEVER
        return max(ready, self.acknowledged[load.after_store - 1]) if load.after_store else ready

    def _place_load(self, load: Load, start: int) -> None:
        c, f = self.constants, load.fields
        start += TAKEN
        if load.queue == Queue.MOVES:
            self.reader_free = start + 1 + f[MOVE_COST]
            self.landed[load.queue].append(self.reader_free + c.latency)
        else:
            words = f[LOAD_WORDS] * f[LOAD_RUNS]
            f[LOAD_COST] = self.pace.cost(words)
            self.reader_free = end = start + 1 + words
            self.paced = start + f[LOAD_COST]
            late = COUNTED
            if load.queue == Queue.WEIGHTS:
                late = MOVED + words * f[LOAD_PACKED]
            self.landed[load.queue].append(end + c.latency + late)
        self.stream.append((start, 1, load))

    def _place_store(self, store: Store, start: int) -> None:
        c, f = self.constants, store.fields
        start += TAKEN
        words = f[STORE_WORDS] * f[STORE_RUNS]
        f[STORE_COST] = self.pace.cost(words)
        self.writer_free = end = start + 1 + words
        self.paced = start + f[STORE_COST]
        self.stored.append(end + STORED)
        self.acknowledged.append(end + c.latency + ACKNOWLEDGED)
        self.next_store += 1
        self.stream.append((start, 1, store))

    def _advance(self) -> None:
        """Run the compute unit as far as the placed loads and stores allow."""
        c, landed = self.constants, self.landed
        steps, clock = self.walk.steps, self.clock
        while self.next_step < len(steps):
            step = steps[self.next_step]
            if step.stores > len(self.stored) or any(n > len(seen) for n, seen in zip(step.loads, landed, strict=True)):
                break
            clock += 1
            if step.cycles:
                for kind, n in enumerate(step.loads):
                    if n and kind != Queue.WEIGHTS:
                        clock = max(clock, landed[kind][n - 1])
                if step.stores:
                    clock = max(clock, self.stored[step.stores - 1])
                if step.reload:
                    weights = landed[Queue.WEIGHTS][step.loads[Queue.WEIGHTS] - 1]
                    clock = max(clock, self.shadow_free + self.tile_words, weights)
                    self.shadow_free = clock + 1 + c.hold
                self.stream.append((clock, 0, step))
                clock += (c.reload if step.reload else 1) + step.cycles
                self.done.append(clock + c.completion)
            else:
                self.stream.append((clock, 0, step))
                clock += 1
            self.next_step += 1
        self.clock = clock

    @property
    def tile_words(self) -> int:
        return self.walk.config.tile_words


def finish(stream: list[Step | Load | Store], program_address: int, pace: Pace) -> list[list[int]]:
    """Insert the LOADs of the program's pages and number the counters that instructions wait for."""
    count = len(stream) + 1
    pages = 1
    while pages * PAGE_INSTRUCTIONS < count + pages - 1:
        pages += 1
    total = (count + pages - 1) * INSTRUCTION_WORDS
    result: list[list[int]] = []
    positions: tuple[list[int], ...] = tuple([] for _ in Queue)
    loads = read_runs = read_stores = write_runs = loads_waited = stores_waited = 0
    layer = 0
    for item in stream:
        page, number = divmod(len(result), PAGE_INSTRUCTIONS)
        if number == 0 and page + 1 < pages:
            start = (page + 1) * PAGE_WORDS
            words = min(PAGE_WORDS, total - start)
            fields = load_fields(
                Target.PROGRAM, layer, program_address + 8 * start, words, address=PAGE_WORDS * ((page + 1) & 1)
            )
            fields[LOAD_WAIT], fields[LOAD_STORES] = read_runs & COUNTER, read_stores & COUNTER
            fields[LOAD_COST] = pace.cost(words)
            result.append(fields)
            loads += 1
        fields = item.fields
        if isinstance(item, Step):
            layer = fields[1]
            if item.cycles:
                needed = [
                    seen[n - 1]
                    for kind, (seen, n) in enumerate(zip(positions, item.loads, strict=True))
                    if n and kind != Queue.WEIGHTS
                ]
                loads_waited = max([loads_waited, *needed])
                stores_waited = max(stores_waited, item.stores)
                fields[RUN_LOADS], fields[RUN_STORES] = loads_waited & COUNTER, stores_waited & COUNTER
        elif isinstance(item, Load):
            layer = fields[2]
            read_runs = max(read_runs, item.after_run)
            if item.queue == Queue.MOVES:
                fields[MOVE_WAIT] = read_runs & COUNTER
            else:
                fields[LOAD_WAIT] = read_runs & COUNTER
                read_stores = max(read_stores, item.after_store)
                fields[LOAD_STORES] = read_stores & COUNTER
            loads += 1
            positions[item.queue].append(loads)
        else:
            layer = fields[2]
            write_runs = max(write_runs, item.after_run)
            fields[STORE_WAIT] = write_runs & COUNTER
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
