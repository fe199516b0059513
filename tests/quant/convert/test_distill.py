"""Distillation brings masks closer, and one that was stopped ends with the same bits."""

from __future__ import annotations

import signal
from copy import deepcopy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from torch import nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.convert import Converted, convert  # noqa: E402
from hwseg.quant.convert.distill import Distillation, DistillConfig, distance, distill, read_state  # noqa: E402
from hwseg.quant.networks.operations import run  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

PICTURES = nets.pictures(4)


@pytest.fixture(scope="module")
def converted() -> Converted:
    """A network whose normalization was replaced, in 4 bits."""
    module = nets.settled(nets.Small(lambda n: nn.InstanceNorm2d(n, affine=True)))
    return convert(module, PICTURES.split(4), weight_bits=4, activation_bits=4)


def of(converted: Converted, steps: int) -> Distillation:
    config = DistillConfig(steps, batch=2, lr=3e-3)
    return Distillation(deepcopy(converted.quantized), converted.network, PICTURES, config, {"key": "k"})


def test_the_quantized_network_comes_closer_to_the_float_one(converted: Converted) -> None:
    work = of(converted, 20)
    with torch.no_grad():
        wanted = run(converted.network, PICTURES)[converted.network.output]
        before = float(distance(converted.quantized(PICTURES), wanted))
    distill(work)
    with torch.no_grad():
        after = float(distance(work.student(PICTURES), wanted))
    assert after < 0.9 * before
    assert work.features


def test_what_was_stopped_goes_on_with_the_same_bits(converted: Converted, tmp_path: Path) -> None:
    whole, path = of(converted, 6), tmp_path / "d.pt"
    distill(whole)

    def stop(step: int, loss: float) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    first = of(converted, 6)
    with pytest.raises(KeyboardInterrupt):
        distill(first, path, stop)
    again = of(converted, 6)
    again.restore(read_state(path, "k"))
    assert again.step == 3
    distill(again)
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, again.student.state_dict()[name]), name
    with pytest.raises(HwsegError, match="belongs to another network, other pictures or options"):
        read_state(path, "another")


@pytest.mark.parametrize("classes", [1, 3])
def test_the_distance_is_0_of_equal_logits_and_grows(classes: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, classes, 8, 8)
    assert float(distance(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(distance(x + 0.1 * torch.randn_like(x), x)) < float(distance(x + torch.randn_like(x), x))


def test_ctrl_c_in_the_last_step_is_heard(converted: Converted, tmp_path: Path) -> None:
    whole, cut, path = of(converted, 3), of(converted, 3), tmp_path / "d.pt"
    distill(whole)

    def interrupt(step: int, loss: float) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        distill(cut, path, interrupt)
    again = of(converted, 3)
    again.restore(read_state(path, "k"))
    distill(again, path)
    states = whole.student.state_dict(), again.student.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
