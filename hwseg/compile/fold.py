"""A picture of few channels is stored folded: two neighbouring rows are channels of one row, so that words are full.

The convolution that reads it walks over half as many rows and makes two rows of its map at each, by two sets of weights
(`Layer.phase`): as a transposed convolution does, with nothing new in the engine.  The picture takes half the words.
"""

from __future__ import annotations

from dataclasses import replace

from hwseg.compile.layers import Layer, Network
from hwseg.compile.layout import CHANNELS

FOLD = 2
"""Rows.  The loop memory's rows go to every row or every other row of the banks: more than two could not run fused."""


def fold_input(network: Network) -> Network:
    """The network with its picture folded, if all that read it can read it so."""
    layout = network.tensors[network.input]
    height, _, channels = layout.shape
    readers = [layer for layer in network.layers if any(o.tensor == network.input for o in layer.operands)]
    if height % FOLD or FOLD * channels > CHANNELS or not all(map(folds, readers)):
        return network
    layers = tuple(replace(layer, fold=FOLD) if layer in readers else layer for layer in network.layers)
    return replace(network, layers=layers, tensors=network.tensors | {network.input: replace(layout, fold=FOLD)})


def folds(layer: Layer) -> bool:
    """Whether a layer can make two rows of its map from each folded row: it reads nothing else, as a plain 3x3
    convolution, and stores every row of planes.  A pooling RUN makes two rows at once already, and they would not be
    neighbours; sums are stored row after row; 16-bit weights and edges of bilinear maps do not read pictures this way.
    """
    return (
        layer.kernel == 3
        and layer.stride == 1
        and len(layer.operands) == 1
        and not layer.operands[0].upsampled
        and layer.pooled is None
        and layer.requantize is not None
        and layer.dot is None
        and layer.low_weights is None
        and layer.columns is None
        and not layer.repeat_rows
    )
