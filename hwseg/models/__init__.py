"""The trained networks that come with hwseg; each has a model card beside it.

>>> path("nuclei-w8a8").name
'nuclei-w8a8.onnx'
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hwseg.errors import require

NAMES = ("nuclei-w8a8", "nuclei-mixed")


def path(name: str, suffix: str = ".onnx") -> Path:
    """Where a shipped network is: `.onnx` for the compiler, `.pt` for training on and export at another size."""
    require(name in NAMES, "model", f"must be {' or '.join(NAMES)}, not {name!r}")
    return Path(str(files(__name__).joinpath(name + suffix)))
