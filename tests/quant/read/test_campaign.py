"""Hostile model files by the hundred: real ones, changed in bytes and in protobuf fields, by seed.

Each is loaded; what loads is computed, compiled for an array and turned down to fewer planes.  Nothing else than one
sentence may come of it, and nothing may take long.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message

from hwseg import golden
from hwseg.boards import load_board
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import compile_graph
from hwseg.errors import HwsegError
from hwseg.quant.read.load import RULES, load
from hwseg.rtl.config import parse_array
from tests.fuzz.draw import draw
from tests.fuzz.recipe import build
from tests.quant.read.test_load_fuzz import network

FILES = 60
AT_ONCE = 15
SLOW_FILES, SLOW_AT_ONCE = 1500, 100
SECONDS = 10.0
LARGEST = 1 << 14
"""Pixels of an input that is computed: a changed size may be large, and takes the time that it takes."""

BASES = 12
NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 1 << 15, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63), 1 << 28)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, 3.4e38, float("inf"), float("-inf"), float("nan"), 0.1, 2.0**-126)
TEXTS = ("", "x", "Conv", "Relu", "\0", "a" * 5000, "\u202e", "../../etc/passwd", "ai.onnx.ml", "If", "Loop", "MaxPool")


@cache
def base(number: int, folder: Path) -> bytes:
    """A sound file: one of each operation, or one of the drawn graphs."""
    if number == 0:
        return network(folder / "base.onnx")
    return build(draw(7_000_000 + number)).SerializeToString()


def by_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut out, doubled or filled in."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(len(found) or 1)), int(rng.integers(1, 60))
        way = rng.integers(5)
        if way == 0:
            found[at : at + 1] = bytes([int(rng.integers(256))])
        elif way == 1:
            del found[at : at + length]
        elif way == 2:
            found[at:at] = rng.bytes(length)
        elif way == 3:
            found[at:at] = found[at : at + length]
        else:
            found[at : at + length] = bytes([int(rng.choice((0, 255)))]) * length
    return bytes(found)


def messages(message: Message, limit: int = 3000) -> list[Message]:
    """A message and all that stand in it."""
    found = [message]
    for one in found:
        if len(found) > limit:
            break
        for descriptor, value in one.ListFields():
            if descriptor.type == descriptor.TYPE_MESSAGE:
                found += list(value) if is_repeated(descriptor) else [value]
    return found


def is_repeated(descriptor: Any) -> bool:
    return bool(descriptor.is_repeated)


def by_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """Some fields changed, cleared, doubled or exchanged, wherever they stand."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 5))):
        everything = messages(model)
        message = everything[int(rng.integers(len(everything)))]
        fields = message.ListFields()
        if not fields:
            continue
        descriptor, value = fields[int(rng.integers(len(fields)))]
        if is_repeated(descriptor):
            of_many(message, descriptor, value, rng)
        elif descriptor.type == descriptor.TYPE_MESSAGE or rng.random() < 0.15:
            message.ClearField(descriptor.name)
        else:
            set_field(message, descriptor, rng)
    return model.SerializeToString()


def set_field(message: Message, descriptor: Any, rng: np.random.Generator) -> None:
    try:
        setattr(message, descriptor.name, other(descriptor, rng))
    except (ValueError, TypeError):
        message.ClearField(descriptor.name)  # out of the field's range


def of_many(message: Message, descriptor: Any, value: Any, rng: np.random.Generator) -> None:
    at, way = int(rng.integers(len(value))), rng.integers(4)
    if way == 0:
        del value[at]
    elif way == 1:
        value.extend([value[at]] * int(rng.choice((1, 2, 50))))
    elif way == 2:
        kept = list(value)
        rng.shuffle(kept)
        copies = [type(k).FromString(k.SerializeToString()) if isinstance(k, Message) else k for k in kept]
        del value[:]
        value.extend(copies)
    elif descriptor.type != descriptor.TYPE_MESSAGE:
        try:
            value[at] = other(descriptor, rng)
        except (ValueError, TypeError):
            del value[at]


def other(descriptor: Any, rng: np.random.Generator) -> Any:
    """Another value of a field's type, extreme rather than likely."""
    kind = descriptor.cpp_type
    if kind in (descriptor.CPPTYPE_FLOAT, descriptor.CPPTYPE_DOUBLE):
        return float(FLOATS[int(rng.integers(len(FLOATS)))])
    if kind == descriptor.CPPTYPE_STRING:
        if descriptor.type == descriptor.TYPE_BYTES:
            return rng.bytes(int(rng.integers(0, 64)))
        return TEXTS[int(rng.integers(len(TEXTS)))]
    return int(NUMBERS[int(rng.integers(len(NUMBERS)))]) if rng.random() < 0.7 else int(rng.integers(0, 20))


def by_meaning(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that is sound in form: numbers, operations and what reads what are others."""
    model = onnx.ModelProto.FromString(data)
    nodes, tensors = model.graph.node, model.graph.initializer
    names = [name for node in nodes for name in (*node.input, *node.output)]
    for _ in range(int(rng.integers(1, 4))):
        node = nodes[int(rng.integers(len(nodes)))]
        way = rng.integers(6)
        if way == 0 and len(node.input):
            node.input[int(rng.integers(len(node.input)))] = names[int(rng.integers(len(names)))]
        elif way == 1:
            swap_operation(node, rng)
        elif way == 2:
            model.graph.output[0].name = names[int(rng.integers(len(names)))]
        elif way == 3:
            shape = model.graph.input[0].type.tensor_type.shape.dim
            shape[int(rng.integers(1, len(shape)))].dim_value = int(rng.integers(1, 40))
        elif len(tensors):  # else all constants are nodes
            tensor = tensors[int(rng.integers(len(tensors)))]
            array = onnx.numpy_helper.to_array(tensor).copy()
            flat, choices = array.reshape(-1), NUMBERS[:9] if array.dtype.kind == "i" else FLOATS
            if flat.size:
                flat[rng.integers(flat.size, size=int(rng.choice((1, flat.size))))] = rng.choice(choices)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(rng.choice(("f4", "f8"))), tensor.name))
    return model.SerializeToString()


def swap_operation(node: onnx.NodeProto, rng: np.random.Generator) -> None:
    """Another operation of those that are read, with the attributes of the old one or without."""
    operations = sorted({"Shape", "Gather", "Cast", "Reshape", *RULES} - {"Quant"})
    node.op_type, node.domain = str(rng.choice(operations)), ""
    if rng.random() < 0.5:
        del node.attribute[:]


def hostile(seed: int, folder: Path) -> bytes:
    rng = np.random.default_rng((seed, 41))
    data = base(int(rng.integers(BASES)), folder)
    ways = (by_bytes, by_fields, by_meaning, by_meaning)
    return ways[int(rng.integers(len(ways)))](data, rng)


def outcome(seed: int, folder: Path) -> str:
    """What comes of a file: how far it got, or the sentence without its numbers.  Anything else is raised."""
    path, start = folder / "hostile.onnx", perf_counter()
    path.write_bytes(hostile(seed, folder))
    stage = "load"
    try:
        graph = load(path)
        kind = graph.types[graph.input]
        if max(prod(t.shape) for t in graph.types.values()) <= LARGEST:
            stage = "compute"
            golden.run(graph, np.full(kind.shape, kind.high))
            golden.run(graph, np.full(kind.shape, kind.low), planes=1 + seed % 7)
            stage = "compile"
            compile_graph(turned(graph, 1 + seed % 8), parse_array(("sim", "8x1x1")[seed % 2]), load_board("zynq7020"))
        stage = "good"
    except HwsegError as error:
        stage = f"{stage}: {error.rule[:60]}"
    assert perf_counter() - start < SECONDS, f"seed {seed}"
    return stage


def examine(seeds: range, folder: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in seeds:
        try:
            found[outcome(seed, folder)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return found


@pytest.mark.parametrize("start", range(0, FILES, AT_ONCE))
def test_hostile_files(start: int, tmp_path: Path) -> None:
    examine(range(start, start + AT_ONCE), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10_000, 10_000 + SLOW_FILES, SLOW_AT_ONCE))
def test_hundreds_of_hostile_files(start: int, tmp_path: Path) -> None:
    found = examine(range(start, start + SLOW_AT_ONCE), tmp_path)
    assert len(found) > 10, "files are changed in many ways"
    assert found["good"] < SLOW_AT_ONCE // 2


def test_a_seed_is_a_file(tmp_path: Path) -> None:
    for seed in range(20):
        assert hostile(seed, tmp_path) == hostile(seed, tmp_path)


if __name__ == "__main__":  # python -m tests.quant.read.test_campaign FIRST COUNT
    first, count = map(int, sys.argv[1:3])
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for said, times in examine(range(first, first + count), Path(scratch)).most_common():
            print(f"{times:6} {said}")
