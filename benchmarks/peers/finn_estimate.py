"""finn-plus's estimate flow, run by an interpreter that has finn-plus and knows nothing of hwseg.

    python finn_estimate.py MODEL FOLDER REQUEST

REQUEST: JSON with `part`, `clock_ns`, `steps` ("default" or "unet") and what the part has (`lut`, `bram36`, `dsp`).

default  `estimate_only_dataflow_steps`, as they come.
unet     the same with what the tool has beside them for branches: its larger streamlining, its conversions of
         transposed convolutions and resizing; pixels arrive as integers, since a picture has bytes; quantizers' lone
         numbers as vectors, which qonnx asks for.

After conversion it is folded for ever fewer cycles, from one multiplier a layer on, until the part is full or folding
ends; what fits last is told.  FIFOs are not in these estimates: their sizes come from a simulation by Vivado.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

MOST_FOLDINGS = 16
MOST_ROUNDS = 20
BEFORE_FOLDING = 7
"""Of `estimate_only_dataflow_steps`: up to and with `step_specialize_layers`."""

Step = Callable[[Any, Any], Any]


def first(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")


def bytes_in(model: Any, cfg: Any) -> Any:
    """The first quantizer becomes the type of the input and a scale: a picture's bytes are its integers already."""
    from qonnx.core.datatype import DataType

    entry = model.graph.input[0].name
    quant = model.find_consumer(entry)
    if quant.op_type != "Quant":
        return model
    bits = int(model.get_initializer(quant.input[3]))
    quant.op_type, quant.domain = "Mul", ""
    del quant.input[2:]
    del quant.attribute[:]
    model.set_tensor_datatype(entry, DataType[f"UINT{bits}"])
    return model


def scalars(model: Any, cfg: Any) -> Any:
    """Scales and zero points of no dimension get one, which qonnx's `ExtractBiasFromConv` asks for."""
    for node in model.graph.node:
        if node.op_type == "Quant":
            for name in node.input[1:3]:
                value = model.get_initializer(name)
                if value is not None and value.shape == ():
                    model.set_initializer(name, value.reshape(1))
    return model


def branches(model: Any, cfg: Any) -> Any:
    """Streamlining for graphs that fork and join, until nothing changes."""
    from finn.transformation.fpgadataflow.infer_pixel_padding_deconv import InferPixelPaddingDeconv
    from finn.transformation.streamline.absorb import AbsorbConsecutiveTransposes, AbsorbTransposeIntoMultiThreshold
    from finn.transformation.streamline.reorder import (
        MakeMaxPoolNHWC,
        MakeScaleResizeNHWC,
        MoveScalarMulPastConvTranspose,
    )
    from finn.transformation.streamline.streamline_plus import StreamlinePlus
    from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames, RemoveUnusedTensors
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul

    for lower in ((), (InferPixelPaddingDeconv, LowerConvsToMatMul)):
        for transformation in lower:
            model = model.transform(transformation())
        before = ""
        for _ in range(MOST_ROUNDS):
            for transformation in (
                MoveScalarMulPastConvTranspose,
                StreamlinePlus,
                InferDataLayouts,
                MakeMaxPoolNHWC,
                MakeScaleResizeNHWC,
                AbsorbTransposeIntoMultiThreshold,
                AbsorbConsecutiveTransposes,
                InferDataTypes,
                InferDataLayouts,
            ):
                model = model.transform(transformation())
            after = " ".join(f"{node.op_type}{list(node.input)}" for node in model.graph.node)
            if after == before:
                break
            before = after
    for transformation in (GiveUniqueNodeNames, GiveReadableTensorNames, InferDataTypes, RemoveUnusedTensors):
        model = model.transform(transformation())
    return model


def resizing(model: Any, cfg: Any) -> Any:
    """Nearest resizing, which `step_convert_to_hw` looks for under its older name only."""
    from finn.transformation.fpgadataflow.convert_to_hw.upsample import InferUpsample

    return model.transform(InferUpsample())


def steps_of(name: str) -> list[Step]:
    """What happens before folding."""
    from finn.builder import build_dataflow_steps as known
    from finn.builder.build_dataflow_config import estimate_only_dataflow_steps as names

    found: list[Step] = [getattr(known, step) for step in names[:BEFORE_FOLDING]]
    if found[-1] is not known.step_specialize_layers:
        raise RuntimeError("finn-plus orders its steps otherwise than the version that was tested")
    if name == "unet":
        place = {step.__name__: i for i, step in enumerate(found)}
        found[place["step_streamline"]] = branches
        found.insert(place["step_convert_to_hw"], resizing)
        found[:0] = [bytes_in, scalars]
    return found


def folded(model: Any, cfg: Any, cycles: int | None, folder: Path) -> dict[str, float]:
    """Estimates of a copy that is folded for `cycles`; None leaves one multiplier a layer."""
    from finn.builder import build_dataflow_steps as known
    from finn.transformation.fpgadataflow.set_folding import SetFolding

    cfg = copy.copy(cfg)
    cfg.output_dir = str(folder)
    model = copy.deepcopy(model)
    if cycles is not None:
        model = model.transform(SetFolding(cycles, mvau_wwidth_max=cfg.mvau_wwidth_max))
    model = known.step_minimize_bit_width(model, cfg)
    known.step_generate_estimate_reports(model, cfg)
    report = Path(cfg.get_report_directory())
    total = json.loads((report / "estimate_layer_resources.json").read_text())["total"]
    speed = json.loads((report / "estimate_network_performance.json").read_text())
    return {
        "cycles": int(speed["max_cycles"]),
        "latency": int(speed["critical_path_cycles"]),
        "lut": round(total["LUT"]),
        "bram36": total["BRAM_18K"] / 2,
        "dsp": round(total["DSP"]),
    }


def best(model: Any, cfg: Any, folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The fastest folding that the part has room for, or the smallest if it has for none."""

    def fits(found: dict[str, float]) -> bool:
        return all(found[name] <= request[name] for name in ("lut", "bram36", "dsp"))

    kept = folded(model, cfg, None, folder / "fold0")
    if not fits(kept):
        return {**kept, "fits": False}
    for i in range(1, MOST_FOLDINGS):
        found = folded(model, cfg, int(kept["cycles"]) // 2, folder / f"fold{i}")
        if found["cycles"] >= kept["cycles"] or not fits(found):
            break
        kept = found
    return {**kept, "fits": True}


def without_vivado() -> None:
    """finn-plus's steps import a simulator that Vivado's libraries make; estimates never simulate: a name will do."""
    import finn.xsi

    finn.xsi.SimEngine = type("SimEngine", (), {})


def estimate(path: str, folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What `finding.read` takes."""
    told: dict[str, Any] = {"version": metadata.version("finn-plus"), "outcome": "refused", "stage": "import"}
    try:
        from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType
        from finn.util.settings import initialize_dummy_settings
        from qonnx.core.modelwrapper import ModelWrapper

        initialize_dummy_settings()
        without_vivado()
        cfg = DataflowBuildConfig(
            output_dir=str(folder),
            synth_clk_period_ns=request["clock_ns"],
            fpga_part=request["part"],
            generate_outputs=[DataflowOutputType.ESTIMATE_REPORTS],
        )
        model = ModelWrapper(path)
        for step in steps_of(request["steps"]):
            told["stage"] = step.__name__
            print(f"--- {step.__name__}", flush=True)
            model = step(model, cfg)
            model.save(str(folder / f"{step.__name__}.onnx"))
        told["stage"] = "folding"
        told |= best(model, cfg, folder, request)
    except Exception as error:  # whatever the tool refuses with
        import traceback

        traceback.print_exc()
        return {**told, "said": first(f"{type(error).__name__}: {error}")}
    return {**told, "outcome": "estimated", "stage": ""}


if __name__ == "__main__":
    home = Path(sys.argv[2])
    told = estimate(sys.argv[1], home, json.loads(sys.argv[3]))
    (home / "told.json").write_text(json.dumps(told, default=float))
