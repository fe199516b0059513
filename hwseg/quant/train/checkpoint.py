"""Networks and runs as files: written whole or not at all, read without executing anything in them."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm
from hwseg.quant.train.config import TrainConfig

NETWORK_FORMAT = "hwseg network 1"
RUN_FORMAT = "hwseg run 2"
CONVERTED_FORMAT = "hwseg converted network 1"
"""Of `hwseg quantize`, whose networks are no `QuantUNet`."""
WHAT, CURE = "a checkpoint of hwseg", "train again, or take a copy"
LARGEST = 1 << 34
"""Bytes of a checkpoint."""

_OPTIONAL = {"resize": 0, "quantized": True}


def save_network(
    path: Path,
    model: QuantUNet,
    config: TrainConfig,
    pixels: Meaning | None = None,
    labels: Labels | None = None,
    quantized: bool = True,
    saw: Seen | None = None,
) -> None:
    """What export needs, and no more; `quantized` is false for a float network.

    pixels: what pictures were to it, by default what the options say.  saw: which it was trained on.
    """
    pixels = pixels or config.meaning
    state = {
        "format": NETWORK_FORMAT,
        "unet": model.config.to_dict(),
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
    save(path, state)


def load_network(path: Path) -> tuple[QuantUNet, dict[str, Any]]:
    """A trained network in evaluation mode, and how it was trained.

    That is `input` (a `Meaning`), `labels` (None where an older hwseg did not say them), `seen`, `size` of the crops,
    `resize`, `quantized` and the `excluded` pictures.
    """
    state = load(path, NETWORK_FORMAT)
    with given(path, WHAT, CURE):
        unet = UNetConfig.from_dict(state["unet"])
        require_numbers(path, unet, state["model"])
        model = QuantUNet(unet)
        if state["folded"]:
            fold_batch_norm(model)
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
        layers.set_quantization(model, bool(meta["quantized"]))
    return model.eval(), meta


def require_numbers(path: Path, unet: UNetConfig, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint that claims a larger network than it has numbers for, before memory is taken for it."""
    found = sum(value.numel() for value in tensors.values())
    least = sum(9 * width * width for width in unet.widths)
    rule = f"its contents do not fit together: {found} numbers for at least {least} weights"
    require(least <= found, str(path), rule, CURE)


def start_from(model: QuantUNet, path: Path) -> dict[str, Any]:
    """Copy the parameters of a checkpoint into `model`, which may have other bits but no other layers.

    A folded network folds `model`, too.  Returns how it was trained, as `load_network` does.
    """
    source, meta = load_network(path)
    if source.folded:
        fold_batch_norm(model)
    wanted, found = model.state_dict(), source.state_dict()
    for name, value in wanted.items():
        there = name in found and found[name].shape == value.shape
        what = f"has {name} of shape {list(found[name].shape)}" if name in found else f"has no {name}"
        require(there, str(path), f"is of another architecture: it {what}", "use its [unet] options, bits aside")
    for name in found:
        require(name in wanted, str(path), f"is of another architecture: it has {name}", "use its [unet] options")
    model.load_state_dict(found)
    return meta


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, kind: str) -> dict[str, Any]:
    """A checkpoint of this `kind`, read without executing anything in it."""
    if not os.path.lexists(path):
        raise HwsegError(str(path), "does not exist", "give a run folder or a checkpoint of `hwseg train`")
    content = read_file(path, LARGEST)
    with given(path, WHAT, CURE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # torch does not look at the sums in it
            damaged = archive.testzip()
        require(damaged is None, str(path), f"is damaged: {damaged} is not as it was written", CURE)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    found = state.get("format") if isinstance(state, dict) else None
    if found == CONVERTED_FORMAT != kind:
        rule = "is a network of `hwseg quantize`, and must be one of `hwseg train`"
        cure = "run `hwseg quantize` again, with --bits mixed to search for bits or --distill 300 to train it further"
        raise HwsegError(str(path), rule, f"{cure}; its export is the .onnx file beside it, for --compare qonnx, too")
    require(found == kind, str(path), f"must be a {kind!r} checkpoint, not {found!r}")
    return dict(state)
