"""Pooling: the layer that makes a map also stores its maxima; of anything else they are a 1x1 with weight 1.

A transposed convolution does not store them: its rows and pixels are made in passes of their own.
"""

from __future__ import annotations

from dataclasses import replace

from hwseg.compile.lower.state import State, passing
from hwseg.errors import require
from hwseg.ir import Node


def max_pooling(state: State, node: Node) -> None:
    """MaxPool2d; the same maxima a second time are those of the first."""
    source = node.inputs[0]
    view, kind = state.view(node, source), state.types[source]
    height, width, _ = kind.shape
    require(
        height % 2 == 0 and width % 2 == 0,
        node.name,
        f"pools a map of {height}x{width}, which must be even",
        f"use {height + height % 2}x{width + width % 2}",
    )
    producer = state.layers.get(view[0].tensor)
    direct = len(view) == 1 and not view[0].upsampled
    if direct and producer is not None and producer.output == view[0].tensor and producer.pools:
        if producer.pooled is not None:
            state.views[node.output] = state.views[producer.pooled]
            return
        state.layers[view[0].tensor] = replace(producer, pooled=node.output)
    else:
        state.identity(node.name, source, passing(kind), pooled=node.output)
    state.store(node.output)
