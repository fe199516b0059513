"""From QONNX to the integer graph: what each pattern of an export becomes."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.ir import Graph, accumulator_interval
from hwseg.ops import Add, Concat, Conv2d, ConvTranspose2d, MaxPool2d, Requantize, Upsample2d, macs
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.models import draw, random_image, random_unet


def loaded(tmp_path: Path, net: Net, output: str) -> Graph:
    return load(net.save(tmp_path / "net.onnx", output))


def ops(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def requantizer(graph: Graph, name: str) -> Requantize:
    op = next(node.op for node in graph.nodes if node.name == name)
    assert isinstance(op, Requantize)
    return op


def test_scales_bias_and_relu_become_one_requantization(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 3, bias=net.const("bias", [0.1, -0.2, 0.3]))
    graph = loaded(tmp_path, net, net.quant(net.node("Relu", x), 2**-4, name="q"))
    op = requantizer(graph, "q")
    assert op.multiplier == (Fraction(1, 1 << 10),)
    assert op.offset == tuple(16 * Fraction(float(np.float32(b))) for b in (0.1, -0.2, 0.3))
    assert (op.low, op.high) == (0, 127)
    assert graph.types["q.out"].bits == 7
    assert graph.head.tensor == "q.out"


def test_weight_scales_per_channel_and_negative_shifts(tmp_path: Path) -> None:
    net = Net()
    scale = np.array([2.0**-2, 2.0**-6, 0.3]).reshape(3, 1, 1, 1)
    x = net.conv(net.image(), 2, 3, weights=net.weights("w", (3, 2, 3, 3), scale))
    graph = loaded(tmp_path, net, net.quant(x, 2**-12, name="q"))
    exact = Fraction(float(np.float32(0.3)))
    assert requantizer(graph, "q").multiplier == (Fraction(4), Fraction(1, 4), exact * 16)
    assert graph.types["conv.out"].scale == (Fraction(1, 1 << 10), Fraction(1, 1 << 14), exact / 256)


def test_bias_quantizer_of_32_bits(tmp_path: Path) -> None:
    net = Net()
    bias = net.quant(net.const("b", [0.1, -3e9]), [2**-14], 32, name="bias")
    graph = loaded(tmp_path, net, net.quant(net.conv(net.image(), 2, 2, bias=bias), 2**-4, name="q"))
    integers = round(float(np.float32(0.1)) * 2**14), -(1 << 31)
    assert requantizer(graph, "q").offset == tuple(Fraction(i, 1 << 10) for i in integers)


def test_batch_normalization_with_negative_factors(tmp_path: Path) -> None:
    net = Net()
    values = {"gamma": [1.5, -0.5], "beta": [0.25, 0.5], "mean": [0.125, -1], "variance": [0.3, 2]}
    x = net.node(
        "BatchNormalization", net.conv(net.image(), 2, 2), *(net.const(k, v) for k, v in values.items()), epsilon=1e-3
    )
    graph = loaded(tmp_path, net, net.quant(x, 2**-4, name="q"))
    op = requantizer(graph, "q")
    for c in range(2):
        variance, epsilon = float(np.float32(values["variance"][c])), float(np.float32(1e-3))
        factor = Fraction(values["gamma"][c] / sqrt(variance + epsilon))
        assert op.multiplier[c] == factor / (1 << 10)
        assert op.offset[c] == 16 * (Fraction(values["beta"][c]) - Fraction(values["mean"][c]) * factor)
    assert op.multiplier[1] < 0 < op.multiplier[0]


def test_arithmetic_with_constants_is_gathered(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 2)
    x = net.node("Mul", x, net.const("m", np.array([2, 3]).reshape(1, 2, 1, 1)))
    x = net.node("Div", net.node("Add", net.const("a", 5), x), net.const("d", 4))
    graph = loaded(tmp_path, net, net.quant(net.node("Sub", x, net.const("s", [1])), 1, name="q"))
    op = requantizer(graph, "q")
    assert op.multiplier == (Fraction(2, 4 << 14), Fraction(3, 4 << 14))
    assert op.offset == (Fraction(1, 4),)


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_a_quantized_constant_is_its_integer_times_its_scale_wherever_it_stands(bits: int, tmp_path: Path) -> None:
    """Not the float32 that the product rounds to: a bias, an addend and a factor have one meaning."""
    scale, q = np.float32(1 / 3 / (1 << bits - 8)), [(1 << bits - 1) - 1, -(1 << bits - 2) - 1, 7]
    exact = tuple(n * Fraction(float(scale)) for n in q)
    assert any(Fraction(float(np.float32(n) * scale)) != e for n, e in zip(q, exact, strict=True))
    net = Net()

    def constant(name: str, *shape: int) -> str:
        array = np.array([n * float(scale) for n in q], np.float32).reshape(shape)
        return net.quant(net.const(f"{name}.values", array), scale, bits, name=name)

    x = net.conv(net.image(), 2, 3, bias=constant("bias", 3))
    x = net.node("Mul", net.node("Add", x, constant("addend", 3, 1, 1)), constant("factor", 1, 3, 1, 1))
    graph = loaded(tmp_path, net, net.quant(net.node("Sub", x, constant("less", 3, 1, 1)), 2.0**-4, name="q"))
    op = requantizer(graph, "q")
    assert op.multiplier == tuple(16 * e / (1 << 14) for e in exact)
    assert op.offset == tuple(16 * (2 * e * e - e) for e in exact)


def test_poolings_wait_for_the_quantizer(tmp_path: Path) -> None:
    """A pooling of accumulators is done on the quantized integers: rounding is monotone."""
    net = Net()
    pooled = net.node("MaxPool", net.conv(net.image(), 2, 3), name="pool", kernel_shape=[2, 2], strides=[2, 2])
    graph = loaded(tmp_path, net, net.quant(net.node("Relu", pooled), 2**-4, name="q"))
    assert ops(graph) == ["Conv2d", "Requantize", "MaxPool2d"]
    assert graph.nodes[-1].name == "pool"
    assert graph.nodes[-1].output == "q.out"


def test_a_relu_of_integers_clamps_them(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Relu", net.quant(net.conv(net.image(), 2, 3, name="a"), name="q"), name="relu")
    graph = loaded(tmp_path, net, net.conv(x, 3, 1, name="b"))
    assert ops(graph) == ["Conv2d", "Requantize", "Requantize", "Conv2d"]
    assert requantizer(graph, "relu") == Requantize((Fraction(1),), (Fraction(0),), 0, 127)


def branches(net: Net) -> tuple[str, str]:
    x = net.image()
    left = net.quant(net.conv(x, 2, 3, name="a"), 2**-4, signed=0, name="left")
    return left, net.quant(net.conv(x, 2, 2, name="b"), 2**-5, signed=0, name="right")


def test_the_quantizer_behind_a_concat_is_applied_to_each_branch(tmp_path: Path) -> None:
    net = Net()
    joined = net.node("Concat", *branches(net), name="cat", axis=1)
    graph = loaded(tmp_path, net, net.conv(net.quant(joined, 2**-4, signed=0, name="q"), 5, 1, name="c"))
    assert ops(graph) == ["Conv2d", "Requantize", "Conv2d", "Requantize", "Requantize", "Concat", "Conv2d"]
    joint = next(node for node in graph.nodes if isinstance(node.op, Concat))
    assert (joint.name, joint.inputs, joint.output) == ("cat", ("left.out", "q.out/1"), "q.out")
    assert requantizer(graph, "q/1") == Requantize((Fraction(1, 2),), (Fraction(0),), 0, 255)


def test_one_scale_needs_no_quantizer(tmp_path: Path) -> None:
    net = Net()
    x = net.image()
    left = net.quant(net.conv(x, 2, 3, name="a"), 2**-8, 4, signed=0)
    graph = loaded(tmp_path, net, net.conv(net.node("Concat", left, x, name="cat", axis=1), 5, 1, name="c"))
    assert ops(graph) == ["Conv2d", "Requantize", "Concat", "Conv2d"]
    assert graph.types["cat.out"].high == 255


def test_a_concat_of_accumulators_is_quantized_by_branch(tmp_path: Path) -> None:
    net = Net()
    x = net.image()
    joined = net.node("Concat", net.conv(x, 2, 3, name="a"), x, net.conv(x, 2, 2, 1, name="b"), axis=1, name="cat")
    graph = loaded(tmp_path, net, net.quant(net.node("Relu", joined), 2**-3, name="q"))
    assert ops(graph) == ["Conv2d", "Conv2d", "Requantize", "Requantize", "Requantize", "Concat"]
    assert graph.types["q.out"].shape == (8, 8, 7)


def test_a_quantizer_of_the_same_scale_is_the_identity(tmp_path: Path) -> None:
    net = Net()
    x = net.quant(net.conv(net.image(), 2, 3, name="a"), 2**-4, 6, name="q")
    graph = loaded(tmp_path, net, net.conv(net.quant(x, 2**-4, 8), 3, 1, name="b"))
    assert ops(graph) == ["Conv2d", "Requantize", "Conv2d"]
    narrower = Net()
    x = narrower.quant(narrower.conv(narrower.image(), 2, 3, name="a"), 2**-4, 8, name="q")
    graph = loaded(tmp_path, narrower, narrower.conv(narrower.quant(x, 2**-4, 6), 3, 1, name="b"))
    assert ops(graph) == ["Conv2d", "Requantize", "Requantize", "Conv2d"]


def test_addition(tmp_path: Path) -> None:
    net = Net()
    left, right = branches(net)
    right = net.quant(net.conv(right, 2, 3, 1, name="c"), 2**-6)
    total = net.node("Relu", net.node("Add", left, right, name="add"))
    graph = loaded(tmp_path, net, net.quant(total, 2**-5, name="sum"))
    op = graph.producer["sum.out"].op
    assert op == Add((Fraction(2), Fraction(1, 2)), Fraction(0), 0, 127)


def resize(net: Net, x: str, **choices: str) -> str:
    return net.node("Resize", x, "", net.const("scales", [1, 1, 2, 2]), mode="nearest", **choices)


@pytest.mark.parametrize(
    ("coordinates", "rounding"),
    [("asymmetric", "floor"), ("asymmetric", "round_prefer_floor"), ("half_pixel", "round_prefer_floor"),
     ("half_pixel", "round_prefer_ceil"), ("pytorch_half_pixel", "round_prefer_floor")],
)  # fmt: skip
def test_nearest_upsampling_in_its_spellings(tmp_path: Path, coordinates: str, rounding: str) -> None:
    """Each accepted pair of attributes is checked against onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    net = Net()
    big = resize(net, net.image(), coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    graph = loaded(tmp_path, net, net.conv(big, 2, 1))
    assert ops(graph) == ["Upsample2d", "Conv2d"]
    resizer = [node for node in net.nodes if node.op_type == "Resize"]
    resizer[0].input[0] = "x"
    single = helper.make_graph(
        resizer,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 8, 8))],
        [helper.make_tensor_value_info(big, TensorProto.FLOAT, None)],
        [tensor for tensor in net.initializers if tensor.name == "scales"],
    )
    model = helper.make_model(single, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    q = random_image(graph)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": q.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), golden.run(graph, q).tensors[big])


@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("size", [(8, 8), (1, 5)])
def test_bilinear_upsampling_in_its_spellings(tmp_path: Path, coordinates: str, size: tuple[int, int]) -> None:
    """Sixteenths of the input's scale; each spelling against onnxruntime."""
    ort = pytest.importorskip("onnxruntime")
    net = Net((1, 2, *size))
    scales = net.const("scales", [1, 1, 2, 2])
    big = net.node("Resize", net.image(), "", scales, mode="linear", coordinate_transformation_mode=coordinates)
    graph = loaded(tmp_path, net, net.conv(net.quant(big, 2**-7, signed=0, name="q"), 2, 1))
    assert ops(graph) == ["Bilinear2d", "Requantize", "Conv2d"]
    assert graph.types[big].scale == (Fraction(1, 1 << 12),)
    assert (graph.types[big].low, graph.types[big].high) == (0, 16 * 255)
    assert requantizer(graph, "q").multiplier == (Fraction(1, 32),)
    resizer = [node for node in net.nodes if node.op_type == "Resize"]
    resizer[0].input[0] = "x"
    single = helper.make_graph(
        resizer,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, *size))],
        [helper.make_tensor_value_info(big, TensorProto.FLOAT, None)],
        [tensor for tensor in net.initializers if tensor.name == "scales"],
    )
    model = helper.make_model(single, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    q = random_image(graph)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": q.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    np.testing.assert_array_equal(16 * found[0].transpose(1, 2, 0), golden.run(graph, q).tensors[big])


def test_upsample_and_sizes_and_transposed_convolution(tmp_path: Path) -> None:
    net = Net(opset=9)
    x = net.node("Upsample", net.image(), net.const("scales", [1, 1, 2, 2]), mode="nearest")
    assert ops(loaded(tmp_path, net, net.conv(x, 2, 1))) == ["Upsample2d", "Conv2d"]
    net = Net()
    sizes = net.const("sizes", [1, 2, 16, 16], np.int64)
    x = net.node("Resize", net.image(), "", "", sizes, mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric")  # fmt: skip
    assert ops(loaded(tmp_path, net, net.conv(x, 2, 1))) == ["Upsample2d", "Conv2d"]
    net = Net()
    scale = np.array([0.5, 0.25, 0.125]).reshape(1, 3, 1, 1)
    weights = net.weights("w", (2, 3, 2, 2), scale)
    x = net.node("ConvTranspose", net.image(), weights, name="t", strides=[2, 2], kernel_shape=[2, 2])
    graph = loaded(tmp_path, net, x)
    assert graph.nodes[0].op == ConvTranspose2d(3)
    assert graph.nodes[0].weights is not None
    assert graph.nodes[0].weights.shape == (3, 2, 2, 2)
    assert graph.types["t.out"].scale == (Fraction(1, 512), Fraction(1, 1024), Fraction(1, 2048))


@pytest.mark.parametrize(
    ("kernel", "pads", "more"),
    [(3, [1, 1, 1, 1], 1), (3, [1, 1, 0, 0], 0), (4, [1, 1, 1, 1], 0), (2, [1, 1, 0, 0], 1), (5, [2, 2, 2, 2], 1)],
)
def test_transposed_convolutions_of_any_kernel(tmp_path: Path, kernel: int, pads: list[int], more: int) -> None:
    net = Net()
    weights = net.weights("up", (2, 3, kernel, kernel), scale=np.full((1, 3, 1, 1), 2.0**-6))
    given = {"strides": [2, 2], "pads": pads, "output_padding": [more, more]}
    y = net.node("ConvTranspose", net.image(), weights, name="t", **given)
    graph = load(net.save(tmp_path / "net.onnx", net.quant(y)))
    assert graph.nodes[0].op == ConvTranspose2d(3, kernel, pads[0])
    assert graph.types["t.out"].shape == (16, 16, 3)


@pytest.mark.parametrize(("groups", "outs"), [(4, 4), (4, 8), (2, 6)])
def test_groups_are_zeros_that_nobody_counts(tmp_path: Path, groups: int, outs: int) -> None:
    net = Net((1, 4, 8, 8))
    weights = net.weights("w", (outs, 4 // groups, 3, 3), np.arange(1, outs + 1).reshape(-1, 1, 1, 1) * 2.0**-7)
    graph = load(net.save(tmp_path / "net.onnx", net.conv(net.image(), 4, outs, weights=weights, group=groups)))
    (node,) = graph.nodes
    assert node.op == Conv2d(3, outs, 1, groups)
    assert node.weights is not None
    assert node.weights.shape == (outs, 4, 3, 3)
    own = [[o * groups // outs == i * groups // 4 for i in range(4)] for o in range(outs)]
    assert not node.weights[~np.array(own)].any()
    assert np.count_nonzero(node.weights[np.array(own)]) > 30 * outs * 4 // groups // 4
    assert macs(node.op, [graph.types["x"].shape]) == 8 * 8 * outs * 4 // groups * 9


def test_the_stem_of_a_resnet(tmp_path: Path) -> None:
    """The maximum moves behind the quantizer, whatever its window is."""
    net = Net((1, 2, 16, 16))
    y = net.conv(net.image(), 2, 3, 7, name="stem", strides=[2, 2])
    y = net.node("MaxPool", net.node("Relu", y), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    graph = load(net.save(tmp_path / "net.onnx", net.conv(net.quant(y, signed=0), 3, 1, 5, name="large")))
    assert [node.op for node in graph.nodes if not isinstance(node.op, Requantize)] == [
        Conv2d(7, 3, 2), MaxPool2d(3), Conv2d(5, 1),
    ]  # fmt: skip
    assert graph.types["stem.out"].shape == (8, 8, 3)


@pytest.mark.parametrize(("height", "width", "kernel", "strides"), [(18, 16, 7, 2), (9, 8, 5, 1), (8, 7, 5, 2)])
def test_sizes_for_large_kernels_are_named(tmp_path: Path, height: int, width: int, kernel: int, strides: int) -> None:
    net = Net((1, 2, height, width))
    path = net.save(tmp_path / "net.onnx", net.conv(net.image(), 2, 1, kernel, strides=[strides, strides]))
    with pytest.raises(HwsegError) as caught:
        load(path)
    size = caught.value.cure.rsplit(" ", 1)[1]
    net.shape = (1, 2, *map(int, size.split("x")))
    load(net.save(tmp_path / "net.onnx", net.nodes[-1].output[0]))


def test_averages_wait_for_their_quantizer(tmp_path: Path) -> None:
    net = Net()
    y = net.node("AveragePool", net.image(), kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1)
    graph = load(net.save(tmp_path / "net.onnx", net.conv(net.quant(y, 2**-6, signed=0), 2, 1)))
    assert ops(graph) == ["AveragePool2d", "Requantize", "Conv2d"]
    assert graph.types[y].interval == (0, 4 * 255)
    assert graph.types[y].scale == (Fraction(1, 1024),)


def test_without_an_input_quantizer_the_image_is_pixels_of_8_bits(tmp_path: Path) -> None:
    net = Net()
    model = net.model(net.conv("x", 2, 3))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load(path)
    kind = graph.types["x"]
    assert (kind.low, kind.high, kind.scale) == (0, 255, (Fraction(1, 256),))
    assert not graph.input_quantizer
    entry = model.metadata_props.add()
    entry.key, entry.value = "hwseg.input_scale", "1/64"
    path.write_bytes(model.SerializeToString())
    assert load(path).types["x"].scale == (Fraction(1, 64),)


def test_an_input_quantizer_says_what_the_image_is(tmp_path: Path) -> None:
    net = Net()
    x = net.image(scale=2**-5, bits=6, signed=1)
    graph = loaded(tmp_path, net, net.conv(net.node("Identity", x), 2, 3))
    kind = graph.types[graph.input]
    assert (kind.low, kind.high, kind.scale) == (-32, 31, (Fraction(1, 32),))
    assert graph.input_quantizer


def test_an_unquantized_head_keeps_scale_and_bias(tmp_path: Path) -> None:
    net = Net()
    x = net.conv(net.image(), 2, 2, 1, bias=net.const("bias", [0.5, -0.25]))
    graph = loaded(tmp_path, net, net.node("Softmax", x, axis=1))
    assert graph.head.tensor == "conv.out"
    assert graph.head.scale == (Fraction(1, 1 << 14),)
    assert graph.head.offset == (Fraction(1, 2), Fraction(-1, 4))
    assert graph.head.activation == "softmax"


def test_dead_nodes_are_left_out(tmp_path: Path) -> None:
    net = Net()
    x = net.image()
    net.node("Gelu", x)
    assert ops(loaded(tmp_path, net, net.conv(x, 2, 3))) == ["Conv2d"]


def test_accumulator_intervals_hold_and_are_reached(tmp_path: Path) -> None:
    graph = load(random_unet(4, tmp_path))
    result = golden.run(graph, random_image(graph))
    for node in graph.nodes:
        if node.weights is None:
            continue
        x = graph.types[node.inputs[0]]
        lows, highs = accumulator_interval(node, x)
        found = result.tensors[node.output]
        assert (found >= lows).all()
        assert (found <= highs).all()
        kind = graph.types[node.output]
        assert (kind.low, kind.high) == (lows.min(), highs.max())
        w = node.weights.astype(int)
        best = np.where(w > 0, x.high, x.low) * w
        assert best.reshape(len(w), -1).sum(1).tolist() == highs.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_graphs_are_well_formed(seed: int, tmp_path: Path) -> None:
    graph = load(random_unet(seed, tmp_path))
    known = {graph.input}
    for node in graph.nodes:
        assert set(node.inputs) <= known
        assert node.output not in known
        known.add(node.output)
        kind = graph.types[node.output]
        shapes = [graph.types[name].shape for name in node.inputs]
        assert node.op.shape(*shapes) == kind.shape
        if isinstance(node.op, Conv2d | ConvTranspose2d):
            assert node.weights is not None
            assert node.weights.dtype == np.int8
        else:
            assert kind.bits <= 8
            assert len(kind.scale) == 1
    assert known == set(graph.types)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert graph.head.tensor in known


def test_random_networks_have_every_feature() -> None:
    recipes = [draw(seed) for seed in range(40)]
    for field in (
        "upsampling",
        "down",
        "scales",
        "norm",
        "bias",
        "signed",
        "residual",
        "join",
        "head",
        "final",
        "depth",
    ):
        assert len({getattr(recipe, field) for recipe in recipes}) >= 2, field
    assert any(recipe.height % 8 for recipe in recipes)
    assert any(width % 2 for recipe in recipes for width in recipe.widths)
    assert {b for recipe in recipes for b in recipe.bits} == set(range(2, 9))


def test_pool_and_upsample_types(tmp_path: Path) -> None:
    graph = load(random_unet(7, tmp_path, down="pool", upsampling="nearest"))
    kinds = {type(node.op) for node in graph.nodes}
    assert {MaxPool2d, Upsample2d} <= kinds


def test_loading_needs_no_heavy_import() -> None:
    heavy = ("torch", "qonnx", "onnxruntime", "brevitas")
    code = f"import sys, hwseg.quant.read.load; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
