"""Kinds of segments: a CONFIG, RUNs, STOREs of what they wrote; LOADs and MOVEs, with a RUN that reads their words."""

from __future__ import annotations

import numpy as np

from hwseg.machine.rules import ADDRESSES, reach, rule
from hwseg.rtl.isa import MOVE_TAIL, PARAMETER, Mode, Target
from tests.sim.fields_draft import ANY, OUTPUT, PARAMETERS, SOURCE, WORDS, Drawing, Fields
from tests.sim.fields_wanted import encoded


class FullError(Exception):
    """The DDR has no room for another segment."""


class Segments(Drawing):
    """A method for each kind; `entries` and `patches`: parameters of the segment, and where they stand in the DDR."""

    entries: list[Fields]
    patches: list[tuple[int, np.ndarray]]

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
