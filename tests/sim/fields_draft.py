"""Instructions drawn at random, with values that are wanted, checked by the rules of the machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwseg.machine.instruction import Run
from hwseg.machine.rules import (
    ADDRESSES,
    check_config,
    check_load,
    check_move,
    check_run,
    check_store,
    check_transfer,
    rule,
)
from hwseg.machine.window import centres, places
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import FORMATS, NO_WRAP, Mode, Opcode, Target
from hwseg.rtl.latency import overtakes
from tests.sim.fields_wanted import Wanted, encoded

WORDS = 1 << 18
"""Of the DDR: what is read, parameters, what is stored, the program."""
SOURCE, PARAMETERS, OUTPUT, PROGRAM = range(0, 1 << 16), range(1 << 16, 5 << 14), range(5 << 14, 3 << 16), 3 << 16
LONGEST = 70_000
"""Cycles of a RUN, at most; more where the array takes more for the longest column."""
MOST_ROWS, FASTEST = 4095, 8
"""Of a RUN, and cycles of a step that is the last one."""
ANY = range(ADDRESSES)

Fields = dict[str, int]
Made = tuple[str, Fields]


@dataclass
class State:
    """What the next segment depends on.

    bounds: of the partial sums.  head, tail: of the weight ring, in words since the start; landed: words that have come
    for certain; tiles: place, words and whether it is packed, of each that is still there.  writes: by the last CONFIG,
    into the output memory.  must_reload: the next RUN, so that its sums keep away from those before.
    """

    bounds: np.ndarray
    head: int = 0
    tail: int = 0
    landed: int = 0
    tiles: list[tuple[int, int, bool]] = field(default_factory=list)
    configuration: Fields = field(default_factory=dict)
    writes: str = ""
    must_reload: bool = True
    stored: int = OUTPUT.start
    parameters: int = PARAMETERS.start


def encoded_fields(form: str, fields: Fields) -> Fields:
    """As the instruction has them."""
    widths = FORMATS[Opcode[form]].fields
    return {name: encoded(form, name, value, widths[name]) for name, value in fields.items()}


def check(form: str, i: Fields, configuration: Fields, engine: EngineConfig) -> None:
    """Raise MachineError unless the instruction is legal; its fields are encoded."""
    match form:
        case "CONFIG":
            check_config(i, engine)
        case "RUN":
            check_run(i, configuration, engine)
            run = Run(i, configuration)
            if run.mode != Mode.POINT:
                rows, columns = centres(run)
                places(run, rows + 1, columns, 1)  # checks the ring
        case "LOAD":
            check_transfer(i)
            check_load(i, engine)
        case "MOVE":
            check_move(i, engine)
        case "STORE":
            check_transfer(i)
            check_store(i, engine)


class Drawing:
    """aligned: every block of a bank is eight planes of a word column, so that leading zero planes are counted."""

    def __init__(self, engine: EngineConfig, wanted: Wanted, rng: random.Random, aligned: bool = False) -> None:
        self.engine, self.wanted, self.random, self.aligned = engine, wanted, rng, aligned
        self.unit = 8 if aligned else 1
        self.state = State(np.zeros(engine.psum_steps, np.int64))
        self.made: list[Made] = []
        """Instructions of the segment that is being drawn."""

    def pick(self, form: str, name: str, allowed: Sequence[int], usual: Sequence[int] | None = None) -> int:
        rule(allowed, "nothing is allowed here")
        return self.wanted.pick(form, name, allowed, usual)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def add(self, form: str, **fields: int) -> Fields:
        """The next instruction, checked."""
        names = [name for name in FORMATS[Opcode[form]].fields if name != "opcode"]
        whole = dict.fromkeys(names, 0) | {"layer": self.pick(form, "layer", range(256))} | fields
        i = encoded_fields(form, whole)
        check(form, i, self.state.configuration, self.engine)
        self.made.append((form, whole))
        return i

    def ring(self, form: str, address: int, pitch: int) -> Fields:
        """`wrap_at` and `wrap_to`: none, one that is met soon, or any."""
        anywhere = range(0, ADDRESSES, self.unit)
        way = self.random.random()
        if way < 0.4:
            return {"wrap_at": NO_WRAP, "wrap_to": NO_WRAP}
        if way < 0.8:
            met = (address + self.random.randint(1, 3) * pitch) % ADDRESSES
            begin = self.pick(form, "wrap_to", anywhere, (address, self.random.choice(anywhere)))
            return {"wrap_at": met, "wrap_to": begin}
        return {"wrap_at": self.pick(form, "wrap_at", ANY), "wrap_to": self.pick(form, "wrap_to", anywhere)}

    def config(self, kind: str, **fixed: int) -> Fields:
        """What a CONFIG says, but for the pitches of what is written."""
        e = self.engine
        split = self.pick("CONFIG", "split", range(1 + e.splits)) if kind == "planes" else 0
        residual = int(kind == "residual")
        mode = Mode.SAME if split or residual else self.pick("CONFIG", "mode", range(4))
        mode, planes = fixed.get("mode", mode), fixed.get("planes", 8 if self.aligned else 0)
        planes = planes or self.pick("CONFIG", "planes", range(1, 9))
        pitch = fixed.get("pitch", self.pick("CONFIG", "pitch", range(0, ADDRESSES, self.unit)))
        skips = planes == 8 and mode != Mode.POINT and not split and not residual and pitch % 8 == 0
        cfg = {
            "planes": planes, "mode": mode, "pitch": pitch, "split": split, "residual": residual,
            "signed_in": self.pick("CONFIG", "signed_in", range(2 - residual)),
            "skip": fixed.get("skip", self.pick("CONFIG", "skip", range(1 + skips))),
            "out_planes": self.pick("CONFIG", "out_planes", range(1, 9)),
            "raw": int(kind == "raw"), "dot": int(kind == "dot"),
            "double": self.pick("CONFIG", "double", range(1 + residual)),
            "halve": self.pick("CONFIG", "halve", range(1 + residual)),
        }  # fmt: skip
        for name in ("keep", "loop", "pool"):
            free = kind in ("planes", "residual") or (kind == "dot" and name != "keep")
            cfg[name] = self.pick("CONFIG", name, range(2)) if free else 0
        rows = {"raw": range(1, 9), "dot": range(1, 2)}.get(kind, range(16))
        cfg["raw_rows"] = self.pick("CONFIG", "raw_rows", rows)
        leaving = cfg["raw_rows"] * max(1, e.pixels // 2) if kind in ("raw", "dot") else 0
        for name, least in (
            ("interval", max(planes, 8 if residual else 4)),
            ("last_interval", max(planes, 8, leaving)),
        ):
            cfg[name] = self.pick("CONFIG", name, range(least, 64), range(least, min(64, least + 2)))
        return cfg | self._clamps(bool(residual))

    def _clamps(self, residual: bool) -> Fields:
        every = range(-128, 256)
        if self.chance(0.5):
            low = self.pick("CONFIG", "low", every, (0, -128))
            high = self.pick("CONFIG", "high", range(low, 128 if low < 0 else 256), (127 if low < 0 else 255,))
        else:
            high = self.pick("CONFIG", "high", every, (127, 255))
            low = self.pick("CONFIG", "low", range(0 if high > 127 else -128, high + 1), (0 if high > 127 else -128,))
        first = low, high
        if residual:
            least = self.pick("CONFIG", "first_low", range(-256, 256), (0, -128, -256))
            first = least, self.pick("CONFIG", "first_high", range(least, 256), (255,))
        return {"low": low, "high": high, "first_low": first[0], "first_high": first[1]}

    def configure(self, cfg: Fields) -> None:
        writes = "sums" if cfg["raw"] or cfg["dot"] else "planes" if cfg["keep"] else ""
        mixed = "" not in (writes, self.state.writes) and writes != self.state.writes
        shorter = cfg["planes"] < self.state.configuration.get("planes", 0)
        must = mixed or (shorter and overtakes(self.engine))
        cfg["drain"] = 1 if must else self.pick("CONFIG", "drain", range(2))
        self.state.must_reload |= shorter and not cfg["drain"]
        self.state.configuration, self.state.writes = self.add("CONFIG", **cfg), writes

    def rectangle(self, cfg: Fields, kind: str) -> Fields:
        """Rows, word columns and whether rows come in pairs."""
        slowest = max(cfg["interval"], cfg["last_interval"]) * self.engine.substeps
        pair = 1 if cfg["pool"] else self.pick("RUN", "pair", range(2))
        longest = max(LONGEST, MOST_ROWS * FASTEST * self.engine.substeps)
        most = longest // slowest // (1 + pair) if kind == "quiet" else 24
        columns = self.pick("RUN", "columns", range(1, min(most, 1023) + 1), range(1, 5))
        rows = self.pick(
            "RUN", "rows", range(1, min(most // columns, MOST_ROWS) + 1), range(1, min(most // columns, 3) + 1)
        )
        return {"rows": rows, "columns": columns, "pair": pair}

    def window(self, cfg: Fields, **fixed: int) -> Fields:
        """Where a RUN reads."""
        at = range(0, ADDRESSES, 8 if cfg["skip"] else self.unit)
        found = {name: self.pick("RUN", name, at) for name in ("row_address", "column_address")}
        found |= {name: self.pick("RUN", name, range(3)) for name in ("row_phase", "column_phase")}
        sides = ("top", "bottom", "left", "right", "odd_row", "odd_column")
        found |= {name: self.pick("RUN", name, range(2)) for name in sides}
        found["slice"] = self.pick("RUN", "slice", range(self.engine.slices))
        found |= self.ring("RUN", found["row_address"], cfg["pitch"])
        if cfg["skip"] and found["wrap_to"] % 8:
            found |= {"wrap_at": NO_WRAP, "wrap_to": NO_WRAP}
        return found | fixed

    def weights(self, reload: int) -> Fields:
        """What a RUN says of its tile; the tile is loaded if it is not there."""
        state, ring = self.state, self.engine.weight_words
        anything = {"jump": self.pick("RUN", "jump", range(2)), "tile": self.pick("RUN", "tile", range(1 << 14))}
        if not reload:
            return {"reload": 0, **anything}
        if state.tail == state.head:
            self._tiles(1)
        size = next(words for place, words, _ in state.tiles if place == state.tail)
        following = state.tail + size
        state.landed = max(state.landed, following)
        if anything["jump"]:
            places = [*(place for place, _, _ in state.tiles), state.head]
            near = [place for place in places if -ring <= place - state.tail < ring and place <= state.landed]
            following = self.random.choice(near)
            anything["tile"] = self.random.choice(range(following % (2 * ring), 1 << 14, 2 * ring))
        state.tail = following
        return {"reload": 1, **anything}

    def _tiles(self, count: int, packed: int | None = None) -> None:
        """LOAD tiles behind those in the ring."""
        state, ring = self.state, self.engine.weight_words
        packed = self.pick("LOAD", "every_other", range(2)) if packed is None else packed
        size = self.engine.stored_words(bool(packed))
        words = count * size
        rule(state.tail == state.head or state.tail >= state.head + words - ring, "the next tile is overwritten")
        runs = self.random.choice([n for n in range(1, words + 1) if words % n == 0][:6])
        stride = 8 * (words // runs) if runs > 1 else self.pick("LOAD", "ddr_stride", range(0, 1 << 24, 8))
        self.add(
            "LOAD", target=Target.WEIGHTS, ddr=8 * self.random.randrange(SOURCE.stop - words), run_words=words // runs,
            runs=runs, ddr_stride=stride, every_other=packed, cost=self.cost("LOAD"),
        )  # fmt: skip
        state.tiles += [(state.head + i * size, size, bool(packed)) for i in range(count)]
        state.head += words
        state.tiles = [tile for tile in state.tiles if tile[0] >= state.head - ring]

    def cost(self, form: str) -> int:
        return self.pick(form, "cost", range(1 << 20), range(64))

    def run(self, cfg: Fields, fields: Fields, first: int, last: int) -> None:
        """A RUN with partial sums that fit."""
        e, state = self.engine, self.state
        steps = fields["rows"] * (1 + fields["pair"]) * fields["columns"] * e.substeps
        free = range(1024) if first and last else range(e.psum_steps - steps + 1)
        psum = fields.get("psum", self.pick("RUN", "psum", free))
        shift, most = self.pick("RUN", "shift", range(2)), e.lanes * 128 * 255
        if not first:
            before = int(state.bounds[psum : psum + steps].max())
            most += 256 * before if shift else before
        rule(most < 1 << (31 if last else 35), "the sum may not fit")
        slot = self.pick("RUN", "slot", range(e.param_slots if last else 256))
        reload = 1 if state.must_reload else self.pick("RUN", "reload", range(2))
        state.must_reload = False
        tile = self.weights(reload)
        common = {"slot": slot, "tail": self.pick("RUN", "tail", range(1, 9)), "shift": shift, "psum": psum}
        if not last:
            for name in ("out_address", "loop_address", "pool_address"):
                fields.setdefault(name, self.pick("RUN", name, ANY))
            state.bounds[psum : psum + steps] = most
        fields.setdefault("scatter", 0 if cfg["split"] else self.pick("RUN", "scatter", range(1 if last else 3)))
        fields.setdefault("residual_set", self.pick("RUN", "residual_set", range(2)))
        self.add("RUN", first=first, last=last, **{**common, **tile, **fields})

    def outputs(self, cfg: Fields, area: Fields, scatter: int) -> Fields:
        """Where the last RUN of a rectangle writes; the pitches become the CONFIG's."""
        e, rows = self.engine, area["rows"] * (1 + area["pair"])
        wide = scatter or cfg["split"]
        across = area["columns"] if wide else -(-area["columns"] // 2)
        row, room = across * cfg["out_planes"], e.out_words if cfg["keep"] else ADDRESSES
        room = min(room, e.loop_words) if cfg["loop"] else room
        bound = cfg["keep"] or cfg["loop"]
        pitches = range(row, (room - row) // (rows - 1) + 1) if bound and rows > 1 else ANY
        cfg["out_pitch"] = self.pick("CONFIG", "out_pitch", pitches, pitches[:9])
        pooled = (area["columns"] if cfg["split"] else -(-area["columns"] // 2)) * cfg["out_planes"]
        pitches = range(pooled, (e.pool_words - pooled) // max(1, area["rows"] - 1) + 1)
        pitches = pitches if cfg["pool"] and area["rows"] > 1 else ANY
        cfg["pool_pitch"] = self.pick("CONFIG", "pool_pitch", pitches, pitches[:9])
        last = (rows - 1) * cfg["out_pitch"] + row
        sums = rows * area["columns"] * e.substeps * cfg["raw_rows"] * max(1, e.pixels // 2)
        out = ANY
        if cfg["keep"]:
            out = range(e.out_words - last + 1)
        elif cfg["raw"] or cfg["dot"]:
            out = range(e.out_words - -(-sums // 2) + 1)
        pool = range(e.pool_words - (area["rows"] - 1) * cfg["pool_pitch"] - pooled + 1) if cfg["pool"] else ANY
        return {
            "scatter": scatter,
            "out_address": self.pick("RUN", "out_address", out),
            "loop_address": self.pick("RUN", "loop_address", range(e.loop_words - last + 1) if cfg["loop"] else ANY),
            "pool_address": self.pick("RUN", "pool_address", pool),
        }
