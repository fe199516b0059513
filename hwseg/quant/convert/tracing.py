"""`torch.export` of somebody's module; where it fails, in which line of their code, and why, in one sentence."""

from __future__ import annotations

import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import nn

from hwseg.errors import HwsegError


def exported_program(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """What `module` computes for a picture of `shape`, as PyTorch's operations."""
    name = type(module).__name__
    with _quiet(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(module, (torch.zeros(shape),), strict=False)
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            place = _place(error) or name
            depends = "data-dependent" in str(error).lower()
            told = str(error).strip().splitlines() or [type(error).__name__]
            rule = "the network's code depends on the numbers of the picture, so no fixed graph computes it"
            cure = "let it compute the same for every picture, or export the branch that is taken as ONNX"
            if not depends:
                rule = f"cannot be computed for a picture {list(shape)}: {type(error).__name__}: {told[0][:200]}"
                cure = "check --size and the channels of the pictures, and that the callable gives the network itself"
            raise HwsegError(place, rule, cure) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch logs and prints of a trace that fails."""
    loggers = [logging.getLogger(name) for name in ("torch.fx.experimental.symbolic_shapes", "torch.export", "torch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nothing, _stderr(nothing):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _stderr(stream: Any) -> Iterator[None]:
    with redirect_stderr(stream), redirect_stdout(stream):
        yield


def _place(error: BaseException) -> str:
    """The innermost line of code that is no library's of PyTorch."""
    ours = os.path.dirname(os.path.abspath(__file__))
    library = os.path.dirname(os.path.abspath(torch.__file__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((library, ours, "<")):
            return f"{os.path.basename(frame.filename)}, line {frame.lineno} ({(frame.line or '').strip()[:80]})"
    return ""
