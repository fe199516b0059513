"""Modules and ONNX files become layers that compute the same; what cannot be read is refused with its place."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.from_onnx import load  # noqa: E402
from hwseg.quant.convert.from_torch import from_module  # noqa: E402
from hwseg.quant.networks.graph import Layer  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

MODULES = {
    "small": lambda: nets.Small(),
    "instance": lambda: nets.Small(lambda n: nn.InstanceNorm2d(n, affine=True), nn.LeakyReLU(0.1, inplace=True)),
    "group": lambda: nets.Small(lambda n: nn.GroupNorm(2, n), nn.PReLU()),
    "classes": lambda: nets.Small(classes=3),
    "residual": lambda: nets.Residual(),
    "corners": lambda: nets.Residual(True),
    "gated": lambda: nets.Gated(),
    "silu": lambda: nets.Small(act=nn.SiLU()),
    "gelu": lambda: nets.Small(act=nn.GELU()),
    "relu6": lambda: nets.Small(act=nn.ReLU6()),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_computes_the_same_as_layers(name: str) -> None:
    module = nets.settled(MODULES[name]())
    network, x = from_module(module, (1, 1, 16, 16)), nets.pictures(2)
    with torch.no_grad():
        wanted = module(x)
        assert torch.allclose(run(network, x)[network.output], wanted, atol=1e-6)
    assert network.multiple in (1, 2)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("group", "gelu")])
def test_an_onnx_file_computes_the_same_as_layers(name: str, tmp_path: Path) -> None:
    module, x = nets.settled(MODULES[name]()), nets.pictures(1)
    path = tmp_path / "float.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False, opset_version=17)
    network = load(path)
    with torch.no_grad():
        assert torch.allclose(run(network, x)[network.output], module(x), atol=1e-5)


def test_what_is_cut_off_is_the_same_of_larger_pictures(tmp_path: Path) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)[:, :, 1:-3, 4:]

    module, path = Cut().eval(), tmp_path / "float.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (nets.pictures(1),), path, dynamo=False, opset_version=17)
    network = load(path)
    with torch.no_grad():
        for x in (nets.pictures(1), nets.pictures(1, side=24)):
            assert torch.allclose(run(network, x)[network.output], module(x), atol=1e-5)


def test_what_is_written_in_place_is_read_so() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            kept, alias = y.clone(), nn.functional.dropout(y, training=False)
            torch.relu_(y)
            return alias + kept  # the alias is clamped, the copy is not

    module, x = Twice().eval(), nets.pictures(1) - 0.5
    network = from_module(module, (1, 1, 16, 16))
    with torch.no_grad():
        assert torch.allclose(run(network, x)[network.output], module(x))


def test_control_flow_on_numbers_is_refused_with_its_line() -> None:
    with pytest.raises(HwsegError, match=r"nets.py, line \d+ \(if y.mean\(\) > 0:\): .*depends on the numbers"):
        from_module(nets.Branching(), (1, 1, 16, 16))


def test_what_has_no_layer_is_refused_with_its_place() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.CELU())
    with pytest.raises(HwsegError, match="operation celu is not supported"):
        from_module(module, (1, 1, 16, 16))


def test_pictures_of_another_channel_count_are_refused() -> None:
    with pytest.raises(HwsegError, match="cannot be computed for a picture"):
        from_module(nets.Small(), (1, 3, 16, 16))


def test_quantized_files_are_sent_to_compile(tmp_path: Path) -> None:
    from hwseg.quant.convert.taken import _read  # noqa: F401
    from hwseg.quant.networks.unet import QuantUNet, UNetConfig
    from hwseg.quant.train.export import to_onnx

    path = tmp_path / "quantized.onnx"
    content = to_onnx(QuantUNet(UNetConfig(depth=1, width=2)).eval(), (1, 1, 16, 16), "q", {})
    path.write_bytes(content.SerializeToString())
    with pytest.raises(HwsegError, match="quantized already; hwseg compile"):
        load(path)


def test_layers_travel_as_plain_values() -> None:
    network = from_module(nets.Residual(), (1, 1, 16, 16))
    assert tuple(Layer.from_dict(layer.to_dict()) for layer in network.layers) == network.layers
