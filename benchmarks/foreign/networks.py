"""The networks: one grey picture in, one logit a pixel out, at the libraries' defaults but for their widths.

milesial    the U-Net of github.com/milesial/Pytorch-UNet: batch normalization, transposed convolutions
monai       MONAI's BasicUNet: instance normalization, LeakyReLU of slope 0.1
attention   MONAI's AttentionUnet: convolutions of stride 2, gates on the skips
nnunet      nnU-Net's PlainConvUNet: instance normalization, LeakyReLU of slope 0.01
resnet18    segmentation-models' Unet with the first two stages of ResNet-18: 7x7 and 3x3 poolings, additions
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128)


class _Twice(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        layers: list[nn.Module] = []
        for channels in (before, after):
            convolution = nn.Conv2d(channels, after, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Milesial(nn.Module):
    """Two 3x3 convolutions a level, max-pooling down, 2x2 transposed convolutions up, skips."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.inc = _Twice(1, widths[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _Twice(a, b)) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(pairs))
        self.merge = nn.ModuleList(_Twice(2 * a, a) for a, _ in reversed(pairs))
        self.outc = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.inc(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        y = levels.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            y = merge(torch.cat([levels.pop(), up(y)], dim=1))
        return self.outc(y)


def milesial() -> nn.Module:
    """Its U-Net of depth 3, 16 to 128 channels."""
    return Milesial()


def monai() -> nn.Module:
    """BasicUNet with its defaults, narrower."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(spatial_dims=2, in_channels=1, out_channels=1, features=(12, 12, 24, 48, 96, 12))


def attention() -> nn.Module:
    """AttentionUnet with its defaults, narrower."""
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(spatial_dims=2, in_channels=1, out_channels=1, channels=(12, 24, 48, 96), strides=(2, 2, 2))


def nnunet() -> nn.Module:
    """PlainConvUNet as nnU-Net configures it in two dimensions, narrower; strides in place of poolings."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        1, 4, (12, 24, 48, 96), nn.Conv2d, 3, (1, 2, 2, 2), (2, 2, 2, 2), 1, (2, 2, 2), conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )  # fmt: skip


def resnet18() -> nn.Module:
    """Unet with an encoder of depth 3, not pretrained.  What of ResNet-18 it does not use is taken out."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):  # torchvision declares it of its binary part, which is not needed
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import segmentation_models_pytorch

    network: nn.Module = segmentation_models_pytorch.Unet(
        "resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(48, 32, 16), in_channels=1, classes=1
    )
    del network.encoder.layer3, network.encoder.layer4
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "milesial": milesial, "monai": monai, "attention": attention, "nnunet": nnunet, "resnet18": resnet18,
}  # fmt: skip
