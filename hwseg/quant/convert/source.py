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
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hwseg.borders import given, install, told
from hwseg.errors import HwsegError, file_errors, require
from hwseg.quant.convert.from_torch import from_module
from hwseg.quant.networks.graph import CONVOLUTIONS, Network

NESTED = ("state_dict", "model_state_dict", "network_weights", "model", "net", "weights", "network", "checkpoint")
"""Keys under which trainers keep a state dict beside other things."""
DEPTH = 5
"""How deep it may lie."""
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.", "_forward_module.")
"""What wrappers put before every key."""
NAMED = 5
LARGEST = 1 << 33
GUARD = "leave that out: put what a script does under if __name__ == '__main__'"
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""What weights may be: smaller ones have scales beside them, which nothing here reads."""


def module_of(text: str, weights: Path | None) -> nn.Module:
    """The module that `module:callable` makes, with the weights of a file."""
    module = _called(text)
    _require_numbers(module, text)
    if weights is not None:
        load_weights(module, state_of(weights), str(weights))
    return module.eval()


def read_module(module: nn.Module, shape: tuple[int, int, int, int]) -> Network:
    """The layers of a module; HwsegError also where it has no numbers yet, ends the program, or has no layer at all."""
    name = type(module).__name__
    _require_numbers(module, name)
    try:
        network = from_module(module, shape)
    except SystemExit as error:
        raise HwsegError(name, f"ends the program (SystemExit: {error.code}) when it is called", GUARD) from error
    some = any(layer.op in CONVOLUTIONS for layer in network.layers)
    require(some, name, "has no convolution between picture and output", "give the network itself")
    return network


def _require_numbers(module: nn.Module, place: str) -> None:
    """Refuse parameters that have no numbers, or are made at the first call."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        rule = f"{name} has no numbers yet: it is made at the first call (a lazy module)"
        require(not is_lazy(tensor), place, rule, "let the callable call the network once before it returns it")
        rule = f"{name} has no numbers: it is on the device meta"
        require(not tensor.is_meta, place, rule, "let the callable make the network on the CPU")


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
        except SystemExit as error:
            rule = f"importing {name} ends the program (SystemExit: {error.code})"
            raise HwsegError(text, rule, GUARD) from error
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
        except SystemExit as error:
            raise HwsegError(text, f"ends the program (SystemExit: {error.code})", GUARD) from error
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
    what = "it is a folder" if path.is_dir() else "there is no such file"
    require(path.is_file(), str(path), f"must be a file of weights, but {what}", "check the path")
    size = path.stat().st_size
    require(0 < size <= LARGEST, str(path), f"must have 1 to {LARGEST} bytes, has {size}", "take another copy")
    if path.suffix.lower() == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            raise HwsegError(str(path), "needs the package safetensors", install("train")) from None
        with given(path, "a safetensors file", "save it again with safetensors.torch.save_file"):
            return dict(load_file(str(path)))
    _require_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" in text or "nsupported" in text:
            named = re.search(r"GLOBAL ([\w.]*\w)", text)
            what = f" ({named[1]})" if named else ""
            rule = f"holds code of Python{what} beside numbers, and was not run"
            cure = "save numbers alone, where it was trained: torch.save(model.state_dict(), 'weights.pt')"
            raise HwsegError(str(path), rule, cure) from None
        raise HwsegError(str(path), f"is no checkpoint of PyTorch ({told(error)})", "take another copy") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        rule = f"is no checkpoint of PyTorch, or is damaged ({told(error)})"
        raise HwsegError(str(path), rule, "take another copy") from None
    return _tensors(content, str(path))


def _require_checkpoint(path: Path) -> None:
    """Refuse what PyTorch does not write, and TorchScript, by how they begin."""
    with file_errors(path), path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        script = False
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as content:
            script = any(name.split("/")[1:2] == ["code"] for name in content.namelist())
        cure = f"save numbers alone: torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
        require(not script, str(path), "is TorchScript, which is code, and was not run", cure)
        return
    require(start[8:9] != b"{", str(path), "is a safetensors file with another ending", "name it .safetensors")
    rule, cure = (
        "is no checkpoint of PyTorch",
        "give what torch.save wrote; an ONNX file is MODEL itself",
    )
    require(start[:1] == b"\x80", str(path), rule, cure)


def _tensors(content: Any, place: str) -> dict[str, Tensor]:
    """A state dict, at the top or under one of the usual names."""
    for _ in range(DEPTH):
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
    for key, value in state.items():
        plain = value.layout is torch.strided and not value.is_meta and not value.is_quantized
        what = "quantized" if value.is_quantized else "on the device meta" if value.is_meta else f"{value.layout}"
        rule = f"{key} must be plain numbers, is {what.removeprefix('torch.')}"
        require(plain, place, rule, "save it as the network has it where it is trained: torch.save(model.state_dict())")
    found = _with_tied(module, _unwrapped(state, list(wanted), place), place)
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    spare = [key for key in found if key not in wanted]
    if missing or spare:
        told_of = []
        for word, keys, others in (
            ("lacks", missing, spare or list(found)),
            ("has beside them", spare, missing or list(wanted)),
        ):
            if keys:
                more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
                told_of.append(f"{word} {', '.join(_with_nearest(key, others) for key in keys[:NAMED])}{more}")
        cure = "give the weights of this very network, or the callable that made the one they are of"
        raise HwsegError(place, f"does not fit the network: it {'; it '.join(told_of)}", cure)
    for key, value in wanted.items():
        if key in found:
            rule = f"{key} must have shape {list(value.shape)}, has {list(found[key].shape)}"
            cure = "the network has other widths: give the callable that made the one they are of"
            require(found[key].shape == value.shape, place, rule, cure)
            kind = found[key].dtype
            rule = f"{key} must be floating-point numbers, is {str(kind).removeprefix('torch.')}"
            cure = "give the weights as they were trained: of quantized ones the scales are missing"
            require(kind in FLOATS or not value.is_floating_point(), place, rule, cure)
    module.load_state_dict({**wanted, **found})


def _with_nearest(key: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, others, n=1, cutoff=0.4)
    return f"{key} (nearest: {near[0]})" if near else key


def _unwrapped(state: Mapping[str, Tensor], wanted: Sequence[str], place: str) -> dict[str, Tensor]:
    """The state dict without what wrappers put before its keys.

    Where all keys of the network lie behind one prefix, the others are of something else, such as a loss.
    """
    needed = [key for key in wanted if not key.endswith("num_batches_tracked")]
    if not needed or all(key in state for key in needed):
        return dict(state)
    before = [key.removesuffix(needed[0]) for key in state if key.endswith(f".{needed[0]}")]
    whole = [prefix for prefix in before if all(prefix + key in state for key in needed)]
    rule = f"holds the weights of {len(whole)} such networks, behind {' and '.join(whole)}"
    require(len(whole) < 2, place, rule, "save the state dict of one of them")
    if whole:
        return {key.removeprefix(whole[0]): value for key, value in state.items() if key.startswith(whole[0])}
    found, stripped = dict(state), True
    while found and stripped:
        stripped = False
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in found) and not all(k.startswith(prefix) for k in wanted):
                found, stripped = {key.removeprefix(prefix): value for key, value in found.items()}, True
    return found


def _with_tied(module: nn.Module, found: dict[str, Tensor], place: str) -> dict[str, Tensor]:
    """The state dict with every name of a tensor that the network has under several: files may keep but one."""
    names: dict[int, list[str]] = {}
    for key, value in module.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(key)
    made = dict(found)
    for same in names.values():
        there = [key for key in same if key in found]
        for key in same if there else ():
            made.setdefault(key, found[there[0]])
        for key in there[1:]:
            one, other = made[key].double(), made[there[0]].double()
            rule = f"{there[0]} and {key} are one tensor in the network, and differ in the file"
            alike = one.shape == other.shape and torch.equal(one, other)
            require(alike, place, rule, "give the weights of this very network")
    return made


def channels_of(module: nn.Module) -> int:
    """Channels of the first convolution, which are those of a picture in nearly every network."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    raise HwsegError(type(module).__name__, "must have a convolution of two dimensions", "give a network of pictures")
