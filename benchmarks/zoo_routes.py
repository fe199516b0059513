"""The ways in which people quantize a network of floats and export it; each writes a file for hwseg."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PICTURES = 4
"""For calibration: random ones."""


def pictures(shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(shape, generator=generator) for _ in range(PICTURES)]


def settled(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Random weights, and batch normalizations that have seen pictures."""
    with torch.no_grad():
        model.train()
        for x in pictures((2, *shape[1:])):
            model(x)
    return model.eval()


def _float_file(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    torch.onnx.export(model, (torch.zeros(shape),), str(path), opset_version=17, dynamo=False, input_names=["x"])
    return path


def _onnxruntime(symmetric: bool) -> Callable[[nn.Module, tuple[int, ...], Path], None]:
    def route(model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Pictures(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left: Iterator[Tensor] = iter(pictures(shape))

            def get_next(self) -> dict[str, np.ndarray] | None:
                x = next(self.left, None)
                return None if x is None else {"x": x.numpy()}

        source = _float_file(model, shape, path.with_suffix(".float.onnx"))
        ready = path.with_suffix(".ready.onnx")
        quant_pre_process(str(source), str(ready))
        given: dict[str, Any] = {"extra_options": {"ActivationSymmetric": True}} if symmetric else {}
        given |= {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8} if symmetric else {}
        quantize_static(str(ready), str(path), Pictures(), quant_format=QuantFormat.QDQ, **given)

    return route


def _calibrated(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    from brevitas.graph.calibrate import calibration_mode

    with torch.no_grad(), calibration_mode(model):
        for x in pictures(shape):
            model(x)
    return model.eval()


def _layerwise(model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    from brevitas.export import export_qonnx
    from brevitas.graph.quantize import layerwise_quantize

    quantized = _calibrated(layerwise_quantize(model), shape)
    export_qonnx(quantized, args=torch.zeros(shape), export_path=str(path), dynamo=False)


def _graph(model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    from brevitas.export import export_onnx_qcdq
    from brevitas.graph.quantize import preprocess_for_quantize, quantize

    quantized = _calibrated(quantize(preprocess_for_quantize(model)), shape)
    export_onnx_qcdq(quantized, args=torch.zeros(shape), export_path=str(path), dynamo=False)


def _channels_last(model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    before = path.with_suffix(".first.onnx")
    _layerwise(model, shape, before)
    cleanup_model(ModelWrapper(str(before))).transform(ConvertToChannelsLastAndClean()).save(str(path))


ROUTES: Mapping[str, tuple[Callable[[nn.Module, tuple[int, ...], Path], None], str]] = {
    "Brevitas layerwise, QONNX": (_layerwise, "qonnx"),
    "Brevitas graph, QCDQ": (_graph, "onnxruntime"),
    "onnxruntime QDQ, symmetric": (_onnxruntime(True), "onnxruntime"),
    "onnxruntime QDQ, default": (_onnxruntime(False), "onnxruntime"),
    "qonnx channels last": (_channels_last, "qonnx"),
}
"""Each with the executor that its file is compared with."""


def export(route: str, model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ROUTES[route][0](model, shape, path)
