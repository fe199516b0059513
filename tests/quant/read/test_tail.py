"""What the network gives, in the model's own order of axes: against ONNX's own Transpose, Reshape and their like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read.axes import planes, regrouped
from hwseg.quant.read.load import load
from hwseg.quant.read.referee import compare, run_qonnx
from tests.quant.handmade import Net
from tests.quant.models import random_image

Tail = Callable[[Net, str], str]


def ints(net: Net, *values: int) -> str:
    return net.const(f"ints{len(net.initializers)}", values, np.int64)


def last(net: Net, x: str) -> str:
    return net.node("Transpose", x, perm=[0, 2, 3, 1])


TAILS: dict[str, Tail] = {
    "channels last": last,
    "softmax of them": lambda n, x: n.node("Softmax", last(n, x), axis=-1),
    "and back": lambda n, x: n.node("Transpose", n.node("Softmax", last(n, x), axis=3), perm=[0, 3, 1, 2]),
    "pixels": lambda n, x: n.node("Softmax", n.node("Reshape", x, ints(n, 1, 3, -1)), axis=1),
    "rows of classes": lambda n, x: n.node("Reshape", last(n, x), ints(n, -1, 3)),
    "old sizes": lambda n, x: n.node("Reshape", x, ints(n, 0, 0, -1)),
    "apart again": lambda n, x: n.node("Reshape", n.node("Flatten", x, axis=2), ints(n, 1, 3, 4, 6)),
    "flat": lambda n, x: n.node("Flatten", x, axis=1),
    "squeezed": lambda n, x: n.node("Squeeze", x, ints(n, 0)),
    "all ones": lambda n, x: n.node("Squeeze", x),
    "unsqueezed": lambda n, x: n.node("Unsqueeze", x, ints(n, 1, -1)),
    "turned": lambda n, x: n.node("Transpose", x),
    "classes": lambda n, x: n.node("ArgMax", last(n, x), axis=3, keepdims=0),
    "classes in a row": lambda n, x: n.node("Reshape", n.node("ArgMax", x, axis=1), ints(n, -1)),
    "classes turned": lambda n, x: n.node("Transpose", n.node("ArgMax", x, axis=1, keepdims=0), perm=[2, 1, 0]),
    "cast": lambda n, x: n.node("Cast", n.node("ArgMax", x, axis=1), to=TensorProto.UINT8),
    "cast of floats": lambda n, x: n.node("Cast", x, to=TensorProto.FLOAT),
    "quantized behind": lambda n, x: n.quant(n.node("Reshape", x, ints(n, 1, 3, -1)), 2**-3),
}


def saved(tmp_path: Path, tail: Tail, outs: int = 3) -> Path:
    net = Net((1, 2, 4, 6))
    output = tail(net, net.conv(net.image(), 2, outs))
    model = net.model(output)
    operations = {node.op_type: node for node in net.nodes}
    kind = TensorProto.INT64 if "ArgMax" in operations else TensorProto.FLOAT
    kind = onnx.helper.get_attribute_value(operations["Cast"].attribute[0]) if "Cast" in operations else kind
    model.graph.output[0].type.tensor_type.elem_type = kind
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("name", TAILS)
def test_order_of_the_output(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, TAILS[name])
    graph = load(path)
    x = random_image(graph, 3)
    result = golden.run(graph, x)
    executed = {}

    def run(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
        executed.update(run_qonnx(path, x))
        return executed

    verdict = compare(path, x, "qonnx", run)
    assert verdict.agrees
    found = executed[str(onnx.load(path).graph.output[0].name)]
    assert result.output.shape == found.shape
    np.testing.assert_allclose(result.output, found.astype(np.float32), atol=2e-6)


REFUSED: dict[str, tuple[Tail, str]] = {
    "channels apart": (
        lambda n, x: n.node("Reshape", x, ints(n, 1, 2, 2, 4, 6)),
        "Reshape must keep channels, rows and columns whole: [1, 4, 4, 6] cannot become [1, 2, 2, 4, 6]",
    ),
    "another number": (lambda n, x: n.node("Reshape", x, ints(n, 1, 5, -1)), "must be that of 96 numbers"),
    "no order": (lambda n, x: n.node("Transpose", x, perm=[0, 1, 2, 2]), "perm must be an order of 4 axes"),
    "axis of pixels": (
        lambda n, x: n.node("Softmax", last(n, x), axis=1),
        "Softmax must be over channels, is over axis 1 of [1, 4, 6, 4]; use dim=1",
    ),
    "no axis of one": (lambda n, x: n.node("Squeeze", x, ints(n, 1)), "axes [1] must have size 1"),
    "too many axes": (lambda n, x: n.node("Unsqueeze", x, ints(n, 0, 0)), "axes [0, 0] must be some of 6"),
    "a convolution behind": (
        lambda n, x: n.conv(n.node("Transpose", n.quant(x), perm=[0, 1, 3, 2]), 4, 2, name="late"),
        "late: Conv must read a map [1, C, H, W], not [1, 4, 6, 4] of other axes; change shapes",
    ),
    "half precision": (lambda n, x: n.node("Cast", x, to=TensorProto.FLOAT16), "Cast to type 10 of what is float32"),
    "classes as bits": (
        lambda n, x: n.node("Cast", n.node("ArgMax", x, axis=1), to=TensorProto.BOOL),
        "Cast to type 9 of what is a class",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    tail, sentence = REFUSED[name]
    with pytest.raises(HwsegError) as caught:
        load(saved(tmp_path, tail, 4))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("op", ["Softmax", "ArgMax"])
def test_one_channel_has_no_classes(tmp_path: Path, op: str) -> None:
    """Its softmax is 1 and its class 0 everywhere; a mask by the sign of the channel would be another network."""
    with pytest.raises(HwsegError, match=f"{op} of one channel is the same for every picture; end the model with Sig"):
        load(saved(tmp_path, lambda n, x: n.node(op, x, axis=1), 1))


def test_softmax_of_an_old_operator_set_is_over_all_axes_behind(tmp_path: Path) -> None:
    net = Net((1, 2, 4, 6), opset=11)
    x = net.conv(net.image(), 2, 3)
    with pytest.raises(HwsegError, match="is over axis 1 of"):
        load(net.save(tmp_path / "over all.onnx", net.node("Softmax", x)))
    graph = load(net.save(tmp_path / "last.onnx", net.node("Softmax", last(net, x), axis=3)))
    assert (graph.head.activation, graph.head.axes) == ("softmax", ("", "H", "W", "C"))


def test_every_order_of_small_sizes_is_undone() -> None:
    """Reshape and back, of shapes with sizes of 1."""
    for shape in np.ndindex(3, 3, 3):
        height, width, channels = (n + 1 for n in shape)
        sizes = (height, width, channels)
        x = np.arange(height * width * channels).reshape(1, channels, height, width)
        for new in (
            (1, channels, height, width),
            (channels, height * width),
            (x.size,),
            (1, 1, channels, 1, height, width),
        ):
            axes = regrouped(("", "C", "H", "W"), sizes, new)
            assert axes is not None
            np.testing.assert_array_equal(planes(x.reshape(new), axes, sizes), x)
