"""A quantized network as a QONNX file that `hwseg compile` takes, with all that the other commands read in it."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwseg.datasets.seen import SEEN, Seen
from hwseg.files import write_whole
from hwseg.pictures.labels import LABELS, Labels
from hwseg.pictures.meaning import Meaning
from hwseg.quant.convert.network import QuantizedNetwork
from hwseg.quant.read.reshape import check_size
from hwseg.quant.train.export import MULTIPLE, to_onnx


def export_network(
    network: QuantizedNetwork,
    path: Path | str,
    size: tuple[int, int],
    pixels: Meaning,
    labels: Labels | None = None,
    saw: Seen | None = None,
    name: str = "network",
) -> onnx.ModelProto:
    """Write `network` for pictures of `size` (height, width) to `path`, whole or not at all.

    pixels, labels: what pictures and classes are to it.  saw: which it was calibrated or trained on.
    """
    content = model_of(network, size, pixels, labels, saw, name)
    write_whole(path, content.SerializeToString(deterministic=True))
    return content


def model_of(
    network: QuantizedNetwork,
    size: tuple[int, int],
    pixels: Meaning,
    labels: Labels | None = None,
    saw: Seen | None = None,
    name: str = "network",
) -> onnx.ModelProto:
    """The QONNX graph that `export_network` writes."""
    config = network.config
    check_size(size, config.multiple)
    metadata = {
        "hwseg.channels": str(config.channels),
        "hwseg.size": f"{size[0]}x{size[1]}",
        "hwseg.classes": str(config.classes),
        MULTIPLE: str(config.multiple),
    }
    metadata |= pixels.check(config.channels).metadata()
    if labels is not None:
        metadata[LABELS] = labels.text()
    if saw is not None and (saw.train or saw.val):
        metadata[SEEN] = saw.text()
    return to_onnx(network, (1, config.channels, *size), name, metadata)
