"""The trained Brevitas network as an executor for `hwseg.quant.read.referee`: every tensor, under its ONNX name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.quant.read.layerwise import Context
from hwseg.quant.read.onnx_file import read


def load_brevitas(model: Path, checkpoint: Path | None) -> Any:
    """The network that `model` was exported from: `checkpoint`, or the file beside it that ends in .pt."""
    place = checkpoint or model.with_suffix(".pt")
    cure = "name the network's file with --checkpoint"
    require(place.is_file(), str(place), "must be a trained network, but there is no such file", cure)
    try:
        from hwseg.quant.train.checkpoint import load_network
    except ImportError:
        raise HwsegError("--compare brevitas", "needs torch and Brevitas", "pip install 'hwseg[train]'") from None
    return load_network(place)[0]


def run_brevitas(model: Any) -> Callable[[Path, np.ndarray], Context]:
    """The Brevitas network's own tensors, under the names that its export gave them.

    Quantizers and convolutions are called in the order in which the exporter wrote their nodes, so the n-th call of
    each sort is the n-th node.
    """

    def run(path: Path, x: np.ndarray) -> Context:
        import torch

        calls: dict[str, list[np.ndarray]] = {"Quant": [], "Conv": []}
        handles = [
            module.register_forward_hook(_recorder(calls[sort]))
            for module in model.modules()
            if (sort := _sort_of(module)) is not None
        ]
        try:
            with torch.no_grad():
                output = _array(model(torch.from_numpy(x)))
        finally:
            for handle in handles:
                handle.remove()
        return {**_by_name(path, calls), read(path).output: output}

    return run


def _by_name(path: Path, calls: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    file = read(path)
    weights = {node.outputs[0] for node in file.nodes if node.op == "Quant" and node.input(0) in file.constants}
    context: dict[str, np.ndarray] = {}
    for sort, operations in (("Quant", ("Quant",)), ("Conv", ("Conv", "ConvTranspose"))):
        names = [node.outputs[0] for node in file.nodes if node.op in operations and node.outputs[0] not in weights]
        rule = f"has {len(names)} layers of sort {sort}, the checkpoint calls {len(calls[sort])}"
        cure = "use the checkpoint that the model was exported from"
        require(len(names) == len(calls[sort]), path.name, rule, cure)
        context.update(zip(names, calls[sort], strict=True))
    return context


def _sort_of(module: Any) -> str | None:
    import brevitas.nn as qnn
    from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase

    if isinstance(module, qnn.QuantConv2d | qnn.QuantConvTranspose2d):
        return "Conv"
    active = isinstance(module, ActQuantProxyFromInjectorBase) and module.is_quant_enabled
    return "Quant" if active else None


def _recorder(calls: list[np.ndarray]) -> Callable[[Any, Any, Any], None]:
    """A forward hook that keeps images; Brevitas also calls quantizers on scalars to ask for their scale."""

    def hook(module: Any, inputs: Any, output: Any) -> None:
        array = _array(output)
        if array.ndim == 4:
            calls.append(array)

    return hook


def _array(x: Any) -> np.ndarray:
    tensor = x.value if hasattr(x, "value") else x[0] if isinstance(x, tuple) else x
    return np.asarray(tensor.detach().cpu().numpy())
