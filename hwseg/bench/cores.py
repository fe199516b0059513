"""Every core on the same work: resources, cycles per output, toggles per multiply-accumulate, routed clock.

The work is a trained network's: activations of a convolution in the middle of it, as windows of neighbouring pixels,
and weights of its output channels, cut to the core's lanes and word length.  The netlist that synthesis gives is
simulated on it, each sum is compared with the integer dot product, and the toggles of its nets are counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.arith.decision import Decision
from hwseg.arith.digits import array_planes
from hwseg.arith.grouped import BIAS_LANES
from hwseg.arith.online import CascadeSpec
from hwseg.arith.table import ENTRIES, LANES, TableSpec
from hwseg.arith.types import IntType
from hwseg.bench import route, route_xilinx
from hwseg.bench.activations import Layer, leading
from hwseg.bench.netlist import Netlist
from hwseg.caches import remembered
from hwseg.errors import require
from hwseg.rtl.cores import CORES, Family
from hwseg.rtl.cores.table import first_pairs
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys

LANE_COUNTS = (9, 72, 144)
WORD_LENGTHS = (4, 8)
STREAMS = 64
SUMS = 6
"""Sums per stream."""

PAPER = {"bit_parallel": 1.07, "bit_serial": 4.36, "cascaded": 2.52, "merged": 1.0}
"""How many times faster than each the merged core of the ICECS 2025 paper is reported to be."""

HOLDING = ("merged", "grouped", "table", "table_dsp")
"""Cores that may be held once ReLU has decided."""

GATED_LANES = 72

_RECIPE = "3"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Figures:
    """One core.  `lut` counts LUTs without pairing small ones, `lut_paired` with Yosys's estimate of it.

    loader_lut, encoder_lut: shared by a row and by a pixel's column of an array.  cycles, skipping, early_exit: cycles
    per output, dense and on real activations.  toggles, toggles_gated: of nets per multiply-accumulate, the latter with
    decided cores held, None for cores that cannot be; the inside of DSP slices is not in them, but dsp_steps, how often
    a slice computes per multiply-accumulate.  fmax_mhz, slowest_path: routed on an ECP5-85F, speed grade 6; None where
    that was not asked for.  fmax_xc7z020_mhz: routed on the part itself, where nextpnr-xilinx is installed.
    """

    core: str
    lanes: int
    weight_bits: int
    lut: int
    lut_paired: int
    lutram: int
    ff: int
    carry4: int
    dsp: int
    loader_lut: int
    encoder_lut: int
    initiation_interval: int
    cycles: float
    cycles_skipping: float
    cycles_early_exit: float
    macs_per_cycle_per_klut: float
    toggles_per_mac: float
    toggles_per_mac_gated: float | None
    dsp_steps_per_mac: float
    fmax_mhz: float | None = None
    slowest_path: str | None = None
    fmax_xc7z020_mhz: float | None = None


@dataclass(frozen=True)
class Work:
    """Activations [stream, sum, lane] and weights [lane] of one bench."""

    activations: np.ndarray
    weights: np.ndarray
    bits: int
    channels: np.ndarray
    """Weights [channel, lane]: `cycles` are means over these; `weights` is the one of median sums."""

    @classmethod
    def of(cls, layer: Layer, lanes: int, bits: int) -> Work:
        require(layer.weights.shape[1] >= lanes, layer.name, f"has {layer.weights.shape[1]} lanes, not {lanes}")
        generator = np.random.default_rng(0)
        start = generator.integers(0, len(layer.windows) - SUMS + 1, STREAMS)
        x = layer.windows[start[:, None] + np.arange(SUMS)][:, :, :lanes] >> (layer.activation.width - bits)
        channels = layer.weights[:16, :lanes] >> (8 - bits)
        means = (x @ channels.T).mean((0, 1))
        return cls(x, channels[np.argsort(means)[len(means) // 2]], bits, channels)

    @property
    def digest(self) -> str:
        """Of everything that figures depend on."""
        return hashlib.sha256(self.activations.tobytes() + self.channels.tobytes()).hexdigest()

    @property
    def flat(self) -> np.ndarray:
        return self.activations.reshape(-1, self.activations.shape[2])

    def needed(self, weights: np.ndarray) -> np.ndarray:
        """Planes of each sum until ReLU has decided it, [stream, sum]."""
        decision = Decision(tuple(weights.tolist()), IntType(self.bits))
        return decision.planes_needed_all(self.flat).reshape(self.activations.shape[:2])


def run(
    layer: Layer, lane_counts: tuple[int, ...], word_lengths: tuple[int, ...], routed: bool, say: Say
) -> list[Figures]:
    """Figures of every core, lane count and word length; what is in the cache is not measured again."""
    jobs = [(bits, lanes) for bits in sorted(word_lengths, reverse=True) for lanes in lane_counts]
    found = []
    for number, (bits, lanes) in enumerate(jobs):
        work = Work.of(layer, lanes, bits)
        for i, family in enumerate(CORES.values()):
            say(f"{number * len(CORES) + i + 1}/{len(jobs) * len(CORES)} {family.name}, {lanes} lanes, {bits} bits")
            figures = measure(family, work)
            if routed:
                figures = replace(figures, **routed_clock(family, lanes, bits))
            if routed and route_xilinx.installed():
                figures = replace(figures, **xilinx_clock(family, lanes, bits))
            found.append(figures)
    return found


def measure(family: Family, work: Work) -> Figures:
    """From the cache, or synthesized and simulated now."""
    lanes, bits = len(work.weights), work.bits
    texts = {part: verilog(getattr(family, part)(lanes, bits), "part") for part in ("core", "loader", "encoder")}
    content = (sorted(texts.items()), yosys.version(), family.name, bits, work.digest)
    return Figures(**_remembered(content, lambda: asdict(_measure(family, work, texts))))


def routed_clock(family: Family, lanes: int, bits: int) -> dict[str, Any]:
    """The core alone on an ECP5, from the cache or placed and routed now."""
    text = verilog(family.core(lanes, bits), "part")

    def found() -> dict[str, Any]:
        done = route.route(text, "part")
        return {"fmax_mhz": done.fmax_mhz, "slowest_path": done.told()}

    return _remembered(("route", text, yosys.version(), route.version(), route.OPTIONS), found)


def xilinx_clock(family: Family, lanes: int, bits: int) -> dict[str, Any]:
    """The core alone on an xc7z020, from the cache or placed and routed now."""
    text = verilog(family.core(lanes, bits), "part")
    content = ("route", text, yosys.version(), route_xilinx.TOOL, os.environ[route_xilinx.DATABASE])
    return _remembered(content, lambda: {"fmax_xc7z020_mhz": route_xilinx.route(text, "part")})


def _remembered(content: object, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    key = content, _RECIPE, yosys.synthesis("")
    found: dict[str, Any] = json.loads(remembered("bench", key, lambda: json.dumps(find()).encode()))
    return found


def _measure(family: Family, work: Work, texts: dict[str, str]) -> Figures:
    lanes, bits = len(work.weights), work.bits
    with tempfile.TemporaryDirectory(prefix="hwseg-bench-") as scratch:
        path = Path(scratch) / "core.json"
        costs = {part: synthesized(text, path if part == "core" else None) for part, text in texts.items()}
        toggles = activity(family, work, path, gated=False)
        gated = activity(family, work, path, gated=True) if family.name in HOLDING else None
    core = costs["core"]
    dense, skipping, early = cycles(family, work)
    return Figures(
        core=family.name,
        lanes=lanes,
        weight_bits=bits,
        lut=core.lut_cells,
        lut_paired=core.lut,
        lutram=core.lutram,
        ff=core.ff,
        carry4=core.carry4,
        dsp=core.dsp,
        loader_lut=costs["loader"].lut_cells,
        encoder_lut=costs["encoder"].lut_cells,
        initiation_interval=round(dense),
        cycles=dense,
        cycles_skipping=skipping,
        cycles_early_exit=early,
        macs_per_cycle_per_klut=round(1000 * lanes / dense / core.lut_cells, 2),
        toggles_per_mac=toggles,
        toggles_per_mac_gated=gated,
        dsp_steps_per_mac=round(core.dsp * dense / lanes, 3),
    )


def gating(layer: Layer) -> tuple[float, float]:
    """Toggles per multiply-accumulate of a table core on a layer's windows, at most 72 lanes: all, and gated."""
    work = Work.of(layer, min(GATED_LANES, layer.weights.shape[1]), 8)
    family = CORES["table"]
    text = verilog(family.core(len(work.weights), 8), "part")

    def found() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="hwseg-bench-") as scratch:
            netlist = Path(scratch) / "core.json"
            synthesized(text, netlist)
            return {"both": [activity(family, work, netlist, gated) for gated in (False, True)]}

    every, held = _remembered(("gating", text, yosys.version(), work.digest), found)["both"]
    return every, held


def synthesized(text: str, netlist: Path | None = None) -> yosys.Resources:
    """Resources of module `part`, from the cache where no netlist is wanted: rivals share encoders and loaders."""

    def find() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="hwseg-bench-") as scratch:
            source = Path(scratch) / "part.v"
            source.write_text(text)
            return asdict(yosys.synth_xilinx([source], "part", netlist=netlist))

    return yosys.Resources(**(find() if netlist else _remembered(("part", text, yosys.version()), find)))


def cycles(family: Family, work: Work) -> tuple[float, float, float]:
    """Per output: dense, without leading zero planes, and with an early exit after ReLU has decided too."""
    bits, flat = work.bits, work.flat
    if family.order == "words":
        return 1.0, 1.0, 1.0
    drain = family.drain(len(work.weights), bits)
    kept = np.maximum(bits - leading(flat, bits, False), 1)
    needed = [work.needed(weights).reshape(-1) for weights in work.channels]
    exits = np.maximum(np.array(needed) - (bits - kept), 1)
    if family.order == "least":  # the most significant planes come last: their absence is known, the sign is not
        exits = kept[None]
    if drain:  # a digit decides when it comes out: the first nonzero one, and only a negative sum may stop
        spec = CascadeSpec(len(work.weights), IntType(bits), IntType(bits, signed=True))
        whole, found = kept + drain, []
        for weights in work.channels:
            digits = spec.compute_all(weights, flat)
            first = np.argmax(digits != 0, 0)
            negative = np.take_along_axis(digits, first[None], 0)[0] < 0
            found.append(np.where(negative, np.minimum(first + 1 - (bits - kept), whole), whole))
        exits, kept = np.array(found), whole
    return float(bits + drain), round(float(kept.mean()), 3), round(float(np.maximum(exits, 1).mean()), 3)


def activity(family: Family, work: Work, netlist: Path, gated: bool) -> float:
    """Toggles per multiply-accumulate of the core's nets, with tables or weights already loaded."""
    machine = Netlist(netlist, "part", STREAMS)
    driver = (_Tables if family.name in ("table", "table_dsp") else _Words if family.order == "words" else _Planes)(
        family, work
    )
    for name in ("valid", "first", "last", "negate"):
        machine.drive(name, 0)
    driver.load(machine)
    before = None
    sums: list[list[int]] = []
    inputs = list(driver.cycles(gated))
    for number, (valid, first, last, feed) in enumerate(inputs + [(0, 0, 0, driver.idle())] * driver.flush):
        machine.drive_streams("valid", [valid])
        machine.drive_streams("first", [first])
        machine.drive_streams("last", [last])
        machine.drive_streams("feed", feed)
        counting = before if number < len(inputs) else None
        before = machine.cycle(counting)
        if before[machine.index[machine.ports["sum_valid"][0]]]:
            sums.append([])  # `sum` stands with `sum_valid`
            kept, machine.values = machine.values, before
            sums[-1] = machine.read("sum")
            machine.values = kept
    if not gated:
        expected = (work.activations @ work.weights).T.tolist()
        require(sums == expected, f"netlist of {family.name}", "must compute the dot products; this is a bug")
    macs = work.activations.size
    return round(machine.toggles / macs, 3)


def _column(bits: np.ndarray) -> int:
    """One integer of a bit per stream."""
    return int.from_bytes(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes(), "little")


class _Planes:
    """Merged, grouped, bit-serial, cascaded: a plane per cycle, ones where the activation has them."""

    def __init__(self, family: Family, work: Work) -> None:
        self.family, self.work = family, work
        lanes, bits = len(work.weights), work.bits
        self.drain = family.drain(lanes, bits)
        latency: Any = family.latency
        self.flush = 2 + (latency(lanes, bits) if self.drain else latency(lanes))
        self.all = (1 << STREAMS) - 1

    def load(self, machine: Netlist) -> None:
        layout: Any = self.family.load_layout(len(self.work.weights), self.work.bits)
        weights = self.work.weights.tolist()
        init = {"weights": weights, "bias": [0] * BIAS_LANES} if self.family.name == "grouped" else weights
        machine.drive("load", layout.const(init).as_bits())
        machine.drive_streams("feed", self.idle())
        for _ in range(self.flush):
            machine.cycle(None)

    def idle(self) -> list[int]:
        return [0] * len(self.work.weights)

    def feed(self, plane: np.ndarray) -> list[int]:
        """Plane [stream, lane]."""
        return [_column(plane[:, lane]) for lane in range(plane.shape[1])]

    def cycles(self, gated: bool) -> Iterator[tuple[int, int, int, list[int]]]:
        """Masks valid, first, last and the feed of each cycle."""
        planes = array_planes(self.work.activations, self.work.bits)
        if self.family.order == "least":
            planes = planes[::-1]
        needed = self.work.needed(self.work.weights)
        end = len(planes) - 1
        for number in range(planes.shape[2]):
            for j in range(end + 1):
                live = needed[:, number] > j if gated else np.ones(STREAMS, bool)
                mask = _column(live)
                feed = [a & mask | b & ~mask for a, b in zip(self.feed(planes[j, :, number]), self.idle(), strict=True)]
                yield (self.all if j == end else mask), (self.all if j == 0 else 0), (self.all if j == end else 0), feed
            for _ in range(self.drain):
                yield 0, 0, 0, self.idle()


class _Words(_Planes):
    """Bit-parallel: eight bits per lane and cycle."""

    def idle(self) -> list[int]:
        return [0] * (8 * len(self.work.weights))

    def cycles(self, gated: bool) -> Iterator[tuple[int, int, int, list[int]]]:
        for number in range(self.work.activations.shape[1]):
            x = self.work.activations[:, number]
            feed = [_column(x[:, lane] >> i & 1) for lane in range(x.shape[1]) for i in range(8)]
            yield self.all, self.all, self.all, feed


class _Tables(_Planes):
    """Table core: what its encoder and its loader would send."""

    def load(self, machine: Netlist) -> None:
        lanes, bits = len(self.work.weights), self.work.bits
        self.spec = spec = TableSpec(lanes, bits)
        layout: Any = self.family.load_layout(lanes, bits)
        written = spec.entries(self.work.weights.tolist())
        first = [table[0][1] for table in written]
        parity = sum((entry & 1) << t for t, entry in enumerate(first))
        odd = sum(((first[a] ^ first[b]) & 1) << n for n, (a, b) in enumerate(first_pairs(spec)))
        for k in range(ENTRIES + self.flush):
            entries = [table[k][1] >> 1 if k < ENTRIES else 0 for table in written]
            words = {
                "write": int(k < ENTRIES),
                "capture": 0,
                "entries": entries,
                "parity": parity if k else 0,
                "odd": odd if k else 0,
                "weight_sum": sum(first),
            }
            machine.drive("load", layout.const(words).as_bits())
            feed = self.idle()
            if k < ENTRIES:
                for t in spec.write_side:
                    for i in range(LANES - 1):
                        feed[(LANES - 1) * t + i] = self.all * (written[t][k][0] >> i & 1)
            machine.drive_streams("feed", feed)
            machine.cycle(None)

    def idle(self) -> list[int]:
        spec = TableSpec(len(self.work.weights), self.work.bits)
        return [self.all] * ((LANES - 1) * spec.tables) + [0] * spec.tables

    def feed(self, plane: np.ndarray) -> list[int]:
        spec = self.spec
        pad = spec.tables * LANES - spec.lanes
        x = np.pad(plane, ((0, 0), (0, pad))).reshape(STREAMS, spec.tables, LANES)
        addresses = [_column(x[:, t, i] == x[:, t, 0]) for t in range(spec.tables) for i in range(1, LANES)]
        signs = [_column(x[:, a, 0] ^ x[:, b, 0]) for a, b in spec.pairs]
        return [*addresses, *signs, _column(1 - x[:, 0, 0])]
