"""Damaged files: whatever bytes a model has, `load` gives a graph that runs or one `HwsegError`, soon."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.models import random_unet
from tests.quant.read.qdq import LinearNet

SECONDS = 5.0


def network(path: Path) -> bytes:
    """One of each operation."""
    net = LinearNet((1, 2, 8, 8))
    x = net.quant(net.node("Relu", net.conv(net.image(), 2, 3, name="a", bias=net.const("bias", [1, 2, 3]))), signed=0)
    statistics = [net.const(f"bn{i}", [v] * 3) for i, v in enumerate((1, 0.5, 0.25, 1))]
    down = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = net.quant(net.node("BatchNormalization", net.conv(down, 3, 3, 1, name="b"), *statistics), 2**-4, 6)
    y = net.quant(net.node("Add", y, down), signed=0)
    up = net.node("Resize", y, "", net.const("twice", [1, 1, 2, 2]), mode="nearest", nearest_mode="floor")
    net.nodes[-1].attribute.add(name="coordinate_transformation_mode", s=b"asymmetric", type=3)
    wide = net.node("ConvTranspose", y, net.weights("t", (3, 2, 2, 2)), strides=[2, 2], kernel_shape=[2, 2])
    mean = net.linear(net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 2**-3, np.int8, -128, "mean")
    wider = net.node("ConvTranspose", mean, net.weights("s", (3, 1, 3, 3)), strides=[2, 2], pads=[1, 1, 1, 1])
    net.nodes[-1].attribute.add(name="output_padding", ints=[1, 1], type=7)
    joined = net.quant(net.node("Concat", x, up, wide, wider, axis=1), 2**-3)
    head = net.node("Sigmoid", net.conv(joined, 9, 1, 1, name="head"))
    return net.save(path, head).read_bytes()


@pytest.fixture(scope="module", params=["handmade", "exported"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "net.onnx"
    data = network(path) if request.param == "handmade" else random_unet(4, folder, height=8, width=8).read_bytes()
    path.write_bytes(data)
    graph = load(path)
    assert len(graph.nodes) > 10
    return path, data


def survives(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    start = perf_counter()
    graph = None
    with suppress(HwsegError):
        graph = load(path)
    if graph is not None and prod(graph.types[graph.input].shape) < 1 << 12:
        kind = graph.types[graph.input]
        golden.run(graph, np.full(kind.shape, kind.high))
    assert perf_counter() - start < SECONDS


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes(model: tuple[Path, bytes], flips: list[tuple[float, int]]) -> None:
    path, data = model
    damaged = bytearray(data)
    for position, value in flips:
        damaged[int(position * len(data))] = value
    survives(path, bytes(damaged))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.floats(0, 1), length=st.integers(0, 40), patch=st.binary(max_size=40))
def test_cut_and_pasted_bytes(model: tuple[Path, bytes], start: float, length: int, patch: bytes) -> None:
    path, data = model
    position = int(start * len(data))
    survives(path, data[:position] + patch + data[position + length :])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes(model: tuple[Path, bytes], data: bytes) -> None:
    survives(model[0], data)
