"""The driver on every backend: a fake, the simulated packaged hardware, and (marker `board`) a real one."""

from __future__ import annotations

import numpy as np
import pytest

from hwseg.errors import HwsegError


def test_masks_are_those_of_the_golden_model_for_every_model_of_one_bitstream(accelerator, expected):
    for name in accelerator.package.models:
        pixels, sums, masks = expected[name]
        result = accelerator.segment(pixels[0], name)
        assert (result.sums == sums[0]).all()
        assert (result.mask == masks[0]).all()
        assert result.mask.dtype == np.uint8
        assert result.cycles > 0


def test_a_batch_gives_the_masks_in_order(accelerator, expected):
    name = accelerator.package.models[1]
    pixels, sums, _ = expected[name]
    results = accelerator.batch(pixels, name)
    assert [(result.sums == s).all() for result, s in zip(results, sums, strict=True)] == [True] * len(sums)


def test_a_run_goes_on_while_the_caller_does_something_else(accelerator, expected):
    pixels, sums, _ = expected[accelerator.package.models[0]]
    run = accelerator.start(pixels[2])
    with pytest.raises(
        HwsegError, match=r"accelerator: must not be busy with another picture; wait for its mask first"
    ):
        accelerator.start(pixels[1])
    first = run.wait()
    assert run.done
    assert run.wait() is first
    assert (first.sums == sums[2]).all()


def test_results_outlive_the_next_run(accelerator, expected):
    pixels, sums, _ = expected[accelerator.package.models[0]]
    first = accelerator.segment(pixels[0])
    accelerator.segment(pixels[1])
    assert (first.sums == sums[0]).all()


def test_logits_are_the_heads_numbers(accelerator, expected):
    name = accelerator.package.models[0]
    pixels, sums, masks = expected[name]
    result = accelerator.segment(pixels[0], name)
    head = result.model.head
    assert result.logits.shape == sums[0].shape
    assert np.allclose(result.logits, sums[0] * np.array(head.scale) + np.array(head.offset))
    if sums[0].shape[2] == 1 and head.activation in ("sigmoid", "none"):
        assert ((result.logits[:, :, 0] > 0) == masks[0]).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p[:0], r"image: must be \[H, W\] or \[H, W, C\] with at most 8 channels, is "),
        (lambda p: p[..., None], r"must be \[H, W\] or \[H, W, C\] with at most 8 channels, is .*; give one picture"),
        (lambda p: p.astype(np.float32), r"must have 8 bits per channel.*, has float32 values; convert it"),
        (lambda p: p.astype(np.int16), r"must have 8 bits per channel.*, has 16 bits; convert it"),
    ],
)
def test_an_image_of_another_size_or_type_is_refused(accelerator, expected, change, sentence):
    pixels, sums, _ = expected[accelerator.package.models[0]]
    with pytest.raises(HwsegError, match=sentence):
        accelerator.segment(change(pixels[0]))
    assert (accelerator.segment(pixels[0]).sums == sums[0]).all()


def test_a_model_that_the_package_does_not_hold_is_refused(accelerator):
    with pytest.raises(HwsegError, match=r"model 'other': must be one of this package; use "):
        accelerator.load("other")
    with pytest.raises(HwsegError, match=r"model '\w+-3planes': must be one of this package; use "):
        accelerator.load(planes=3)
