"""A file for another size is the same network, whatever says its size in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hwseg import golden, models
from hwseg.builds.build import compile_model
from hwseg.builds.read import load_graph
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from hwseg.quant.read.reshape import parse_size, reshaped_file, same
from hwseg.reach import reshaped
from tests.quant.handmade import Net
from tests.quant.models import random_unet
from tests.segment.networks import small


def check(path: Path, size: tuple[int, int], folder: Path) -> None:
    """The file at another size loads, and computes what the graph at that size does."""
    content, graph = reshaped_file(path, size)
    target = folder / "other.onnx"
    target.write_bytes(content)
    found = load(target)
    assert same(found, graph)
    assert same(found, reshaped(load(path), size))
    assert found.types[found.input].shape[:2] == size


@pytest.mark.parametrize("seed", range(6))
def test_networks_as_brevitas_exports_them(tmp_path, seed):
    path = random_unet(seed, tmp_path)
    graph = load(path)
    height, width, _ = graph.types[graph.input].shape
    check(path, (2 * height, 3 * width), tmp_path)


@pytest.mark.parametrize("name", models.NAMES)
def test_shipped_models(tmp_path, name):
    check(models.path(name), (256, 136), tmp_path)
    content, _ = reshaped_file(models.path(name), (256, 136))
    metadata = {entry.key: entry.value for entry in onnx.ModelProto.FromString(content).metadata_props}
    assert metadata["hwseg.size"] == "256x136"


def test_enlarging_to_a_size_that_is_a_constant(tmp_path):
    """As exporters write it that trace the size: it would be the old one."""
    model = onnx.ModelProto.FromString(small(tmp_path / "a.onnx").read_bytes())
    (node,) = [n for n in model.graph.node if n.op_type == "Resize"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4, 24, 24], np.int64), "up.sizes"))
    node.input[2] = ""
    node.input.append("up.sizes")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    assert same(load(tmp_path / "b.onnx"), load(tmp_path / "a.onnx"))
    check(tmp_path / "b.onnx", (36, 48), tmp_path)


def test_a_file_of_open_size_gets_one(tmp_path):
    model = onnx.ModelProto.FromString(small(tmp_path / "a.onnx").read_bytes())
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "HW", strict=True):
        dim.dim_param = name
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(HwsegError, match="must be a fixed size"):
        load(tmp_path / "open.onnx")
    _, graph = reshaped_file(tmp_path / "open.onnx", (24, 24))
    assert same(graph, load(tmp_path / "a.onnx"))


def test_a_size_that_the_poolings_do_not_divide(tmp_path):
    with pytest.raises(HwsegError, match=r"has operands of 25x24 and 24x24|pooling by 2 must divide the map"):
        reshaped_file(small(tmp_path / "a.onnx"), (25, 24))


def test_a_file_that_does_not_load_has_its_own_sentence(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(HwsegError, match="is not an ONNX file"):
        reshaped_file(tmp_path / "no.onnx", (8, 8))
    with pytest.raises(HwsegError, match="there is no such file"):
        reshaped_file(tmp_path / "nowhere.onnx", (8, 8))


def test_a_crop_that_cuts_at_the_old_size_is_refused(tmp_path):
    net = Net((1, 1, 8, 8))
    x = net.image()
    axes, ends = net.const("ends.axes", [2, 3], np.int64), net.const("ends", [8, 8], np.int64)
    cut = net.node("Slice", x, net.const("starts", [0, 0], np.int64), ends, axes)
    path = net.save(tmp_path / "cut.onnx", net.conv(cut, 1, 1))
    load(path)
    with pytest.raises(HwsegError):
        reshaped_file(path, (16, 16))


def test_a_build_for_another_size_is_of_that_size_throughout(tmp_path):
    meaning = json.dumps({"format": 1, "values": "unit", "bits": 8})
    path = small(tmp_path / "a.onnx", hwseg__input=meaning)
    build = compile_model(path, array="sim", out=tmp_path / "build", size=(36, 48))
    graph = load_graph(tmp_path / "build")
    assert graph.types[graph.input].shape == (36, 48, 1)
    assert same(graph, build.program.graph)
    assert graph.metadata["hwseg.input"] == meaning
    q = np.random.default_rng(0).integers(0, 256, (36, 48, 1))
    assert np.array_equal(golden.run(graph, q).mask, golden.run(reshaped(load(path), (36, 48)), q).mask)


@pytest.mark.parametrize("text", ["", "x", "0", "12x", "1x2x3", "-4", "٣", "1e3", "9999999"])
def test_sizes_that_are_none(text):
    with pytest.raises(HwsegError, match="--tile: must be HEIGHTxWIDTH"):
        parse_size(text, "--tile")
