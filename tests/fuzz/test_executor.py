"""The referee itself: against ONNX's own reference where that is exact, and against numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.fuzz import exact
from tests.fuzz.exact import Exact
from tests.fuzz.executor import Final, Ordered
from tests.fuzz.operations import OPERATIONS, execute
from tests.fuzz.order import ordered
from tests.fuzz.recipe import replay
from tests.fuzz.steps import (
    Affine,
    ArgMax,
    Clipped,
    Conv,
    Greater,
    Join,
    Normalize,
    Picture,
    Pool,
    Quantize,
    Recipe,
    Sigmoid,
    Transposed,
    Weights,
    Zeros,
    build,
)

F = Fraction


def integers(*shape: int, seed: int = 0, reach: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).integers(-reach, reach, shape, endpoint=True)


def by_reference(op: str, *inputs: np.ndarray, **attributes: object) -> np.ndarray:
    """ONNX's reference in float64: exact for small integers."""
    names = [f"i{number}" if array is not None else "" for number, array in enumerate(inputs)]
    given = {name: array for name, array in zip(names, inputs, strict=True) if name}
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in given.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (found,) = ReferenceEvaluator(model).run(None, given)
    return np.asarray(found)


@pytest.mark.parametrize(
    ("ins", "outs", "kernel", "stride", "pad", "dilation", "groups"),
    [(3, 5, 3, 1, 1, 1, 1), (2, 4, 1, 2, 0, 1, 1), (3, 2, 3, 2, 1, 1, 1), (4, 4, 3, 1, 1, 1, 4), (2, 2, 3, 1, 2, 2, 1),
     (1, 3, 7, 2, 3, 1, 1)],
)  # fmt: skip
def test_convolutions(ins: int, outs: int, kernel: int, stride: int, pad: int, dilation: int, groups: int) -> None:
    x, w = integers(ins, 9, 11), integers(outs, ins // groups, kernel, kernel, seed=1)
    pads = [pad, pad, pad, pad]
    sums, unit = exact.multiply_accumulate(
        Exact(x, (F(1, 4),) * ins), w, (stride, stride), pads, (dilation, dilation), groups
    )
    expected = by_reference(
        "Conv", x[None].astype(float), w.astype(float), pads=pads, strides=[stride] * 2, dilations=[dilation] * 2,
        group=groups, kernel_shape=[kernel] * 2,
    )  # fmt: skip
    assert unit == F(1, 4)
    assert np.array_equal(sums, expected[0])


@pytest.mark.parametrize(("kernel", "stride", "pad", "more"), [(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0)])
def test_transposed_convolutions(kernel: int, stride: int, pad: int, more: int) -> None:
    x, w = integers(3, 4, 5), integers(3, 2, kernel, kernel, seed=1)
    sums, _ = exact.multiply_scatter(Exact(x, (F(1),) * 3), w, (stride, stride), [pad] * 4, (more, more))
    expected = by_reference(
        "ConvTranspose", x[None].astype(float), w.astype(float), pads=[pad] * 4, strides=[stride] * 2,
        output_padding=[more] * 2, kernel_shape=[kernel] * 2,
    )  # fmt: skip
    assert np.array_equal(sums, expected[0])


def drawn(recipe: Recipe) -> None:
    """A recipe of small numbers, as ONNX's reference computes it."""
    net, maps = replay(recipe)
    model = net.model((maps[-1].name,))
    q = np.random.default_rng(7).integers(0, 9, (recipe.picture.rows, recipe.picture.columns, recipe.picture.channels))
    x = np.float32(q.transpose(2, 0, 1)[None] * recipe.picture.scale)
    found = execute(model, q)
    expected = ReferenceEvaluator(model).run([found.output], {"x": x})[0]
    value = found.value(found.output)
    if not isinstance(value, Exact):
        value = value if isinstance(value, Ordered) else ordered(found, found.output)
        assert isinstance(value.of, Final)
        assert value.of.mask is not None
        assert value.places.shape == expected.shape
        assert np.array_equal(value.of.mask.reshape(-1)[value.places], expected)
        return
    assert [float(n) for n in numbers(value)] == expected.reshape(-1).tolist()


DRAWN = {
    "c - x": (Affine((0,), "Sub", (3.0, -0.5), True),),
    "x - c": (Affine((0,), "Sub", (3.0, -0.5)),),
    "ReLU6": (Clipped((0,), 0.0, 1.25),),
    "an upper end": (Clipped((0,), None, 1.25),),
    "a lower end": (Clipped((0,), 0.75, None),),
    "zeros before a convolution": (Zeros((0,), (1, 0, 0, 1)), Conv((1,), 3, Weights(fill="random"), kernel=3)),
    "zeros before a quantizer": (Zeros((0,), (1, 1, 0, 1)), Quantize((1,), 0.5), Conv((2,), kernel=3, stride=2)),
    "classes": (Conv((0,), 3, Weights(fill="random")), ArgMax((1,))),
    "classes without their axis": (Conv((0,), 3, Weights(fill="random")), ArgMax((1,), keep=False)),
    "cast and with it": (Conv((0,), 3, Weights(fill="random")), ArgMax((1,), keep=False, cast=6, turned=True)),
    "cast and without": (Conv((0,), 3, Weights(fill="random")), ArgMax((1,), cast=2, turned=True)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn(name: str) -> None:
    drawn(Recipe(Picture(4, 6, 2, scale=0.25), DRAWN[name], 21, qdq=True))


@pytest.mark.parametrize("opset", [9, 11])
@pytest.mark.parametrize("low", [None, 0.0])
@pytest.mark.parametrize("high", [None, 1.25])
def test_clips_of_old_sets(opset: int, low: float | None, high: float | None) -> None:
    """What the reference knows of them: nothing quantized."""
    picture = Picture(4, 6, quantized=False, metadata="1/4", scale=0.25)
    drawn(
        Recipe(picture, (Affine((0,), "Sub", (1.0,), True), Clipped((1,), low, high), Clipped((2,), -1.0, 1.0)), opset)
    )


def test_groups_of_transposed_convolutions() -> None:
    """Each is a convolution of its own, with the scales of the others; ONNX's reference has no groups."""
    weights = Weights(fill="random", scales=(1.0, 0.5, 2.0))
    model = build(Recipe(Picture(4, 6, 4), (Transposed((0,), 6, weights, kernel=4, padding=1, groups=2),)))
    q = np.abs(integers(4, 6, 4))
    found = execute(model, q).value(model.graph.output[0].name)
    assert isinstance(found, Exact)
    floats, scale = weights.numbers((4, 3, 4, 4), 1)
    w, channels = np.rint(floats / scale).astype(int), q.transpose(2, 0, 1)
    for g in range(2):
        own = slice(2 * g, 2 * g + 2)
        x = Exact(channels[own], (F(1, 256),) * 2)
        sums, unit = exact.multiply_scatter(x, np.clip(w, -128, 127)[own], (2, 2), [1] * 4, (0, 0))
        assert np.array_equal(found.integers[3 * g : 3 * g + 3], sums)
        assert found.units[3 * g : 3 * g + 3] == tuple(unit * F(float(s)) for s in np.resize(scale, 3))


def test_chosen_outputs() -> None:
    steps = (Conv((0,), 3, Weights(fill="random")), Quantize((1,), 0.5), Conv((2,)))
    for others, several in (((), False), ((-1, -1), False), ((1,), True), ((3, -1), True)):
        model = build(Recipe(Picture(2, 2), steps, others=others))
        found = execute(model)
        assert found.choice() == (found.output if several else "")
        assert found.makers[found.output].op_type == "Conv"
        assert len(model.graph.output) == 1 + len(others)


@pytest.mark.parametrize(("kernel", "stride", "pad", "ceil"), [(2, 2, 0, 0), (3, 2, 1, 0), (2, 2, 0, 1), (3, 1, 1, 0)])
def test_pooling(kernel: int, stride: int, pad: int, ceil: int) -> None:
    x = integers(3, 7, 9)
    model = single("MaxPool", x.shape, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil)
    expected = by_reference(
        "MaxPool", x[None].astype(np.float32), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
        ceil_mode=ceil,
    )  # fmt: skip
    assert np.array_equal(result(model, x).integers, expected[0])


RULES = [
    ("nearest", "asymmetric", "floor"), ("nearest", "half_pixel", "round_prefer_floor"),
    ("nearest", "half_pixel", "round_prefer_ceil"), ("nearest", "asymmetric", "ceil"),
    ("linear", "half_pixel", "floor"), ("linear", "pytorch_half_pixel", "floor"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "coordinates", "rounding"), RULES)
@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
def test_enlarging(mode: str, coordinates: str, rounding: str, size: tuple[int, int]) -> None:
    x = integers(2, *size)
    given = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    scales = np.array([1, 1, 2, 2], np.float32)
    model = single("Resize", x.shape, "", scales, **given)
    expected = by_reference("Resize", x[None].astype(float), None, scales, **given)
    found = result(model, x)
    assert [float(found.value(1, y, z)) for y, z in np.ndindex(found.shape[1:])] == expected[0, 1].reshape(-1).tolist()


def single(op: str, shape: tuple[int, ...], *constants: np.ndarray | str, **attributes: object) -> onnx.ModelProto:
    """A file of one node that reads the input."""
    arrays = {f"c{number}": array for number, array in enumerate(constants) if not isinstance(array, str)}
    names = [f"c{number}" if f"c{number}" in arrays else "" for number in range(len(constants))]
    node = helper.make_node(op, ["x", *names], ["y"], name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def result(model: onnx.ModelProto, x: np.ndarray) -> Exact:
    """What it gives for integers [channel, row, column] that stand for themselves."""
    entry = model.metadata_props.add()
    entry.key, entry.value = "hwseg.input_scale", "1"
    found = execute(model, x.transpose(1, 2, 0)).value("y")
    assert isinstance(found, Exact)
    return found


def last(recipe: Recipe, picture: list[list[int]]) -> object:
    """The last tensor of a recipe for a picture of one channel."""
    model = build(recipe)
    return execute(model, np.array(picture)[:, :, None]).value(model.graph.output[0].name)


def numbers(found: object) -> list[Fraction]:
    assert isinstance(found, Exact)
    return [found.value(c, y, x) for c, y, x in np.ndindex(found.shape)]


def test_quantizers_round_ties_to_even_and_saturate() -> None:
    """x = q / 2 in units of 1: 0.5, 1.5 and 2.5 lie between two integers."""
    picture = Picture(1, 6, scale=0.5)
    given = [[0, 1, 3, 5, 6, 255]]
    assert numbers(last(Recipe(picture, (Quantize((0,), 1.0, 4),)), given)) == [0, 0, 2, 2, 3, 15]
    assert numbers(last(Recipe(picture, (Quantize((0,), 1.0, 4, narrow=True),)), given)) == [0, 0, 2, 2, 3, 14]
    assert numbers(last(Recipe(picture, (Quantize((0,), 1.0, 2, signed=True),)), given)) == [0, 0, 1, 1, 1, 1]


def test_narrow_signed_quantizers_leave_out_the_lowest_number() -> None:
    picture = Picture(1, 2, signed=True, scale=1.0)
    for narrow, lowest in ((False, -8), (True, -7)):
        steps = (Affine((0,), "Mul", (-1.0,)), Quantize((1,), 1.0, 4, True, narrow))
        assert numbers(last(Recipe(picture, steps), [[100, -100]])) == [lowest, 7]


def test_a_scale_is_the_rational_of_its_bits() -> None:
    """0.1 as float32 is a little more than a tenth: 5 * 0.1 / 0.1 is 5, and 1 / 0.1 rounds to 10."""
    tenth = F(float(np.float32(0.1)))
    steps = (Quantize((0,), 0.1), Affine((1,), "Div", (0.1,)))
    assert numbers(last(Recipe(Picture(1, 2, scale=1.0), steps), [[1, 7]])) == [10, 70]
    assert numbers(last(Recipe(Picture(1, 2, scale=1.0), steps[:1]), [[1, 7]])) == [10 * tenth, 70 * tenth]


def test_weights_are_rounded_after_a_float32_division() -> None:
    """0.3 / 0.1 in float32 is exactly 3 or one bit beside it; the integer is 3, and the scale stays the rational."""
    weights = Weights(4, scales=(0.1,), fill="ties", seed=3)
    floats, scale = weights.numbers((1, 1, 1, 1), 0)
    wanted = max(-8, min(7, round(float(np.float32(floats / scale).reshape(())))))
    found = numbers(last(Recipe(Picture(1, 1, scale=1.0), (Conv((0,), weights=weights),)), [[1]]))
    assert found == [wanted * F(float(np.float32(0.1)))]


def test_batch_normalization_has_its_factor_in_float64() -> None:
    steps = (Normalize((0,), (3.0,), (0.5,), (2.0,), (1.0,), 0.0),)
    assert numbers(last(Recipe(Picture(1, 2, scale=1.0), steps), [[2, 5]])) == [F(1, 2), F(19, 2)]
    steps = (Normalize((0,), (1.0,), (0.0,), (0.0,), (2.0,), 0.0),)
    assert numbers(last(Recipe(Picture(1, 1, scale=1.0), steps), [[1]])) == [F(1 / 2**0.5)]


def test_joining_and_pooling() -> None:
    steps = (Pool((0,)), Join((1, 1)))
    assert numbers(last(Recipe(Picture(2, 2, scale=1.0), steps), [[1, 2], [9, 4]])) == [9, 9]


def test_masks() -> None:
    picture = Picture(1, 3, scale=1.0)
    model = build(Recipe(picture, (Conv((0,)), Greater((1,), 1.0))))
    assert execute(model, np.array([[[0], [1], [2]]])).mask().tolist() == [[0, 0, 1]]
    model = build(Recipe(picture, (Conv((0,)), Sigmoid((1,)))))
    assert execute(model, np.array([[[0], [1], [2]]])).mask().tolist() == [[0, 1, 1]]
    model = build(Recipe(picture, (Conv((0,)), Sigmoid((1,)), Greater((2,), 0.5))))
    assert execute(model, np.array([[[0], [1], [2]]])).mask().tolist() == [[0, 1, 1]]
    model = build(Recipe(picture, (Join((0, 0)), Conv((1,), outs=3), ArgMax((2,)))))
    found = execute(model, np.array([[[0], [1], [2]]]))
    assert found.mask().reshape(-1).tolist() == [0, 0, 0], "the first among equals"
    assert isinstance(found.value(model.graph.output[0].name), Final)


def test_numbers_beyond_64_bits() -> None:
    n = np.array([[[1, -3, 5]]])
    huge = exact.affine(Exact(n, (F(1, 1 << 70),)), [F((1 << 80) + 1)], [F(1, 3)])
    assert [huge.value(0, 0, k) for k in range(3)] == [F(q * ((1 << 80) + 1), 1 << 70) + F(1, 3) for q in (1, -3, 5)]
    assert exact.rounded_quotient(n, 1 << 70, 1 << 71).tolist() == [[[0, -2, 2]]]
    assert exact.rounded_quotient(n * 3, 1, 2).tolist() == [[[2, -4, 8]]]


def test_common_units() -> None:
    assert exact.common((F(1, 6), F(1, 4))) == F(1, 12)
    assert exact.common((F(0), F(5, 7))) == F(5, 7)
    assert exact.common((F(0),)) == 1


def test_every_operator_of_the_package_has_its_own_here() -> None:
    from tests.fuzz.under_test import RULES as rules

    assert set(rules) <= set(OPERATIONS)
