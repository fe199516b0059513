"""Data sets in a folder: parts, labels, crops, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from hwseg.datasets import data  # noqa: E402
from hwseg.datasets.pairs import PARTS, Pair, every_class  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.fit import fitted  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.pictures.masks import read_mask  # noqa: E402
from hwseg.pictures.meaning import NAMES, Meaning, older  # noqa: E402
from hwseg.pictures.read import read_one  # noqa: E402
from hwseg.pictures.table import BYTE, normalize  # noqa: E402
from hwseg.quant.train import crops  # noqa: E402
from hwseg.quant.train.tensors import whole  # noqa: E402

PLAIN = NAMES["pixel/256"]


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten grey pictures of 40 x 32; the foreground is where a picture is bright."""
    rng = np.random.default_rng(0)
    for i in range(10):
        pixels = rng.integers(0, 256, (32, 40), dtype=np.uint8)
        write(tmp_path / "images" / f"p{i}.png", pixels)
        write(tmp_path / "masks" / f"p{i}.png", np.where(pixels > 127, 255, 0).astype(np.uint8))
    return tmp_path


def names(parts: dict[str, list[Pair]], part: str) -> set[str]:
    return {pair.image.stem for pair in parts[part]}


def test_a_seeded_split_covers_everything_once(folder: Path) -> None:
    parts = data.load_folder(folder, seed=3)
    assert {part: len(pairs) for part, pairs in parts.items()} == {"train": 6, "val": 2, "test": 2}
    assert set.union(*(names(parts, part) for part in PARTS)) == {f"p{i}" for i in range(10)}
    assert names(parts, "val") == names(data.load_folder(folder, seed=3), "val")
    assert any(names(parts, "val") != names(data.load_folder(folder, seed=s), "val") for s in range(5))


def test_a_split_file_is_followed_and_pictures_can_be_left_out(folder: Path) -> None:
    (folder / "split.json").write_text(json.dumps({"train": ["p0.png", "p1.png"], "val": ["p2.png"], "external": 7}))
    parts = data.load_folder(folder, exclude=["p1.png"])
    assert [names(parts, part) for part in PARTS] == [{"p0"}, {"p2"}, set()]


def test_crops_keep_picture_and_mask_together(folder: Path) -> None:
    pairs = data.load_folder(folder)["train"]
    images, masks = crops.draw(pairs, crops.Crops(16, PLAIN, augment="none"), 1, 0, range(6))
    assert images.shape == (6, 1, 16, 16)
    assert torch.equal((images[:, 0] * 256 > 127).long(), masks)
    turned, turned_masks = crops.draw(pairs, crops.Crops(16, PLAIN), 1, 0, range(32))
    order = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(turned[:, 0], turned_masks, strict=True)]
    assert min(order) > 0.7


def test_mild_augmentation_moves_picture_and_mask_alike(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 30) ** 2 + (columns - 36) ** 2 <= 15**2
    write(tmp_path / "p.png", (disc * 200).astype(np.uint8))
    write(tmp_path / "m.png", (disc * 255).astype(np.uint8))
    pairs = [Pair(tmp_path / "p.png", tmp_path / "m.png", 1, Labels())]
    images, masks = crops.draw(pairs, crops.Crops(64, PLAIN, augment="mild"), 0, 0, range(12))
    differ = [float(((x > x.max() / 2) != (m > 0)).float().mean()) for x, m in zip(images[:, 0], masks, strict=True)]
    assert max(differ) < 0.02
    assert len({int(m.sum()) for m in masks}) > 6


def test_a_crop_depends_on_seed_step_and_number_alone(folder: Path) -> None:
    pairs = data.load_folder(folder)["train"]
    kind = crops.Crops(16, Meaning("percentile 1 99"))
    whole = crops.draw(pairs, kind, 5, 3, range(4))[0]
    halves = [crops.draw(pairs, kind, 5, 3, part)[0] for part in (range(2), range(2, 4))]
    assert torch.equal(whole, torch.cat(halves))
    for seed, step in ((6, 3), (5, 4)):
        assert not torch.equal(whole, crops.draw(pairs, kind, seed, step, range(4))[0])
    drawn_ahead = list(crops.ahead(pairs, kind, 5, range(2, 5), range(4)))
    assert len(drawn_ahead) == 3
    assert torch.equal(drawn_ahead[1][0], whole)


def test_scaled_pictures_are_what_the_golden_model_reads(folder: Path) -> None:
    pair = data.load_folder(folder)["train"][0]
    pixels, mask = pair.prepared(older("percentile 1 99"), (16, 20))
    old = fitted(normalize(pair.read()[0].pixels, "percentile 1 99"), (16, 20), "resize", "x")
    assert np.array_equal(pixels.integers(BYTE), old)
    new, _ = pair.prepared(Meaning("percentile 1 99"), (16, 20))
    assert np.array_equal(new.pixels, fitted(pair.read()[0].pixels, (16, 20), "resize", "x"))
    shares = pair.read()[1].reshape(16, 2, 20, 2).mean(axis=(1, 3))
    assert np.array_equal(mask, shares >= 0.5)
    image, target = whole(pair, Meaning("percentile 1 99"), BYTE, 8, 16)
    assert image.shape == (1, 1, 16, 16)
    assert target.shape == (1, 16, 16)


def test_whole_pictures_are_cut_to_what_the_poolings_divide(folder: Path) -> None:
    image, mask = whole(data.load_folder(folder)["test"][0], PLAIN, BYTE, 16)
    assert image.shape == (1, 1, 32, 32)
    assert torch.equal((image[:, 0] * 256 > 127).long(), mask)


def test_labels_and_colours(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", np.full((8, 8, 3), (10, 20, 30), np.uint8))
    write(tmp_path / "masks" / "a.png", np.full((8, 8), 2, np.uint8))
    assert read_one(tmp_path / "images" / "a.png").pixels[0, 0].tolist() == [10, 20, 30]
    assert read_mask(tmp_path / "masks" / "a.png", Labels(3)).max() == 2
    with pytest.raises(HwsegError, match="must hold labels below 2, holds 2; add --ignore 2 if"):
        read_mask(tmp_path / "masks" / "a.png", Labels(2))
    assert read_mask(tmp_path / "masks" / "a.png", Labels()).max() == 1


def _unpaired(root: Path) -> str:
    (root / "masks" / "p3.png").unlink()
    return r"images/p3.png: has no mask .*p3.png; add it or remove the picture"


def _lonely_mask(root: Path) -> str:
    (root / "images" / "p3.png").unlink()
    return r"masks/p3.png: is a mask without a picture"


def _other_size(root: Path) -> str:
    write(root / "masks" / "p3.png", np.zeros((32, 39), np.uint8))
    return r"masks/p3.png: must be 40x32 like its picture, not 39x32"


def _not_a_picture(root: Path) -> str:
    (root / "images" / "p3.png").write_bytes(b"hello")
    return r"images/p3.png: is not a picture, or is damaged"


def _truncated(root: Path) -> str:
    path = root / "images" / "p3.png"
    path.write_bytes(path.read_bytes()[:300])
    return r"images/p3.png: is not a picture, or is damaged"


def _no_masks(root: Path) -> str:
    (root / "masks").rename(root / "labels")
    return r"masks: must be a folder of pictures"


def _split_names_a_stranger(root: Path) -> str:
    (root / "split.json").write_text('{"train": ["p0.png", "q.png"], "val": ["p1.png"]}')
    return r"split.json: train names q, which is not in images/"


def _split_overlaps(root: Path) -> str:
    (root / "split.json").write_text('{"train": ["p0.png", "p1.png"], "val": ["p1.png"]}')
    return r"split.json: p1 is in train and again in val"


def _split_is_no_json(root: Path) -> str:
    (root / "split.json").write_text("{")
    return r"split.json: is not valid JSON, or is damaged"


def _split_without_validation(root: Path) -> str:
    (root / "split.json").write_text('{"train": ["p0.png"]}')
    return r"has no val pictures"


@pytest.mark.parametrize(
    "damage",
    [
        _unpaired, _lonely_mask, _other_size, _not_a_picture, _truncated, _no_masks,
        _split_names_a_stranger, _split_overlaps, _split_is_no_json, _split_without_validation,
    ],
)  # fmt: skip
def test_damage_is_named_with_its_file(damage: object, folder: Path) -> None:
    sentence = damage(folder)  # type: ignore[operator]
    with pytest.raises(HwsegError, match=sentence):
        [pair.read() for pairs in data.load_folder(folder).values() for pair in pairs]


def test_a_further_part_is_loaded_when_asked_for(folder: Path) -> None:
    split = {"train": ["p0.png"], "val": ["p1.png"], "other": ["p2.png", "p3.png"], "notes": {}}
    (folder / "split.json").write_text(json.dumps(split))
    assert "other" not in data.load(folder)
    assert names(data.load(folder, extra="other"), "other") == {"p2", "p3"}
    with pytest.raises(HwsegError, match=r"has no part third; parts are train, val, other, notes"):
        data.load(folder, extra="third")
    with pytest.raises(HwsegError, match=r"notes must be a list of file names"):
        data.load(folder, extra="notes")


@pytest.mark.parametrize(("value", "label"), [(0, 0), (255, 1)])
def test_masks_of_one_class_teach_nothing(value: int, label: int, folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        write(path, np.full((32, 40), value, np.uint8))
    with pytest.raises(HwsegError, match=rf"every pixel of the 6 training masks is {label}; check how masks are coded"):
        every_class(data.load(folder)["train"])
