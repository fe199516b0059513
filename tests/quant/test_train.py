"""Training: it learns, stops and goes on with the same bits, and says what went wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant import data, metrics  # noqa: E402
from hwseg.quant.train import Progress, Run, TrainConfig, dice, load_network, train  # noqa: E402
from hwseg.quant.unet import UNetConfig, preset  # noqa: E402

UNET = UNetConfig(depth=1, width=4)
CONFIG = TrainConfig(steps=6, batch=2, size=16, validate_every=4, calibration_batches=2, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright discs on a dark, noisy ground."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for i in range(12):
        y, x, r = (int(rng.integers(low, high)) for low, high in ((6, 26), (6, 26), (4, 9)))
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= r * r
        pixels = np.clip(disc * 120 + rng.integers(0, 60, disc.shape), 0, 255).astype(np.uint8)
        for kind, values in (("images", pixels), ("masks", (disc * 255).astype(np.uint8))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(values).save(root / kind / f"{i}.png")
    return root


def stop_after(step: int) -> object:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_run_goes_on_with_the_same_bits(stop: int, folder: Path, tmp_path: Path) -> None:
    parts = data.load_folder(folder)
    config = TrainConfig(
        steps=6, batch=2, size=16, validate_every=3, calibration_batches=2, threads=1, ema=0.9, rounding=3
    )
    whole = Run(tmp_path / "whole", UNET, config)
    assert not train(whole, parts).interrupted
    first = Run(tmp_path / "parts", UNET, config)
    assert train(first, parts, stop_after(stop)).interrupted  # type: ignore[arg-type]
    torch.manual_seed(99)
    second = Run.resume(tmp_path / "parts")
    assert (second.step, second.stage) == (stop, config.stage(stop - 1))
    assert not train(second, parts).interrupted
    wanted, found = whole.model.state_dict(), second.model.state_dict()
    assert list(wanted) == list(found)
    assert all(torch.equal(wanted[k], found[k]) for k in wanted)
    assert [row[:5] for row in whole.history] == [row[:5] for row in second.history]


def test_an_interrupt_finishes_the_step_and_keeps_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = train(Run(tmp_path / "run", UNET, CONFIG), data.load_folder(folder), interrupt)
    assert (result.interrupted, result.step) == (True, 2)
    assert Run.resume(tmp_path / "run").step == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_it_learns_and_the_kept_network_is_the_folded_one(folder: Path, tmp_path: Path) -> None:
    config = TrainConfig(steps=60, batch=4, size=24, lr=0.02, validate_every=10, calibration_batches=2, threads=1)
    parts = data.load_folder(folder)
    result = train(Run(tmp_path / "run", preset("mixed", depth=1, width=4), config), parts)
    model, meta = load_network(tmp_path / "run" / "best.pt")
    assert model.folded
    assert meta == {"normalize": config.normalize, "size": 24, "excluded": [], "resize": 0, "quantized": True}
    assert result.best_dice > 0.75
    again = dice(model, parts["val"], config.normalize, torch.device("cpu"))
    assert np.mean(again) == pytest.approx(result.scores["val"].mean)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["stage"] for row in rows] == ["float", "float", "quantized", "folded", "folded", "folded"]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["dice"]["test"]["pictures"] == 2


def test_a_loss_that_is_no_number_stops_the_run(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", UNET, CONFIG)
    torch.nn.init.constant_(run.model.get_submodule("head").weight, float("nan"))
    with pytest.raises(HwsegError, match=r"step 1: the loss is nan; lower --lr .*last.pt has what was good"):
        train(run, data.load_folder(folder))
    assert run.step == 0
    assert Run.resume(tmp_path / "run").step == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, "train.seed: must be a whole number from 0, not -1"),
        ({"steps": 1.5}, "train.steps: must be a whole number from 1, not 1.5"),
        ({"lr": "fast"}, "train.lr: must be a positive number, not 'fast'"),
        ({"float_part": 0.8, "quantized_part": 0.3}, "must leave steps"),
        ({"normalize": 3}, "train.normalize: must be a text"),
        ({"exclude": "a.png"}, "train.exclude: must be a list of file names"),
        ({"learning": 1}, "train.learning: is no option of training"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(HwsegError) as caught:
        TrainConfig.from_dict(options)
    assert sentence in str(caught.value)


def test_dice_of_pictures() -> None:
    target = torch.zeros(3, 4, 4, dtype=torch.long)
    target[1:, :2] = 1
    predicted = target.clone()
    predicted[2] = 0
    predicted[2, 1:3] = 1
    assert metrics.dice(predicted, target).tolist() == [1.0, 1.0, 0.5]
    assert metrics.labels(torch.tensor([[-1.0, 0.0, 2.0]]).reshape(1, 1, 1, 3)).tolist() == [[[0, 0, 1]]]
    score = metrics.summarize([0.8, 0.9, 1.0])
    assert score.mean == pytest.approx(0.9)
    assert score.low < 0.9 < score.high


def test_the_command_trains_resumes_and_refuses(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.toml"
    config.write_text("[unet]\nwidth = 2\ndepth = 1\n[train]\nsteps = 3\nsize = 16\nbatch = 1\nthreads = 1\n")
    run = str(tmp_path / "run")
    base = ["train", str(config), "--data", str(folder), "-o", run]

    def call(*more: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as done:
            main([*base, *more])
        return done.value.code, capsys.readouterr().err

    assert call("--batch", "2") == (0, "")
    assert Run.resume(Path(run)).config.batch == 2
    assert call("--resume") == (0, "")
    code, error = call()
    assert code == 2
    assert "already holds a run; add --resume" in error
    code, error = call("--resume", "--lr", "1")
    assert code == 2
    assert "--resume: takes no other options" in error
    base[1] = str(config)
    config.write_text("[unet]\nwidht = 2\n")
    base[-1] = str(tmp_path / "other")
    code, error = call()
    assert code == 2
    assert "UNetConfig.widht: is no option of the U-Net" in error


def test_checkpoints_are_read_without_executing_them(tmp_path: Path) -> None:
    torch.save({"format": Path("x")}, tmp_path / "best.pt")
    with pytest.raises(HwsegError, match=r"best.pt: is no checkpoint"):
        load_network(tmp_path / "best.pt")
    torch.save({"format": "else"}, tmp_path / "best.pt")
    with pytest.raises(HwsegError, match=r"must be a 'hwseg network 1' checkpoint, not 'else'"):
        load_network(tmp_path / "best.pt")
