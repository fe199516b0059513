"""hls4ml's conversion, run by an interpreter that has hls4ml and knows nothing of hwseg.

    python hls4ml_convert.py MODEL FOLDER REQUEST

REQUEST: JSON with `part` and `clock_ns`.

As its documents say for QONNX: clean, channels last, clean, `config_from_onnx_model` by name, streams, the Vitis
backend.  Its C++ is compiled by g++ and run on one random picture, beside the executor of qonnx.  Cycles and resources
come from the vendor's HLS compiler alone, so there are none.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

DEFAULT = "fixed<32,16>"
"""Of what the quantizers leave open, as in hls4ml's own tests of QONNX files."""


def first(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")


def compared(model: Any, project: Any) -> str:
    """One picture of random bytes, in both."""
    import numpy as np
    from qonnx.core.onnx_exec import execute_onnx

    entry = model.graph.input[0].name
    shape = model.get_tensor_shape(entry)
    x = (np.random.default_rng(0).integers(0, 256, shape) / 256).astype(np.float32)
    wanted = execute_onnx(model, {entry: x})[model.graph.output[0].name].ravel()
    found = project.predict(np.ascontiguousarray(x)).ravel()
    if wanted.shape != found.shape:
        return f"{found.size} values, not {wanted.size}"
    different = int((wanted != found).sum())
    return "equal" if not different else f"{different} of {wanted.size} differ, by {np.abs(wanted - found).max():.3g}"


def convert(path: str, folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What `finding.read` takes."""
    told: dict[str, Any] = {"version": metadata.version("hls4ml"), "outcome": "refused", "stage": "import"}
    try:
        import hls4ml
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
        from qonnx.transformation.gemm_to_matmul import GemmToMatMul
        from qonnx.util.cleanup import cleanup_model

        told["stage"] = "qonnx"
        model = cleanup_model(ModelWrapper(path))
        # the picture stays as it is stored, its channels last
        model = model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
        model = cleanup_model(model.transform(GemmToMatMul()))
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
    except Exception as error:  # whatever the tool refuses with
        import traceback

        traceback.print_exc()
        return {**told, "said": first(f"{type(error).__name__}: {error}")}
    return {**told, "stage": ""}


if __name__ == "__main__":
    home = Path(sys.argv[2])
    told = convert(sys.argv[1], home, json.loads(sys.argv[3]))
    (home / "told.json").write_text(json.dumps(told, default=float))
