"""Quantized networks of any layers: scales that are shared, and files whose exact integers are the network's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import nn  # noqa: E402

from hwseg import golden  # noqa: E402
from hwseg.datasets.seen import Seen  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.pictures.meaning import NAMES, PIXEL  # noqa: E402
from hwseg.quant.convert import convert, quantize  # noqa: E402
from hwseg.quant.convert.checkpoint import About, load_converted, save_converted  # noqa: E402
from hwseg.quant.convert.convert import Converted  # noqa: E402
from hwseg.quant.convert.export import export_network  # noqa: E402
from hwseg.quant.convert.graph import INPUT, Layer, Network  # noqa: E402
from hwseg.quant.convert.network import NetworkConfig, QuantizedNetwork  # noqa: E402
from hwseg.quant.convert.operations import run  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

PICTURES = [nets.pictures(4), nets.pictures(4, seed=1)]


@pytest.fixture(scope="module")
def converted() -> Converted:
    """A small network in 8 bits."""
    return convert(nets.small(), PICTURES)


def integers(x: torch.Tensor) -> np.ndarray:
    """What the picture's quantizer makes of it, [H, W, C]."""
    return np.asarray((x[0] * 256).round().clamp(0, 255).byte().permute(1, 2, 0))


def agrees_with_its_file(quantized: QuantizedNetwork, folder: Path) -> None:
    """The golden model of the exported file gives the network's logits, integer for integer."""
    export_network(quantized, folder / "m.onnx", (16, 16), PIXEL)
    graph = load(folder / "m.onnx")
    for x in torch.cat(PICTURES).split(1):
        q = integers(x)
        result = golden.run(graph, q, taps=(graph.head.tensor,))
        with torch.no_grad():
            logits = quantized(torch.from_numpy(q.astype(np.float32) / 256).permute(2, 0, 1)[None])
        head = graph.head
        found = result.tensors[head.tensor]
        scale = np.array([float(s) for s in head.scale])
        offset = np.array([float(o) for o in head.offset])
        wanted = logits[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.rint((wanted - offset) / scale).astype(np.int64), found)


@pytest.mark.parametrize("name", ["residual", "gated", "instance"])
def test_the_file_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    modules = {"residual": nets.Residual, "gated": nets.Gated,
               "instance": lambda: nets.Small(nn.InstanceNorm2d, nn.LeakyReLU(0.1))}  # fmt: skip
    agrees_with_its_file(quantize(nets.settled(modules[name]()), PICTURES, pixels=PIXEL), tmp_path)


def test_files_of_float_scales_are_read(tmp_path: Path) -> None:
    quantized = quantize(nets.small(), PICTURES, pixels=PIXEL, scales="float")
    export_network(quantized, tmp_path / "m.onnx", (16, 16), PIXEL)
    graph = load(tmp_path / "m.onnx")
    assert any(s.numerator & (s.numerator - 1) != 0 for s in graph.types["bottom/3/quantizer"].scale)


def test_branches_that_meet_share_a_scale_and_a_sign(converted: Converted, tmp_path: Path) -> None:
    config = converted.quantized.config
    assert config.settled["up"] == config.settled["concat"] == "enc/3"
    assert "enc/3" not in config.unsigned  # what comes up has no ReLU
    assert "bottom/3" in config.unsigned
    agrees_with_its_file(converted.quantized, tmp_path)


def test_a_picture_beside_maps_gets_a_quantizer_of_theirs(tmp_path: Path) -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([x, torch.relu(self.a(x))], 1))

    agrees_with_its_file(quantize(nets.settled(Skip()), PICTURES, pixels=PIXEL), tmp_path)


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
    with pytest.raises(HwsegError, match="'dec9' matches no layer; layers are enc/0"):
        config.with_bits({"dec9": 4}, 8)


def test_what_cannot_be_calibrated_on_is_refused() -> None:
    module = nets.small()
    with pytest.raises(HwsegError, match="all 4 to calibrate on are of one value each"):
        quantize(module, [torch.full((4, 1, 16, 16), 0.5)])
    with pytest.raises(HwsegError, match="must be at least one"):
        quantize(module, [])
    with pytest.raises(HwsegError, match="NaN or infinity"):
        quantize(module, [torch.cat([nets.pictures(1), torch.full((1, 1, 16, 16), float("nan"))])])


def test_a_network_comes_back_from_its_file(converted: Converted, tmp_path: Path) -> None:
    quantized = converted.quantized
    about = About(NAMES["unit"], Labels(1), (16, 16), Seen(frozenset([b"0123456789abcdef"]), known=False))
    save_converted(tmp_path / "n.pt", quantized, about)
    again, known = load_converted(tmp_path / "n.pt")
    assert known == about
    assert again.config == quantized.config
    with torch.no_grad():
        assert torch.equal(again(PICTURES[0]), quantized(PICTURES[0]))


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
    export_network(quantized, tmp_path / "m.onnx", (16, 16), PIXEL)
    with pytest.raises(HwsegError, match="padding a map is not supported"):
        load(tmp_path / "m.onnx")
