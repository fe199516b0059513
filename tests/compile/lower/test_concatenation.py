"""Concatenations of concatenations are flat lists of what is stored, of a length that can be planned."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

from hwseg.compile.lower.concatenation import MAX_OPERANDS
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences
from tests.quant.handmade import Net

ARRAY = parse_array("8x2x2")


def doubled(folder: Path, times: int, between: int = 100) -> Path:
    """A map joined with itself again and again; after `between` times a convolution of all that to one channel."""
    net = Net((1, 1, 1, 1))
    x, channels = net.image(), 1
    for number in range(times):
        if number and number % between == 0:
            x, channels = net.quant(net.conv(x, channels, 1, 1, name=f"c{number}"), 2**-8, signed=0), 1
        x = net.quant(net.node("Concat", x, x, axis=1, name=f"join{number}"), 2**-8, signed=0)
        channels *= 2
    return net.save(folder / "net.onnx", net.conv(x, channels, 1, 1, name="last"))


def test_nested_concatenations_are_exact(tmp_path: Path) -> None:
    assert differences(compiled(load(doubled(tmp_path, 6)), ARRAY)) == {}


def test_too_many_are_refused_at_once_and_the_cure_works(tmp_path: Path) -> None:
    graph, start = load(doubled(tmp_path, 18)), perf_counter()
    with pytest.raises(HwsegError) as caught:
        compiled(graph, ARRAY)
    assert str(caught.value) == (
        f"join12: at most {MAX_OPERANDS} stored maps may be concatenated, these are {2 * MAX_OPERANDS}; "
        "put quantized convolutions between concatenations"
    )
    assert perf_counter() - start < 10
    assert differences(compiled(load(doubled(tmp_path, 18, between=6)), ARRAY)) == {}
