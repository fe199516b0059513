"""A converted network to choose bits for, and its loss, which needs no masks: how far it is from the float network.

`hwseg.quant.train.search` turns its activations' bits; those that are turned get their range anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwseg.quant.convert import ranges
from hwseg.quant.convert.convert import Converted
from hwseg.quant.convert.distill import likely
from hwseg.quant.networks.graph import Network
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork
from hwseg.quant.networks.operations import run
from hwseg.quant.train import metrics
from hwseg.quant.train.search import digest_of, with_bits


@dataclass(frozen=True)
class Agreement:
    """Batches of float inputs [n, C, H, W] with the float network's logits [n, classes, H, W]."""

    batches: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    @torch.no_grad()
    def of(cls, network: Network, pictures: Sequence[Tensor]) -> Agreement:
        return cls(tuple((batch, run(network, batch)[network.output]) for batch in pictures))

    @property
    def digest(self) -> str:
        """A short name for exactly these pictures and logits."""
        named = {f"{n} {i}": t for n, pair in enumerate(self.batches) for i, t in enumerate(pair)}
        return digest_of(named)

    @torch.no_grad()
    def measure(self, model: QuantizedNetwork) -> tuple[float, float]:
        """Mean squared difference of probabilities, and mean Dice between the masks of both networks."""
        wrong, dice = list[Tensor](), list[Tensor]()
        for inputs, wanted in self.batches:
            found = model(inputs)
            wrong.append((likely(found) - likely(wanted)).square().mean((1, 2, 3)))
            classes = max(2, wanted.shape[1])
            dice.append(metrics.dice(metrics.labels(found), metrics.labels(wanted), classes))
        return float(torch.cat(wrong).mean()), float(torch.cat(dice).mean())


@dataclass(frozen=True)
class Base:
    """A converted network that is made at other bits.  seen: samples of what each quantizer rounds."""

    config: NetworkConfig
    state: dict[str, Tensor]
    seen: dict[str, Tensor]

    @classmethod
    def of(cls, converted: Converted, pictures: Sequence[Tensor], seed: int) -> Base:
        config = converted.quantized.config
        seen = ranges.samples(converted.fit.network, config.settled, pictures, seed)
        return cls(config, converted.quantized.state_dict(), seen)

    @property
    def digest(self) -> str:
        """A short name for exactly these parameters and samples."""
        return digest_of({**self.state, **{f"{name}/seen": value for name, value in self.seen.items()}})

    def network(self, bits: Mapping[str, int]) -> QuantizedNetwork:
        """The same parameters at other bits; activations that have others get the range that suits these."""
        model = QuantizedNetwork(with_bits(self.config, bits))
        model.load_state_dict(self.state)
        before, now = self.config.activation_bits_of, model.config.activation_bits_of
        ranges.calibrate(model, self.seen, [name for name in model.config.activations if before(name) != now(name)])
        return model.eval()
