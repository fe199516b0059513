"""What a float network must give: logits that its weights make, whose mask is where they are above 0."""

from __future__ import annotations

import torch
from torch import Tensor

from hwseg.errors import require
from hwseg.quant.networks.graph import CONVOLUTIONS, INPUT, Network
from hwseg.quant.networks.operations import run

BOUNDED = ("sigmoid", "hardsigmoid", "tanh")
"""What makes probabilities of logits: at the end exactly it is left out, and nothing may be computed from it there."""
WEIGHTED = frozenset((*CONVOLUTIONS, "scale", "batch_norm"))
FRESH = frozenset((*CONVOLUTIONS, "batch_norm", "instance_norm", "group_norm"))
"""What gives logits again, whatever it is given."""


def require_logits(network: Network, picture: Tensor) -> None:
    """Refuse a network that only gives its picture, and one of one channel that computes with probabilities at its end.

    A mean of two sigmoids, or one that is enlarged, is above 0 everywhere, and so would the whole mask be.
    """
    weighted = any(layer.op in WEIGHTED for layer in network.layers)
    rule = "has no weights: it gives its picture, or moves its pixels"
    require(weighted, "the network", rule, "check that the callable gives the network itself")
    with torch.no_grad():
        classes = run(network, picture)[network.output].shape[1]
    if network.output == INPUT or classes > 1:  # of several classes, the greatest is the mask's, whatever they are
        return
    made_of: dict[str, str] = {}
    for layer in network.layers:
        before = [made_of.get(name, "") for name in layer.inputs]
        if layer.op in BOUNDED:
            made_of[layer.name] = layer.name
        elif layer.op not in FRESH and all(before):
            made_of[layer.name] = before[0]
    last = network[network.output]
    end = last.op in BOUNDED and last.inputs[0] not in made_of
    source = "" if end else made_of.get(last.name, "")
    rule = "must be the network's end: what is computed from its probabilities is no logit, whose mask is above 0"
    require(not source, source, rule, "let the network give its logits, without what follows them")
