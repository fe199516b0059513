"""A build holds its model whole: with external data inside, and whatever names its nodes have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from hwseg.builds.build import compile_model
from hwseg.builds.read import load_build
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.handmade import Net


def model(name: str = "conv") -> onnx.ModelProto:
    net = Net()
    return net.model(net.quant(net.conv(net.image(), 2, 3, name=name)))


def test_external_data_moves_into_the_build(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "net.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = load(path).nodes[0].weights
    assert (path.parent / "weights.bin").stat().st_size > 200
    build = compile_model(path, array="sim", out=tmp_path / "build").path
    (path.parent / "weights.bin").unlink()
    with pytest.raises(HwsegError, match="missing"):
        load(path)
    np.testing.assert_array_equal(load(build / "model.onnx").nodes[0].weights, weights)
    assert load_build(build)[1].plans


def test_a_model_without_external_data_is_copied_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model().SerializeToString())
    build = compile_model(path, array="sim", out=tmp_path / "build").path
    assert (build / "model.onnx").read_bytes() == path.read_bytes()


def test_names_of_a_hundred_thousand_characters(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model("n" * 100_000).SerializeToString())
    assert load(compile_model(path, array="sim", out=tmp_path / "build").path / "model.onnx").nodes[0].name
