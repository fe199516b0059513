"""A network that was read otherwise than it computes is refused, and so is a mask of one class."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("onnxruntime")

from torch import Tensor, nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert import from_onnx, reading  # noqa: E402
from hwseg.quant.convert.convert import convert, quantize  # noqa: E402
from hwseg.quant.convert.fit import logits_of  # noqa: E402
from hwseg.quant.convert.from_torch import from_module  # noqa: E402
from hwseg.quant.convert.reading import OfFile, OfModule, check, require_masks  # noqa: E402
from hwseg.quant.networks.graph import Network  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from hwseg.quant.read.onnx_file import OnnxFile, read  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

PICTURES = [nets.pictures(3), nets.pictures(3, seed=1)]
SHAPE = (1, 1, 16, 16)


class Ended(nn.Module):
    """A network with something behind it."""

    def __init__(self, end: nn.Module, classes: int = 1) -> None:
        super().__init__()
        self.net, self.end = nets.settled(nets.Small(classes=classes)), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(x))


def exported(module: nn.Module, path: Path) -> OnnxFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(SHAPE),), path, dynamo=False, opset_version=17)
    return read(path)


ENDS = {
    "logits": (nn.Identity(), 1), "sigmoid": (nn.Sigmoid(), 1), "classes": (nn.Identity(), 3),
    "softmax": (nn.Softmax(1), 3), "log-softmax": (nn.LogSoftmax(1), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_what_is_read_right_passes(name: str, tmp_path: Path) -> None:
    module = Ended(*ENDS[name]).eval()
    found = check(from_module(module, SHAPE), OfModule(module), PICTURES)
    assert (found.against, found.pictures) == ("Ended", 4)
    assert found.difference < 1e-6
    if name != "log-softmax":
        file = exported(module, tmp_path / "f.onnx")
        found = check(from_onnx.from_file(file), OfFile(file), PICTURES)
        assert found.against.startswith("onnxruntime ")
        assert found.difference < 1e-5


def changed(network: Network, op: str, **options: object) -> Network:
    """The network with the first layer of a kind read otherwise."""
    layer = next(layer for layer in network.layers if layer.op == op)
    return network.with_layer(layer.name, [replace(layer, options={**layer.options, **options})])


def scaled(network: Network, by: float) -> Network:
    """The network with a factor of all weights of its first layer."""
    first = next(name for name in network.tensors if name.endswith("weight"))
    return replace(network, tensors={**network.tensors, first: network.tensors[first] * by})


@pytest.mark.parametrize("of", ["module", "file"])
def test_what_is_read_wrongly_is_refused_with_the_first_layer_that_differs(of: str, tmp_path: Path) -> None:
    module = nets.settled(nets.Small(act=nn.LeakyReLU(0.1)))
    if of == "module":
        network, own, places = from_module(module, SHAPE), OfModule(module), ("enc/3", "enc/0")
    else:
        file = exported(module, tmp_path / "f.onnx")
        network, own = from_onnx.from_file(file), OfFile(file)
        places = tuple(next(x.name for x in network.layers if x.op == op) for op in ("leaky_relu", "conv"))
    for wrong, place in ((changed(network, "leaky_relu", slope=0.2), places[0]), (scaled(network, 1.05), places[1])):
        with pytest.raises(HwsegError, match=f"^{place}: hwseg reads the network wrongly here or just before"):
            check(wrong, own, PICTURES)
    with pytest.raises(HwsegError, match="differs in its size"):
        check(changed(network, "conv", padding=3), own, PICTURES)


def test_a_softmax_of_one_channel_is_no_logit() -> None:
    module = Ended(nn.Softmax(1)).eval()
    with pytest.raises(HwsegError, match="hwseg reads the network wrongly"):
        check(from_module(module.net, SHAPE), OfModule(module), PICTURES)


def test_modules_that_are_no_functions_of_the_picture_are_refused() -> None:
    class Chance(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    class Ends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit(3)

    network = from_module(nets.tiny(), SHAPE)
    ends = [(Chance(), "gives two outputs for one picture"), (Ends(), "raised SystemExit: 3 for a picture")]
    for end, sentence in ends:
        with pytest.raises(HwsegError, match=sentence):
            check(network, OfModule(nn.Sequential(nets.tiny(), end)), PICTURES)
    lost = nets.tiny()
    with torch.no_grad():
        lost[4].bias.fill_(float("nan"))
    with pytest.raises(HwsegError, match="gives NaN or infinity, in 256 of 256 numbers"):
        check(network, OfModule(lost), PICTURES)


def test_a_file_that_no_executor_knows_is_told_as_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported(nets.tiny(), tmp_path / "f.onnx")
    network = from_onnx.from_file(file)

    def fails(*given: object) -> None:
        raise RuntimeError("not implemented")

    monkeypatch.setattr(reading, "_onnxruntime", fails)
    found = check(network, OfFile(file), PICTURES)
    assert found.against == "onnx's reference evaluator"
    assert found.difference < 1e-5
    monkeypatch.setattr(reading, "_onnx", fails)
    found = check(network, OfFile(file), PICTURES)
    assert found.sentence() == (
        "how the network was read could not be checked: neither onnxruntime nor onnx's evaluator computes it "
        "(RuntimeError: not implemented)"
    )


def test_the_conversion_of_a_module_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwseg.quant.convert import source

    monkeypatch.setattr(source, "from_module", lambda module, shape: scaled(from_module(module, shape), 1.1))
    with pytest.raises(HwsegError, match="hwseg reads the network wrongly"):
        quantize(nets.tiny(), PICTURES)


def test_a_network_with_a_sigmoid_is_converted_as_its_logits_are() -> None:
    """Targets, masks and what is distilled are of logits: a sigmoid of a sigmoid is above 1/2 everywhere."""
    plain, ended = (convert(nn.Sequential(nets.tiny(), end).eval(), PICTURES) for end in (nn.Identity(), nn.Sigmoid()))
    x = PICTURES[0]
    with torch.no_grad():
        logits = [run(one.network, x)[one.network.output] for one in (plain, ended)]
    assert torch.equal(*logits)
    assert plain.error == ended.error
    assert [one.what for one in ended.fit.replacements if one.exact] == ["sigmoid"]


def test_masks_of_one_class_are_refused() -> None:
    network = from_module(nets.tiny(), SHAPE)
    require_masks(network, PICTURES)
    for bias, mask in ((10.0, 1), (-10.0, 0)):
        name = next(name for name in reversed(network.tensors) if name.endswith("bias"))
        wrong = replace(network, tensors={**network.tensors, name: network.tensors[name] + bias})
        with pytest.raises(HwsegError, match=f"mask is class {mask} in every pixel of all 6 pictures"):
            require_masks(wrong, PICTURES)
    several = from_module(nets.settled(nets.Small(classes=3)), SHAPE)
    name = next(name for name in reversed(several.tensors) if name.endswith("bias"))
    wrong = replace(several, tensors={**several.tensors, name: torch.tensor([0.0, 0.0, 99.0])})
    with pytest.raises(HwsegError, match="mask is class 2 in every pixel"):
        require_masks(logits_of(wrong, PICTURES[0][:1])[0], PICTURES)
