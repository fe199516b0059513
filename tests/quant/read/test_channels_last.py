"""Channels-last twins of networks, made by qonnx itself, are the same network."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from hwseg.quant.read.onnx_file import read
from hwseg.quant.read.referee import compare, run_qonnx
from hwseg.quant.read.reshape import reshaped_file
from tests.quant.handmade import Net
from tests.quant.models import random_image

PLAIN = {"dilations": [1, 1], "group": 1}
"""What qonnx wants of a convolution."""
LAST = "qonnx.custom_op.channels_last"


def network(path: Path) -> Path:
    """Two levels with a concatenation, a batch normalization, an addition and constants of one per channel."""
    net = Net((1, 2, 4, 6))
    x = net.quant(net.node("Relu", net.conv(net.image(), 2, 3, name="a", **PLAIN)), signed=0, name="qa")
    scale = net.const("factor", np.array([1.5, -0.5, 0.25]).reshape(1, 3, 1, 1))
    norm = [net.const(f"n{i}", v) for i, v in enumerate(([1.5, 0.5, 1], [0.25, 0.5, 0], [0, -1, 2], [0.3, 2, 1]))]
    down = net.node("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    y = net.node("BatchNormalization", net.conv(down, 3, 3, name="b", **PLAIN), *norm, name="norm")
    y = net.quant(net.node("Relu", net.node("Mul", y, scale, name="mul")), signed=0, name="qb")
    up = net.node("Resize", y, "", net.const("twice", [1, 1, 2, 2]), name="up", mode="nearest",
                  coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    both = net.node("Concat", x, up, name="join", axis=1)
    total = net.quant(net.node("Add", x, up, name="sum"), 2**-3, signed=0, name="qs")
    z = net.conv(
        net.node("Concat", both, net.quant(total, signed=0, name="qt"), name="all", axis=1), 9, 3, name="c", **PLAIN
    )
    return net.save(path, net.node("Softmax", net.quant(z, 2**-3, name="qc"), name="end", axis=1))


def twin(path: Path, target: Path, whole: bool) -> Path:
    """whole: its picture is [1, H, W, C], too."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cleanup_model(ModelWrapper(str(path))).transform(ConvertToChannelsLastAndClean(whole))
    assert {node.op_type for node in model.graph.node if node.domain == LAST} == {
        "Conv",
        "MaxPool",
        "BatchNormalization",
    }
    model.save(str(target))
    return target


@pytest.mark.parametrize("whole", [False, True])
def test_the_twin_is_the_same_network(tmp_path: Path, whole: bool) -> None:
    path = network(tmp_path / "first.onnx")
    other = twin(path, tmp_path / "last.onnx", whole)
    assert read(other).channels_last is whole
    one, two = load(path), load(other)
    assert sorted(str(node.op) for node in one.nodes) == sorted(str(node.op) for node in two.nodes)
    assert one.types[one.input] == two.types[two.input]
    assert one.input_quantizer
    assert two.input_quantizer
    for seed in range(3):
        x = random_image(one, seed)
        a, b = golden.run(one, x), golden.run(two, x)
        np.testing.assert_array_equal(a.tensors[one.head.tensor], b.tensors[two.head.tensor])
        np.testing.assert_array_equal(a.output, b.output)
    verdict = compare(other, random_image(two, 5), "qonnx", run_qonnx)
    assert verdict.agrees
    assert len(verdict.tensors) > 10


def test_a_picture_of_channels_last_has_its_own_size_only(tmp_path: Path) -> None:
    other = twin(network(tmp_path / "first.onnx"), tmp_path / "last.onnx", whole=True)
    with pytest.raises(HwsegError, match=r"the picture must be \[1, C, H, W\] to be of another size"):
        reshaped_file(other, (8, 8))


def last_net() -> tuple[Net, str]:
    net = Net((1, 2, 4, 6))
    return net, net.node("Transpose", net.image(), perm=[0, 2, 3, 1], name="t")


def refused(tmp_path: Path, net: Net, output: str) -> str:
    model = net.model(output)
    model.opset_import.append(helper.make_opsetid(LAST, 1))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(HwsegError) as caught:
        load(tmp_path / "net.onnx")
    return str(caught.value)


def test_a_node_for_the_other_order_is_refused(tmp_path: Path) -> None:
    """Else its rows would be taken for channels."""
    net = Net((1, 2, 4, 6))
    y = net.node("Conv", net.conv(net.image(), 2, 3, name="a"), net.weights("w", (3, 1, 1, 3)), domain=LAST, name="b",
                 kernel_shape=[1, 1], pads=[0] * 4, strides=[1, 1])  # fmt: skip
    assert "channels_last.Conv must read maps [1, H, W, C]" in refused(tmp_path, net, y)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "Resize", "ConvTranspose", "AveragePool"])
def test_operations_of_onnx_on_them_are_refused_with_a_cure(tmp_path: Path, op: str) -> None:
    net, x = last_net()
    inputs = [x, net.weights("w", (2, 2, 3, 3))] if op.startswith("Conv") else [x]
    error = refused(tmp_path, net, net.node(op, *inputs, name="node"))
    assert error.startswith(f"node: {op} of a map [1, H, W, C] is not supported; put Transpose nodes around it")


def test_two_orders_do_not_meet(tmp_path: Path) -> None:
    net, x = last_net()
    error = refused(tmp_path, net, net.node("Add", x, net.quant(net.conv("input.out", 2, 2)), name="sum"))
    assert error.startswith("sum: Add reads maps of two orders of axes; give them one by Transpose")


def test_a_concatenation_of_rows_is_refused(tmp_path: Path) -> None:
    net, x = last_net()
    assert "axis must be that of channels, 3, is 1" in refused(tmp_path, net, net.node("Concat", x, x, axis=1))


def test_a_square_map_is_not_taken_for_the_other_order(tmp_path: Path) -> None:
    """Sizes alone would not tell: rows, columns and channels are as many."""
    net = Net((1, 4, 4, 4))
    x = net.node("Transpose", net.image(), perm=[0, 3, 1, 2], name="t")
    path = net.save(tmp_path / "net.onnx", net.conv(x, 4, 4))
    assert read(path).channels_last  # a Transpose to channels first is what reads it
    assert load(path).head.axes == ("", "C", "H", "W")
