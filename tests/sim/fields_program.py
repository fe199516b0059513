"""A program drawn at random, legal by the rules of the machine, in which fields have the values that are wanted.

    prologue    every word of every memory is written, so that whatever is read later is known
    segments    a CONFIG, RUNs, and STOREs of what they wrote; LOADs and MOVEs, each with a RUN that reads its words

A segment is drawn as a whole, and again if it breaks a rule.  Waits are those that the order of reads and writes needs,
numbered by the compiler's own `schedule.finish`.
"""

from __future__ import annotations

import copy
import random

import numpy as np

from hwseg.compile.emit.instruction import instruction
from hwseg.compile.emit.schedule import Pace, finish, pack
from hwseg.compile.emit.walk import Load, Queue, Step, Store
from hwseg.machine.rules import ADDRESSES, reach, rule
from hwseg.machine.state import MachineError
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import MOVE_TAIL, NO_WRAP, PARAMETER, Mode, Opcode, Target
from tests.sim.fields_draft import (
    ANY,
    OUTPUT,
    PARAMETERS,
    PROGRAM,
    SOURCE,
    WORDS,
    Drawing,
    Fields,
    Made,
    encoded_fields,
)
from tests.sim.fields_wanted import Wanted, encoded

QUEUES = {Target.WINDOW: Queue.REGION, Target.POINT: Queue.REGION, Target.WEIGHTS: Queue.WEIGHTS}
PACE = Pace(0.5)
INSTRUCTIONS = (WORDS - PROGRAM) // 4 - 300


class FullError(Exception):
    """The DDR has no room for another segment."""


class Draft(Drawing):
    """segment: draws and keeps one.  program: all of them, packed.  memory: the DDR before the run."""

    def __init__(self, engine: EngineConfig, wanted: Wanted, rng: random.Random, aligned: bool = False) -> None:
        super().__init__(engine, wanted, rng, aligned)
        self.memory = self._contents()
        self.stream: list[Step | Load | Store] = []
        self.segments: list[list[Made]] = []
        self.regions: list[tuple[range, int]] = []
        """Words that are stored, and the segment that stores them."""
        self.runs = 0
        self.loads = [0] * len(Queue)
        self.slot_loaded, self.slot_read = (np.zeros(engine.param_slots, np.int64) for _ in range(2))
        self.stored: list[tuple[int, range]] = []
        """Of every STORE, the memory (pool or not) and the addresses that it reads."""
        self.entries: list[Fields] = []
        self.patches: list[tuple[int, np.ndarray]] = []
        self._start()

    def _contents(self) -> np.ndarray:
        """Random words; of most blocks of eight, the first few are zero."""
        noise = np.random.default_rng(self.random.getrandbits(32))
        words: np.ndarray = noise.integers(0, (1 << 64) - 1, WORDS, np.uint64, endpoint=True)
        blocks = words[: SOURCE.stop].reshape(-1, 8)
        zeros = noise.integers(0, 8, len(blocks)) * (noise.random(len(blocks)) < 0.7)
        blocks[np.arange(8)[None, :] < zeros[:, None]] = 0
        return words

    def segment(self, kind: str) -> None:
        """One more of a kind, which names a method, if 100 tries find a legal one; FullError if there is no room."""
        for _ in range(100):
            saved, self.made, self.entries, self.patches = copy.deepcopy(self.state), [], [], []
            try:
                getattr(self, f"_{kind}")()
                self._commit()
                return
            except MachineError:
                self.state = saved
            except FullError:
                self.state = saved
                raise

    def program(self) -> bytes:
        """The packed program; it stands in `memory` too."""
        packed = pack(finish(self.stream, 8 * PROGRAM, PACE))
        self.memory[PROGRAM : PROGRAM + len(packed) // 8] = np.frombuffer(packed, "<u8")
        return packed

    # Segments.

    def _start(self) -> None:
        """The prologue: banks, parameters, a ring full of tiles, partial sums, output, loop and pool memories."""
        e = self.engine
        self.segment("fill_banks")
        for first in range(0, e.param_slots, 8):
            self.first_slot = first
            self.segment("fill_slots")
        self.segment("fill_ring")
        self.segment("fill_sums")
        for at in range(0, max(e.out_words, e.loop_words, e.pool_words), 256):
            self.at = at
            self.segment("fill_outputs")

    def _fill_banks(self) -> None:
        """All nine at once: three word columns of three rows a block."""
        rows = 3 * self.engine.bank_words // 8
        self.add(
            "LOAD", target=Target.WINDOW, ddr=0, run_words=24, runs=rows, ddr_stride=8 * (SOURCE.stop // rows // 8 * 8),
            pitch=8, planes=8, wrap_at=NO_WRAP, wrap_to=NO_WRAP,
        )  # fmt: skip

    def _fill_slots(self) -> None:
        self._load_slots(self.first_slot, min(8, self.engine.param_slots))

    def _fill_ring(self) -> None:
        self._tiles(self.engine.weight_words // self.engine.tile_words, packed=0)

    def _fill_sums(self) -> None:
        cfg = self.config("sums", mode=Mode.SAME)
        cfg |= {"out_pitch": 0, "pool_pitch": 0}
        self.configure(cfg)
        columns = self.engine.psum_steps // self.engine.substeps
        area = {"rows": 1, "columns": columns, "pair": 0, "psum": 0}
        self.run(cfg, self.window(cfg, **area), first=1, last=0)

    def _fill_outputs(self) -> None:
        """256 addresses of each, where they have them."""
        cfg, e = self.config("planes", mode=Mode.SAME), self.engine
        kept = {"keep": self.at < e.out_words, "loop": self.at < e.loop_words, "pool": self.at < e.pool_words}
        cfg |= {"out_planes": 8, "out_pitch": 64, "pool_pitch": 64, "split": 0, "skip": 0}
        cfg |= {name: int(here) for name, here in kept.items()}
        for pool, rows in ((1, 4), (0, 2)):
            # Rows in pairs: of four pairs the pool takes 256 addresses, of two the others.
            cfg |= {"pool": pool and int(kept["pool"]), "keep": int(kept["keep"] and not pool)}
            cfg["loop"] = int(kept["loop"] and not pool)
            self.configure(dict(cfg))
            area = {"rows": rows, "columns": 16, "pair": 1, "scatter": 0}
            places = {"out_address": self.at, "loop_address": self.at, "pool_address": self.at}
            self.run(cfg, self.window(cfg, **area, **places), first=1, last=1)

    def _planes(self) -> None:
        """Requantized maps: kept, moved, pooled, scattered, split."""
        self._compute("planes")

    def _raw(self) -> None:
        self._compute("raw")

    def _dot(self) -> None:
        self._compute("dot")

    def _quiet(self) -> None:
        """A RUN that stores nothing, and may be long."""
        cfg = self.config("quiet")
        area = self.rectangle(cfg, "quiet")
        places = self.outputs(cfg, area, self.pick("RUN", "scatter", range(3)))
        self.configure(cfg)
        self.run(cfg, self.window(cfg, **area, **places), first=1, last=1)

    def _sums(self) -> None:
        """Partial sums that stay for other segments."""
        cfg = self.config("sums")
        area = self.rectangle(cfg, "sums")
        self.outputs(cfg, area, 0)
        self.configure(cfg)
        for number in range(self.random.randint(1, 2)):
            self.run(cfg, self.window(cfg, **area), first=int(number == 0 and self.chance(0.7)), last=0)

    def _residual(self) -> None:
        """The centre words of the first set wait for the RUN of the second, then both are added."""
        cfg = self.config("residual")
        area = self.rectangle(cfg, "residual")
        places = self.outputs(cfg, area, 0)
        self.configure(cfg)
        steps = area["rows"] * (1 + area["pair"]) * area["columns"]
        first = int(self.chance(0.8))
        common = {"residual": 1, "psum": self.pick("RUN", "psum", range(self.engine.psum_steps - steps + 1)), **area}
        self.run(cfg, self.window(cfg, **common, residual_set=0), first=first, last=0)
        self.run(cfg, self.window(cfg, **common, residual_set=1, **places), first=0, last=1)
        self._store_outputs(cfg, area, places)

    def _compute(self, kind: str, **fixed: int) -> None:
        """RUNs over one rectangle, then STOREs of what the last one wrote; `fixed`: of the window."""
        names = ("mode", "planes", "pitch", "skip")
        cfg = self.config(kind, **{name: fixed.pop(name) for name in names if name in fixed})
        area = self.rectangle(cfg, kind) | {name: fixed.pop(name) for name in ("rows", "columns") if name in fixed}
        free = kind == "planes" and not cfg["pool"] and not cfg["split"]
        places = self.outputs(cfg, area, self.pick("RUN", "scatter", range(3 if free else 1)))
        self.configure(cfg)
        count = self.random.choice((1, 1, 2, 3))
        steps = area["rows"] * (1 + area["pair"]) * area["columns"] * self.engine.substeps
        several = self.engine.psum_steps - steps + 1
        if several > 0 and (count > 1 or self.chance(0.2)):
            area["psum"] = self.pick("RUN", "psum", range(several))
        for number in range(count):
            last = number == count - 1
            first = int(number == 0 and ("psum" not in area or self.chance(0.8)))
            self.run(cfg, self.window(cfg, **area, **(places if last else {}), **fixed), first=first, last=int(last))
        self._store_outputs(cfg, area, places)

    def _store_outputs(self, cfg: Fields, area: Fields, places: Fields) -> None:
        e, rows = self.engine, area["rows"] * (1 + area["pair"])
        wide = places["scatter"] or cfg["split"]
        across = 2 * area["columns"] if wide else area["columns"]
        sets = range(e.sets // 2 if cfg["split"] else e.sets)
        if cfg["keep"]:
            for number in sets:
                self._store(
                    set=number, address=places["out_address"], pitch=cfg["out_pitch"], planes=cfg["out_planes"],
                    run_words=across * cfg["out_planes"], runs=rows, split=cfg["split"], pool=0,
                )  # fmt: skip
        if cfg["pool"]:
            words = (area["columns"] if cfg["split"] else -(-area["columns"] // 2)) * cfg["out_planes"]
            for number in sets:
                self._store(
                    set=number, address=places["pool_address"], pitch=cfg["pool_pitch"], run_words=words,
                    runs=area["rows"], split=cfg["split"], pool=1, planes=self.pick("STORE", "planes", range(1, 16)),
                )  # fmt: skip
        if cfg["raw"] or cfg["dot"]:
            words = rows * area["columns"] * e.substeps * cfg["raw_rows"] * max(1, e.pixels // 2)
            for number in sets if cfg["raw"] else (e.sets - 1,):
                self._store(
                    set=number, address=places["out_address"], pitch=self.pick("STORE", "pitch", ANY), planes=1,
                    run_words=words, runs=1, split=0, pool=0,
                )  # fmt: skip

    def _store(self, **fields: int) -> None:
        """A STORE to words of its own."""
        words = fields["run_words"]
        gap = self.random.choice((0, 0, 1, 3))
        stride = 8 * (words + gap)
        if fields["runs"] == 1:
            stride = self.pick("STORE", "ddr_stride", range(0, 1 << 24, 8), (stride,))
        start, size = self.state.stored, fields["runs"] * (words + gap)
        if start + size > OUTPUT.stop:
            raise FullError
        self.state.stored += size
        self.add("STORE", ddr=8 * start, ddr_stride=stride, cost=self.cost("STORE"), **fields)

    def _store_anything(self) -> None:
        """Words of the output or pool memory, whoever wrote them."""
        e, pool = self.engine, self.pick("STORE", "pool", range(2))
        split = self.pick("STORE", "split", range(1 + e.splits))
        planes = self.pick("STORE", "planes", range(1, 16))
        depth = e.pool_words if pool else e.out_words
        words = self.pick("STORE", "run_words", range(1, 2 * e.out_words + 1), range(1, 20))
        runs = self.pick("STORE", "runs", range(1, 4096), range(1, 4))
        rule(runs * words < 1 << 13, "too long")
        pitch = self.pick("STORE", "pitch", ANY if runs == 1 else range(max(1, depth // runs)))
        row = (runs - 1) * pitch + (words if pool else reach(words, planes))
        address = self.pick("STORE", "address", range(depth - row + 1))
        self._store(
            set=self.pick("STORE", "set", range(e.sets)), address=address, pitch=pitch, planes=planes, run_words=words,
            runs=runs, split=split, pool=pool,
        )  # fmt: skip

    def _load(self) -> None:
        """Words for the banks, and a RUN that reads them."""
        target = self.pick("LOAD", "target", range(2))
        words = self.pick("LOAD", "run_words", range(self.unit, 1 << 16, self.unit), range(self.unit, 33, self.unit))
        runs = self.pick("LOAD", "runs", range(1, 4096), range(1, 7))
        rule(runs * words < 1 << 17 and (runs == 1 or words < 2048), "too long")
        start = self.random.randrange(0, SOURCE.stop - words + 1, self.unit)
        most = (SOURCE.stop - start - words) // max(1, runs - 1)
        strides = range(0, 1 << 24, 8) if runs == 1 else range(0, 8 * min(most, 64) + 1, 8 * self.unit)
        i = self.add(
            "LOAD", target=target, ddr=8 * start, run_words=words, runs=runs, cost=self.cost("LOAD"),
            ddr_stride=self.pick("LOAD", "ddr_stride", strides), **self._place("LOAD"),
        )  # fmt: skip
        self._read_back(i)

    def _load_far(self) -> None:
        """From the first word of the DDR to the last."""
        ddr = self.pick("LOAD", "ddr", range(0, 8 * WORDS, 8 * self.unit))
        rule(ddr // 8 not in OUTPUT, "it may have been stored a moment ago")
        i = self.add(
            "LOAD", target=self.pick("LOAD", "target", range(2)), ddr=ddr, run_words=self.unit, runs=1,
            ddr_stride=self.pick("LOAD", "ddr_stride", range(0, 1 << 24, 8)), cost=self.cost("LOAD"),
            **self._place("LOAD"),
        )  # fmt: skip
        self._read_back(i)

    def _place(self, form: str) -> Fields:
        """Where LOAD and MOVE put words in the banks."""
        at = range(0, ADDRESSES, self.unit)
        found = {name: self.pick(form, name, at) for name in ("address", "pitch", "column_address")}
        found |= {name: self.pick(form, name, range(3)) for name in ("row_phase", "column_phase")}
        found["planes"] = 8 if self.aligned else self.pick(form, "planes", range(1, 16))
        found["bank"] = self.pick(form, "bank", range(8))
        found["every_other"] = self.pick(form, "every_other", range(2))
        return found | self.ring(form, found["address"], found["pitch"])

    def _move(self) -> None:
        """Words of the loop memory for the banks, and a RUN that reads them."""
        e, place = self.engine, self._place("MOVE")
        target = self.pick("MOVE", "target", range(2))
        step = place["planes"] if target == Target.WINDOW else self.unit
        words = self.pick("MOVE", "run_words", range(step, 2 * e.loop_words + 1, step), range(step, step + 32, step))
        runs = self.pick("MOVE", "runs", range(1, 4096), range(1, 5))
        rule(runs * words < 1 << 13, "too long")
        pitches = ANY if runs == 1 else range(0, max(1, e.loop_words // runs))
        source_pitch = self.pick("MOVE", "source_pitch", pitches)
        row = words if target == Target.WINDOW else reach(words, place["planes"])
        source = self.pick("MOVE", "source", range(e.loop_words - row - (runs - 1) * source_pitch + 1))
        unused = {"unused_ddr": 1 << 14, "unused_stride": 1 << 10, "unused_stores": 1 << 16}
        least = words * runs + MOVE_TAIL
        i = self.add(
            "MOVE", target=target, source=source, run_words=words, runs=runs, **place,
            set=self.pick("MOVE", "set", range(e.sets)), split=self.pick("MOVE", "split", range(1 + e.splits)),
            source_pitch=source_pitch,
            cost=self.pick("MOVE", "cost", range(least, 1 << 20), range(least, least + 40)),
            **{name: self.pick("MOVE", name, range(bound)) for name, bound in unused.items()},
        )  # fmt: skip
        self._read_back(i)

    def _read_back(self, i: Fields) -> None:
        """Raw sums over windows that begin where the words of a LOAD or MOVE lie."""
        point = i["target"] == Target.POINT
        mode = Mode.POINT if point else self.random.choice((Mode.SAME, Mode.STRIDE2, Mode.NEAREST))
        where = {"row_address": i["address"], "wrap_at": i["wrap_at"], "wrap_to": i["wrap_to"], "pitch": i["pitch"]}
        if point:
            where["column_address"] = 0
        else:
            where |= {name: i[name] for name in ("row_phase", "column_phase", "column_address")}
        self._compute("raw", mode=mode, planes=min(8, i["planes"]), rows=min(3, i["runs"]), columns=2, **where)

    def _parameters(self) -> None:
        """New parameters, and requantized maps by one of them."""
        count = self.random.randint(1, 3)
        first = self.pick("LOAD", "address", range(self.engine.param_slots - count + 1))
        self._load_slots(first, count)
        self._compute(self.random.choice(("planes", "planes", "raw", "dot")), slot=first)

    def _load_slots(self, first: int, count: int) -> None:
        entries = [self._entry() for _ in range(count * self.engine.rows)]
        packed = [
            PARAMETER.pack(**{k: encoded("PARAMETER", k, v, PARAMETER.fields[k]) for k, v in e.items()})
            for e in entries
        ]
        words = np.array([[value & (1 << 64) - 1, value >> 64] for value in packed], np.uint64).reshape(-1)
        start = self.state.parameters
        if start + len(words) > PARAMETERS.stop:
            raise FullError
        self.state.parameters += len(words)
        self.entries += entries
        self.patches.append((start, words))
        self.add("LOAD", target=Target.PARAMETERS, ddr=8 * start, run_words=len(words), runs=1, address=first)

    def _entry(self) -> Fields:
        """A requantizer whose results are neither all zero nor all clamped, as far as its shift allows that."""
        shift = self.pick("PARAMETER", "shift", range(64))
        bits = min(29, max(1, shift - 12 + self.random.randint(-2, 4)))
        usual = range(1 << bits - 1, 1 << bits) if self.chance(0.5) else range(-(1 << bits), -(1 << bits - 1))
        half = 1 << shift >> 1
        tie = self.random.choice((1, -1, 3, -3)) * half + self.random.choice((-1, 0, 1))
        offsets = [tie if abs(tie) < 1 << 55 else 0, 0, self.random.randrange(-(1 << 40), 1 << 40)]
        return {
            "shift": shift,
            "multiplier": self.pick("PARAMETER", "multiplier", range(-(1 << 29), 1 << 29), usual),
            "offset": self.pick("PARAMETER", "offset", range(-(1 << 55), 1 << 55), offsets),
            "reserved": self.pick("PARAMETER", "reserved", range(4)),
            "dot": self.pick("PARAMETER", "dot", range(-128, 128)),
        }

    def _weights(self) -> None:
        """More tiles, some of them of four bits."""
        self._tiles(self.random.randint(1, 4))
        self._compute("raw")

    # From instructions to a stream with waits.

    def _commit(self) -> None:
        if len(self.stream) + len(self.made) > INSTRUCTIONS:
            raise FullError
        for address, words in self.patches:
            self.memory[address : address + len(words)] = words
        for entry in self.entries:
            self.wanted.drawn("PARAMETER", entry.items())
        for form, fields in self.made:
            self.wanted.drawn(form, fields.items())
            i = encoded_fields(form, fields)
            values = instruction(Opcode[form], **i)
            if form == "CONFIG":
                self.stream.append(Step(values, self.runs))
                self.configuration = i
            elif form == "RUN":
                self._commit_run(values, i)
            elif form == "STORE":
                row = i["run_words"] if i["pool"] else reach(i["run_words"], i["planes"])
                last = i["address"] + (i["runs"] - 1) * i["pitch"] + row
                self.stored.append((i["pool"], range(i["address"], last)))
                self.stream.append(Store(values, self.runs))
                words = (i["runs"] - 1) * i["ddr_stride"] // 8 * (i["runs"] > 1) + i["run_words"]
                self.regions.append((range(i["ddr"] // 8, i["ddr"] // 8 + words), len(self.segments)))
            else:
                self._commit_load(form, values, i)
        self.segments.append(self.made)

    def _commit_load(self, form: str, values: list[int], i: Fields) -> None:
        queue = Queue.MOVES if form == "MOVE" else QUEUES.get(Target(i["target"]), Queue.PARAMETERS)
        after = self.runs
        self.loads[queue] += 1
        if queue == Queue.PARAMETERS:
            slots = slice(i["address"], i["address"] + i["run_words"] // (2 * self.engine.rows))
            after = int(self.slot_read[slots].max())
            self.slot_loaded[slots] = self.loads[queue]
        self.stream.append(Load(queue, values, after, 0))

    def _commit_run(self, values: list[int], i: Fields) -> None:
        cfg, loads = self.configuration, list(self.loads)
        loads[Queue.PARAMETERS] = int(self.slot_loaded[i["slot"]]) if i["last"] else 0
        stores = 0
        if i["last"]:
            self.slot_read[i["slot"]] = self.runs + 1
            rows = i["rows"] * (1 + i["pair"])
            steps = rows * i["columns"] * self.engine.substeps
            out = range(0)
            if cfg["keep"]:
                out = range(i["out_address"], i["out_address"] + (rows - 1) * cfg["out_pitch"] + i["columns"] * 8)
            elif cfg["raw"] or cfg["dot"]:
                out = range(i["out_address"], i["out_address"] + steps * 8 * self.engine.pixels)
            pool = range(0)
            if cfg["pool"]:
                last = (i["rows"] - 1) * cfg["pool_pitch"] + i["columns"] * 8
                pool = range(i["pool_address"], i["pool_address"] + last)
            written = (out, pool)
            for number, (memory, read) in enumerate(self.stored):
                here = written[memory]
                if here and read.start < here.stop and here.start < read.stop:
                    stores = number + 1
        self.runs += 1
        self.stream.append(Step(values, self.runs - 1, tuple(loads), stores, 1, bool(i["reload"])))
