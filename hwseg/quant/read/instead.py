"""What to use instead of an operation that is not supported: the nearest thing that is, not a list of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_STATISTICS = "it needs statistics of the whole map while the network runs"
_NORMALIZE = f"use BatchNorm2d: {_STATISTICS}"
_POOLED = f"leave squeeze-and-excitation and global pooling out: {_STATISTICS}"
_RELU = "use ReLU, and train the network on"
_PRODUCT = "use Conv2d with a kernel of 1x1, or Mul for the gate of an attention gate; leave attention of pixels out"
_QDQ = "quantize with quant_format=QuantFormat.QDQ"
_BIPOLAR = "use a quantizer of 2 bits, narrow and signed: -1, 0 and 1"
RESHAPED = "change shapes and the order of axes at the network's end only"

INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(
        ("InstanceNormalization", "LayerNormalization", "GroupNormalization", "MeanVarianceNormalization", "LRN",
         "RMSNormalization", "LpNormalization"), _NORMALIZE
    ),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum"), _POOLED),
    **dict.fromkeys(("ThresholdedRelu", "Softsign", "Shrink", "LogSoftmax", "Hardmax"), _RELU),
    **dict.fromkeys(("MatMul", "Gemm", "Einsum", "Attention"), _PRODUCT),
    **dict.fromkeys(
        ("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearConcat", "QLinearSigmoid", "QLinearMul",
         "QLinearAveragePool", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"), _QDQ
    ),
    **dict.fromkeys(("BipolarQuant", "Sign"), _BIPOLAR),
    "Trunc": "use Quant, which rounds",
    "FloatQuant": "use integers: Quant",
    **dict.fromkeys(
        ("DepthToSpace", "GridSample", "MaxUnpool"),
        "use ConvTranspose2d(2, stride=2), or nearest or bilinear upsampling",
    ),
    "SpaceToDepth": "use a convolution of stride 2",
    "LpPool": "use AvgPool2d(2) or MaxPool2d(2)",
    "Split": "use a convolution for each part",
    "DeformConv": "use Conv2d",
    "Pow": "use Mul with a constant",
    **dict.fromkeys(("Less", "LessOrEqual", "GreaterOrEqual"), "use Greater with a constant, at the network's end"),
    "Where": "compare outside the model",
    **dict.fromkeys(("If", "Loop", "Scan"), "export the branch that is taken: torch.onnx.export traces it"),
}  # fmt: skip

OTHERWISE = "use another operation: docs/models.md says which there are"
FLOATS = (
    "quantize it: hwseg quantize MODEL.onnx --data PICTURES -o OUT.onnx needs no training; or with Brevitas while it "
    "is trained (docs/models.md)"
)
"""The cure of a network without any quantizer."""
CHANNELS_LAST = "use Conv, MaxPool and BatchNormalization of that domain, as qonnx-to-channels-last does"


def all_floats(operations: Iterable[str]) -> bool:
    """Whether none of a network's operations is a quantizer."""
    return not any(op in ("Quant", "QuantizeLinear", "DequantizeLinear") for op in operations)


def instead_of(op: str, domain: str = "") -> str:
    """The cure where an operation, of ONNX or of another domain, is not supported."""
    if domain.endswith("channels_last"):
        return CHANNELS_LAST
    default = "use operations of ONNX, and Quant of QONNX" if domain else OTHERWISE
    return INSTEAD.get(op, default)
