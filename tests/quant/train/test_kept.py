"""What a run keeps of its data: the split, what it has seen, class weights; and what is found before its first step."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

import onnx  # noqa: E402

from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data, pairs, seen, split  # noqa: E402
from hwseg.datasets.held import Held  # noqa: E402
from hwseg.datasets.seen import SEEN  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import losses  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from hwseg.quant.train.run import Progress, Run, TrainConfig, train  # noqa: E402
from tests.datasets.sets import add, disc, discs, grey, remove  # noqa: E402

OPTIONS = ("--depth", "1", "--width", "2", "--size", "16", "--batch", "1", "--threads", "1")
CONFIG = TrainConfig(steps=4, batch=1, size=16, validate_every=2, calibration_batches=1, threads=1)
UNET = UNetConfig(depth=1, width=2)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return discs(tmp_path / "set")


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return int(str(done.value.code))


def stop_after(step: int) -> object:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return watch


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished, exported run and its data."""
    root = tmp_path_factory.mktemp("kept")
    folder = discs(root / "set")
    assert call("train", "--data", folder, "-o", root / "run", "--steps", "3", *OPTIONS) == 0
    assert call("export", root / "run", "--size", "32x32") == 0
    return root / "run", folder


def named(run: Path, part: str) -> list[str]:
    found = split.of_run(run)
    assert found is not None
    return list(found.parts[part])


# --- the split stays ---


def test_resume_after_pictures_were_added(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """No picture that was to be tested is trained on, though the shuffle of more pictures is another one."""
    run = Run(tmp_path / "run", UNET, CONFIG)
    began = data.load(folder)
    assert train(run, began, stop_after(2)).interrupted  # type: ignore[arg-type]
    text = (tmp_path / "run" / "split.json").read_text()
    for number in range(10, 16):
        add(folder, number)
    drawn = {pair.name for pair in data.load(folder)["train"]}
    assert drawn & {pair.name for part in ("val", "test") for pair in began[part]}  # what used to happen
    assert call("train", "--data", folder, "-o", tmp_path / "run", "--resume") == 0
    said = capsys.readouterr().out
    assert "6 train, 2 val, 2 test pictures" in said
    assert "and 1 more: new in the data and in no part of this run" in said.replace("\n", " ")
    assert (tmp_path / "run" / "split.json").read_text() == text
    found = load_network(tmp_path / "run" / "best.pt")[1]["seen"]
    assert found == seen.of_parts(began)


def test_resume_says_what_is_gone_changed_and_renamed(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    run = Run(tmp_path / "run", UNET, CONFIG)
    began = data.load(folder)
    assert train(run, began, stop_after(2)).interrupted  # type: ignore[arg-type]
    gone, changed, renamed = (pair.name for pair in began["train"][:3])
    remove(folder, gone)
    add(folder, 50, changed)
    for kind in ("images", "masks"):
        (folder / kind / f"{renamed}.png").rename(folder / kind / "zz.png")
    assert call("train", "--data", folder, "-o", tmp_path / "run", "--resume") == 0
    said = capsys.readouterr().out
    assert f"{gone}: gone from the data" in said
    assert f"{changed}: changed, and in the part that the name had" in said
    assert f"zz (was {renamed}): renamed, and in the part that the content had" in said
    assert [*named(tmp_path / "run", "train")][:3] == [gone, changed, "zz"]
    after = load_network(tmp_path / "run" / "best.pt")[1]["seen"]
    before = seen.of_parts(began)
    assert before.train < after.train  # what was learned from before it changed was seen, too
    assert len(after.train) == len(before.train) + 1


def test_a_split_that_was_edited_is_refused_and_a_lost_one_written_again(folder: Path, tmp_path: Path) -> None:
    assert train(Run(tmp_path / "run", UNET, CONFIG), data.load(folder), stop_after(2)).interrupted  # type: ignore[arg-type]
    path = tmp_path / "run" / "split.json"
    text = path.read_text()
    content = json.loads(text)
    content["train"], content["test"] = content["test"], content["train"]
    path.write_text(json.dumps(content))
    with pytest.raises(
        HwsegError, match=r"split.json: was changed; a run keeps the split that it began with; remove it"
    ):
        Run.resume(tmp_path / "run")
    path.unlink()
    train(Run.resume(tmp_path / "run"), data.load(folder))
    assert path.read_text() == text


def test_a_run_without_its_data_is_refused(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert train(Run(tmp_path / "run", UNET, CONFIG), data.load(folder), stop_after(2)).interrupted  # type: ignore[arg-type]
    other = tmp_path / "other"
    for number in range(60, 70):
        add(other, number)
    assert call("train", "--data", other, "-o", tmp_path / "run", "--resume") == 2
    assert "has no picture left of those that it began to train with; give it the data that" in capsys.readouterr().err


def test_a_run_of_an_older_hwseg_is_split_as_it_was_and_says_that_it_does_not_know_all(
    folder: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", UNET, CONFIG)
    assert train(run, data.load(folder), stop_after(2)).interrupted  # type: ignore[arg-type]
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for key in ("seen", "seen_before", "split", "class_weights"):
        del state[key]
    save(tmp_path / "run" / "last.pt", state)
    (tmp_path / "run" / "split.json").unlink()
    train(Run.resume(tmp_path / "run"), data.load(folder))
    assert (tmp_path / "run" / "split.json").is_file()
    found = load_network(tmp_path / "run" / "best.pt")[1]["seen"]
    assert not found.known
    assert len(found.train) == 6


# --- eval ---


def test_eval_with_another_seed(trained: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    """The split of the run is used, and another seed refused: its test pictures were trained on."""
    run, folder = trained
    other = {pair.name for pair in data.load(folder, seed=3)["test"]}
    assert other & set(named(run, "train"))
    out = tmp_path / "e.json"
    for arguments in ([run], [run / "model.onnx"], [run, "--seed", "0"]):
        assert call("eval", *arguments, "--data", folder, "--json", out) == 0
        assert sorted(json.loads(out.read_text())["pictures"]) == sorted(named(run, "test"))
    capsys.readouterr()
    assert call("eval", run, "--data", folder, "--seed", "3") == 2
    assert "--seed: is 3, and the run" in (said := capsys.readouterr().err)
    assert "has split this data with seed 0; leave it out: the run's split is used" in said
    shutil.copy(run / "model.onnx", tmp_path / "m.onnx")  # away from the run: what it has seen is in the model
    assert call("eval", tmp_path / "m.onnx", "--data", folder, "--seed", "3") == 2
    assert f"m.onnx: was trained on {len(other & set(named(run, 'train')))} of the 2 test pictures" in (
        capsys.readouterr().err
    )


def test_eval_refuses_what_was_trained_on_wherever_it_lies(
    trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    run, folder = trained
    other = tmp_path / "other"
    for number, name in enumerate([*named(run, "train")[:2], *named(run, "val")[:1], *named(run, "test")]):
        for kind in ("images", "masks"):
            (other / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / kind / f"{name}.png", other / kind / f"x{number}.png")
    add(other, 70, "n")
    add(other, 71, "o")
    listed = {
        "train": ["n.png"],
        "val": ["o.png"],
        "test": [f"x{n}.png" for n in range(5)],
        "good": ["x3.png", "n.png"],
    }
    (other / "split.json").write_text(json.dumps(listed))
    model, out = run / "model.onnx", tmp_path / "e.json"
    assert call("eval", model, "--data", other, "--json", out) == 2
    said = capsys.readouterr()
    assert (
        "model.onnx: was trained on 2 of the 5 test pictures: x0, x1; choose other pictures, or add --seen" in said.err
    )
    assert not out.exists()
    assert call("eval", model, "--data", other, "--json", out, "--seen") == 0
    said = capsys.readouterr()
    assert "the score says little about new pictures" in said.err
    assert all(line.endswith(" of pictures it was trained on") for line in said.out.splitlines())
    assert json.loads(out.read_text())["trained_on"] == ["x0", "x1"]
    assert json.loads(out.read_text())["chosen_by"] == ["x2"]
    assert call("eval", model, "--data", other, "--split", "good") == 0
    assert "trained" not in capsys.readouterr().err


def test_a_model_that_does_not_say_it_goes_on_working_and_nothing_is_said(
    trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    run, folder = trained
    model = onnx.load(run / "model.onnx")
    kept = [p for p in model.metadata_props if p.key != SEEN]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "m.onnx")
    assert call("eval", tmp_path / "m.onnx", "--data", folder, "--seed", "3") == 0
    said = capsys.readouterr()
    assert "trained" not in said.err + said.out
    assert "seen" not in said.err + said.out


def test_the_exported_file_and_its_other_sizes_say_what_was_seen(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = trained
    wanted = seen.of_parts({part: [p for q in data.load(folder).values() for p in q if p.name in named(run, part)]
                            for part in ("train", "val")})  # fmt: skip
    assert call("export", run / "model.onnx", "-o", tmp_path / "m.onnx", "--size", "64x48") == 0
    for path in (run / "model.onnx", tmp_path / "m.onnx"):
        assert seen.declared(load(path).metadata, "m") == wanted
    network = QuantUNet(UNetConfig(depth=1, width=2, batch_norm=False)).eval()
    written = export_qonnx(network, tmp_path / "n.onnx", (16, 16))
    assert SEEN not in {p.key for p in written.metadata_props}


def test_eval_finds_all_that_is_wrong_before_it_computes(
    trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    run, folder = trained
    other = tmp_path / "set"
    shutil.copytree(folder, other)
    for name in named(run, "test"):
        (other / "images" / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert call("eval", run, "--data", other) == 2
    said = capsys.readouterr().err
    assert "has 2 faults, listed above" in said
    assert all(f"images/{name}.png" in said for name in named(run, "test"))


# --- networks that begin with others ---


def test_adapt_search_and_init_name_what_was_seen_and_carry_it(
    trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    """The base's split of the same data is kept, so that its test pictures stay unseen; other data is told of."""
    run = trained[0]
    base = load_network(run / "best.pt")[1]["seen"]
    again = discs(tmp_path / "set", 14)
    options = ("--steps", "3", "--batch", "1", "--threads", "1", "--seed", "5")
    assert call("train", "--data", again, "-o", tmp_path / "init", "--init", run / "best.pt", "--float-part", "0",
                "--depth", "1", "--width", "2", "--size", "16", *options) == 0  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert f"the split is that of {run}" in said
    assert "the network that this begins with was trained on 6 of the" in said
    assert set(named(run, "train")) <= set(named(tmp_path / "init", "train"))
    assert set(named(run, "test")) <= set(named(tmp_path / "init", "test"))
    found = load_network(tmp_path / "init" / "best.pt")[1]["seen"]
    assert base.train < found.train
    assert json.loads((tmp_path / "init" / "result.json").read_text())["seen_before"]

    listed = {"train": [f"p{n}.png" for n in range(10, 14)], "val": ["p6.png"], "test": ["p0.png", "p1.png"]}
    (again / "split.json").write_text(json.dumps(listed))  # the data's own split is followed, and told of
    for command in (
        ("adapt", "--base", run / "best.pt", "-o", tmp_path / "adapt", "--size", "32", "--rank", "1", "--final-rank",
         "1", "--fewer", "1", *options),
        ("search", run, "-o", tmp_path / "search", "--share", "0.9", "--points", "2", "--steps", "0"),
    ):  # fmt: skip
        capsys.readouterr()
        assert call(*command, "--data", again) == 0, capsys.readouterr().err
        said = " ".join(capsys.readouterr().out.split())
        known = [name for name in ("p0", "p1") if name in named(run, "train")]
        if known:
            assert f"was trained on {len(known)} of the 2 test pictures: {', '.join(known)}" in said
    adapted = seen.declared(load(tmp_path / "adapt" / "model.onnx").metadata, "m")
    assert base.train < adapted.train
    assert len(adapted.train) == 10


# --- before the first step ---


@pytest.mark.parametrize(
    ("command", "kind"),
    [("train", "damaged"), ("train", "deep"), ("train", "mask"), ("search", "damaged"), ("adapt", "mask")],
)
def test_a_fault_in_the_test_part_is_found_before_the_first_step(
    command: str, kind: str, folder: Path, trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    path = data.load(folder)["test"][0].image
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:-60])
    elif kind == "deep":
        (folder / "dataset.toml").write_text('[input]\nvalues = "unit"\n')
        path.unlink()
        path = path.with_suffix(".tif")
        tifffile.imwrite(path, grey(0).astype(np.uint16) * np.uint16(255))
    else:
        path = folder / "masks" / path.name
        path.write_bytes(path.read_bytes()[:60])
    base = trained[0] / "best.pt"
    arguments: dict[str, tuple[str | Path, ...]] = {
        "train": (*OPTIONS, "--steps", "3"),
        "search": (base, "--share", "0.9"),
        "adapt": ("--base", base, "--size", "32", "--steps", "3", "--rank", "1", "--final-rank", "1", "--fewer", "1"),
    }
    assert call(command, *arguments[command], "--data", folder, "-o", tmp_path / "out") == 2
    assert path.name in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pictures_smaller_than_a_crop_are_all_told(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    options = ("--depth", "1", "--width", "2", "--size", "48", "--batch", "1")
    assert call("train", "--data", folder, "-o", tmp_path / "run", *options) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has 6 faults, listed above" in said
    assert "lower --size" in said
    assert not (tmp_path / "run").exists()


def test_pictures_that_the_adapted_model_cannot_be_scored_with(
    folder: Path, trained: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    """They were found after the last step."""
    base = ("--base", trained[0] / "best.pt", "--data", folder, "-o", tmp_path / "run")
    assert call("adapt", *base, "--size", "16", "--steps", "3", "--fewer", "1") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has 2 faults, listed above" in said
    assert "not 32x32" in said
    assert not (tmp_path / "run").exists()


def test_a_new_run_has_a_contact_sheet(trained: tuple[Path, Path]) -> None:
    from PIL import Image

    with Image.open(trained[0] / "sheet.png") as sheet:
        assert sheet.width > 600


@pytest.mark.parametrize("augment", ["turn", "mild"])
def test_a_set_larger_than_memory_trains_the_same(
    augment: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops from mapped files, of which none is left, are those from memory, bit for bit."""
    states = []
    (tmp_path / "mapped").mkdir()
    for name, held in (("memory", Held()), ("disk", Held(0, tmp_path / "mapped"))):
        monkeypatch.setattr(pairs, "MEMORY", held)
        run = Run(tmp_path / name, UNET, replace(CONFIG, augment=augment))
        train(run, data.load(folder))
        states.append(run.model.state_dict())
        assert list((tmp_path / "mapped").iterdir()) == []
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# --- class weights and channels ---


@pytest.mark.parametrize("name", ["dice_ce", "poly_dice", "boundary"])
@pytest.mark.parametrize("channels", [1, 3])
def test_weights_count_pixels_of_their_classes(name: str, channels: int) -> None:
    """Equal weights change nothing but for rounding; a weight of n counts a pixel n times."""
    rng = torch.Generator().manual_seed(0)
    classes = max(2, channels)
    targets = torch.randint(0, classes, (2, 6, 6), generator=rng)
    targets[0, 0] = 255
    logits = torch.randn(2, channels, 6, 6, generator=rng)
    plain = losses.from_config(TrainConfig(loss=name))(logits, targets)
    equal = losses.from_config(TrainConfig(loss=name), (1.0,) * classes)(logits, targets)
    assert float(equal) == pytest.approx(float(plain), rel=1e-6)
    weights = (1.0, 3.0, 2.0)[:classes]
    entropy, total, count = losses.pixel_entropy(logits, targets), 0.0, 0.0
    for value, target in zip(entropy.flatten().tolist(), targets.flatten().tolist(), strict=True):
        if target != 255:
            total, count = total + weights[target] * value, count + weights[target]
    assert float(losses.entropy_mean(logits, targets, weights)) == pytest.approx(total / count, rel=1e-5)


def test_counted_weights_are_kept_by_the_run(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", UNET, replace(CONFIG, class_weights="auto"))
    parts = data.load(folder)
    assert train(run, parts, stop_after(2)).interrupted  # type: ignore[arg-type]
    share = np.mean([disc(int(pair.name[1:])).mean() for pair in parts["train"]])
    assert run.data.weights is not None
    assert run.data.weights[1] / run.data.weights[0] == pytest.approx(((1 - share) / share) ** 0.5, rel=1e-3)
    again = Run.resume(tmp_path / "run")
    again.meet(data.load(folder))
    assert again.data.weights == run.data.weights
    x, y = torch.randn(1, 1, 8, 8), torch.randint(0, 2, (1, 8, 8))
    assert float(again.loss(x, y)) == float(losses.dice_ce(x, y, run.data.weights))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2,3", "train.class_weights: must be 2, one for each class, the background first, are 3"),
        ("1;2", "train.class_weights: must be auto or positive numbers with commas between them, not '1;2'"),
        ("1,0", "must be auto or positive numbers"),
        ("1,-2", "must be auto or positive numbers"),
        ("1,nan", "must be auto or positive numbers"),
    ],
)
def test_weights_that_are_refused(text: str, sentence: str, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    options = (*OPTIONS, "--steps", "2", "--class-weights", text)
    assert call("train", "--data", folder, "-o", tmp_path / "run", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_pictures_of_any_number_of_channels_are_trained_on(channels: int, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "set"
    for number in range(6):
        add(folder, number)
        (folder / "images" / f"p{number}.png").unlink()
        planes = np.stack([np.roll(grey(number), c) for c in range(channels)], axis=2)
        np.save(folder / "images" / f"p{number}.npy", planes)
    run = tmp_path / "run"
    assert call("data", folder, "-o", tmp_path / "s.png") == 0
    assert f"channels: {channels} (6)" in capsys.readouterr().out
    assert call("train", "--data", folder, "-o", run, *OPTIONS, "--steps", "3", "--in-channels", str(channels)) == 0
    assert call("export", run, "--size", "32x32") == 0
    assert call("eval", run, "--data", folder) == 0
    graph = load(run / "model.onnx")
    assert graph.types[graph.input].shape == (32, 32, channels)
