"""Which sizes of the input would do, for sentences about maps that do not fit."""

from __future__ import annotations

from hwseg.quant.read.onnx_file import OnnxFile


def nearest_sizes(file: OnnxFile) -> str:
    """Input sizes near the given one that every pooling divides."""
    depth = {file.input: 0}
    for node in file.nodes:
        strides = node.attributes.get("strides", (1, 1))
        down = node.op in ("MaxPool", "Conv") and strides == (2, 2)
        up = node.op in ("Resize", "Upsample", "ConvTranspose")
        reached = max((depth[name] for name in node.inputs if name in depth), default=None)
        if reached is not None:
            depth.update((output, reached + down - up) for output in node.outputs)
    factor = 1 << min(max(depth.values()), 20)
    _, _, height, width = file.shape
    choices = [[n for n in (size // factor * factor, -(-size // factor) * factor) if n > 0] for size in (height, width)]
    sizes = dict.fromkeys(f"{h}x{w}" for h in choices[0] for w in choices[1])
    return f"the input is {height}x{width}, the nearest sizes that fit are {', '.join(sizes)}"
