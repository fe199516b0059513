"""Bits for every layer, chosen against what they cost: measured losses, a cost from outside, and their Pareto front.

A *knob* is what has bits of its own: `a:NAME`, the activations that share a quantizer, or `w:NAME`, the weights of a
convolution.  The loss of each knob at each of 2 to 7 bits is measured alone, everything else at the base's bits, on
training and validation pictures; together they are taken to add.  The front comes from lowering, again and again, the
knob that saves most per loss, and exchanging bits between knobs while that helps.  Its points are then measured whole.

A network of any class is searched: its configuration is `Turnable`, a `Starting` point makes it at other bits, and a
`Measure` says what its loss is, with masks (`Set`) or without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hwseg.borders import given
from hwseg.datasets.pairs import Pair
from hwseg.errors import require
from hwseg.files import write_whole
from hwseg.pictures.meaning import Meaning
from hwseg.quant.networks.architecture import Architecture, Quantized, Turnable
from hwseg.quant.train import losses, metrics
from hwseg.quant.train.tensors import whole

LOWEST = 2
Bits = dict[str, int]
Cost = Callable[[Mapping[str, int]], float]


Config = TypeVar("Config", bound=Turnable)


class Starting(Protocol):
    """A quantized network in a form that travels between processes."""

    @property
    def config(self) -> Turnable: ...

    def network(self, bits: Mapping[str, int], /) -> nn.Module:
        """The same network at other bits."""


class Measure(Protocol):
    """Pictures, on which networks are measured."""

    def measure(self, model: Any, /) -> tuple[float, float]:
        """Mean loss and mean Dice."""


@dataclass(frozen=True)
class Point:
    """One choice of bits with its expected loss increase and cost."""

    bits: Bits
    loss: float
    cost: float


@dataclass(frozen=True)
class Set:
    """Whole pictures [1, channels, height, width] with labels, and the loss and Dice of a network on them."""

    batches: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, pairs: Iterable[Pair], pixels: Meaning, network: Architecture, resize: int) -> Set:
        return cls(tuple(whole(pair, pixels, network.input_quantizer, network.multiple, resize) for pair in pairs))

    @property
    def digest(self) -> str:
        """A short name for exactly these pictures and labels."""
        found = hashlib.sha256()
        for tensors in self.batches:
            for tensor in tensors:
                found.update(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    @torch.no_grad()
    def measure(self, model: nn.Module) -> tuple[float, float]:
        """Mean loss and mean Dice."""
        total, dice = 0.0, 0.0
        for images, targets in self.batches:
            logits = model(images)
            total += float(losses.dice_ce(logits, targets))
            dice += float(metrics.dice(metrics.labels(logits), targets, max(2, logits.shape[1]))[0])
        return total / len(self.batches), dice / len(self.batches)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A short name for exactly these tensors."""
    found = hashlib.sha256()
    for name, value in tensors.items():
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def knobs(config: Turnable, weights: bool) -> dict[str, tuple[str, ...]]:
    """Layers of each knob; activations that meet in a concat have one."""
    shared = config.shared_activations
    groups: dict[str, list[str]] = {}
    for name in config.activations:
        first = name
        while first in shared:
            first = shared[first]
        groups.setdefault(first, []).append(name)
    found = {f"a:{first}": tuple(names) for first, names in groups.items()}
    return found | ({f"w:{name}": (name,) for name in config.convolutions} if weights else {})


def with_bits(config: Config, bits: Mapping[str, int]) -> Config:
    """The configuration with the knobs of `bits` turned, the others left."""
    layers = knobs(config, weights=True)
    activations = {name: config.activation_bits_of(name) for name in config.activations}
    weights = {name: config.weight_bits_of(name) for name in config.convolutions}
    for knob, count in bits.items():
        require(knob in layers, "bits", f"{knob} is no knob of this network", f"knobs are {', '.join(layers)}")
        (activations if knob.startswith("a:") else weights).update(dict.fromkeys(layers[knob], count))
    return replace(config, activation_bits=activations, weight_bits=weights)


@dataclass(frozen=True)
class Base:
    """A trained, quantized network in a form that travels between processes."""

    config: Architecture
    folded: bool
    state: dict[str, Tensor]

    @classmethod
    def of(cls, model: Quantized) -> Base:
        return cls(model.config, model.folded, model.state_dict())

    @property
    def digest(self) -> str:
        """A short name for exactly these parameters."""
        return digest_of(self.state)

    def network(self, bits: Mapping[str, int]) -> Quantized:
        """The same parameters at other bits; clipping thresholds stay where they are."""
        model = with_bits(self.config, bits).build()
        if self.folded:
            model.fold()
        model.load_state_dict(self.state)
        return model.eval()


class Memory:
    """Measurements by name in a JSON file, so that an interrupted search goes on where it was.

    `key` says what they belong to; a file of another search is refused.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.path, self.key = path, json.loads(json.dumps(dict(key)))
        self.values: dict[str, Any] = {}
        if path.exists():
            cure = "remove it to measure again"
            with given(path, "what a search has measured", cure):
                found = json.loads(path.read_text(encoding="utf-8"))
                same, values = found["key"] == self.key, dict(found["values"])
                sound = found["sha256"] == self._digest(values)
            require(same, str(path), "belongs to another network, data or array", "remove it, or choose another folder")
            require(sound, str(path), "was changed since it was written", cure)
            self.values = values

    def fill(
        self, tasks: Mapping[str, tuple[Any, ...]], function: Callable[..., Any], jobs: int, told: Callable[[str], None]
    ) -> None:
        """Call `function` for every task without a value, `jobs` at a time, and write as they come.

        What was measured when it is interrupted is kept.
        """
        from joblib import Parallel, delayed

        missing = [name for name in tasks if name not in self.values]
        try:
            with Parallel(n_jobs=jobs, return_as="generator") as pool:
                results = pool(delayed(function)(*tasks[name]) for name in missing)
                for number, (name, value) in enumerate(zip(missing, results, strict=True), 1):
                    self.values[name] = value
                    if number % (4 * jobs) == 0 or number == len(missing):
                        self._write()
                        told(f"{number} of {len(missing)}")
        except BaseException:
            self._write()
            raise

    def _write(self) -> None:
        content = {"key": self.key, "sha256": self._digest(self.values), "values": self.values}
        write_whole(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def _digest(self, values: Mapping[str, Any]) -> str:
        return hashlib.sha256(json.dumps([self.key, values]).encode()).hexdigest()


def sensitivity(
    memory: Memory, base: Starting, pictures: Measure, weights: bool, jobs: int, told: Callable[[str], None]
) -> dict[str, dict[int, float]]:
    """Loss increase of every knob at every number of bits, never falling as bits are taken away."""
    names = knobs(base.config, weights)
    tasks: dict[str, tuple[Any, ...]] = {"loss": (base, {}, pictures)}
    for knob in names:
        for bits in range(LOWEST, start(base.config, knob)):
            tasks[f"loss {knob} {bits}"] = (base, {knob: bits}, pictures)
    memory.fill(tasks, _loss, jobs, told)
    table: dict[str, dict[int, float]] = {}
    for knob in names:
        top, worst = start(base.config, knob), 0.0
        table[knob] = {top: 0.0}
        for bits in reversed(range(LOWEST, top)):
            worst = max(worst, memory.values[f"loss {knob} {bits}"] - memory.values["loss"])
            table[knob][bits] = worst
    return table


def start(config: Turnable, knob: str) -> int:
    """Bits of a knob to begin with."""
    kind, name = knob.split(":", 1)
    return config.activation_bits_of(name) if kind == "a" else config.weight_bits_of(name)


def _loss(base: Starting, bits: Mapping[str, int], pictures: Measure) -> float:
    """In one thread, since processes share the cores; what comes afterwards has as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return pictures.measure(base.network(bits))[0]
    finally:
        torch.set_num_threads(threads)


def front(table: Mapping[str, Mapping[int, float]], cost: Cost) -> list[Point]:
    """Choices of which none is better in cost and loss than another, from the dearest to the cheapest."""
    bits = {knob: max(losses) for knob, losses in table.items()}
    points = [_point(bits, table, cost)]
    while True:
        here = points[-1]
        lower = [_point({**here.bits, knob: b}, table, cost) for knob in table for b in range(LOWEST, here.bits[knob])]
        lower = [p for p in lower if p.cost < here.cost]
        if not lower:
            break
        best = max(lower, key=lambda p: (here.cost - p.cost) / (max(p.loss - here.loss, 0) + 1e-9))
        points.append(_exchanged(best, table, cost))
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.loss)):
        if not kept or point.loss < kept[-1].loss:
            kept.append(point)
    return kept[::-1]


def _exchanged(point: Point, table: Mapping[str, Mapping[int, float]], cost: Cost) -> Point:
    """One bit up in a knob and one down in another, while that costs no more and loses less."""
    better = True
    while better:
        better = False
        for up in table:
            if point.bits[up] == max(table[up]):
                continue
            raised = {**point.bits, up: point.bits[up] + 1}
            options = [_point(raised, table, cost)]
            options += [
                _point({**raised, down: raised[down] - 1}, table, cost)
                for down in table
                if down != up and raised[down] > LOWEST
            ]
            options = [p for p in options if p.cost <= point.cost and p.loss < point.loss - 1e-12]
            if options:
                point, better = min(options, key=lambda p: p.loss), True
    return point


def _point(bits: Bits, table: Mapping[str, Mapping[int, float]], cost: Cost) -> Point:
    return Point(bits, sum(table[knob][count] for knob, count in bits.items()), cost(bits))


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """At most `count` of the points, evenly over cost, the ends among them; of one, the cheapest."""
    if len(points) <= count:
        return list(points)
    low, high = points[-1].cost, points[0].cost
    wanted = [low + (high - low) * i / max(1, count - 1) for i in range(count)]
    chosen = {min(range(len(points)), key=lambda i: abs(points[i].cost - w)) for w in wanted}
    return [points[i] for i in sorted(chosen)]
