"""The engine's instruction set executed in NumPy: proof that a program computes the network, before there are gates.

It knows nothing of layers: it decodes the packed program, and banks, partial sums, output memories and parameters start
as noise.  Reader, writer and compute unit run in their own orders, interleaved by a policy that is as bad as the
counters allow: "eager" issues every LOAD, MOVE and STORE as soon as its waits hold, "lazy" as late as a RUN needs it.
Writes to memory become visible only when a LOAD waits for them.  A missing wait shows as a wrong tensor or as a
deadlock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from hwseg.arith.requantize import apply
from hwseg.compile.rules import (
    ADDRESSES,
    MachineError,
    bound,
    check_config,
    check_load,
    check_move,
    check_ring,
    check_run,
    check_store,
    check_transfer,
    rule,
    signed,
)
from hwseg.compile.timing import jumped
from hwseg.rtl.config import BANKS, PAGE_INSTRUCTIONS, PAGE_WORDS, PSUM_BITS, ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import FORMATS, PARAMETER, Mode, Opcode, Scatter, Target
from hwseg.rtl.requantize import ACC_BITS
from hwseg.rtl.residual import WAITING
from hwseg.rtl.skip import MOST, PLANES

NEVER = 1 << 60
QUEUE = 16


def decode(words: np.ndarray) -> dict[str, int]:
    """The fields of one instruction."""
    value = int.from_bytes(np.ascontiguousarray(words, "<u8").tobytes(), "little")
    opcode = Opcode(value & 15)
    return FORMATS[opcode].unpack(value) if opcode in FORMATS else {"opcode": int(opcode)}


@dataclass
class Machine:
    """`memory`: the DDR as 64-bit words, changed in place.  `run` executes the program at `program` to its HALT."""

    config: EngineConfig
    memory: np.ndarray
    program: int
    program_bytes: int
    policy: str = "eager"
    seed: int = 0
    skip: bool = False
    runs: int = 0
    loads: int = 0
    stores: int = 0
    trace: list[dict[str, int]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    """Cycles that each RUN takes less than a dense one."""
    planes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By layer: digit planes of windows, and those of them that were left out."""

    def __post_init__(self) -> None:
        c, rng = self.config, np.random.default_rng(self.seed)
        self.banks = rng.integers(0, 1 << 63, (BANKS, c.bank_words), np.uint64)
        self.psums = rng.integers(-(1 << 34), 1 << 34, (c.psum_steps, c.pixels, c.rows))
        self.out = rng.integers(0, 1 << 63, (c.sets, 2, c.out_words), np.uint64)
        self.loop = rng.integers(0, 1 << 63, (c.sets, 2, c.loop_words), np.uint64)
        self.pool = rng.integers(0, 1 << 63, (c.sets, c.pool_words), np.uint64)
        self.parameters = rng.integers(0, 1 << 63, (c.param_slots, c.rows, 2), np.uint64)
        self.queues: tuple[deque[np.ndarray], ...] = (deque(), deque())
        self.instructions = np.zeros(2 * PAGE_WORDS, np.uint64)
        self.ring = rng.integers(0, 1 << 63, c.weight_words, np.uint64)
        self.packed = np.zeros(c.weight_words, bool)
        self.ring_head = self.ring_tail = 0
        self.tables = np.zeros((c.rows, c.lanes), np.float64)
        self.configuration: dict[str, int] = {}
        self.written_by = ""
        self.pending: deque[tuple[int, np.ndarray, np.ndarray]] = deque()
        self.read_queue: deque[dict[str, int]] = deque()
        self.store_queue: deque[dict[str, int]] = deque()
        self.compute_queue: deque[dict[str, int]] = deque()
        self.pages, self.dispatched = 0, 0
        self.random = rng

    def run(self) -> None:
        first = min(PAGE_WORDS, self.program_bytes // 8)
        self.instructions[:first] = self.memory[self.program // 8 :][:first]
        self.pages = 1
        while True:
            if self._dispatch():
                continue
            moves = [self._read_step, self._store_step, self._compute_step]
            if self.policy == "lazy":
                moves.reverse()
            elif self.policy == "random":
                self.random.shuffle(moves)
            if not any(move() for move in moves):
                break
        head, queues = decode(self._fetch()), (self.read_queue, self.store_queue, self.compute_queue)
        if head["opcode"] != Opcode.HALT or any(queues):
            raise MachineError(f"deadlock at instruction {self.dispatched}: {[list(q)[:1] for q in queues]}")
        self._flush(self.stores)

    def _fetch(self) -> np.ndarray:
        start = self.dispatched % (2 * PAGE_INSTRUCTIONS) * 4
        return self.instructions[start : start + 4]

    def _dispatch(self) -> bool:
        """Hand the next instruction to its queue; False if it must wait."""
        if self.dispatched // PAGE_INSTRUCTIONS >= self.pages:
            return False
        instruction = decode(self._fetch())
        if instruction["opcode"] == Opcode.HALT:
            return False
        queue = self.read_queue
        if instruction["opcode"] in (Opcode.CONFIG, Opcode.RUN):
            queue = self.compute_queue
        elif instruction["opcode"] == Opcode.STORE:
            queue = self.store_queue
        if len(queue) == QUEUE:
            return False
        queue.append(instruction)
        self.dispatched += 1
        return True

    @staticmethod
    def _reached(counter: int, wait: int) -> bool:
        return (counter - wait) & 0xFFFF < 0x8000

    def _read_step(self) -> bool:
        if not self.read_queue:
            return False
        i = self.read_queue[0]
        if not self._reached(self.runs, i["wait_runs"]):
            return False
        if i["opcode"] == Opcode.MOVE:
            self._move(i)
        else:
            if not self._reached(self.stores, i["wait_stores"]):
                return False
            self._load(i)
        self.read_queue.popleft()
        self.loads += 1
        return True

    def _store_step(self) -> bool:
        if not self.store_queue or not self._reached(self.runs, self.store_queue[0]["wait_runs"]):
            return False
        self._store(self.store_queue.popleft())
        return True

    def _addresses(self, i: dict[str, int]) -> np.ndarray:
        """DDR word indices [run, word]."""
        check_transfer(i)
        start = i["ddr"] // 8 + np.arange(i["runs"])[:, None] * (i["ddr_stride"] // 8)
        return start + np.arange(i["run_words"])

    def _flush(self, count: int) -> None:
        """The first `count` STOREs reach the memory."""
        while self.pending and self.pending[0][0] < count:
            _, addresses, words = self.pending.popleft()
            self.memory[addresses] = words

    def _load(self, i: dict[str, int]) -> None:
        self._flush(self.stores - (self.stores - i["wait_stores"] & 0xFFFF))
        words = self.memory[self._addresses(i)]
        check_load(i, self.config)
        target = Target(i["target"])
        if target == Target.WEIGHTS:
            places = (self.ring_head + np.arange(words.size)) % self.config.weight_words
            self.ring[places], self.packed[places] = words.reshape(-1), i["every_other"]
            self.ring_head += words.size
        elif target == Target.PARAMETERS:
            triples = words.reshape(-1, self.config.rows, 2)
            self.parameters[i["address"] : i["address"] + len(triples)] = triples
        elif target == Target.PROGRAM:
            if self.dispatched <= (self.pages - 1) * PAGE_INSTRUCTIONS:
                raise MachineError("a page is overwritten before it was dispatched")
            self.instructions[i["address"] : i["address"] + words.shape[1]] = words[0]
            self.pages += 1
        else:
            self._fill_banks(i, words)

    def _fill_banks(self, i: dict[str, int], words: np.ndarray) -> None:
        """Words [row, word of the row] go where the instruction says; rows may go round in a ring."""
        rows, word = np.arange(words.shape[0])[:, None], np.arange(words.shape[1])[None, :]
        if i["target"] == Target.POINT:
            starts = self._starts(i["address"], i["pitch"], words.shape[0], i)
            self.banks[i["bank"], (starts[rows] + word) % self.config.bank_words] = words
            return
        b = i["planes"]
        phase, kappa = i["row_phase"] + rows * (1 + i["every_other"]), i["column_phase"] + word // b
        starts = self._starts(i["address"], i["pitch"], int(phase.max()) // 3 + 1, i)
        address = starts[phase // 3] + i["column_address"] + kappa // 3 * b + word % b
        self.banks[3 * (phase % 3) + kappa % 3, address % self.config.bank_words] = words

    @staticmethod
    def _starts(address: int, pitch: int, count: int, i: dict[str, int]) -> np.ndarray:
        """Addresses of `count` row blocks, each behind the one before or at the ring's beginning."""
        starts = [address]
        for _ in range(count - 1):
            following = (starts[-1] + pitch) % ADDRESSES
            starts.append(i["wrap_to"] if following == i["wrap_at"] else following)
        return np.array(starts)

    def _move(self, i: dict[str, int]) -> None:
        b, steps = i["planes"], i["run_words"]
        row, step = np.arange(i["runs"])[:, None], np.arange(steps)[None, :]
        check_move(i, self.config)
        first = i["source"] + row * i["source_pitch"]
        odd = i["set"]
        even = odd + i["split"] * self.config.sets // 2
        if i["target"] == Target.POINT:
            q = step // b
            words = self.loop[np.where(q & 1, odd, even), q & 1, first + (q >> 1) * b + step % b]
        else:
            pairs = np.stack([self.loop[even, 0, first + step], self.loop[odd, 1, first + step]], axis=-1)
            # [row, pair of word columns * planes, parity] -> [row, word column * planes]
            split = pairs.reshape(i["runs"], steps // b, b, 2)
            words = split.transpose(0, 1, 3, 2).reshape(i["runs"], 2 * steps)
        self._fill_banks(i, words)

    def _store(self, i: dict[str, int]) -> None:
        check_store(i, self.config)
        row, word = np.arange(i["runs"])[:, None], np.arange(i["run_words"])[None, :]
        first = i["address"] + row * i["pitch"]
        if i["pool"]:
            words = self.pool[i["set"], first + word]
            if i["split"]:
                words = words | self.pool[i["set"] + self.config.sets // 2, first + word]
        else:
            q = word // i["planes"]
            even = i["set"] + i["split"] * self.config.sets // 2
            words = self.out[
                np.where(q & 1, i["set"], even), q & 1, first + (q >> 1) * i["planes"] + word % i["planes"]
            ]
        self.pending.append((self.stores, self._addresses(i), words))
        self.stores += 1

    def _compute_step(self) -> bool:
        if not self.compute_queue:
            return False
        i = self.compute_queue[0]
        if i["opcode"] == Opcode.CONFIG:
            self._configure(self.compute_queue.popleft())
            return True
        if not self._reached(self.loads, i["wait_loads"]) or not self._reached(self.stores, i["wait_stores"]):
            return False
        if i["reload"] and not self._reload(i):
            return False
        self.compute_queue.popleft()
        self._execute(i)
        self.runs += 1
        return True

    def _configure(self, cfg: dict[str, int]) -> None:
        """CONFIG; RUNs under the one before may still be on their way, so what both write must not be mixed."""
        check_config(cfg, self.config)
        writes = "sums" if cfg["raw"] or cfg["dot"] else "planes" if cfg["keep"] else ""
        mixed = "" not in (self.written_by, writes) and self.written_by != writes
        rule(cfg["drain"] or not mixed, "sums and planes meet on their way into the output memory")
        self.configuration, self.written_by = cfg, writes

    def _reload(self, i: dict[str, int]) -> bool:
        """The tile at the ring's tail fills the tables; False if it is not there yet.

        Nothing tells of a tile that was written over: it gives wrong sums.
        """
        c = self.config
        packed = bool(self.packed[self.ring_tail % c.weight_words])
        size = c.stored_words(packed)
        if self.ring_head - self.ring_tail < size:
            return False
        words = self.ring[(self.ring_tail + np.arange(size)) % c.weight_words]
        self.ring_tail = jumped(self.ring_tail, i["tile"], c) if i["jump"] else self.ring_tail + size
        if packed:
            nibbles = np.stack([words.view(np.uint8) & 15, words.view(np.uint8) >> 4], axis=-1).reshape(-1)
            words = ((nibbles ^ 8).view(np.int8) - 8).astype(np.int8).view(np.uint64)[: c.tile_words]
        self.tables = words.view(np.int8).reshape(c.rows, -1)[:, : c.lanes].astype(np.float64)
        return True

    def _execute(self, i: dict[str, int]) -> None:
        """One RUN: windows, sums, partial sums, and on the last tile the output path."""
        c, cfg = self.config, self.configuration
        check_run(i, cfg, c)
        self._leave_out(i)
        lanes, upper = self._lanes(i)
        half = c.rows // 2
        sums = np.rint(lanes @ self.tables.T).astype(np.int64)
        if upper is not None:
            sums[..., half:] = np.rint(upper @ self.tables[half:].T).astype(np.int64)
        y, x, _, rows = sums.shape
        depth = 2 if i["pair"] else 1
        order = sums.reshape(y // depth, depth, x, c.substeps, c.pixels, rows).transpose(0, 2, 1, 3, 4, 5)
        steps = order.reshape(-1, c.pixels, rows)
        at = i["psum"] + np.arange(len(steps))
        if not i["first"]:
            before = self.psums[at]
            steps = steps + (before << 8 if i["shift"] else before)
        if np.abs(steps).max(initial=0) >= 1 << PSUM_BITS - 1:
            raise MachineError("partial sum overflows")
        if i["residual"]:
            self._put_by(i["residual_set"], lanes.reshape(y // depth, depth, x, 8, -1).swapaxes(1, 2))
        if not i["last"]:
            self.psums[at] = steps
            return
        if steps.max(initial=0) >= 1 << ACC_BITS - 1 or steps.min(initial=0) < -(1 << ACC_BITS - 1):
            raise MachineError(f"an accumulator does not fit {ACC_BITS} bits")
        shape = (y // depth, x, depth, c.substeps, c.pixels, rows)
        if cfg["raw"]:
            self._write_raw(i, steps)
            return
        quantized = self._requantize(i, steps).reshape(shape).transpose(0, 2, 1, 3, 4, 5)
        quantized = quantized.reshape(y, x, 8, rows).copy()
        if cfg["residual"]:
            pairs = quantized.reshape(y // depth, depth, x, 8, rows).swapaxes(1, 2)
            quantized = self._added(pairs).swapaxes(1, 2).reshape(quantized.shape)
        quantized[:, x - 1, i["tail"] :] = 0
        if cfg["dot"]:
            self._write_dot(i, quantized)
        if cfg["keep"]:
            self._write_map(i, quantized, self.out, i["out_address"])
        if cfg["loop"]:
            self._write_map(i, quantized, self.loop, i["loop_address"])
        if cfg["pool"]:
            self._write_pool(i, quantized)

    def _lanes(self, i: dict[str, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """float64 [row, word column, pixel, lane] of a RUN; of a split layer those of the upper rows too."""
        c, cfg, mode = self.config, self.configuration, Mode(self.configuration["mode"])
        rows = i["rows"] * (2 if i["pair"] else 1)
        y, x = np.arange(rows), np.arange(i["columns"])
        b, n = cfg["planes"], c.channels
        channels = slice(i["slice"] * n, i["slice"] * n + n)
        lanes = np.zeros((rows, i["columns"], 8, 9, n))
        if mode == Mode.POINT:
            starts = self._starts(i["row_address"], cfg["pitch"], rows, i)
            address = starts[:, None] + i["column_address"] + x[None, :] * b
            for tap in range(8):
                lanes[:, :, :, tap] = self._word(tap, address)[..., channels]
            return lanes.reshape(*lanes.shape[:3], -1), None
        upper = np.zeros_like(lanes) if cfg["split"] else None
        scale = 2 if mode == Mode.STRIDE2 else 1
        rho, kappa = self._centres(i, y, x)
        for ky in range(3):
            row = rho + ky - 1
            if mode == Mode.NEAREST:
                row = i["row_phase"] + (i["odd_row"] + y + ky - 1 >> 1)
            line = np.zeros((rows, i["columns"], 24, 8))
            for kx in range(3):
                column = kappa + kx - 1
                address = self._blocks(i, row // 3)[:, None] + i["column_address"] + (column // 3 * b)[None, :]
                bank = 3 * (row % 3)[:, None] + (column % 3)[None, :]
                word = self._word(bank, address)
                if kx == 0 and i["left"] and not cfg["split"]:
                    word[:, 0] = 0
                if kx == 2 and i["right"]:
                    word[:, -1] = 0
                line[:, :, 8 * kx : 8 * kx + 8] = word
            if ky == 0 and i["top"]:
                line[0] = 0
            if ky == 2 and i["bottom"]:
                line[-1] = 0
            pixel = np.arange(8)
            for kx in range(3):
                if mode == Mode.NEAREST:
                    half = 4 * ((i["odd_column"] + x) & 1)
                    at = 8 + half[:, None] + (pixel + kx - 1 >> 1)[None, :]
                    chosen = np.take_along_axis(line, at[None, :, :, None].repeat(rows, 0).repeat(8, 3), axis=2)
                else:
                    chosen = line[:, :, 7 + scale * pixel + kx]
                lanes[:, :, :, 3 * ky + kx] = chosen[..., channels]
            if upper is not None:
                # Left of the left word: the last pixel of the step before's centre word.
                before = np.zeros_like(line[:, :, :1])
                before[:, 1:, 0] = line[:, :-1, 15]
                whole = np.concatenate([before, line[:, :, :9]], axis=2)
                for kx in range(3):
                    upper[:, :, :, 3 * ky + kx] = whole[:, :, pixel + kx][..., channels]
        shape = (*lanes.shape[:3], -1)
        return lanes.reshape(shape), None if upper is None else upper.reshape(shape)

    def _centres(self, i: dict[str, int], y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Buffer row and word column of each step's centre word, for output rows y and steps x along them."""
        mode = Mode(self.configuration["mode"])
        if mode == Mode.NEAREST:
            return i["row_phase"] + (i["odd_row"] + y >> 1), i["column_phase"] + (i["odd_column"] + x >> 1)
        scale = 2 if mode == Mode.STRIDE2 else 1
        return i["row_phase"] + scale * y, i["column_phase"] + (2 if self.configuration["split"] else scale) * x

    def _leave_out(self, i: dict[str, int]) -> None:
        """Count the leading planes that are zero in every window of a RUN; its first step is always dense."""
        substeps, cfg = self.config.substeps, self.configuration
        dense, skipped = self.planes.get(i["layer"], (0, 0))
        dense += i["rows"] * (1 + i["pair"]) * i["columns"] * substeps * cfg["planes"]
        self.planes[i["layer"]] = dense, skipped
        if not (self.skip and cfg["skip"]):
            self.saved.append(0)
            return
        counts = self._leading(i)
        first = counts[0, 0]
        self.planes[i["layer"]] = dense, skipped + int(counts.sum() * substeps - first)
        self.saved.append(0 if i["last"] else int(np.minimum(counts, MOST).sum() * substeps - min(first, MOST)))

    def _leading(self, i: dict[str, int]) -> np.ndarray:
        """[row, word column] of a RUN's steps: zero planes at the head of all nine words."""
        mode = Mode(self.configuration["mode"])
        rows = i["rows"] * (2 if i["pair"] else 1)
        y, x = np.arange(rows), np.arange(i["columns"])
        rho, kappa = self._centres(i, y, x)
        dark_rows, dark_columns = np.zeros((3, rows), bool), np.zeros((3, len(x)), bool)
        if mode == Mode.NEAREST:
            for dark, half in ((dark_rows, i["odd_row"] + y & 1), (dark_columns, i["odd_column"] + x & 1)):
                dark[0], dark[2] = half == 1, half == 0
        dark_rows[0, 0] |= bool(i["top"])
        dark_rows[2, -1] |= bool(i["bottom"])
        dark_columns[0, 0] |= bool(i["left"])
        dark_columns[2, -1] |= bool(i["right"])
        found: np.ndarray = np.full((rows, len(x)), PLANES - 1)
        for ky in range(3):
            row = rho + ky - 1
            for kx in range(3):
                column = kappa + kx - 1
                address = self._blocks(i, row // 3)[:, None] + i["column_address"] + (column // 3 * PLANES)[None, :]
                at = (address[..., None] + np.arange(PLANES)) % self.config.bank_words
                bank = (3 * (row % 3)[:, None] + (column % 3)[None, :])[..., None]
                zero = np.cumprod(self.banks[bank, at] == 0, axis=-1).sum(-1)
                dark = dark_rows[ky][:, None] | dark_columns[kx][None, :]
                found = np.where(dark, found, np.minimum(found, zero))
        return found

    def _blocks(self, i: dict[str, int], number: np.ndarray) -> np.ndarray:
        """Addresses of row blocks counted from the RUN's first centre row: -1 is the one before."""
        pitch, start = self.configuration["pitch"], i["row_address"]
        before = (i["wrap_at"] if start == i["wrap_to"] else start) - pitch
        starts = np.append(self._walked(i, pitch, max(1, int(number.max()) + 1)), before)
        found: np.ndarray = starts[number]
        return found

    def _walked(self, i: dict[str, int], pitch: int, count: int) -> np.ndarray:
        """Row blocks of a RUN's windows."""
        starts = self._starts(i["row_address"], pitch, count, i)
        check_ring(starts.tolist(), pitch, i)
        return starts

    def _word(self, bank: int | np.ndarray, address: np.ndarray) -> np.ndarray:
        """Values [..., pixel, channel] whose planes stand at `address` and behind it."""
        b, signed = self.configuration["planes"], self.configuration["signed_in"]
        planes = (address[..., None] + np.arange(b)) % self.config.bank_words
        words = self.banks[bank if isinstance(bank, int) else bank[..., None], planes]
        bits = np.unpackbits(np.ascontiguousarray(words, "<u8").view(np.uint8), axis=-1, bitorder="little")
        bits = bits.reshape(*words.shape, 8, 8)
        weight = 2.0 ** np.arange(b - 1, -1, -1)
        if signed:
            weight[0] = -weight[0]
        values: np.ndarray = np.einsum("...bpc,b->...pc", bits, weight)
        return values

    def _triples(self, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        fields = [PARAMETER.unpack(int(low) | int(high) << 64) for low, high in self.parameters[slot]]
        offset = np.array([signed(f["offset"], PARAMETER.fields["offset"]) for f in fields], np.int64)
        multiplier = np.array([signed(f["multiplier"], PARAMETER.fields["multiplier"]) for f in fields], np.int64)
        return multiplier, offset, np.array([f["shift"] for f in fields])

    def _requantize(self, i: dict[str, int], acc: np.ndarray) -> np.ndarray:
        cfg = self.configuration
        multiplier, offset, shift = self._triples(i["slot"])
        low, high = (bound(cfg, name) for name in ("first_low", "first_high"))
        return apply(acc, multiplier, offset, shift, low, high)

    def _put_by(self, number: int, lanes: np.ndarray) -> None:
        """The centre words of a RUN's windows, [row or pair, word column, row of the pair], wait for a set's sums."""
        n = self.config.channels
        self.queues[number].extend(lanes[..., 4 * n : 5 * n].astype(np.int64).reshape(-1, 8, n))
        rule(len(self.queues[number]) <= WAITING, "more input waits for a residual addition than the queue holds")

    def _added(self, values: np.ndarray) -> np.ndarray:
        """Requantized sums [row or pair, word column, row of the pair, pixel, channel] with what waits for them."""
        cfg = self.configuration
        low, high = (bound(cfg, name) for name in ("low", "high"))
        total = values.astype(np.int64) << cfg["double"]
        count = total[..., 0, 0].size
        for s, queue in enumerate(self.queues):
            if not queue:
                continue  # a set without channels
            rule(len(queue) >= count, "fewer words wait for an addition than sums come")
            words = np.array([queue.popleft() for _ in range(count)])
            total[..., ROWS_PER_SET * s : ROWS_PER_SET * (s + 1)] += words.reshape(*total.shape[:-1], ROWS_PER_SET)
        if cfg["halve"]:
            total = (total >> 1) + (total & total >> 1 & 1)
        clipped: np.ndarray = np.clip(total, low, high)
        return clipped

    def _planes(self, values: np.ndarray) -> np.ndarray:
        """uint64 [..., plane] of values [..., pixel, channel]."""
        b = self.configuration["out_planes"]
        bits = np.stack([values >> b - 1 - p & 1 for p in range(b)], axis=-3).astype(np.uint8)
        packed = np.packbits(bits, axis=-1, bitorder="little")[..., 0]
        words: np.ndarray = np.ascontiguousarray(packed).view("<u8")[..., 0]
        return words

    def _write_map(self, i: dict[str, int], values: np.ndarray, memory: np.ndarray, start: int) -> None:
        cfg, scatter = self.configuration, Scatter(i["scatter"])
        rows, columns = values.shape[:2]
        b = cfg["out_planes"]
        y, x = np.arange(rows)[:, None, None], np.arange(columns)[None, :, None]
        plane = np.arange(b)[None, None, :]
        row = start + y * cfg["out_pitch"] + plane
        for s in range(self.config.sets):
            chosen = values[..., ROWS_PER_SET * s : ROWS_PER_SET * (s + 1)]
            if cfg["split"]:
                memory[s, int(s < self.config.sets // 2), row + x * b] = self._planes(chosen)
                continue
            if scatter == Scatter.NONE:
                memory[s, x & 1, row + (x >> 1) * b] = self._planes(chosen)
                continue
            for half in (0, 1):
                wide = np.zeros_like(chosen)
                places = 2 * np.arange(4) + int(scatter == Scatter.ODD)
                wide[:, :, places] = chosen[:, :, 4 * half : 4 * half + 4]
                mask = np.uint64(sum(255 << 8 * int(p) for p in places))
                old = memory[s, half, row + x * b]
                memory[s, half, row + x * b] = old & ~mask | self._planes(wide) & mask

    def _write_pool(self, i: dict[str, int], values: np.ndarray) -> None:
        cfg = self.configuration
        rows, columns, _, channels = values.shape
        if cfg["split"]:
            # Every step is both halves of a pooled word: of each set the half that it makes counts.
            blank = np.zeros_like(values)
            half = channels // 2
            pairs_of = np.stack([values, blank], axis=2), np.stack([blank, values], axis=2)
            values = np.concatenate([pairs_of[1][..., :half], pairs_of[0][..., half:]], axis=-1)
            values = values.reshape(rows, 2 * columns, 8, channels)
            columns *= 2
        if columns % 2:
            values = np.concatenate([values, np.zeros_like(values[:, :1])], axis=1)
        pairs = values.reshape(rows // 2, 2, -1, 2, channels).max(axis=(1, 3))
        pooled = pairs.reshape(rows // 2, -1, 8, channels)
        b = cfg["out_planes"]
        y, x = np.arange(rows // 2)[:, None, None], np.arange(pooled.shape[1])[None, :, None]
        address = i["pool_address"] + y * cfg["pool_pitch"] + x * b + np.arange(b)[None, None, :]
        for s in range(self.config.sets):
            self.pool[s, address] = self._planes(pooled[..., ROWS_PER_SET * s : ROWS_PER_SET * (s + 1)])

    def _write_dot(self, i: dict[str, int], values: np.ndarray) -> None:
        """Scalar products of the output channels with their head weights, from the last set's output memory."""
        c = self.config
        fields = [PARAMETER.unpack(int(low) | int(high) << 64) for low, high in self.parameters[i["slot"]]]
        weights = np.array([signed(f["dot"], PARAMETER.fields["dot"]) for f in fields], np.int64)
        sums = (values.astype(np.int64) @ weights).astype(np.int32).reshape(-1, c.pixels)
        if c.pixels == 1:
            words = sums.reshape(-1).astype(np.uint32).astype(np.uint64)
        else:
            words = np.ascontiguousarray(sums, "<i4").reshape(-1).view("<u8")
        number = np.arange(len(words))
        self.out[c.sets - 1, number & 1, i["out_address"] + (number >> 1)] = words

    def _write_raw(self, i: dict[str, int], steps: np.ndarray) -> None:
        c, rows = self.config, self.configuration["raw_rows"]
        multiplier, offset, _ = self._triples(i["slot"])
        values = (steps * multiplier + offset).astype(np.int32)
        for s in range(c.sets):
            chosen = values[:, :, ROWS_PER_SET * s : ROWS_PER_SET * s + rows].transpose(0, 2, 1)
            if c.pixels == 1:
                words = chosen.reshape(-1).astype(np.uint32).astype(np.uint64)
            else:
                words = np.ascontiguousarray(chosen, "<i4").reshape(-1).view("<u8")
            number = np.arange(len(words))
            self.out[s, number & 1, i["out_address"] + (number >> 1)] = words
