"""Files that `hwseg quantize` writes beside each other: named and judged before anything is computed for them.

Nothing of the user's is written over: neither what is read, nor a file that `hwseg quantize` did not write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from hwseg.errors import HwsegError, file_errors, require
from hwseg.files import read_file, require_unread
from hwseg.quant.networks.layered import MULTIPLE, NetworkConfig
from hwseg.quant.read.onnx_file import read
from hwseg.quant.train.checkpoint import NETWORK_FORMAT, load

STATE, SEARCH = ".distill.pt", ".search.json"
"""What was done so far, while it is not all done."""
REPORTED = {"model", "from", "calibrated_on", "noise"}
"""Keys that every report of a conversion has."""
HEADING = "<h2>Signal to noise of layers</h2>"
"""What every page of a conversion has."""
OTHER = "choose another -o"


def require_free(out: Path, sources: Iterable[Path]) -> None:
    """Refuse `out` if files cannot be written there, or are there and are not of an earlier conversion.

    sources: files that are read, and so are not written to.
    """
    require(out.suffix == ".onnx", "--out", f"must end in .onnx, is {out}", "name a .onnx file")
    _require_folder(out)
    read_from = list(sources)
    for ending, own in OWN.items():
        path = out.with_suffix(ending)
        require_unread(path, read_from)
        if os.path.lexists(path):
            rule = "exists, and was not written by hwseg quantize: it would be lost"
            require(_is(own, path), str(path), rule, OTHER)


def _require_folder(out: Path) -> None:
    """The folder is there and can be written to, or can be made."""
    with file_errors(out):
        folder = out.absolute().parent
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        require(folder.is_dir(), str(out), f"would lie below {folder}, which is no folder", OTHER)
        rule = f"cannot be written: permission denied in {folder}"
        require(os.access(folder, os.W_OK | os.X_OK), str(out), rule, OTHER)


def _is(own: Callable[[Path], bool], path: Path) -> bool:
    with suppress(HwsegError, ValueError, RecursionError):
        return own(path)
    return False


def _model(path: Path) -> bool:
    return MULTIPLE in read(path).metadata


def _checkpoint(path: Path) -> bool:
    return NetworkConfig.table in load(path, NETWORK_FORMAT)


def _report(path: Path) -> bool:
    content = json.loads(read_file(path))
    return isinstance(content, dict) and set(content) >= REPORTED


def _page(path: Path) -> bool:
    return HEADING.encode() in read_file(path)


def _state(path: Path) -> bool:
    return True  # it is never written over: `distill.read_state` goes on with it or refuses it


def _search(path: Path) -> bool:
    content = json.loads(read_file(path))
    return isinstance(content, dict) and set(content) >= {"key", "sha256", "values"}


OWN: Mapping[str, Callable[[Path], bool]] = {
    ".onnx": _model, ".pt": _checkpoint, ".json": _report, ".html": _page, STATE: _state, SEARCH: _search,
}  # fmt: skip
"""The files, by what stands behind their name, and whether one that is there is of a conversion."""
