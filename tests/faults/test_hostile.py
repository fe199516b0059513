"""Hostile files of every kind that hwseg reads are read or refused by one sentence, soon; `python -m
tests.faults.hostile` draws more.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from hwseg.cli import main
from hwseg.errors import HwsegError
from hwseg.files import read_file
from tests.faults.hostile import campaign, kinds
from tests.faults.pictures import discs

NAMES = ("npy", "picture", "zip", "manifest", "marker", "simulation", "coefficients", "board")
TRAINING = ("train toml", "csv", "split", "search", "network", "run")


def drawn(name: str, count: int, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (kind,) = (kind for kind in kinds(folder) if kind.name == name)
        told = campaign(kind, count, 1, folder)
    assert sum(told.values()) == count
    assert told["refused"] > count // 5 or name == "marker"


@pytest.mark.parametrize("name", NAMES)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    drawn(name, 40, tmp_path)


@pytest.mark.parametrize("name", TRAINING)
def test_hostile_files_of_training(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    drawn(name, 40, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES + TRAINING)
def test_many_hostile_files(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    drawn(name, 500, tmp_path)


def test_a_damaged_checkpoint_is_never_another_network(tmp_path: Path) -> None:
    """torch itself reads a changed bit as a changed weight."""
    torch = pytest.importorskip("torch")
    from hwseg.quant.train.checkpoint import NETWORK_FORMAT, load, save

    path = tmp_path / "best.pt"
    wanted = torch.arange(300).float()
    save(path, {"format": NETWORK_FORMAT, "model": wanted})
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(len(sound), 400, replace=False):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << int(rng.integers(8))]) + sound[at + 1 :])
        try:
            assert torch.equal(load(path, NETWORK_FORMAT)["model"], wanted)
        except HwsegError:
            refused += 1
    assert refused > 150


def command(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(words)
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("long", ["x" * 5000, "x" * 300, "/".join(["y" * 200] * 30), "a\x1b[31mb", "ü" * 200])
def test_names_of_any_length_are_a_sentence_in_every_command(
    long: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = "hwseg/models/nuclei-mixed.onnx"
    for words in (
        ("compile", long, "-o", "out"),
        ("compile", str(Path(__file__).parents[2] / model), "--calibrate", long, "-o", "out"),
        ("simulate", long, "--image", "a.png"),
        ("golden", str(Path(__file__).parents[2] / model), "--image", long),
        ("golden", long, "--image", "a.png"),
        ("segment", long, "a.png", "-o", "out"),
        ("report", long),
        ("compare", long),
        ("package", long, "--board", "pynq-z2"),
        ("export", long, "-o", "a.onnx"),
        ("eval", long, "--data", "x"),
        ("train", long, "-o", "out"),
        ("train", "--data", long, "-o", "out", "--steps", "1"),
        ("search", long, "--data", "x", "-o", "out"),
        ("adapt", "--base", long, "--data", "x", "-o", "out"),
    ):
        said = command(capsys, *words)
        assert len(said.splitlines()) == 1, (words[0], said)
        assert len(said) < 2000
        assert "\x1b" not in said
    assert not (tmp_path / "out").exists()


def test_pipes_devices_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HwsegError, match="must be a file, not a folder; check the path"):
        read_file(tmp_path)
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(HwsegError, match="must be a file, not a folder, pipe or device; check the path"):
            read_file(place)
    (tmp_path / "large").write_bytes(bytes(100))
    with pytest.raises(HwsegError, match="must have at most 99 bytes, has 100; check that it is what you meant"):
        read_file(tmp_path / "large", 99)
    with pytest.raises(HwsegError, match="is not a file name"):
        read_file("a\0b")
    assert read_file(tmp_path / "large") == bytes(100)


def test_pipes_and_devices_in_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    data = str(discs(tmp_path / "set", 6))
    for place in (str(tmp_path / "pipe.toml"), "/dev/zero"):
        command(capsys, "train", place, "-o", str(tmp_path / "out"))
        command(capsys, "train", "--data", data, "-o", str(tmp_path / "out"), "--init", place, "--steps", "1")
        command(capsys, "report", str(tmp_path), "--coefficients", place)
        command(capsys, "compile", place, "-o", str(tmp_path / "out"))
    os.mkfifo(tmp_path / "set" / "images" / "7.png")
    os.mkfifo(tmp_path / "set" / "masks" / "7.png")
    said = command(capsys, "train", "--data", data, "-o", str(tmp_path / "out"))
    assert "7.png" in said
    assert "must be a picture" in " ".join(said.split())
