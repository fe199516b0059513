"""Files with QuantizeLinear and DequantizeLinear: made node by node, and as onnxruntime's quantizer writes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.quant.handmade import Net


class LinearNet(Net):
    """Quantizers in two or three nodes.  kind, zero: of activations, and whether they are signed says `low`."""

    def linear(
        self, x: str, scale: Any = 2**-4, kind: Any = np.uint8, zero: Any = 0, name: str = "", **given: Any
    ) -> str:
        """clip: the Clip's range.  constant: integers instead of what `x` holds.  axis, of many scales."""
        name = name or f"q{len(self.nodes)}"
        clip, constant = given.pop("clip", None), given.pop("constant", None)
        parameters = [self.const(f"{name}.scale", scale), self.const(f"{name}.zero", zero, kind)]
        q = self.const(f"{name}.int", constant, kind) if constant is not None else ""
        q = q or self.node("QuantizeLinear", x, *parameters, name=name, **given)
        if clip is not None:
            ends = [self.const(f"{name}.{what}", end, kind) for what, end in zip(("low", "high"), clip, strict=True)]
            q = self.node("Clip", q, *ends, name=f"{name}/Clip")
        return self.node("DequantizeLinear", q, *parameters, name=f"{name}/DequantizeLinear", **given)

    def linear_conv(self, x: str, ins: int, outs: int, kernel: int = 3, name: str = "conv", **given: Any) -> str:
        q = self.rng.integers(-20, 21, (outs, ins, kernel, kernel))
        weights = self.linear("", 2**-6, np.int8, 0, f"{name}.w", constant=q)
        bias = self.linear("", 2**-10, np.int32, 0, f"{name}.b", constant=self.rng.integers(-900, 900, outs))
        return self.conv(x, ins, outs, kernel, name, bias, weights=weights, **given)


def small(net: LinearNet, kind: Any = np.int8) -> str:
    """A U-Net of one level with power-of-two scales; its last tensor is quantized probabilities."""
    zero = -128 if kind is np.int8 else 0
    x = net.linear("x", 2**-8, kind, zero, "input")
    a = net.linear(net.node("Relu", net.linear_conv(x, 2, 5, name="a")), 2**-4, kind, zero, "qa")
    b = net.linear(
        net.linear_conv(net.node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 5, 7, name="b"),
        2**-3,
        np.int8,
        0,
        "qb",
    )
    t = net.linear("", 2**-5, np.int8, 0, "t.w", constant=net.rng.integers(-20, 21, (7, 3, 2, 2)))
    up = net.linear(net.node("ConvTranspose", b, t, strides=[2, 2]), 2**-3, np.uint8, 128, "qt")
    joined = net.linear(net.node("Concat", a, up, axis=1), 2**-3, np.int8, 0, "join", clip=(-100, 90))
    y = net.linear(net.node("Relu", net.linear_conv(joined, 8, 4, name="c")), 2**-3, np.uint8, 0, "qc", clip=(0, 15))
    p = net.node("Sigmoid", net.linear(net.linear_conv(y, 4, 1, 1, name="head"), 2**-4, np.int8, 0, "logit"))
    return net.linear(p, 2**-8, kind, zero, "probability")


def float_unet(path: Path, channels: int = 3, size: int = 16, seed: int = 0) -> Path:
    """A float U-Net of one level, as it is before it is quantized."""
    rng, nodes, constants = np.random.default_rng(seed), [], []

    def const(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(op: str, *inputs: str, **given: Any) -> str:
        name = f"{op}_{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [f"{name}.out"], name=name, **given))
        return f"{name}.out"

    def conv(x: str, ins: int, outs: int, kernel: int) -> str:
        w = const(f"w{len(constants)}", rng.normal(0, (ins * kernel**2) ** -0.5, (outs, ins, kernel, kernel)))
        return node("Conv", x, w, const(f"b{len(constants)}", rng.normal(0, 0.1, outs)), pads=[kernel // 2] * 4)

    a = node("Relu", conv("x", channels, 4, 3))
    b = node("Relu", conv(node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 4, 8, 3))
    up = node("ConvTranspose", b, const("t", rng.normal(0, 0.3, (8, 4, 2, 2))), strides=[2, 2], kernel_shape=[2, 2])
    y = node("Relu", conv(node("Concat", a, up, axis=1), 8, 4, 3))
    out = node("Sigmoid", conv(y, 4, 1, 1))
    shape = (1, channels, size, size)
    graph = helper.make_graph(
        nodes, "float", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, (1, 1, size, size))], constants,
    )  # fmt: skip
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()
    )
    return path


def quantize_static(source: Path, target: Path, **choices: Any) -> Path:
    """The file that onnxruntime's `quantize_static` makes, calibrated on random pictures."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    shape = [d.dim_value for d in onnx.load(source).graph.input[0].type.tensor_type.shape.dim]

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self.left: Iterator[dict[str, np.ndarray]] = iter([{"x": rng.random(shape, np.float32)} for _ in range(3)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(str(source), str(target), Pictures(), **choices)
    return target
