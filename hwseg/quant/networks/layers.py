"""Quantized layers: where a float becomes an integer with a scale, stated once for all networks.

Weights are signed and narrow ([-127, 127] at 8 bits) with the scale of their largest magnitude; activations after ReLU
are unsigned with a learned threshold; biases are 32-bit integers on the accumulator's own scale, so that an accumulator
plus its bias is exact.  Zero points are 0 everywhere.
"""

# mypy: disable-error-code="misc"
# Brevitas ships no types, so its quantizer classes cannot be subclassed in typed form.

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, TypeVar

import brevitas.nn as qnn
import torch
from brevitas.core.function_wrapper.ops_ste import CeilSte
from brevitas.core.restrict_val import PowerOfTwoRestrictValue
from brevitas.core.scaling import PowerOfTwoIntScaling
from brevitas.inject.enum import RestrictValueType, ScalingImplType
from brevitas.quant.base import IntQuant, MaxStatsScaling, NarrowIntQuant, UintQuant
from brevitas.quant.scaled_int import Int32Bias
from brevitas.quant.solver.act import ActQuantSolver
from brevitas.quant.solver.weight import WeightQuantSolver
from torch import Tensor, nn

from hwseg.errors import HwsegError, require
from hwseg.pictures.table import BYTE, Quantizer

SCALES = ("power_of_two", "float")
Model = TypeVar("Model", bound=nn.Module)


class _PowerOfTwo(IntQuant):
    restrict_scaling_type = RestrictValueType.POWER_OF_TWO
    restrict_value_float_to_int_impl = CeilSte
    restrict_scaling_impl = PowerOfTwoRestrictValue
    int_scaling_impl = PowerOfTwoIntScaling


class _Float(IntQuant):
    restrict_scaling_type = RestrictValueType.FP


class _PowerOfTwoWeight(NarrowIntQuant, MaxStatsScaling, _PowerOfTwo, WeightQuantSolver):
    bit_width = 8
    scaling_per_output_channel = False


class _FloatWeight(NarrowIntQuant, MaxStatsScaling, _Float, WeightQuantSolver):
    bit_width = 8
    scaling_per_output_channel = False


class _Threshold(IntQuant):
    """A learned clipping threshold in place of run-time statistics: all of the state is in the state dict."""

    scaling_impl_type = ScalingImplType.PARAMETER
    scaling_per_output_channel = False
    scaling_init = 4.0
    bit_width = 8


class _PowerOfTwoUnsigned(UintQuant, _Threshold, _PowerOfTwo, ActQuantSolver):
    pass


class _FloatUnsigned(UintQuant, _Threshold, _Float, ActQuantSolver):
    pass


class _PowerOfTwoSigned(_Threshold, _PowerOfTwo, ActQuantSolver):
    pass


class _FloatSigned(_Threshold, _Float, ActQuantSolver):
    pass


class _Pixel(UintQuant, _PowerOfTwo, ActQuantSolver):
    """q = 256 * x for x = pixel / 256: 8 bits, unsigned, scale 2^-8, never trained."""

    scaling_impl_type = ScalingImplType.CONST
    scaling_per_output_channel = False
    scaling_init = 1.0
    bit_width = 8


class _SignedPixel(_PowerOfTwo, ActQuantSolver):
    """8 bits, signed, scale bound / 128, never trained."""

    scaling_impl_type = ScalingImplType.CONST
    scaling_per_output_channel = False
    bit_width = 8


def pixel_input(bound: int = 0) -> nn.Module:
    """The network's first quantizer, of 8 bits: unsigned at scale 2^-8, or signed from -bound to bound."""
    kind = {"act_quant": _SignedPixel, "scaling_init": float(bound)} if bound else {"act_quant": _Pixel}
    layer: nn.Module = qnn.QuantIdentity(**kind, return_quant_tensor=True)
    return layer


def pixel_quantizer(bound: int) -> Quantizer:
    """The integers that `pixel_input` makes."""
    return Quantizer(Fraction(bound, 128), -128, 127) if bound else BYTE


def relu(bits: int, scales: str) -> nn.Module:
    """ReLU into `bits` unsigned bits."""
    quantizer = _PowerOfTwoUnsigned if scales == "power_of_two" else _FloatUnsigned
    layer: nn.Module = qnn.QuantReLU(act_quant=quantizer, bit_width=bits, return_quant_tensor=True)
    return layer


def signed_identity(bits: int, scales: str) -> nn.Module:
    """`bits` signed bits, for the operand of a residual addition."""
    quantizer = _PowerOfTwoSigned if scales == "power_of_two" else _FloatSigned
    layer: nn.Module = qnn.QuantIdentity(act_quant=quantizer, bit_width=bits, return_quant_tensor=True)
    return layer


def unsigned_identity(bits: int, scales: str) -> nn.Module:
    """`bits` unsigned bits, for what is never negative."""
    quantizer = _PowerOfTwoUnsigned if scales == "power_of_two" else _FloatUnsigned
    layer: nn.Module = qnn.QuantIdentity(act_quant=quantizer, bit_width=bits, return_quant_tensor=True)
    return layer


def conv(in_channels: int, out_channels: int, kernel: int, bits: int, scales: str, per_channel: bool) -> nn.Module:
    """Convolution of stride 1 that keeps the size, weights in `bits` bits."""
    layer: nn.Module = qnn.QuantConv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, bias=True, **parameters(bits, scales, per_channel)
    )
    return layer


def up_conv(in_channels: int, out_channels: int, bits: int, scales: str, per_channel: bool) -> nn.Module:
    """2x2 transposed convolution of stride 2, weights in `bits` bits."""
    layer: nn.Module = qnn.QuantConvTranspose2d(
        in_channels, out_channels, 2, stride=2, bias=True, **parameters(bits, scales, per_channel)
    )
    return layer


def parameters(bits: int, scales: str, per_channel: bool) -> dict[str, Any]:
    """How a convolution of Brevitas quantizes its weights and its bias."""
    return {
        "weight_quant": _PowerOfTwoWeight if scales == "power_of_two" else _FloatWeight,
        "weight_bit_width": bits,
        "weight_scaling_per_output_channel": per_channel,
        "bias_quant": Int32Bias,
    }


def set_quantization(model: nn.Module, enabled: bool) -> None:
    """Turn every quantizer of `model` on, or off (a plain float network)."""
    for module in model.modules():
        if isinstance(module, (qnn.QuantReLU, qnn.QuantIdentity)):
            module.return_quant_tensor = enabled
        if hasattr(module, "disable_quant"):
            module.disable_quant = not enabled  # type: ignore[assignment]


def set_threshold(quantizer: nn.Module, threshold: float) -> None:
    """Clip the activation at `threshold` (largest representable magnitude, before rounding to a power of two)."""
    require(threshold > 0, "threshold", f"must be positive, not {threshold}")
    scaling: Any = quantizer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl  # type: ignore[union-attr]
    value = torch.tensor(threshold)
    with torch.no_grad():
        if scaling_is_logarithmic(quantizer):
            value = torch.log2(value)
        scaling.value.fill_(value.item())


def scaling_is_logarithmic(quantizer: nn.Module) -> bool:
    """Whether the learned value is log2 of the threshold (power-of-two scales)."""
    scaling: Any = quantizer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl  # type: ignore[union-attr]
    return isinstance(scaling.restrict_clamp_scaling.restrict_value_impl, PowerOfTwoRestrictValue)


def is_learned_activation(module: nn.Module) -> bool:
    """Whether `module` is an activation quantizer with a learned threshold."""
    if not isinstance(module, (qnn.QuantReLU, qnn.QuantIdentity)):
        return False
    scaling = module.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
    return isinstance(getattr(scaling, "value", None), nn.Parameter)


def merge_batch_norm(layer: Any, norm: nn.BatchNorm2d) -> None:
    """Multiply `norm` (as it acts in evaluation) into the weights and bias of the convolution `layer`, in float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise HwsegError("batch norm", "has no running statistics to fold", "train with track_running_stats=True")
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias: Tensor = layer.bias.double() - norm.running_mean.double()
    dimension = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    shape = [1] * layer.weight.ndim
    shape[dimension] = -1
    adapted = getattr(layer, "parametrizations", {})
    chain = list(adapted["weight"]) if adapted else []
    weight = adapted["weight"].original if adapted else layer.weight
    with torch.no_grad():
        weight.copy_((weight.double() * factor.view(shape)).float())
        for adapter in chain:
            adapter.scale(factor.float(), dimension)
        layer.bias.copy_((bias * factor + norm.bias.double()).float())


def calibrate(model: Model, batches: Iterable[Tensor], quantile: float = 0.9995) -> Model:
    """Set every learned threshold to a quantile of the magnitudes that the float network shows on `batches`."""
    seen: dict[nn.Module, list[float]] = {}

    def record(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.setdefault(module, []).append(_quantile(plain(args[0]), quantile))

    learned = {m for m in model.modules() if is_learned_activation(m)}
    hooks = [module.register_forward_pre_hook(record) for module in learned]
    training = model.training
    set_quantization(model.eval(), False)
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
    finally:
        set_quantization(model.train(training), True)
        for hook in hooks:
            hook.remove()
    require(bool(seen), "calibration", "needs at least one batch")
    for module, values in seen.items():
        set_threshold(module, max(sum(values) / len(values), 2.0**-8))
    return model


def _quantile(values: Tensor, quantile: float) -> float:
    magnitudes = values.detach().abs().flatten()
    rank = max(1, math.ceil(quantile * magnitudes.numel()))
    return float(magnitudes.kthvalue(rank).values)


def plain(x: Any) -> Tensor:
    """The tensor of a QuantTensor."""
    result: Tensor = x.value if hasattr(x, "scale") else x
    return result
