"""hls4ml's conversion, run by an interpreter that has hls4ml and knows nothing of hwseg.

    python hls4ml_convert.py MODEL FOLDER REQUEST

REQUEST: JSON with `part`, `clock_ns` and `steps` ("default" or "unet").

default  As its documents say for QONNX: clean, channels last, clean, `config_from_onnx_model` by name, streams,
         the Vitis backend.
unet     qonnx leaves Resize, Concat and Add between branches channels first (its issue 100), hls4ml takes them for
         channels last: here they are made so, as they are in hls4ml's own test of a U-Net.

Its C++ is compiled by g++ and run on one random picture, beside the executor of qonnx.  Cycles and resources come from
the vendor's HLS compiler alone, so there are none.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from telling import Told, difference, tell

DEFAULT = "fixed<32,16>"
"""Of what the quantizers leave open, as in hls4ml's own tests of QONNX files."""


TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def joins_last(model: Any) -> Any:
    """Transposes to channels first move behind Resize, Concat and Add, and meet those back to channels last."""
    from qonnx.transformation.general import RemoveUnusedTensors, SortGraph

    while _moved(model) or _met(model):
        pass
    return model.transform(SortGraph()).transform(RemoveUnusedTensors())


def _turns(node: Any, order: list[int]) -> bool:
    return node is not None and node.op_type == "Transpose" and list(node.attribute[0].ints) == order


def _moved(model: Any) -> bool:
    """One join whose inputs all come from transposes to channels first takes what these take."""
    import numpy as np
    from onnx import helper

    for node in model.graph.node:
        joined = node.input[:1] if node.op_type == "Resize" else node.input
        if node.op_type not in ("Resize", "Concat", "Add"):
            continue
        turned = [model.find_producer(name) for name in joined]
        if not all(_turns(producer, TO_FIRST) for producer in turned):
            continue
        for i, producer in enumerate(turned):
            node.input[i] = producer.input[0]
        if node.op_type == "Resize":
            scales = model.get_initializer(node.input[2])
            name = f"{node.output[0]}_scales_last"
            model.set_initializer(name, np.asarray([scales[i] for i in TO_LAST], np.float32))
            node.input[2] = name
        if node.op_type == "Concat":
            node.attribute[0].i = 3
        result = node.output[0]
        node.output[0] = f"{result}_last"
        shape = model.get_tensor_shape(result)
        model.set_tensor_shape(node.output[0], [shape[i] for i in TO_LAST])
        model.graph.node.append(helper.make_node("Transpose", [node.output[0]], [result], perm=TO_FIRST))
        return True
    return False


def _met(model: Any) -> bool:
    """One transpose there and back goes."""
    outputs = {output.name for output in model.graph.output}
    for node in model.graph.node:
        before = model.find_producer(node.input[0])
        if _turns(node, TO_LAST) and _turns(before, TO_FIRST) and node.output[0] not in outputs:
            for reader in model.find_consumers(node.output[0]):
                for i, name in enumerate(reader.input):
                    if name == node.output[0]:
                        reader.input[i] = before.input[0]
            model.graph.node.remove(node)
            return True
        if _turns(node, TO_FIRST) and node.output[0] not in outputs and not model.find_consumers(node.output[0]):
            model.graph.node.remove(node)
            return True
    return False


def compared(model: Any, project: Any) -> str:
    """One picture of random bytes, in both."""
    import numpy as np
    from qonnx.core.onnx_exec import execute_onnx

    entry = model.graph.input[0].name
    shape = model.get_tensor_shape(entry)
    x = (np.random.default_rng(0).integers(0, 256, shape) / 256).astype(np.float32)
    wanted = execute_onnx(model, {entry: x})[model.graph.output[0].name]
    return difference(wanted, project.predict(np.ascontiguousarray(x)))


def convert(path: str, folder: Path, request: Told, told: Told) -> None:
    told["version"] = metadata.version("hls4ml")
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.util.cleanup import cleanup_model

    told |= {"outcome": "refused", "stage": "qonnx"}
    model = cleanup_model(ModelWrapper(path))
    # the picture stays as it is stored, its channels last
    model = model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
    model = cleanup_model(model.transform(GemmToMatMul()))
    if request["steps"] == "unet":
        model = cleanup_model(joins_last(model))
    model.save(str(folder / "channels_last.onnx"))
    told["stage"] = "configure"
    config = hls4ml.utils.config.config_from_onnx_model(
        model, granularity="name", backend="Vitis", default_precision=DEFAULT
    )
    told["stage"] = "convert"
    project = hls4ml.converters.convert_from_onnx_model(
        model,
        output_dir=str(folder / "project"),
        io_type="io_stream",
        backend="Vitis",
        hls_config=config,
        part=request["part"],
        clock_period=request["clock_ns"],
    )
    told["stage"] = "write"
    project.write()
    told |= {"outcome": "converted", "stage": "g++"}
    project.compile()
    told["stage"] = "run"
    told["exact"] = compared(model, project)


if __name__ == "__main__":
    tell(convert)
