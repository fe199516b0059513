"""Brevitas, qonnx and finn-base against the golden model, tensor by tensor, on random networks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.quant.read import referee
from hwseg.quant.read.load import load, load_with_origins
from hwseg.quant.read.onnx_file import read
from hwseg.quant.train.executor import run_brevitas
from tests.quant import models

pytest.importorskip("qonnx")


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 16))])
def test_power_of_two_networks_are_equal_in_every_tensor(seed: int, tmp_path: Path) -> None:
    recipe = models.draw(seed)
    model = models.build(recipe)
    path = models.export(model, recipe, tmp_path / "net.onnx")
    graph = load(path)
    q = models.random_image(graph, seed)
    assert np.unique(golden.run(graph, q).tensors[graph.nodes[-1].output]).size > 1, "says nothing about equality"
    for name, run in (("qonnx", referee.run_qonnx), ("brevitas", run_brevitas(model))):
        verdict = referee.compare(path, q, name, run)
        assert verdict.exact
        assert [row for row in verdict.tensors if row.different] == []
        assert verdict.activations > 0
        assert verdict.agrees


@pytest.mark.parametrize("seed", range(6))
def test_bilinear_networks_are_equal_in_every_tensor(seed: int, tmp_path: Path) -> None:
    recipe = models.draw(seed, upsampling="bilinear")
    model = models.build(recipe)
    path = models.export(model, recipe, tmp_path / "net.onnx")
    q = models.random_image(load(path), seed)
    for name, run in (("qonnx", referee.run_qonnx), ("brevitas", run_brevitas(model))):
        verdict = referee.compare(path, q, name, run)
        assert verdict.exact
        assert [row for row in verdict.tensors if row.different] == []


def test_every_tensor_of_the_file_is_compared(tmp_path: Path) -> None:
    path = models.random_unet(5, tmp_path)
    graph = load(path)
    verdict = referee.compare(path, models.random_image(graph), "qonnx", referee.run_qonnx)
    compared = {row.tensor for row in verdict.tensors}
    file = read(path)
    computed = {node.outputs[0] for node in file.nodes if node.input(0) not in file.constants}
    assert compared == computed
    assert {row.kind for row in verdict.tensors} >= {"activation", "accumulator"}


FLOAT = [
    {"scales": "float", "norm": "merged"},
    {"scales": "float_channel", "norm": "none", "bias": "float"},
    {"scales": "float", "norm": "kept", "bias": "float"},
    {"scales": "power", "norm": "kept"},
]


@pytest.mark.parametrize("choice", range(len(FLOAT)))
def test_float_scales_differ_only_next_to_a_tie(choice: int, tmp_path: Path) -> None:
    recipe = models.draw(20 + choice, **FLOAT[choice], height=32, width=40, depth=1, widths=(7, 9))
    model = models.build(recipe)
    path = models.export(model, recipe, tmp_path / "net.onnx")
    q = models.random_image(load(path), choice)
    for name, run in (("qonnx", referee.run_qonnx), ("brevitas", run_brevitas(model))):
        verdict = referee.compare(path, q, name, run)
        assert not verdict.exact
        assert verdict.agrees
        assert verdict.own <= verdict.activations // 1000
        assert verdict.tie < referee.TIE


def test_finn_base_agrees(tmp_path: Path) -> None:
    finn = pytest.importorskip("hwseg.quant.read.finn")
    for seed in range(6):
        path = models.random_unet(seed, tmp_path, final="none")
        q = models.random_image(load(path), seed)
        try:
            verdict = referee.compare(path, q, "finn", finn.run_finn)
        except HwsegError as error:
            if "needs finn-base" in str(error):
                pytest.skip(str(error))
            raise
        assert verdict.exact
        assert verdict.agrees


def changed(tmp_path: Path, by: float) -> referee.Verdict:
    """The verdict where the executor's activations of one layer are changed in one element."""
    path = models.random_unet(1, tmp_path, scales="float", height=16, width=16)
    graph, origins = load_with_origins(path)
    q = models.random_image(graph)
    context = dict(referee.run_qonnx(path, models.floats(graph, q)))
    node = next(node for node in graph.nodes if len(graph.types[node.output].scale) == 1 and node.weights is None)
    array = context[node.output].copy()
    value = array[0, 0, 3, 4]
    array[0, 0, 3, 4] = value + by * float(graph.types[node.output].scale[0]) * (-1 if value > 0 else 1)
    return referee.judge(graph, origins, q, "changed", {**context, node.output: array})


def test_a_wrong_activation_far_from_a_tie_is_found(tmp_path: Path) -> None:
    assert changed(tmp_path, 0).agrees
    verdict = changed(tmp_path, 2)
    assert verdict.different >= 1
    assert verdict.own >= 1
    assert not verdict.agrees


def test_a_difference_in_an_exact_network_is_not_excused(tmp_path: Path) -> None:
    path = models.random_unet(1, tmp_path)
    graph, origins = load_with_origins(path)
    q = models.random_image(graph)
    context = dict(referee.run_qonnx(path, models.floats(graph, q)))
    conv = next(node for node in graph.nodes if node.weights is not None)
    context[conv.output] = context[conv.output] + np.float32(graph.types[conv.output].scale[0] / 4)
    verdict = referee.judge(graph, origins, q, "changed", context)
    assert not verdict.agrees


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    path = models.random_unet(1, tmp_path, depth=1, widths=(3, 4), residual=False)
    other = models.build(models.draw(1, depth=1, widths=(3, 4), residual=True))
    q = models.random_image(load(path))
    with pytest.raises(HwsegError, match="use the checkpoint that the model was exported from"):
        referee.compare(path, q, "brevitas", run_brevitas(other))


def test_weights_are_those_of_brevitas(tmp_path: Path) -> None:
    recipe = models.draw(3, scales="float_channel", bits=(2, 5, 8))
    model = models.build(recipe)
    graph = load(models.export(model, recipe, tmp_path / "net.onnx"))
    layers = [m for m in model.modules() if hasattr(m, "quant_weight")]
    convs = [node for node in graph.nodes if node.weights is not None]
    assert len(layers) == len(convs)
    by_shape = sorted(convs, key=lambda n: (n.weights.shape, n.weights.tobytes()))  # type: ignore[union-attr]
    integers = []
    for layer in layers:
        with torch.no_grad():
            w = layer.quant_weight().int().numpy().astype(np.int8)
        integers.append(w.swapaxes(0, 1) if "Transpose" in type(layer).__name__ else w)
    for node, w in zip(by_shape, sorted(integers, key=lambda w: (w.shape, w.tobytes())), strict=True):
        np.testing.assert_array_equal(node.weights, w)
    assert all(isinstance(s, Fraction) for s in graph.types[convs[0].output].scale)
