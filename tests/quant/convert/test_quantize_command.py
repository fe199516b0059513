"""The command: a float network and pictures in, a model that the other commands take out; bad input in one sentence."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets.seen import declared  # noqa: E402
from hwseg.pictures.source import choice_of  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train.checkpoint import load_network  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

CALLABLE = "tests.quant.convert.nets:masked"


def called(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["quantize", *map(str, arguments)])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network for pictures of 32x32."""
    path = tmp_path_factory.mktemp("float") / "float.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(nets.masked(), (torch.zeros(1, 1, 32, 32),), path, dynamo=False, opset_version=17)
    return path


def test_a_file_and_a_data_set_become_a_model(
    onnx_file: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.onnx"
    assert called(onnx_file, "--data", discs, "-o", out, "--normalize", "range 0 255", "--distill", 2) == 0
    told = capsys.readouterr().out
    assert "Dice between float and integer masks: " in told
    assert f"next: hwseg compile {out}" in told.replace("\n", "")
    graph, report = load(out), json.loads(out.with_suffix(".json").read_text())
    assert choice_of(graph).meaning.values == "range 0 255"
    assert len(declared(graph.metadata, "m").train) == len(report["calibrated_on"]) == 8
    assert {"float dice", "integer dice", "float hd95", "agree", "loss of dice"} <= set(report["comparison"]["means"])
    assert report["comparison"]["means"]["agree"]["mean"] > 0.9
    assert report["costs"]["cycles"] > 0
    assert {row["layer"] for row in report["noise"]} >= {"MaxPool", "Concat"}
    assert "Worst pictures" in out.with_suffix(".html").read_text()
    network, about = load_network(out.with_suffix(".pt"))
    assert about["picture"] == (32, 32)
    assert not network.training
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.html", "m.json", "m.onnx", "m.pt"]
    with pytest.raises(SystemExit) as end:
        main(["eval", str(out), "--data", str(discs), "--split", "train"])
    assert end.value.code == 2  # it was calibrated on these


def test_a_callable_and_pictures_alone_are_enough(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(discs / "images", folder)
    torch.save(nets.masked().state_dict(), tmp_path / "w.pt")
    out = tmp_path / "m.onnx"
    assert called(CALLABLE, "--weights", tmp_path / "w.pt", "--data", folder, "-o", out) == 0
    told = capsys.readouterr()
    assert "is your code, and is run" in told.err
    assert "nothing says what pixels are" in told.err.replace("\n", " ")
    assert "hd95" not in told.out
    load(out)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "30x31"], "check --size"),
        (["--normalize", "brighter"], "--normalize: must be"),
        (["--bits", "9"], "--bits: must be from 2 to 8, not 9"),
        (["--budget", "0.1"], "--budget: has a meaning for --bits mixed, not for --bits 8; add --bits mixed"),
        (["--bits", "nothing.toml"], "--bits: must be a number"),
        (["--resume"], "there is no distillation to go on with"),
        (["--in-channels", "2"], "the network takes 2"),
        (["--split", "external"], "lists external"),
        (["--weights", "no.pt"], "there is no such file"),
        (["--size", "16x24", "--resize", "16"], "--resize: is 16, and --size says otherwise"),
        (["--in-channels", "3"], "--in-channels: is 3, and the network's first convolution takes 1; leave it out"),
        (["--seed", "-1"], "--seed"),
        (["--labels", "classes"], "classes need two output channels or more; say binary or nonzero, or train with"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(CALLABLE, "--data", discs, "-o", tmp_path / "m.onnx", *arguments) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_options_that_a_folder_or_a_file_has_no_use_for_are_refused(
    onnx_file: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, told in (
        (("--split", "val"), "has no masks and no parts, and --split val names one; leave --split out"),
        (("--shifted", "other"), "has no masks and no parts, and --shifted other names one; leave --shifted out"),
        (("--in-channels", 3), f"--in-channels: is 3, and {onnx_file} takes 1; leave it out"),
    ):
        assert called(onnx_file, "--data", discs / "images", "-o", tmp_path / "m.onnx", *options) == 2
        assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_conversion_replaces_its_own_files_and_tells_how_it_was_read(
    onnx_file: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.onnx"
    for _ in range(2):
        assert called(onnx_file, "--data", discs, "-o", out, "--pictures", 2) == 0
    assert "the network was read right: against onnxruntime" in capsys.readouterr().out
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["reading"]["against"].startswith("onnxruntime ")
    assert report["reading"]["pictures"] == 2
    assert report["reading"]["difference"] < 1e-5
    assert "The network was read right: against onnxruntime" in out.with_suffix(".html").read_text()


def test_sizes_that_a_file_is_not_for_are_refused(
    onnx_file: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, told in ((("--size", "16x32"), "--size: is 16x32, and "), (("--resize", 16), "--resize: is 16, and ")):
        assert called(onnx_file, "--data", discs, "-o", tmp_path / "m.onnx", *option) == 2
        assert told + f"{onnx_file} is for 32x32" in capsys.readouterr().err


def test_strict_and_other_ends_are_refused(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(CALLABLE, "--data", discs, "-o", tmp_path / "m.txt") == 2
    assert "must end in .onnx" in capsys.readouterr().err
