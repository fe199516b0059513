"""One number for a picture: each score against its definition, pixel by pixel, and what none of them may do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from hwseg.trust.regions import largest_area
from hwseg.trust.scores import BAND, SCORES, WEIGHT, WORDS, Doubtful


def picture(seed: int, shape: tuple[int, int] = (24, 40)) -> Doubtful:
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(0, 1, shape), 2) * 60
    confidence = np.clip(np.abs(smooth) * 20, 0, 255).astype(np.uint8)
    return Doubtful.of(confidence, (smooth > 0).astype(np.uint8), 60)


def probability(byte: int) -> float:
    return round(65536 / (1 + math.exp(byte / 16))) / 65536


def near(mask: np.ndarray) -> np.ndarray:
    found = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(mask.shape):
        for step in range(-BAND, BAND + 1):
            for v, u in ((y + step, x), (y, x + step)):
                inside = 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1]
                found[y, x] |= inside and mask[v, u] != mask[y, x]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_each_score_is_what_it_says(seed: int) -> None:
    one = picture(seed)
    doubt = np.vectorize(probability)(one.confidence)
    band, size = near(one.mask), one.mask.size
    weights = 1 + (WEIGHT - 1) * band
    hit = (1 - doubt)[one.mask > 0].sum()
    expected = 2 * hit / (one.mask.sum() + hit + doubt[one.mask == 0].sum())
    deep = ndimage.binary_erosion(one.deferred, np.ones((3, 3)))
    labelled, count = ndimage.label(deep)
    side = min(one.mask.shape) // 16
    blocks = {  # the shorter side is 24: patches of 2 x 2 pixels, each a pixel further
        (y, x): doubt[y : y + 2 * side, x : x + 2 * side].mean()
        for y in range(0, one.mask.shape[0] - side, side)
        for x in range(0, one.mask.shape[1] - side, side)
    }
    wanted = {
        "mean": doubt.mean(),
        "patch": max(blocks.values()),
        "outline": (doubt * weights).sum() / weights.sum(),
        "apart": doubt[~band].sum() / size,
        "share": (one.confidence < 60).mean(),
        "area": max(np.bincount(labelled.ravel())[1:], default=0) / size,
        "overlap": 1 - expected,
    }
    assert count > 0
    assert SCORES.keys() == wanted.keys() == WORDS.keys()
    assert {name: score(one) for name, score in SCORES.items()} == pytest.approx(wanted)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 50), (50, 7), (33, 65)])
def test_scores_lie_from_0_to_1_and_no_doubt_is_0(name: str, shape: tuple[int, int]) -> None:
    for fill in (0, 1):
        mask = np.full(shape, fill, np.uint8)
        assert SCORES[name](Doubtful.of(np.full(shape, 255, np.uint8), mask, 255)) == 0
        assert 0 <= SCORES[name](Doubtful.of(np.zeros(shape, np.uint8), mask, 255)) <= 1
    assert 0 <= SCORES[name](picture(1, shape)) <= 1


def test_a_patch_sees_the_whole_picture() -> None:
    """Wherever the doubt is, the last rows and columns included, a patch holds it."""
    for y, x in ((0, 0), (0, 36), (34, 0), (34, 36), (17, 20)):
        confidence = np.full((35, 37), 255, np.uint8)
        confidence[y, x] = 0
        assert SCORES["patch"](Doubtful.of(confidence, np.zeros((35, 37), np.uint8), 10)) >= 0.5 / 16


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (17, 23), (64, 64)])
def test_the_largest_area_is_scipys(shape: tuple[int, int], density: float) -> None:
    for seed in range(20):
        region = np.random.default_rng(seed).random(shape) < density
        labelled, _ = ndimage.label(region)
        assert largest_area(region) == max(np.bincount(labelled.ravel())[1:], default=0)


def test_areas_that_wind_are_one() -> None:
    """A spiral: labels must travel along all of it."""
    spiral = np.zeros((41, 41), bool)
    y = x = 0
    steps, turn, length = [(0, 1), (1, 0), (0, -1), (-1, 0)], 0, 40
    spiral[0, 0] = True
    while length > 0:
        for _ in range(length):
            y, x = y + steps[turn % 4][0], x + steps[turn % 4][1]
            spiral[y, x] = True
        turn += 1
        length -= 2 * (turn > 2 and turn % 2)
    assert ndimage.label(spiral)[1] == 1
    assert largest_area(spiral) == spiral.sum()
    assert largest_area(~spiral) == np.bincount(ndimage.label(~spiral)[0].ravel())[1:].max()
