"""A network's digest, and what its metadata say of trust."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Head
from hwseg.trust.fitted import FIT, TRUST, Trust, parse
from hwseg.trust.judge import Judge


def digest(graph: Graph) -> str:
    """SHA-256 of what a network computes: operations, how they are joined, weights, quantizers, head.

    Not of names, metadata or the size of pictures: the same network for another size has the same digest.
    """
    number = {graph.input: 0} | {node.output: n for n, node in enumerate(graph.nodes, 1)}
    found = hashlib.sha256()

    def add(*values: Any) -> None:
        found.update(repr(_plain(values)).encode() + b"\n")

    def add_type(name: str) -> None:
        kind = graph.types[name]
        add(kind.shape[2], kind.low, kind.high, kind.scale)

    add_type(graph.input)
    for node in graph.nodes:
        add(type(node.op).__name__, node.op, [number[name] for name in node.inputs])
        add_type(node.output)
        if node.weights is not None:
            add(node.weights.shape, str(node.weights.dtype))
            found.update(node.weights.tobytes())
    head = graph.head
    add(number[head.tensor], head.scale, head.offset, head.activation == "argmax", head.threshold)
    return found.hexdigest()


def _plain(value: Any) -> Any:
    """Numbers and texts, whose `repr` stays what it is.

    Of an operation only what differs from its default: when it learns something new, networks keep their digest.
    """
    if is_dataclass(value):
        given = [(f.name, getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != f.default]
        return [(name, _plain(found)) for name, found in given]
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def trust_of(graph: Graph) -> Trust | None:
    """What was fitted to a graph; None where its metadata say nothing, HwsegError where it was another network."""
    if TRUST not in graph.metadata:
        return None
    place = f"{graph.name}, metadata {TRUST}"
    trust = parse(graph.metadata[TRUST], graph.types[graph.head.tensor].shape[2], place)
    own = digest(graph)
    rule = f"was fitted to another network, {trust.graph[:12]}, not to this one, {own[:12]}"
    require(trust.graph == own, place, rule, f"{FIT} again")
    return trust


def linear(head: Head, channels: int) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Scale and offset of each channel's logit; the threshold is taken off."""
    scale, offset = (tuple(values[c % len(values)] for c in range(channels)) for values in (head.scale, head.offset))
    return scale, tuple(one - head.threshold for one in offset)


def judge_with(graph: Graph, trust: Trust) -> Judge:
    """What judges a graph's masks by `trust`."""
    return Judge.of(trust, *linear(graph.head, graph.types[graph.head.tensor].shape[2]))


def judge_of(graph: Graph) -> Judge:
    """What judges a graph's masks by its metadata; HwsegError where nothing was fitted."""
    trust = trust_of(graph)
    if trust is None:
        raise HwsegError(graph.name, "has no metadata hwseg.trust, so nothing is known of its doubts", FIT)
    return judge_with(graph, trust)
