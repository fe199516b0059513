"""The build folder's files as bytes: the same model, board and options give the same bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.reach import reach


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def graph_json(graph: Graph) -> dict[str, Any]:
    """The integer graph; weights by shape and SHA-256, rationals as text."""
    return {
        "name": graph.name,
        "input": graph.input,
        "head": plain(graph.head),
        "metadata": dict(graph.metadata),
        "tiles": tiles_json(graph),
        "tensors": {name: plain(kind) for name, kind in graph.types.items()},
        "nodes": [
            {
                "name": node.name,
                "op": {"kind": type(node.op).__name__} | plain(node.op),
                "inputs": list(node.inputs),
                "output": node.output,
                "weights": None if node.weights is None else weights_json(node.weights),
            }
            for node in graph.nodes
        ],
    }


def tiles_json(graph: Graph) -> dict[str, Any]:
    """How pictures of any size may be cut for the network, or why they may not."""
    try:
        return reach(graph).json()
    except HwsegError as error:
        return {"refused": f"{error.place}: {error.rule}"}


def weights_json(weights: np.ndarray) -> dict[str, Any]:
    content = np.ascontiguousarray(weights).tobytes()
    return {
        "shape": list(weights.shape),
        "type": str(weights.dtype),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def plain(value: Any) -> Any:
    """JSON's types only."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
