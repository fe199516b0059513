"""The accuracy dial: golden model, definition and PyTorch agree in every integer, at every number of planes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwseg import golden
from hwseg.golden.dial import rounded
from hwseg.ir import Node
from hwseg.ops import Add, Requantize


@pytest.mark.parametrize("drop", [0, 1, 4, 5])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127), (-127, 127)])
def test_requantization_rounds_once_to_the_planes_that_stay(drop: int, low: int, high: int) -> None:
    op = Requantize((Fraction(3, 64),), (Fraction(5, 8),), low, high)
    node = rounded(Node("n", op, ("x",), "y"), drop)
    acc = np.arange(-8000, 8000, dtype=np.int32).reshape(1, 100, 160)
    found = golden.execute(node, [acc], np.int32) << drop
    ends = -(-low >> drop), high >> drop
    wanted = [
        min(max(round((int(a) * Fraction(3, 64) + Fraction(5, 8)) / 2**drop), ends[0]), ends[1]) * 2**drop
        for a in acc.reshape(-1)
    ]
    assert found.reshape(-1).tolist() == wanted
    assert found.min() >= low
    assert found.max() <= high


def test_additions_round_once_too() -> None:
    op = Add((Fraction(1, 2), Fraction(3, 4)), Fraction(1, 3), 0, 255)
    a, b = (grid.astype(np.uint8).reshape(1, 256, 256) for grid in np.mgrid[:256, :256])
    found = golden.execute(rounded(Node("n", op, ("a", "b"), "y"), 3), [a, b], np.uint8) << 3
    for i, j in ((0, 0), (3, 7), (200, 255), (255, 255), (17, 90)):
        wanted = min(max(round((Fraction(i, 2) + Fraction(3 * j, 4) + Fraction(1, 3)) / 8), 0), 31) * 8
        assert int(found[0, i, j]) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"residual": True},
        {"upsampling": "transposed", "activation_bits": 6},
        {"upsampling": "bilinear"},
        {"activation_bits": 4},
    ],
)
def test_pytorch_and_integers_agree_at_every_number_of_planes(options: dict[str, object], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    from hwseg.quant.networks.layers import calibrate
    from hwseg.quant.networks.unet import QuantUNet, UNetConfig
    from hwseg.quant.read.load import load
    from hwseg.quant.train.dial import Dial
    from hwseg.quant.train.export import export_qonnx

    torch.manual_seed(1)
    model = QuantUNet(UNetConfig(depth=2, width=4, batch_norm=False, **options)).eval()  # type: ignore[arg-type]
    pixels = torch.randint(0, 256, (1, 1, 16, 16))
    calibrate(model, [pixels / 256])
    export_qonnx(model, tmp_path / "m.onnx", (16, 16))
    graph, dial = load(tmp_path / "m.onnx"), Dial(model)
    image = pixels[0].permute(1, 2, 0).numpy().astype(np.uint8)
    results = []
    for planes in (8, 6, 5, 4, 3, 2):
        dial.set(planes)
        found = golden.run(graph, image, planes=planes)
        assert np.array_equal(model(pixels / 256).detach().numpy(), found.output)
        for name, q in found.tensors.items():
            op = graph.producer[name].op if name in graph.producer else None
            if isinstance(op, Requantize | Add):
                assert not (q & ((1 << max(0, graph.types[name].bits - planes)) - 1)).any(), name
        results.append(found.output)
    assert any(not np.array_equal(results[0], r) for r in results[1:])
    one = next(n.output for n in graph.nodes if isinstance(n.op, Requantize))
    single = golden.run(graph, image, planes={one: 2}).tensors
    assert np.array_equal(single[one], golden.run(graph, image, planes=2).tensors[one])
    dial.remove()
    assert np.array_equal(model(pixels / 256).detach().numpy(), results[0])


def test_random_settings_stay_in_range_and_leave_gradients() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    from hwseg.quant.networks.unet import QuantUNet, UNetConfig
    from hwseg.quant.train.dial import Dial

    model = QuantUNet(UNetConfig(depth=1, width=2))
    dial, rng = Dial(model), np.random.default_rng(0)
    assert len(dial.activations) == len({id(m) for m in dial.activations})
    for _ in range(20):
        dial.draw(3, rng)
        assert all(3 <= planes < 8 for planes in dial._planes.values())
    dial.set(2)
    model(torch.rand(1, 1, 8, 8)).sum().backward()
    scales = [p for n, p in model.named_parameters() if n.endswith("scaling_impl.value")]
    assert all(p.grad is not None for p in scales)
