"""What PyTorch code of U-Nets leaves in an export: sizes computed from sizes, crops and pads of nothing, thresholds."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from brevitas import nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.quant import Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from torch import Tensor, nn
from torch.nn import functional

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read import referee
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.models import one_thread, random_image


class Small(nn.Module):
    """Down, up as `pattern` says, one output."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.pattern = pattern
        self.level = 0.0
        weights = {"weight_quant": Int8WeightPerTensorFixedPoint}
        self.input = qnn.QuantIdentity(act_quant=Uint8ActPerTensorFixedPoint)
        self.conv = nn.Sequential(
            qnn.QuantConv2d(1, 4, 3, padding=1, **weights), qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint)
        )
        self.drop = nn.Dropout2d(0.5)
        self.head = qnn.QuantConv2d(4, 1, 1, bias=False, **weights)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(self.input(x))
        small = self.drop(functional.max_pool2d(a, 2))
        if self.pattern == "size":
            return self.head(functional.interpolate(small, size=a.shape[2:]))
        if self.pattern == "sizes":
            return self.head(functional.interpolate(small, size=(a.shape[2], a.shape[3]), mode="nearest"))
        up = functional.interpolate(small, scale_factor=2)
        if self.pattern == "crop":
            return self.head(up[:, :, : a.shape[2], : a.shape[3]])
        if self.pattern == "pad":
            height, width = a.shape[2] - up.shape[2], a.shape[3] - up.shape[3]
            return self.head(functional.pad(up, [width // 2, width - width // 2, height // 2, height - height // 2]))
        probability = torch.sigmoid(self.head(up))
        return probability > self.level if self.level else probability


@pytest.mark.parametrize("pattern", ["size", "sizes", "crop", "pad", "threshold"])
def test_patterns_load_and_compute_what_the_executor_does(pattern: str, tmp_path: Path) -> None:
    pytest.importorskip("qonnx")
    path = tmp_path / "net.onnx"
    with one_thread(), torch.no_grad(), torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        model = Small(pattern)
        model(torch.rand(1, 1, 8, 12))
        model.level = float(model.eval()(torch.rand(1, 1, 8, 12)).median())
        export_qonnx(model, args=torch.rand(1, 1, 8, 12), export_path=str(path), dynamo=False)
    graph = load(path)
    assert [type(node.op).__name__ for node in graph.nodes][2:4] == ["MaxPool2d", "Upsample2d"]
    q = random_image(graph)
    verdict = referee.compare(path, q, "qonnx", referee.run_qonnx)
    assert len(verdict.tensors) >= 7
    assert verdict.agrees
    if pattern == "threshold":
        result = golden.run(graph, q)
        assert 0 < result.mask.mean() < 1
        np.testing.assert_array_equal(result.output[0, 0], result.mask)


def refused(tmp_path: Path, net: Net, output: str) -> str:
    with pytest.raises(HwsegError) as caught:
        load(net.save(tmp_path / "net.onnx", output))
    return str(caught.value)


def test_real_crops_and_pads_are_refused(tmp_path: Path) -> None:
    for start, end, step in ((1, 8, 1), (0, 7, 1), (0, 8, 2), (0, 8, 0), (7, -9, -1)):
        net = Net()
        limits = [net.const(f"l{i}", [v], np.int64) for i, v in enumerate((start, end, 2, step))]
        assert "cropping a map" in refused(tmp_path, net, net.conv(net.node("Slice", net.image(), *limits), 2, 2))
    net = Net()
    padded = net.node("Pad", net.image(), net.const("p", [0, 0, 0, 0, 0, 0, 0, 1], np.int64))
    assert "padding a map" in refused(tmp_path, net, net.conv(padded, 2, 2))


def test_shape_arithmetic_that_fails_is_one_sentence(tmp_path: Path) -> None:
    for op, values, attributes in (
        ("Gather", ([1, 2], [9]), {}),
        ("Reshape", ([1, 2], [3]), {}),
        ("Div", ([1, 2], [0]), {}),
        ("Concat", ([1, 2], [[1]]), {"axis": 0}),
        ("ConstantOfShape", ([1 << 40],), {}),
        ("Transpose", ([1, 2],), {"perm": [3]}),
        ("Cast", ([1, 2],), {"to": 99}),
        ("Squeeze", ([1, 2],), {"axes": [0]}),
    ):
        net = Net()
        inputs = [net.const(f"c{i}", value, np.int64) for i, value in enumerate(values)]
        sizes = net.node(op, *inputs, name="fold", **attributes)
        fault = refused(tmp_path, net, net.conv(net.node("Resize", net.image(), "", "", sizes, mode="nearest"), 2, 2))
        assert fault.startswith("fold: cannot be computed from its constants"), op


def test_division_of_sizes_rounds_towards_zero(tmp_path: Path) -> None:
    net = Net((1, 2, 8, 8))
    sizes = net.node("Div", net.const("a", [3, 5, 33, 33], np.int64), net.const("b", [2, 2, 2, 2], np.int64))
    big = net.node("Resize", net.image(), "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")  # fmt: skip
    assert load(net.save(tmp_path / "net.onnx", net.conv(big, 2, 2))).types[big].shape == (16, 16, 2)


def test_thresholds(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 1)
    graph = load(net.save(tmp_path / "net.onnx", net.node("Greater", x, net.const("t", 0.25))))
    assert (graph.head.activation, graph.head.threshold) == ("threshold", 0.25)
    net = Net()
    x = net.node("Sigmoid", net.conv(net.image(), 2, 1))
    assert "must be in (0, 1), is 1" in refused(tmp_path, net, net.node("Greater", x, net.const("t", 1)))
    net = Net()
    assert "one channel" in refused(tmp_path, net, net.node("Greater", net.conv(net.image(), 2, 2), net.const("t", 0)))
