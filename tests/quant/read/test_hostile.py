"""Model files that nobody means well with: each becomes a graph or one sentence, soon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hwseg.errors import HwsegError
from hwseg.pictures.meaning import older
from hwseg.quant.read.load import load
from tests.quant.handmade import DOMAIN, Net

SECONDS = 10.0
"""For one file, on a busy machine."""

Model = onnx.ModelProto


def outcome(path: Path, model: Model) -> str:
    """The sentence, or nothing if the file loads."""
    path.write_bytes(model.SerializeToString())
    start = perf_counter()
    try:
        load(path)
        sentence = ""
    except HwsegError as error:
        sentence = str(error)
    assert perf_counter() - start < SECONDS
    assert "\n" not in sentence
    assert len(sentence) < 5000
    return sentence


def convolution(change: Callable[[Net, str], str], shape: tuple[int, ...] = (1, 2, 8, 8)) -> Model:
    net = Net(shape)
    return net.model(change(net, net.image()))


def normalized(net: Net, x: str, **numbers: float) -> str:
    given = {"g": 1.0, "b": 0.0, "m": 0.0, "v": 1.0, **numbers}
    return net.node("BatchNormalization", net.conv(x, 2, 2), *(net.const(k, [v] * 2, float) for k, v in given.items()))


def wide(net: Net, x: str, scale: float) -> str:
    """A quantizer whose scale is a double."""
    parameters = [net.const("s", scale, np.float64), net.const("z", 0), net.const("b", 8)]
    return net.node("Quant", x, *parameters, name="q", domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")


NUMBERS = {
    "a scale beyond float32": (lambda n, x: wide(n, n.conv(x, 2, 2), 1e300), "scale must fit float32, reaches 1e+300"),
    "a scale below float32": (lambda n, x: wide(n, n.conv(x, 2, 2), 1e-300), "q: scale must be positive, is 0"),
    "a scale of weights beyond float32": (
        lambda n, x: n.conv(x, 2, 2, weights=wide(n, n.const("w", np.ones((2, 2, 3, 3))), 1e300)),
        "q: scale must fit float32",
    ),
    "an infinite factor": (lambda n, x: n.quant(normalized(n, x, g=1e300, v=1e-30)), ""),
    "an infinite quotient": (
        lambda n, x: n.quant(normalized(n, x, g=1e308, v=0.0, m=1e-300, b=1e308)),
        "gamma / sqrt(variance + epsilon) must be finite",
    ),
    "weights beyond float32": (
        lambda n, x: n.conv(x, 2, 2, weights=n.quant(n.const("w", np.full((2, 2, 3, 3), 1e300), float), name="w")),
        "",
    ),
    "weights of no number": (
        lambda n, x: n.conv(x, 2, 2, weights=n.quant(n.const("w", np.full((2, 2, 3, 3), np.nan)), name="w")),
        "w: quantized constant must be finite numbers",
    ),
    "a bias of no number": (lambda n, x: n.conv(x, 2, 2, bias=n.const("b", [np.nan, 1])), "bias must be finite"),
    "a factor of 1e38 a hundred times": (
        lambda n, x: n.quant(repeated(n, n.conv(x, 2, 2), 100, lambda y, i: n.node("Mul", y, n.const(f"k{i}", 1e38)))),
        "too many multiplications in a row; put a quantizer between them",
    ),
    "an epsilon of no number": (
        lambda n, x: n.node(
            "BatchNormalization", n.conv(x, 2, 2), *(n.const(k, [1, 1]) for k in "gbmv"), epsilon=float("nan")
        ),
        "attribute epsilon of BatchNormalization must be finite, is nan",
    ),
    "a constant output": (
        lambda n, x: (n.quant(n.conv(x, 2, 2)), n.node("Add", n.const("a", [1.0]), n.const("b", [1.0]), name="sum"))[1],
        "sum.out: the output must depend on the image, is a constant",
    ),
}  # fmt: skip


def repeated(net: Net, x: str, count: int, step: Callable[[str, int], str]) -> str:
    for i in range(count):
        x = step(x, i)
    return x


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers(tmp_path: Path, case: str) -> None:
    change, sentence = NUMBERS[case]
    found = outcome(tmp_path / "net.onnx", convolution(change))
    assert sentence in found
    assert (found == "") == (sentence == "")


def pooled(net: Net, x: str) -> str:
    return net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def enlarged(net: Net, x: str) -> str:
    scales = net.const(f"scales{len(net.nodes)}", [1, 1, 2, 2])
    way = "asymmetric"
    return net.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode=way)


LONG = {
    "relus": lambda n, x: n.quant(repeated(n, n.conv(x, 2, 2), 4900, lambda y, _: n.node("Relu", y))),
    "identities": lambda n, x: n.conv(repeated(n, x, 4900, lambda y, _: n.node("Identity", y)), 2, 2),
    "quantizers": lambda n, x: n.conv(repeated(n, x, 2000, lambda y, i: n.quant(y, 2.0 ** -(i % 9))), 2, 2),
    "additions": lambda n, x: n.conv(
        repeated(n, x, 1000, lambda y, _: n.quant(n.node("Add", y, y), 2**-8, signed=0)), 2, 2
    ),
    "addends": lambda n, x: n.quant(
        repeated(n, n.conv(x, 2, 2), 2000, lambda y, i: n.node("Add", y, n.const(f"k{i}", 0.1)))
    ),
    "enlarged and pooled": lambda n, x: n.conv(
        repeated(n, x, 1000, lambda y, _: pooled(n, enlarged(n, y))), 2, 2
    ),
    "waiting enlarged and pooled": lambda n, x: n.quant(
        repeated(n, n.conv(x, 2, 2), 1000, lambda y, _: pooled(n, enlarged(n, y)))
    ),
    "joined with itself": lambda n, x: n.quant(repeated(n, x, 40, lambda y, _: n.node("Concat", y, y, axis=1))),
    "joined and settled": lambda n, x: n.quant(
        repeated(n, x, 40, lambda y, _: n.quant(n.node("Concat", y, y, axis=1), 2**-8, signed=0))
    ),
}  # fmt: skip


@pytest.mark.parametrize("order", ["in order", "reversed", "shuffled"])
@pytest.mark.parametrize("case", LONG)
def test_long_networks_take_no_time(tmp_path: Path, case: str, order: str) -> None:
    model = convolution(LONG[case], (1, 2, 2, 2))
    nodes = list(model.graph.node)
    if order == "reversed":
        nodes.reverse()
    elif order == "shuffled":
        np.random.default_rng(0).shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    outcome(tmp_path / "net.onnx", model)


def test_the_order_of_nodes_changes_nothing_but_their_order(tmp_path: Path) -> None:
    """A file in order keeps it; another order gives the same operations."""
    model = convolution(lambda n, x: n.quant(n.node("Add", *(n.quant(n.conv(x, 2, 2, name=f"c{i}")) for i in "ab"))))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    names = [node.name for node in load(path).nodes]
    nodes = list(model.graph.node)
    for seed in range(5):
        np.random.default_rng(seed).shuffle(nodes)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        path.write_bytes(model.SerializeToString())
        graph = load(path)
        assert sorted(node.name for node in graph.nodes) == sorted(names)
        done = {graph.input}
        for node in graph.nodes:
            assert set(node.inputs) <= done
            done.add(node.output)


def test_a_cycle_is_named_by_one_of_its_nodes(tmp_path: Path) -> None:
    def change(net: Net, x: str) -> str:
        net.node("Add", x, "c.out", name="a")
        net.node("Relu", "a.out", name="b")
        net.node("Relu", "b.out", name="c")
        return net.node("Relu", net.node("Relu", "c.out", name="after"), name="end")

    found = outcome(tmp_path / "net.onnx", convolution(change))
    assert found.split(":")[0] in "abc"
    assert "is part of a cycle" in found


def graph_attribute(model: Model) -> None:
    branch = onnx.AttributeProto(name="then_branch", type=onnx.AttributeProto.GRAPH, g=model.graph)
    model.graph.node.add(op_type="If", name="branch", input=["x"], output=["y"], attribute=[branch])
    model.graph.output[0].name = "y"


def local_function(model: Model) -> None:
    relu = helper.make_node("Relu", ["a"], ["b"])
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], [relu], model.opset_import))
    model.graph.node.add(op_type="Twice", domain="mine", name="f", input=["conv.out"], output=["y"])
    model.graph.output[0].name = "y"


def standard_function(model: Model) -> None:
    """A function by the name of a standard operation."""
    twice = helper.make_node("Add", ["a", "a"], ["b"])
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [twice], model.opset_import))
    model.graph.node.add(op_type="Relu", name="f", input=["conv.out"], output=["y"])
    model.graph.output[0].name = "y"


def sparse(model: Model) -> None:
    model.graph.sparse_initializer.add().dims.extend([1 << 40, 1 << 40])


def strings(model: Model) -> None:
    tensor = model.graph.initializer.add(name="names", data_type=TensorProto.STRING, dims=[2])
    tensor.string_data.extend([b"a", b"\xff\xfe"])


def huge(model: Model) -> None:
    weight = next(t for t in model.graph.initializer if t.name == "conv.weight")
    weight.ClearField("raw_data")
    del weight.dims[:]
    weight.dims.extend([1 << 14, 1 << 14, 1, 1])


def renamed(model: Model, old: str, new: bytes | str) -> Model:
    """With a name changed wherever it stands, in the file's bytes: protobuf writes no bytes that are not UTF-8."""
    data = model.SerializeToString()
    wanted = new if isinstance(new, bytes) else new.encode()
    assert len(old) == len(wanted)
    model = onnx.ModelProto.FromString(data.replace(old.encode(), wanted))
    return model


def many_dims(model: Model) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1] * 100_000)


def many_inputs(model: Model) -> None:
    for i in range(20_000):
        model.graph.input.add(name=f"input number {i}")


def long_names(model: Model) -> None:
    for node in model.graph.node:
        node.name = node.name * 20_000
    model.graph.node[-1].op_type = "Unknown" * 20_000


CHANGES = {
    "a subgraph": (graph_attribute, "branch: operation If is not supported; export the branch"),
    "a function": (local_function, "f: Twice is a function of the file, which is not supported; inline it"),
    "a function of a standard name": (standard_function, "f: Relu is a function of the file, which is not supported"),
    "a sparse tensor": (sparse, "net.onnx: sparse initializers are not supported"),
    "strings": (strings, "names: element type 8 is not supported; use float32"),
    "a huge tensor without numbers": (huge, "needs 268435456 numbers, the file holds 0"),
    "many dimensions": (many_dims, "must have at most 8 sizes"),
    "many inputs": (many_inputs, "must have one input, has 20001"),
    "names without end": (long_names, "is not supported"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changed_files(tmp_path: Path, case: str) -> None:
    change, sentence = CHANGES[case]
    model = convolution(lambda n, x: n.conv(x, 2, 2))
    change(model)
    found = outcome(tmp_path / "net.onnx", model)
    assert sentence in found


@pytest.mark.parametrize("name", ["conv.out", "input.out", "conv.weight", "conv", "pads", "Conv"])
def test_names_that_are_not_utf_8(tmp_path: Path, name: str) -> None:
    model = convolution(lambda n, x: n.conv(x, 2, 2))
    found = outcome(tmp_path / "net.onnx", renamed(model, name, b"\xff" * len(name)))
    assert found == "net.onnx: a text in it is not UTF-8: the file is damaged; " + found.split("; ", 1)[1]


def test_an_input_of_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    net = Net()
    net.shape = (1, 2, 8, 8)
    x = net.quant("picture", 2**-8, signed=0)
    model = net.model(net.conv(x, 2, 2), inputs=("picture",))
    assert "not UTF-8" in outcome(tmp_path / "net.onnx", renamed(model, "picture", b"pictur\xff"))


def test_the_inliners_cure_works(tmp_path: Path) -> None:
    model = convolution(lambda n, x: n.conv(x, 2, 2))
    local_function(model)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    q = [helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in (("s", 2**-4), ("z", 0), ("w", 8))]
    model.graph.initializer.extend(q)
    model.graph.node.add(op_type="Quant", domain=DOMAIN, name="q", input=["y", "s", "z", "w"], output=["end"])
    model.graph.output[0].name = "end"
    assert "inline_local_functions" in outcome(tmp_path / "net.onnx", model)
    import onnx.inliner

    assert outcome(tmp_path / "net.onnx", onnx.inliner.inline_local_functions(model)) == ""


@pytest.mark.parametrize("text", ["1e999999999", "9" * 100_000, "1e-999999999", "nan", "1/0", "1/" + "9" * 5000])
def test_normalizations_that_would_be_computed_for_ever(text: str) -> None:
    start = perf_counter()
    for spec in (f"percentile 0 {text}", f"percentile {text} 100"):
        with pytest.raises(HwsegError) as caught:
            older(spec)
        assert len(str(caught.value)) < 500
    assert perf_counter() - start < SECONDS
    with pytest.raises(HwsegError, match="input_scale"):
        load(scaled(text))


def scaled(text: str) -> Path:
    """A model whose input has a scale in its metadata."""
    import tempfile

    net = Net()
    model = net.model(net.conv("x", 2, 2))
    entry = model.metadata_props.add()
    entry.key, entry.value = "hwseg.input_scale", text
    path = Path(tempfile.mkdtemp()) / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path
