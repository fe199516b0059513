"""A run's split stays: by content, then by name, whatever was added, removed, renamed, exchanged or drawn anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hwseg.datasets import data, seen, split
from hwseg.datasets.seen import SEEN, Seen
from hwseg.datasets.split import Changes, Split
from hwseg.errors import HwsegError
from tests.datasets.sets import add, discs, remove

Parts = dict[str, list[data.Pair]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return discs(tmp_path / "set")


def names(parts: Parts) -> dict[str, list[str]]:
    return {part: [pair.name for pair in pairs] for part, pairs in parts.items()}


def test_a_split_is_kept_whatever_the_seed(folder: Path) -> None:
    began = data.load(folder, seed=0)
    kept = Split.of(began, 0, True)
    for seed in range(1, 6):
        drawn = data.load(folder, seed=seed)
        assert names(drawn) != names(began)
        arranged, changes = kept.arrange(drawn)
        assert names(arranged) == names(began)
        assert changes == Changes()


def test_what_was_added_is_in_no_part(folder: Path) -> None:
    """Five more pictures: the shuffle is another one, and the run's parts are what they were."""
    began = data.load(folder)
    kept = Split.of(began, 0, True)
    for number in range(20, 25):
        add(folder, number)
    arranged, changes = kept.arrange(data.load(folder))
    assert names(arranged) == names(began)
    assert sorted(changes.new) == [f"p{n}" for n in range(20, 25)]
    assert changes.sentences() == [f"{', '.join(changes.new)}: new in the data and in no part of this run"]


def test_contents_come_before_names(folder: Path) -> None:
    """A training picture that is now called as a test picture was is not scored, and the test picture is found."""
    began = data.load(folder)
    kept = Split.of(began, 0, True)
    trained, tested = began["train"][0].name, began["test"][0].name
    for kind in ("images", "masks"):
        one, other = (folder / kind / f"{name}.png" for name in (trained, tested))
        shutil.move(one, folder / "aside.png")
        shutil.move(other, one)
        shutil.move(folder / "aside.png", other)
    arranged, changes = kept.arrange(data.load(folder))
    assert (arranged["train"][0].name, arranged["test"][0].name) == (tested, trained)
    assert sorted(changes.renamed) == sorted([f"{tested} (was {trained})", f"{trained} (was {tested})"])
    assert not changes.new
    assert not changes.gone


def test_a_copy_of_a_training_picture_is_not_scored(folder: Path) -> None:
    """Neither under a new name nor under that of a test picture."""
    began = data.load(folder)
    kept = Split.of(began, 0, True)
    trained, tested = began["train"][0].name, began["test"][0].name
    for name in (tested, "another"):
        for kind in ("images", "masks"):
            shutil.copy(folder / kind / f"{trained}.png", folder / kind / f"{name}.png")
    arranged, changes = kept.arrange(data.load(folder, seed=3))
    assert len(arranged["test"]) == len(began["test"]) - 1
    assert changes.gone == (tested,)
    digest = began["train"][0].digest
    assert all(pair.digest != digest for part in ("val", "test") for pair in arranged[part])
    assert len(changes.new) == 2


def test_copies_in_one_part_all_stay(folder: Path) -> None:
    """Also beside one more copy, whose name comes first."""
    for name in ("p0", "p1", "p2"):
        for kind in ("images", "masks"):
            shutil.copy(folder / kind / "p0.png", folder / kind / f"{name}.png") if name != "p0" else None
    names_ = [f"p{n}.png" for n in range(10)]
    (folder / "split.json").write_text(json.dumps({"train": names_[:6], "val": names_[6:8], "test": names_[8:]}))
    began = data.load(folder)
    kept = Split.of(began, 0, False)
    arranged, changes = kept.arrange(data.load(folder))
    assert (names(arranged), changes) == (names(began), Changes())
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "p0.png", folder / kind / "a0.png")
    (folder / "split.json").write_text(json.dumps({"train": names_[:6], "val": names_[6:8], "test": ["a0.png"]}))
    arranged, changes = kept.arrange(data.load(folder))
    assert names(arranged)["train"] == names(began)["train"]
    assert (arranged["test"], changes.new) == ([], ("a0",))


def test_gone_changed_and_back(folder: Path) -> None:
    began = data.load(folder)
    kept = Split.of(began, 0, True)
    gone, changed = began["train"][0].name, began["val"][0].name
    remove(folder, gone)
    add(folder, 99, changed)
    arranged, changes = kept.arrange(data.load(folder))
    assert (changes.gone, changes.changed, changes.new) == ((gone,), (changed,), ())
    assert changed in [pair.name for pair in arranged["val"]]
    later = kept.renewed(data.load(folder))
    assert later.parts["val"][changed] != kept.parts["val"][changed]
    add(folder, int(gone[1:]))
    again, changes = later.arrange(data.load(folder))
    assert names(again) == names(began)
    assert changes == Changes()


def test_moved_in_the_datas_own_split(folder: Path) -> None:
    listed = {"train": [f"p{n}.png" for n in range(6)], "val": ["p6.png", "p7.png"], "test": ["p8.png", "p9.png"]}
    (folder / "split.json").write_text(json.dumps({**listed, "ward": ["p8.png"]}))
    kept = Split.of(data.load(folder), 0, False)
    listed["train"][0], listed["test"][0] = listed["test"][0], listed["train"][0]
    (folder / "split.json").write_text(json.dumps({**listed, "ward": ["p9.png"]}))
    arranged, changes = kept.arrange(data.load(folder, extra="ward"))
    assert names(arranged)["test"] == ["p8", "p9"]
    assert names(arranged)["ward"] == ["p9"]
    assert sorted(changes.moved) == ["p0", "p8"]


def test_a_run_that_begins_with_another_keeps_its_parts_and_draws_new_pictures(folder: Path) -> None:
    began = data.load(folder)
    kept = Split.of(began, 0, True)
    for number in range(20, 30):
        add(folder, number)
    found = kept.inherited(data.load(folder, seed=4))
    for part, pairs in began.items():
        assert [pair.name for pair in pairs] == [pair.name for pair in found[part]][: len(pairs)]
    assert sum(map(len, found.values())) == 20


def test_it_is_read_back_and_another_file_is_none_of_a_run(folder: Path) -> None:
    kept = Split.of(data.load(folder), 7, True)
    text = kept.text()
    assert split.parse(text.encode(), "x") == kept
    (folder / "run").mkdir()
    assert split.of_run(folder / "run") is None
    (folder / "run" / "split.json").write_text(text)
    assert split.of_run(folder / "run") == kept
    (folder / "split.json").write_text('{"train": ["p0.png"]}')
    assert split.of_run(folder) is None


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{", '{"format": 1}', '{"format": 2}',
        '{"format": 1, "seed": 0, "drawn": true, "train": [], "val": {}, "test": {}}',
        '{"format": 1, "seed": 0, "drawn": true, "train": {"a": "00"}, "val": {}, "test": {}}',
        '{"format": 1, "seed": "0", "drawn": true, "train": {}, "val": {}, "test": {}}',
        '{"format": 1, "seed": 0, "drawn": true, "train": {"a": 5}, "val": {}, "test": {}}',
    ],
)  # fmt: skip
def test_a_damaged_split_is_refused(text: str) -> None:
    with pytest.raises(HwsegError, match=r"^x: (must|is damaged).*; put back what the run wrote, or begin another run"):
        split.parse(text.encode(), "x")


# --- what a model has seen ---


def test_digests_in_metadata_find_pictures_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    began = data.load(folder)
    found = seen.declared({SEEN: seen.of_parts(began).text()}, "m")
    other = discs(tmp_path / "elsewhere", 14)
    for number in range(14):  # under other names, in another format
        for kind in ("images", "masks"):
            (other / kind / f"p{number}.png").rename(other / kind / f"{13 - number:03d}.png")
    pairs = [pair for part in data.load(other).values() for pair in part]
    trained = {f"{13 - int(pair.name[1:]):03d}" for pair in began["train"]}
    chose = {f"{13 - int(pair.name[1:]):03d}" for pair in began["val"]}
    assert {pair.name for pair in found.of_training(pairs)} == trained
    assert {pair.name for pair in found.of_validation(pairs)} == chose
    (sentence, *_) = seen.sentences(found, {"test": pairs}, "the base")
    assert sentence.startswith(f"the base was trained on {len(trained)} of the 14 test pictures: ")
    assert sentence.endswith(f" and {len(trained) - 5} more")


def test_a_file_that_does_not_say_it_is_not_taken_to_have_seen_nothing() -> None:
    assert seen.declared({}, "m") == Seen(known=False)
    assert not seen.declared({SEEN: (Seen(known=False) | Seen(frozenset([bytes(16)]))).text()}, "m").known


def test_many_pictures_have_short_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [number.to_bytes(2, "big") * 8 for number in range(40)]
    few = Seen(frozenset(digests[:20]), frozenset(digests[20:]))
    monkeypatch.setattr(seen, "MANY", 39)
    assert len(few.text()) < 40 * 11 + 200
    short = seen.parse(few.text(), "m")
    assert {len(digest) for digest in short.train | short.val} == {8}
    monkeypatch.setattr(seen, "MANY", 100)
    joined = short | Seen(frozenset([bytes(range(16))]))
    assert {len(digest) for digest in seen.parse(joined.text(), "m").train} == {8}
    monkeypatch.setattr(seen, "MOST", 39)
    with pytest.raises(HwsegError, match=r"hwseg.seen: must list at most 39 pictures, lists 40"):
        few.text()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', Seen().text().replace('"bytes": 16', '"bytes": 0'), "{" * 9000,
             Seen().text().replace('"bytes": 16', '"bytes": 16.0'),
             Seen(frozenset([bytes(16)])).text().replace("AAAA", "AAA", 1), Seen().text().replace('""', '"%"')]
)  # fmt: skip
def test_damaged_metadata_is_refused(text: str) -> None:
    with pytest.raises(HwsegError, match=r"^m, metadata hwseg.seen: "):
        seen.declared({SEEN: text}, "m")
