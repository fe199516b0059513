"""The U-Net: its names and bits, equal scales at every concat, exact folding, and errors that say what to change."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.networks import layers  # noqa: E402
from hwseg.quant.networks.layers import calibrate  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm, preset  # noqa: E402


def picture(channels: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, channels, 16, 16), generator=generator) / 256


def trained_like(config: UNetConfig) -> QuantUNet:
    """A network whose normalization has seen data, in evaluation mode."""
    torch.manual_seed(1)
    model = QuantUNet(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -1.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    layers.set_quantization(model, False)
    for seed in range(20):
        model(picture(config.in_channels, seed))
    layers.set_quantization(model, True)
    return model.eval()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("bits", ["w8a8", "mixed"])
def test_folding_keeps_the_float_network(upsampling: str, bits: str, residual: bool) -> None:
    model = trained_like(preset(bits, depth=2, width=3, upsampling=upsampling, residual=residual, out_channels=2))
    layers.set_quantization(model, False)
    x = picture()
    with torch.no_grad():
        before = model(x)
        after = fold_batch_norm(model)(x)
    assert model.folded
    assert before.shape == (2, 2, 16, 16)
    assert torch.allclose(before, after, atol=1e-5 * before.abs().max().item())


@pytest.mark.parametrize("scales", ["power_of_two", "float"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_branches_of_a_concat_have_one_scale(upsampling: str, scales: str) -> None:
    model = calibrate(trained_like(UNetConfig(depth=2, width=2, upsampling=upsampling, scales=scales)), [picture()])
    seen = []
    for i in range(2):
        model.get_submodule(f"skip{i}").register_forward_pre_hook(lambda _, args: seen.append(args))
    with torch.no_grad():
        model(picture())
    assert len(seen) == 2
    for skip, up in seen:
        assert skip.scale.item() == up.scale.item()
        integers = (up.value / up.scale).double()
        assert torch.allclose(integers, integers.round(), atol=1e-4)
        assert integers.min() >= 0
        assert integers.max() <= 255


def test_input_integers_are_the_pixels() -> None:
    model = QuantUNet(UNetConfig(depth=1, width=1))
    q = model.input(torch.arange(256).reshape(1, 1, 16, 16) / 256)
    assert q.scale.item() == 2.0**-8
    assert torch.equal(q.value * 256, torch.arange(256).reshape(1, 1, 16, 16).float())


def test_calibration_leaves_few_values_clipped() -> None:
    model = trained_like(UNetConfig(depth=1, width=4))
    calibrate(model, [picture(seed=s) for s in range(4)])
    with torch.no_grad():
        quantized = model(picture())
        layers.set_quantization(model, False)
        exact = model(picture())
    assert (quantized - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_bits_by_name_and_the_first_and_last_weights_stay_at_8() -> None:
    config = UNetConfig(weight_bits=4, activation_bits={"*": 4, "enc0/*": 6, "dec1/conv1": 6})
    model = QuantUNet(config)
    assert [config.weight_bits_of(n) for n in ("enc0/conv0", "enc0/conv1", "head")] == [8, 4, 8]
    assert int(model.get_submodule("enc0.conv1").weight_quant.bit_width()) == 4
    assert int(model.get_submodule("head").weight_quant.bit_width()) == 8
    assert int(model.get_submodule("enc0.act0").act_quant.bit_width()) == 6
    assert int(model.get_submodule("bottom.act0").act_quant.bit_width()) == 4


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "transposed"])
@pytest.mark.parametrize("name", ["w8a8", "w4a4", "mixed"])
def test_config_survives_a_dictionary(name: str, upsampling: str) -> None:
    config = preset(name, depth=2, upsampling=upsampling, residual=True)
    assert UNetConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth": 0}, "UNetConfig.depth: must be a whole number from 1 to 8, not 0"),
        ({"width": 2.5}, "UNetConfig.width: must be a whole number from 1 to 1024, not 2.5"),
        ({"widths": (8, 16)}, "UNetConfig.widths: must have depth + 1 = 4 entries, not 2"),
        ({"upsampling": "cubic"}, "UNetConfig.upsampling: must be nearest or bilinear or transposed, not 'cubic'"),
        ({"scales": "log"}, "UNetConfig.scales: must be power_of_two or float, not 'log'"),
        ({"weight_bits": 1}, "UNetConfig.weight_bits: must be a whole number from 2 to 8, not 1"),
        ({"weight_bits": {"enc9/*": 4}}, "UNetConfig.weight_bits: 'enc9/*' matches no layer"),
        ({"activation_bits": {"enc0/conv1": 4}}, "dec1/conv1 and enc0/conv1 meet in a concat"),
        ({"residual": 1}, "UNetConfig.residual: must be true or false"),
    ],
)
def test_bad_configurations_are_refused_in_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(HwsegError) as caught:
        UNetConfig(**options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(HwsegError, match=r"UNetConfig.deepness: is no option of the U-Net; options are"):
        UNetConfig.from_dict({"deepness": 3})
