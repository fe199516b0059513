"""What an exported graph of a PyTorch module computes from the picture, node by node, as layers.

Nothing that a call says is passed over: a rule names the arguments that it reads, and those that it knows in one value
alone; every other one must be what PyTorch's schema has for it by default.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from hwseg.borders import told
from hwseg.errors import HwsegError, require
from hwseg.quant.networks.graph import Layer, unique

OPERATIONS = "docs/models.md says which operations there are"
Node = Any
"""`fx.Node`, whose arguments PyTorch types as unions of twenty."""
FLOATS = (torch.float32, torch.float64)
"""What maps may be: of fewer bits, a reading in float32 would be another network."""
DROPOUT = frozenset(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"))
SAME = DROPOUT | {"contiguous", "detach", "alias", "to", "type_as", "_to_copy", "clone", "lift_fresh_copy"}
"""What changes no number."""
INLINED = frozenset(("wrap_with_autocast", "wrap_with_set_grad_enabled"))
"""What computes another graph."""


@dataclass
class Value:
    """A layer's name; what is written to in place is another one afterwards, for all who hold it.

    end: the operation, if it is one that only the network's end may be.
    """

    name: str
    end: str = ""


@dataclass
class Reader:
    """The layers so far.  constants: all that no picture changes, tensors or tuples of them."""

    rules: Mapping[str, Callable[[Reader, Node], str | Value]]
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[Node, Value] = field(default_factory=dict)
    constants: dict[Node, Any] = field(default_factory=dict)
    inlined: dict[Node, list[Any]] = field(default_factory=dict)

    def read_all(self, graph: fx.Graph) -> None:
        """Add what every node of a graph computes."""
        for node in graph.nodes:
            if node.op == "call_function":
                self._read(node)

    def _read(self, node: Node) -> None:
        target = _name(node)
        if target in INLINED:
            self._inline(node, target)
            return
        if node.target is operator.getitem and node.args[0] in self.inlined:
            self._hold(node, self.inlined[node.args[0]][node.args[1]])
            return
        if target == "_assert_tensor_metadata":
            return
        if not any(arg in self.values for arg in _nodes([*node.args, *node.kwargs.values()])):
            self._constant(node, target)
            return
        in_place = target.endswith("_") and not target.startswith("_")
        kind = target.rstrip("_") if in_place else target
        if kind in SAME:
            self.values[node] = self._same(node, kind)
        else:
            self.values[node] = self._computed(node, kind, in_place)
        self._require_floats(node)

    def _computed(self, node: Node, kind: str, in_place: bool) -> Value:
        rule = self.rules.get(kind)
        if rule is None:
            said = f"operation {kind} is not supported"
            raise HwsegError(self.place(node), said, f"leave it out, or replace it; {OPERATIONS}")
        found = rule(self, node)
        made = found if isinstance(found, Value) else Value(found)
        if not in_place:
            return made
        held = self.values.get(self.first(node))
        if held is None:
            rule_said = f"{kind} writes what comes from the picture into a constant"
            raise HwsegError(self.place(node), rule_said, "compute it without writing in place")
        held.name, held.end = made.name, made.end
        return held

    def _same(self, node: Node, kind: str) -> Value:
        held = self.values.get(self.first(node))
        if held is None:
            raise HwsegError(self.place(node), f"operand 0 of {kind} must come from the picture", "leave it out")
        if kind in DROPOUT:
            told_of = self.arguments(node, "p", "train")
            rule = f"{kind} is random in evaluation, too (training=True)"
            silent = not told_of["train"] or told_of["p"] == 0
            require(silent, self.place(node), rule, "give it training=self.training, or leave it out")
        return held if self._aliases(node, kind) else Value(held.name, held.end)

    def _aliases(self, node: Node, kind: str) -> bool:
        """Whether it gives its operand itself in evaluation: written to in place, both change."""
        if kind in DROPOUT or kind in ("detach", "alias"):
            return True
        before, after = self.first(node).meta["val"], node.meta["val"]
        keeps = before.dtype == after.dtype and before.stride() == after.stride()
        return kind in ("to", "contiguous", "type_as") and keeps and not self._bound(node).get("copy", False)

    def _inline(self, node: Node, kind: str) -> None:
        """The nodes of a graph within the graph, in its place."""
        count = 4 if kind == "wrap_with_autocast" else 1
        if kind == "wrap_with_autocast":
            device, dtype, enabled = node.args[:3]
            rule = f"is computed in {str(dtype).removeprefix('torch.')} (autocast)"
            floats = not enabled or device != "cpu"
            require(floats, self.place(node), rule, "leave autocast out: weights and pictures here are float32")
        graph = getattr(node.graph.owning_module, str(node.args[count].target)).graph
        inputs = [inner for inner in graph.nodes if inner.op == "placeholder"]
        for inner, given in zip(inputs, node.args[count + 1 :], strict=True):
            self._hold(inner, self._held(given))
        self.read_all(graph)
        outputs = next(inner for inner in graph.nodes if inner.op == "output").args[0]
        self.inlined[node] = [self._held(one) for one in outputs]

    def _held(self, node: Node) -> Any:
        if not isinstance(node, fx.Node):
            return node
        return self.values[node] if node in self.values else self.constants[node]

    def _hold(self, node: Node, held: Any) -> None:
        (self.values if isinstance(held, Value) else self.constants)[node] = held

    def _constant(self, node: Node, kind: str) -> None:
        """Compute what no picture changes."""
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if kind in DROPOUT:
            random = bool(self.arguments(node, "p", "train")["train"])
        require(not random, self.place(node), f"{kind} is random", "use numbers that are the same every time")
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda inner: self.constants[inner])
        try:
            with torch.no_grad():
                self.constants[node] = node.target(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, NotImplementedError) as error:
            rule = f"the constant {kind} cannot be computed: {told(error)}"
            raise HwsegError(self.place(node), rule, "compute it when the network is made") from None

    def _require_floats(self, node: Node) -> None:
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            rule = f"gives numbers of {str(value.dtype).removeprefix('torch.')}"
            cure = "compute in float32: leave out what rounds, compares or casts"
            require(value.dtype in FLOATS, self.place(node), rule, cure)

    def place(self, node: Node) -> str:
        """Where in the user's module a node is."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return (stack[-1][0] if stack else "") or "the network"

    def arguments(self, node: Node, *read: str, **only: tuple[Any, ...]) -> dict[str, Any]:
        """A call's arguments by name, constants as tensors; HwsegError where one is neither read nor known.

        read: those that the caller honours, whatever they are.  only: values of those that it knows in these alone.
        The first argument is what it computes from.
        """
        found = self._bound(node)
        for argument in _arguments(node)[1:]:
            if argument.name in read:
                continue
            given, known = found[argument.name], only.get(argument.name, (argument.default_value,))
            fits = not isinstance(given, (Tensor, fx.Node)) and any(given == one for one in known)
            said = " or ".join(map(str, known))
            shown = "a tensor" if isinstance(given, (Tensor, fx.Node)) else str(given)[:80]
            rule = f"{argument.name} of {_name(node)} must be {said}, not {shown}"
            require(fits, self.place(node), rule, f"use {argument.name}={known[0]}")
        return found

    def _bound(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for index, argument in enumerate(_arguments(node)):
            given = node.kwargs.get(argument.name, argument.default_value)
            given = node.args[index] if index < len(node.args) else given
            found[argument.name] = self.constants.get(given, given) if isinstance(given, fx.Node) else given
        return found

    def tensor(self, node: Node, given: Any, name: str) -> Tensor | None:
        """An argument that must be a constant tensor, or not given."""
        rule = f"{name} must be a constant, comes from the picture"
        require(given is None or isinstance(given, Tensor), self.place(node), rule, "use parameters of the network")
        return None if given is None else torch.as_tensor(given)

    def first(self, node: Node) -> Any:
        """A call's first argument."""
        return node.args[0] if node.args else node.kwargs.get(_arguments(node)[0].name)

    def value(self, node: Node) -> str:
        """The layer whose value the first argument is."""
        found = self.named(node, self.first(node))
        if found is None:
            raise HwsegError(self.place(node), "operand 0 must come from the picture", "compute it before")
        return found

    def named(self, node: Node, argument: Any) -> str | None:
        """The layer whose value it is, if it is one's."""
        held = self.values.get(argument) if isinstance(argument, fx.Node) else None
        if held is None:
            return None
        require(not held.end, self.place(node), f"{held.end} must be the network's end", "leave it out")
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


def _arguments(node: Node) -> list[Any]:
    """What PyTorch's schema says of a call's arguments."""
    return list(node.target._schema.arguments)


def _name(node: Node) -> str:
    """The operation's name, without ATen's kind of overload."""
    text = str(node.target) if hasattr(node.target, "_schema") else node.target.__name__
    return text.removeprefix("aten.").split(".")[0] if text.startswith("aten.") else text


def _nodes(args: Any) -> Iterator[fx.Node]:
    for argument in args:
        if isinstance(argument, fx.Node):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _nodes(argument)


def sizes(node: Node) -> tuple[int, ...]:
    """Of what a node gives."""
    return tuple(int(n) for n in node.meta["val"].shape)


def one(found: Any, place: str, what: str) -> int:
    """A number that is the same for height and width."""
    numbers = list(found) if isinstance(found, (list, tuple)) else [found]
    same = len(set(numbers)) == 1
    require(same, place, f"{what} must be the same both ways, is {numbers}", "use square ones")
    return int(numbers[0])
