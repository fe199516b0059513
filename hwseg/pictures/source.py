"""A picture, or the float tensor that a model takes, as the integers of the graph's input."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwseg.errors import require
from hwseg.ir import Graph, TensorType
from hwseg.pictures import choice, prepare
from hwseg.pictures import labels as declared
from hwseg.pictures.choice import Choice
from hwseg.pictures.formats.numpy_file import opened
from hwseg.pictures.labels import Labels
from hwseg.pictures.raster import Raster
from hwseg.pictures.read import read_one
from hwseg.pictures.table import Quantizer


def quantizer(kind: TensorType) -> Quantizer:
    """A graph's first quantizer."""
    return Quantizer(kind.scale[0], kind.low, kind.high)


def choice_of(graph: Graph) -> Choice:
    """What pixels are to a graph."""
    return choice.of_metadata(graph.metadata, graph.types[graph.input].shape[2], graph.name)


def chosen(graph: Graph, text: str) -> Graph:
    """The graph with what --input NAME|FILE says of its pixels; as it is where that says nothing."""
    channels = graph.types[graph.input].shape[2]
    return replace(graph, metadata=choice.with_choice(graph.metadata, text, channels)) if text else graph


def labels_of(graph: Graph) -> Labels:
    """What the classes of a graph's mask are."""
    return declared.declared(graph.metadata, graph.types[graph.head.tensor].shape[2], graph.name)


def read_input(path: str | Path, graph: Graph, fit: str = "", page: int | None = None) -> np.ndarray:
    """Integers [H, W, C] for `graph` from a picture, or from a .npy file with the model's float32 tensor."""
    place = str(path)
    if is_tensor(path):
        return from_floats(graph, read_floats(path, graph), place)
    return integers(read_one(path, page), graph, fit)


def integers(picture: Raster, graph: Graph, fit: str = "") -> np.ndarray:
    """The input of `graph` for a picture, as its file declares; scaled where it was trained on scaled ones."""
    kind = graph.types[graph.input]
    meaning = choice_of(graph).meaning
    return prepare.integers(picture, meaning, kind.shape, quantizer(kind), fit or meaning.fit)


def is_tensor(path: str | Path) -> bool:
    """Whether a file is a .npy with three axes or more of floats: the model's own input, not a picture."""
    if Path(path).suffix.lower() != ".npy" or not os.path.isfile(path):
        return False
    array = opened(Path(path), str(path))
    return array.dtype.kind == "f" and array.ndim != 2


def read_floats(path: str | Path, graph: Graph) -> np.ndarray:
    """The model's input tensor, float32 [1, C, H, W], from a .npy file with it or with [C, H, W]."""
    place = str(path)
    height, width, channels = graph.types[graph.input].shape
    shape = (1, channels, height, width)
    x = opened(Path(path), place)
    wanted = f"must hold float32 {list(shape)}"
    require(x.dtype == np.float32, place, f"{wanted}, holds {x.dtype}", "convert with .astype(numpy.float32)")
    require(x.shape in (shape, shape[1:]), place, f"{wanted}, holds {list(x.shape)}", "use the model's size")
    x = np.array(x).reshape(shape)
    require(bool(np.isfinite(x).all()), place, f"{wanted}, holds values that are not finite", "check how it was made")
    return x


def from_floats(graph: Graph, x: np.ndarray, place: str = "input") -> np.ndarray:
    """The input's integers for float32 [1, C, H, W]: as the model quantizes them, or exact multiples of the scale."""
    kind = graph.types[graph.input]
    with np.errstate(over="ignore"):
        ratio = x[0].transpose(1, 2, 0) / np.float32(kind.scale[0])
    q = np.rint(np.clip(ratio, kind.low, kind.high))
    if not graph.input_quantizer:
        unit = float(1 / kind.scale[0])
        rule = f"the model has no input quantizer, so values must be n / {unit:g}, n = 0 to {kind.high}"
        require(bool((q == ratio).all()), place, rule, "put a QuantIdentity on the model's input")
    return np.asarray(q, np.int16)


def to_floats(graph: Graph, q: np.ndarray) -> np.ndarray:
    """The float32 tensor [1, C, H, W] that the model takes for the integers [H, W, C]."""
    x = (np.asarray(q).transpose(2, 0, 1)[None] * float(graph.types[graph.input].scale[0])).astype(np.float32)
    return np.ascontiguousarray(x)
