"""Measures from counts, against torchmetrics and SciPy on single pixels, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from scipy.stats import spearmanr  # noqa: E402
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error  # noqa: E402

from hwseg.trust.fitting import measures  # noqa: E402
from hwseg.trust.fitting.measures import PROBABILITY  # noqa: E402


def drawn(seed: int, pixels: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, whether they are wrong, and their counts."""
    random = np.random.default_rng(seed)
    confidence = np.clip(random.gamma(2, 20, pixels), 0, 255).astype(np.uint8)
    wrong = random.random(pixels) < 1.3 * (1 - PROBABILITY[confidence])
    counts = np.bincount(2 * confidence.astype(int) + wrong, minlength=512).reshape(256, 2)
    return confidence, wrong, counts


@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_the_libraries(seed: int) -> None:
    confidence, wrong, counts = drawn(seed)
    sure, right = torch.from_numpy(PROBABILITY[confidence]), torch.from_numpy((~wrong).astype(np.int64))
    wanted = binary_calibration_error(sure, right, n_bins=measures.BINS, norm="l1")
    assert measures.calibration_error(counts) == pytest.approx(float(wanted), abs=1e-6)
    doubt = torch.from_numpy(255.0 - confidence) / 255
    assert measures.auroc(counts) == pytest.approx(float(binary_auroc(doubt, 1 - right)), abs=1e-6)
    values, dice = confidence[:40].astype(float), PROBABILITY[confidence[::-1][:40]]
    assert measures.rank_correlation(values, dice) == pytest.approx(spearmanr(values, -dice).statistic)
    assert measures.ranking(values, wrong[:40]) == pytest.approx(float(binary_auroc(
        torch.from_numpy(values / 255), torch.from_numpy(wrong[:40].astype(np.int64)))), abs=1e-6)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_deferral_takes_the_least_sure_first(seed: int) -> None:
    confidence, wrong, counts = drawn(seed)
    for bound in (0, 1, 17, 60, int(confidence.max())):
        kept = confidence >= bound
        assert measures.deferred(counts, bound) == pytest.approx(1 - kept.mean())
        assert measures.remaining(counts, bound) == pytest.approx(wrong[kept].mean())
        share = measures.deferred(counts, bound)
        assert measures.removed_by(counts, bound) == pytest.approx(wrong[~kept].sum() / wrong.sum())
        assert measures.removed(counts, share) == pytest.approx(measures.removed_by(counts, bound))
    coverage, risk = measures.risk_coverage(counts)
    for bound in (int(confidence.max()), 60, 1):
        place = int(np.argmin(np.abs(coverage - (confidence >= bound).mean())))
        assert risk[place] == pytest.approx(wrong[confidence >= bound].mean())
    assert risk[-1] == pytest.approx(measures.error(counts))
    assert 0 < measures.area(counts) < measures.error(counts)


def test_by_hand() -> None:
    counts = np.zeros((256, 2), np.int64)
    counts[0], counts[255] = (5, 5), (90, 0)
    assert measures.error(counts) == 0.05
    assert measures.calibration_error(counts) == pytest.approx(0, abs=1e-6)
    assert measures.removed(counts, 0.05) == 0.5
    assert measures.removed(counts, 0.12) == 1
    assert measures.auroc(counts) == pytest.approx((90 + 5 / 2) / 95)
    perfect = np.zeros((256, 2), np.int64)
    perfect[255, 0] = 7
    assert measures.removed(perfect, 0.1) == 1
    assert np.isnan(measures.auroc(perfect))
    assert str(measures.figure(measures.auroc, [perfect, perfect])) == "-"
    assert measures.figure(measures.auroc, [perfect, perfect]).json() == {"value": None, "low": None, "high": None}


def test_intervals_hold_what_they_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sets drawn alike, about 95 in 100 have the truth inside."""
    monkeypatch.setattr(measures, "RESAMPLES", 200)
    hits = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        rates = random.uniform(0, 0.2, 30)
        pictures = []
        for rate in rates:
            counts = np.zeros((256, 2), np.int64)
            wrong = random.binomial(500, rate)
            counts[100] = 500 - wrong, wrong
            pictures.append(counts)
        found = measures.figure(measures.error, pictures, seed)
        assert found.value == pytest.approx(sum(c[100, 1] for c in pictures) / (500 * 30))
        hits += found.low <= 0.1 <= found.high
    assert 50 <= hits <= 60


def test_one_order_is_1_and_constants_are_none() -> None:
    dice = np.array([0.9, 0.8, 0.5])
    assert measures.rank_correlation(np.array([0.1, 0.2, 0.3]), dice) == pytest.approx(1)
    assert np.isnan(measures.rank_correlation(np.ones(3), dice))
    assert measures.ranking(np.array([3.0, 2.0, 1.0]), np.array([True, False, False])) == 1
    assert np.isnan(measures.ranking(np.ones(3), np.zeros(3, bool)))
