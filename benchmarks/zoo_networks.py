"""Public segmentation networks at small sizes, with random weights: what `benchmarks.zoo` tries.

Normalization is BatchNorm2d wherever the network lets one choose it; the others are as their packages give them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

CHANNELS = 3
Make = Callable[[], nn.Module]


class DoubleConv(nn.Sequential):
    def __init__(self, ins: int, outs: int) -> None:
        super().__init__(
            nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(inplace=True),
            nn.Conv2d(outs, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(inplace=True),
        )  # fmt: skip


class PlainUNet(nn.Module):
    """The U-Net of most tutorials: double convolutions, pooling, enlarging by 2x2 or bilinear, concatenation."""

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 64), bilinear: bool = False, classes: int = 2) -> None:
        super().__init__()
        self.first = DoubleConv(CHANNELS, widths[0])
        self.downs = nn.ModuleList(DoubleConv(a, b) for a, b in pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        pairs = list(pairwise(widths[::-1]))
        self.ups = nn.ModuleList(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            if bilinear
            else nn.ConvTranspose2d(a, b, 2, stride=2)
            for a, b in pairs
        )
        self.joins = nn.ModuleList(DoubleConv((a if bilinear else b) + b, b) for a, b in pairs)
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.first(x)]
        for down in self.downs:
            seen.append(down(self.pool(seen[-1])))
        y = seen.pop()
        for up, join in zip(self.ups, self.joins, strict=True):
            y = join(torch.cat([seen.pop(), up(y)], dim=1))
        return self.last(y)


def _monai(name: str, **given: object) -> Make:
    def make() -> nn.Module:
        from monai.networks import nets

        return getattr(nets, name)(**given)  # type: ignore[no-any-return]

    return make


def _smp(name: str, encoder: str = "resnet18", **given: object) -> Make:
    def make() -> nn.Module:
        import segmentation_models_pytorch as smp

        given_too = {"encoder_weights": None, "in_channels": CHANNELS, "classes": 2} | given
        model: nn.Module = getattr(smp, name)(encoder, **given_too)
        # It compares sizes, which a symbolic trace does not know; the size here is right.
        model.check_input_shape = lambda x: None  # type: ignore[assignment]
        return model

    return make


def _nnunet(name: str, slope: bool) -> Make:
    def make() -> nn.Module:
        from dynamic_network_architectures.architectures import unet

        blocks = {"n_conv_per_stage": 2} if name == "PlainConvUNet" else {"n_blocks_per_stage": 1}
        return getattr(unet, name)(  # type: ignore[no-any-return]
            CHANNELS, 3, [8, 16, 32], nn.Conv2d, 3, [1, 2, 2], num_classes=2, n_conv_per_stage_decoder=1,
            conv_bias=True, norm_op=nn.BatchNorm2d, norm_op_kwargs={}, nonlin=nn.LeakyReLU if slope else nn.ReLU,
            nonlin_kwargs={"inplace": True}, **blocks,
        )  # fmt: skip

    return make


_TWO = {"spatial_dims": 2, "in_channels": CHANNELS, "out_channels": 2}
_LEVELS = {"channels": (8, 16, 32), "strides": (2, 2)}
_BATCH = ("batch", {"affine": True})
NETWORKS: Mapping[str, Make] = {
    "U-Net, 2x2 transposed": PlainUNet,
    "U-Net, bilinear": lambda: PlainUNet(bilinear=True),
    "MONAI UNet, ReLU": _monai("UNet", **_TWO, **_LEVELS, act="relu", norm="batch"),
    "MONAI UNet, PReLU": _monai("UNet", **_TWO, **_LEVELS, norm="batch"),
    "MONAI UNet, residual": _monai("UNet", **_TWO, **_LEVELS, num_res_units=2, act="relu", norm="batch"),
    "MONAI BasicUNet, ReLU": _monai("BasicUNet", **_TWO, features=(8, 8, 16, 32, 32, 8), act="relu", norm=_BATCH),
    "MONAI BasicUNet": _monai("BasicUNet", **_TWO, features=(8, 8, 16, 32, 32, 8)),
    "MONAI BasicUNet++": _monai("BasicUNetPlusPlus", **_TWO, features=(8, 8, 16, 32, 32, 8), act="relu", norm=_BATCH),
    "MONAI AttentionUnet": _monai("AttentionUnet", **_TWO, **_LEVELS),
    "MONAI SegResNet": _monai("SegResNet", **_TWO, init_filters=8, norm="batch"),
    "MONAI DynUNet": _monai(
        "DynUNet", **_TWO, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[8, 16, 32],
        norm_name="batch",
    ),
    "smp Unet": _smp("Unet", decoder_channels=(64, 32, 32, 16, 16)),
    "smp UnetPlusPlus": _smp("UnetPlusPlus", decoder_channels=(64, 32, 32, 16, 16)),
    "smp Linknet": _smp("Linknet"),
    "smp FPN": _smp("FPN", decoder_pyramid_channels=64, decoder_segmentation_channels=32),
    "smp MAnet": _smp("MAnet", decoder_channels=(64, 32, 32, 16, 16)),
    "smp PSPNet": _smp("PSPNet"),
    "smp DeepLabV3+": _smp("DeepLabV3Plus", decoder_channels=64),
    "smp Unet, mobilenet_v2": _smp("Unet", "mobilenet_v2", decoder_channels=(64, 32, 32, 16, 16)),
    "nnU-Net PlainConvUNet, ReLU": _nnunet("PlainConvUNet", False),
    "nnU-Net PlainConvUNet": _nnunet("PlainConvUNet", True),
    "nnU-Net ResidualEncoderUNet": _nnunet("ResidualEncoderUNet", True),
}  # fmt: skip
