"""What the engine has not is replaced and told; what is exact stays exact; what it has is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.fit import Fit, fit  # noqa: E402
from hwseg.quant.convert.from_torch import from_module  # noqa: E402
from hwseg.quant.networks.graph import Network, require_finite  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

PICTURES = [nets.pictures(4), nets.pictures(4, seed=1)]


def made(module: nn.Module, strict: bool = False) -> tuple[Network, Fit]:
    network = from_module(nets.settled(module), (1, 1, 16, 16))
    return network, fit(network, PICTURES, strict)


def far(network: Network, other: Network) -> float:
    """Mean squared difference of what they give, over the variance of the first."""
    with torch.no_grad():
        a, b = (torch.cat([run(one, x)[one.output] for x in PICTURES]) for one in (network, other))
    return float((a - b).square().mean() / a.var())


def test_batch_normalization_and_dropout_are_folded_exactly() -> None:
    network, found = made(nets.Small())
    assert found.replacements == ()
    assert {layer.op for layer in found.network.layers} == {"conv", "conv_transpose", "relu", "max_pool", "concat"}
    assert far(network, found.network) < 1e-10
    assert far(network, fit(network, PICTURES, strict=True).network) < 1e-10


def test_factors_behind_factors_are_folded_exactly() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -self.head(torch.relu(1 - self.norm(self.a(x)) * 2)) / 3

    network, found = made(Twice())
    assert [layer.op for layer in found.network.layers] == ["conv", "relu", "conv"]
    assert far(network, found.network) < 1e-10


def test_the_sigmoid_at_the_end_and_factors_before_convolutions_are_exact() -> None:
    network, found = made(nets.Residual())
    assert [one.exact for one in found.replacements] == [True] * len(found.replacements)
    assert found.replacements[0].layer == network.output
    assert far(replace(network, output=network[network.output].inputs[0]), found.network) < 1e-10


@pytest.mark.parametrize("norm", [lambda n: nn.InstanceNorm2d(n, affine=True), lambda n: nn.GroupNorm(2, n)])
def test_normalization_by_the_picture_becomes_that_of_the_pictures(norm: type[nn.Module]) -> None:
    network, found = made(nets.Small(norm))
    assert {(one.what.split()[1], one.exact) for one in found.replacements} == {("normalization", False)}
    assert len(found.replaced) == 3
    assert all("statistics of the whole map" in one.why for one in found.replaced)
    assert not any("norm" in layer.op for layer in found.network.layers)
    assert far(network, found.network) < 0.25  # 1 is no better than a constant


def test_a_replaced_normalization_is_the_least_squares_line() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 1), nn.InstanceNorm2d(3), nn.Conv2d(3, 1, 1))
    _, found = made(module)
    x = torch.cat(PICTURES)
    with torch.no_grad():
        before = module[0](x).transpose(0, 1).flatten(1).double()
        wanted = module[1](module[0](x)).transpose(0, 1).flatten(1).double()
        ours = run(found.network, x, ("0",))["0"].transpose(0, 1).flatten(1).double()
    for b, w, o in zip(before, wanted, ours, strict=True):
        line = torch.linalg.lstsq(torch.stack([b, torch.ones_like(b)], 1), w[:, None]).solution[:, 0]
        assert torch.allclose(o, line[0] * b + line[1], atol=1e-4)


def test_gates_that_the_reader_refuses_become_their_means() -> None:
    from hwseg.quant.convert.taken import refused

    network, found = made(nets.Gated())
    gate = [layer for layer in network.layers if layer.op == "multiply"][1]
    taken = refused(network, gate, spread=True) is None
    assert [one.what for one in found.replaced] == ["squeeze-and-excitation", *([] if taken else ["attention gate"])]
    kinds = [layer.op for layer in found.network.layers]
    assert "global_mean" not in kinds
    assert kinds.count("multiply") == kinds.count("sigmoid") == int(taken)


def test_corners_become_halves_and_four_is_two_times_two() -> None:
    _, found = made(nets.Residual(corners=True))
    assert [one.what for one in found.replaced] == ["bilinear enlarging by 2 with align_corners"]
    module = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
                           nn.Upsample(scale_factor=4), nn.Conv2d(8, 1, 1))  # fmt: skip
    network, found = made(module)
    assert [(one.what, one.exact) for one in found.replacements] == [("nearest enlarging by 4", True)]
    assert far(network, found.network) < 1e-10


@pytest.mark.parametrize("act", [nn.ReLU6(), nn.ELU(), nn.GELU()])
def test_other_activations_become_relu_with_the_same_means(act: nn.Module) -> None:
    from hwseg.quant.convert.taken import refused

    network = from_module(nets.settled(nets.Small(act=act)), (1, 1, 16, 16))
    found = fit(network, PICTURES)
    taken = refused(network, next(x for x in network.layers if x.name == "enc/3")) is None
    assert bool(found.replaced) != taken
    with torch.no_grad():
        ours, theirs = (torch.cat([run(n, x)[n.output] for x in PICTURES]).mean() for n in (found.network, network))
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)


def test_strict_refuses_what_would_be_replaced() -> None:
    with pytest.raises(HwsegError, match="instance normalization is not supported, --strict allows no batch"):
        made(nets.Small(nn.InstanceNorm2d), strict=True)


def test_padding_with_zeros_is_that_of_the_convolution() -> None:
    module = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1))
    network, found = made(module)
    assert found.network.layers[0].options["padding"] == 1
    assert far(network, found.network) < 1e-10
    with pytest.raises(HwsegError, match=r"padding .* must be that of the convolution"):
        made(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ZeroPad2d(1), nn.MaxPool2d(2), nn.Conv2d(2, 1, 1)))
    for last in (nn.ZeroPad2d(1), nn.Sequential(nn.ZeroPad2d((1, 1, 0, 0)), nn.Conv2d(2, 1, 3))):
        with pytest.raises(HwsegError, match=r"padding .* must be that of the convolution"):
            made(nn.Sequential(nn.Conv2d(1, 2, 1), last))


def test_damaged_weights_and_dead_layers_are_refused() -> None:
    module = nets.settled(nets.Small())
    network = from_module(module, (1, 1, 16, 16))
    require_finite(network)
    broken = {**network.tensors, "head.weight": torch.full((1, 6, 1, 1), float("nan"))}
    with pytest.raises(HwsegError, match=r"head.weight: 6 of 6 numbers are NaN or infinite"):
        require_finite(replace(network, tensors=broken))
    dead = {**network.tensors, "bottom/1.bias": torch.full((8,), -100.0)}
    with pytest.raises(HwsegError, match=r"bottom/3: gives 0 everywhere, for all 8 pictures"):
        fit(replace(network, tensors=dead), PICTURES)
    same = {**network.tensors, "head.weight": torch.zeros(1, 6, 1, 1), "head.bias": torch.full((1,), 1.5)}
    with pytest.raises(HwsegError, match=r"head: gives 1.5 everywhere, for all 8 pictures; the network is damaged"):
        fit(replace(network, tensors=same), PICTURES)
