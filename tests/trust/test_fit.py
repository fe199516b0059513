"""What is fitted on validation pictures, the file that carries it, the commands, and what they refuse."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from hwseg import golden  # noqa: E402
from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.datasets.seen import SEEN  # noqa: E402
from hwseg.datasets.seen import Seen as Seen_  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import IGNORE, Labels  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.trust.fitted import TRUST, Trust  # noqa: E402
from hwseg.trust.fitting import measures, witnesses  # noqa: E402
from hwseg.trust.fitting.disturb import DISTURBANCES, disturbance  # noqa: E402
from hwseg.trust.fitting.evaluate import evaluate, softmax  # noqa: E402
from hwseg.trust.fitting.fit import Fit, Wanted, bound_of, fit, limit_of, require_apart, temperatures  # noqa: E402
from hwseg.trust.fitting.observe import Seen, observe  # noqa: E402
from hwseg.trust.graph import digest, judge_with, linear, trust_of  # noqa: E402
from tests.trust.networks import by_brightness, pictures  # noqa: E402


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "RESAMPLES", 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_brightness(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def fitted(model: Path, folder: Path) -> Fit:
    return fit(load(model), data.load(folder)["val"])


def test_temperature_and_bound_are_the_best(model: Path, folder: Path, fitted: Fit) -> None:
    graph, pairs = load(model), data.load(folder)["val"]
    seen = observe(graph, pairs)
    assert fitted.trust.graph == digest(graph)
    assert measures.calibration_error(fitted.after) < measures.calibration_error(fitted.before)

    def loss(trust: Trust) -> float:
        judge = judge_with(graph, trust)
        return measures.likelihood(np.sum([one.counts(one.confidence(judge)) for one in seen], axis=0))

    best = Fraction(fitted.trust.temperatures[0])
    others = [replace(fitted.trust, temperatures=(f"{float(best * f):.3f}",)) for f in (Fraction(4, 5), Fraction(5, 4))]
    assert loss(fitted.trust) < min(map(loss, others))
    bound = fitted.trust.bound
    assert measures.deferred(fitted.after, bound) <= 0.12 < measures.deferred(fitted.after, bound + 1)


def test_a_wanted_error_is_reached_with_the_fewest_pixels(fitted: Fit) -> None:
    counts = fitted.after
    wanted = measures.error(counts) / 4
    bound = bound_of(counts, Wanted(defer=None, error=wanted))
    assert measures.remaining(counts, bound) <= wanted < measures.remaining(counts, bound - 1)
    hopeless = np.ones((256, 2), np.int64)
    with pytest.raises(
        HwsegError, match=r"must be one that can be reached, is 0.1: of the surest pixels 0.5 are wrong"
    ):
        bound_of(hopeless, Wanted(defer=None, error=0.1))


def test_the_score_chosen_ranks_pictures_best(fitted: Fit) -> None:
    best = max(fitted.correlations.values())
    assert fitted.correlations[fitted.trust.score] == best
    assert fitted.copies == 3 * (1 + len(DISTURBANCES))


def test_a_limit_parts_bad_pictures_from_good_ones() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert limit_of(values, np.array([0, 0, 0, 1, 1], bool)) == "0.350000"
    assert limit_of(values, np.array([0, 0, 1, 0, 1], bool)) in ("0.250000", "0.450000")
    assert float(limit_of(values, np.zeros(5, bool))) == 0.5
    assert limit_of(values, np.ones(5, bool)) == "0"
    assert float(limit_of(np.full(3, 0.2), np.array([1, 0, 1], bool))) == 0.2


def test_each_class_has_a_temperature_of_its_own(tmp_path: Path) -> None:
    """Logits are drawn so that a class is right as often as sigmoid(margin / T) says."""
    random, hot = np.random.default_rng(0), (2.0, 0.5, 1.0)
    winner = random.integers(0, 2, (200, 200))
    margin = np.abs(random.normal(0, 3, (200, 200)))
    right = random.random((200, 200)) < 1 / (1 + np.exp(-margin / np.array(hot)[winner]))
    sums = np.zeros((200, 200, 3), np.int32)
    np.put_along_axis(sums, winner[:, :, None], np.rint(1000 * margin)[:, :, None].astype(np.int32), axis=2)
    mask = winner.astype(np.uint8)
    one = Seen("drawn", sums, mask, np.where(right, mask, 2).astype(np.uint8))
    found = temperatures([one], (Fraction(1, 1000),) * 3, (Fraction(0),) * 3)
    assert [float(t) for t in found[:2]] == pytest.approx(hot[:2], rel=0.05)
    overall = temperatures([replace(one, sums=sums[:, :, :1])], (Fraction(1, 1000),), (Fraction(0),))
    assert found[2] != overall[0]  # the third class wins nowhere: it shares that of all pixels
    assert 0.5 < float(found[2]) < 2


def test_pixels_that_nobody_knows_count_nowhere() -> None:
    target = np.array([[0, 1, IGNORE, IGNORE]], np.uint8)
    one = Seen("p", np.zeros((1, 4, 1), np.int32), np.array([[0, 0, 1, 0]], np.uint8), target)
    assert one.counts(np.array([[9, 9, 9, 9]], np.uint8)).sum(axis=0).tolist() == [1, 1]
    assert one.dice == 0


def test_disturbed_pictures_stay_in_range_and_are_the_same_again(model: Path) -> None:
    graph = load(model)
    kind = graph.types[graph.input]
    picture = np.random.default_rng(0).integers(0, 256, kind.shape).astype(np.int16)
    for name in DISTURBANCES:
        worse = disturbance(name, kind, 3)(picture)
        assert worse.shape == picture.shape
        assert kind.low <= worse.min() <= worse.max() <= kind.high
        assert (worse != picture).any()
        assert (worse == disturbance(name, kind, 3)(picture)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_evaluation_of_all_parts(channels: int, tmp_path: Path) -> None:
    root = pictures(tmp_path / "data", classes=max(2, channels))
    labels = Labels(channels)
    graph = load(by_brightness(tmp_path, channels))
    parts = data.load(root, 1, channels, extra="far", labels=labels)
    known = replace(graph, metadata={**graph.metadata, TRUST: fit(graph, parts["val"]).trust.text()})
    found = evaluate(known, {"test": parts["test"], "far": parts["far"]}, ["flips8", "planes4"])
    text = json.dumps(found.json(), allow_nan=False)
    assert set(json.loads(text)["parts"]) == {"test", "far"}
    for part in found.parts:
        seen = observe(known, parts[part.name])
        assert part.counts.sum() == sum(one.known.sum() for one in seen)
        assert part.figures["error"].value == pytest.approx(sum(s.wrong.sum() for s in seen) / part.counts.sum())
        assert [one.dice for one in part.pictures] == [one.dice for one in seen]
        assert ("calibration_error_softmax" in part.figures) == (channels > 1)
    assert set(found.shift) == set(found.parts[0].scores)
    flips, planes = found.witnesses
    assert flips.cycles == 8 * flips.own
    # Brightness does not depend on how the picture lies: eight runs say what one says, to a byte of rounding.
    for part in found.parts:
        assert flips.figures[part.name]["auroc"].value == pytest.approx(part.figures["auroc"].value, abs=0.01)
    assert planes.cycles > planes.own
    with pytest.raises(HwsegError, match=r"has no metadata hwseg.trust"):
        evaluate(graph, {"test": parts["test"]})


def test_softmax_and_margin_of_two_classes_agree(tmp_path: Path) -> None:
    graph = load(by_brightness(tmp_path, 2))
    kind = graph.types[graph.input]
    result = golden.run(graph, np.random.default_rng(0).integers(0, 256, kind.shape))
    one = Seen("p", result.tensors[graph.head.tensor], result.mask, result.mask)
    judge = judge_with(graph, Trust(digest(graph), ("1", "1"), 0, "mean", "0"))
    assert np.abs(softmax(graph, one).astype(int) - one.confidence(judge)).max() <= 1


@pytest.mark.parametrize("name", witnesses.TURNS)
def test_turned_pictures_are_turned_back(name: str) -> None:
    picture = np.arange(36).reshape(6, 6, 1)
    seen = set()
    for turn in witnesses.TURNS[name]:
        turned = np.ascontiguousarray(turn(picture))
        seen.add(turned.tobytes())
        assert (witnesses._back(turn, turned) == picture).all()
    assert len(seen) == int(name.removeprefix("flips"))
    wide = np.arange(24).reshape(4, 6, 1)
    for turn in witnesses.TURNS["flips4"]:
        assert (witnesses._back(turn, turn(wide)) == wide).all()


def run(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return done.value.code


def test_the_commands(model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "m.onnx"
    shutil.copy(model, copy)
    before = onnx.load(copy)
    assert run("trust", copy, "--data", folder, "-o", tmp_path / "out.onnx") == 0
    told = capsys.readouterr().out
    assert "temperature" in told
    assert "is deferred" in told
    assert copy.read_bytes() == model.read_bytes()
    assert run("trust", copy, "--data", folder, "--in-place", "--defer", "0.3") == 0
    for path, wanted in ((tmp_path / "out.onnx", "defer 0.12"), (copy, "defer 0.3")):
        after, graph = onnx.load(path), load(path)
        assert after.graph.SerializeToString() == before.graph.SerializeToString()
        kept = {entry.key: entry.value for entry in after.metadata_props}
        assert {k: v for k, v in kept.items() if k != TRUST} == {e.key: e.value for e in before.metadata_props}
        trust = trust_of(graph)
        assert trust is not None
        assert trust.wanted.startswith(wanted)
        assert linear(graph.head, 1) == linear(load(model).head, 1)
    # The same again gives the same bytes.
    assert run("trust", model, "--data", folder, "-o", tmp_path / "again.onnx") == 0
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "out.onnx").read_bytes()
    capsys.readouterr()
    report = tmp_path / "report"
    assert run("eval", copy, "--data", folder, "--trust", report, "--shifted", "far", "--witness", "flips2") == 0
    assert "removed by it" in capsys.readouterr().out
    assert json.loads((report / "trust.json").read_bytes())["parts"]["far"]["pictures"] == 3
    assert (report / "trust.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_fitted_is_refused(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: object) -> str:
        assert run(*words) == 2
        return capsys.readouterr().err.replace("\n", " ")

    out = ("-o", tmp_path / "out.onnx")
    assert "-o: or --in-place must be given" in refused("trust", model, "--data", folder)
    assert "and not both" in refused("trust", model, "--data", folder, *out, "--in-place")
    assert "goes without --error" in refused("trust", model, "--data", folder, *out, "--defer", 0.1, "--error", 0.1)
    assert "must be between 0 and 1, is 1.5" in refused("trust", model, "--data", folder, *out, "--defer", 1.5)
    assert "must be between 0 and 1, is nan" in refused("trust", model, "--data", folder, *out, "--error", "nan")
    assert "choose other pictures" in refused("trust", model, "--data", folder, *out, "--split", "train")
    assert "has no metadata hwseg.trust" in refused("eval", model, "--data", folder, "--trust", tmp_path / "r")
    assert "go with --trust" in refused("eval", model, "--data", folder, "--shifted", "far")
    again = tmp_path / "renamed"
    shutil.copytree(folder, again)
    for kind in ("images", "masks"):
        shutil.copy(again / kind / "p0.png", again / kind / "p4.png")
    assert "1 of 3 are: p4" in refused("trust", model, "--data", again, *out)
    empty = tmp_path / "empty"
    shutil.copytree(folder, empty)
    for number in (3, 4, 5):
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(empty / "masks" / f"p{number}.png")
    rule = "no pixel of the 3 pictures to fit on is of class 1 (foreground)"
    assert rule in refused("trust", model, "--data", empty, *out)
    shutil.rmtree(empty / "masks")
    assert "must be a folder of pictures" in refused("trust", model, "--data", empty, *out)
    assert not (tmp_path / "out.onnx").exists()


def test_pictures_of_training_are_told_by_content(folder: Path) -> None:
    parts = data.load(folder)
    require_apart(parts["val"], parts["train"], "here")
    with pytest.raises(HwsegError, match="1 of 4 are: p0"):
        require_apart([*parts["val"], parts["train"][0]], parts["train"], "here")


def test_what_a_model_says_that_it_has_seen_decides(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the data call training: a model that has seen one of the pictures to fit on is refused."""
    parts, copy = data.load(folder), onnx.load(model)
    seen = Seen_(frozenset([parts["val"][1].digest]), frozenset([parts["val"][0].digest]))
    copy.metadata_props.add(key=SEEN, value=seen.text())
    onnx.save(copy, tmp_path / "m.onnx")
    assert run("trust", tmp_path / "m.onnx", "--data", folder, "--in-place") == 2
    assert f"1 of 3 are: {parts['val'][1].name}" in capsys.readouterr().err.replace("\n", " ")
    assert run("trust", tmp_path / "m.onnx", "--data", folder, "--in-place", "--split", "far") == 0


def test_a_witness_must_fit(model: Path, tmp_path: Path) -> None:
    graph = load(model)
    with pytest.raises(HwsegError, match="must be flips2, flips4, flips8, planes4 or a model's file, not 'more'"):
        witnesses.runs_of("more", graph)
    with pytest.raises(HwsegError, match="must have the head 32x32x1 of the network, has 32x32x3"):
        witnesses.runs_of(str(by_brightness(tmp_path, 3)), graph)
    assert [one.graph.name for one in witnesses.runs_of(str(model), graph)] == ["bright"]
