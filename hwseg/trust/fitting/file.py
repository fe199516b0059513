"""A model's file with its metadata `hwseg.trust`: nothing else in it changes."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.quant.read.onnx_file import MAX_FILE_BYTES, self_contained
from hwseg.trust.fitted import TRUST, Trust


def with_trust(path: Path, trust: Trust, in_place: bool, output: str = "") -> bytes:
    """The file's bytes with what was fitted, in place of what was; with a chosen output, and no other.

    External data is moved inside, unless the file stays where it is.
    """
    content = read_file(path, MAX_FILE_BYTES) if in_place else self_contained(path, output)
    with given(path, "an ONNX file", "export the model again"):
        model = onnx.ModelProto.FromString(content)
    graph = model.graph.SerializeToString(deterministic=True)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, dict(sorted((kept | {TRUST: trust.text()}).items())))
    same = model.graph.SerializeToString(deterministic=True) == graph
    require(same, str(path), "must keep its graph as it is", "report this line")
    return bytes(model.SerializeToString(deterministic=True))
