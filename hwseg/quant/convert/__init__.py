"""A float network becomes a quantized one without being trained: other people's modules and ONNX files.

    in    a `torch.nn.Module`, or a float ONNX file; pictures, with or without masks
    out   a `QuantizedNetwork`: layers of Brevitas, exported as a QONNX file that `hwseg.quant.read` reads

Read `hwseg.quant.networks.graph` first, then `convert`.

    source                     a callable of the user's and its weights; nothing in files is executed
    from_torch, from_onnx      modules (by `tracing`) and files as layers
    reading                    what was read, beside the module or the file itself
    fit, taken                 what the engine has not is replaced; the compiler's reader is asked what that is
    ranges, improve            ranges by error; equalization, bias correction, GPTQ of Brevitas
    pictures, measure          what calibrates, and what measures: masks and noise
    distill                    the quantized network learns the float one's logits and features
"""

from hwseg.quant.convert.convert import Converted, convert, quantize
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork

__all__ = ["Converted", "NetworkConfig", "QuantizedNetwork", "convert", "quantize"]
