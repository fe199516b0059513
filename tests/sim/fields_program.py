"""A program drawn at random, legal by the rules of the machine, in which fields have the values that are wanted.

    prologue    every word of every memory is written, so that whatever is read later is known
    segments    as `fields_segments` draws them

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
from hwseg.machine.rules import reach
from hwseg.machine.state import MachineError
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import NO_WRAP, Mode, Opcode, Target
from tests.sim.fields_draft import PROGRAM, SOURCE, WORDS, Fields, Made, encoded_fields
from tests.sim.fields_segments import FullError, Segments
from tests.sim.fields_wanted import Wanted

QUEUES = {Target.WINDOW: Queue.REGION, Target.POINT: Queue.REGION, Target.WEIGHTS: Queue.WEIGHTS}
PACE = Pace(0.5)
INSTRUCTIONS = (WORDS - PROGRAM) // 4 - 300


class Draft(Segments):
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

    # The prologue.

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
