"""Nothing of the user's is written over, and a place where nothing can be written is refused before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.conversion import run  # noqa: E402
from hwseg.conversion.run import Options, convert_files  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

CALLABLE = "tests.quant.convert.nets:masked"


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusals come before anything is read."""

    def never(*given: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(run, "take", never)


def refused(options: Options, sentence: str) -> None:
    folder = options.out.parent
    before = {p: p.read_bytes() for p in folder.iterdir() if p.is_file()} if folder.is_dir() else {}
    with pytest.raises(HwsegError, match=sentence):
        convert_files(options)
    assert before == ({p: p.read_bytes() for p in folder.iterdir() if p.is_file()} if folder.is_dir() else {})


def test_weights_and_models_are_not_written_over(tmp_path: Path) -> None:
    weights, model, data = tmp_path / "m.pt", tmp_path / "f.onnx", tmp_path / "d"
    torch.save(nets.small().state_dict(), weights)
    model.write_bytes(b"a float network")
    refused(
        Options(CALLABLE, data, tmp_path / "m.onnx", weights), r"m\.pt: would be written over .*; choose another -o"
    )
    refused(Options(str(model), data, model), r"f\.onnx: would be written over .*f\.onnx, which is read")
    (tmp_path / "link.onnx").symlink_to(model)
    refused(Options(str(tmp_path / "link.onnx"), data, model), "would be written over")
    refused(Options(str(model), data, tmp_path / "link.onnx"), "would be written over")
    below = tmp_path / "below"
    below.symlink_to(tmp_path)
    refused(Options(str(model), data, below / "f.onnx"), "would be written over")
    os.link(weights, tmp_path / "n.pt")
    refused(Options(CALLABLE, data, tmp_path / "n.onnx", weights), "would be written over")


@pytest.mark.parametrize("ending", ["onnx", "json", "html", "pt", "search.json"])
@pytest.mark.parametrize("content", [b"", b"mine", b'{"mine": 1}', b"<html></html>", b"[" * 100_000])
def test_files_of_others_are_not_replaced(ending: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"m.{ending}").write_bytes(content)
    refused(Options(CALLABLE, tmp_path, tmp_path / "m.onnx"), f"m.{ending}: exists, and was not written by hwseg quant")


def test_weights_of_the_user_beside_the_model_are_kept(tmp_path: Path) -> None:
    torch.save({"state_dict": nets.small().state_dict()}, tmp_path / "m.pt")
    refused(Options(CALLABLE, tmp_path, tmp_path / "m.onnx"), "it would be lost; choose another -o")
    (tmp_path / "n.json").write_text(json.dumps({"model": "n.onnx", "from": "x"}))
    refused(Options(CALLABLE, tmp_path, tmp_path / "n.onnx"), "it would be lost; choose another -o")
    (tmp_path / "o.html").mkdir()
    refused(Options(CALLABLE, tmp_path, tmp_path / "o.onnx"), "it would be lost; choose another -o")


def test_places_where_nothing_can_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    for out in ("file/m.onnx", "file/further/m.onnx"):
        refused(Options(CALLABLE, tmp_path, tmp_path / out), r"m\.onnx: .*file, not below a folder|is no folder")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    refused(Options(CALLABLE, tmp_path, tmp_path / "new" / "m.onnx"), "permission denied in")
    assert not (tmp_path / "new").exists()


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_other_commands_do_not_write_over_what_they_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, other = tmp_path / "m.onnx", tmp_path / "link.onnx"
    model.write_bytes(b"a model")
    other.symlink_to(model)
    calls = [
        ("export", model, "-o", other, "--size", "32x32"),
        ("golden", model, "--image", tmp_path / "p.png", "--out", other),
        ("golden", tmp_path / "n.onnx", "--image", model, "--out", model),
        ("trust", model, "--data", tmp_path, "-o", other),
        ("train", "--data", tmp_path, "-o", tmp_path, "--init", tmp_path / "best.pt"),
    ]
    (tmp_path / "best.pt").write_bytes(b"a checkpoint")
    for call in calls:
        assert status(*call) == 2
        assert "would be written over" in capsys.readouterr().err, call[0]
    assert model.read_bytes() == b"a model"
    assert (tmp_path / "best.pt").read_bytes() == b"a checkpoint"
