"""How a model ends: the tensor it gives, and a probability, class or comparison of it, become the graph's `Head`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import log

from hwseg.errors import require
from hwseg.ir import Head
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.axes import counts, lengths
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.wide import joined, joined_value


def comparison(b: Builder, node: OnnxNode) -> None:
    """The model's own mask: value > threshold, where a probability's threshold is moved before the sigmoid."""
    attributes(node)
    name = node.input(0)
    require(name in b.values, node.name, "must compare the network's output with a constant", "write x > c")
    value = b.values[name]
    limit = b.constant(node, 1, "threshold")
    good = value.activation in ("none", "sigmoid") and value.shape[2] == 1 and limit.size == 1
    require(good, node.name, "must compare one channel with one number", "compare outside the model")
    cure = "leave the quantizer behind the Sigmoid out"
    require(value.rounding is None, node.name, "must compare the probability itself, not a rounded one", cure)
    (threshold,) = b.numbers(node, 1, "threshold")
    if value.activation == "sigmoid":
        p = float(threshold)
        require(
            0 < p < 1,
            node.name,
            f"a probability's threshold must be in (0, 1), is {p:g}",
            "compare with 0.5, or another",
        )
        threshold = Fraction(log(p / (1 - p)))
    b.values[node.outputs[0]] = replace(value, activation="threshold", threshold=threshold)


def final(b: Builder, node: OnnxNode) -> None:
    """Sigmoid, Softmax or ArgMax over channels: the head's activation, in any order of axes."""
    value = b.ordered(node)
    value = value if value.activation == "none" else b.value(node)  # or says why not
    if node.op == "Sigmoid":
        attributes(node)
        b.values[node.outputs[0]] = replace(value, activation="sigmoid")
        return
    softmax = node.op == "Softmax"
    attributes(node, axis=int) if softmax else attributes(node, axis=int, keepdims=[0, 1], select_last_index=[0])
    rank, old = len(value.axes), b.file.opset < 13
    axis = node.attributes.get("axis", (1 if old else -1) if softmax else 0)
    within = -rank <= axis < rank
    at = axis % rank if within else 0
    # Before operator set 13 Softmax is over all axes from this one on.
    over = "".join(value.axes[at:]) if softmax and old else value.axes[at]
    sizes = list(lengths(value.axes, value.shape))
    rule = f"{node.op} must be over channels, is over axis {axis} of {sizes}"
    cure = "use dim=1 and operator set 13 or newer" if softmax and old else "use dim=1"
    require(within and (value.shape[2] == 1 or counts(over, "C", value.shape)), node.name, rule, cure)
    rule = f"{node.op} of one channel is the same for every picture"
    require(value.shape[2] > 1, node.name, rule, "end the model with Sigmoid, or with x > c")
    if softmax:
        b.values[node.outputs[0]] = replace(value, activation="softmax")
        return
    keep = node.attributes.get("keepdims", 1)
    classes = tuple("" if i == at else axis for i, axis in enumerate(value.axes) if keep or i != at)
    # A class has no channels: C is 1, wherever it stands.
    axes = (value.axes[at] + classes[0], *classes[1:]) if classes else (value.axes[at],)
    b.values[node.outputs[0]] = replace(value, activation="argmax", axes=axes)


def head_of(b: Builder, output: str) -> Head:
    """What the network gives: an activation, or a convolution's accumulators."""
    value = b.values[output]
    settled = joined_value(b, b.settle(value, f"{output}/settled"), f"{output}/sum")
    part = settled.parts[0]
    if part.split:
        part = joined(b, part, f"{output}/sum")
    plain = len(settled.parts) == len(part.tensors) == 1 and not part.relu and not part.moves and part.curve is None
    require(plain, output, "the output must be a quantized tensor or a convolution's", "put a QuantIdentity at the end")
    largest = max(abs(number) for number in (*part.scales[0], *part.offset))
    require(largest < 1 << 128, output, "scale and offset must fit float32", "check the constants before the output")
    last = value.activation, value.threshold, value.rounding, value.axes
    return Head(part.tensors[0], part.scales[0], part.offset, *last)
