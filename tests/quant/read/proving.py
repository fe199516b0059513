"""Networks by hand for the tests of activation functions and gates, and how their files are proven or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hwseg.errors import HwsegError
from hwseg.quant.read import referee
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences
from tests.fuzz.checks import Loaded, check_golden, loaded
from tests.quant.handmade import Net

EXECUTORS = {"qonnx": referee.run_qonnx, "onnxruntime": referee.run_onnxruntime}


def proven(path: Path, array: str = "8x4x4", executor: str = "qonnx") -> Loaded:
    """A file that all agree on; scales that are no powers of two may differ from float32 executors at ties."""
    given = loaded(onnx.load(path), 1)
    assert isinstance(given, Loaded), given
    assert check_golden(given) is None
    verdict = referee.compare(path, given.picture, executor, EXECUTORS[executor])
    assert verdict.agrees, verdict
    assert not verdict.exact or verdict.different == verdict.own == 0
    assert differences(compiled(given.graph, parse_array(array))) == {}
    return given


def refusal(path: Path, compiles: bool = False) -> str:
    with pytest.raises(HwsegError) as caught:
        graph = load(path)
        assert compiles
        compiled(graph, parse_array("8x4x4"))
    return str(caught.value)


def leaky(net: Net, x: str, slopes: list[float]) -> str:
    """LeakyRelu where there is one slope, PRelu of many, or at every other node."""
    if len(slopes) == 1 and len(net.nodes) % 2:
        return net.node("LeakyRelu", x, alpha=slopes[0])
    shape = (len(slopes), 1, 1) if len(slopes) > 1 else (1, 1, 1)
    return net.node("PRelu", x, net.const(f"slopes{len(net.nodes)}", np.reshape(slopes, shape)))


def last(net: Net, x: str, ins: int = 5, kernel: int = 3, **given: Any) -> str:
    return net.conv(x, ins, 3, kernel, name="last", **given)


def pool(net: Net, x: str, kernel: int = 2) -> str:
    return net.node("MaxPool", x, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[kernel // 3] * 4)


def up(net: Net, x: str) -> str:
    sizes = net.const(f"sizes{len(net.nodes)}", [1, 1, 2, 2])
    return net.node(
        "Resize", x, "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )


def by_channel(net: Net, x: str) -> str:
    return net.node("Mul", x, net.const(f"factors{len(net.nodes)}", np.reshape([0.75, 0.5, 1, 2, 0.3], (1, 5, 1, 1))))
