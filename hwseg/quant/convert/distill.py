"""Some hundred steps in which the quantized network learns the float one's logits and features; no masks are needed.

    loss    cross-entropy with the float network's probabilities
            + mean squared error of logits, over their variance
            + the same of some activations, each channel up to a factor (equalization has changed those)

Whatever came closest to the float network's probabilities, at the beginning or every 25 steps, is what is kept.  Step s
draws its pictures, mirrored and darkened at random, from the seed and s alone.  So a run that was stopped goes on from
its file as if nothing had been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwseg.errors import HwsegError, require
from hwseg.interrupts import deferred
from hwseg.quant.networks.graph import ACTIVATIONS, Network
from hwseg.quant.networks.layered import QuantizedNetwork
from hwseg.quant.networks.operations import run
from hwseg.quant.train.checkpoint import load, save

FORMAT = "hwseg distillation 1"
FEATURES = 6
"""Activations that are compared, spread over the depth of the network."""
SAVE_EVERY = 25
GRADED = 16
"""Pictures on which the best is chosen."""
DARKEST = 0.85


@dataclass(frozen=True)
class DistillConfig:
    """steps: in all.  batch: pictures of each.  lr: the highest learning rate, after which a cosine follows.  features:
    weight of their error.
    """

    steps: int = 300
    batch: int = 4
    lr: float = 1e-3
    features: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.steps >= 0, "--distill", f"must be at least 0 steps, not {self.steps}")
        require(self.batch > 0, "--batch", f"must be at least 1, not {self.batch}")
        require(0 < self.lr < 1, "--lr", f"must be between 0 and 1, not {self.lr:g}")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        warm = min(1.0, (step + 1) / min(20, max(1, self.steps // 5)))
        return self.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps))))


class Distillation:
    """The state of a distillation: network, optimizer, steps done.

    papers: what else the file keeps, for whoever goes on with it.
    """

    def __init__(
        self, student: QuantizedNetwork, teacher: Network, pictures: Tensor, config: DistillConfig,
        papers: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.pictures, self.config = student, teacher, pictures, config
        self.papers, self.step = dict(papers or {}), 0
        self.best: tuple[float, dict[str, Tensor]] | None = None
        known = {layer.name for layer in teacher.layers}
        names = [x.name for x in student.config.layers if x.op in ACTIVATIONS and x.name in known]
        chosen = np.linspace(0, len(names) - 1, min(FEATURES, len(names))).round().astype(int).tolist() if names else []
        self.features = tuple(names[i] for i in dict.fromkeys(chosen))
        self.clamped = frozenset(x.name for x in student.config.layers if x.op == "relu")
        self.optimizer = self._adam()

    def _adam(self) -> torch.optim.Optimizer:
        """Thresholds learn half as fast as weights."""
        named = [(name, p) for name, p in self.student.named_parameters() if p.requires_grad]
        scales = [p for name, p in named if name.endswith("scaling_impl.value")]
        others = [p for name, p in named if not name.endswith("scaling_impl.value")]
        groups: list[dict[str, Any]] = [{"params": others, "scale": 1.0}, {"params": scales, "scale": 0.5}]
        return torch.optim.Adam(groups, lr=self.config.lr)

    def drawn(self) -> Tensor:
        """The pictures of this step."""
        rng = np.random.default_rng((self.config.seed, self.step))
        some = self.pictures[torch.from_numpy(rng.integers(0, len(self.pictures), self.config.batch))]
        if rng.random() < 0.5:
            some = some.flip(3)
        gain = torch.from_numpy(rng.uniform(DARKEST, 1.0, (len(some), 1, 1, 1))).float()
        return some * gain

    def learn(self) -> float:
        """One step; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step) * group["scale"]
        images = self.drawn()
        with torch.no_grad():
            wanted = run(self.teacher, images, self.features)
        found = self.student.values(images, self.features)
        loss = distance(found[self.student.config.output], wanted[self.teacher.output])
        if self.features and self.config.features:
            parts = []
            for name in self.features:
                target = wanted[name].clamp(min=0) if name in self.clamped else wanted[name]
                parts.append(_alike(found[name], target))
            loss = loss + self.config.features * torch.stack(parts).mean()
        number = float(loss.detach())
        rule = f"the loss of distillation is {number}"
        require(math.isfinite(number), f"step {self.step + 1}", rule, f"lower --lr, which is {self.config.lr:g}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return number

    @torch.no_grad()
    def grade(self) -> None:
        """Keep the network as it is, if it is the best so far."""
        errors = []
        for some in torch.split(self.pictures[:GRADED], self.config.batch):
            wanted = run(self.teacher, some)[self.teacher.output]
            errors.append((likely(self.student(some)) - likely(wanted)).square().mean() * len(some))
        error = float(torch.stack(errors).sum())
        if self.best is None or error < self.best[0]:
            self.best = error, {name: value.clone() for name, value in self.student.state_dict().items()}

    def adopt(self) -> None:
        """Become the best."""
        if self.best is not None:
            self.student.load_state_dict(self.best[1])
        self.student.eval()

    def save(self, path: Path) -> None:
        """Write all that the next step depends on."""
        state = {
            "format": FORMAT, "step": self.step, "model": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(), **self.papers,
            "best": list(self.best) if self.best is not None else [],
        }  # fmt: skip
        save(path, state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the distillation that was written."""
        self.student.load_state_dict(state["model"])  # replaces the scales' Parameter objects, so before the optimizer
        self.optimizer = self._adam()
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        self.best = (float(state["best"][0]), dict(state["best"][1])) if state["best"] else None


def distill(
    distillation: Distillation, path: Path | None = None, told: Callable[[int, float], None] = lambda step, loss: None
) -> None:
    """Go on to the last step.  path: of the file that is kept on the way, and when Ctrl-C or SIGTERM ends it."""
    one = distillation
    if one.best is None:
        one.grade()
    with deferred() as asked:
        try:
            while one.step < one.config.steps:
                asked.check()
                told(one.step, one.learn())
                if one.step % SAVE_EVERY == 0 or one.step == one.config.steps:
                    one.grade()
                    if path is not None:
                        one.save(path)
            asked.check()  # in the last step, too: what comes behind takes as long
        except KeyboardInterrupt:
            if path is not None:
                one.save(path)
            raise
    one.adopt()


def read_state(path: Path, key: str) -> dict[str, Any]:
    """What a distillation that was stopped has written; HwsegError where it is of other options or pictures."""
    state = load(path, FORMAT)
    if state.get("key") != key:
        cure = "give the options and pictures that it began with, or leave out --resume"
        raise HwsegError(str(path), "belongs to another network, other pictures or options", cure)
    return state


def distance(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy with probabilities, and the error of logits over their variance."""
    if wanted.shape[1] == 1:
        entropy = functional.binary_cross_entropy_with_logits(logits, wanted.sigmoid())
        floor = functional.binary_cross_entropy_with_logits(wanted, wanted.sigmoid())
    else:
        likely = wanted.softmax(1)
        entropy = -(likely * logits.log_softmax(1)).sum(1).mean()
        floor = -(likely * wanted.log_softmax(1)).sum(1).mean()
    near = logits.clamp(-8, 8) - wanted.clamp(-8, 8)
    return 4 * (entropy - floor) + near.square().mean() / wanted.clamp(-8, 8).var().clamp(min=1e-3)


def likely(logits: Tensor) -> Tensor:
    """Probabilities of logits."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _alike(found: Tensor, wanted: Tensor) -> Tensor:
    """Error of each channel up to a factor, over its power; mean of all channels that are not always 0."""
    over = (0, 2, 3)
    factor = ((found * wanted).sum(over) / found.square().sum(over).clamp(min=1e-12)).detach().view(1, -1, 1, 1)
    power = wanted.square().sum(over)
    errors = (factor * found - wanted).square().sum(over) / power.clamp(min=1e-12)
    return errors[power > 0].clamp(max=4).mean() if bool((power > 0).any()) else errors.sum() * 0


def gathered(pictures: Sequence[Tensor]) -> Tensor:
    """Batches as one."""
    return torch.cat(list(pictures))
