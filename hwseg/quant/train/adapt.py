"""AdaLoRA-QAT for convolutions: a trained network learns other pictures with few parameters and ends in integers.

Stage 1, floating point: the base is frozen; every convolution gets W + P diag(lambda) Q, where a kernel
[out, in, k, k] counts as the matrix [out * k, in * k].  A triplet (column of P, lambda, row of Q) has an importance:
smoothed sensitivity |w * gradient| times its smoothed deviation; a budget that falls with a cubic decides how many
triplets stay, over all layers together.  A penalty keeps P and Q orthogonal.
Stage 2, quantized and folded: ranks are frozen, the adapters stay in float32 under the weight quantizers.
Then W + P diag(lambda) Q becomes plain weights: what is saved is an ordinary network.

Zhang et al., AdaLoRA (ICLR 2023), and AdaLoRA-QAT (arXiv 2604.01167), which adapts linear layers only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hwseg.borders import given
from hwseg.errors import HwsegError, require
from hwseg.quant.networks.architecture import Architecture, Quantized
from hwseg.quant.train.checkpoint import CURE, RUN_FORMAT, WHAT, architecture_of, load, save_network
from hwseg.quant.train.config import OLDER, TrainConfig
from hwseg.quant.train.folder import STATE, digest_of
from hwseg.quant.train.run import Run

FACTORS = ("p", "weight", "q")


@dataclass(frozen=True)
class AdaptConfig:
    """`rank` triplets per convolution to begin with, `final_rank` on average when the budget has fallen.

    The dearest convolutions begin with fewer, so that at least `fewer` times fewer parameters are trained than by full
    fine-tuning.
    The budget falls between `budget_from` and `budget_to`, shares of stage 1.  `orthogonality` weighs the penalty,
    `smoothing` and `deviation` are the decays of importance.
    """

    rank: int = 3
    final_rank: float = 2.0
    fewer: float = 16.6
    budget_from: float = 0.2
    budget_to: float = 0.7
    orthogonality: float = 0.003
    smoothing: float = 0.9
    deviation: float = 0.9

    def __post_init__(self) -> None:
        fits = isinstance(self.rank, int) and 1 <= self.rank <= 256
        require(fits, "--rank", f"must be a whole number from 1 to 256, not {self.rank!r}")
        require(0 < self.final_rank <= self.rank, "--final-rank", f"must be above 0 and at most {self.rank}, "
                f"not {self.final_rank!r}")  # fmt: skip
        require(self.fewer >= 1, "--fewer", f"must be at least 1, not {self.fewer!r}")
        order = 0 <= self.budget_from < self.budget_to <= 1
        require(order, "adapt.budget_from", f"and budget_to must rise from 0 to 1, not {self.budget_from}")

    def budget(self, done: float, layers: int, first: int) -> int:
        """Of `first` triplets those that stay when `done` of stage 1 (0 to 1) is over: constant, falling, constant."""
        last = min(first, round(self.final_rank * layers))
        left = min(1.0, max(0.0, (self.budget_to - done) / (self.budget_to - self.budget_from)))
        return round(last + (first - last) * left**3)


class LowRank(nn.Module):
    """A parametrization of a weight [a, b, k, k]: weight + P diag(lambda * alive) Q as a matrix [a * k, b * k]."""

    alive: Tensor

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        a, b, k, _ = shape
        self.shape = a, k, b, k
        rank = min(rank, a * k, b * k)
        self.p = nn.Parameter(nn.init.orthogonal_(torch.empty(a * k, rank)))
        self.q = nn.Parameter(nn.init.orthogonal_(torch.empty(rank, b * k)))
        self.weight = nn.Parameter(torch.zeros(rank))
        self.register_buffer("alive", torch.ones(rank))
        for name in FACTORS:
            for kind in ("sensitivity", "deviation"):
                self.register_buffer(f"{name}_{kind}", torch.zeros_like(getattr(self, name)))

    def forward(self, base: Tensor) -> Tensor:
        change: Tensor = (self.p * (self.weight * self.alive)) @ self.q
        return base + change.view(self.shape).permute(0, 2, 1, 3)

    @torch.no_grad()
    def scale(self, factor: Tensor, dimension: int) -> None:
        """Multiply `factor` into dimension 0 or 1 of the whole weight's change."""
        a, k, b, _ = self.shape
        if dimension == 0:
            self.p.copy_((self.p.view(a, k, -1) * factor.view(-1, 1, 1)).view_as(self.p))
        else:
            self.q.copy_((self.q.view(-1, b, k) * factor.view(1, -1, 1)).view_as(self.q))

    @torch.no_grad()
    def observe(self, smoothing: float, deviation: float) -> None:
        """Take this step's gradients into the smoothed sensitivity and its deviation."""
        for name in FACTORS:
            value = getattr(self, name)
            if value.grad is None:
                continue
            now = (value * value.grad).abs()
            mean, spread = getattr(self, f"{name}_sensitivity"), getattr(self, f"{name}_deviation")
            mean.lerp_(now, 1 - smoothing)
            spread.lerp_((now - mean).abs(), 1 - deviation)

    def importance(self) -> Tensor:
        """One number for each triplet."""
        p, weight, q = (getattr(self, f"{n}_sensitivity") * getattr(self, f"{n}_deviation") for n in FACTORS)
        result: Tensor = weight + p.mean(dim=0) + q.mean(dim=1)
        return result

    def orthogonality(self) -> Tensor:
        """How far the columns of P and the rows of Q are from orthonormal, squared."""
        one = torch.eye(len(self.weight), device=self.p.device)
        result: Tensor = ((self.p.T @ self.p - one) ** 2).sum() + ((self.q @ self.q.T - one) ** 2).sum()
        return result

    @property
    def per_triplet(self) -> int:
        """Numbers in one triplet."""
        return self.p.shape[0] + 1 + self.q.shape[1]


def adapters(model: nn.Module) -> Iterator[tuple[str, LowRank]]:
    """Every adapter with the name of its convolution."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            adapter = module.parametrizations["weight"][0]
            if isinstance(adapter, LowRank):
                yield name.replace(".", "/"), adapter


def attach(model: Quantized, rank: int, fewer: float = 1.0) -> None:
    """Put an adapter on every convolution; ranks fall where they are dearest until `fewer` holds."""
    full = _all(model)
    found = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    each = [sum(module.weight.shape[:2]) * module.weight.shape[2] + 1 for module in found]
    ranks = [min(rank, *(side * m.weight.shape[2] for side in m.weight.shape[:2])) for m in found]
    freeze(model, quantized=True)
    others = trainable(model)
    while others + sum(r * n for r, n in zip(ranks, each, strict=True)) > full / fewer:
        dearest = max(range(len(found)), key=lambda i: ranks[i] * each[i])
        require(
            ranks[dearest] > 1, "--fewer", f"is too much: no adapters fit {fewer:g} times fewer parameters", "lower it"
        )
        ranks[dearest] -= 1
    for module, count in zip(found, ranks, strict=True):
        parametrize.register_parametrization(module, "weight", LowRank(module.weight.shape, count))


def freeze(model: Quantized, quantized: bool) -> None:
    """Let training change adapters, offsets and, when quantized, the learned thresholds of activations.

    The offset of a layer is that of its normalization while it has one, and its bias otherwise.  Normalization's
    factors are trained, too: one number per channel does what no change of low rank can.
    """
    for name, parameter in model.named_parameters():
        adapter = ".parametrizations.weight.0." in name
        norm = ".norm" in name
        offset = norm or (name.endswith("bias") and (model.folded or name.startswith("head")))
        threshold = quantized and name.endswith("scaling_impl.value")
        parameter.requires_grad_(adapter or offset or threshold)


def trainable(model: nn.Module) -> int:
    """Numbers that training may change; of an adapter, those of the triplets that are alive."""
    dead = sum((len(a.alive) - int(a.alive.sum())) * a.per_triplet for _, a in adapters(model))
    return sum(p.numel() for p in model.parameters() if p.requires_grad) - dead


def merged(model: Quantized) -> Quantized:
    """An ordinary network of the same function."""
    plain = model.config.build()
    if model.folded:
        plain.fold()
    state = {k: v for k, v in model.state_dict().items() if ".parametrizations." not in k}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    plain.load_state_dict(state)
    return plain


class AdaptRun(Run):
    """A run whose network is a frozen base with adapters; `config.init` names the base."""

    def __init__(self, folder: Path, architecture: Architecture, config: TrainConfig, adapt: AdaptConfig) -> None:
        self.adapt = adapt
        self.started: dict[str, int] = {}
        super().__init__(folder, architecture, config)
        if config.init:
            self.begin()

    def begin(self) -> None:
        """Attach adapters; a checkpoint's values may come afterwards."""
        self.base_folded = self.model.folded
        attach(self.model, self.adapt.rank, self.adapt.fewer)
        self.model.to(self.device)
        self.restart()
        self.started = {"trainable": trainable(self.model), "all": _all(self.model)}

    def restart(self) -> None:
        if any(adapters(self.model)):
            freeze(self.model, self.stage != "float")
        super().restart()

    def learn(self, images: Tensor, targets: Tensor) -> float:
        number = super().learn(images, targets)
        if self.stage == "float":
            self.prune()
        return number

    def penalty(self) -> Tensor | float:
        if self.stage != "float" or not self.adapt.orthogonality:
            return 0.0
        return self.adapt.orthogonality * sum((a.orthogonality() for _, a in adapters(self.model)), torch.zeros(()))

    def after_backward(self) -> None:
        for _, adapter in adapters(self.model):
            adapter.observe(self.adapt.smoothing, self.adapt.deviation)

    @torch.no_grad()
    def prune(self) -> None:
        """Keep the most important triplets that the budget allows; one that is left out soon has no importance."""
        found = [adapter for _, adapter in adapters(self.model)]
        done = self.step / max(1, round(self.config.float_part * self.config.steps))
        begun = sum(len(adapter.alive) for adapter in found)
        budget = self.adapt.budget(done, len(found), begun)
        settled = done >= self.adapt.budget_to and sum(self.ranks().values()) <= budget
        if done < self.adapt.budget_from or settled:
            return
        scores = torch.cat([adapter.importance() for adapter in found])
        keep = torch.zeros_like(scores)
        keep[scores.topk(budget).indices] = 1
        for adapter, alive in zip(found, torch.split(keep, [len(a.alive) for a in found]), strict=True):
            adapter.alive.copy_(alive)

    def keep(self, name: str, quantized: bool) -> None:
        if self.fabric.is_global_zero:
            plain = merged(self.model)
            save_network(self.folder / name, plain, self.config, self.meaning, self.labels, quantized, self.data.seen)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "adapt": asdict(self.adapt), "base_folded": self.base_folded}

    def restore(self, state: dict[str, Any]) -> None:
        if state["base_folded"]:
            self.model.fold()
        self.begin()
        super().restore(state)

    @classmethod
    def resume(cls, folder: Path) -> AdaptRun:
        found = digest_of(folder)
        state = load(folder / STATE, RUN_FORMAT)
        if "adapt" not in state:
            raise HwsegError(str(folder), "is no run of `hwseg adapt`", "go on with `hwseg train --resume`")
        with given(folder / STATE, WHAT, CURE):
            architecture = architecture_of(folder / STATE, state)
            config = TrainConfig.from_dict({**OLDER, **state["train"], "init": ""})
            run = cls(folder, architecture, config, AdaptConfig(**state["adapt"]))
            run.config = replace(config, init=state["train"]["init"])
            run.restore(state)
        run.found = found
        return run

    def ranks(self) -> dict[str, int]:
        """Triplets that are alive in each convolution."""
        return {name: int(adapter.alive.sum()) for name, adapter in adapters(self.model)}

    def importances(self) -> dict[str, float]:
        """Importance of each convolution: that of its living triplets together."""
        return {name: float((a.importance() * a.alive).sum()) for name, a in adapters(self.model)}


def _all(model: Quantized) -> int:
    """Parameters of the network without adapters and thresholds: what full fine-tuning changes."""
    names = ("scaling_impl.value", ".p", ".q", "parametrizations.weight.0.weight")
    return sum(p.numel() for n, p in model.named_parameters() if not n.endswith(names))
