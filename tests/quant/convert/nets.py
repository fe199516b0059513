"""Small networks as other people write them, each with something that must be read, folded or replaced."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def block(before: int, after: int, norm: type[nn.Module] = nn.BatchNorm2d, act: nn.Module | None = None) -> nn.Module:
    """Convolution, normalization, Dropout, activation."""
    layers = (nn.Conv2d(before, after, 3, padding=1, bias=False), norm(after), nn.Dropout(0.1), act or nn.ReLU())
    return nn.Sequential(*layers)


class Small(nn.Module):
    """A U-Net of one pooling."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d, act: nn.Module | None = None, classes: int = 1) -> None:
        super().__init__()
        self.enc, self.bottom = block(1, 6, norm, act), block(6, 8, norm, act)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.dec, self.head = block(12, 6, norm, act), nn.Conv2d(6, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.enc(x)
        b = self.bottom(nn.functional.max_pool2d(a, 2))
        return self.head(self.dec(torch.cat([a, self.up(b)], dim=1)))


class Residual(nn.Module):
    """In-place activations, an addition, a strided convolution, bilinear enlarging, normalization behind a ReLU."""

    def __init__(self, corners: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.down, self.norm = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.relu, self.corners = nn.ReLU(inplace=True), corners
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = self.relu(y)
        z = self.norm(self.relu(self.down(self.relu(y + self.b(z)))))
        z = nn.functional.interpolate(z, scale_factor=2.0, mode="bilinear", align_corners=self.corners)
        return torch.sigmoid(self.head(z))


class Gated(nn.Module):
    """Squeeze-and-excitation, an attention gate and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.squeeze = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.attend, self.head = nn.Conv2d(6, 1, 1), nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a((x - 0.5) / 0.25))
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        y = y * torch.sigmoid(self.attend(y)) * 2 + 1
        return self.head(y)


class Branching(nn.Module):
    """Control flow that depends on the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(x)
        if y.mean() > 0:
            return y
        return -y


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with seeded weights, and statistics that are not those of the beginning."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.reset_parameters()
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.weight is not None:
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    return module.eval()


@torch.no_grad()
def centred(module: nn.Module) -> nn.Module:
    """The module with a median logit of 0 on pictures, as in a trained one: masks have both classes."""
    heads = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    seen: list[Tensor] = []
    handle = heads[-1].register_forward_hook(lambda layer, inputs, output: seen.append(output))
    module(pictures(4))
    handle.remove()
    heads[-1].bias -= seen[0].transpose(0, 1).flatten(1).median(1).values
    return module


def small() -> nn.Module:
    """A U-Net that nobody trained."""
    return settled(Small())


def masked() -> nn.Module:
    """The same with masks of both classes, as the command wants it."""
    return centred(small())


def tiny() -> nn.Module:
    """As little as can be searched and distilled."""
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    return centred(settled(nn.Sequential(*layers)))


def needs(width: int) -> nn.Module:
    """A callable that needs an argument."""
    return nn.Conv2d(1, width, 3)


def pictures(count: int = 8, side: int = 16, seed: int = 0) -> Tensor:
    """Bright discs on a dark ground, with noise."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    found = []
    for _ in range(count):
        centre = torch.rand(2, generator=generator) * side / 2 + side / 4
        disc = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (side / 4) ** 2).float()
        found.append((0.2 + 0.6 * disc + 0.1 * torch.rand(side, side, generator=generator))[None])
    return torch.stack(found)
