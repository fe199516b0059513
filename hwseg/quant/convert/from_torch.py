"""A float PyTorch module becomes a `Network`: `torch.export` says what it computes for pictures of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwseg.errors import HwsegError, require
from hwseg.quant.convert.graph import INPUT, Layer, Network, unique
from hwseg.quant.convert.tracing import exported_program

OPERATIONS = "docs/models.md says which operations there are"
Node = Any
"""`fx.Node`, whose arguments PyTorch types as unions of twenty."""
ONE = "let the callable give a module of one picture and one map of logits: wrap it"


def from_module(module: nn.Module, shape: tuple[int, int, int, int]) -> Network:
    """What `module` computes in evaluation mode from a float32 picture of `shape` [1, C, H, W].

    Raises HwsegError where its Python code depends on the numbers of a picture, or computes what there is no layer for.
    """
    exported = exported_program(module.eval().cpu().float(), shape)
    reader = _Reader(shape[1])
    signature = exported.graph_signature
    names: dict[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    stored = {**exported.constants, **exported.state_dict}
    inputs = [node for node in exported.graph.nodes if node.op == "placeholder"]
    for node in inputs:
        if node.name in names:
            reader.constants[node] = stored[names[node.name]].detach()
        else:
            reader.values[node] = _Value(INPUT)
    for node in exported.graph.nodes:
        if node.op == "call_function":
            reader.read(node)
    outputs = next(node for node in exported.graph.nodes if node.op == "output").args[0]
    rule = f"must give one tensor, gives {len(outputs)}"
    require(len(outputs) == 1, type(module).__name__, rule, ONE)
    require(outputs[0] in reader.values, type(module).__name__, "gives what no picture changes", ONE)
    output = reader.values[outputs[0]].name
    found = tuple(outputs[0].meta["val"].shape)
    require(len(found) == 4 and found[0] == 1, type(module).__name__, f"must give [1, C, H, W], gives {found}", ONE)
    return Network(tuple(reader.layers), output, shape[1], reader.tensors).pruned()


@dataclass
class _Value:
    """A layer's name; what is written to in place is another one afterwards, for all who hold it."""

    name: str


@dataclass
class _Reader:
    channels: int
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[Node, _Value] = field(default_factory=dict)
    constants: dict[Node, Tensor] = field(default_factory=dict)

    def read(self, node: Node) -> None:
        """Add what a node of the exported graph computes."""
        target = str(node.target).removeprefix("aten.").split(".")[0]
        in_place = target.endswith("_") and not target.startswith("_")
        kind = target.rstrip("_") if in_place else target
        operands = [arg for arg in _nodes(node.args) if arg in self.values]
        if not operands:
            self._constant(node)
            return
        if kind in SAME:
            held = self.values[operands[0]]
            self.values[node] = held if kind in ALIASES else _Value(held.name)
            return
        rule = RULES.get(kind)
        if rule is None:
            said = f"operation {kind} is not supported"
            raise HwsegError(self.place(node), said, f"leave it out, or replace it; {OPERATIONS}")
        value = rule(self, node)
        if in_place:
            self.values[operands[0]].name = value
            self.values[node] = self.values[operands[0]]
        else:
            self.values[node] = _Value(value)

    def _constant(self, node: Node) -> None:
        args = [self.constants.get(a, a) if isinstance(a, fx.Node) else a for a in node.args]
        with torch.no_grad():
            self.constants[node] = node.target(*args, **node.kwargs)

    def place(self, node: Node) -> str:
        """Where in the user's module a node is."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return (stack[-1][0] if stack else "") or "the network"

    def argument(self, node: Node, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or keyword; constants as tensors."""
        value = node.args[index] if len(node.args) > index else node.kwargs.get(name, default)
        return self.constants.get(value, value) if isinstance(value, fx.Node) else value

    def value(self, node: Node, index: int = 0) -> str:
        """The layer whose value an argument is."""
        argument = node.args[index]
        held = self.values.get(argument) if isinstance(argument, fx.Node) else None
        if held is None:
            raise HwsegError(self.place(node), f"operand {index} must come from the picture", "compute it before")
        return held.name

    def add(self, node: Node, op: str, inputs: tuple[str, ...], options: Mapping[str, Any] | None = None,
            **tensors: Tensor | None) -> str:  # fmt: skip
        """A layer, named after the module that it is in."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path, kind = stack[-1] if stack else ("", "")
        leaf = kind.startswith("torch.nn.modules")
        base = path.replace(".", "/") if leaf else "/".join(filter(None, (path.replace(".", "/"), op)))
        name = unique(base or op, (layer.name for layer in self.layers))
        given = {role: tensor for role, tensor in tensors.items() if tensor is not None}
        self.layers.append(Layer(name, op, inputs, dict(options or {}), tuple(given)))
        self.tensors |= {f"{name}.{role}": tensor.detach().clone().float() for role, tensor in given.items()}
        return name


def _nodes(args: Any) -> Iterator[fx.Node]:
    for argument in args:
        if isinstance(argument, fx.Node):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _nodes(argument)


def one(found: Any, place: str, what: str) -> int:
    """A number that is the same for height and width."""
    numbers = list(found) if isinstance(found, (list, tuple)) else [found]
    same = len(set(numbers)) == 1
    require(same, place, f"{what} must be the same both ways, is {numbers}", "use square ones")
    return int(numbers[0])


def _conv(r: _Reader, node: Node) -> str:
    weight, place = r.argument(node, 1, "weight"), r.place(node)
    padding = r.argument(node, 4, "padding", 0)
    dilation = one(r.argument(node, 5, "dilation", 1), place, "dilation")
    if isinstance(padding, str):
        padding = 0 if padding == "valid" else dilation * (weight.shape[2] - 1) // 2
    options = {
        "kernel": one(weight.shape[2:], place, "kernel"),
        "stride": one(r.argument(node, 3, "stride", 1), place, "stride"),
        "padding": one(padding, place, "padding"), "dilation": dilation, "groups": r.argument(node, 6, "groups", 1),
    }  # fmt: skip
    return r.add(node, "conv", (r.value(node),), options, weight=weight, bias=r.argument(node, 2, "bias"))


def _conv_transpose(r: _Reader, node: Node) -> str:
    weight, place = r.argument(node, 1, "weight"), r.place(node)
    options = {
        "kernel": one(weight.shape[2:], place, "kernel"),
        "stride": one(r.argument(node, 3, "stride", 1), place, "stride"),
        "padding": one(r.argument(node, 4, "padding", 0), place, "padding"),
        "output_padding": one(r.argument(node, 5, "output_padding", 0), place, "output padding"),
        "groups": r.argument(node, 6, "groups", 1),
        "dilation": one(r.argument(node, 7, "dilation", 1), place, "dilation"),
    }  # fmt: skip
    return r.add(node, "conv_transpose", (r.value(node),), options, weight=weight, bias=r.argument(node, 2, "bias"))


def _batch_norm(r: _Reader, node: Node) -> str:
    mean, variance = r.argument(node, 3, "mean"), r.argument(node, 4, "variance")
    if mean is None or variance is None:
        raise HwsegError(r.place(node), "batch norm has no running statistics", "train with track_running_stats=True")
    return r.add(
        node, "batch_norm", (r.value(node),), {"eps": r.argument(node, 7, "eps", 1e-5)}, mean=mean, variance=variance,
        weight=r.argument(node, 1, "weight"), bias=r.argument(node, 2, "bias"),
    )  # fmt: skip


def _instance_norm(r: _Reader, node: Node) -> str:
    if not r.argument(node, 5, "use_input_stats", True):
        return _batch_norm(r, node)
    return r.add(
        node, "instance_norm", (r.value(node),), {"eps": r.argument(node, 7, "eps", 1e-5)},
        weight=r.argument(node, 1, "weight"), bias=r.argument(node, 2, "bias"),
    )  # fmt: skip


def _group_norm(r: _Reader, node: Node) -> str:
    options = {"groups": r.argument(node, 1, "groups"), "eps": r.argument(node, 4, "eps", 1e-5)}
    weight, bias = r.argument(node, 2, "weight"), r.argument(node, 3, "bias")
    return r.add(node, "group_norm", (r.value(node),), options, weight=weight, bias=bias)


def _pool(op: str) -> Callable[[_Reader, Node], str]:
    def rule(r: _Reader, node: Node) -> str:
        place, kernel = r.place(node), one(r.argument(node, 1, "kernel"), r.place(node), "kernel")
        stride, padding = r.argument(node, 2, "stride", ()) or kernel, r.argument(node, 3, "padding", 0)
        dilation = one(r.argument(node, 4, "dilation", 1), place, "dilation") if op == "max_pool" else 1
        require(dilation == 1, place, f"dilation of a pooling must be 1, is {dilation}", "pool without dilation")
        options = {"kernel": kernel, "stride": one(stride, place, "stride"), "padding": one(padding, place, "padding")}
        return r.add(node, op, (r.value(node),), options)

    return rule


def _enlarge(op: str) -> Callable[[_Reader, Node], str]:
    def rule(r: _Reader, node: Node) -> str:
        before, after = (tuple(n.meta["val"].shape[2:]) for n in (node.args[0], node))
        whole = all(b % a == 0 for a, b in zip(before, after, strict=True))
        factors = {b // a for a, b in zip(before, after, strict=True)}
        rule = f"must enlarge both sides by one whole number, not {before} to {after}"
        require(whole and len(factors) == 1, r.place(node), rule, "choose a --size that the poolings divide")
        options: dict[str, Any] = {"factor": factors.pop()}
        if op == "bilinear":
            options["align_corners"] = bool(r.argument(node, 2, "align_corners"))
        return r.add(node, op, (r.value(node),), options)

    return rule


def _concat(r: _Reader, node: Node) -> str:
    dimension = r.argument(node, 1, "dim", 0)
    require(dimension in (1, -3), r.place(node), f"must concatenate channels, not dimension {dimension}", "use dim=1")
    parts = node.args[0]
    fits = isinstance(parts, (list, tuple)) and all(isinstance(p, fx.Node) and p in r.values for p in parts)
    require(fits, r.place(node), "must concatenate maps of the picture, not constants", "leave constants out")
    return r.add(node, "concat", tuple(r.values[part].name for part in parts))


def _arithmetic(op: str) -> Callable[[_Reader, Node], str]:
    """Sums and products of two maps, or of a map and a constant: one number, or one of each channel."""

    def rule(r: _Reader, node: Node) -> str:
        both = [r.argument(node, i, "other") for i in (0, 1)]
        alpha = float(node.kwargs.get("alpha", 1) or 1)
        maps = [isinstance(x, fx.Node) and x in r.values for x in both]
        if all(maps):
            names = tuple(r.values[x].name for x in both)
            rule = "the difference or the quotient of two maps is not supported"
            require(op in ("add", "mul") and alpha == 1, r.place(node), rule, "add them, and turn the weights' sign")
            return r.add(node, "add" if op == "add" else "multiply", names)
        x = r.values[both[maps.index(True)]].name
        constant = torch.as_tensor(both[maps.index(False)], dtype=torch.float32)
        channels = node.meta["val"].shape[1]
        fits = constant.numel() == 1 or (constant.shape[-3:] == (channels, 1, 1) and constant.numel() == channels)
        require(fits, r.place(node), f"a constant {tuple(constant.shape)} must be of each channel", "use one for each")
        c, ones = constant.reshape(-1).expand(channels), torch.ones(channels)
        first = maps[0]
        weight, bias = {
            "add": (ones, alpha * c if first else c),
            "sub": (ones if first else -alpha * ones, -alpha * c if first else c),
            "mul": (c, 0 * ones), "div": (1 / c, 0 * ones),
        }[op]  # fmt: skip
        require(first or op != "div", r.place(node), "a quotient by a map is not supported", "leave it out")
        require(first or op != "add" or alpha == 1, r.place(node), "alpha must be 1", "multiply before")
        return r.add(node, "scale", (x,), weight=weight, bias=bias)

    return rule


def _plain(op: str, **arguments: tuple[int, Any]) -> Callable[[_Reader, Node], str]:
    def rule(r: _Reader, node: Node) -> str:
        options = {name: r.argument(node, index, name, default) for name, (index, default) in arguments.items()}
        return r.add(node, op, (r.value(node),), options)

    return rule


def _prelu(r: _Reader, node: Node) -> str:
    slope = r.argument(node, 1, "weight").reshape(-1)
    return r.add(node, "prelu", (r.value(node),), {"count": slope.numel()}, slope=slope)


def _gelu(r: _Reader, node: Node) -> str:
    return r.add(node, "gelu", (r.value(node),), {"approximate": node.kwargs.get("approximate", "none")})


def _hardtanh(r: _Reader, node: Node) -> str:
    ends = [r.argument(node, i, name, default) for i, name, default in ((1, "low", -1), (2, "high", 1))]
    require(ends == [0, 6], r.place(node), f"a clip must be ReLU or ReLU6, not {ends}", "use ReLU")
    return r.add(node, "relu6", (r.value(node),))


def _mean(r: _Reader, node: Node) -> str:
    dimensions = {d % 4 for d in r.argument(node, 1, "dim", ()) or ()}
    keeps = bool(r.argument(node, 2, "keepdim", False))
    rule = "a mean must be of each channel's whole map, and keep its dimensions"
    require(dimensions == {2, 3} and keeps, r.place(node), rule, "use mean((2, 3), keepdim=True)")
    return r.add(node, "global_mean", (r.value(node),))


def _adaptive(r: _Reader, node: Node) -> str:
    size = list(r.argument(node, 1, "size"))
    require(set(size) == {1}, r.place(node), f"an adaptive pooling must be to 1x1, not {size}", "use AvgPool2d(2)")
    return r.add(node, "global_mean", (r.value(node),))


def _pad(r: _Reader, node: Node) -> str:
    pads = [int(p) for p in r.argument(node, 1, "pad")]
    mode, value = r.argument(node, 2, "mode", "constant"), r.argument(node, 3, "value", 0) or 0
    if not any(pads):
        return r.value(node)
    rule = f"padding {pads} with {mode} {value if mode == 'constant' else ''}".strip()
    require(mode == "constant" and value == 0, r.place(node), f"{rule} is not zeros", "pad with zeros")
    require(all(p == 0 for p in pads[4:]), r.place(node), f"{rule} is not of height and width", "pad these alone")
    return r.add(node, "pad", (r.value(node),), {"pads": tuple(pads[:4])})


def _final(op: str) -> Callable[[_Reader, Node], str]:
    """Softmax over channels: the mask is that of the logits."""

    def rule(r: _Reader, node: Node) -> str:
        dimension = r.argument(node, 1, "dim")
        last = all(user.op == "output" for user in node.users)
        require(
            last and dimension in (1, -3), r.place(node), f"{op} must be the network's end, of dim=1", "leave it out"
        )
        return r.value(node)

    return rule


ALIASES = frozenset(("dropout", "feature_dropout", "alpha_dropout", "contiguous", "detach", "alias", "to"))
"""What gives its operand itself in evaluation: written to in place, both change."""
SAME = ALIASES | {"_to_copy", "clone", "lift_fresh_copy", "_assert_tensor_metadata"}
"""What changes no number."""

RULES: Mapping[str, Callable[[_Reader, Node], str]] = {
    "conv2d": _conv,
    "conv_transpose2d": _conv_transpose,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "relu": _plain("relu"),
    "relu6": _plain("relu6"),
    "hardtanh": _hardtanh,
    "leaky_relu": _plain("leaky_relu", slope=(1, 0.01)),
    "prelu": _prelu,
    "sigmoid": _plain("sigmoid"),
    "silu": _plain("silu"),
    "gelu": _gelu,
    "tanh": _plain("tanh"),
    "hardsigmoid": _plain("hardsigmoid"),
    "hardswish": _plain("hardswish"),
    "elu": _plain("elu", alpha=(1, 1.0)),
    "max_pool2d": _pool("max_pool"),
    "avg_pool2d": _pool("avg_pool"),
    "adaptive_avg_pool2d": _adaptive,
    "mean": _mean,
    "upsample_nearest2d": _enlarge("nearest"),
    "upsample_bilinear2d": _enlarge("bilinear"),
    "cat": _concat,
    "add": _arithmetic("add"),
    "sub": _arithmetic("sub"),
    "mul": _arithmetic("mul"),
    "div": _arithmetic("div"),
    "pixel_shuffle": _plain("pixel_shuffle", factor=(1, 2)),
    "pad": _pad,
    "softmax": _final("softmax"),
    "log_softmax": _final("log-softmax"),
}
"""By name of ATen's operation, without what it ends in when it is in place."""
