"""What `load` refuses: one sentence with place, rule, value and cure, for each kind of bad input."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.handmade import Net


def error(path: Path) -> HwsegError:
    with pytest.raises(HwsegError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return caught.value


def refused(tmp_path: Path, net: Net, output: str, **choices: object) -> HwsegError:
    return error(net.save(tmp_path / "net.onnx", output, **choices))


def plain(tmp_path: Path) -> Path:
    """A sound network of one convolution."""
    net = Net()
    return net.save(tmp_path / "net.onnx", net.conv(net.image(), 2, 3))


def test_a_sound_network_loads(tmp_path: Path) -> None:
    graph = load(plain(tmp_path))
    assert [node.name for node in graph.nodes] == ["conv"]
    assert graph.types["conv.out"].shape == (8, 8, 3)


@pytest.mark.parametrize("content", [b"", b"no model", bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_is_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert error(path).place == "a.onnx"


def test_a_missing_file_a_folder_and_a_strange_name(tmp_path: Path) -> None:
    assert "no such file" in error(tmp_path / "none.onnx").rule
    assert "no such file" in error(tmp_path).rule
    assert error(Path("a\0b")).rule


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = plain(tmp_path).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 150)):
        path = tmp_path / "cut.onnx"
        path.write_bytes(data[:length])
        error(path)


def external(tmp_path: Path, location: str, offset: int = 0, length: int | None = None) -> Path:
    net = Net()
    model = net.model(net.conv(net.image(), 2, 3))
    weight = next(t for t in model.graph.initializer if t.name == "conv.weight")
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length or size))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin", offset=8)
    weights = np.linspace(-1, 1, 54, dtype=np.float32).reshape(3, 2, 3, 3)
    (path.parent / "weights.bin").write_bytes(bytes(8) + weights.tobytes())
    graph = load(path)
    np.testing.assert_array_equal(graph.nodes[0].weights, np.rint(weights * 64))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "a/../../secret.bin", "link.bin", "loop.bin"])
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str) -> None:
    path = external(tmp_path, location)
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    os.symlink(tmp_path / "secret.bin", path.parent / "link.bin")
    os.symlink(path.parent / "loop.bin", path.parent / "loop.bin")
    assert "external data" in error(path).rule


def test_external_data_must_be_there_and_long_enough(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    assert "missing" in error(path).rule
    (path.parent / "weights.bin").write_bytes(bytes(215))
    assert "needs 216 bytes" in error(path).rule
    for offset, length in ((-1, 216), (1 << 70, 216), (0, 1 << 62)):
        error(external(tmp_path, "weights.bin", offset, length))


def test_dynamic_shapes(tmp_path: Path) -> None:
    net = Net((1, 2, "height", 8))
    fault = refused(tmp_path, net, net.conv(net.image(), 2, 3))
    assert str(fault) == "x: H must be a fixed size, is dynamic (height); export without dynamic axes"


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((2, 2, 8, 8), "batch must be 1, not 2"),
        ((1, 2, 8), "has 3 dimensions"),
        ((1, 2, 0, 8), "H must be positive, is 0"),
        ((1, 2, 1 << 40, 1 << 40), "elements"),
        ((1, 2, 1 << 14, 1 << 15), "elements"),
    ],
)
def test_input_shapes(tmp_path: Path, shape: tuple[int, ...], rule: str) -> None:
    net = Net(shape)
    assert rule in refused(tmp_path, net, net.conv(net.image(), 2, 3)).rule


def test_a_result_of_absurd_size(tmp_path: Path) -> None:
    net = Net((1, 2, 1 << 12, 1 << 12))
    x = net.conv(net.image(), 2, 100, 1)
    assert "elements" in refused(tmp_path, net, x).rule


def test_several_inputs_or_outputs(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 3)
    assert "one input, has 2: x, y" in refused(tmp_path, net, x, inputs=("x", "y")).rule
    assert "one output, has 2" in refused(tmp_path, net, x, outputs=("input.out",)).rule


def convolution(change: Callable[[Net, str], str]) -> Callable[[Path], HwsegError]:
    def build(tmp_path: Path) -> HwsegError:
        net = Net()
        return refused(tmp_path, net, change(net, net.image()))

    return build


NODES = {
    "operation": (
        lambda n, x: n.node("Gelu", n.conv(x, 2, 3), name="g"),
        "g: operation Gelu is not supported; use ReLU",
    ),
    "domain": (lambda n, x: n.node("Conv", x, name="g", domain="my"), "g: operation my.Conv is not supported"),
    "average": (lambda n, x: n.node("GlobalAveragePool", x, name="a"), "operation GlobalAveragePool is"),
    "groups": (
        lambda n, x: n.conv(x, 1, 2, group=3),
        "conv: groups must divide the 2 output channels, are 3; use as many groups as channels, or fewer",
    ),
    "groups below 1": (
        lambda n, x: n.conv(x, 2, 2, group=0),
        "conv: groups must divide the 2 output channels, are 0; use as many groups as channels, or fewer",
    ),
    "groups of other inputs": (
        lambda n, x: n.conv(x, 2, 2, group=2),
        "conv: weights need 4 input channels, x has 2",
    ),
    "groups of a transposed convolution": (
        lambda n, x: n.node("ConvTranspose", x, n.weights("w", (2, 1, 2, 2)), name="t", strides=[2, 2], group=2),
        "t: groups must be 1, not 2; use a dense convolution",
    ),
    "dilation": (
        lambda n, x: n.conv(x, 2, 2, dilations=[2, 2]),
        "conv: attribute dilations of Conv must be (1, 1), not (2, 2); use a convolution without dilation",
    ),
    "no padding": (
        lambda n, x: n.conv(x, 2, 2, pads=[0, 0, 0, 0]),
        "conv: padding of a 3x3 kernel must be [1, 1, 1, 1], not [0, 0, 0, 0]; use padding=1",
    ),
    "one-sided padding": (lambda n, x: n.conv(x, 2, 2, pads=[0, 0, 1, 1]), "not [0, 0, 1, 1]; use padding=1"),
    "automatic padding": (lambda n, x: n.conv(x, 2, 2, auto_pad="SAME_UPPER"), "auto_pad of Conv must be NOTSET"),
    "kernel": (lambda n, x: n.conv(x, 2, 2, 9), "conv: kernel must be 1x1, 3x3, 5x5, or 7x7 with stride 2, not 9x9"),
    "7x7 of stride 1": (
        lambda n, x: n.conv(x, 2, 2, 7),
        "conv: kernel must be 1x1, 3x3, 5x5, or 7x7 with stride 2, not 7x7, stride 1; use 3x3, three",
    ),
    "maxima of 3x3 without padding": (
        lambda n, x: n.node("MaxPool", x, name="p", kernel_shape=[3, 3], strides=[2, 2]),
        "p: pooling 3x3 must have padding 1; use MaxPool2d(3, 2, 1), or MaxPool2d(2)",
    ),
    "maxima of 3x3 with another size": (
        lambda n, x: n.node("MaxPool", x, name="p", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
        "p: attribute ceil_mode of MaxPool must be 0, not 1; use MaxPool2d(2), or MaxPool2d(3, 2, 1)",
    ),
    "uneven kernel": (lambda n, x: n.conv(x, 2, 2, weights=n.weights("w", (2, 2, 3, 1))), "must be square, is 3x1"),
    "stride": (lambda n, x: n.conv(x, 2, 2, strides=[3, 3]), "strides of Conv must be (1, 1) or (2, 2), not (3, 3)"),
    "uneven stride": (lambda n, x: n.conv(x, 2, 2, strides=[1, 2]), "not (1, 2)"),
    "attribute": (lambda n, x: n.conv(x, 2, 2, colour=1), "conv: attribute colour of Conv is not supported"),
    "channels": (lambda n, x: n.conv(x, 3, 2), "conv: weights need 3 input channels, x has 2"),
    "float weights": (
        lambda n, x: n.conv(x, 2, 2, weights=n.const("w", np.ones((2, 2, 3, 3)))),
        "conv: weights must be quantized, are float constants; use QuantConv2d",
    ),
    "computed weights": (lambda n, x: n.conv(x, 2, 2, weights=x), "weights must be quantized, are a computed tensor"),
    "wide weights": (
        lambda n, x: n.conv(x, 2, 2, weights=n.weights("w", (2, 2, 3, 3), 2**-9, 10)),
        "conv: weights must have at most 8 bits, reach",
    ),
    "scale per input channel": (
        lambda n, x: n.conv(x, 2, 2, weights=n.weights("w", (2, 2, 3, 3), np.full((1, 2, 1, 1), 0.5))),
        "weight scales may differ per output channel only",
    ),
    "inner activation": (
        lambda n, x: n.conv(n.node("Relu", n.conv(x, 2, 3, name="a")), 3, 2),
        "conv: inputs must be quantized to at most 8 bits, Relu_3.out is not; put a QuantIdentity or QuantReLU",
    ),
    "wide activation": (
        lambda n, x: n.quant(n.conv(x, 2, 2), bits=9, name="q"),
        "q: activations must have at most 8 bits, these have 9; use 2 to 8 bits",
    ),
    "scale per channel": (
        lambda n, x: n.quant(n.conv(x, 2, 2), np.array([0.5, 0.25]).reshape(1, 2, 1, 1), name="q"),
        "q: activations must have one scale, these have 2; use per-tensor activation scales",
    ),
    "zero scale": (lambda n, x: n.quant(n.conv(x, 2, 2), 0, name="q"), "q: scale must be positive, is 0"),
    "negative scale": (lambda n, x: n.quant(n.conv(x, 2, 2), -0.5, name="q"), "q: scale must be positive, is -0.5"),
    "scale not a number": (lambda n, x: n.quant(n.conv(x, 2, 2), np.nan, name="q"), "q: scale must be finite"),
    "infinite scale": (lambda n, x: n.quant(n.conv(x, 2, 2), np.inf, name="q"), "q: scale must be finite"),
    "zero point": (lambda n, x: n.quant(n.conv(x, 2, 2), zero=3, name="q"), "q: zero point must be 0, is 3; use a"),
    "part of a bit": (lambda n, x: n.quant(n.conv(x, 2, 2), bits=4.5, name="q"), "bit width must be a whole number"),
    "no bits": (lambda n, x: n.quant(n.conv(x, 2, 2), bits=0, name="q"), "bit width must be a whole number"),
    "bits not a number": (lambda n, x: n.quant(n.conv(x, 2, 2), bits=np.nan, name="q"), "bit width must be finite"),
    "bipolar": (lambda n, x: n.quant(n.conv(x, 2, 2), bits=1, name="q"), "whole number from 2 to 32, is 1"),
    "rounding": (
        lambda n, x: n.quant(n.conv(x, 2, 2), rounding_mode="FLOOR", name="q"),
        "q: attribute rounding_mode of Quant must be ROUND or HALF_EVEN, not FLOOR; round half to even (ROUND)",
    ),
    "computed scale": (
        lambda n, x: n.node("Quant", x, x, x, x, name="q", domain="qonnx.custom_op.general"),
        "constant",
    ),
    "weights not finite": (
        lambda n, x: n.conv(x, 2, 2, weights=n.quant(n.const("w", np.full((2, 2, 3, 3), np.nan)), name="q")),
        "q: quantized constant must be finite",
    ),
    "bias length": (lambda n, x: n.conv(x, 2, 2, bias=n.const("b", [1, 2, 3])), "bias must have shape (2,), has (3,)"),
    "unlike scales": (
        lambda n, x: n.conv(n.node("Concat", x, n.quant(n.conv(x, 2, 3, name="a")), name="cat", axis=1), 5, 2),
        "cat: concatenated branches must have one scale, x has 0.00390625 and",
    ),
    "sign and no sign": (
        lambda n, x: n.conv(n.node("Concat", x, n.quant(n.conv(x, 2, 3, name="a"), 2**-8), name="cat", axis=1), 5, 2),
        "cat: concatenated branches must fit 8 bits together, [-128, 255] needs 9",
    ),
    "concat along rows": (lambda n, x: n.node("Concat", x, x, name="cat", axis=2), "axis of Concat must be 1 or -3"),
    "concat of sizes": (
        lambda n, x: n.node("Concat", x, n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), name="c", axis=1),
        "c: branches must have one size, have 8x8 and 4x4",
    ),
    "sum of accumulators": (
        lambda n, x: n.quant(n.node("Add", n.conv(x, 2, 2), x, name="add")),
        "add: inputs must be quantized to at most 8 bits, conv.out is not; put a QuantIdentity or QuantReLU on each",
    ),
    "sum without quantizer": (
        lambda n, x: n.conv(n.node("Add", x, x, name="add"), 2, 2),
        "conv: inputs must be quantized to at most 8 bits, add.out is not",
    ),
    "sum of shapes": (
        lambda n, x: n.quant(n.node("Add", x, n.quant(n.conv(x, 2, 1)), name="add")),
        "add: both operands must have one shape, have (8, 8, 2) and (8, 8, 1)",
    ),
    "product": (lambda n, x: n.node("Mul", x, x, name="m"), "m: Mul of two activations is not supported"),
    "overlapping pool": (
        lambda n, x: n.node("MaxPool", x, name="p", kernel_shape=[3, 3], strides=[2, 2]),
        "p: pooling 3x3 must have padding 1",
    ),
    "cubic upsampling": (
        lambda n, x: n.node("Resize", x, "", n.const("s", [1, 1, 2, 2]), name="r", mode="cubic"),
        "r: attribute mode of Resize must be nearest or linear, not cubic",
    ),
    "bilinear upsampling of aligned corners": (
        lambda n, x: n.node(
            "Resize",
            x,
            "",
            n.const("s", [1, 1, 2, 2]),
            name="r",
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
        "r: bilinear enlarging must have pixel centres at halves, align_corners has not; "
        "use scale_factor=2, mode='bilinear', align_corners=False",
    ),
    "bilinear upsampling without a quantizer": (
        lambda n, x: n.conv(n.node("Resize", x, "", n.const("s", [1, 1, 2, 2]), name="r", mode="linear"), 2, 1),
        "conv: inputs must be quantized to at most 8 bits, r.out is not",
    ),
    "upsampling by 3": (
        lambda n, x: n.node("Resize", x, "", n.const("s", [1, 1, 3, 3]), name="r", mode="nearest"),
        "r: must enlarge height and width by 2, not [1.0, 1.0, 3.0, 3.0]",
    ),
    "shifted upsampling": (
        lambda n, x: n.node(
            "Resize",
            x,
            "",
            n.const("s", [1, 1, 2, 2]),
            name="r",
            mode="nearest",
            nearest_mode="ceil",
            coordinate_transformation_mode="asymmetric",
        ),
        "r: must repeat every pixel, asymmetric with ceil does not",
    ),
    "a transposed convolution to another size": (
        lambda n, x: n.node("ConvTranspose", x, n.weights("w", (2, 2, 3, 3)), name="t", strides=[2, 2]),
        "t: padding [0, 0, 0, 0] and output padding 0 of a 3x3 transposed convolution must make a map of twice the "
        "size; use stride 2 with kernel_size=2, or 3 and padding=1, output_padding=1, or 4 and padding=1, or 5 and "
        "padding=2, output_padding=1, or 6 and padding=2",
    ),
    "a transposed convolution of far pixels": (
        lambda n, x: n.node(
            "ConvTranspose",
            x,
            n.weights("w", (2, 2, 4, 4)),
            name="t",
            strides=[2, 2],
            pads=[3, 3, 0, 0],
            output_padding=[1, 1],
        ),
        "t: padding [3, 3, 0, 0] and output padding 1 of a 4x4 transposed convolution must make each pixel from 3x3 "
        "neighbouring ones",
    ),
    "a transposed convolution of rows and columns": (
        lambda n, x: n.node(
            "ConvTranspose", x, n.weights("w", (2, 2, 3, 3)), name="t", strides=[2, 2], pads=[0, 1, 1, 0]
        ),
        "t: padding [0, 1, 1, 0] and output padding 0 of a 3x3 transposed convolution must make a map of twice",
    ),
    "averages of 3x3": (
        lambda n, x: n.node("AveragePool", x, name="p", kernel_shape=[3, 3], strides=[2, 2]),
        "p: attribute kernel_shape of AveragePool must be (2, 2), not (3, 3); use AvgPool2d(2)",
    ),
    "averages without an activation": (
        lambda n, x: n.node("AveragePool", n.conv(x, 2, 3), name="p", kernel_shape=[2, 2], strides=[2, 2]),
        "p: inputs must be quantized to at most 8 bits, conv.out is not; put a QuantIdentity or QuantReLU",
    ),
    "transposed stride": (
        lambda n, x: n.node("ConvTranspose", x, n.weights("w", (2, 2, 2, 2)), name="t"),
        "t: stride of a transposed convolution must be 2, not [1, 1]",
    ),
    "after the end": (
        lambda n, x: n.node("Relu", n.node("Sigmoid", n.conv(x, 2, 2)), name="r"),
        "r: nothing may follow the final Sigmoid; end the model with Sigmoid",
    ),
    "softmax over rows": (
        lambda n, x: n.node("Softmax", n.conv(x, 2, 2), name="s", axis=2),
        "Softmax must be over channels",
    ),
    "training": (
        lambda n, x: n.node("Dropout", x, "", n.const("t", True, bool), name="d"),
        "d: training_mode must be false; call model.eval() before the export",
    ),
    "variance": (
        lambda n, x: n.node(
            "BatchNormalization",
            n.conv(x, 2, 2),
            *(n.const(k, [v, v]) for k, v in zip("gbmv", (1, 0, 0, -1), strict=True)),
            name="bn",
        ),
        "bn: variance + epsilon must be positive, is -0.99999",
    ),
    "unquantized end": (
        lambda n, x: n.node("Relu", n.conv(x, 2, 2), name="r"),
        "r.out: the output must be a quantized tensor or a convolution's; put a QuantIdentity at the end",
    ),
    "no convolution": (lambda n, x: n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), "have a convolution"),
    "unknown tensor": (lambda n, x: n.node("Relu", "nowhere", name="r"), "input 'nowhere' is neither"),
    "a reader of the raw input": (
        lambda n, x: n.quant(n.node("Concat", x, "x", axis=1)),
        "input x must be quantized once, alike for all its readers; share one quantizer",
    ),
    "two quantizers on the input": (
        lambda n, x: n.quant(n.node("Add", x, n.quant("x", 2**-6, name="other"))),
        "input x must be quantized once, alike for all its readers; share one quantizer",
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_nodes(tmp_path: Path, case: str) -> None:
    change, sentence = NODES[case]
    assert sentence in str(convolution(change)(tmp_path))


def test_accumulators_beyond_32_bits(tmp_path: Path) -> None:
    net = Net((1, 1 << 16, 1, 1))
    ones = net.quant(net.const("w", np.ones((1, 1 << 16, 3, 3))), 1 / 127, name="q")
    fault = refused(tmp_path, net, net.conv(net.image(), 1 << 16, 1, weights=ones))
    assert str(fault).startswith("conv: accumulators must fit 32 bits, need 35; use fewer input channels")


def test_sizes_that_pooling_does_not_divide(tmp_path: Path) -> None:
    net = Net((1, 2, 10, 12))
    x = net.image()
    for level in range(2):
        x = net.node("MaxPool", x, name=f"pool{level}", kernel_shape=[2, 2], strides=[2, 2])
    fault = refused(tmp_path, net, net.conv(x, 2, 2))
    assert str(fault) == (
        "pool1: pooling by 2 must divide the map, which is 5x6; "
        "the input is 10x12, the nearest sizes that fit are 8x12, 12x12"
    )


def test_a_cycle(tmp_path: Path) -> None:
    net = Net()
    x = net.image()
    net.node("Add", x, "b.out", name="a")
    net.node("Relu", "a.out", name="b")
    assert "cycle" in refused(tmp_path, net, "b.out").rule


def test_a_tensor_produced_twice(tmp_path: Path) -> None:
    net = Net()
    net.conv(net.image(), 2, 2)
    net.nodes.append(net.nodes[-1])
    assert "produced twice" in refused(tmp_path, net, "conv.out").rule


def test_sizes_of_initializers_are_not_believed(tmp_path: Path) -> None:
    for dims in ([3, 2, 3, 4], [1 << 40, 1 << 40], [-1, -54], [1 << 27, 2, 1], [1] * 9):
        net = Net()
        model = net.model(net.conv(net.image(), 2, 3))
        weight = next(t for t in model.graph.initializer if t.name == "conv.weight")
        del weight.dims[:]
        weight.dims.extend(dims)
        path = tmp_path / "net.onnx"
        path.write_bytes(model.SerializeToString())
        assert error(path).place == "conv.weight"


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 2)
    net.nodes.reverse()
    assert load(net.save(tmp_path / "net.onnx", x)).types[x].shape == (8, 8, 2)


def test_constants_may_be_nodes_and_typed_fields(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 3)
    model = net.model(x)
    for tensor in list(model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        typed = helper.make_tensor(tensor.name, tensor.data_type, value.shape, value.reshape(-1).tolist())
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=typed))
    del model.graph.initializer[:]
    path = tmp_path / "constants.onnx"
    path.write_bytes(model.SerializeToString())
    np.testing.assert_array_equal(load(path).nodes[0].weights, load(plain(tmp_path)).nodes[0].weights)
