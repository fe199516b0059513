"""The golden model against the loop nests walked point by point, and against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.ir import Graph, Head, Node, TensorType, accumulator_interval
from hwseg.ops import (
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Op,
    Requantize,
    Upsample2d,
)
from hwseg.quant.read.load import load
from tests.quant.models import random_image, random_unet
from tests.test_ops import walk

ONE = (Fraction(1),)


def execute(op: Op, *inputs: np.ndarray, weights: np.ndarray | None = None, dtype: type = np.int32) -> np.ndarray:
    """One operation on [H, W, C] arrays."""
    node = Node("node", op, tuple(f"x{i}" for i in range(len(inputs))), "y", weights)
    return golden.execute(node, [np.ascontiguousarray(x.transpose(2, 0, 1)) for x in inputs], dtype).transpose(1, 2, 0)


@pytest.mark.parametrize(
    "op",
    [
        *(Conv2d(3, 4), Conv2d(3, 4, 2), Conv2d(1, 4), Conv2d(1, 4, 2), Conv2d(7, 4, 2), ConvTranspose2d(4)),
        *(ConvTranspose2d(4, 3, 1), ConvTranspose2d(4, 4, 1), ConvTranspose2d(4, 2, 1), ConvTranspose2d(4, 5, 2)),
    ],
)
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 3), (8, 2, 9)])
@pytest.mark.parametrize("strip", [1, 200, 1 << 22])
def test_products_follow_the_loop_nest(
    op: Conv2d | ConvTranspose2d, size: tuple[int, int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwseg.golden.nest.STRIP_BYTES", strip)
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, size).astype(np.int8)
    w = rng.integers(-128, 128, (4, size[2], op.kernel, op.kernel)).astype(np.int8)
    expected = walk(op.loops(size), op.shape(size), x.astype(int), w.astype(int))
    np.testing.assert_array_equal(execute(op, x, weights=w), expected)


def test_pooling_upsampling_and_concat() -> None:
    x = np.random.default_rng(4).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(execute(MaxPool2d(), x), walk(MaxPool2d().loops(x.shape), (2, 3, 3), x))
    for kind, low in ((np.uint8, 0), (np.int8, -128)):
        y, three = (x.astype(int) // 2 + low).astype(kind), MaxPool2d(3)
        np.testing.assert_array_equal(execute(three, y, dtype=kind), walk(three.loops(x.shape), (2, 3, 3), y))
    averages = AveragePool2d()
    np.testing.assert_array_equal(execute(averages, x), walk(averages.loops(x.shape), (2, 3, 3), x))
    np.testing.assert_array_equal(execute(Upsample2d(), x), walk(Upsample2d().loops(x.shape), (8, 12, 3), x))
    np.testing.assert_array_equal(execute(Concat(), x, x[:, :, :1]), np.concatenate([x, x[:, :, :1]], 2))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 7, 2), (5, 1, 3), (6, 9, 4)])
def test_bilinear_is_what_pytorch_interpolates(size: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(6).integers(-128, 128, size).astype(np.int8)
    real = torch.from_numpy(x.transpose(2, 0, 1)[None].astype(np.float64))
    expected = torch.nn.functional.interpolate(real, scale_factor=2, mode="bilinear", align_corners=False)
    found = execute(Bilinear2d(), x)
    np.testing.assert_array_equal(found, 16 * expected[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("channels", [1, 7, 520])
def test_products_are_exact_where_float32_is_not(channels: int) -> None:
    """All weights and pixels at their ends: sums far beyond 2**24 for many channels."""
    x, w = np.full((3, 3, channels), 255, np.uint8), np.full((2, channels, 3, 3), -128, np.int8)
    w[1] = 127
    x[1, 1, 0] = 254
    y = execute(Conv2d(3, 2), x, weights=w)
    assert y[1, 1].tolist() == [-128 * (9 * 255 * channels - 1), 127 * (9 * 255 * channels - 1)]
    real = golden.exact_float(w, x)
    assert real is (np.float32 if channels == 1 or channels == 7 else np.float64)


def test_the_width_is_chosen_at_two_to_the_24() -> None:
    x = np.full((1, 1, 1), 128, np.uint8)
    below, at = (np.full((1, n, 1, 1), 127, np.int8) for n in (1032, 1033))
    assert 128 * 127 * 1032 < 1 << 24 <= 128 * 127 * 1033
    assert golden.exact_float(below, x) is np.float32
    assert golden.exact_float(at, x) is np.float64


CASES = {
    "power of two": ((Fraction(1, 64),), (Fraction(0),)),
    "power of two with bias": ((Fraction(1, 64),), (Fraction(-37, 128),)),
    "a tie nearly everywhere": ((Fraction(1, 2),), (Fraction(1, 3) / (1 << 60),)),
    "ties that floats cannot hold": ((Fraction(1, 6),), (Fraction(0),)),
    "float32 scales": ((Fraction(11184811, 1 << 29),), (Fraction(13421773, 1 << 27),)),
    "negative": ((Fraction(-3, 128),), (Fraction(100),)),
    "zero": ((Fraction(0),), (Fraction(5, 2),)),
    "larger than one": ((Fraction(16),), (Fraction(1, 2),)),
    "huge": ((Fraction(1 << 100),), (Fraction(1 << 60),)),
    "tiny": ((Fraction(1, 1 << 200),), (Fraction(1, 2),)),
    "channels": ((Fraction(1, 8), Fraction(-1, 3), Fraction(0)), (Fraction(1, 2), Fraction(7, 3), Fraction(-9))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127), (0, 3)])
def test_requantization_is_the_exact_rational(case: str, low: int, high: int) -> None:
    multiplier, offset = CASES[case]
    op = Requantize(multiplier, offset, low, high)
    acc = np.random.default_rng(5).integers(-20000, 20000, (6, 50, 3)).astype(np.int32)
    acc[0, :7] = np.array([0, 1, -1, 2**31 - 1, -(2**31), 3, -3])[:, None]
    found = execute(op, acc, dtype=np.int8 if low < 0 else np.uint8)
    expected = [[[op(int(acc[i, j, c]), c) for c in range(3)] for j in range(50)] for i in range(6)]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("multipliers", "offset"),
    [
        ((Fraction(1, 2), Fraction(1, 2)), Fraction(0)),
        ((Fraction(3, 7), Fraction(-5, 11)), Fraction(1, 3)),
        ((Fraction(-2), Fraction(1, 1 << 30)), Fraction(-1, 2)),
    ],
)
def test_addition_is_the_exact_rational_on_all_pairs(multipliers: tuple[Fraction, Fraction], offset: Fraction) -> None:
    op = Add(multipliers, offset, -100, 90)
    a, b = (grid[:, :, None] for grid in np.meshgrid(np.arange(-128, 128), np.arange(256), indexing="ij"))
    found = execute(op, a.astype(np.int8), b.astype(np.uint8), dtype=np.int8)[:, :, 0]
    for i, j in np.random.default_rng(6).integers(0, 256, (3000, 2)):
        assert found[i, j] == op(int(i) - 128, int(j))


def graph(head: Head, channels: int) -> Graph:
    kind = TensorType((2, 3, 1), 0, 255, (Fraction(1, 256),))
    weights = np.arange(1, channels + 1, dtype=np.int8).reshape(channels, 1, 1, 1)
    node = Node("head", Conv2d(1, channels), ("x",), "y", weights)
    low, high = accumulator_interval(node, kind)
    types = {"x": kind, "y": TensorType((2, 3, channels), int(low.min()), int(high.max()), ONE)}
    return Graph("net", "x", (node,), types, head)


def test_mask_of_one_channel_compares_exactly() -> None:
    x = np.array([[0, 1, 2], [3, 4, 255]])[:, :, None]
    for third, expected in ((Fraction(0), [[0, 0, 0], [1, 1, 1]]), (Fraction(1, 1 << 80), [[0, 0, 1], [1, 1, 1]])):
        head = Head("y", (Fraction(1, 3),), (Fraction(-2, 3) + third,), "sigmoid")
        assert golden.run(graph(head, 1), x).mask.tolist() == expected


def test_mask_of_several_channels_takes_the_first_of_equals() -> None:
    x = np.array([[0, 1, 2], [3, 4, 255]])[:, :, None]
    head = Head("y", (Fraction(1), Fraction(1, 2), Fraction(1, 3)), (Fraction(0),) * 3, "softmax")
    result = golden.run(graph(head, 3), x)
    assert (result.mask == 0).all()
    tilted = Head("y", head.scale, (Fraction(0), Fraction(0), Fraction(1, 1 << 90)), "argmax")
    result = golden.run(graph(tilted, 3), x)
    assert (result.mask == 2).all()
    assert result.output.shape == (1, 1, 2, 3)


def test_output_is_the_real_value_behind_the_activation() -> None:
    x = np.array([[0, 1, 2], [3, 4, 255]])[:, :, None]
    value = x[:, :, 0] * 0.25 - 1
    for activation, expected in (("none", value), ("sigmoid", 1 / (1 + np.exp(-value)))):
        output = golden.run(graph(Head("y", (Fraction(1, 4),), (Fraction(-1),), activation), 1), x).output
        assert output.dtype == np.float32
        np.testing.assert_allclose(output[0, 0], expected, rtol=1e-6)
    softmax = golden.run(graph(Head("y", (Fraction(1),), (Fraction(0),), "softmax"), 3), x).output
    np.testing.assert_allclose(softmax.sum(1), 1, rtol=1e-6)


def test_taps_choose_what_is_kept(tmp_path: Path) -> None:
    net = load(random_unet(5, tmp_path))
    q = random_image(net)
    whole = golden.run(net, q)
    assert set(whole.tensors) == set(net.types)
    for name, kind in net.types.items():
        tensor = whole.tensors[name]
        assert tensor.shape == kind.shape
        assert kind.low <= tensor.min() <= tensor.max() <= kind.high
    wanted = net.nodes[3].output
    some = golden.run(net, q, taps=[wanted])
    assert set(some.tensors) == {wanted, net.head.tensor}
    np.testing.assert_array_equal(some.tensors[wanted], whole.tensors[wanted])
    np.testing.assert_array_equal(some.output, whole.output)


def test_images_that_do_not_fit_are_refused() -> None:
    net = graph(Head("y", ONE, (Fraction(0),)), 1)
    for image, words in (
        (np.zeros((3, 2, 1), int), "has shape [3, 2, 1]"),
        (np.zeros((2, 3, 1)), "has type float64"),
        (np.full((2, 3, 1), 256), "reaches [256, 256]"),
        (np.full((2, 3, 1), -1), "reaches [-1, -1]"),
    ):
        with pytest.raises(HwsegError) as caught:
            golden.run(net, image)
        assert words in str(caught.value)
