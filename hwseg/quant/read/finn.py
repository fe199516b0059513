"""finn-base's executor as a second referee: qonnx's ancestor of 2021, with its own arithmetic of Quant nodes.

It needs help on a machine of today: the table `onnx.mapping`, which onnx dropped; Quant nodes in a domain that it
knows; and an operator set of at most 11.  The arithmetic is untouched.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hwseg.borders import tool
from hwseg.errors import HwsegError, require
from hwseg.quant.read.onnx_file import read
from hwseg.quant.read.referee import tidied

OPSET = 11
NEWER = {
    "ArgMax": ("select_last_index",),
    "BatchNormalization": ("training_mode",),
    "Resize": ("antialias", "keep_aspect_ratio_policy"),
}
"""Attributes that operator set 11 does not know; the loader has refused values other than their defaults."""


def run_finn(path: Path, x: np.ndarray) -> Mapping[str, np.ndarray]:
    """Every tensor as finn-base's executor computes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _restore_mapping()
        try:
            from finn.core.modelwrapper import ModelWrapper
            from finn.core.onnx_exec import execute_onnx
            from qonnx.core.modelwrapper import ModelWrapper as QonnxWrapper
            from qonnx.transformation.infer_shapes import InferShapes
        except ImportError:
            raise HwsegError(
                "--compare finn", "needs finn-base and qonnx", "pip install 'hwseg[train,referee]'"
            ) from None
        softmax = any(node.op == "Softmax" for node in read(path).nodes)
        require(not softmax, path.name, "Softmax over channels is not in operator set 11", "use --compare qonnx")
        with tool("finn-base", f"executing {path.name}", "use --compare qonnx"):
            model = ModelWrapper(_adapted(QonnxWrapper(tidied(path)).transform(InferShapes()).model))
            return dict(execute_onnx(model, {read(path).input: x}, return_full_exec_context=True))


def _restore_mapping() -> None:
    """The element types that finn-base looks up."""
    if hasattr(onnx, "mapping"):
        return
    table = {number: helper.tensor_dtype_to_np_dtype(number) for number in (1, 2, 3, 6, 7, 9, 10, 11)}
    mapping = types.ModuleType("onnx.mapping")
    mapping.__dict__["TENSOR_TYPE_TO_NP_TYPE"] = table
    onnx.__dict__["mapping"] = mapping
    sys.modules["onnx.mapping"] = mapping


def _adapted(model: onnx.ModelProto) -> onnx.ModelProto:
    adapted = onnx.ModelProto()
    adapted.CopyFrom(model)
    graph = adapted.graph
    graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), "finn/roi"))
    graph.value_info.append(helper.make_tensor_value_info("finn/roi", onnx.TensorProto.FLOAT, [0]))
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            node.domain = "finn.custom_op.general"
        if node.op_type == "Resize" and node.input[1] == "":
            node.input[1] = "finn/roi"
        kept = [a for a in node.attribute if a.name not in NEWER.get(node.op_type, ())]
        del node.attribute[:]
        node.attribute.extend(kept)
    del adapted.opset_import[:]
    adapted.opset_import.append(helper.make_opsetid("", OPSET))
    return adapted
