"""When everything happens: the exact recurrence over a program, for a memory of fixed latency and dense execution.

It reads the packed instructions and nothing else.  Four units, each in order, meet in counters; every equation below is
a path through the gates of `hwseg.rtl`, counted from the start pulse in cycle 0:

    dispatcher   sends an instruction every 6 cycles; waits for room in the queue of 16 and for its page to land
    memory       takes at t, starts at w > t when the RUNs it waits for are complete, then one cycle per beat
    compute      takes at t, starts at w > t when loads, stores and shadow weights are there; reload; steps * interval
    weights      a tile moves into the shadow registers `hold` cycles after the last reload, one word a cycle

What is visible of a transfer that ends (unit free again) in cycle e: loaded words land at e + latency, counters one
later; a store's memory is free at e + 3; its write response has arrived at e + latency + 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import FORMATS, Format, Opcode, Target

LATENCY = 40
"""Cycles from a read's address to its first word, and from the last word written to its response."""
QUEUE = 16
DESCRIPTORS = 16
DISPATCH = 6
COUNTED = 1
"""Cycles from the last word's arrival to the counter that tells of it."""
MOVED = 4
"""Cycles from a weight's arrival to its place in the shadow registers."""
STORED = 3
ACKNOWLEDGED = 5


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
    """taken: cycle in which the first compute instruction of each layer was taken.  total: cycles the engine is busy.

    read_words, write_words: by layer; program pages count for the layer that was being issued.
    """

    total: int
    startup: int
    layers: dict[int, int]
    read_words: dict[int, int]
    write_words: dict[int, int]
    walking: dict[int, int]


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


def predict(program: bytes, config: EngineConfig, latency: int = LATENCY) -> Timing:
    """The engine's clock, instruction by instruction."""
    constants = Constants.of(config, latency)
    opcodes, columns = unpack(program)
    return _Clock(config, constants).run(opcodes, columns, len(program) // 8)


class _Clock:
    def __init__(self, config: EngineConfig, constants: Constants) -> None:
        self.config, self.constants = config, constants

    def run(
        self, opcodes: np.ndarray, columns: dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]], words: int
    ) -> Timing:
        c, tile_words = self.constants, self.config.tile_words
        latency, substeps = c.latency, self.config.substeps
        entries = self._entries(opcodes, columns, substeps)

        memory_taken: list[int] = []
        compute_taken: list[int] = []
        memory_free = compute_free = 0
        loads_seen: list[int] = []
        stores_seen: list[int] = []
        runs_seen: list[int] = []
        pages_seen: list[int] = []
        descriptors: list[int] = []
        landed = acknowledged = shadow_free = 0
        weights_landed: list[int] = []
        reloads = 0
        interval = last_interval = 0
        first_taken: dict[int, int] = {}

        def transfer(taken: int, start: int, beats: int) -> int:
            """A read's cycles; returns when the unit is free again."""
            nonlocal landed
            if len(descriptors) >= DESCRIPTORS:
                start = max(start, descriptors[-DESCRIPTORS] + 1)
            end = start + 1 + beats
            descriptors.append(max(start + 1, landed))
            landed = end + latency
            return end

        # The hardware's own transfer of page 0: sent in cycle 1, taken in 2.
        memory_taken.append(2)
        memory_free = transfer(2, 3, min(words, PAGE_WORDS))
        pages_seen.append(landed + COUNTED)
        sent = 1
        for number, entry in enumerate(entries):
            if number % PAGE_INSTRUCTIONS == 0:
                sent = max(sent + 1, pages_seen[number // PAGE_INSTRUCTIONS])
            sent += DISPATCH
            kind = entry[0]
            if kind == Opcode.RUN or kind == Opcode.CONFIG:
                if len(compute_taken) >= QUEUE:
                    sent = max(sent, compute_taken[-QUEUE] + 1)
                taken = max(compute_free, sent + 1)
                compute_taken.append(taken)
                first_taken.setdefault(entry[1], taken)
                if kind == Opcode.CONFIG:
                    _, _, interval, last_interval = entry
                    compute_free = max(taken + 1, runs_seen[-1] if runs_seen else 0) + 1
                    continue
                _, _, steps, last, reload, wait_loads, wait_stores = entry
                start = taken + 1
                count = len(loads_seen) - ((len(loads_seen) - wait_loads) & 0xFFFF)
                if count > 0:
                    start = max(start, loads_seen[count - 1])
                count = len(stores_seen) - ((len(stores_seen) - wait_stores) & 0xFFFF)
                if count > 0:
                    start = max(start, stores_seen[count - 1])
                if reload:
                    start = max(start, shadow_free + tile_words, weights_landed[reloads] + MOVED)
                    reloads += 1
                    shadow_free = start + 1 + c.hold
                    start += c.reload
                else:
                    start += 1
                compute_free = start + steps * (last_interval if last else interval)
                runs_seen.append(compute_free + c.completion)
            elif kind == Opcode.LOAD or kind == Opcode.STORE:
                if len(memory_taken) >= QUEUE:
                    sent = max(sent, memory_taken[-QUEUE] + 1)
                taken = max(memory_free, sent + 1)
                memory_taken.append(taken)
                _, _, beats, wait_runs, fence, target = entry
                start = taken + 1
                count = len(runs_seen) - ((len(runs_seen) - wait_runs) & 0xFFFF)
                if count > 0:
                    start = max(start, runs_seen[count - 1])
                if kind == Opcode.STORE:
                    memory_free = start + 1 + beats
                    stores_seen.append(memory_free + STORED)
                    acknowledged = memory_free + latency + ACKNOWLEDGED
                    continue
                if fence:
                    start = max(start, acknowledged)
                memory_free = transfer(taken, start, beats)
                loads_seen.append(landed + COUNTED)
                if target == Target.WEIGHTS:
                    weights_landed += [landed - beats + tile_words * (i + 1) for i in range(beats // tile_words)]
                elif target == Target.PROGRAM:
                    pages_seen.append(landed + COUNTED)
            else:
                break
        idle = max(memory_free, landed + COUNTED, acknowledged, compute_free, runs_seen[-1] if runs_seen else 0)
        total = max(sent, idle)
        return self._timing(total, first_taken, columns, substeps)

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

        f = columns[Opcode.LOAD][1]
        put(Opcode.LOAD, f["layer"], f["run_words"] * f["runs"], f["wait_runs"], f["fence"], f["target"])
        f = columns[Opcode.STORE][1]
        zero = np.zeros_like(f["layer"])
        put(Opcode.STORE, f["layer"], f["run_words"] * f["runs"], f["wait_runs"], zero, zero)
        f = columns[Opcode.CONFIG][1]
        put(Opcode.CONFIG, f["layer"], f["interval"], f["last_interval"])
        f = columns[Opcode.RUN][1]
        steps = f["rows"] * (1 + f["pair"]) * f["columns"] * substeps
        put(Opcode.RUN, f["layer"], steps, f["last"], f["reload"], f["wait_loads"], f["wait_stores"])
        return entries

    @staticmethod
    def _timing(
        total: int,
        first_taken: dict[int, int],
        columns: dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]],
        substeps: int,
    ) -> Timing:
        numbers = list(first_taken)
        ends = [first_taken[n] for n in numbers[1:]] + [total]
        layers = {n: end - first_taken[n] for n, end in zip(numbers, ends, strict=True)}
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
        busy = np.bincount(f["layer"], cycles, minlength=256)
        walking = {n: int(busy[n]) for n in numbers}
        return Timing(total, first_taken[numbers[0]], layers, words[0], words[1], walking)
