"""A picture of few channels is stored folded: neighbouring pixels are channels of one, so that words are full.

The convolution that reads it walks over half as many rows, perhaps columns too, and makes two of each by weights of
their own (`Layer.phase`), as a transposed convolution does; nothing in the engine is new.  The picture takes a half or
a quarter of the words.  A folded layer reloads its tables more often and cannot run fused with a 1x1 layer, so
`hwseg.compile.plan.variants` plans both ways and takes the cheaper one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hwseg.compile.lower.layers import Layer, Network
from hwseg.layout import CHANNELS

FOLDS = ((2, 1), (2, 2))
"""Rows and columns.  Rows of the map come in every other row of what is stored or moved, and pixels in every other
pixel: the engine knows no larger step.
"""

GAIN = 0.005
"""Share of the whole network's cycles that folding must save: less is within the error of the planner's formulas."""


def foldings(network: Network) -> Iterator[Network]:
    """The network with its picture folded, in each way in which all that read it can read it."""
    layout = network.tensors[network.input]
    height, width, channels = layout.shape
    readers = [layer for layer in network.layers if any(o.tensor == network.input for o in layer.operands)]
    for down, across in FOLDS:
        whole = height % down == 0 and width % across == 0 and down * across * channels <= CHANNELS
        if whole and all(map(folds, readers)):
            layers = tuple(replace(x, fold=(down, across)) if x in readers else x for x in network.layers)
            stored = replace(layout, fold=(down, across))
            yield replace(network, layers=layers, tensors=network.tensors | {network.input: stored})


def folds(layer: Layer) -> bool:
    """Whether a layer can make neighbouring pixels of its map from one folded pixel: it reads nothing else, as a plain
    3x3 convolution, and stores all of its map as planes.

    A pooling RUN takes the maximum of neighbours in the walk, which are none in the map then, and sums are stored in
    the order of the walk.  16-bit weights and parts of bilinear maps do not read pictures this way.
    """
    return (
        layer.kernel == 3
        and layer.stride == 1
        and not layer.doubles
        and len(layer.operands) == 1
        and not layer.operands[0].upsampled
        and layer.pooled is None
        and layer.requantize is not None
        and layer.dot is None
        and layer.residual is None
        and layer.low_weights is None
        and layer.columns is None
        and not layer.repeat_rows
    )
