"""Executors get a tidy model: what a file says beside its nodes, and their order, is no reason for them to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hwseg.errors import HwsegError
from hwseg.quant.read import referee
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.models import random_image

qonnx = pytest.importorskip("qonnx.core.onnx_exec")


def info(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def reverse(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def outside(model: onnx.ModelProto) -> None:
    """External data, which `saved` writes beside the model."""
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)


UNTIDY: dict[str, Callable[[onnx.ModelProto], object]] = {
    "shapes said twice": lambda m: m.graph.value_info.extend([info("conv.out", 1, 2, 8, 8)] * 2),
    "the input's shape said again": lambda m: m.graph.value_info.add(name="x"),
    "a wrong shape": lambda m: m.graph.value_info.extend([info("conv.out", 1, 2, 9, 8)]),
    "reversed": reverse,
    "a dead node that reads nothing": lambda m: m.graph.node.add(op_type="Relu", input=["nowhere"], output=["y"]),
    "external data": outside,
}


@pytest.mark.parametrize("case", UNTIDY)
def test_untidy_models_are_executed(tmp_path: Path, case: str) -> None:
    net = Net()
    model = net.model(net.quant(net.conv(net.image(), 2, 2)))
    UNTIDY[case](model)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    verdict = referee.compare(path, random_image(load(path)), "qonnx", referee.run_qonnx)
    assert verdict.agrees
    assert len(verdict.tensors) == 3


def test_an_executors_failure_is_not_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("two\nlines")

    monkeypatch.setattr(qonnx, "execute_onnx", fails)
    net = Net()
    path = net.save(tmp_path / "net.onnx", net.conv(net.image(), 2, 2))
    with pytest.raises(HwsegError, match=r"qonnx: must not fail executing .* not to blame: AssertionError: two"):
        referee.compare(path, np.zeros((8, 8, 2), np.int64), "qonnx", referee.run_qonnx)
