"""QONNX files made node by node, for what no exporter would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


class Net:
    """A graph under construction; every method returns the name of the tensor it makes."""

    def __init__(self, shape: tuple[int | str, ...] = (1, 2, 8, 8), opset: int = 13) -> None:
        self.shape = shape
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def const(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        name = name or f"{op}_{len(self.nodes)}"
        names = [f"{name}.out{i}" if i else f"{name}.out" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain, **attributes))
        return names[0]

    def quant(
        self, x: str, scale: Any = 2**-4, bits: float = 8, zero: float = 0, name: str = "", **attributes: Any
    ) -> str:
        name = name or f"Quant_{len(self.nodes)}"
        parameters = [
            self.const(f"{name}.{what}", value) for what, value in (("scale", scale), ("zero", zero), ("bits", bits))
        ]
        given = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
        return self.node("Quant", x, *parameters, name=name, domain=DOMAIN, **given)

    def image(self, **choices: Any) -> str:
        """The input behind a quantizer of pixels."""
        return self.quant("x", **{"scale": 2**-8, "signed": 0, "name": "input", **choices})

    def weights(self, name: str, shape: tuple[int, ...], scale: Any = 2**-6, bits: float = 8, **choices: Any) -> str:
        w = self.rng.uniform(-1, 1, shape)
        return self.quant(self.const(f"{name}.weight", w), scale, bits, name=f"{name}.quant", narrow=1, **choices)

    def conv(
        self, x: str, ins: int, outs: int, kernel: int = 3, name: str = "conv", bias: str = "", **given: Any
    ) -> str:
        weights = given.pop("weights", None) or self.weights(name, (outs, ins, kernel, kernel))
        attributes = {"pads": [kernel // 2] * 4, "strides": [1, 1], "kernel_shape": [kernel] * 2, **given}
        inputs = [x, weights, bias] if bias else [x, weights]
        return self.node("Conv", *inputs, name=name, **attributes)

    def model(self, output: str, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ()) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "handmade",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (output, *outputs)],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def save(self, path: Path, output: str, **choices: Any) -> Path:
        path.write_bytes(self.model(output, **choices).SerializeToString())
        return path
