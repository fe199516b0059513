"""What a float ONNX file computes from the picture, node by node, as layers.

It works on the checked records of `hwseg.quant.read`.  Nothing that a node says is passed over: a rule names the inputs
and the attributes that it reads, and every other one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwseg.errors import HwsegError, require
from hwseg.quant.convert.torch_reader import OPERATIONS
from hwseg.quant.networks.graph import INPUT, Layer, Network, unique
from hwseg.quant.networks.operations import compute
from hwseg.quant.read.fold import folded
from hwseg.quant.read.onnx_file import OnnxFile, OnnxNode

FLOATS: Mapping[int, type[np.floating[Any]]] = {1: np.float32, 11: np.float64}
"""What a Cast may be to: of fewer bits, a reading in float32 would be another network."""
AGAIN = "export the network again"


@dataclass(frozen=True)
class View:
    """A layer's value in another order or shape, of which only some operations know what to make.

    op: what made it so.  axes: those of the value, in order.  shape: what it has instead of the value's.
    """

    op: str
    value: str
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass
class Reader:
    """values: layer by ONNX tensor.  ends: tensors that only the file may give.  shapes: of what a layer gives."""

    file: OnnxFile
    rules: Mapping[str, Callable[[Reader, OnnxNode], str | None]]
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values[self.file.input] = INPUT
        self.shapes[INPUT] = self.file.shape
        self.constants = dict(self.file.constants)

    def read(self, node: OnnxNode) -> None:
        """Add what a node computes, or keep it as a constant."""
        if node.op == "Shape" and node.input(0) in self.values:
            given = self.attributes(node, 1, start=0, end=None)
            self.constants[node.outputs[0]] = np.array(self.shape(node), np.int64)[given["start"] : given["end"]]
            return
        if self._constant(node):
            return
        rule = self.rules.get(node.op)
        if rule is None:
            raise HwsegError(
                node.name, f"operation {node.op} is not supported", f"leave it out, or replace it; {OPERATIONS}"
            )
        found = rule(self, node)
        if found is not None:
            self.values[node.outputs[0]] = found

    def _constant(self, node: OnnxNode) -> bool:
        names = [name for name in node.inputs if name]
        if not names or not all(name in self.constants for name in names):
            return False
        result = folded(node, [self.constants[name] if name else None for name in node.inputs])
        if result is None and node.op == "Identity":
            result = self.constants[node.input(0)]
        if result is None and node.op == "Cast" and node.attributes.get("to") in FLOATS:
            result = self.constants[node.input(0)].astype(FLOATS[node.attributes["to"]])
        if result is None:
            rule = f"{node.op} computes with a constant alone"
            raise HwsegError(node.name, rule, "compute it before the export (constant folding)")
        self.constants[node.outputs[0]] = result
        return True

    def attributes(self, node: OnnxNode, inputs: int, **known: Any) -> dict[str, Any]:
        """The node's attributes, or their defaults; HwsegError where it has one that is not known, or more inputs.

        known: by name, a list of values, of which the first is ONNX's default, or a default that may be any other of
        its type; None may be whole numbers.
        """
        more = [name for name in node.inputs[inputs:] if name]
        rule = f"input {inputs} of {node.op} is not supported"
        require(not more, node.name, rule, f"{AGAIN}, without it")
        found = {key: default[0] if isinstance(default, list) else default for key, default in known.items()}
        for key, value in node.attributes.items():
            rule = f"attribute {key} of {node.op} is not supported"
            require(key in known, node.name, rule, f"{AGAIN}, without it")
            wanted = known[key]
            if isinstance(wanted, list):
                good = any(type(value) is type(one) and value == one for one in wanted)
                said, cure = " or ".join(map(str, wanted)), f"use {key}={wanted[0]}"
            else:
                kind = int if wanted is None else type(wanted)
                good = type(value) is kind and (kind is not float or bool(np.isfinite(value)))
                said, cure = f"of type {kind.__name__}", AGAIN
            shown = "a tensor" if isinstance(value, np.ndarray) else str(value)[:80]
            require(good, node.name, f"attribute {key} of {node.op} must be {said}, not {shown}", cure)
            found[key] = value
        return found

    def value(self, node: OnnxNode, index: int = 0) -> str:
        """The layer whose value an input is."""
        name = node.input(index)
        if name in self.views:
            rule = f"{node.op} of what {self.views[name].op} gives is not supported"
            raise HwsegError(node.name, rule, "leave it out: maps must be [1, C, H, W]")
        rule = f"input {index} must come from the picture"
        require(name in self.values, node.name, rule, "compute constants before the export")
        require(name not in self.ends, node.name, f"{self.ends.get(name)} must be the network's end", "leave it out")
        return self.values[name]

    def shape(self, node: OnnxNode, index: int = 0) -> tuple[int, ...]:
        """Of an input."""
        return self.shapes[self.value(node, index)]

    def constant(self, node: OnnxNode, index: int) -> np.ndarray | None:
        """An input that must be a constant, if it is given."""
        name = node.input(index)
        if not name:
            return None
        rule = f"input {index} must be a constant"
        require(name in self.constants, node.name, rule, "fix it before the export")
        return self.constants[name]

    def numbers(self, node: OnnxNode, index: int) -> list[float]:
        """The same as a list, empty if it is not given."""
        array = self.constant(node, index)
        return [] if array is None else [x.item() for x in np.asarray(array).reshape(-1)]

    def tensor(self, node: OnnxNode, index: int) -> Tensor | None:
        """The same as float32."""
        array = self.constant(node, index)
        return None if array is None else torch.from_numpy(array.astype(np.float32))

    def needed(self, node: OnnxNode, index: int) -> Tensor:
        """The same, of an input that there must be."""
        tensor = self.tensor(node, index)
        if tensor is None:
            raise HwsegError(node.name, f"input {index} of {node.op} is missing", AGAIN)
        return tensor

    def add(self, node: OnnxNode, op: str, inputs: tuple[str, ...], options: Mapping[str, Any] | None = None,
            **tensors: Tensor | None) -> str:  # fmt: skip
        """A layer with the node's name, whose result is computed once for its shape."""
        name = unique(node.name.strip("/").replace(".", "/") or op, (layer.name for layer in self.layers))
        given = {role: tensor for role, tensor in tensors.items() if tensor is not None}
        layer = Layer(name, op, inputs, dict(options or {}), tuple(given))
        self.tensors |= {f"{name}.{role}": tensor.clone() for role, tensor in given.items()}
        self.layers.append(layer)
        alone = Network((layer,), name, 1, {f"{name}.{role}": t.to("meta") for role, t in given.items()})
        try:
            found = compute(alone, layer, [torch.zeros(self.shapes[x], device="meta") for x in inputs])
        except (RuntimeError, ValueError, IndexError) as error:
            rule = f"does not fit its inputs: {str(error).splitlines()[0][:200]}"
            raise HwsegError(node.name, rule, AGAIN) from None
        self.shapes[name] = tuple(found.shape)
        return name
