"""What is the right answer: the integer graph executed in NumPy, exactly, from the loop nests that the hardware walks.

    in    `hwseg.ir.Graph` and a picture of integers [H, W, C]
    out   `Result`: every tensor that was asked for, the mask, the model's own output

Read `run` and `RULES` here first, then `nest` (what a loop nest selects) and `convolution` (matrix products in floating
point, exact by proof).  An operation's module has the same stem here, in `hwseg.quant.read` and in
`hwseg.compile.lower`.  Inside, a tensor is channel planes [C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hwseg.errors import require
from hwseg.golden.addition import add_table, addition
from hwseg.golden.concatenation import concatenation
from hwseg.golden.convolution import convolution, exact_float
from hwseg.golden.dial import drops, rounded
from hwseg.golden.enlarging import bilinear, nearest
from hwseg.golden.functions import function
from hwseg.golden.head import head_integers, mask, output, values
from hwseg.golden.pooling import average_pooling, max_pooling
from hwseg.golden.products import product
from hwseg.golden.requantization import requantization, requantize
from hwseg.golden.slopes import two_slopes
from hwseg.golden.types import Integer, storage
from hwseg.ir import Graph, Node
from hwseg.ops import (
    ROUNDING,
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Function,
    MaxPool2d,
    Op,
    PRelu,
    Product,
    Requantize,
    Upsample2d,
)

__all__ = [
    "RULES",
    "Result",
    "add_table",
    "exact_float",
    "execute",
    "head_integers",
    "mask",
    "output",
    "requantize",
    "run",
    "storage",
    "values",
]

RULES: Mapping[type[Op], Callable[[Node, list[np.ndarray], type[Integer]], np.ndarray]] = {
    Conv2d: convolution,
    ConvTranspose2d: convolution,
    Bilinear2d: bilinear,
    Upsample2d: nearest,
    MaxPool2d: max_pooling,
    AveragePool2d: average_pooling,
    Concat: concatenation,
    Requantize: requantization,
    PRelu: two_slopes,
    Function: function,
    Add: addition,
    Product: product,
}
"""How each operation is computed: from the planes of its inputs to planes of a type that holds its values."""


@dataclass(frozen=True)
class Result:
    """`tensors`: integers [H, W, C] by name (int32 accumulators, int8 or uint8 activations), those that were asked for.

    `mask`: uint8 [H, W], 0/1 or the class; `output`: float32 [1, C, H, W], or as `Head.axes` say: what the model gives.
    """

    tensors: Mapping[str, np.ndarray]
    mask: np.ndarray
    output: np.ndarray


def run(
    graph: Graph, image_q: np.ndarray, taps: Collection[str] | None = None, planes: int | Mapping[str, int] = 8
) -> Result:
    """Execute `graph` on integers [H, W, C]; keeps every tensor, or the `taps` and the head's.

    `planes`: the most digit planes that an activation may use, for all or by tensor (`hwseg.golden.dial`); not the
    input.
    """
    kind = graph.types[graph.input]
    image_q = np.asarray(image_q)
    rule = f"image must be integers {list(kind.shape)} in [{kind.low}, {kind.high}]"
    require(
        image_q.shape == kind.shape, graph.input, f"{rule}, has shape {list(image_q.shape)}", "crop or resize the image"
    )
    whole = np.issubdtype(image_q.dtype, np.integer)
    require(whole, graph.input, f"{rule}, has type {image_q.dtype}", "quantize the image first")
    low, high = int(image_q.min()), int(image_q.max())
    require(
        kind.low <= low and high <= kind.high,
        graph.input,
        f"{rule}, reaches [{low}, {high}]",
        "quantize the image first",
    )
    tensors = {graph.input: np.ascontiguousarray(image_q.transpose(2, 0, 1), storage(kind))}
    kept = set(tensors if taps is None else taps) | {graph.head.tensor}
    last_reader = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
    lost = drops(graph, planes)
    for number, node in enumerate(graph.nodes):
        inputs = [tensors[name] for name in node.inputs]
        drop = lost[node.output] if isinstance(node.op, ROUNDING) else 0
        found = execute(rounded(node, drop), inputs, storage(graph.types[node.output]))
        tensors[node.output] = found << drop if drop else found
        if taps is not None:
            for name in node.inputs:
                if last_reader[name] == number and name not in kept:
                    tensors.pop(name, None)
    pixels = {name: planes.transpose(1, 2, 0) for name, planes in tensors.items() if name in kept or taps is None}
    head = pixels[graph.head.tensor]
    return Result(pixels, mask(graph.head, head), output(graph.head, head))


def execute(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """One operation on planes."""
    return RULES[type(node.op)](node, inputs, dtype)
