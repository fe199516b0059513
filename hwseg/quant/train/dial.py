"""Activations rounded to fewer planes while training and evaluating: the accuracy dial of the hardware, in PyTorch.

An activation of B bits at p planes is rounded once, from the accumulator: round(x / (2^(B-p) scale)), clipped to p
bits, times 2^(B-p).  `hwseg.golden.run(planes=...)` is the same in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwseg.quant.networks import layers


class Dial:
    """Hooks on every learned activation quantizer of `model`; all planes to begin with.

    Quantizers that branches of a concat share are one entry of `activations`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.activations: list[nn.Module] = []
        for module in model.modules():
            if layers.is_learned_activation(module) and module not in self.activations:
                self.activations.append(module)
        self._planes: dict[nn.Module, int] = {}
        self._hooks = [module.register_forward_hook(self._round) for module in self.activations]

    def set(self, planes: int | Mapping[nn.Module, int]) -> None:
        """At most `planes` planes, for all or by quantizer; 8 is everything."""
        same = dict.fromkeys(self.activations, planes) if isinstance(planes, int) else planes
        self._planes = {module: count for module, count in same.items() if count < 8}

    def draw(self, lowest: int, rng: np.random.Generator) -> None:
        """A random setting from `lowest` to 8 planes: one for all, or one for each, with equal chance."""
        if rng.random() < 0.5:
            self.set(int(rng.integers(lowest, 9)))
        else:
            counts = rng.integers(lowest, 9, len(self.activations)).tolist()
            self.set(dict(zip(self.activations, counts, strict=True)))

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def _round(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        planes = self._planes.get(module)
        if planes is None or not hasattr(output, "scale"):
            return output
        bits = int(output.bit_width)
        drop = bits - planes
        if drop <= 0:
            return output
        x: Tensor = args[0].value if hasattr(args[0], "scale") else args[0]
        signed = bool(output.signed_t)
        low = -(1 << (bits - 1 - drop)) if signed else 0
        high = (1 << (bits - signed - drop)) - 1
        unit = output.scale * 2.0**drop
        ratio = x / unit
        steps = ratio + (torch.round(ratio) - ratio).detach()
        return output.set(value=torch.clamp(steps, low, high) * unit)
