"""Ranges of activations and weights, chosen by the error that rounding and clamping make together.

The largest value is a poor range: one bright speck would take bits from all other pixels.  So every quantizer tries
some thresholds on a sample of what it saw, and every channel of weights whether a smaller range would do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from hwseg.errors import require
from hwseg.quant.networks import layers
from hwseg.quant.networks.graph import INPUT, Network
from hwseg.quant.networks.layered import QuantizedNetwork
from hwseg.quant.networks.layers import plain
from hwseg.quant.networks.operations import run

SAMPLE = 2048
"""Numbers of a value that are looked at, of each picture."""
STEPS = 24
"""Thresholds that are tried where scales are floats, from the largest value down to an eighth of it."""


def samples(network: Network, settled: dict[str, str], pictures: Sequence[Tensor], seed: int) -> dict[str, Tensor]:
    """What each quantizer of the float network sees: seeded samples of the values that it is to round."""
    names = [layer.name for layer in network.layers if layer.name in settled]
    generator = torch.Generator().manual_seed(seed)
    seen: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for batch in pictures:
            for name, value in run(network, batch, names).items():
                if name not in settled:
                    continue
                flat = value.flatten()
                count = min(flat.numel(), SAMPLE * len(batch))
                chosen = flat[torch.randint(flat.numel(), (count,), generator=generator)]
                seen.setdefault(settled[name], []).append(chosen)
    return {name: torch.cat(values) for name, values in seen.items() if name != INPUT}


def calibrate(quantized: QuantizedNetwork, seen: Mapping[str, Tensor], names: Collection[str] | None = None) -> None:
    """Set every threshold, or those of the quantizers in `names`, to the one with the least squared error on what was
    seen.
    """
    power = quantized.config.scales == "power_of_two"
    for name in quantized.config.quantizers if names is None else names:
        x = seen[name]
        most = float(x.abs().max())
        require(
            most < float("inf"), name, f"its values reach {most}", "the weights are damaged: take another checkpoint"
        )
        quantizer = quantized.quantizer(name)
        if most == 0:
            layers.set_threshold(quantizer, 2.0**-8)
            continue
        top = float(torch.tensor(most).log2().ceil())
        tried = (
            [2.0 ** (top + 1 - i) for i in range(8)] if power else [most * 2.0 ** (-i / 8) for i in range(STEPS + 1)]
        )
        errors = [_error(quantizer, x, max(threshold, 2.0**-20)) for threshold in tried]
        layers.set_threshold(quantizer, max(tried[errors.index(min(errors))], 2.0**-20))


@torch.no_grad()
def _error(quantizer: torch.nn.Module, x: Tensor, threshold: float) -> float:
    layers.set_threshold(quantizer, threshold)
    return float((plain(quantizer(x)) - x).double().square().mean())


@torch.no_grad()
def clip_weights(quantized: QuantizedNetwork) -> None:
    """Clamp each channel of weights where a smaller range rounds the others so much better that the sum gains."""
    power = quantized.config.scales == "power_of_two"
    transposed = {layer.name for layer in quantized.config.layers if layer.op == "conv_transpose"}
    for name in quantized.config.convolutions:
        bits = quantized.config.weight_bits_of(name)
        module = quantized.get_submodule(name)
        w: Tensor = module.weight.data  # type: ignore[assignment]
        rows = (w.transpose(0, 1) if name in transposed else w).flatten(1)
        most = rows.abs().amax(1).clamp(min=1e-12)
        tops = most.log2().ceil().exp2() if power else most
        shares = (1.0, 0.5, 0.25) if power else (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
        errors = torch.stack([_weight_error(rows, tops * share, bits, power) for share in shares])
        best = torch.tensor(shares)[errors.argmin(0)] * tops
        limit = best.view([-1 if i == (1 if name in transposed else 0) else 1 for i in range(4)])
        module.weight.copy_(torch.maximum(torch.minimum(w, limit), -limit))  # type: ignore[operator]


def _weight_error(rows: Tensor, tops: Tensor, bits: int, power: bool) -> Tensor:
    steps = 2 ** (bits - 1)
    scale = (tops / (steps if power else steps - 1))[:, None]
    rounded = (rows / scale).round().clamp(1 - steps, steps - 1) * scale
    found: Tensor = (rounded - rows).square().sum(1)
    return found
