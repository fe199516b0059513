"""From pixel to integer: exact against fractions, the same resize as Pillow, older files bit for bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hwseg.errors import HwsegError
from hwseg.pictures.fit import fitted, nearest, resize
from hwseg.pictures.meaning import DEFAULT, NAMES, PIXEL, Meaning, declared, older, parse, phrase
from hwseg.pictures.prepare import Prepared, prepare
from hwseg.pictures.raster import raster
from hwseg.pictures.table import BYTE, Quantizer, Span, normalize, spanned, table, values

SIGNED = Quantizer(Fraction(1, 32), -128, 127)


def half_even(x: Fraction) -> int:
    return round(x)


def expected(span: Span, mean: Fraction, deviation: Fraction, quantizer: Quantizer, pixel: int) -> int:
    """The definition, in fractions."""
    t = min(max((pixel - span.low) / (span.high - span.low), Fraction(0)), Fraction(1))
    return min(max(half_even((t - mean) / deviation / quantizer.scale), quantizer.low), quantizer.high)


numbers = st.fractions(min_value=-500, max_value=500, max_denominator=1000)


@settings(max_examples=150, deadline=None)
@given(
    numbers,
    st.fractions(Fraction(1, 50), 70_000, max_denominator=999),
    numbers,
    st.fractions(Fraction(1, 1000), 300, max_denominator=1000),
    st.sampled_from([BYTE, SIGNED, Quantizer(Fraction(3, 7), 0, 15)]),
    st.sampled_from([256, 65536]),
    st.randoms(),
)
def test_the_table_is_the_exact_rational(
    low: Fraction,
    width: Fraction,
    mean: Fraction,
    deviation: Fraction,
    quantizer: Quantizer,
    levels: int,
    random: object,
) -> None:
    span = Span(low, low + width, levels)
    meaning = replace(PIXEL, mean=(f"{float(mean):.4f}",), deviation=(f"{max(float(deviation), 1e-3):.4f}",))
    found = table(span, meaning, quantizer)[0]
    m, d = Fraction(meaning.mean[0]), Fraction(meaning.deviation[0])
    for pixel in [0, 1, levels - 1, *(random.randrange(levels) for _ in range(20))]:  # type: ignore[attr-defined]
        assert found[pixel] == expected(span, m, d, quantizer, pixel)


@pytest.mark.parametrize("name", ["unit", "pixel/256", "imagenet", "unit16"])
def test_every_entry_of_the_named_tables(name: str) -> None:
    meaning = NAMES[name]
    channels = max(1, len(meaning.mean))
    picture = raster(np.zeros((2, 2, channels), np.uint16 if meaning.bits == 16 else np.uint8))
    _, span = spanned(picture, meaning)
    found = np.atleast_2d(table(span, meaning, SIGNED if meaning.mean else BYTE))
    step = 1 if span.levels == 256 else 97
    for c in range(channels):
        m, d = (Fraction(t[c]) if t else default for t, default in ((meaning.mean, 0), (meaning.deviation, 1)))
        for pixel in range(0, span.levels, step):
            assert found[c, pixel] == expected(span, Fraction(m), Fraction(d), SIGNED if meaning.mean else BYTE, pixel)


def test_other_conventions_than_pixel_256_give_other_integers() -> None:
    """What was silently taken for pixel / 256: as many pixels differ as do the conventions."""
    pixels = np.arange(256, dtype=np.uint8)[None, :, None]
    unit, today = (prepare(raster(pixels), m, 1).integers(BYTE) for m in (NAMES["unit"], PIXEL))
    assert (today[0, :, 0] == pixels[0, :, 0]).all()
    assert int((unit != today).sum()) == 127  # above the middle, one step brighter; 255 is clamped
    assert unit.max() == 255


@settings(max_examples=200, deadline=None)
@given(*[st.integers(1, 70)] * 4, st.integers(0, 1 << 30))
def test_resize_is_pillows_box(h: int, w: int, new_h: int, new_w: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w), np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).resize((new_w, new_h), Image.Resampling.BOX))
    np.testing.assert_array_equal(resize(pixels, (new_h, new_w)), pillow)


@pytest.mark.parametrize("sizes", [(520, 696, 256, 256), (3000, 4000, 512, 512), (7, 3000, 64, 31), (1, 1, 9, 9)])
def test_large_resizes_are_pillows_too(sizes: tuple[int, int, int, int]) -> None:
    h, w, new_h, new_w = sizes
    pixels = np.random.default_rng(1).integers(0, 256, (h, w), np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).resize((new_w, new_h), Image.Resampling.BOX))
    np.testing.assert_array_equal(resize(pixels, (new_h, new_w)), pillow)


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 40)] * 4, st.integers(0, 1 << 30))
def test_resize_of_sixteen_bits_is_the_rounded_mean(h: int, w: int, new_h: int, new_w: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 65536, (h, w, 2)).astype(np.uint16)
    found = resize(pixels, (new_h, new_w))
    assert found.shape == (new_h, new_w, 2)
    assert found.dtype == np.uint16
    if h % new_h == 0 and w % new_w == 0:
        mean = pixels.reshape(new_h, h // new_h, new_w, w // new_w, 2).astype(float).mean(axis=(1, 3))
        assert np.abs(found - mean).max() <= 1
    full = np.full((h, w), 65535, np.uint16)
    assert (resize(full, (new_h, new_w)) == 65535).all()


def test_nearest_keeps_classes_and_goes_back() -> None:
    classes = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    assert (nearest(nearest(classes, (15, 21)), (5, 7)) == classes).all()
    assert set(np.unique(nearest(classes, (3, 90)))) <= set(np.unique(classes))


def test_crops_are_middles_and_other_sizes_are_refused() -> None:
    pixels = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16, 1)
    assert (fitted(pixels, (6, 8), "crop", "p") == pixels[3:9, 4:12]).all()
    with pytest.raises(HwsegError, match="p: must be 8 wide and 6 high, is 16 by 12; use --fit crop or --fit resize"):
        fitted(pixels, (6, 8), "", "p")


def nearest_rank(pixels: np.ndarray, percent: str) -> int:
    ordered = np.sort(pixels, axis=None)
    return int(ordered[max(1, ceil(Fraction(percent) * pixels.size / 100)) - 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_percentiles_are_nearest_ranks_of_the_whole_picture(dtype: type) -> None:
    pixels = np.random.default_rng(5).normal(80, 20, (40, 31, 3)).clip(0, 255).astype(dtype)
    pixels = pixels * dtype(1 if dtype is np.uint8 else 200)
    _, span = spanned(raster(pixels), Meaning("percentile 2 97.5"))
    assert (span.low, span.high) == (nearest_rank(pixels, "2"), nearest_rank(pixels, "97.5"))
    whole = prepare(raster(pixels), Meaning("percentile 2 97.5"), 3)
    crop = prepare(raster(pixels), Meaning("percentile 2 97.5"), 3, (10, 10), "crop")
    assert (crop.integers(BYTE) == fitted(whole.integers(BYTE), (10, 10), "crop", "p")).all()


def test_depth_does_not_matter_to_percentiles() -> None:
    pixels = np.random.default_rng(5).integers(3, 200, (20, 20), np.uint8)
    wide = pixels.astype(np.uint16) * 257

    def prepared(array: np.ndarray) -> Prepared:
        return prepare(raster(array), Meaning(DEFAULT), 1)

    assert (prepared(pixels).integers(BYTE) == prepared(wide).integers(BYTE)).all()
    real = pixels.astype(np.float32) / 7 - 3
    assert np.abs(prepared(real).values() - prepared(pixels).values()).max() < 2e-5


def test_a_flat_picture_is_dark_in_every_depth() -> None:
    for dtype in (np.uint8, np.uint16, np.int16, np.float32, np.int32):
        assert not prepare(raster(np.full((4, 4), 90, dtype)), Meaning(DEFAULT), 1).integers(BYTE).any()


def test_signed_and_rescaled_values_have_windows_of_their_own() -> None:
    """Hounsfield units as int16: the table is exact at the ends of DICOM's linear window."""
    values_ = np.array([[-1024, -161, -160, 40, 239, 240, 3000]], np.int16)
    prepared = prepare(raster(values_), Meaning("window 40 400"), 1)
    low, high = Fraction(79, 2) - Fraction(399, 2), Fraction(79, 2) + Fraction(399, 2)
    wanted = [
        half_even(min(max((Fraction(int(v)) - low) / (high - low), Fraction(0)), Fraction(1)) * 256) for v in values_[0]
    ]
    assert prepared.integers(BYTE)[0, :, 0].tolist() == [min(w, 255) for w in wanted]
    same = prepare(raster(values_.astype(np.float64)), Meaning("window 40 400"), 1).integers(BYTE)
    assert np.abs(same.astype(int) - prepared.integers(BYTE)).max() <= 1


def test_wide_values_become_sixteen_bits_by_the_written_rule() -> None:
    real = np.array([[-0.5, 0.0, 0.25, 1.0, 9.0]], np.float64)
    narrow, span = spanned(raster(real), Meaning("range 0 1"))
    assert narrow.pixels[0, :, 0].tolist() == [0, 0, int(65535 * 0.25 + 0.5), 65535, 65535]
    assert values(span)[65535] == 1


@pytest.mark.parametrize("spec", ["none", "percentile 0.5 99.5", "percentile 10 90"])
def test_older_files_keep_their_order(spec: str) -> None:
    """8 bits first, then scaled, then p / 256: written out here as it was."""
    pixels = np.random.default_rng(2).integers(10, 140, (30, 40, 1), np.uint8)
    low, high = (0, 255) if spec == "none" else (nearest_rank(pixels, p) for p in spec.split()[1:])
    eight = np.clip(pixels.astype(int), low, high) - low
    eight = (pixels if spec == "none" else (510 * eight + high - low) // (2 * (high - low))).astype(np.uint8)
    assert (normalize(pixels, spec) == eight).all()
    scaled = np.asarray(Image.fromarray(eight[:, :, 0]).resize((16, 16), Image.Resampling.BOX))
    found = prepare(raster(pixels), older(spec, "resize"), 1, (16, 16), "resize").integers(BYTE)
    assert (found[:, :, 0] == scaled).all()


@pytest.mark.parametrize(
    "meaning",
    [
        *NAMES.values(),
        Meaning("percentile 1 99.5", fit="resize"),
        Meaning("window -600.5 1500", 12, extend="zero"),
        Meaning("range 0 1e4", 32),
    ],
)
def test_a_meaning_is_read_back(meaning: Meaning) -> None:
    assert parse(meaning.text()) == meaning
    assert declared(meaning.metadata(), "m") == meaning


def test_an_older_meaning_is_what_the_file_said() -> None:
    metadata = {"hwseg.normalize": "percentile 1 99", "hwseg.fit": "resize"}
    found = declared(metadata, "m")
    assert found is not None
    assert found.metadata() == metadata
    assert declared({}, "m") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a table with keys of"),
        ('{"values": "unit", "gamma": 2}', "has the unknown key 'gamma'"),
        ('{"format": 2}', "must have format 1, has 2"),
        ('{"values": 5}', "values must be a text, not 5"),
        ('{"bits": 17}', "bits must be from 1 to 16"),
        ('{"bits": true}', "bits must be from 1 to 16"),
        ('{"values": "range 5 5"}', "a range must rise"),
        ('{"values": "range 0 1e999999999"}', "must be \"unit\""),
        ('{"values": "range 0 nan"}', "must be \"unit\""),
        ('{"values": "window 40 1"}', "the width of a window must be above 1"),
        ('{"values": "percentile 50 101"}', "percentiles must rise from 0 to 100"),
        ('{"mean": [0.5]}', "must have a deviation for each mean"),
        ('{"mean": [0.5], "deviation": [0]}', "deviations must be above 0"),
        ('{"mean": [0.5], "deviation": ["x"]}', "deviation must be numbers, not 'x'"),
        ('{"fit": "stretch"}', 'fit must be "resize" or ""'),
        ('{"extend": "mirror"}', "extend must be edge or zero"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(HwsegError) as caught:
        parse(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("spec", ["", "percentile", "percentile 5", "percentile 9 3", "percentile a 3", "minmax 0 1"])
def test_unknown_phrases_are_refused(spec: str) -> None:
    with pytest.raises(HwsegError, match="normalization: "):
        phrase(spec, "here")


@pytest.mark.parametrize(
    ("array", "meaning", "sentence"),
    [
        (np.zeros((2, 2), np.uint16), Meaning("unit", 8), "must have 8 bits per channel"),
        (np.zeros((2, 2), np.uint8), Meaning("unit", 16), "must have 16 bits per channel"),
        (np.zeros((2, 2), np.float32), Meaning("unit"), "of which nobody knows what is dark and what is bright"),
        (np.full((2, 2), np.nan), Meaning("range 0 1"), "must hold finite numbers, holds NaN"),
        (np.zeros((2, 2), np.complex64), Meaning("range 0 1"), "must hold numbers, holds complex64"),
        (np.zeros((2, 2, 9), np.uint8), Meaning("unit"), "at most 8 channels"),
        (np.zeros((0, 2), np.uint8), Meaning("unit"), "at most 8 channels"),
        (np.zeros((2, 2), np.uint8), Meaning("window"), "names no window of its own"),
        (np.array([[-1.7e308, 1.7e308]]), Meaning("percentile 0 100"), "too far for float64"),
    ],
)
def test_pictures_that_are_not_what_was_declared(array: np.ndarray, meaning: Meaning, sentence: str) -> None:
    with pytest.raises(HwsegError) as caught:
        prepare(raster(array), meaning, 1)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("values", "bits", "accepted"),
    [
        ("unit", 12, {12}),
        ("window 40 400", 12, {9, 12, 16, 32}),
        ("range 0 255", 8, {1, 8}),
        ("range 0 4095", 0, {1, 8, 12, 16, 32}),
        ("percentile 1 99", 0, {1, 8, 12, 16, 32}),
    ],
)
def test_depths_that_a_meaning_takes(values: str, bits: int, accepted: set[int]) -> None:
    """Scanners store 12 or 16 bits of the same units; an 8-bit copy has other values."""
    assert {n for n in (1, 8, 9, 12, 16, 32) if Meaning(values, bits).accepts(n)} >= accepted
    assert not {n for n in (1, 8, 12, 16, 32) if Meaning(values, bits).accepts(n)} - accepted


def test_channels_are_made_or_refused() -> None:
    colour = np.random.default_rng(0).integers(0, 65536, (3, 3, 3)).astype(np.uint16)
    grey = raster(colour).channels(1).pixels[:, :, 0]
    assert (grey == (colour.astype(object) @ [19595, 38470, 7471] + (1 << 15)) // 65536).all()
    assert (raster(grey).channels(3).pixels == grey[:, :, None]).all()
    with pytest.raises(HwsegError, match="must have 2 channels, has 3"):
        raster(colour).channels(2)
    with pytest.raises(HwsegError, match="must have a mean for each of 1 channels, has 3"):
        prepare(raster(grey), NAMES["imagenet"], 1)
