"""Quantization-aware training in three stages, resumable at any step with the same result.

    float       a plain network, batch normalization
    quantized   the same with quantizers, thresholds calibrated first
    folded      batch normalization merged into the weights, then fine-tuned: what is exported

A run is a folder: `last.pt` (everything needed to go on), `best.pt` (the network with the best validation Dice of the
last stage), `metrics.csv`, `result.json`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwseg.errors import HwsegError, require
from hwseg.files import write_whole
from hwseg.normalize import PERCENTILE, parse
from hwseg.quant import data, layers, metrics
from hwseg.quant.unet import QuantUNet, UNetConfig, calibrate, fold_batch_norm

STAGES = ("float", "quantized", "folded")
NETWORK_FORMAT = "hwseg network 1"
RUN_FORMAT = "hwseg run 1"
_COLUMNS = ("step", "stage", "loss", "learning_rate", "val_dice", "seconds")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.  `float_part`, `quantized_part`: shares of `steps` of the first two stages; `size`: of crops."""

    steps: int = 2000
    batch: int = 8
    size: int = 128
    lr: float = 4e-3
    weight_decay: float = 1e-4
    float_part: float = 0.4
    quantized_part: float = 0.2
    validate_every: int = 100
    calibration_batches: int = 16
    seed: int = 0
    normalize: str = PERCENTILE
    device: str = "cpu"
    threads: int = 0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "size", "validate_every", "calibration_batches", "seed", "threads"):
            lowest = 0 if name in ("seed", "threads") else 1
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and lowest <= value < 2**31
            require(whole, f"train.{name}", f"must be a whole number from {lowest}, not {value!r}")
        for name in ("lr", "weight_decay", "float_part", "quantized_part"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and 0 <= value < math.inf and (value > 0 or name != "lr")
            require(number, f"train.{name}", f"must be a positive number, not {value!r}")
        for name in ("normalize", "device"):
            require(isinstance(getattr(self, name), str), f"train.{name}", "must be a text")
        parts = self.float_part, self.quantized_part
        require(sum(parts) < 1, "train.float_part", f"and quantized_part must leave steps, not {parts}")
        parse(self.normalize)

    def stage(self, step: int) -> str:
        """The stage that 0-based `step` belongs to."""
        folded = min(self.steps - 1, round((self.float_part + self.quantized_part) * self.steps))
        if step >= folded:
            return "folded"
        return "float" if step < round(self.float_part * self.steps) else "quantized"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Values as read from TOML or a checkpoint; unknown keys are refused."""
        known = {f.name for f in fields(cls)}
        for key in values:
            require(key in known, f"train.{key}", "is no option of training", f"options are {', '.join(sorted(known))}")
        exclude = values.get("exclude", ())
        listed = isinstance(exclude, (list, tuple)) and all(isinstance(name, str) for name in exclude)
        require(listed, "train.exclude", "must be a list of file names")
        return cls(**{**values, "exclude": tuple(exclude)})


@dataclass(frozen=True)
class Result:
    """What a run came to; `interrupted` when it was stopped by Ctrl-C and can be resumed."""

    step: int
    interrupted: bool
    best_dice: float
    scores: dict[str, metrics.Score]


@dataclass(frozen=True)
class Progress:
    """One training step, as told to whoever shows it; `val_dice` only where it was measured."""

    step: int
    stage: str
    loss: float
    val_dice: float | None


class Run:
    """The state of a training run: network, optimizer, random numbers, history."""

    def __init__(self, folder: Path, unet: UNetConfig, config: TrainConfig) -> None:
        self.folder, self.unet, self.config = folder, unet, config
        self.device = _device(config.device)
        require(
            config.size % unet.multiple == 0,
            "train.size",
            f"must be a multiple of {unet.multiple} for depth {unet.depth}, not {config.size}",
        )
        torch.manual_seed(config.seed)
        self.model = QuantUNet(unet).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.rng = np.random.default_rng(config.seed)
        self.step = 0
        self.stage = STAGES[0]
        self.best = -1.0
        self.history: list[tuple[Any, ...]] = []
        layers.set_quantization(self.model, False)
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        scales = [p for n, p in self.model.named_parameters() if n.endswith("scaling_impl.value")]
        chosen = {id(p) for p in scales}
        others = [p for p in self.model.parameters() if id(p) not in chosen]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": scales, "weight_decay": 0.0, "scale": 0.5}]
        return torch.optim.AdamW(groups, lr=self.config.lr, weight_decay=self.config.weight_decay)

    def enter_stage(self, stage: str, pairs: list[data.Pair], crops: data.Crops) -> None:
        """Go on to a later stage: calibrate when quantizers come on, fold when the last one begins."""
        if self.stage == "float":
            batches = (
                data.draw(pairs, self.config.batch, crops, self.rng)[0].to(self.device)
                for _ in range(self.config.calibration_batches)
            )
            calibrate(self.model, batches)
        if stage == "folded":
            fold_batch_norm(self.model)
        self.stage = stage
        self.optimizer = self._optimizer()

    def learn(self, images: Tensor, targets: Tensor) -> float:
        """One step of gradient descent; the loss before it."""
        rate = self.config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.step / self.config.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        images = images.to(self.device, memory_format=torch.channels_last)
        value = loss(self.model(images), targets.to(self.device))
        value.backward()  # type: ignore[no-untyped-call]
        number = float(value.detach())
        require(
            math.isfinite(number),
            f"step {self.step + 1}",
            f"the loss is {number}",
            f"lower --lr (it is {self.config.lr:g}), or check the masks",
        )
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return number

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "format": RUN_FORMAT,
            "unet": self.unet.to_dict(),
            "train": asdict(self.config),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stage,
            "step": self.step,
            "best": self.best,
            "history": self.history,
            "numpy": self.rng.bit_generator.state,
            "torch": torch.get_rng_state(),
        }

    def save(self) -> None:
        """Write last.pt and metrics.csv."""
        save(self.folder / "last.pt", self.state())
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(self.history)
        write_whole(self.folder / "metrics.csv", text.getvalue().encode())

    @classmethod
    def resume(cls, folder: Path) -> Run:
        """The run as it was when last.pt was written."""
        state = load(folder / "last.pt", RUN_FORMAT)
        run = cls(folder, UNetConfig.from_dict(state["unet"]), TrainConfig.from_dict(state["train"]))
        run.stage = state["stage"]
        if run.stage == "folded":
            fold_batch_norm(run.model)
        layers.set_quantization(run.model, run.stage != "float")
        run.model.load_state_dict(state["model"])  # replaces the scales' Parameter objects, so before the optimizer
        run.optimizer = run._optimizer()
        run.optimizer.load_state_dict(state["optimizer"])
        run.step, run.best, run.history = state["step"], state["best"], [tuple(row) for row in state["history"]]
        run.rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])
        return run


def train(run: Run, parts: dict[str, list[data.Pair]], watch: Callable[[Progress], None] = lambda _: None) -> Result:
    """Train to the end, or until Ctrl-C, which finishes the step and leaves a checkpoint to resume from."""
    if run.config.threads:
        torch.set_num_threads(run.config.threads)
    try:
        with _deferred_interrupt() as interrupted:
            _steps(run, parts, watch, interrupted)
    except KeyboardInterrupt:
        run.save()
        return Result(run.step, True, run.best, {})
    return finish(run, parts)


def _steps(
    run: Run, parts: dict[str, list[data.Pair]], watch: Callable[[Progress], None], interrupted: threading.Event
) -> None:
    config, started = run.config, time.monotonic()
    crops = data.Crops(config.size, config.normalize)
    while run.step < config.steps:
        if config.stage(run.step) != run.stage:
            run.enter_stage(config.stage(run.step), parts["train"], crops)
        value = run.learn(*data.draw(parts["train"], config.batch, crops, run.rng))
        score = None
        if run.step % config.validate_every == 0 or run.step == config.steps:
            score = validate(run, parts["val"])
            rate = run.optimizer.param_groups[0]["lr"]
            seconds = round(time.monotonic() - started, 1)
            run.history.append((run.step, run.stage, round(value, 6), rate, round(score, 6), seconds))
            run.save()
        watch(Progress(run.step, run.stage, value, score))
        if interrupted.is_set():
            raise KeyboardInterrupt


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that no step is left half done; a second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def validate(run: Run, pairs: list[data.Pair]) -> float:
    """Mean Dice over `pairs`; keeps the network as best.pt when no folded one was better."""
    score = float(np.mean(dice(run.model, pairs, run.config.normalize, run.device)))
    if run.stage == "folded" and score > run.best:
        run.best = score
        save_network(run.folder / "best.pt", run.model, run.config)
    return score


def finish(run: Run, parts: dict[str, list[data.Pair]]) -> Result:
    """Measure the best network on what was not trained on, and write result.json."""
    model, _ = load_network(run.folder / "best.pt")
    scores = {
        part: metrics.summarize(dice(model.to(run.device), parts[part], run.config.normalize, run.device))
        for part in ("val", "test")
        if parts.get(part)
    }
    values = {
        "unet": run.unet.to_dict(),
        "train": asdict(run.config),
        "dice": {k: asdict(s) for k, s in scores.items()},
    }
    write_whole(run.folder / "result.json", (json.dumps(values, indent=1) + "\n").encode())
    return Result(run.step, False, run.best, scores)


@torch.no_grad()
def dice(model: QuantUNet, pairs: list[data.Pair], normalization: str, device: torch.device) -> list[float]:
    """Dice of each whole picture."""
    training = model.training
    model.eval()
    classes = max(2, model.config.out_channels)
    scores = []
    for pair in pairs:
        image, target = data.whole(pair, normalization, model.config.multiple)
        predicted = metrics.labels(model(image.to(device))).cpu()
        scores.append(float(metrics.dice(predicted, target, classes)[0]))
    model.train(training)
    return scores


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy plus 1 - soft Dice over the batch, background left out."""
    if logits.shape[1] == 1:
        wanted = targets.float()[:, None]
        entropy = functional.binary_cross_entropy_with_logits(logits, wanted)
        likely = torch.sigmoid(logits)
    else:
        entropy = functional.cross_entropy(logits, targets)
        likely = torch.softmax(logits, dim=1)[:, 1:]
        wanted = functional.one_hot(targets, logits.shape[1]).movedim(-1, 1)[:, 1:].float()
    overlap = (likely * wanted).sum(dim=(0, 2, 3))
    total = (likely + wanted).sum(dim=(0, 2, 3))
    return entropy + (1 - (2 * overlap + 1) / (total + 1)).mean()


def save_network(path: Path, model: QuantUNet, config: TrainConfig) -> None:
    """What export needs, and no more."""
    state = {
        "format": NETWORK_FORMAT,
        "unet": model.config.to_dict(),
        "folded": model.folded,
        "normalize": config.normalize,
        "size": config.size,
        "excluded": list(config.exclude),
        "model": {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()},
    }
    save(path, state)


def load_network(path: Path) -> tuple[QuantUNet, dict[str, Any]]:
    """A trained network in evaluation mode, with its `normalize`, training `size` and `excluded` pictures."""
    state = load(path, NETWORK_FORMAT)
    try:
        model = QuantUNet(UNetConfig.from_dict(state["unet"]))
        if state["folded"]:
            fold_batch_norm(model)
        model.load_state_dict(state["model"])
        meta = {key: state[key] for key in ("normalize", "size", "excluded")}
    except (KeyError, TypeError, RuntimeError) as error:
        raise HwsegError(str(path), "its contents do not fit together", "train again") from error
    return model.eval(), meta


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, kind: str) -> dict[str, Any]:
    """A checkpoint of this `kind`, read without executing anything in it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise HwsegError(str(path), "does not exist", "give a run folder or a checkpoint of `hwseg train`") from error
    except Exception as error:  # a damaged zip or pickle raises many kinds
        raise HwsegError(
            str(path), f"is no checkpoint ({type(error).__name__})", "train again, or take a copy"
        ) from error
    found = state.get("format") if isinstance(state, dict) else None
    require(found == kind, str(path), f"must be a {kind!r} checkpoint, not {found!r}")
    return dict(state)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HwsegError("--device", f"{name!r} is not available here", "use cpu") from error
    return device
