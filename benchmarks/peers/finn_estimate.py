"""finn-plus's estimate flow, run by an interpreter that has finn-plus and knows nothing of hwseg.

    python finn_estimate.py MODEL FOLDER REQUEST

REQUEST: JSON with `part`, `clock_ns`, `steps` ("default" or "unet") and what the part has (`lut`, `bram36`, `dsp`).

default  `estimate_only_dataflow_steps`, as they come.
unet     the same with what the tool has beside them for branches: its transformations for scales and then for layouts
         past forks and joins, its conversions of transposed convolutions and resizing; pixels arrive as integers,
         since a picture has bytes; quantizers' lone numbers as vectors, which qonnx asks for.  The tool's own
         `StreamlinePlus` has both kinds in one loop, and behind lowering one moves a scale past a transpose, the other
         the transpose past the scale, for ever.

After conversion it is folded for ever fewer cycles, from one multiplier a layer on, with the tool's own limit on the
width of weights and then without, until the part is full or folding ends; what fits last is told.  FIFOs are not in
these estimates: their sizes come from a simulation by Vivado.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from telling import Told, difference, tell

MOST_FOLDINGS = 16
WIDEST = 8192
"""Bits of weights that a matrix unit reads at once: all that the tool lets an HLS unit have.  36 by default."""
MOST_ROUNDS = 20
MOST_PIXELS = 32 * 32
"""Of a picture that is executed."""
BEFORE_FOLDING = 7
"""Of `estimate_only_dataflow_steps`: up to and with `step_specialize_layers`."""

Step = Callable[[Any, Any], Any]


def bytes_in(model: Any, cfg: Any) -> Any:
    """The first quantizer becomes the type of the input and a scale: a picture's bytes are its integers already."""
    from qonnx.core.datatype import DataType

    entry = model.graph.input[0].name
    quant = model.find_consumer(entry)
    if quant.op_type != "Quant":
        return model
    zero, bits = (int(model.get_initializer(name)) for name in quant.input[2:4])
    if zero or any(a.name == "signed" and a.i for a in quant.attribute):
        return model
    quant.op_type, quant.domain = "Mul", ""
    del quant.input[2:]
    del quant.attribute[:]
    model.set_tensor_datatype(entry, DataType[f"UINT{bits}"])
    return model


def vectors(model: Any, cfg: Any) -> Any:
    """Scales and zero points of no dimension get one, which qonnx's `ExtractBiasFromConv` asks for."""
    for node in model.graph.node:
        if node.op_type == "Quant":
            for name in node.input[1:3]:
                value = model.get_initializer(name)
                if value is not None and value.shape == ():
                    model.set_initializer(name, value.reshape(1))
    return model


def scales(model: Any, cfg: Any) -> Any:
    """Scales and biases move forward, past forks and joins, into the thresholds behind them."""
    from finn.transformation.streamline import absorb, collapse_repeated, reorder
    from qonnx.transformation.general import ConvertDivToMul, ConvertSubToAdd

    return settled(
        model,
        ConvertSubToAdd,
        ConvertDivToMul,
        reorder.MoveMulPastFork,
        reorder.MoveMulPastMaxPool,
        reorder.MoveScalarLinearPastInvariants,
        reorder.MoveAddPastMul,
        reorder.MoveScalarMulPastConv,
        reorder.MoveScalarMulPastConvTranspose,
        reorder.MoveLinearPastEltwiseAdd,
        reorder.MoveMulPastJoinAdd,
        reorder.MoveAddPastJoinAdd,
        reorder.MoveAffinePastJoinConcat,
        collapse_repeated.CollapseRepeatedAdd,
        collapse_repeated.CollapseRepeatedMul,
        absorb.AbsorbAddIntoMultiThreshold,
        absorb.FactorOutMulSignMagnitude,
        absorb.AbsorbMulIntoMultiThreshold,
    )


def layouts(model: Any, cfg: Any) -> Any:
    """Convolutions become matrix products, channels last; the transposes that this takes meet and go."""
    from finn.transformation.fpgadataflow.infer_pixel_padding_deconv import InferPixelPaddingDeconv
    from finn.transformation.streamline import absorb, reorder
    from finn.transformation.streamline.round_thresholds import RoundAndClipThresholds
    from qonnx.transformation.infer_data_layouts import InferDataLayouts
    from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul

    model = model.transform(InferPixelPaddingDeconv()).transform(LowerConvsToMatMul())
    model = settled(
        model,
        InferDataLayouts,
        reorder.MakeMaxPoolNHWC,
        reorder.MakeScaleResizeNHWC,
        reorder.MoveTransposePastFork,
        reorder.MoveTransposePastJoinConcat,
        reorder.MoveTransposePastJoinAdd,
        reorder.MoveTransposePastEltwise,
        absorb.AbsorbTransposeIntoMultiThreshold,
        absorb.AbsorbConsecutiveTransposes,
    )
    return model.transform(RoundAndClipThresholds()).transform(InferDataLayouts())


def settled(model: Any, *transformations: Callable[[], Any]) -> Any:
    """The graph that these leave alone, one after the other, again and again."""
    from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames, RemoveUnusedTensors
    from qonnx.transformation.infer_datatypes import InferDataTypes
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.transformation.remove import RemoveIdentityOps

    clean = (RemoveIdentityOps, GiveUniqueNodeNames, GiveReadableTensorNames, InferShapes, InferDataTypes)
    before = ""
    for _ in range(MOST_ROUNDS):
        for transformation in (*transformations, *clean):
            model = model.transform(transformation())
        after = " ".join(f"{node.op_type}{list(node.input)}" for node in model.graph.node)
        if after == before:
            return model.transform(RemoveUnusedTensors())
        before = after
    raise RuntimeError(f"the graph still changes after {MOST_ROUNDS} rounds")


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
        found[place["step_streamline"] : place["step_convert_to_hw"]] = [scales, layouts, resizing]
        found[:0] = [bytes_in, vectors]
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

    kept = folded(model, cfg, None, folder / "fold")
    if not fits(kept):
        return {**kept, "fits": False}
    for widest in (cfg.mvau_wwidth_max, WIDEST):
        cfg = copy.copy(cfg)
        cfg.mvau_wwidth_max = widest
        for i in range(MOST_FOLDINGS):
            found = folded(model, cfg, int(kept["cycles"]) // 2, folder / f"fold-{widest}-{i}")
            print(f"--- weights of {widest} bits at most: {found}", flush=True)
            if found["cycles"] >= kept["cycles"] or not fits(found):
                break
            kept = found
    return {**kept, "fits": True}


def without_vivado() -> None:
    """finn-plus's steps import a simulator that Vivado's libraries make; estimates never simulate: a name will do."""
    import finn.xsi

    finn.xsi.SimEngine = type("SimEngine", (), {})


def compared(exported: Any, streamlined: Any) -> str:
    """One picture of random integers, in both, by the executor of qonnx, where this takes no minutes."""
    import numpy as np
    from qonnx.core.onnx_exec import execute_onnx

    entry = exported.graph.input[0].name
    shape = exported.get_tensor_shape(entry)
    if np.prod(shape) > MOST_PIXELS:
        return ""
    picture = np.random.default_rng(0).integers(0, exported.get_tensor_datatype(entry).max() + 1, shape)
    results = (
        execute_onnx(model, {model.graph.input[0].name: picture.astype(np.float32)})[model.graph.output[0].name]
        for model in (exported, streamlined)
    )
    return difference(*results)


def estimate(path: str, folder: Path, request: Told, told: Told) -> None:
    told["version"] = metadata.version("finn-plus")
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
    steps = steps_of(request["steps"])
    model = ModelWrapper(path)
    told["outcome"] = "refused"
    for step in steps:
        told["stage"] = step.__name__
        print(f"--- {step.__name__}", flush=True)
        model = step(model, cfg)
        if step is vectors:
            exported = copy.deepcopy(model)
        if step is layouts:
            told["exact"] = compared(exported, model)
        model.save(str(folder / f"{step.__name__}.onnx"))
    told["stage"] = "folding"
    told |= best(model, cfg, folder, request)
    told["outcome"] = "estimated"


if __name__ == "__main__":
    tell(estimate)
