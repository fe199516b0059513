"""The golden model of an exported file, and the network that it was exported from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwseg import golden
from hwseg.pictures.meaning import PIXEL
from hwseg.quant.networks.architecture import Quantized
from hwseg.quant.read.load import load
from hwseg.quant.train.export import export_qonnx


def integers(x: Tensor) -> np.ndarray:
    """What the picture's quantizer makes of it, [H, W, C]."""
    return np.asarray((x[0] * 256).round().clamp(0, 255).byte().permute(1, 2, 0))


def agrees_with_its_file(quantized: Quantized, pictures: Sequence[Tensor], folder: Path) -> None:
    """The golden model of the exported file gives the network's logits, integer for integer.

    The network computes in float64, since biases of 32 bits do not fit float32; slopes here are sums of powers of two.
    """
    height, width = pictures[0].shape[2:]
    export_qonnx(quantized, folder / "m.onnx", (height, width), PIXEL)
    graph, exact = load(folder / "m.onnx"), deepcopy(quantized).double()
    for x in torch.cat(list(pictures)).split(1):
        q = integers(x)
        result = golden.run(graph, q, taps=(graph.head.tensor,))
        with torch.no_grad():
            logits = exact(torch.from_numpy(q.astype(np.float64) / 256).permute(2, 0, 1)[None])
        head = graph.head
        found = result.tensors[head.tensor]
        scale = np.array([float(s) for s in head.scale])
        offset = np.array([float(o) for o in head.offset])
        wanted = logits[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.rint((wanted - offset) / scale).astype(np.int64), found)
