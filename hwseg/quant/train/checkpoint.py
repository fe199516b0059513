"""Networks and runs as files: written whole or not at all, read without executing anything in them.

A network is of any `Architecture`; the table of the file that describes it says of which.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hwseg.borders import given
from hwseg.datasets import seen
from hwseg.datasets.seen import Seen
from hwseg.errors import HwsegError, require
from hwseg.files import read_file, write_whole
from hwseg.pictures import labels as declared
from hwseg.pictures import meaning
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.quant.networks import layers
from hwseg.quant.networks.architecture import Architecture, Quantized
from hwseg.quant.networks.layered import NetworkConfig
from hwseg.quant.networks.unet import UNetConfig
from hwseg.quant.read.reshape import check_size
from hwseg.quant.train.config import TrainConfig

NETWORK_FORMAT = "hwseg network 1"
RUN_FORMAT = "hwseg run 2"
WHAT, CURE = "a checkpoint of hwseg", "train again, or take a copy"
LARGEST = 1 << 34
"""Bytes of a checkpoint."""

KINDS: tuple[type[UNetConfig] | type[NetworkConfig], ...] = (UNetConfig, NetworkConfig)
_OPTIONAL = {"resize": 0, "quantized": True}


def save_network(
    path: Path,
    model: Quantized,
    config: TrainConfig,
    pixels: Meaning | None = None,
    labels: Labels | None = None,
    quantized: bool = True,
    saw: Seen | None = None,
    picture: tuple[int, int] | None = None,
) -> None:
    """What export needs, and no more; `quantized` is false for a float network.

    pixels: what pictures were to it, by default what the options say.  saw: which it was trained on.  picture: height
    and width that it is exported for, by default those of the scaled picture or of the crops.
    """
    pixels = pixels or config.meaning
    state = {
        "format": NETWORK_FORMAT,
        model.config.table: model.config.to_dict(),
        "folded": model.folded,
        "size": config.size,
        "resize": config.resize,
        "quantized": quantized,
        "excluded": list(config.exclude),
        "model": {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()},
    }
    state |= {"normalize": pixels.before} if pixels.before else {"input": pixels.text()}
    if labels is not None:
        state["labels"] = labels.text()
    if saw is not None:
        state["seen"] = saw.text()
    if picture is not None:
        state["picture"] = list(picture)
    save(path, state)


def load_network(path: Path) -> tuple[Quantized, dict[str, Any]]:
    """A trained or converted network in evaluation mode, and how it was trained.

    That is `input` (a `Meaning`), `labels` (None where an older hwseg did not say them), `seen`, `size` of the crops,
    `resize`, `quantized`, the `excluded` pictures, and `picture`: height and width that it is exported for.
    """
    state = load(path, NETWORK_FORMAT)
    with given(path, WHAT, CURE):
        model = architecture_of(path, state).build()
        if state["folded"]:
            model.fold()
        model.load_state_dict(state["model"])
        meta = {key: state[key] for key in ("size", "excluded")}
        meta |= {key: state.get(key, value) for key, value in _OPTIONAL.items()}
        fit = "resize" if meta["resize"] else ""
        if "input" in state:
            meta["input"] = meaning.parse(state["input"], f"{path}, input")
        else:
            meta["input"] = meaning.older(state["normalize"], fit)
        meta["labels"] = None
        if "labels" in state:
            meta["labels"] = declared.parse(state["labels"], model.config.out_channels, f"{path}, labels")
        meta["seen"] = seen.parse(state["seen"], f"{path}, seen") if "seen" in state else Seen(known=False)
        TrainConfig(size=meta["size"], resize=meta["resize"], exclude=meta["excluded"])
        meta["picture"] = (meta["resize"] or meta["size"],) * 2
        if "picture" in state:
            height, width = state["picture"]
            check_size((height, width), model.config.multiple)
            meta["picture"] = height, width
        layers.set_quantization(model, bool(meta["quantized"]))
    return model.eval(), meta


def architecture_of(path: Path, state: Mapping[str, Any]) -> Architecture:
    """What the network in a checkpoint or a run is, before memory is taken for it.

    Refuses one that claims a larger network than it has numbers for.
    """
    kind = next((kind for kind in KINDS if kind.table in state), None)
    if kind is None:
        raise HwsegError(str(path), "describes no network", CURE)
    found: Architecture = kind.from_dict(state[kind.table])
    numbers = sum(value.numel() for value in state["model"].values())
    rule = f"its contents do not fit together: {numbers} numbers for at least {found.fewest} weights"
    require(found.fewest <= numbers, str(path), rule, CURE)
    return found


def start_from(model: Quantized, path: Path) -> dict[str, Any]:
    """Copy the parameters of a checkpoint into `model`, which may have other bits but no other layers.

    A folded network folds `model`, too.  Returns how it was trained, as `load_network` does; one of other scales counts
    as float, since its thresholds mean something else.
    """
    source, meta = load_network(path)
    if source.folded:
        model.fold()
    wanted, found = model.state_dict(), source.state_dict()
    cure = "take the options of the run that it is of, bits aside"
    for name, value in wanted.items():
        there = name in found and found[name].shape == value.shape
        what = f"has {name} of shape {list(found[name].shape)}" if name in found else f"has no {name}"
        require(there, str(path), f"is of another architecture: it {what}", cure)
    for name in found:
        require(name in wanted, str(path), f"is of another architecture: it has {name}", cure)
    if isinstance(source.config, NetworkConfig) and isinstance(model.config, NetworkConfig):
        same = source.config.layers == model.config.layers and source.config.output == model.config.output
        require(same, str(path), "is of another architecture: its layers are joined otherwise", cure)
    model.load_state_dict(found)
    return meta | {"quantized": meta["quantized"] and source.config.scales == model.config.scales}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, kind: str) -> dict[str, Any]:
    """A checkpoint of this `kind`, read without executing anything in it."""
    if not os.path.lexists(path):
        raise HwsegError(
            str(path), "does not exist", "give a run folder, or a checkpoint of `hwseg train` or `hwseg quantize`"
        )
    content = read_file(path, LARGEST)
    with given(path, WHAT, CURE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # torch does not look at the sums in it
            damaged = archive.testzip()
        require(damaged is None, str(path), f"is damaged: {damaged} is not as it was written", CURE)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    found = state.get("format") if isinstance(state, dict) else None
    require(found == kind, str(path), f"must be a {kind!r} checkpoint, not {found!r}")
    return dict(state)
