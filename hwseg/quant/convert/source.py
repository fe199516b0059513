"""Where a float network comes from: an ONNX file, or a callable of the user's with weights from a file.

Nothing in a file of weights is executed: checkpoints are read with `weights_only`, others are safetensors.  The
callable is the user's own code, and is run.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwseg.borders import given, install, told
from hwseg.errors import HwsegError, require

NESTED = ("state_dict", "model_state_dict", "network_weights", "model", "net", "weights", "network")
"""Keys under which trainers keep a state dict beside other things."""
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.", "_forward_module.")
"""What wrappers put before every key."""
NAMED = 5
LARGEST = 1 << 33


def module_of(text: str, weights: Path | None) -> nn.Module:
    """The module that `module:callable` makes, with the weights of a file."""
    module = _called(text)
    if weights is not None:
        load_weights(module, state_of(weights), str(weights))
    return module.eval()


def _called(text: str) -> nn.Module:
    name, _, attribute = text.partition(":")
    good = (
        bool(name)
        and bool(attribute)
        and all(part.isidentifier() for part in (*name.split("."), *attribute.split(".")))
    )
    require(
        good, text, "must be an ONNX file, or module:callable", "give a .onnx file, or for example mymodels:make_unet"
    )
    with _here():
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or name
            rule = f"needs the module {missing}, which is neither in this folder nor installed"
            raise HwsegError(text, rule, "check the name, or install it") from None
        except Exception as error:
            raise HwsegError(
                text, f"importing {name} raised {told(error)}", f"python -c 'import {name}' shows it"
            ) from error
        for part in attribute.split("."):
            names = [n for n in dir(found) if not n.startswith("_")]
            if not hasattr(found, part):
                near = ", ".join(difflib.get_close_matches(part, names)) or ", ".join(names[:NAMED])
                raise HwsegError(text, f"{name} has no {part}", f"it has {near}")
            found = getattr(found, part)
        if isinstance(found, nn.Module):
            return found
        require(callable(found), text, f"must be a callable, is {type(found).__name__}", "name a function or a class")
        _require_no_arguments(text, found)
        try:
            made = found()
        except Exception as error:
            raise HwsegError(text, f"raised {told(error)}", f"call {attribute}() yourself to see where") from error
    rule = f"must give a torch.nn.Module, gives {type(made).__name__}"
    require(isinstance(made, nn.Module), text, rule, "let it return the network")
    assert isinstance(made, nn.Module)
    return made


def _require_no_arguments(text: str, found: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind in kinds]
    rule = f"must need no arguments, needs {', '.join(needed)}"
    cure = "write a function without arguments that calls it, in a file of yours, and name that"
    require(not needed, text, rule, cure)


@contextmanager
def _here() -> Iterator[None]:
    """Modules of the current folder are found, as with `python -m`."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def state_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint or a safetensors file, by name."""
    require(path.is_file(), str(path), "must be a file of weights, but there is no such file", "check the path")
    size = path.stat().st_size
    require(0 < size <= LARGEST, str(path), f"must have 1 to {LARGEST} bytes, has {size}", "take another copy")
    if path.suffix.lower() == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            raise HwsegError(str(path), "needs the package safetensors", install("train")) from None
        with given(path, "a safetensors file", "save it again with safetensors.torch.save_file"):
            return dict(load_file(str(path)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" in text or "nsupported" in text:
            named = [word for word in text.replace("`", " ").split() if "." in word and word[0].isalpha()]
            what = f" ({named[0].rstrip('.,')})" if named else ""
            rule = f"holds code of Python{what} beside numbers, and was not run"
            cure = "save numbers alone, where it was trained: torch.save(model.state_dict(), 'weights.pt')"
            raise HwsegError(str(path), rule, cure) from None
        raise HwsegError(str(path), f"is no checkpoint of PyTorch ({told(error)})", "take another copy") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        rule = f"is no checkpoint of PyTorch, or is damaged ({told(error)})"
        raise HwsegError(str(path), rule, "take another copy") from None
    return _tensors(content, str(path))


def _tensors(content: Any, place: str) -> dict[str, Tensor]:
    """A state dict, at the top or under one of the usual names."""
    for _ in range(3):
        rule = f"must hold a state dict, holds {type(content).__name__}"
        require(isinstance(content, Mapping), place, rule, "save it with torch.save(model.state_dict(), ...)")
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(key): value for key, value in content.items()}
        inner = next((key for key in NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    keys = ", ".join(str(key) for key in list(content)[:NAMED])
    rule = f"must hold a state dict, has the keys {keys}"
    require(bool(tensors), place, rule, "save it with torch.save(model.state_dict(), ...)")
    return tensors


def load_weights(module: nn.Module, state: Mapping[str, Tensor], place: str) -> None:
    """Copy a state dict into a module; HwsegError names keys that are missing, spare or of another shape."""
    wanted = module.state_dict()
    found = _unwrapped(state, set(wanted))
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    spare = [key for key in found if key not in wanted]
    if missing or spare:
        told_of = []
        for word, keys, others in (
            ("lacks", missing, spare or list(found)),
            ("has beside them", spare, missing or list(wanted)),
        ):
            if keys:
                near = difflib.get_close_matches(keys[0], others, n=2, cutoff=0.4)
                like = f" (nearest: {', '.join(near)})" if near else ""
                more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
                told_of.append(f"{word} {', '.join(keys[:NAMED])}{more}{like}")
        cure = "give the weights of this very network, or the callable that made the one they are of"
        raise HwsegError(place, f"does not fit the network: it {'; it '.join(told_of)}", cure)
    for key, value in wanted.items():
        if key in found:
            rule = f"{key} must have shape {list(value.shape)}, has {list(found[key].shape)}"
            cure = "the network has other widths: give the callable that made the one they are of"
            require(found[key].shape == value.shape, place, rule, cure)
    module.load_state_dict({**wanted, **found})


def _unwrapped(state: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    found = dict(state)
    for prefix in PREFIXES:
        if found and all(key.startswith(prefix) for key in found) and not all(k.startswith(prefix) for k in wanted):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def channels_of(module: nn.Module) -> int:
    """Channels of the first convolution, which are those of a picture in nearly every network."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    raise HwsegError(type(module).__name__, "must have a convolution of two dimensions", "give a network of pictures")
