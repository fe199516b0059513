"""Quantization-aware training in three stages, resumable at any step with the same result.

    float       a plain network, batch normalization
    quantized   the same with quantizers, thresholds calibrated first
    folded      batch normalization merged into the weights, then fine-tuned: what is exported

A run is a folder: `config.toml`, `last.pt` (everything needed to go on), `float.pt` (the network at the end of the
first stage), `best.pt` (the network with the best validation Dice of the last stage), `metrics.csv`, `curves.png` and
`result.json`.  `split.json` says which pictures are in which part: it stays so.
Device, precision and several processes (`torchrun`) are Lightning Fabric's; every process draws its part of a batch.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwseg.borders import given, memory_for
from hwseg.datasets.pairs import Pair, every_class
from hwseg.errors import require
from hwseg.files import write_whole
from hwseg.interrupts import Asked, deferred, exit_status
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.quant.networks import layers
from hwseg.quant.networks.architecture import Architecture
from hwseg.quant.train import crops, losses, metrics
from hwseg.quant.train.average import Average
from hwseg.quant.train.checkpoint import (
    CURE,
    RUN_FORMAT,
    WHAT,
    architecture_of,
    load,
    load_network,
    save,
    save_network,
    start_from,
)
from hwseg.quant.train.config import OLDER, STAGES, TrainConfig, read_toml, to_toml
from hwseg.quant.train.dial import Dial
from hwseg.quant.train.folder import STATE, alone, digest_of
from hwseg.quant.train.plots import curves, tensorboard
from hwseg.quant.train.processes import fabric
from hwseg.quant.train.progress import Progress, Result
from hwseg.quant.train.rundata import RunData
from hwseg.quant.train.whole import dice

__all__ = ["Progress", "Result", "Run", "TrainConfig", "dice", "load_network", "read_toml", "save_network", "train"]

_COLUMNS = ("step", "stage", "loss", "learning_rate", "val_dice", "seconds")

Parts = dict[str, list[Pair]]


class Run:
    """The state of a training run: network, optimizer, history.

    settled: no step is half done.  saved: the step of last.pt.  found: the SHA-256 of the last.pt that this run was
    read from, or None if it began anew.  papers: files by name that are written with the next state.
    """

    def __init__(self, folder: Path, architecture: Architecture, config: TrainConfig) -> None:
        self.data = RunData(folder, architecture, config)
        architecture = replace(architecture, input_bound=self.meaning.bound)
        self.folder, self.architecture, self.config = folder, architecture, config
        multiple = architecture.multiple
        rule = f"must be a multiple of {multiple} for this network, not {config.size}"
        require(config.size % multiple == 0, "train.size", rule)
        self.fabric = fabric(config)
        self.device = self.fabric.device
        torch.manual_seed(config.seed)
        with memory_for(f"a network of {architecture.fewest} weights", "take a smaller one: lower --width or --depth"):
            self.model = architecture.build().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.calibrated = False
        if config.init:
            base = start_from(self.model, Path(config.init))
            self.calibrated = bool(base["quantized"])
            self.data = RunData(folder, architecture, config, base["seen"])
        self.loss = losses.from_config(config, self.data.weights or ())
        self.step = self.saved = 0
        self.settled = True
        self.found: str | None = None
        self.papers: dict[str, bytes] = {}
        self.stage = STAGES[0]
        self.best = -1.0
        self.waited = 0
        self.history: list[tuple[Any, ...]] = []
        layers.set_quantization(self.model, False)
        self.dial = Dial(self.model)
        self.restart()

    def restart(self) -> None:
        """A new optimizer and a new average for the parameters as they are."""
        self.wrapped, self.optimizer = self.fabric.setup(self.model, self._optimizer())
        self.average = Average(self.model, self.config.ema)

    def _optimizer(self) -> torch.optim.Optimizer:
        trained = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        scales = [p for n, p in trained if n.endswith("scaling_impl.value")]
        others = [p for n, p in trained if not n.endswith("scaling_impl.value")]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": scales, "weight_decay": 0.0, "scale": 0.5}]
        return torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=self.config.weight_decay)

    @property
    def crops(self) -> crops.Crops:
        """How this run draws."""
        return crops.Crops(self.config.size, self.meaning, self.config.resize, self.config.augment)

    @property
    def meaning(self) -> Meaning:
        """What pixels are to it."""
        return self.data.meaning

    @property
    def labels(self) -> Labels:
        """What the values of masks are."""
        return self.data.labels

    def meet(self, parts: Parts) -> Parts:
        """Take what must be known from the pictures, which come back in the parts that the run began with."""
        parts = self.data.meet(parts)
        if self.config.class_weights:
            self.loss = losses.from_config(self.config, self.data.weights or ())
        return parts

    @property
    def share(self) -> range:
        """The part of every batch that this process draws."""
        count, number = self.fabric.world_size, self.fabric.global_rank
        require(
            self.config.batch % count == 0,
            "train.batch",
            f"must be a multiple of the {count} processes, not {self.config.batch}",
        )
        each = self.config.batch // count
        return range(number * each, (number + 1) * each)

    def enter_stage(self, stage: str, pairs: list[Pair]) -> None:
        """Go on to a later stage: calibrate when quantizers come on, fold when the last one begins."""
        self.average.adopt()
        if self.stage == "float":
            if self.step:
                self.keep("float.pt", quantized=False)
            if self.calibrated and not self.step:
                layers.set_quantization(self.model, True)
            else:
                self.calibrate(pairs)
        if stage == "folded":
            self.model.fold()
        self.stage = stage
        self.restart()

    def calibrate(self, pairs: list[Pair]) -> None:
        """Set clipping thresholds from crops that training does not draw."""
        seed = self.config.seed + 1
        batches = (
            crops.draw(pairs, self.crops, seed, i, range(self.config.batch))[0].to(self.device)
            for i in range(self.config.calibration_batches)
        )
        layers.calibrate(self.model, batches)

    def learn(self, images: Tensor, targets: Tensor) -> float:
        """One step of gradient descent; the loss before it."""
        rate = self.config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        if self.config.rounding and self.stage != "float":
            self.dial.draw(self.config.rounding, np.random.default_rng((self.config.seed, self.step)))
        self.wrapped.train()
        self.optimizer.zero_grad(set_to_none=True)
        images = images.to(self.device, memory_format=torch.channels_last)
        value = self.loss(self.wrapped(images), targets.to(self.device)) + self.penalty()
        number = float(value.detach())
        require(
            math.isfinite(number),
            f"step {self.step + 1}",
            f"the loss is {number}",
            f"lower --lr (it is {self.config.lr:g}), or check the masks; {self.folder / 'last.pt'} has what was good",
        )
        self.fabric.backward(value)
        self.after_backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update()
        self.dial.set(8)
        return number

    def penalty(self) -> Tensor | float:
        """What is added to the loss; nothing here."""
        return 0.0

    def after_backward(self) -> None:
        """What is done with gradients before the step; nothing here."""

    def keep(self, name: str, quantized: bool) -> None:
        """Write the network as it is, from the first process only."""
        if self.fabric.is_global_zero:
            save_network(
                self.folder / name, self.model, self.config, self.meaning, self.labels, quantized, self.data.seen
            )

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "format": RUN_FORMAT,
            self.architecture.table: self.architecture.to_dict(),
            "train": asdict(self.config),
            **self.data.state(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": {"values": self.average.values, "count": self.average.count},
            "stage": self.stage,
            "step": self.step,
            "best": self.best,
            "waited": self.waited,
            "history": self.history,
        }

    def save(self) -> None:
        """Write last.pt, metrics.csv and config.toml."""
        if not self.fabric.is_global_zero:
            return
        save(self.folder / STATE, self.state())
        self.saved = self.step
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(self.history)
        write_whole(self.folder / "metrics.csv", text.getvalue().encode())
        tables = {self.architecture.table: self.architecture.settings(), "train": asdict(self.config)}
        write_whole(self.folder / "config.toml", to_toml(tables).encode())
        self.data.write()
        while self.papers:
            write_whole(self.folder / (name := next(iter(self.papers))), self.papers.pop(name))

    def restore(self, state: dict[str, Any]) -> None:
        """Become the run that `state` was taken from."""
        self.stage = state["stage"]
        if self.stage == "folded":
            self.model.fold()
        layers.set_quantization(self.model, self.stage != "float")
        self.model.load_state_dict(state["model"])  # replaces the scales' Parameter objects, so before the optimizer
        self.restart()
        self.optimizer.load_state_dict(state["optimizer"])
        for value, saved in zip(self.average.values, state["average"]["values"], strict=True):
            value.copy_(saved)
        self.average.count = state["average"]["count"]
        self.step, self.best, self.waited = state["step"], state["best"], state["waited"]
        self.history = [tuple(row) for row in state["history"]]
        self.saved = self.step
        self.data.restore(state)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the folder, from the first process only, and refuse one that is not as it was found."""
        if not self.fabric.is_global_zero:
            yield
            return
        with alone(self.folder, self.found):
            try:
                yield
            finally:
                self.found = digest_of(self.folder)

    def stop_together(self, asked: Asked) -> None:
        """Raise what was asked for, in all processes after the same step if it was in one of them."""
        if self.fabric.world_size > 1:
            loudest = self.fabric.all_reduce(torch.tensor(asked.number, device=self.device), reduce_op="max")
            asked.number = int(loudest)
        asked.check()

    @classmethod
    def resume(cls, folder: Path) -> Run:
        """The run as it was when last.pt was written."""
        found = digest_of(folder)
        state = load(folder / STATE, RUN_FORMAT)
        cure = "go on with `hwseg adapt --resume`"
        require("adapt" not in state, str(folder), "is a run of `hwseg adapt`", cure)
        with given(folder / STATE, WHAT, CURE):
            architecture = architecture_of(folder / STATE, state)
            config = TrainConfig.from_dict({**OLDER, **state["train"], "init": ""})
            run = cls(folder, architecture, config)
            if state["train"]["init"] and not any("norm" in name for name in state["model"]):
                run.model.fold()
            run.config = replace(config, init=state["train"]["init"])
            run.restore(state)
        run.found = found
        return run


def train(run: Run, parts: Parts, watch: Callable[[Progress], None] = lambda _: None) -> Result:
    """Train to the end, or until Ctrl-C or SIGTERM, which finish the step and leave a checkpoint to resume from.

    The run's folder is locked for the time.  Raises HwsegError where another process has it, or has written to it since
    `run` was made or read.
    """
    if run.config.threads:
        torch.set_num_threads(run.config.threads)
    with run.alone():
        parts = run.meet(parts)
        every_class(parts["train"])
        if run.step == 0 or not run.data.written():
            run.save()
        try:
            with deferred() as asked, memory_for(f"step {run.step + 1}", "lower --batch, --size or --width"):
                _steps(run, parts, watch, asked)
        except KeyboardInterrupt as stop:
            if run.settled:
                run.save()
            return Result(run.step if run.settled else run.saved, exit_status(stop), run.best, {})
        return finish(run, parts)


def _steps(run: Run, parts: Parts, watch: Callable[[Progress], None], asked: Asked) -> None:
    config, started = run.config, time.monotonic()
    steps = range(run.step, config.steps)
    wanted = config.tensorboard and run.fabric.is_global_zero
    board = tensorboard(run.folder, _COLUMNS[2:5]) if wanted else None
    for images, targets in crops.ahead(parts["train"], run.crops, config.seed, steps, run.share):
        run.settled = False
        if config.stage(run.step) != run.stage:
            run.enter_stage(config.stage(run.step), parts["train"])
        value = run.learn(images, targets)
        score = None
        if run.step % config.validate_every == 0 or run.step == config.steps:
            score = validate(run, parts["val"])
            rate = run.optimizer.param_groups[0]["lr"]
            seconds = round(time.monotonic() - started, 1)
            run.history.append((run.step, run.stage, round(value, 6), rate, round(score, 6), seconds))
            run.save()
            if board is not None:
                board(run.history[-1][0], run.history[-1][2:5])
        run.settled = True
        watch(Progress(run.step, run.stage, value, score))
        run.stop_together(asked)
        if config.patience and run.waited >= config.patience:
            break


def validate(run: Run, pairs: list[Pair]) -> float:
    """Mean Dice over `pairs`; keeps the network as best.pt when none of the last stage was better."""
    with run.average.applied():
        score = float(np.mean(dice(run.model, pairs, run.meaning, run.device, run.config.resize)))
        if run.stage == run.config.last_stage:
            run.waited += 1
            if score > run.best:
                run.best, run.waited = score, 0
                run.keep("best.pt", quantized=run.stage != "float")
    return score


def finish(run: Run, parts: Parts) -> Result:
    """Measure the best network on what was not trained on, draw the curves, and write result.json."""
    run.fabric.barrier()
    model, _ = load_network(run.folder / "best.pt")
    options = run.meaning, run.device, run.config.resize
    scores = {
        part: metrics.summarize(dice(model.to(run.device), parts[part], *options))
        for part in parts
        if part != "train" and parts[part]
    }
    values = {
        run.architecture.table: run.architecture.settings(),
        "train": asdict(run.config),
        "dice": {k: asdict(s) for k, s in scores.items()},
        "seen_before": run.data.told_before(parts),
    }
    if run.fabric.is_global_zero:
        write_whole(run.folder / "result.json", (json.dumps(values, indent=1) + "\n").encode())
        curves(run.history, run.folder / "curves.png")
    return Result(run.step, 0, run.best, scores)
