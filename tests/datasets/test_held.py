"""Arrays that are kept: as they were, in memory up to the limit, and beyond it in a file of which nothing is left."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from hwseg.datasets import pairs
from hwseg.datasets.held import Held
from hwseg.datasets.pairs import Pair
from hwseg.errors import HwsegError
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import NAMES, Meaning


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_numbers_stay_as_they_were(kind: type, limit: int, tmp_path: Path) -> None:
    held = Held(limit, tmp_path)
    array = np.arange(240).reshape(6, 10, 4)[:, ::2].astype(kind)
    kept = held.hold(array)
    assert kept.dtype == array.dtype
    assert (kept == array).all()
    assert not kept.flags.writeable
    assert list(tmp_path.iterdir()) == []
    assert held.used == (array.nbytes if limit else 0)


def test_what_is_let_go_frees_its_place(tmp_path: Path) -> None:
    held = Held(1000, tmp_path)
    first = held.hold(np.zeros(900, np.uint8))
    second = held.hold(np.ones(900, np.uint8))
    assert (held.used, int(second.sum())) == (900, 900)
    del first
    gc.collect()
    assert held.used == 0
    held.hold(np.zeros(0, np.uint8))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match="gone: must exist; set TMPDIR to a folder with room"):
        Held(0, tmp_path / "gone").hold(np.zeros(9, np.uint8))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_has_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: open("/dev/full", "wb+"))  # noqa: SIM115
    with pytest.raises(HwsegError, match="the disk is full; set TMPDIR to a folder with room for all pictures"):
        Held(0, tmp_path).hold(np.zeros(1 << 20, np.uint8))


@pytest.mark.parametrize("size", [None, (40, 30)])
@pytest.mark.parametrize("meaning", [NAMES["unit"], Meaning("percentile 1 99"), Meaning("range 0 1")])
def test_crops_are_the_same_from_memory_and_from_a_file(
    size: tuple[int, int] | None, meaning: Meaning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures larger than the memory that is given to them are looked at through a mapped file."""
    rng = np.random.default_rng(0)
    kind = np.float32 if meaning.values == "range 0 1" else np.uint8
    pixels = (rng.random((300, 200)) if kind == np.float32 else rng.integers(0, 256, (300, 200))).astype(kind)
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "m.npy", (rng.random((300, 200)) > 0.5).astype(np.uint8))
    found = []
    for limit in (1 << 30, 0):
        monkeypatch.setattr(pairs, "MEMORY", Held(limit, tmp_path))
        pair = Pair(tmp_path / "a.npy", tmp_path / "m.npy", 1, Labels())
        prepared, classes = pair.prepared(meaning, size)
        assert pairs.MEMORY.used == 0 or limit
        found.append((prepared.values()[10:30, 5:20], classes[10:30, 5:20], prepared.span))
    (x, y, span), (other_x, other_y, other_span) = found
    assert (x == other_x).all()
    assert (y == other_y).all()
    assert span == other_span
