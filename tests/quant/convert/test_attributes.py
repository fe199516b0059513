"""Unusual attributes of ONNX's operations: each is read as onnxruntime computes it, or refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
onnxruntime = pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.fit import fit  # noqa: E402
from hwseg.quant.convert.from_onnx import load  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

SIDE, CHANNELS = 16, 4
Node = tuple[str, Sequence[Any], dict[str, Any]]
"""An operation on `r` or what the one before gives, its other inputs (arrays, or names) and its attributes."""


def _made(path: Path, nodes: Sequence[Node], opset: int) -> Path:
    """A convolution and a ReLU, `r`, and nodes on them."""
    random = np.random.default_rng(0)
    weights = (random.standard_normal((CHANNELS, 1, 3, 3)) / 3).astype(np.float32)
    constants, last = {"w": weights}, "r"
    made = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"])]
    for number, (op, more, attributes) in enumerate(nodes):
        names = [] if any(isinstance(one, str) and one == "r" for one in more) else [last]
        for i, one in enumerate(more):
            names.append(one if isinstance(one, str) else f"k{number}_{i}")
            if not isinstance(one, str):
                constants[names[-1]] = one
        last = f"y{number}"
        made.append(helper.make_node(op, names, [last], name=f"n{number}", **attributes))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    result = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "g", [given], [result], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def _floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def _ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _weights(*shape: int) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(shape) / 4).astype(np.float32)


W3, W4, W2 = (_weights(CHANNELS, CHANNELS, k, k) for k in (3, 4, 2))
TWICE, EACH = _floats(1, 1, 2, 2), _weights(CHANNELS, 1, 1)
HALF = {"kernel_shape": [2, 2], "strides": [2, 2]}
OVERLAP = {"kernel_shape": [3, 3], "strides": [2, 2]}

READ: dict[str, tuple[list[Node], int]] = {
    "same, kernel 3": ([("Conv", [W3], {"auto_pad": "SAME_UPPER"})], 17),
    "same, kernel 4 by 2": ([("Conv", [W4], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})], 17),
    "valid": ([("Conv", [W3], {"auto_pad": "VALID", "kernel_shape": [3, 3]})], 17),
    "pool, same": ([("MaxPool", [], {**HALF, "auto_pad": "SAME_UPPER"})], 17),
    "pool, ceil that changes nothing": ([("MaxPool", [], {**HALF, "ceil_mode": 1})], 17),
    "pool by 1": ([("MaxPool", [], {"kernel_shape": [2, 2]})], 17),
    "mean pool, counted": ([("AveragePool", [], {**OVERLAP, "pads": [1] * 4, "count_include_pad": 1})], 17),
    "mean pool, nothing to count": ([("AveragePool", [], HALF)], 17),
    "transposed, same": ([("ConvTranspose", [W4], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})], 17),
    "transposed, of a shape": ([("ConvTranspose", [W4], {"output_shape": [32, 32], "strides": [2, 2]})], 17),
    "transposed, valid": ([("ConvTranspose", [W2], {"auto_pad": "VALID", "strides": [2, 2]})], 17),
    "scales of two axes": ([("Resize", ["", _floats(2, 2)], {"axes": [2, 3]})], 18),
    "sizes of turned axes": ([("Resize", ["", "", _ints(32, 32, 1, 4)], {"axes": [3, 2, 0, 1]})], 18),
    "enlarge by one": ([("Resize", ["", _floats(1, 1, 1, 1)], {"mode": "linear"})], 17),
    "upsample": ([("Upsample", [TWICE], {})], 9),
    "resize of old": ([("Resize", [TWICE], {})], 10),
    "hard sigmoid of ONNX": ([("HardSigmoid", [], {})], 17),
    "hard sigmoid of PyTorch": ([("HardSigmoid", [], {"alpha": 1 / 6})], 17),
    "hard sigmoid of others": ([("HardSigmoid", [], {"alpha": 0.3, "beta": 0.1})], 17),
    "leaky": ([("Neg", [], {}), ("LeakyRelu", [], {})], 17),
    "elu": ([("Neg", [], {}), ("Elu", [], {"alpha": 2.0})], 17),
    "gelu": ([("Gelu", [], {"approximate": "tanh"})], 20),
    "slopes": ([("Neg", [], {}), ("PRelu", [EACH], {})], 17),
    "difference of maps": ([("Conv", [W3], {"pads": [1] * 4}), ("Sub", ["r", "y0"], {})], 17),
    "a constant less a map": ([("Sub", [EACH, "r"], {})], 17),
    "pads of two axes": ([("Pad", [_ints(1, 0, 2, 1), "", _ints(3, 2)], {})], 18),
    "pads of less than nothing": ([("Pad", [_ints(0, 0, -1, 2, 0, 0, -2, -1)], {})], 17),
    "pads of old": ([("Pad", [], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 0.0})], 10),
    "mean of turned axes": ([("ReduceMean", [_ints(-1, -2)], {})], 18),
    "there and back": ([("Transpose", [], {"perm": [0, 2, 3, 1]}), ("Transpose", [], {"perm": [0, 3, 1, 2]})], 17),
    "dropout": ([("Dropout", [_floats(0.5).reshape(()), np.array(False)], {})], 17),
    "cast": ([("Cast", [], {"to": TensorProto.DOUBLE}), ("Cast", [], {"to": TensorProto.FLOAT})], 17),
    "groups": ([("GroupNormalization", [_weights(4), _weights(4)], {"num_groups": 2, "epsilon": 0.1})], 21),
    "groups by instances": (
        [
            ("Reshape", [_ints(0, 2, -1)], {}),
            ("InstanceNormalization", [_weights(2), _weights(2)], {}),
            ("Reshape", [_ints(1, CHANNELS, SIDE, SIDE)], {}),
        ],
        17,
    ),
    "batch norm": ([("BatchNormalization", [_weights(4)] * 3 + [_floats(1, 2, 3, 4)], {"momentum": 0.5})], 17),
}
REFUSED: dict[str, tuple[list[Node], int, str]] = {
    "same by 2": ([("Conv", [W3], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})], 17, r"pads .* by \[1, 1\] in all"),
    "same, even": ([("Conv", [W2], {"auto_pad": "SAME_LOWER"})], 17, "not the same on all sides"),
    "pool, same": ([("MaxPool", [], {**OVERLAP, "auto_pad": "SAME_UPPER"})], 17, "not the same on all sides"),
    "pool, ceil": ([("MaxPool", [], {**OVERLAP, "ceil_mode": 1})], 17, "ceil_mode must be 0, or change nothing"),
    "pool, dilated": ([("MaxPool", [], {**OVERLAP, "pads": [1] * 4, "dilations": [2, 2]})], 17, "dilation of a pool"),
    "mean pool, dilated": ([("AveragePool", [], {**HALF, "dilations": [2, 2]})], 19, "dilation of a pooling"),
    "mean pool, not counted": ([("AveragePool", [], {**OVERLAP, "pads": [1] * 4})], 17, "count_include_pad must be 1"),
    "mean pool, same": (
        [("AveragePool", [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"})],
        17,
        "count_include_pad must be 1",
    ),
    "transposed, of a shape": (
        [("ConvTranspose", [W3], {"output_shape": [32, 32], "strides": [2, 2]})],
        17,
        "not the same on all sides",
    ),
    "linear of old": ([("Resize", [TWICE], {"mode": "linear"})], 10, "linear with asymmetric"),
    "upsample, linear": ([("Upsample", [TWICE], {"mode": "linear"})], 9, "linear with asymmetric"),
    "antialias": ([("Resize", ["", TWICE], {"mode": "linear", "antialias": 1})], 18, "antialias of Resize must be 0"),
    "cubic": ([("Resize", ["", TWICE], {"mode": "cubic"})], 17, "mode of Resize must be nearest or linear"),
    "enlarge one way": ([("Resize", ["", _floats(1, 1, 1, 2)], {})], 17, "both by one whole number"),
    "batch norm that trains": (
        [("BatchNormalization", [_weights(4)] * 3 + [_floats(1, 2, 3, 4)], {"training_mode": 1})],
        17,
        "training_mode of BatchNormalization must be 0",
    ),
    "dropout that is on": ([("Dropout", [_floats(0.5).reshape(()), np.array(True)], {})], 17, "Dropout is random"),
    "int": ([("Cast", [], {"to": TensorProto.INT32}), ("Cast", [], {"to": TensorProto.FLOAT})], 17, "element type 6"),
    "bool": ([("Cast", [], {"to": TensorProto.BOOL}), ("Cast", [], {"to": TensorProto.FLOAT})], 17, "element type 9"),
    "pads that reflect": ([("Pad", [_ints(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "reflect"})], 17, "is not zeros"),
    "pads of ones": ([("Pad", [_ints(0, 0, 1, 1, 0, 0, 1, 1), _floats(1).reshape(())], {})], 17, "is not zeros"),
    "pads of channels": ([("Pad", [_ints(1, 0), "", _ints(1)], {})], 18, "is not zeros of height and width"),
    "slopes of columns": ([("PRelu", [_weights(SIDE)], {})], 17, "slopes .16. must be one, or one of each"),
    "a constant of columns": ([("Add", [_weights(SIDE)], {})], 17, "must be of each channel"),
    "depth first": ([("DepthToSpace", [], {"blocksize": 2})], 17, "must be CRD, is DCR"),
    "softmax of one": (
        [("Conv", [_weights(1, 4, 1, 1)], {}), ("Softmax", [], {"axis": 1})],
        17,
        "Softmax of one channel",
    ),
    "softmax of all behind": ([("Softmax", [], {"axis": 1})], 11, "Softmax must be of axis 1 alone"),
    "softmax within": ([("Softmax", [], {"axis": 1}), ("Relu", [], {})], 17, "Softmax must be the network's end"),
    "turned": ([("Transpose", [], {"perm": [0, 1, 3, 2]}), ("Relu", [], {})], 17, "of what Transpose gives"),
    "turned at the end": ([("Transpose", [], {"perm": [0, 1, 3, 2]})], 17, "ends with Transpose"),
    "unknown attribute": ([("Relu", [], {"alpha": 1.0})], 17, "attribute alpha of Relu is not supported"),
    "spare input": ([("GlobalAveragePool", [EACH], {})], 17, "input 1 of GlobalAveragePool is not supported"),
}
WAYS = [
    (mode, way, nearest)
    for way in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "tf_crop_and_resize")
    for mode, nearest in [("linear", "floor")]
    + [("nearest", each) for each in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
]


def _agrees(path: Path) -> None:
    x = np.random.default_rng(2).random((1, 1, SIDE, SIDE), np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    network, wanted = load(path), session.run(None, {"x": x})[0]
    found = run(network, torch.from_numpy(x))[network.output].numpy()
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_onnxruntime_computes(name: str, tmp_path: Path) -> None:
    _agrees(_made(tmp_path / "m.onnx", *READ[name]))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused(name: str, tmp_path: Path) -> None:
    nodes, opset, rule = REFUSED[name]
    with pytest.raises(HwsegError, match=rule):
        load(_made(tmp_path / "m.onnx", nodes, opset))


@pytest.mark.parametrize("factor", [2, 3])
def test_every_way_to_enlarge_is_read_right_or_refused(factor: int, tmp_path: Path) -> None:
    read = []
    for mode, way, nearest in WAYS:
        names = {"mode": mode, "coordinate_transformation_mode": way, "nearest_mode": nearest}
        inputs = [_floats(0, 0, 0, 0, 1, 1, 1, 1) if way.startswith("tf") else "", _floats(1, 1, factor, factor)]
        path = _made(tmp_path / "m.onnx", [("Resize", inputs, names)], 17)
        try:
            load(path)
        except HwsegError:
            continue
        _agrees(path)
        read.append((mode, way, nearest))
    assert {("nearest", "asymmetric", "floor"), ("nearest", "half_pixel", "round_prefer_floor")} <= set(read)
    assert sum(mode == "linear" for mode, *_ in read) == 3


@pytest.mark.parametrize("opset", [11, 17])
def test_group_normalization_and_softmax_are_read_as_they_are_exported(opset: int, tmp_path: Path) -> None:
    norm = nn.GroupNorm(2, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layers = (nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 3, 1))
    module, x = nets.settled(nn.Sequential(*layers, nn.Softmax(1))), nets.pictures(2)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x[:1],), tmp_path / "m.onnx", dynamo=False, opset_version=opset)
    network = load(tmp_path / "m.onnx")
    with torch.no_grad():
        assert torch.allclose(run(network, x)[network.output], module[:-1](x), atol=1e-4)
    made = fit(network, [x])
    assert [layer.op for layer in made.network.layers] == ["conv", "relu", "conv"]
