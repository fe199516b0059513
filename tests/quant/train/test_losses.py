"""Losses against their definitions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hwseg.quant.train import losses  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402


def square(side: int = 12) -> torch.Tensor:
    wanted = torch.zeros(2, side, side, dtype=torch.long)
    wanted[:, 3:8, 3:8] = 1
    return wanted


@pytest.mark.parametrize("name", ["dice_ce", "poly_dice", "boundary"])
def test_a_loss_is_small_for_the_right_answer_alone(name: str) -> None:
    loss, wanted = losses.from_config(TrainConfig(loss=name)), square()
    right = (wanted * 2 - 1)[:, None] * 20.0
    assert loss(right, wanted) < 1e-3
    assert loss(-right, wanted) > 5
    assert loss(torch.cat([-right, right], dim=1), wanted) < 1e-3


def test_soft_dice_of_probabilities() -> None:
    wanted = square()
    logits = torch.zeros(2, 1, 12, 12)
    assert losses.soft_dice(logits, wanted).item() == pytest.approx((2 * 25 + 1) / (144 + 50 + 1))
    three = torch.zeros(2, 3, 12, 12)
    assert losses.soft_dice(three, wanted).tolist() == pytest.approx([(100 / 3 + 1) / (96 + 50 + 1), 1 / (96 + 1)])


def test_the_polynomial_adds_powers_of_the_dice_loss() -> None:
    wanted = square()
    logits = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    t = 1 - losses.soft_dice(logits, wanted)
    plain = losses.dice_ce(logits, wanted)
    assert losses.poly_dice(logits, wanted, 0.5, 3) == pytest.approx(float(plain + 0.5 * (t**2 + t**3)))
    assert losses.poly_dice(logits, wanted, 0.5, 1) == pytest.approx(float(plain))


def test_edges_are_within_two_pixels_of_another_label() -> None:
    found = losses.edges(square())[0]
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[1:10, 1:10] = True
    inside[5, 5] = False
    assert torch.equal(found, inside)
    assert not losses.edges(torch.ones(1, 8, 8, dtype=torch.long)).any()


def test_the_boundary_loss_weighs_mistakes_at_edges() -> None:
    wanted = square()
    right = (wanted * 2 - 1)[:, None] * 8.0
    near, far = right.clone(), right.clone()
    near[:, :, 2, 5] *= -1
    far[:, :, 11, 11] *= -1
    assert losses.dice_ce(near, wanted) == pytest.approx(float(losses.dice_ce(far, wanted)), rel=1e-4)
    assert losses.boundary(near, wanted, 1.0) > 1.3 * losses.boundary(far, wanted, 1.0)
