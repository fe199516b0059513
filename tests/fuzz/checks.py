"""One graph against everything: executor, golden model, compiled dial, machine.

A check gives None or a `Finding`.  What is refused, by the loader or the compiler, is no finding; what is raised
instead of a refusal is one.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx

from tests.fuzz import exact
from tests.fuzz.exact import Exact
from tests.fuzz.executor import Final, Ordered
from tests.fuzz.operations import execute
from tests.fuzz.under_test import Graph, HwsegError, MaxPool2d, Part, Value, golden, load_with_origins


@dataclass(frozen=True)
class Finding:
    """stage: of the checks.  sort: what kind of thing it is, the same for equal faults.  text: what differs where."""

    stage: str
    sort: str
    text: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.sort}: {self.text}"


@dataclass(frozen=True)
class Refusal:
    """The sentence of the loader ("load") or the compiler ("compile")."""

    stage: str
    place: str
    rule: str


@dataclass(frozen=True)
class Loaded:
    """A graph, where its tensors are from, and a picture."""

    model: onnx.ModelProto
    graph: Graph
    origins: Mapping[str, Value]
    picture: np.ndarray


def crash(stage: str, error: BaseException) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    sort = f"{type(error).__name__} in {Path(last.filename).name}:{last.name}"
    return Finding(stage, sort, str(error)[:300])


def loaded(model: onnx.ModelProto, seed: int) -> Loaded | Refusal | Finding:
    """The integer graph of a file."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            graph, origins = load_with_origins(path, execute(model).choice())
        except HwsegError as error:
            return Refusal("load", error.place, error.rule)
        except Exception as error:
            return crash("load", error)
    return Loaded(model, graph, origins, random_picture(graph, seed))


def random_picture(graph: Graph, seed: int) -> np.ndarray:
    """Integers over the input's whole range; its ends, and, of some seeds, dark halves and flat pictures."""
    kind, rng = graph.types[graph.input], np.random.default_rng((seed, 1))
    picture = rng.integers(kind.low, kind.high, kind.shape, endpoint=True)
    way = rng.integers(8)
    if way == 0:
        picture[: kind.shape[0] // 2 + 1] >>= 5
    elif way == 1:
        picture[:] = rng.choice((kind.low, 0, kind.high))
    else:
        picture[0, 0], picture[-1, -1] = kind.low, kind.high
    return picture


def check_golden(given: Loaded) -> Finding | None:
    """Every tensor of the file, in real numbers, and the mask."""
    stage = "golden"
    executor = execute(given.model, given.picture)
    expected = executor.run()
    try:
        result = golden.run(given.graph, given.picture)
    except Exception as error:
        return crash(stage, error)
    kind = given.graph.types[given.graph.input]
    if executor.picture[:2] != (kind.low, kind.high) or kind.scale != (executor.picture[2],):
        return Finding(stage, "input", f"{executor.picture} is {kind.low, kind.high, kind.scale}")
    for name, value in expected.items():
        origin = given.origins.get(name)
        if not isinstance(value, Exact) or origin is None or not known(origin, result.tensors):
            continue
        found = real_numbers(origin, result.tensors)
        if difference := differing(value, found):
            return Finding(stage, "values", f"tensor {name}: {difference}")
    mask = executor.mask().reshape(result.mask.shape)
    if not np.array_equal(result.mask, mask):
        wrong = np.argwhere(result.mask != mask)
        return Finding(stage, "mask", f"{len(wrong)} of {mask.size} pixels, the first at {tuple(map(int, wrong[0]))}")
    return check_output(given, expected[executor.output], result.output)


def check_output(given: Loaded, expected: object, output: np.ndarray) -> Finding | None:
    """The float32 that the model gives: sums within their rounding, classes and masks equal."""
    stage = "golden"
    if isinstance(expected, Ordered):
        if output.shape != expected.places.shape:
            return Finding(stage, "output", f"has shape {output.shape}, not {expected.places.shape}")
        flat = np.empty(output.size, output.dtype)
        flat[expected.places.reshape(-1)] = output.reshape(-1)
        inner = expected.of
        shape = inner.mask.shape if isinstance(inner, Final) and inner.mask is not None else None
        x = inner.x if isinstance(inner, Final) else inner
        assert isinstance(x, Exact)
        return check_output(given, inner, flat.reshape(1, *(shape or x.shape)))
    if isinstance(expected, Final):
        if expected.mask is not None and not np.array_equal(output.reshape(expected.mask.shape), expected.mask):
            return Finding(stage, "output", f"{expected.kind} differs from the mask")
        return None
    assert isinstance(expected, Exact)
    if output.shape[1:] != expected.shape:
        return Finding(stage, "output", f"has shape {output.shape}, not {expected.shape}")
    head = given.graph.head
    for channel, (n, unit) in enumerate(zip(expected.integers, expected.units, strict=True)):
        numbers, places = np.unique(n.reshape(-1), return_inverse=True)
        wanted = np.array([float(int(k) * unit) for k in numbers])[places]
        offset = abs(float(head.offset[channel % len(head.offset)]))
        error = np.abs(output[0, channel].reshape(-1).astype(np.float64) - wanted)
        room = 2.0**-23 * np.abs(wanted) + 2.0**-50 * (np.abs(wanted) + 2 * offset) + 2.0**-148
        if (error > room).any():
            return Finding(stage, "output", f"channel {channel} is off by {error.max()}")
    return None


def known(value: Value, tensors: Mapping[str, np.ndarray]) -> bool:
    """Has the graph computed everything that it comes from?"""
    if any(part.curve is not None for part in value.parts):
        return False
    return value.activation == "none" and all(name in tensors for part in value.parts for name in part.tensors)


def real_numbers(value: Value, tensors: Mapping[str, np.ndarray]) -> Exact:
    """What the loader says that an ONNX tensor is, exactly."""
    return exact.concatenated([_part(part, tensors) for part in value.parts])


def _part(part: Part, tensors: Mapping[str, np.ndarray]) -> Exact:
    channels = part.shape[2]
    total: Exact | None = None
    for name, scales in zip(part.tensors, part.scales, strict=True):
        n = tensors[name].transpose(2, 0, 1).astype(np.int64)
        term = exact.scaled(n, [scales[c % len(scales)] for c in range(channels)])
        total = term if total is None else exact.added(total, term)
    assert total is not None
    if any(part.offset):
        offsets = [part.offset[c % len(part.offset)] for c in range(channels)]
        total = exact.affine(total, [Fraction(1)] * channels, offsets)
    total = exact.relu(total, part.slope) if part.relu else total
    total = exact.clipped(total, part.ends) if part.ends is not None else total
    for move in part.moves:
        if isinstance(move.op, MaxPool2d):
            k, p = move.op.kernel, move.op.padding
            total = exact.pooled(total, (k, k), (2, 2), (p, p, p, p))
        else:
            _, rows, columns = total.shape
            total = exact.gathered(total, np.arange(2 * rows) // 2, np.arange(2 * columns) // 2)
    return total


def differing(wanted: Exact, found: Exact) -> str:
    """The first difference in words; nothing if there is none."""
    if wanted.shape != found.shape:
        return f"has shape {found.shape}, not {wanted.shape}"
    for channel, (n, m) in enumerate(zip(wanted.integers, found.integers, strict=True)):
        u, v = wanted.units[channel], found.units[channel]
        if u == v and np.array_equal(n, m):
            continue
        unit = exact.common((u, v))
        wrong = np.argwhere(exact.times(n, int(u / unit)) != exact.times(m, int(v / unit)))
        if len(wrong):
            place = tuple(map(int, wrong[0]))
            right, other = (float(x.value(channel, *place)) for x in (wanted, found))
            return f"{len(wrong)} values of channel {channel}, the first at {place}: {other!r}, not {right!r}"
    return ""
