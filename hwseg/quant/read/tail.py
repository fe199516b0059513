"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose and Cast of what the network gives: the order of its numbers.

Nothing is computed: the head says in which order the model has its channels, rows and columns (`Head.axes`).  Sigmoid,
Softmax, ArgMax and a quantizer may come before or after.  Constants take the same rules, of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

from onnx import TensorProto

from hwseg.errors import HwsegError, require
from hwseg.ir import Axes
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.axes import lengths, permuted, regrouped
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.instead import RESHAPED
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.quantizer import Quantized

MAX_RANK = 8
INTEGERS: Mapping[int, int] = {
    TensorProto.UINT8: 255, TensorProto.INT8: 127, TensorProto.UINT16: 65535, TensorProto.INT16: 32767,
    TensorProto.INT32: 1 << 31, TensorProto.INT64: 1 << 31, TensorProto.BOOL: 1, TensorProto.DOUBLE: 1 << 31,
}  # fmt: skip
"""What classes may be cast to, and the largest that it holds."""


def transpose(b: Builder, node: OnnxNode) -> None:
    """Transpose."""
    attributes(node, perm=tuple)
    name, output = node.input(0), node.outputs[0]

    def order(rank: int) -> tuple[int, ...]:
        found = node.attributes.get("perm", tuple(reversed(range(rank))))
        rule = f"perm must be an order of {rank} axes, is {list(found)[:MAX_RANK]}"
        require(sorted(found) == list(range(rank)), node.name, rule, EXPORT)
        return tuple(found)

    if name in b.constants:
        b.constants[output] = b.constants[name].transpose(order(b.constants[name].ndim))
        return
    if name in b.quantized:
        found = b.quantized[name]
        rank = found.integers.ndim
        scale = found.scale.reshape((1,) * (rank - found.scale.ndim) + found.scale.shape)
        b.quantized[output] = Quantized(found.integers.transpose(order(rank)), scale.transpose(order(rank)))
        return
    value = b.ordered(node)
    b.values[output] = replace(value, axes=permuted(value.axes, order(len(value.axes))))


def reshape(b: Builder, node: OnnxNode) -> None:
    """Reshape."""
    attributes(node, shape=tuple, allowzero=[0, 1])
    old = "shape" in node.attributes
    given = node.attributes["shape"] if old else b.constant(node, 1, "shape").reshape(-1)
    _regroup(b, node, lambda axes, sizes: _wanted(node, [int(n) for n in given], sizes))


def _wanted(node: OnnxNode, given: list[int], sizes: Sequence[int]) -> list[int]:
    """The sizes that Reshape asks for; 0 is the old one, -1 what is left."""
    keep = not node.attributes.get("allowzero", 0)
    rule = f"shape {given[:MAX_RANK]} must be that of {prod(sizes)} numbers"
    cure = "export the model for pictures of this size"
    require(len(given) <= MAX_RANK and given.count(-1) <= 1, node.name, rule, cure)
    new = [sizes[i] if n == 0 and keep and i < len(sizes) else n for i, n in enumerate(given)]
    rest = prod(n for n in new if n != -1)
    require(rest > 0 and prod(sizes) % rest == 0, node.name, rule, cure)
    new = [prod(sizes) // rest if n == -1 else n for n in new]
    require(prod(new) == prod(sizes) and min(new, default=0) > 0, node.name, rule, cure)
    return new


def flatten(b: Builder, node: OnnxNode) -> None:
    """Flatten: two axes."""
    axis = attributes(node, axis=int).get("axis", 1)

    def two(_: Axes, sizes: Sequence[int]) -> list[int]:
        rank = len(sizes)
        require(-rank <= axis <= rank, node.name, f"axis must be one of {rank}, is {axis}", EXPORT)
        at = axis % rank if axis < 0 else axis
        return [prod(sizes[:at]), prod(sizes[at:])]

    _regroup(b, node, two)


def squeeze(b: Builder, node: OnnxNode) -> None:
    """Squeeze: without some axes of size 1, or all."""
    gone = _axes(b, node)

    def fewer(_: Axes, sizes: Sequence[int]) -> list[int]:
        rank = len(sizes)
        given = gone or [i for i, size in enumerate(sizes) if size == 1]
        good = all(-rank <= i < rank and sizes[i] == 1 for i in given)
        require(good, node.name, f"axes {given[:MAX_RANK]} must have size 1, the sizes are {list(sizes)}", EXPORT)
        left = {i % rank for i in given}
        require(len(left) < rank, node.name, "must leave an axis", "leave one more axis")
        return [size for i, size in enumerate(sizes) if i not in left]

    _regroup(b, node, fewer)


def unsqueeze(b: Builder, node: OnnxNode) -> None:
    """Unsqueeze: further axes of size 1."""
    new = _axes(b, node)

    def more(_: Axes, sizes: Sequence[int]) -> list[int]:
        rank = len(sizes) + len(new)
        places = {i % rank for i in new if -rank <= i < rank}
        good = rank <= MAX_RANK and len(places) == len(new)
        require(good, node.name, f"axes {new[:MAX_RANK]} must be some of {rank}, at most {MAX_RANK}", EXPORT)
        rest = iter(sizes)
        return [1 if i in places else next(rest) for i in range(rank)]

    _regroup(b, node, more)


def _axes(b: Builder, node: OnnxNode) -> list[int]:
    attributes(node, axes=tuple)
    if "axes" in node.attributes:
        return [int(i) for i in node.attributes["axes"]]
    return [int(i) for i in b.constant(node, 1, "axes").reshape(-1)] if node.input(1) else []


def _regroup(b: Builder, node: OnnxNode, wanted: Callable[[Axes, Sequence[int]], list[int]]) -> None:
    """The same numbers in the same order, by other sizes."""
    name, output = node.input(0), node.outputs[0]
    if name in b.constants:
        x = b.constants[name]
        b.constants[output] = x.reshape(wanted((), x.shape))
        return
    if name in b.quantized and b.quantized[name].scale.size == 1:
        found = b.quantized[name]
        new = wanted((), found.integers.shape)
        b.quantized[output] = Quantized(found.integers.reshape(new), found.scale.reshape((1,) * len(new)))
        return
    value = b.ordered(node)
    sizes = lengths(value.axes, value.given)
    new = wanted(value.axes, sizes)
    axes = regrouped(value.axes, value.given, new)
    if axes is None:
        rule = f"{node.op} must keep channels, rows and columns whole: {list(sizes)} cannot become {new}"
        raise HwsegError(node.name, rule, RESHAPED)
    b.values[output] = replace(value, axes=axes)


def cast(b: Builder, node: OnnxNode) -> None:
    """Cast of what is float32 to float32, and of classes to any type that holds them."""
    attributes(node, to=int, saturate=[0, 1])
    value, to = b.ordered(node), int(node.attributes.get("to", 0))
    classes = value.activation in ("argmax", "threshold")
    most = 1 if value.activation == "threshold" else value.shape[2] - 1
    good = to == TensorProto.FLOAT or (classes and most <= INTEGERS.get(to, -1))
    rule = f"Cast to type {to} of what is {'a class' if classes else 'float32'} is not supported"
    require(good, node.name, rule, "let the model compute with float32")
    b.values[node.outputs[0]] = value
