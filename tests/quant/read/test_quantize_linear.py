"""QDQ and QCDQ files: the integers of their QONNX twins and of onnxruntime, or one sentence with a cure that works."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.ir import Graph, Rounding
from hwseg.quant.read import referee
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences
from tests.quant.models import build as random_model
from tests.quant.models import draw, one_thread, random_image
from tests.quant.read.qdq import LinearNet, float_unet, quantize_static, small

runtime = pytest.importorskip("onnxruntime")
QuantType = pytest.importorskip("onnxruntime.quantization").QuantType


def judged(path: Path, seed: int = 0) -> tuple[Graph, referee.Verdict]:
    graph = load(path)
    return graph, referee.compare(path, random_image(graph, seed), "onnxruntime", referee.run_onnxruntime)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_every_integer_is_onnxruntimes(tmp_path: Path, kind: Any) -> None:
    """Power-of-two scales: nothing rounds in float32, so nothing may differ."""
    net = LinearNet((1, 2, 12, 20))
    graph, verdict = judged(net.save(tmp_path / "net.onnx", small(net, kind)))
    shown = {row.tensor for row in verdict.tensors if row.kind == "activation"}
    assert {f"{name}/DequantizeLinear.out" for name in ("qa", "qb", "qt", "join", "qc", "logit")} <= shown
    assert (verdict.different, verdict.own, verdict.agrees) == (0, 0, True)
    assert graph.types["x"].interval == (0, 255)
    assert graph.head.activation == "sigmoid"
    assert graph.head.rounding == Rounding(Fraction(1, 256), 0, 255)


def test_int8_with_zero_point_minus_128_is_uint8(tmp_path: Path) -> None:
    graphs = []
    for kind in (np.int8, np.uint8):
        net = LinearNet((1, 2, 12, 20))
        graphs.append(load(net.save(tmp_path / "net.onnx", small(net, kind))))
    assert graphs[0] == graphs[1]


def test_what_a_clip_leaves_is_the_range(tmp_path: Path) -> None:
    net = LinearNet()
    x = net.linear("x", 2**-8, np.int8, -8, "input", clip=(-8, 7))
    graph = load(net.save(tmp_path / "net.onnx", net.linear_conv(x, 2, 3)))
    assert graph.types["x"].interval == (0, 15)
    assert [node.name for node in graph.nodes] == ["conv"], "the picture itself has that range"


def test_a_clip_that_others_pass_by_is_a_quantizer_of_its_own(tmp_path: Path) -> None:
    net = LinearNet()
    x = net.linear("x", 2**-8, np.uint8, 0, "input", clip=(0, 15))
    whole = net.node("DequantizeLinear", "input.out", "input.scale", "input.zero")
    path = net.save(tmp_path / "net.onnx", net.linear_conv(net.node("Concat", x, whole, axis=1), 4, 3))
    graph, verdict = judged(path)
    assert graph.types["x"].interval == (0, 255)
    assert verdict.agrees
    assert verdict.different == 0


def test_weights_by_channel_with_any_zero_point(tmp_path: Path) -> None:
    """Constants are read as integers less their zero point: floats behind a quantizer, and uint8 around 128."""
    net = LinearNet()
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    floats = net.const("floats", net.rng.uniform(-1, 1, (3, 2, 3, 3)))
    by_channel = net.linear(floats, [2**-6, 2**-7, 2**-5], np.int8, [0, 0, 0], "w", axis=0)
    around = net.linear("", 2**-6, np.uint8, 128, "u", constant=net.rng.integers(0, 256, (3, 2, 3, 3)))
    both = [net.conv(x, 2, 3, name=name, weights=w) for name, w in (("a", by_channel), ("b", around))]
    path = net.save(tmp_path / "net.onnx", net.node("Concat", *(net.linear(y, 2**-2) for y in both), axis=1))
    graph, verdict = judged(path)
    assert verdict.agrees
    assert verdict.different == 0
    assert graph.types["a.out"].scale == (Fraction(1, 1 << 14), Fraction(1, 1 << 15), Fraction(1, 1 << 13))


STATIC: dict[str, dict[str, Any]] = {
    "defaults": {},
    "uint8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "symmetric": {"extra_options": {"ActivationSymmetric": True}},
    "by channel": {"extra_options": {"ActivationSymmetric": True}, "per_channel": True},
    "weights as floats": {"extra_options": {"ActivationSymmetric": True, "AddQDQPairToWeight": True}},
    "with every ReLU": {"extra_options": {"ActivationSymmetric": True, "QDQKeepRemovableActivations": True}},
}


@pytest.mark.parametrize("name", STATIC)
def test_what_quantize_static_writes(tmp_path: Path, name: str) -> None:
    path = quantize_static(float_unet(tmp_path / "float.onnx"), tmp_path / "net.onnx", **STATIC[name])
    graph, verdict = judged(path)
    assert verdict.agrees, verdict
    assert graph.head.rounding is not None
    for array in ("8x2x2", "16x4x4"):
        assert differences(compiled(graph, parse_array(array))) == {}


def test_a_picture_of_9_bits_is_refused_with_the_cure(tmp_path: Path) -> None:
    """`test_what_quantize_static_writes` has the cure."""
    net = LinearNet()
    path = net.save(tmp_path / "net.onnx", net.linear_conv(net.linear("x", 2**-8, np.int8, 3, "input"), 2, 3))
    with pytest.raises(HwsegError, match=r"input: the picture must have at most 8 bits, has 9: .* -131 to 124; .*Symm"):
        load(path)


@pytest.mark.parametrize("seed", [0, 3])
def test_brevitas_exports_the_same_network_both_ways(tmp_path: Path, seed: int) -> None:
    import torch
    from brevitas.export import export_onnx_qcdq, export_qonnx

    recipe = draw(seed)
    model, shape = random_model(recipe), (1, recipe.channels, recipe.height, recipe.width)
    with one_thread(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, export in (("qonnx", export_qonnx), ("qcdq", export_onnx_qcdq)):
            export(model, args=torch.rand(shape), export_path=str(tmp_path / f"{name}.onnx"), dynamo=False)
    one, other = (load(tmp_path / f"{name}.onnx") for name in ("qonnx", "qcdq"))
    assert [type(node.op) for node in one.nodes] == [type(node.op) for node in other.nodes]
    assert one.types[one.input] == other.types[other.input]
    image = random_image(one, seed)
    found = [golden.run(graph, image) for graph in (one, other)]
    for a, b in zip(one.nodes, other.nodes, strict=True):
        assert np.array_equal(found[0].tensors[a.output], found[1].tensors[b.output]), a.name
    assert np.array_equal(found[0].mask, found[1].mask)
    assert np.array_equal(found[0].output, found[1].output)


def broken(change: Any) -> LinearNet:
    """A sound file, then `change(net, quantized input)` gives its output."""
    net = LinearNet()
    net.result = change(net, net.linear("x", 2**-8, np.uint8, 0, "input"))  # type: ignore[attr-defined]
    return net


def other_scale(net: LinearNet, x: str) -> str:
    q = net.node("QuantizeLinear", net.linear_conv(x, 2, 3), net.const("s", 0.5), net.const("z", 0, np.int8), name="q")
    return net.node("DequantizeLinear", q, net.const("s2", 0.25), "z", name="dq")


def integers_used(net: LinearNet, x: str) -> str:
    q = net.node("QuantizeLinear", net.linear_conv(x, 2, 3), net.const("s", 0.5), net.const("z", 0, np.int8), name="q")
    return net.node("MaxPool", q, kernel_shape=[2, 2], strides=[2, 2], name="pool")


REFUSED = {
    "two scales": (other_scale, "dq: scale and zero point must be those of q; give"),
    "integers": (integers_used, "pool: input 0 must be an activation, 'q.out' is integers of q; put a Dequantize"),
    "a product of 9 bits": (
        lambda n, x: n.node("Mul", n.linear(n.linear_conv(x, 2, 2), 0.5, np.uint8, 3, "q"), x, name="mul"),
        "mul: q/DequantizeLinear.out must have at most 8 bits, has 9 because of its zero point; quantize",
    ),
    "a shuffle of 9 bits": (
        lambda n, x: n.node(
            "DepthToSpace", n.linear(n.linear_conv(x, 2, 4), 0.5, np.uint8, 3, "q"), blocksize=2, name="up"
        ),
        "up: q/DequantizeLinear.out must have at most 8 bits, has 9 because of its zero point; quantize",
    ),
    "9 bits of two scales": (
        lambda n, x: n.linear_conv(
            n.node(
                "Concat", *(n.linear(n.linear_conv(x, 2, 2, name=f"c{s}"), s, np.uint8, 3, f"q{s}") for s in (1, 2)),
                axis=1, name="join",
            ), 4, 3, name="b",
        ),
        "join: concatenated branches must have one scale, q1/DequantizeLinear.out/base has 1 and q2/Dequ",
    ),
    "9 bits of very many channels": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 30_000, 1), 0.5, np.uint8, 3, "q"),
        "q/DequantizeLinear.out/sum: 30000 channels of 9 bits must make at most 268435456 weights of a 1x1 layer; use",
    ),
    "9 bits of a 16-bit type": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 3), 0.5, np.uint16, 3, "q", clip=(0, 255)),
        "q: activations must have at most 8 bits, these have 9; use 2 to 8 bits",
    ),
    "a zero point that is clipped away": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 3), 0.5, np.uint8, 0, "q", clip=(2, 9)),
        "q/DequantizeLinear: the zero point 0 must be among the integers, which are from 2 to 9; let 0.0 be",
    ),
    "scales by channel": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 3), [0.5, 0.25, 1], np.int8, [0] * 3, "q", axis=1),
        "q: activations must have one scale, these have 3; use per-tensor",
    ),
    "16 bits": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 3), 0.5, np.int16, 0, "q"),
        "q: activations must have at most 8 bits, these have 16; use 2 to 8 bits",
    ),
    "a float zero point": (
        lambda n, x: n.linear(n.linear_conv(x, 2, 3), 0.5, np.float32, 0, "q"),
        "q: zero point must be integers, is of type float32; quantize to int8 or uint8",
    ),
    "floats to be dequantized": (
        lambda n, x: n.node("DequantizeLinear", x, "input.scale", "input.zero", name="dq"),
        "dq: must read what QuantizeLinear or Clip gives, or constant integers, not 'input/DequantizeLinear.out'",
    ),
    "a clip of numbers at the end": (
        lambda n, x: n.node("Clip", n.linear_conv(x, 2, 3), n.const("a", 0), n.const("b", 6), name="six"),
        "six.out: the output must be a quantized tensor or a convolution's",
    ),
    "a comparison of a rounded probability": (
        lambda n, x: n.node(
            "Greater", n.linear(n.node("Sigmoid", n.linear_conv(x, 2, 1)), 2**-8), n.const("c", 0.5), name="more"
        ),
        "more: must compare the probability itself, not a rounded one; leave the quantizer",
    ),
    "an axis that is none": (
        lambda n, x: n.conv(
            x, 2, 3, weights=n.linear("", [0.5] * 3, np.int8, [0] * 3, "w", constant=np.ones((3, 2, 3, 3)), axis=7)
        ),
        "w/DequantizeLinear: scale and zero point must be one number or one per channel, have shape (3,) with axis 7",
    ),
    "an axis of another length": (
        lambda n, x: n.conv(
            x, 2, 3, weights=n.linear("", [0.5] * 3, np.int8, [0] * 3, "w", constant=np.ones((3, 2, 3, 3)), axis=1)
        ),
        "w/DequantizeLinear: scale (1, 3, 1, 1) must fit the constant (3, 2, 3, 3); quantize per tensor or",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    change, sentence = REFUSED[name]
    net = broken(change)
    with pytest.raises(HwsegError) as caught:
        load(net.save(tmp_path / "net.onnx", net.result))  # type: ignore[attr-defined]
    assert str(caught.value).startswith(sentence)


def test_a_last_quantizer_is_part_of_the_output_not_of_the_mask(tmp_path: Path) -> None:
    """The model gives rounded probabilities; the mask is where they are above one half before that."""
    net = LinearNet()
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    p = net.node("Sigmoid", net.linear_conv(x, 2, 1, 1))
    graph = load(net.save(tmp_path / "net.onnx", net.linear(p, 0.25, np.uint8, 0, "p", clip=(0, 3))))
    result = golden.run(graph, random_image(graph, 0))
    assert set(np.unique(result.output)) <= {0, 0.25, 0.5, 0.75}
    sums = golden.head_integers(graph.head, result.tensors[graph.head.tensor])
    assert np.array_equal(result.mask, sums[:, :, 0] > 0)


def test_onnxruntime_is_not_asked_about_qonnx(tmp_path: Path) -> None:
    net = LinearNet()
    path = net.save(tmp_path / "net.onnx", net.conv(net.image(), 2, 3))
    with pytest.raises(HwsegError, match="does not know the operation Quant; use --compare qonnx"):
        referee.run_onnxruntime(path, np.zeros((1, 2, 8, 8), np.float32))


def test_integers_of_other_sizes_are_checked(tmp_path: Path) -> None:
    """A file that says int16 weights is refused by what they need, not by its element type."""
    net = LinearNet()
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    w = net.linear("", 2**-6, np.int16, 0, "w", constant=np.full((3, 2, 3, 3), 300))
    with pytest.raises(HwsegError, match="weights must have at most 8 bits, reach 300"):
        load(net.save(tmp_path / "net.onnx", net.conv(x, 2, 3, weights=w)))
