"""Unusual arguments of PyTorch's operations: each is read as the module computes it, or refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as f  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert import quantize  # noqa: E402
from hwseg.quant.convert.fit import fit  # noqa: E402
from hwseg.quant.convert.from_torch import from_module  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

SIDE, CHANNELS = 16, 4
Body = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """A convolution, what is tried on its result, and parameters to try it with."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm, self.even = nn.BatchNorm2d(CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 2, padding="same")
        self.part = nn.Parameter(torch.randn(CHANNELS // 2, CHANNELS, 3, 3))
        self.each, self.wide = nn.Parameter(torch.randn(CHANNELS, 1, 1)), nn.Parameter(torch.randn(SIDE))
        self.register_buffer("count", torch.zeros(()))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, self.a(x))


def _in_place(change: Callable[[Tensor], Tensor]) -> Body:
    """What is written in place into the result of `change`: is it the map itself, or a copy?"""

    def body(net: Net, y: Tensor) -> Tensor:
        change(y).mul_(2)
        return y

    return body


def _cast(net: Net, y: Tensor, enabled: bool) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        z = net.b(y)
    return z.float() + y


def _counted(net: Net, y: Tensor) -> Tensor:
    net.count.add_(1)
    return y * net.count


def _trained(net: Net, y: Tensor) -> Tensor:
    n = net.norm
    return f.batch_norm(y, n.running_mean, n.running_var, n.weight, n.bias, training=True)


def _graded(net: Net, y: Tensor) -> Tensor:
    with torch.enable_grad():
        z = net.b(y)
    return z - y


READ: dict[str, Body] = {
    "add, alpha": lambda n, y: torch.add(n.b(y), y, alpha=2),
    "add, alpha 0": lambda n, y: torch.add(y, 5.0, alpha=0),
    "add, other by name": lambda n, y: torch.add(y, other=n.b(y), alpha=-1),
    "sub": lambda n, y: n.b(y) - y,
    "sub, alpha": lambda n, y: torch.sub(y, 0.25, alpha=2),
    "subtract": lambda n, y: torch.subtract(y, torch.multiply(n.b(y), 2)),
    "rsub": lambda n, y: 1 - y,
    "rsub, alpha": lambda n, y: torch.rsub(y, n.each, alpha=2),
    "rsub of maps": lambda n, y: torch.rsub(y, n.b(y), alpha=3),
    "neg": lambda n, y: -y,
    "div": lambda n, y: y / n.each,
    "one less a channel's": lambda n, y: n.each - y,
    "concat": lambda n, y: torch.concat([y, n.b(y)], -3),
    "clamp": lambda n, y: y.clamp(0, 6).clamp_min(0),
    "hardtanh": lambda n, y: f.hardtanh(y, 0.0, 6.0),
    "elu": lambda n, y: f.elu(y, 2.0),
    "gelu": lambda n, y: f.gelu(y, approximate="tanh"),
    "pool, ceil that changes nothing": lambda n, y: f.max_pool2d(y, 2, ceil_mode=True),
    "mean pool, its own divisor": lambda n, y: f.avg_pool2d(y, 2, divisor_override=4),
    "mean pool, nothing to count": lambda n, y: f.avg_pool2d(y, 2, count_include_pad=False),
    "enlarge by one": lambda n, y: f.interpolate(y, size=y.shape[2:]),
    "enlarge by one, bilinear": lambda n, y: f.interpolate(y, size=(SIDE, SIDE), mode="bilinear"),
    "enlarge by one, corners": lambda n, y: f.interpolate(y, scale_factor=1, mode="bilinear", align_corners=True),
    "enlarge, exact": lambda n, y: f.interpolate(y, scale_factor=3, mode="nearest-exact"),
    "enlarge, corners": lambda n, y: f.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True),
    "enlarge, recomputed": lambda n, y: f.interpolate(
        y, scale_factor=2.05, mode="bilinear", recompute_scale_factor=True
    ),
    "pad by less than nothing": lambda n, y: f.pad(y, (-1, 2, -3, 0)),
    "pad width alone": lambda n, y: f.pad(y, (1, 1)),
    "pad by nothing": lambda n, y: f.pad(y, (0, 0, 0, 0), mode="reflect"),
    "convolution, dilated same": lambda n, y: f.conv2d(y, n.b.weight, padding="same", dilation=2),
    "convolution, by names": lambda n, y: f.conv2d(bias=n.b.bias, input=y, weight=n.b.weight),
    "weights from a list": lambda n, y: f.conv2d(y, torch.cat([n.part, n.part * 2]), padding=1),
    "weights in parts": lambda n, y: f.conv2d(y, torch.stack([*n.b.weight.chunk(2)]).flatten(0, 1), padding=1),
    "transposed, dilated": lambda n, y: f.conv_transpose2d(y, n.b.weight, None, 2, 2, 1, 1, 2),
    "autocast that is off": lambda n, y: _cast(n, y, False),
    "gradients that are on": _graded,
    "dropout that is off": lambda n, y: f.dropout(f.dropout2d(y, 0.5, False), 0.0, True),
    "a buffer that counts": _counted,
    "in place, double": _in_place(lambda y: y.double()),
    "in place, float": _in_place(lambda y: y.float()),
    "in place, copied": _in_place(lambda y: y.to(torch.float32, copy=True)),
    "in place, unblocked": _in_place(lambda y: y.to(torch.float32, True)),
    "in place, contiguous": _in_place(lambda y: y.contiguous()),
    "in place, channels last": _in_place(lambda y: y.contiguous(memory_format=torch.channels_last)),
    "in place, clone": _in_place(lambda y: y.clone()),
    "in place, detached": _in_place(lambda y: y.detach()),
    "in place, dropout": _in_place(lambda y: f.dropout(y, 0.5, training=False)),
}

REFUSED: dict[str, tuple[Body, str]] = {
    "batch norm that trains": (_trained, "training=True"),
    "dropout that is on": (lambda n, y: f.dropout(y, 0.5), "random in evaluation"),
    "noise": (lambda n, y: y + torch.rand(1), "rand is random"),
    "autocast": (lambda n, y: _cast(n, y, True), "bfloat16"),
    "int": (lambda n, y: y.int().float(), "int32"),
    "half": (lambda n, y: y.half().float(), "float16"),
    "rounded quotient": (lambda n, y: torch.div(y, 2, rounding_mode="floor"), "rounding_mode of div"),
    "quotient by a map": (lambda n, y: y / n.b(y), "quotient by a map"),
    "a constant of each column": (lambda n, y: y + n.wide, "must be of each channel"),
    "a constant that makes channels": (lambda n, y: y[:, :1] + n.each, "slice is not supported"),
    "pool, ceil": (lambda n, y: f.max_pool2d(y, 3, 2, 1, ceil_mode=True), r"ceil_mode=True gives \(9, 9\)"),
    "pool, dilated": (lambda n, y: f.max_pool2d(y, 2, 1, 1, dilation=2), "dilation of max_pool2d must be 1"),
    "mean pool, ceil": (lambda n, y: f.avg_pool2d(y, 3, 2, ceil_mode=True), "ceil_mode"),
    "mean pool, divisor": (lambda n, y: f.avg_pool2d(y, 2, divisor_override=3), "divisor_override must be 4, not 3"),
    "mean pool, not counted": (lambda n, y: f.avg_pool2d(y, 3, 2, 1, count_include_pad=False), "count_include_pad"),
    "enlarge by 2.05": (lambda n, y: f.interpolate(y, scale_factor=2.05), r"a factor of \[2.05, 2.05\]"),
    "enlarge one way": (lambda n, y: f.interpolate(y, scale_factor=(1, 2)), "by one whole number"),
    "enlarge by 2.05, bilinear": (lambda n, y: f.interpolate(y, scale_factor=2.05, mode="bilinear"), "2.05"),
    "even kernel, same": (lambda n, y: n.even(y), "'same' is not the same on all sides for a kernel of 2"),
    "weights of the picture": (lambda n, y: f.conv2d(y, y[:, :, :3, :3]), "not supported|comes from the picture"),
    "mean of all": (lambda n, y: y.mean() + y, "a mean must be of each channel"),
    "softmax within": (lambda n, y: n.b(f.softmax(y, 1)), "softmax must be the network's end"),
    "softmax of rows": (lambda n, y: f.softmax(y, 2), "softmax must be of dim=1, not 2"),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_the_module_computes(name: str) -> None:
    torch.manual_seed(0)
    module, x = Net(READ[name]).eval(), torch.rand(1, 1, SIDE, SIDE)
    network = from_module(module, (1, 1, SIDE, SIDE))
    with torch.no_grad():
        found, wanted = run(network, x.clone())[network.output], module(x)
        assert found.shape == wanted.shape
        assert torch.allclose(found.double(), wanted.double(), atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused(name: str) -> None:
    body, rule = REFUSED[name]
    with pytest.raises(HwsegError, match=rule):
        from_module(Net(body).eval(), (1, 1, SIDE, SIDE))


def test_softmax_of_one_channel_is_refused() -> None:
    with pytest.raises(HwsegError, match="softmax of one channel is the same everywhere"):
        from_module(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Softmax(1)), (1, 1, SIDE, SIDE))


class Ended(nn.Module):
    """A network of one channel, and what is done with its logits."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.end = nn.Conv2d(1, 1, 3, padding=1), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.a(x))


@pytest.mark.parametrize(
    "end",
    [
        lambda z: f.interpolate(torch.sigmoid(z), scale_factor=2),
        lambda z: (torch.sigmoid(z) + torch.sigmoid(-z * 2)) / 2,
        lambda z: torch.sigmoid(z) * 255,
        lambda z: (torch.tanh(z) + 1) / 2,
        lambda z: 1 - f.hardsigmoid(z),
        lambda z: torch.sigmoid(torch.sigmoid(z)),
    ],
)
def test_what_is_computed_from_probabilities_is_no_logit(end: Callable[[Tensor], Tensor]) -> None:
    network = from_module(nets.settled(Ended(end)), (1, 1, SIDE, SIDE))
    with pytest.raises(HwsegError, match="must be the network's end"):
        fit(network, [nets.pictures(2)])


@pytest.mark.parametrize("end", [torch.sigmoid, torch.tanh, f.hardsigmoid])
def test_what_says_the_mask_by_its_sign_is_left_out_at_the_end(end: Callable[[Tensor], Tensor]) -> None:
    made = fit(from_module(nets.settled(Ended(end)), (1, 1, SIDE, SIDE)), [nets.pictures(2)])
    assert [layer.op for layer in made.network.layers] == ["conv"]
    assert [one.exact for one in made.replacements] == [True]


@pytest.mark.parametrize("module", [nn.Identity(), nn.MaxPool2d(2), nn.Sigmoid()])
def test_a_network_without_weights_is_refused(module: nn.Module) -> None:
    with pytest.raises(HwsegError, match=r"has no (weights: it gives its picture|convolution between picture)"):
        quantize(module, [nets.pictures(2)])


def test_a_network_without_numbers_is_refused() -> None:
    with torch.device("meta"):
        module = nn.Conv2d(1, 1, 1)
    with pytest.raises(HwsegError, match="weight, bias has no numbers"):
        from_module(module, (1, 1, SIDE, SIDE))


def test_reading_leaves_the_module_as_it_was() -> None:
    module = Net(_counted).eval()
    from_module(module, (1, 1, SIDE, SIDE))
    assert module.count == 0
