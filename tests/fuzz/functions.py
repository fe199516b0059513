"""Operators on maps that a function may have bent: functions themselves, and what happens to every number alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np
import onnx

from tests.fuzz import bent, exact
from tests.fuzz.bent import Bent, Number
from tests.fuzz.exact import Exact
from tests.fuzz.executor import Executor, Value, attributes

FUNCTIONS = ("Tanh", "Erf", "Softplus", "HardSigmoid", "HardSwish", "Swish", "Mish", "Gelu", "Elu", "Selu", "Celu")


def function(e: Executor, node: onnx.NodeProto) -> Value:
    """An activation function that is no ReLU, as ONNX defines it."""
    given, one = attributes(node), Fraction(1)
    default = {"HardSigmoid": 0.2, "Selu": 1.67326319217681884765625}.get(node.op_type, 1.0)
    alpha = Fraction(float(np.float32(given.get("alpha", default))))
    beta = Fraction(float(np.float32(given.get("beta", 0.5))))
    gamma = Fraction(float(np.float32(given.get("gamma", 1.05070102214813232421875))))

    def hard(x: Number, factor: Fraction, offset: Fraction) -> Number:
        return min(max(bent.plus(bent.times(x, factor), offset), Fraction(0)), one)

    def elu(x: Number) -> Number:
        return x if x > 0 else bent.times(bent.expm1(x), alpha)

    functions: Mapping[str, Callable[[Number], Number]] = {
        "Tanh": bent.tanh,
        "Erf": bent.erf,
        "Softplus": bent.softplus,
        "HardSigmoid": lambda x: hard(x, alpha, beta),
        "HardSwish": lambda x: bent.times(x, hard(x, Fraction(1, 6), Fraction(1, 2))),
        "Swish": lambda x: bent.times(x, bent.sigmoid(bent.times(x, alpha))),
        "Mish": lambda x: bent.times(x, bent.tanh(bent.softplus(x))),
        "Gelu": lambda x: bent.times(x, bent.times(bent.plus(bent.erf(bent.over_root_2(x)), one), one / 2)),
        "Elu": elu,
        "Selu": lambda x: bent.times(elu(x), gamma),
        "Celu": lambda x: x if x > 0 else bent.times(bent.expm1(bent.times(x, 1 / alpha)), alpha),
    }
    return bent.straight(e.bent(node)).then(lambda channel, number: functions[node.op_type](number))


def together(e: Executor, node: onnx.NodeProto) -> Value:
    """A sum or product of two maps."""
    a, b = e.bent(node, 0), e.bent(node, 1)
    assert node.op_type in ("Add", "Mul"), node.op_type
    if isinstance(a, Exact) and isinstance(b, Exact):
        return exact.added(a, b) if node.op_type == "Add" else exact.multiplied(a, b)
    return bent.together(bent.straight(a), bent.straight(b), bent.plus if node.op_type == "Add" else bent.times)


def _affine(x: Bent, factors: Sequence[Fraction], addends: Sequence[Fraction]) -> Bent:
    return x.then(lambda c, number: bent.plus(bent.times(number, factors[c]), addends[c]))


def affine(x: Exact | Bent, factors: Sequence[Fraction], addends: Sequence[Fraction]) -> Exact | Bent:
    return _affine(x, factors, addends) if isinstance(x, Bent) else exact.affine(x, factors, addends)


def rectified(x: Exact | Bent, slopes: Sequence[Fraction]) -> Exact | Bent:
    if isinstance(x, Exact):
        return exact.relu(x, slopes)
    return x.then(lambda c, number: number if number >= 0 else bent.times(number, slopes[c % len(slopes)]))


def moved_map(x: Exact | Bent, move: Callable[[Exact], Exact]) -> Exact | Bent:
    """Maxima or repeated pixels of a map; of a bent one of its numbers' ranks, which are in their order."""
    if isinstance(x, Exact):
        return move(x)
    ranks, tables = [], []
    for channel, (n, unit) in enumerate(zip(x.x.integers, x.x.units, strict=True)):
        found, places = np.unique(n, return_inverse=True)
        numbers = [x.function(channel, int(k) * unit) for k in found]
        order = sorted(range(len(numbers)), key=lambda i: bent.digits(numbers[i]))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ranks.append(rank[places].reshape(n.shape))
        tables.append([numbers[i] for i in order])
    moved = move(Exact(np.stack(ranks), (Fraction(1),) * len(ranks)))
    return Bent(moved, lambda channel, number: tables[channel][int(number)])
