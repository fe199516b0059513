"""A quantized network as a file, beside the ONNX file that it was exported to: for training on, and for searching."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hwseg.borders import given
from hwseg.datasets import seen
from hwseg.datasets.seen import Seen
from hwseg.pictures import labels as declared
from hwseg.pictures import meaning
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.quant.convert.network import NetworkConfig, QuantizedNetwork
from hwseg.quant.train.checkpoint import load, save

FORMAT = "hwseg converted network 1"


@dataclass(frozen=True)
class About:
    """What pictures and classes are to a network, the size of its pictures, and which it has seen."""

    pixels: Meaning
    labels: Labels
    size: tuple[int, int]
    seen: Seen


def save_converted(path: Path, network: QuantizedNetwork, about: About) -> None:
    """Write the network whole or not at all."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save(path, {
        "format": FORMAT, "config": network.config.to_dict(), "model": tensors, "input": about.pixels.text(),
        "labels": about.labels.text(), "size": list(about.size), "seen": about.seen.text(),
    })  # fmt: skip


def load_converted(path: Path) -> tuple[QuantizedNetwork, About]:
    """What `save_converted` wrote; nothing in the file is executed."""
    state = load(path, FORMAT)
    with given(path, "a converted network", "convert it again with hwseg quantize"):
        config = NetworkConfig.from_dict(state["config"])
        network = QuantizedNetwork(config)
        network.load_state_dict(state["model"])
        height, width = (int(side) for side in state["size"])
        about = About(
            meaning.parse(state["input"], f"{path}, input"),
            declared.parse(state["labels"], config.classes, f"{path}, labels"), (height, width),
            seen.parse(state["seen"], f"{path}, seen"),
        )  # fmt: skip
    return network.eval(), about


def tensors_of(network: QuantizedNetwork) -> dict[str, Tensor]:
    """Weights and biases by layer, as a float network has them."""
    found: dict[str, Tensor] = {}
    for layer in network.config.layers:
        for role in layer.roles:
            found[f"{layer.name}.{role}"] = network.get_submodule(layer.name).get_parameter(role).detach().clone()
    return found
