"""How to train: every option, its meaning, and what values it may have."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.pictures import meaning
from hwseg.pictures.meaning import Meaning

OLDER = {"older": True}
"""Of the options of a run that an older hwseg began, which did not say it."""

STAGES = ("float", "quantized", "folded")
LOSSES = ("dice_ce", "poly_dice", "boundary")
AUGMENTATIONS = ("turn", "mild", "none")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_COUNTS = {
    "steps": (1, 2**31 - 1),
    "batch": (1, 1 << 16),
    "size": (1, 1 << 14),
    "validate_every": (1, 2**31 - 1),
    "calibration_batches": (1, 1 << 16),
    "seed": (0, 2**31 - 1),
    "threads": (0, 1 << 10),
    "resize": (0, 1 << 14),
    "patience": (0, 2**31 - 1),
    "devices": (1, 1 << 10),
    "loss_order": (1, 1 << 10),
    "rounding": (0, 8),
}
"""The least and the most of what is counted; beyond it nothing would fit a machine."""

LARGEST = 1 << 20
"""Bytes of a configuration file."""

_NUMBERS = ("lr", "weight_decay", "float_part", "quantized_part", "warmup", "ema", "loss_weight")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    `normalize`: what pixels are, as `hwseg.pictures.meaning.phrase` reads it.  `older`: of a run that an older hwseg
    began, whose pictures are brought to 8 bits before they are scaled.
    `float_part`, `quantized_part`: shares of `steps` of the first two stages; a `float_part` of 1 trains a float
    network only.  `resize`: side to which whole pictures are scaled first, 0 for none; `size`: of the
    crops.  `augment`: "turn" (any orientation; crops normalized alone or whole), "mild" (small rotations, shifts and
    scales, mirrored; for organs) or "none".  `warmup`: share of steps in which the rate rises to `lr`, before a cosine.
    `ema`: decay of the averaged weights that are validated and kept, 0 for none.  `patience`: validations without a
    better Dice before the last stage ends, 0 for never.  `loss_weight`, `loss_order`: of the polynomial Dice and the
    boundary loss (`hwseg.quant.train.losses`).  `rounding`: fewest planes to which activations are rounded at random
    while training quantized, 0 for none (`hwseg.quant.train.dial`).  `init`: a checkpoint to start from.
    `class_weights`: of the cross-entropy, "auto" (1 / sqrt(share) of the training masks) or a number for each class.
    """

    steps: int = 2000
    batch: int = 8
    size: int = 128
    lr: float = 4e-3
    weight_decay: float = 1e-4
    warmup: float = 0.02
    ema: float = 0.0
    patience: int = 0
    loss: str = "dice_ce"
    loss_weight: float = 1.0
    loss_order: int = 3
    class_weights: str = ""
    float_part: float = 0.4
    quantized_part: float = 0.2
    validate_every: int = 100
    calibration_batches: int = 16
    seed: int = 0
    normalize: str = meaning.DEFAULT
    older: bool = False
    resize: int = 0
    augment: str = "turn"
    rounding: int = 0
    init: str = ""
    device: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    threads: int = 0
    tensorboard: bool = False
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _COUNTS.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole and lowest <= value, f"train.{name}", f"must be a whole number from {lowest}, not {value!r}")
            require(value <= highest, f"train.{name}", f"must be at most {highest}, not {value!r}")
        for name in _NUMBERS:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and 0 <= value < math.inf and (value > 0 or name != "lr")
            require(number, f"train.{name}", f"must be a positive number, not {value!r}")
        for name in ("normalize", "device", "init", "class_weights"):
            require(isinstance(getattr(self, name), str), f"train.{name}", "must be a text")
        for name, choices in (("loss", LOSSES), ("augment", AUGMENTATIONS), ("precision", PRECISIONS)):
            value = getattr(self, name)
            require(value in choices, f"train.{name}", f"must be {' or '.join(choices)}, not {value!r}")
        self.weights(None)
        require(isinstance(self.tensorboard, bool), "train.tensorboard", "must be true or false")
        parts = self.float_part, self.quantized_part
        require(
            sum(parts) < 1 or parts == (1, 0), "train.float_part", f"and quantized_part must leave steps, not {parts}"
        )
        for name in ("warmup", "ema"):
            require(getattr(self, name) < 1, f"train.{name}", f"must be below 1, not {getattr(self, name)!r}")
        require(
            self.rounding == 0 or 2 <= self.rounding <= 8,
            "train.rounding",
            f"must be 0 or from 2 to 8 planes, not {self.rounding}",
        )
        fits = self.resize == 0 or self.size <= self.resize
        require(fits, "train.size", f"must be at most resize = {self.resize}, not {self.size}", "lower --size")
        require(isinstance(self.older, bool), "train.older", "must be true or false")
        _ = self.meaning

    @property
    def meaning(self) -> Meaning:
        """What pixels are to the network; its depth may still be that of the pictures, 0."""
        fit = "resize" if self.resize else ""
        if self.older:
            return meaning.older(self.normalize, fit)
        found = meaning.phrase(self.normalize, "train.normalize")
        if self.normalize.strip() == "unit":
            found = Meaning()  # of the depth that the pictures have
        return replace(found, fit=fit)

    def weights(self, classes: int | None) -> tuple[float, ...] | None:
        """Class weights, none where all classes count alike, None where they are to be counted.

        classes: how many there must be, if that is known.
        """
        if self.class_weights == "auto":
            return None
        texts = [text.strip() for text in self.class_weights.split(",")] if self.class_weights else []
        found = tuple(float(text) for text in texts if meaning.number(text) is not None)
        rule = f"must be auto or positive numbers with commas between them, not {self.class_weights!r}"
        require(len(found) == len(texts) and all(w > 0 for w in found), "train.class_weights", rule)
        count = f"must be {classes}, one for each class, the background first, are {len(found)}"
        require(classes is None or len(found) in (0, classes), "train.class_weights", count)
        return found

    @property
    def float_only(self) -> bool:
        """Whether nothing is quantized."""
        return self.float_part == 1

    @property
    def last_stage(self) -> str:
        """The stage whose best network is kept."""
        return "float" if self.float_only else "folded"

    def stage(self, step: int) -> str:
        """The stage that 0-based `step` belongs to."""
        if self.float_only:
            return "float"
        folded = min(self.steps - 1, round((self.float_part + self.quantized_part) * self.steps))
        if step >= folded:
            return "folded"
        return "float" if step < round(self.float_part * self.steps) else "quantized"

    def rate(self, step: int) -> float:
        """Learning rate of 0-based `step`: linear warm-up, then half a cosine down to 1 %."""
        warm = round(self.warmup * self.steps)
        if step < warm:
            return self.lr * (step + 1) / (warm + 1)
        done = (step - warm) / max(1, self.steps - warm)
        return self.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

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


def meant(found: Meaning) -> dict[str, Any]:
    """Options of a run whose pixels are what they were to another."""
    return {"normalize": found.before or found.text(), "older": bool(found.before)}


def read_toml(path: Path, tables: tuple[str, ...] = ("data", "unet", "network", "train")) -> dict[str, dict[str, Any]]:
    """The tables of a configuration file; others are refused."""
    with given(path, "readable TOML", "correct it"):
        found = tomllib.loads(read_file(path, LARGEST).decode())
    names = ", ".join(f"[{name}]" for name in tables)
    for name, table in found.items():
        require(name in tables and isinstance(table, dict), str(path), f"has tables {names} only, not {name!r}")
    return found


def to_toml(tables: dict[str, dict[str, Any]]) -> str:
    """Text that `read_toml` reads back: tables of numbers, texts, booleans, lists and one level of mappings."""
    lines: list[str] = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_value(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    return repr(value)
