"""Several outputs: one is chosen, what it does not need is left out, and the choice travels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from hwseg import golden
from hwseg.builds.build import compile_model
from hwseg.builds.read import load_build
from hwseg.cli import group
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from hwseg.quant.read.onnx_file import read, self_contained
from hwseg.quant.read.referee import compare, run_qonnx
from tests.quant.handmade import Net
from tests.quant.models import random_image


def two(tmp_path: Path) -> Path:
    """A coarse and a fine map, and in the fine one's branch an operation that is not supported."""
    net = Net()
    x = net.quant(net.node("Relu", net.conv(net.image(), 2, 3, name="stem")), signed=0)
    fine = net.node("InstanceNormalization", net.conv(x, 3, 1, name="fine"), name="norm")
    return net.save(tmp_path / "two.onnx", net.conv(x, 3, 2, kernel=1, name="coarse"), outputs=(fine,))


def test_without_a_choice_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(HwsegError) as caught:
        load(two(tmp_path))
    assert str(caught.value) == (
        "two.onnx: must have one output, has 2: coarse.out, norm.out; choose one: --output coarse.out"
    )


def test_the_cure_works_and_what_is_not_needed_is_left_out(tmp_path: Path) -> None:
    path = two(tmp_path)
    graph = load(path, "coarse.out")
    assert [node.name for node in graph.nodes] == ["stem", "Quant_4", "coarse"]
    assert graph.metadata["hwseg.output"] == "coarse.out"
    # Any tensor may be the output, not only those that the file names.
    assert load(path, "stem.out").head.tensor == "stem.out"


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        HwsegError, match=r"--output: must be a tensor that two\.onnx computes, not 'fin'; choose coarse"
    ):
        load(two(tmp_path), "fin")
    with pytest.raises(HwsegError, match="must be a tensor"):  # a constant is none
        load(two(tmp_path), "stem.weight")


def test_the_copy_is_the_same_network(tmp_path: Path) -> None:
    path = two(tmp_path)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(self_contained(path, "coarse.out"))
    assert [value.name for value in onnx.load(copy).graph.output] == ["coarse.out"]
    one, other = load(path, "coarse.out"), load(copy)
    assert (one.nodes, one.types, one.head, one.metadata) == (other.nodes, other.types, other.head, other.metadata)
    x = random_image(one)
    np.testing.assert_array_equal(golden.run(one, x).output, golden.run(other, x).output)
    assert compare(copy, x, "qonnx", run_qonnx).agrees


def test_a_build_has_the_chosen_output(tmp_path: Path) -> None:
    build = compile_model(two(tmp_path), out=tmp_path / "out", output="coarse.out", array="sim")
    assert json.loads((build.path / "report.json").read_text())["output"] == "coarse.out"
    graph, _, _ = load_build(build.path)
    assert graph.head.tensor == "coarse.out"
    assert graph.metadata["hwseg.output"] == "coarse.out"


@pytest.mark.parametrize("text", ["", "coarse.out", "<script>alert(1)</script>", "[red]x[/]\n\x1b[2J", "x" * 100_000])
def test_what_a_file_says_of_itself_is_no_choice(tmp_path: Path, text: str) -> None:
    """Only an output that was chosen is remembered, in graph, report and copy: any text may stand in metadata."""
    model = onnx.load(two(tmp_path))
    helper.set_model_props(model, {"hwseg.output": text, "other": "kept"})
    path = tmp_path / "said.onnx"
    onnx.save(model, path)
    assert dict(load(path, "coarse.out").metadata) == {"hwseg.output": "coarse.out", "other": "kept"}
    del model.graph.output[1:]
    given = model.graph.output[0].name
    onnx.save(model, path)
    assert dict(load(path).metadata) == {"other": "kept"} | ({"hwseg.output": text} if text == given else {})
    build = compile_model(path, out=tmp_path / "b", array="sim")
    report = json.loads((build.path / "report.json").read_text())
    assert report.get("output") in (None, given)
    graph = json.loads((build.path / "graph.json").read_text())
    assert graph["metadata"].get("hwseg.output") in (None, given)


def test_the_command_compares_it(tmp_path: Path) -> None:
    path = two(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 8, 8), np.float32))
    given = ["golden", str(path), "--image", str(tmp_path / "x.npy"), "--output", "coarse.out"]
    found = CliRunner().invoke(group, [*given, "--compare", "qonnx"])
    assert found.exit_code == 0, found.output
    assert "agree" in found.output
    refused = CliRunner().invoke(group, [*given, "--compare", "brevitas"])
    assert refused.exit_code != 0


def test_scale_and_zero_point_that_a_quant_tensor_leaks_are_no_outputs(tmp_path: Path) -> None:
    net = Net()
    y = net.quant(net.conv(net.image(), 2, 3), name="last")
    zero = helper.make_tensor("z", TensorProto.FLOAT, (), [0])
    net.nodes.append(helper.make_node("Constant", [], ["zero"], value=zero))
    same = net.node("Identity", "last.scale", name="same")
    path = net.save(tmp_path / "net.onnx", y, outputs=(same, "zero", "last.bits"))
    assert read(path).output == y
    assert compare(path, random_image(load(path)), "qonnx", run_qonnx).agrees


def test_constants_alone_are_no_choice(tmp_path: Path) -> None:
    net = Net()
    net.quant(net.conv(net.image(), 2, 3), name="last")
    with pytest.raises(HwsegError, match=r"must have one output, has 2: last\.scale, last\.bits"):
        load(net.save(tmp_path / "net.onnx", "last.scale", outputs=("last.bits",)))


def test_integers_are_no_output(tmp_path: Path) -> None:
    net = Net()
    zero, scale = net.const("zero", 0, np.uint8), net.const("scale", 0.5)
    q = net.node("QuantizeLinear", net.conv(net.image(), 2, 3), scale, zero, name="q")
    y = net.node("DequantizeLinear", q, scale, zero, name="d")
    path = net.save(tmp_path / "net.onnx", y)
    with pytest.raises(HwsegError, match=r"q\.out: the output must be what a DequantizeLinear gives"):
        load(path, q)
    assert load(path, y).head.activation == "none"
