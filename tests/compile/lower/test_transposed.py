"""Transposed convolutions beyond 2x2, in four phases: every stored map ==, alone, joined, in chains and as the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.lower.lowering import lower
from hwseg.compile.lower.transposed import window
from hwseg.ops import ConvTranspose2d
from hwseg.rtl.config import EngineConfig, parse_array
from tests.compile.proof import compiled, differences

KERNELS = [(3, 1), (4, 1), (3, 0), (3, 2), (4, 2), (2, 1), (5, 2), (6, 2)]


def small(config: EngineConfig) -> EngineConfig:
    """Memories so small that a map takes several strips."""
    return replace(config, bank_words=256, psum_steps=64, out_words=64, pool_words=64, param_slots=16)


def decoder(height: int, width: int, channels: int, kernel: int, padding: int, *, signed: bool = False) -> GraphBuilder:
    """Down, up by the transposed convolution, joined with what was kept, pooled once more."""
    b = GraphBuilder(height, width, 3, seed=width)
    x = b.conv("image", channels, signed=signed)
    deep = b.conv(b.pool(x), 2 * channels, bits=6)
    up = b.transposed(deep, channels, kernel, padding, signed=signed)
    b.conv(b.concat(x, up), 4)
    b.conv(b.concat(b.nodes[-1].output, b.up(b.pool(up))), 3, 1)
    return b


@pytest.mark.parametrize(
    ("array", "kernel", "padding"), [*(("16x4x4", *found) for found in KERNELS), ("8x2x1", 3, 1), ("8x2x1", 4, 1)]
)
def test_every_kernel(array: str, kernel: int, padding: int) -> None:
    for height, width, channels in ((2, 2, 3), (4, 18, 9), (10, 34, 5)):
        b = decoder(height, width, channels, kernel, padding, signed=width == 18)
        graph = b.graph(b.nodes[-1].output)
        for config in (parse_array(array), small(parse_array(array))):
            assert differences(compiled(graph, config), "random") == {}


@pytest.mark.parametrize("policy", ["eager", "lazy"])
def test_whole_sized_arrays_and_chains(policy: str) -> None:
    b = decoder(24, 48, 16, 3, 1)
    assert differences(compiled(b.graph(b.nodes[-1].output), parse_array("16x8x8-dsp")), policy) == {}


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (4, 1)])
@pytest.mark.parametrize("size", [(1, 1), (3, 11)])
def test_sums_at_the_end(kernel: int, padding: int, size: tuple[int, int]) -> None:
    """The phases are channels; who reads the head unfolds them."""
    for out in (1, 3, 11):
        b = GraphBuilder(*size, 3, seed=out)
        graph = b.graph(b.transposed_sums(b.up("image") if out == 3 else "image", out, kernel, padding))
        for array in ("8x2x2", "16x8x8-dsp"):
            assert differences(compiled(graph, parse_array(array))) == {}


def test_pictures_stay_unfolded_for_them() -> None:
    b = GraphBuilder(8, 16, 1, seed=0)
    graph = b.graph(b.transposed("image", 4, 3, 1))
    program = compiled(graph, parse_array("16x8x8-dsp"))
    assert program.memory.layouts["image"].fold == (1, 1)
    assert differences(program) == {}


def test_macs_are_the_models_and_each_phase_has_two_by_two_taps() -> None:
    b = GraphBuilder(8, 16, 8, seed=0)
    network, _ = lower(b.graph(b.transposed("image", 4, 3, 1)))
    (layer,) = network.layers
    assert (layer.op, layer.macs) == ("tconv3x3", 8 * 16 * 8 * 4 * 9)
    for kernel, padding in KERNELS:
        op, ones = ConvTranspose2d(1, kernel, padding), np.ones((1, 1, kernel, kernel), np.int8)
        counts = [int(window(op, ones, *phase).sum()) for phase in np.ndindex(2, 2)]
        assert sum(counts) == kernel**2
        assert max(counts) <= (4 if kernel <= 4 else 9)


def test_intervals_are_those_of_one_phase() -> None:
    """Not of the whole kernel, whose taps never meet in one sum."""
    b = GraphBuilder(4, 4, 1, seed=0)
    name = b.transposed("image", 1, 3, 1)
    b.nodes[0].weights[...] = 1  # type: ignore[index]
    network, _ = lower(b.graph(name))
    assert network.layers[0].interval == (0, 4 * 255)
