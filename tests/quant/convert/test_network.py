"""Quantized networks of any layers: scales that are shared, and files whose exact integers are the network's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import nn  # noqa: E402

from hwseg.datasets.seen import Seen  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.pictures.meaning import NAMES, PIXEL  # noqa: E402
from hwseg.quant.convert import convert, quantize  # noqa: E402
from hwseg.quant.convert.convert import Converted  # noqa: E402
from hwseg.quant.networks.graph import INPUT, RESERVED, Layer, Network  # noqa: E402
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from tests.quant.convert import nets  # noqa: E402
from tests.quant.convert.exact import agrees_with_its_file  # noqa: E402

PICTURES = [nets.pictures(4), nets.pictures(4, seed=1)]


@pytest.fixture(scope="module")
def converted() -> Converted:
    """A small network in 8 bits."""
    return convert(nets.small(), PICTURES)


@pytest.mark.parametrize("name", ["residual", "gated", "instance"])
def test_the_file_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    modules = {"residual": nets.Residual, "gated": nets.Gated,
               "instance": lambda: nets.Small(nn.InstanceNorm2d, nn.LeakyReLU(0.125))}  # fmt: skip
    agrees_with_its_file(quantize(nets.settled(modules[name]()), PICTURES, pixels=PIXEL), PICTURES, tmp_path)


def test_files_of_float_scales_are_read(tmp_path: Path) -> None:
    quantized = quantize(nets.small(), PICTURES, pixels=PIXEL, scales="float")
    export_qonnx(quantized, tmp_path / "m.onnx", (16, 16), PIXEL)
    graph = load(tmp_path / "m.onnx")
    assert any(s.numerator & (s.numerator - 1) != 0 for s in graph.types["bottom/3/quantizer"].scale)


def test_branches_that_meet_share_a_scale_and_a_sign(converted: Converted, tmp_path: Path) -> None:
    config = converted.quantized.config
    assert config.settled["up"] == config.settled["concat"] == "enc/3"
    assert "enc/3" not in config.unsigned  # what comes up has no ReLU
    assert "bottom/3" in config.unsigned
    agrees_with_its_file(converted.quantized, PICTURES, tmp_path)


def test_a_picture_beside_maps_gets_a_quantizer_of_theirs(tmp_path: Path) -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([x, torch.relu(self.a(x))], 1))

    agrees_with_its_file(quantize(nets.settled(Skip()), PICTURES, pixels=PIXEL), PICTURES, tmp_path)


@pytest.mark.parametrize("first", [True, False])
def test_a_picture_whose_pixels_moved_gets_one_of_theirs_too(first: bool, tmp_path: Path) -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = nn.functional.max_pool2d(x, 2)
            parts = [y, torch.relu(self.a(y))]
            return self.head(torch.cat(parts if first else parts[::-1], 1))

    agrees_with_its_file(quantize(nets.settled(Pyramid()), PICTURES, pixels=PIXEL), PICTURES, tmp_path)


def test_a_quantized_network_is_close_to_the_float_one(converted: Converted) -> None:
    found = converted
    with torch.no_grad():
        x = nets.pictures(4, seed=9)
        wanted = run(found.network, x)[found.network.output]
        noise = float((found.quantized(x) - wanted).square().mean() / wanted.square().mean())
    assert noise < 1e-3  # 30 dB
    coarse = convert(nets.small(), PICTURES, weight_bits=4, activation_bits=4)
    assert coarse.error > found.error
    assert set(coarse.quantized.config.activation_bits.values()) == {4}
    assert list(coarse.quantized.config.weight_bits.values()).count(8) == 2


def test_bits_are_given_by_layer_and_refused_where_there_is_none(converted: Converted) -> None:
    config = converted.quantized.config
    found = config.with_bits({"*": 4, "enc/*": 6}, {"*": 3})
    assert found.weight_bits_of("enc/0") == 6
    assert found.weight_bits_of("head") == 4
    layers = (Layer("a[0]", "relu", (INPUT,)), Layer("b", "max_pool", ("a[0]",)), Layer("a0", "relu", ("b",)))
    odd = replace(config, layers=layers, output="a0", shapes={}, weight_bits={}, activation_bits={})
    assert odd.quantizers == ("a[0]", "a0")
    turned = odd.with_bits({}, {"a*": 5, "a0": 3, "a[0]": 4})  # what is a layer's name is no pattern
    assert turned.activation_bits == {"a[0]": 4, "a0": 3}
    with pytest.raises(HwsegError, match="'dec9' matches no layer; layers are enc/0"):
        config.with_bits({"dec9": 4}, 8)


def test_what_cannot_be_calibrated_on_is_refused() -> None:
    module = nets.small()
    with pytest.raises(HwsegError, match=r"all 4 to calibrate on are of one value each, the first of 0\.5 everywhere"):
        quantize(module, [torch.full((4, 1, 16, 16), 0.5)])
    with pytest.raises(HwsegError, match="must be at least one"):
        quantize(module, [])
    with pytest.raises(HwsegError, match="NaN or infinity"):
        quantize(module, [torch.cat([nets.pictures(1), torch.full((1, 1, 16, 16), float("nan"))])])


def test_a_network_comes_back_from_its_file(converted: Converted, tmp_path: Path) -> None:
    quantized = converted.quantized
    pixels, labels, seen = NAMES["unit"], Labels(1), Seen(frozenset([b"0123456789abcdef"]), known=False)
    save_network(tmp_path / "n.pt", quantized, TrainConfig(size=16), pixels, labels, saw=seen, picture=(16, 32))
    again, known = load_network(tmp_path / "n.pt")
    found = [known[name] for name in ("input", "labels", "seen", "size", "picture", "resize", "quantized")]
    assert found == [pixels, labels, seen, 16, (16, 32), 0, True]
    assert again.config == quantized.config
    with torch.no_grad():
        assert torch.equal(again(PICTURES[0]), quantized(PICTURES[0]))


@pytest.mark.parametrize("name", ["input", "raw", "config", "image"])
def test_layers_may_have_names_that_every_module_has(name: str) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._modules[name], self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self._modules[name](x)))

    module = nets.settled(Named())
    with torch.no_grad():
        found, wanted = quantize(module, PICTURES)(PICTURES[0]), module(PICTURES[0])
    assert float((found - wanted).square().mean()) < 1e-3 * float(wanted.square().mean())


def test_no_layer_has_the_name_of_what_a_network_has(converted: Converted) -> None:
    network = converted.quantized
    assert {name for name in dir(network) if not hasattr(nn.Module, name)} - set(network._modules) <= RESERVED
    assert "input" in RESERVED


def test_maps_padded_within_the_network_are_refused_by_their_file(tmp_path: Path) -> None:
    """Two constants of one node once had one name in the file, so that padding was by nothing."""
    first = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    roles = ("weight", "bias")
    layers = (
        Layer("a", "conv", (INPUT,), first, roles), Layer("r", "relu", ("a",)),
        Layer("p", "pad", ("r",), {"pads": (1, 1, 1, 1)}), Layer("h", "conv", ("p",), first, roles),
    )  # fmt: skip
    tensors = {"a.weight": torch.ones(2, 1, 1, 1), "a.bias": torch.zeros(2), "h.weight": torch.ones(1, 2, 1, 1),
               "h.bias": torch.zeros(1)}  # fmt: skip
    network = Network(layers, "h", 1, tensors)
    quantized = QuantizedNetwork(replace(NetworkConfig.of(network, "power_of_two", 0, 1)), tensors)
    export_qonnx(quantized, tmp_path / "m.onnx", (16, 16), PIXEL)
    with pytest.raises(HwsegError, match="padding a map must keep its size"):
        load(tmp_path / "m.onnx")
