"""When everything happens: the exact recurrence over a program, for a memory of fixed latency and dense execution.

It reads the packed instructions and nothing else.  Units, each in order, meet in counters; every equation below is a
path through the gates of `hwseg.rtl`, counted from the start pulse in cycle 0:

    dispatcher   sends an instruction every 6 cycles; waits for room in the queue of 16 and for its page to land
    reader       takes at t, starts at w > t when the RUNs and STOREs it waits for are complete, then one cycle per beat
                 (MOVE: `cost` cycles)
    writer       the same for STOREs
    pacer        LOADs and STOREs start `cost` cycles after each other at the least; of two in one cycle the one whose
                 unit did not start the last goes first
    compute      takes at t, starts at w > t when loads, stores and shadow weights are there; reload; steps * interval
    weights      a tile moves into the shadow registers `hold` cycles after the last reload, one word a cycle

What is visible of a transfer that ends (unit free again) in cycle e: loaded words land at e + latency, counters one
later; a store's memory is free at e + 3; its write response is counted at e + latency + 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import FORMATS, MOVE_TAIL, Format, Opcode, Target

LATENCY = 40
"""Cycles from a read's address to its first word, and from the last word written to its response."""
QUEUE = 16
DESCRIPTORS = 16
WRITES = 16
DISPATCH = 6
COUNTER = 0xFFFF
COUNTED = 1
"""Cycles from the last word's arrival to the counter that tells of it."""
MOVED = 4
"""Cycles from a weight's arrival to its place in the shadow registers."""
LANDED = 5
"""Cycles from a MOVE's last step to its counter."""
STORED = 3
ACKNOWLEDGED = 6

STARTUP = "start-up"
"""What the time before the first compute instruction is called, where layers have names."""

CAUSES = ("dispatch", "input", "output", "weights", "reload", "turn")
"""Why the array stands still: no instruction yet; words not landed; output memory not emptied; weight tile not there;
tables loading; the cycles that every instruction takes and, at the end, the pipelines' run-out.
"""


@dataclass(frozen=True)
class Constants:
    """Properties of one array's gates.  completion: from a RUN's last cycle to the end of everything that it wrote."""

    latency: int
    reload: int
    hold: int
    completion: int

    @classmethod
    def of(cls, config: EngineConfig, latency: int = LATENCY) -> Constants:
        from hwseg.rtl.latency import latencies

        gates = latencies(config)
        return cls(latency, gates.reload, gates.hold, gates.completion)


@dataclass(frozen=True)
class Timing:
    """total: cycles the engine is busy.  startup: before the first compute instruction.  layers: cycles by layer.

    read_words, write_words: by layer; program pages count for the layer that was being issued.
    stalls: by layer, cycles in which the array did not walk, by `CAUSES`.
    """

    total: int
    startup: int
    layers: dict[int, int]
    read_words: dict[int, int]
    write_words: dict[int, int]
    walking: dict[int, int]
    stalls: dict[int, dict[str, int]]


def unpack(program: bytes) -> tuple[np.ndarray, dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]]]:
    """Opcode of every instruction, and for each format the instructions' numbers and fields."""
    words = np.frombuffer(program, "<u8").reshape(-1, INSTRUCTION_WORDS)
    opcodes = (words[:, 0] & np.uint64(15)).astype(np.int64)
    found = {}
    for opcode, instruction in FORMATS.items():
        rows = np.flatnonzero(opcodes == opcode)
        found[opcode] = rows, fields_of(words[rows], instruction)
    return opcodes, found


def fields_of(words: np.ndarray, instruction: Format) -> dict[str, np.ndarray]:
    """int64 columns of one format's instructions."""
    columns = {}
    for name, offset in instruction.offsets.items():
        width = instruction.fields[name]
        word, bit = divmod(offset, 64)
        value = words[:, word] >> np.uint64(bit)
        if bit + width > 64:
            value = value | words[:, word + 1] << np.uint64(64 - bit)
        columns[name] = (value & np.uint64((1 << width) - 1)).astype(np.int64)
    return columns


def predict(program: bytes, config: EngineConfig, latency: int = LATENCY, saved: Sequence[int] | None = None) -> Timing:
    """The engine's clock, instruction by instruction.

    saved: cycles that each RUN takes less than a dense one, in order (`hwseg.machine.machine.Machine.saved`).
    """
    constants = Constants.of(config, latency)
    opcodes, columns = unpack(program)
    return _Clock(config, constants, saved).run(opcodes, columns, len(program) // 8)


def jumped(position: int, tile: int, config: EngineConfig) -> int:
    """Where the weight ring is read on from `position`, counted from the start, when a RUN names `tile`."""
    around = 2 * config.weight_words
    ahead = (tile - position) % around
    return position + ahead - (around if ahead >= config.weight_words else 0)


class _Unit:
    """A unit's instructions in order: numbers of those dispatched, when each was sent and taken."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, ...]] = []
        self.sent: list[int] = []
        self.taken: list[int] = []
        self.free = 0

    @property
    def waiting(self) -> bool:
        return len(self.taken) < len(self.sent)

    def take(self) -> int:
        """The next instruction leaves its queue: when."""
        n = len(self.taken)
        self.taken.append(max(self.free, self.sent[n] + 1))
        return self.taken[n]


class _Clock:
    """Events in the order of time where units meet in the pacer, in the order of dependence everywhere else."""

    def __init__(self, config: EngineConfig, constants: Constants, saved: Sequence[int] | None = None) -> None:
        self.config, self.constants, self.saved = config, constants, saved
        self.reader, self.writer, self.compute = _Unit(), _Unit(), _Unit()
        self.loads: list[int] = []
        self.stores: list[int] = []
        self.acknowledged: list[int] = []
        self.runs: list[int] = []
        self.pages: list[int] = []
        self.popped: list[int] = []
        self.weights: dict[int, tuple[int, int]] = {}
        """By its place in the weight ring: when a tile's last word landed, and the tile's words."""
        self.landed = self.shadow_free = self.paced = self.ring_read = self.ring_written = 0
        self.writer_went = True
        self.interval = self.last_interval = self.mark = 0
        self.stalls: dict[int, dict[str, int]] = {}
        self.segments: list[tuple[int, int]] = []
        """Layer and cycle in which each compute instruction was taken."""

    def run(
        self, opcodes: np.ndarray, columns: dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]], words: int
    ) -> Timing:
        entries = self._entries(opcodes, columns, self.config.substeps)
        first = min(words, PAGE_WORDS)
        # The hardware's own transfer of page 0: sent in cycle 1.
        self.reader.entries.append((Opcode.LOAD, 0, first, 0, 0, Target.PROGRAM, first, 0))
        self.reader.sent.append(1)
        sent, number = 1, 0
        heads: list[int | None] = [None, None]
        while True:
            progress = False
            while number < len(entries):
                after = self._dispatch(sent, number, entries[number])
                if after is None:
                    break
                sent, number, progress = after, number + 1, True
            while self.compute.waiting and self._compute():
                progress = True
            for side, unit in enumerate((self.reader, self.writer)):
                if heads[side] is None and unit.waiting:
                    heads[side] = unit.take()
                    progress = True
            starts = [self._read_start(heads[0]), self._write_start(heads[1])]
            if starts[0] is not None and self.reader.entries[len(self.reader.taken) - 1][0] == Opcode.MOVE:
                self._read(starts[0])
                heads[0] = None
                continue
            if progress:
                continue
            if starts == [None, None]:
                break
            side = self._first(starts)
            start = starts[side]
            assert start is not None
            (self._write if side else self._read)(max(start, self.paced))
            heads[side] = None
        assert not any(unit.waiting for unit in (self.reader, self.writer, self.compute)), "the program deadlocks"
        ends = [self.reader.free, self.writer.free, self.compute.free, self.landed + COUNTED]
        idle = max(ends + self.acknowledged[-1:] + self.runs[-1:])
        return self._timing(max(sent, idle), columns, self.config.substeps)

    def _first(self, starts: list[int | None]) -> int:
        """The side that starts first: 0 reader, 1 writer."""
        read, write = (None if start is None else max(start, self.paced) for start in starts)
        if read is None or write is None:
            return int(read is None)
        if read == write:
            return int(not self.writer_went)
        return int(write < read)

    def _dispatch(self, sent: int, number: int, entry: tuple[int, ...]) -> int | None:
        """When the instruction is sent; None if that is not known yet."""
        if number % PAGE_INSTRUCTIONS == 0:
            page = number // PAGE_INSTRUCTIONS
            if page >= len(self.pages):
                return None
            sent = max(sent + 1, self.pages[page])
        sent += DISPATCH
        kind = entry[0]
        if kind == Opcode.HALT:
            return sent
        unit = self.reader
        if kind in (Opcode.RUN, Opcode.CONFIG):
            unit = self.compute
        elif kind == Opcode.STORE:
            unit = self.writer
        ahead = len(unit.sent) - QUEUE
        if ahead >= 0:
            if ahead >= len(unit.taken):
                return None
            sent = max(sent, unit.taken[ahead] + 1)
        unit.entries.append(entry)
        unit.sent.append(sent)
        return sent

    @staticmethod
    def _reached(seen: list[int], wait: int) -> int | None:
        """When a counter reaches `wait` (modulo 2**16): 0 if it has always, None if not known yet."""
        count = len(seen) - ((len(seen) - wait) & COUNTER)
        if (len(seen) - wait) & COUNTER >= 1 << 15:
            return None
        return seen[count - 1] if count > 0 else 0

    def _compute(self) -> bool:
        c, unit = self.constants, self.compute
        n = len(unit.taken)
        entry = unit.entries[n]
        if entry[0] == Opcode.CONFIG:
            _, layer, interval, last_interval, drain = entry
            count = len(self.runs) if drain else self.mark
            complete = self.runs[count - 1] if count else 0
            taken = self._taken(layer)
            self._stall(layer, "output", complete - (taken + 1))
            self.interval, self.last_interval, self.mark = interval, last_interval, len(self.runs)
            unit.free = max(taken + 1, complete) + 1
            return True
        _, layer, steps, last, reload, wait_loads, wait_stores, jump, tile = entry
        loaded, stored = self._reached(self.loads, wait_loads), self._reached(self.stores, wait_stores)
        if loaded is None or stored is None or (reload and self.ring_read not in self.weights):
            return False
        taken = self._taken(layer)
        start = max(taken + 1, loaded, stored)
        self._stall(layer, "input" if loaded >= stored else "output", start - (taken + 1))
        if reload:
            arrived, words = self.weights[self.ring_read]
            weights = max(start, self.shadow_free + self.config.tile_words, arrived + MOVED)
            self._stall(layer, "weights", weights - start)
            self._stall(layer, "reload", c.reload - 1)
            start = weights
            self.ring_read = jumped(self.ring_read, tile, self.config) if jump else self.ring_read + words
            self.shadow_free = start + 1 + c.hold
            start += c.reload
        else:
            start += 1
        unit.free = start + steps * (self.last_interval if last else self.interval)
        if self.saved is not None:
            unit.free -= self.saved[len(self.runs)]
        self.runs.append(unit.free + c.completion)
        return True

    def _taken(self, layer: int) -> int:
        free, taken = self.compute.free, self.compute.take()
        if self.segments:
            self._stall(layer, "dispatch", taken - free)
        self.segments.append((layer, taken))
        return taken

    def _stall(self, layer: int, cause: str, cycles: int) -> None:
        found = self.stalls.setdefault(layer, dict.fromkeys(CAUSES, 0))
        found[cause] += max(0, cycles)

    def _read_start(self, taken: int | None) -> int | None:
        """First cycle in which the reader's instruction could start if the memory were free."""
        if taken is None:
            return None
        entry = self.reader.entries[len(self.reader.taken) - 1]
        computed, written = self._reached(self.runs, entry[3]), self._reached(self.acknowledged, entry[4])
        if computed is None or written is None:
            return None
        start = max(taken + 1, computed, written)
        if len(self.popped) >= DESCRIPTORS:
            start = max(start, self.popped[-DESCRIPTORS] + 1)
        return start

    def _read(self, start: int) -> None:
        kind, _, beats, _, _, target, cost, packed = self.reader.entries[len(self.reader.taken) - 1]
        popped = max(start + 1, self.landed)
        self.popped.append(popped)
        if kind == Opcode.MOVE:
            self.reader.free = start + 1 + cost
            self.landed = popped + cost - MOVE_TAIL + LANDED - COUNTED
        else:
            self.reader.free = start + 1 + beats
            self.landed = self.reader.free + self.constants.latency
            self.paced, self.writer_went = start + max(cost, 1), False
        seen = self.landed + COUNTED
        self.loads.append(seen)
        if target == Target.PROGRAM:
            self.pages.append(seen)
            if len(self.pages) == 1:
                self.loads.clear()  # the hardware's own transfer is not counted
        elif target == Target.WEIGHTS:
            # A packed word takes two cycles into the chain, so half of the last tile waits behind its words.
            size = self.config.stored_words(bool(packed))
            late = size if packed else 0
            for words in range(size, beats + 1, size):
                self.weights[self.ring_written] = self.landed - beats + words + late, size
                self.ring_written += size

    def _write_start(self, taken: int | None) -> int | None:
        if taken is None:
            return None
        computed = self._reached(self.runs, self.writer.entries[len(self.writer.taken) - 1][3])
        if computed is None:
            return None
        start = max(taken + 1, computed)
        if len(self.acknowledged) >= WRITES:
            start = max(start, self.acknowledged[-WRITES])
        return start

    def _write(self, start: int) -> None:
        _, _, beats, _, _, _, cost, _ = self.writer.entries[len(self.writer.taken) - 1]
        self.writer.free = start + 1 + beats
        self.stores.append(self.writer.free + STORED)
        self.acknowledged.append(self.writer.free + self.constants.latency + ACKNOWLEDGED)
        self.paced, self.writer_went = start + max(cost, 1), True

    @staticmethod
    def _entries(
        opcodes: np.ndarray, columns: dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]], substeps: int
    ) -> list[tuple[int, ...]]:
        """What the loop needs of every instruction, in order."""
        entries: list[tuple[int, ...]] = [(Opcode.HALT,)] * len(opcodes)

        def put(opcode: Opcode, *values: np.ndarray) -> None:
            rows = columns[opcode][0].tolist()
            code = int(opcode)
            for row, *item in zip(rows, *(v.tolist() for v in values), strict=True):
                entries[row] = (code, *item)

        for opcode in (Opcode.LOAD, Opcode.MOVE, Opcode.STORE):
            f = columns[opcode][1]
            zero = np.zeros_like(f["layer"])
            stores = f["wait_stores"] if opcode == Opcode.LOAD else zero
            target = f.get("target", zero)
            packed = f.get("every_other", zero)
            put(opcode, f["layer"], f["run_words"] * f["runs"], f["wait_runs"], stores, target, f["cost"], packed)
        f = columns[Opcode.CONFIG][1]
        put(Opcode.CONFIG, f["layer"], f["interval"], f["last_interval"], f["drain"])
        f = columns[Opcode.RUN][1]
        steps = f["rows"] * (1 + f["pair"]) * f["columns"] * substeps
        put(
            Opcode.RUN,
            f["layer"],
            steps,
            f["last"],
            f["reload"],
            f["wait_loads"],
            f["wait_stores"],
            f["jump"],
            f["tile"],
        )
        return entries

    def _timing(
        self,
        total: int,
        columns: dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]],
        substeps: int,
    ) -> Timing:
        """A layer's cycles: from each of its compute instructions to the next one."""
        layers: dict[int, int] = {}
        ends = [taken for _, taken in self.segments[1:]] + [total]
        for (layer, taken), end in zip(self.segments, ends, strict=True):
            layers[layer] = layers.get(layer, 0) + end - taken
        numbers = sorted(layers)
        words: list[dict[int, int]] = []
        for opcode in (Opcode.LOAD, Opcode.STORE):
            f = columns[opcode][1]
            counts = np.bincount(f["layer"], f["run_words"] * f["runs"], minlength=256)
            words.append({n: int(counts[n]) for n in numbers})
        rows, f = columns[Opcode.RUN]
        configs, g = columns[Opcode.CONFIG]
        current = np.searchsorted(configs, rows) - 1
        interval = np.where(f["last"] == 1, g["last_interval"][current], g["interval"][current])
        cycles = f["rows"] * (1 + f["pair"]) * f["columns"] * substeps * interval
        if self.saved is not None:
            cycles = cycles - np.asarray(self.saved)
        busy = np.bincount(f["layer"], cycles, minlength=256)
        walking = {n: int(busy[n]) for n in numbers}
        for n in numbers:
            found = self.stalls[n]
            found["turn"] = layers[n] - walking[n] - sum(found.values())
        return Timing(total, self.segments[0][1], layers, words[0], words[1], walking, self.stalls)
