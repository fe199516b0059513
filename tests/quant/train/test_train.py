"""Training: it learns, stops and goes on with the same bits, and says what went wrong."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.datasets.seen import of_parts  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.quant.networks.unet import UNetConfig, preset  # noqa: E402
from hwseg.quant.train import metrics  # noqa: E402
from hwseg.quant.train.run import Progress, Run, TrainConfig, dice, load_network, read_toml, train  # noqa: E402

UNET = UNetConfig(depth=1, width=4)
CONFIG = TrainConfig(steps=6, batch=2, size=16, validate_every=4, calibration_batches=2, threads=1)


def stop_after(step: int) -> object:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_run_goes_on_with_the_same_bits(stop: int, discs: Path, tmp_path: Path) -> None:
    parts = data.load_folder(discs)
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


def test_an_interrupt_finishes_the_step_and_keeps_a_checkpoint(discs: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = train(Run(tmp_path / "run", UNET, CONFIG), data.load_folder(discs), interrupt)
    assert (result.interrupted, result.step) == (True, 2)
    assert Run.resume(tmp_path / "run").step == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_it_learns_and_the_kept_network_is_the_folded_one(discs: Path, tmp_path: Path) -> None:
    config = TrainConfig(steps=60, batch=4, size=24, lr=0.02, validate_every=10, calibration_batches=2, threads=1)
    parts = data.load_folder(discs)
    result = train(Run(tmp_path / "run", preset("mixed", depth=1, width=4), config), parts)
    model, meta = load_network(tmp_path / "run" / "best.pt")
    assert model.folded
    rest = {"size": 24, "picture": (24, 24), "excluded": [], "resize": 0, "quantized": True, "seen": of_parts(parts)}
    assert meta == {"input": config.meaning, "labels": Labels(), **rest}
    assert result.best_dice > 0.75
    again = dice(model, parts["val"], config.meaning, torch.device("cpu"))
    assert np.mean(again) == pytest.approx(result.scores["val"].mean)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["stage"] for row in rows] == ["float", "float", "quantized", "folded", "folded", "folded"]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["dice"]["test"]["pictures"] == 2


def test_a_loss_that_is_no_number_stops_the_run(discs: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", UNET, CONFIG)
    torch.nn.init.constant_(run.model.get_submodule("head").weight, float("nan"))
    with pytest.raises(HwsegError, match=r"step 1: the loss is nan; lower --lr .*last.pt has what was good"):
        train(run, data.load_folder(discs))
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
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.toml"
    config.write_text("[unet]\nwidth = 2\ndepth = 1\n[train]\nsteps = 3\nsize = 16\nbatch = 1\nthreads = 1\n")
    run = str(tmp_path / "run")
    base = ["train", str(config), "--data", str(discs), "-o", run]

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
    with pytest.raises(HwsegError, match=r"best.pt: is not a checkpoint of hwseg"):
        load_network(tmp_path / "best.pt")
    torch.save({"format": "else"}, tmp_path / "best.pt")
    with pytest.raises(HwsegError, match=r"must be a 'hwseg network 1' checkpoint, not 'else'"):
        load_network(tmp_path / "best.pt")


@pytest.mark.slow
def test_two_processes_share_every_batch(discs: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hwseg", "train", "--data", str(discs), "-o", str(tmp_path / "run"), "--depth", "1",
         "--width", "4", "--size", "16", "--steps", "30", "--batch", "4", "--threads", "1", "--devices", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Dice on val") == 1
    model, _ = load_network(tmp_path / "run" / "best.pt")
    assert model.folded
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["30"]


SCRIPT = """
import sys
from pathlib import Path
from hwseg.datasets import data
from hwseg.quant.train import losses
from hwseg.quant.train.run import Run, TrainConfig, train
from hwseg.quant.networks.unet import UNetConfig

config = TrainConfig(steps=5, batch=4, size=16, float_part=1.0, quantized_part=0.0, threads=1)
run = Run(Path(sys.argv[1]), UNetConfig(depth=1, width=4, batch_norm=False), config)
run.loss = lambda logits, targets: losses.pixel_entropy(logits, targets).mean()
train(run, data.load(sys.argv[2]))
print("first" if run.fabric.is_global_zero else "other", run.fabric.world_size)
"""
"""Without normalization and Dice, which look at a process's pictures together, a batch's parts add up."""


@pytest.mark.slow
def test_processes_of_torchrun_train_what_one_process_trains(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    group = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    said = {}
    for name, start in {"two": group, "one": [sys.executable]}.items():
        command = [*start, str(tmp_path / "script.py"), str(tmp_path / name), str(discs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said[name] = sorted(done.stdout.splitlines())
    assert said == {"two": ["first 2", "other 2"], "one": ["first 1"]}
    two, one = (load_network(tmp_path / name / "best.pt")[0].state_dict() for name in ("two", "one"))
    assert all(torch.allclose(two[name], one[name], rtol=1e-3, atol=1e-5) for name in one)


def test_torchrun_says_how_many_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HwsegError, match="--devices: is 3, but torchrun started 2 processes here; leave it out"):
        Run(tmp_path / "run", UNET, TrainConfig(devices=3, size=16))


def test_mixed_precision_multiplies_in_bfloat16_and_keeps_float32(discs: Path, tmp_path: Path) -> None:
    values = {**vars(CONFIG), "steps": 40, "batch": 4, "precision": "bf16-mixed", "validate_every": 40}
    run = Run(tmp_path / "run", UNET, TrainConfig.from_dict(values))
    kinds: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def record(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        kinds[module.training].add(output.dtype)

    run.model.head.register_forward_hook(record)
    result = train(run, data.load(discs))
    assert kinds == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert result.best_dice > 0.8


@pytest.mark.parametrize("name", ["cuda", "banana"])
def test_a_device_that_is_not_there(name: str, tmp_path: Path) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("has a GPU")
    with pytest.raises(HwsegError, match=f"--device: '{name}' is not available here; use cpu"):
        Run(tmp_path / "run", UNET, TrainConfig(device=name, size=16))


def test_early_stopping_and_tensorboard(discs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    config = TrainConfig(
        steps=40, batch=1, size=16, lr=1e-9, validate_every=1, calibration_batches=1, threads=1, float_part=0.0,
        quantized_part=0.0, patience=2, tensorboard=True,
    )  # fmt: skip
    result = train(Run(tmp_path / "run", UNET, config), data.load_folder(discs))
    assert result.step == 3
    assert list((tmp_path / "run").glob("events.out*"))


def test_a_float_network_is_the_start_of_quantized_ones(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as done:
            main(list(words))
        return done.value.code, capsys.readouterr().err

    common = ("--data", str(discs), "--depth", "1", "--width", "4", "--size", "16", "--steps", "4", "--batch", "2")
    base = str(tmp_path / "float" / "best.pt")
    assert call("train", *common, "-o", str(tmp_path / "float"), "--preset", "float")[0] == 0
    code, error = call("export", str(tmp_path / "float"))
    assert code == 2
    assert "is a float network; train with a preset other than float" in error
    tuned = ("--preset", "w4a4", "--init", base, "--float-part", "0", "--lr", "1e-9")
    assert call("train", *common, "-o", str(tmp_path / "w4"), *tuned)[0] == 0
    before, _ = load_network(Path(base))
    after, meta = load_network(tmp_path / "w4" / "best.pt")
    assert not before.folded
    assert after.folded
    assert meta["quantized"]
    assert after.config.weight_bits_of("enc0/conv1") == 4
    assert torch.allclose(before.get_submodule("head").weight, after.get_submodule("head").weight, atol=1e-6)
    assert call("export", str(tmp_path / "w4"))[0] == 0
    assert (tmp_path / "w4" / "model.onnx").is_file()
    code, error = call("train", *common, "-o", str(tmp_path / "x"), "--init", base, "--width", "8")
    assert code == 2
    assert "is of another architecture: it has enc0.conv0.weight of shape [4, 1, 3, 3]" in error


def test_the_written_configuration_trains_the_same(discs: Path, tmp_path: Path) -> None:
    unet = preset("mixed", depth=1, width=4, residual=True)
    config = TrainConfig(steps=2, size=16, batch=1, exclude=("0.png",), loss="boundary", threads=1)
    train(Run(tmp_path / "run", unet, config), data.load_folder(discs, exclude=config.exclude))
    tables = read_toml(tmp_path / "run" / "config.toml")
    assert UNetConfig.from_dict(tables["unet"]) == unet
    assert TrainConfig.from_dict(tables["train"]) == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = [", "is not readable TOML"),
        ("[model]\nx = 1", "has tables [data], [unet], [network], [train] only, not 'model'"),
        ("[data]\nfolder = 1", "[data] has path only, not folder"),
        ("[train]\nsteps = 1", "--data: is needed; name a folder or a CSV file"),
    ],
)
def test_bad_configuration_files(text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SystemExit) as done:
        main(["train", str(tmp_path / "c.toml"), "-o", str(tmp_path / "run")])
    assert done.value.code == 2
    assert sentence in capsys.readouterr().err
