"""What is not supported is answered with what to use instead, and that is supported."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.quant.read.instead import CHANNELS_LAST, INSTEAD, instead_of
from hwseg.quant.read.load import RULES, load
from tests.quant.handmade import DOMAIN, Net
from tests.quant.read.qdq import float_unet


def refusal(path: Path) -> HwsegError:
    with pytest.raises(HwsegError) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize("op", INSTEAD)
def test_no_answer_is_a_list_of_all(op: str) -> None:
    assert op not in RULES
    assert len(INSTEAD[op]) < 130


@pytest.mark.parametrize(
    ("op", "said"),
    [
        ("InstanceNormalization", "use BatchNorm2d"),
        ("LayerNormalization", "use BatchNorm2d"),
        ("MatMul", "use Conv2d with a kernel of 1x1"),
        ("GlobalAveragePool", "leave squeeze-and-excitation"),
        ("ThresholdedRelu", "use ReLU"),
        ("NoSuchThing", "docs/models.md says which there are"),
    ],
)
def test_operations(tmp_path: Path, op: str, said: str) -> None:
    net = Net()
    error = refusal(net.save(tmp_path / "net.onnx", net.conv(net.node(op, net.image(), name="node"), 2, 3)))
    assert str(error).startswith(f"node: operation {op} is not supported; ")
    assert re.search(said, error.cure)


@pytest.mark.parametrize(
    ("op", "domain", "said"),
    [
        ("BipolarQuant", DOMAIN, "use a quantizer of 2 bits, narrow and signed"),
        ("Trunc", DOMAIN, "use Quant, which rounds"),
        ("QLinearConcat", "com.microsoft", "quantize with quant_format=QuantFormat.QDQ"),
        ("Resize", "qonnx.custom_op.channels_last", CHANNELS_LAST),
        ("Conv", "my", "use operations of ONNX, and Quant of QONNX"),
    ],
)
def test_operations_of_other_domains(tmp_path: Path, op: str, domain: str, said: str) -> None:
    net = Net()
    error = refusal(net.save(tmp_path / "net.onnx", net.node(op, net.image(), name="node", domain=domain)))
    assert error.rule == f"operation {domain}.{op} is not supported"
    assert error.cure.startswith(said)


def test_a_network_of_floats(tmp_path: Path) -> None:
    error = refusal(float_unet(tmp_path / "net.onnx"))
    assert str(error) == (
        "Conv_0: weights must be quantized, are float constants, as everything in this network; quantize it: "
        "hwseg quantize MODEL.onnx --data PICTURES -o OUT.onnx needs no training; or with Brevitas while it is trained "
        "(docs/models.md)"
    )


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_padding_with_other_pixels(tmp_path: Path, mode: str) -> None:
    net = Net()
    widths = net.const("widths", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    error = refusal(net.save(tmp_path / "net.onnx", net.node("Pad", net.image(), widths, name="pad", mode=mode)))
    assert error.rule == f"padding of mode {mode} is not supported"
    assert error.cure == "use padding of the convolutions, which is with zeros"


def test_bicubic(tmp_path: Path) -> None:
    net = Net()
    y = net.node("Resize", net.image(), "", net.const("s", [1, 1, 2, 2]), name="r", mode="cubic")
    error = refusal(net.save(tmp_path / "net.onnx", y))
    assert "use mode='nearest', or mode='bilinear' with align_corners=False" in error.cure


def test_what_is_told_is_one_line() -> None:
    for op in (*INSTEAD, "Other"):
        assert "\n" not in instead_of(op)
