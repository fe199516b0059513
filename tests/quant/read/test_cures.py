"""The cures in messages work: each refused network, changed as its sentence says, loads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.handmade import Net

Change = Callable[[Net, str], str]


@dataclass(frozen=True)
class Cure:
    """said: of the cure.  refused, cured: what is built on the quantized image of 2 channels, 8x8."""

    said: str
    refused: Change
    cured: Change


def pool(n: Net, x: str, size: int = 2, **given: object) -> str:
    return n.node("MaxPool", x, **{"kernel_shape": [size, size], "strides": [2, 2], **given})  # type: ignore[arg-type]


def resize(n: Net, x: str, mode: str, coordinates: str = "half_pixel", factor: float = 2.0) -> str:
    scales = n.const(f"scales{len(n.nodes)}", [1, 1, factor, factor])
    return n.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode=coordinates)


def nearest(n: Net, x: str) -> str:
    return resize(n, x, "nearest", "asymmetric")


def bilinear(n: Net, x: str) -> str:
    return n.quant(resize(n, x, "linear"))


def const(n: Net, *values: float, shape: tuple[int, ...] = ()) -> str:
    return n.const(f"c{len(n.initializers)}", np.reshape(values, shape))


def head(n: Net, x: str, channels: int = 2) -> str:
    return n.conv(x, channels, 3, name=f"head{len(n.nodes)}")


def conv(n: Net, x: str, outs: int = 2, kernel: int = 3, **given: object) -> str:
    return n.conv(x, 2, outs, kernel, name=f"conv{len(n.nodes)}", **given)  # type: ignore[arg-type]


def transposed(n: Net, x: str, kernel: int = 2, **given: object) -> str:
    return n.node("ConvTranspose", x, n.weights("t", (2, 2, kernel, kernel)), **{"strides": [2, 2], **given})  # type: ignore[arg-type]


def scaled(n: Net, x: str, scale: object) -> str:
    return n.quant(conv(n, x), scale)


CURES = {
    "MaxPool 3x3": Cure(
        "use MaxPool2d(3, 2, 1), or MaxPool2d(2)",
        lambda n, x: head(n, pool(n, x, 3)),
        lambda n, x: head(n, pool(n, pool(n, x, 3, pads=[1, 1, 1, 1]))),
    ),
    "MaxPool 5x5": Cure("use MaxPool2d(2)", lambda n, x: head(n, pool(n, x, 5)), lambda n, x: head(n, pool(n, x))),
    "an 11x11 kernel": Cure(
        "use 3x3 kernels, more than one, or a dilation of 1, 2 or 4",
        lambda n, x: conv(n, x, 2, 11),
        lambda n, x: conv(n, n.quant(conv(n, x, 2, dilations=[4, 4], pads=[4] * 4)), 2),
    ),
    "a dilation without its padding": Cure(
        "use padding=2",
        lambda n, x: conv(n, x, 2, dilations=[2, 2]),
        lambda n, x: conv(n, x, 2, dilations=[2, 2], pads=[2] * 4),
    ),
    "an even kernel": Cure(
        "use kernels of odd size", lambda n, x: conv(n, x, 2, 2, pads=[0] * 4), lambda n, x: conv(n, x, 2, 3)
    ),
    "MaxPool of stride 1": Cure(
        "use MaxPool2d(2)", lambda n, x: head(n, pool(n, x, strides=[1, 1])), lambda n, x: head(n, pool(n, x))
    ),
    "padded MaxPool": Cure(
        "use MaxPool2d(2)", lambda n, x: head(n, pool(n, x, pads=[1, 1, 1, 1])), lambda n, x: head(n, pool(n, x))
    ),
    "bicubic, nearest instead": Cure(
        "use mode='nearest', or mode='bilinear' with align_corners=False",
        lambda n, x: head(n, resize(n, x, "cubic")),
        lambda n, x: head(n, nearest(n, x)),
    ),
    "bicubic, bilinear instead": Cure(
        "or mode='bilinear' with align_corners=False",
        lambda n, x: head(n, resize(n, x, "cubic")),
        lambda n, x: head(n, bilinear(n, x)),
    ),
    "aligned corners": Cure(
        "use scale_factor=2, mode='bilinear', align_corners=False",
        lambda n, x: head(n, n.quant(resize(n, x, "linear", "align_corners"))),
        lambda n, x: head(n, bilinear(n, x)),
    ),
    "three times as large": Cure(
        "use scale_factor=2, mode='nearest'",
        lambda n, x: head(n, resize(n, x, "nearest", "asymmetric", 3)),
        lambda n, x: head(n, nearest(n, x)),
    ),
    **{
        f"a transposed kernel of {kernel}x{kernel}": Cure(
            "3 and padding=1, output_padding=1, or 4 and padding=1, or 5 and padding=2, output_padding=1, or 6 and pa",
            lambda n, x, k=kernel: transposed(n, x, k, pads=[1, 1, 1, 1], output_padding=[1, 1], strides=[1, 1]),
            lambda n, x, k=kernel, p=padding, m=more: transposed(n, x, k, pads=[p] * 4, output_padding=[m] * 2),
        )
        for kernel, padding, more in ((3, 1, 1), (4, 1, 0), (5, 2, 1), (6, 2, 0))
    },
    "a transposed convolution with padding": Cure(
        "use stride 2 with kernel_size=2, or",
        lambda n, x: transposed(n, x, pads=[1, 1, 1, 1]),
        lambda n, x: transposed(n, x),
    ),
    "averages of 3x3": Cure(
        "use AvgPool2d(2)",
        lambda n, x: n.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        lambda n, x: head(n, n.quant(n.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))),
    ),
    "groups": Cure(
        "use as many groups as channels", lambda n, x: n.conv(x, 1, 2, group=3), lambda n, x: n.conv(x, 1, 2, group=2)
    ),
    "groups of a transposed convolution": Cure(
        "use a dense convolution", lambda n, x: transposed(n, x, group=2), lambda n, x: transposed(n, x)
    ),
    "stride 3": Cure(
        "use stride 1 or 2", lambda n, x: conv(n, x, strides=[3, 3]), lambda n, x: conv(n, x, strides=[2, 2])
    ),
    "automatic padding": Cure(
        "give the padding as numbers", lambda n, x: conv(n, x, auto_pad="SAME_UPPER"), lambda n, x: conv(n, x)
    ),
    "no padding": Cure("use padding=1", lambda n, x: conv(n, x, pads=[0, 0, 0, 0]), lambda n, x: conv(n, x)),
    "an attribute": Cure("leave it out", lambda n, x: conv(n, x, colour=1), lambda n, x: conv(n, x)),
    "rounding": Cure(
        "round half to even (ROUND)",
        lambda n, x: n.quant(conv(n, x), rounding_mode="FLOOR"),
        lambda n, x: n.quant(conv(n, x), rounding_mode="ROUND"),
    ),
    "concatenated rows": Cure(
        "concatenate channels (dim=1)",
        lambda n, x: head(n, n.node("Concat", x, x, axis=2)),
        lambda n, x: head(n, n.node("Concat", x, x, axis=1), 4),
    ),
    "no weight quantizer": Cure(
        "use QuantConv2d with a weight quantizer",
        lambda n, x: conv(n, x, weights=n.const("w", np.ones((2, 2, 3, 3)))),
        lambda n, x: conv(n, x),
    ),
    "a constant divided by a map": Cure(
        "divide by a constant, or leave the division out",
        lambda n, x: n.quant(n.node("Div", const(n, 1.5), conv(n, x))),
        lambda n, x: n.quant(n.node("Div", conv(n, x), const(n, 1.5))),
    ),
    "a constant of the wrong shape": Cure(
        "give it the shape (1, 2, 1, 1)",
        lambda n, x: n.quant(n.node("Mul", conv(n, x), const(n, 1, 2, shape=(2,)))),
        lambda n, x: n.quant(n.node("Mul", conv(n, x), const(n, 1, 2, shape=(1, 2, 1, 1)))),
    ),
    "an addend behind a ReLU": Cure(
        "quantize before it, or move it before the ReLU",
        lambda n, x: n.quant(n.node("Add", n.node("Relu", conv(n, x)), const(n, 1))),
        lambda n, x: n.quant(n.node("Relu", n.node("Add", conv(n, x), const(n, 1)))),
    ),
    "an addend behind a ReLU, quantized before it": Cure(
        "quantize before it",
        lambda n, x: n.quant(n.node("Add", n.node("Relu", conv(n, x)), const(n, 1))),
        lambda n, x: n.quant(n.node("Add", n.quant(n.node("Relu", conv(n, x)), signed=0), const(n, 1))),
    ),
    "a negative factor behind a pooling": Cure(
        "quantize before it, or move it before",
        lambda n, x: n.quant(n.node("Mul", pool(n, conv(n, x)), const(n, -1))),
        lambda n, x: n.quant(pool(n, n.node("Mul", conv(n, x), const(n, -1)))),
    ),
    "a sum of unquantized maps": Cure(
        "put a QuantIdentity or QuantReLU on each operand and one on the sum",
        lambda n, x: head(n, n.node("Add", conv(n, x), conv(n, x))),
        lambda n, x: head(n, n.quant(n.node("Add", n.quant(conv(n, x)), n.quant(conv(n, x))))),
    ),
    "a sum of unlike channels": Cure(
        "bring one of them to the other's channels by a 1x1 convolution",
        lambda n, x: n.quant(n.node("Add", x, n.quant(conv(n, x, 3)))),
        lambda n, x: n.quant(n.node("Add", n.quant(conv(n, x, 3, 1)), n.quant(conv(n, x, 3)))),
    ),
    "a normalized sum": Cure(
        "quantize the sum before normalizing it",
        lambda n, x: n.quant(n.node("Mul", n.node("Add", x, n.quant(conv(n, x))), const(n, 1, 2, shape=(1, 2, 1, 1)))),
        lambda n, x: head(
            n,
            n.quant(n.node("Mul", n.quant(n.node("Add", x, n.quant(conv(n, x)))), const(n, 1, 2, shape=(1, 2, 1, 1)))),
        ),
    ),
    "unquantized activations": Cure(
        "put a QuantIdentity or QuantReLU of at most 8 bits before it",
        lambda n, x: head(n, n.node("Relu", conv(n, x))),
        lambda n, x: head(n, n.quant(n.node("Relu", conv(n, x)), signed=0)),
    ),
    "unlike scales": Cure(
        "put one shared quantizer on the branches",
        lambda n, x: head(n, n.node("Concat", x, n.quant(conv(n, x)), axis=1), 4),
        lambda n, x: head(n, n.node("Concat", n.quant(x), n.quant(conv(n, x)), axis=1), 4),
    ),
    "signed and unsigned branches": Cure(
        "make all branches signed or all unsigned",
        lambda n, x: head(n, n.node("Concat", x, n.quant(conv(n, x), 2**-8), axis=1), 4),
        lambda n, x: head(n, n.node("Concat", x, n.quant(conv(n, x), 2**-8, signed=0), axis=1), 4),
    ),
    "branches of two sizes": Cure(
        "pool or enlarge branches to one size before it",
        lambda n, x: head(n, n.node("Concat", x, pool(n, x), axis=1), 4),
        lambda n, x: head(n, n.node("Concat", pool(n, x), pool(n, x), axis=1), 4),
    ),
    "operands of two sizes": Cure(
        "pool or enlarge one of them before it",
        lambda n, x: n.quant(n.node("Add", n.quant(conv(n, x)), pool(n, x))),
        lambda n, x: n.quant(n.node("Add", n.quant(conv(n, x)), nearest(n, pool(n, x)))),
    ),
    "a crop": Cure(
        "crop the picture, not maps of the network",
        lambda n, x: conv(
            n, n.node("Slice", x, *(n.const(k, [v], np.int64) for k, v in (("s", 0), ("e", 4), ("a", 2))))
        ),
        lambda n, x: conv(n, x),
    ),
    "no convolution": Cure(
        "put a QuantConv2d before the output", lambda n, x: pool(n, x), lambda n, x: conv(n, pool(n, x))
    ),
    "an unquantized end": Cure(
        "put a QuantIdentity at the end",
        lambda n, x: n.node("Relu", conv(n, x)),
        lambda n, x: n.quant(n.node("Relu", conv(n, x)), signed=0),
    ),
    "wide activations": Cure(
        "use 2 to 8 bits", lambda n, x: n.quant(conv(n, x), bits=9), lambda n, x: n.quant(conv(n, x))
    ),
    "scales by channel": Cure(
        "use per-tensor activation scales",
        lambda n, x: scaled(n, x, np.array([0.5, 0.25]).reshape(1, 2, 1, 1)),
        lambda n, x: scaled(n, x, 0.5),
    ),
    "a zero point": Cure(
        "use a symmetric quantizer", lambda n, x: n.quant(conv(n, x), zero=3), lambda n, x: n.quant(conv(n, x))
    ),
    "two quantizers on the image": Cure(
        "share one quantizer",
        lambda n, x: n.quant(n.node("Add", n.quant(conv(n, x)), n.quant("x", 2**-6))),
        lambda n, x: n.quant(n.node("Add", n.quant(conv(n, x)), x)),
    ),
    "an operation behind the softmax": Cure(
        "end the model with Softmax",
        lambda n, x: n.node("Relu", n.node("Softmax", conv(n, x), axis=1)),
        lambda n, x: n.node("Softmax", conv(n, x), axis=1),
    ),
    "softmax over rows": Cure(
        "use dim=1",
        lambda n, x: n.node("Softmax", conv(n, x), axis=2),
        lambda n, x: n.node("Softmax", conv(n, x), axis=1),
    ),
    "a constant compared with the output": Cure(
        "write x > c",
        lambda n, x: n.node("Greater", const(n, 0.5), conv(n, x, 1)),
        lambda n, x: n.node("Greater", conv(n, x, 1), const(n, 0.5)),
    ),
    "a hundred factors": Cure(
        "put a quantizer between them",
        lambda n, x: n.quant(multiplied(n, conv(n, x), 100)),
        lambda n, x: n.quant(multiplied(n, n.quant(multiplied(n, conv(n, x), 20)), 20)),
    ),
    "a hundred poolings and enlargings": Cure(
        "put a quantizer between them",
        lambda n, x: n.quant(up_and_down(n, conv(n, x), 40)),
        lambda n, x: n.quant(up_and_down(n, n.quant(up_and_down(n, conv(n, x), 20)), 20)),
    ),
    "a hundred branches": Cure(
        "put quantized convolutions between concatenations",
        lambda n, x: n.quant(joined(n, conv(n, x), 65)),
        lambda n, x: n.quant(conv(n, joined(n, x, 60), weights=n.weights("w", (2, 120, 3, 3)))),
    ),
    "a bipolar quantizer": Cure(
        "use 2 to 8 bits", lambda n, x: n.quant(conv(n, x), bits=1), lambda n, x: n.quant(conv(n, x), bits=2)
    ),
    "training": Cure(
        "call model.eval() before the export",
        lambda n, x: conv(n, n.node("Dropout", x, "", n.const("t", True, bool))),
        lambda n, x: conv(n, n.node("Dropout", x, "", n.const("t", False, bool))),
    ),
    "a computed bias": Cure(
        "make it a number that is fixed before the export",
        lambda n, x: conv(n, x, bias=x),
        lambda n, x: conv(n, x, bias=n.const("b", [1, 2])),
    ),
    "a computed constant": Cure(
        "compute it before the export",
        lambda n, x: n.quant(n.node("Concat", conv(n, x), n.node("Relu", n.const("k", np.ones((1, 2, 8, 8)))), axis=1)),
        lambda n, x: n.quant(n.node("Concat", conv(n, x), x, axis=1)),
    ),
}


def multiplied(n: Net, x: str, count: int) -> str:
    for _ in range(count):
        x = n.node("Mul", x, const(n, 1e38))
    return x


def up_and_down(n: Net, x: str, count: int) -> str:
    for _ in range(count):
        x = pool(n, nearest(n, x))
    return x


def joined(n: Net, x: str, count: int) -> str:
    return n.node("Concat", *[x] * count, axis=1)


def saved(folder: Path, change: Change, shape: tuple[int, ...] = (1, 2, 8, 8)) -> Path:
    net = Net(shape)
    return net.save(folder / "net.onnx", change(net, net.image()))


@pytest.mark.parametrize("case", CURES)
def test_the_cure_works(tmp_path: Path, case: str) -> None:
    cure = CURES[case]
    with pytest.raises(HwsegError) as caught:
        load(saved(tmp_path, cure.refused))
    assert cure.said in caught.value.cure
    graph = load(saved(tmp_path, cure.cured))
    kind = graph.types[graph.input]
    golden.run(graph, np.full(kind.shape, kind.high))


def test_every_sentence_of_the_loader_has_a_cure(tmp_path: Path) -> None:
    for cure in CURES.values():
        with pytest.raises(HwsegError) as caught:
            load(saved(tmp_path, cure.refused))
        assert caught.value.cure
        assert caught.value.place
        assert "export the model again" not in caught.value.cure, caught.value


def unet(n: Net, x: str, depth: int) -> str:
    """Down and up again, with skips; a crop of nothing."""
    skips = []
    for _ in range(depth):
        skips.append(x)
        x = pool(n, x)
    for skip in reversed(skips):
        x = n.quant(n.node("Concat", nearest(n, x), skip, axis=1), 2**-8, signed=0)
    return n.conv(x, 2 * (depth + 1), 1, 1, name="head")


@pytest.mark.parametrize(("height", "width", "depth"), [(10, 12, 2), (5, 5, 1), (17, 16, 3), (100, 31, 3), (3, 3, 2)])
def test_sizes_that_are_named_fit(tmp_path: Path, height: int, width: int, depth: int) -> None:
    with pytest.raises(HwsegError) as caught:
        load(saved(tmp_path, lambda n, x: unet(n, x, depth), (1, 2, height, width)))
    cure = caught.value.cure
    assert cure.startswith(f"the input is {height}x{width}, the nearest size")
    named = re.findall(r"(\d+)x(\d+)", cure.split(",", 1)[1])
    assert named
    for size in named:
        load(saved(tmp_path, lambda n, x: unet(n, x, depth), (1, 2, *map(int, size))))


def sized(n: Net, x: str, height: int, width: int) -> str:
    """An enlarging to a size that stands in the file, as exporters write `interpolate(x, size=...)`."""
    small = pool(n, x)
    sizes = n.const("sizes", [1, 2, height, width], np.int64)
    big = n.node("Resize", small, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric")
    return n.conv(n.node("Concat", big, x, axis=1), 4, 1, 1, name="head")


def test_sizes_that_stand_in_the_file_need_another_export(tmp_path: Path) -> None:
    with pytest.raises(HwsegError) as caught:
        load(saved(tmp_path, lambda n, x: sized(n, x, 9, 8), (1, 2, 9, 8)))
    assert caught.value.cure == ("the input is 9x8; export the model with an input that 2 divides, such as 8x8 or 10x8")
    for height in (8, 10):
        load(saved(tmp_path, lambda n, x, h=height: sized(n, x, h, 8), (1, 2, height, 8)))  # type: ignore[misc]


def test_no_size_is_named_where_none_helps(tmp_path: Path) -> None:
    """Not `the nearest sizes that fit are 16x16` at 16x16."""
    with pytest.raises(HwsegError) as caught:
        load(saved(tmp_path, CURES["branches of two sizes"].refused, (1, 2, 16, 16)))
    assert str(caught.value).endswith("have 16x16 and 8x8; pool or enlarge branches to one size before it")
