"""Adapters: the algebra of their parametrization, folding and merging; the budget; a run from base to integers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.networks import layers  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import adapt, evaluate  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402
from hwseg.quant.train.run import Progress, dice, train  # noqa: E402

UNET = UNetConfig(depth=1, width=4)


def random_adapters(model: QuantUNet) -> None:
    for _, adapter in adapt.adapters(model):
        torch.nn.init.normal_(adapter.weight)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_network(tmp_path / "base.pt", QuantUNet(UNET), TrainConfig(size=16), quantized=False)
    return tmp_path / "base.pt"


def config(base: Path, **options: object) -> TrainConfig:
    values = {"steps": 8, "batch": 2, "size": 16, "validate_every": 4, "calibration_batches": 2, "threads": 1,
              "float_part": 0.5, "quantized_part": 0.0, "init": str(base), **options}  # fmt: skip
    return TrainConfig.from_dict(values)


def test_a_new_adapter_changes_nothing_and_a_kernel_is_one_matrix() -> None:
    adapter = adapt.LowRank(torch.Size((4, 3, 3, 3)), 2)
    weight = torch.randn(4, 3, 3, 3)
    assert torch.equal(adapter(weight), weight)
    torch.nn.init.normal_(adapter.weight)
    change = adapter(weight) - weight
    matrix = change.permute(0, 2, 1, 3).reshape(12, 9)
    assert torch.linalg.matrix_rank(matrix, tol=1e-4) == 2
    assert torch.allclose(matrix, adapter.p @ torch.diag(adapter.weight) @ adapter.q, atol=1e-6)
    assert adapter.orthogonality() < 1e-9
    assert adapter.per_triplet == 12 + 1 + 9


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_folding_and_merging_keep_the_function(upsampling: str) -> None:
    torch.manual_seed(0)
    model = QuantUNet(UNetConfig(depth=1, width=4, upsampling=upsampling))
    adapt.attach(model, 2)
    random_adapters(model)
    layers.set_quantization(model, False)
    x = torch.rand(4, 1, 16, 16)
    model.train()(x)
    model.eval()
    wanted = model(x)
    fold_batch_norm(model)
    assert model.folded
    assert torch.allclose(model(x), wanted, atol=1e-5)
    plain = adapt.merged(model).eval()
    assert not list(adapt.adapters(plain))
    for quantized in (False, True):
        layers.set_quantization(model, quantized)
        layers.set_quantization(plain, quantized)
        assert torch.equal(plain(x), model(x))


def test_the_budget_is_constant_then_cubic_then_constant() -> None:
    plan = adapt.AdaptConfig(rank=4, final_rank=1.0, budget_from=0.2, budget_to=0.7)
    assert [plan.budget(done, 10, 40) for done in (0, 0.2, 0.45, 0.7, 1)] == [40, 40, 10 + round(30 / 8), 10, 10]


def test_the_dearest_convolutions_begin_with_fewer_triplets() -> None:
    model = QuantUNet(UNetConfig(depth=2, width=8))
    full = sum(p.numel() for n, p in model.named_parameters() if "scaling" not in n)
    adapt.attach(model, 3, fewer=9)
    adapt.freeze(model, quantized=True)
    assert full / 10 < adapt.trainable(model) <= full / 9
    ranks = {name: len(adapter.alive) for name, adapter in adapt.adapters(model)}
    assert ranks["enc0/conv1"] == 3
    assert ranks["bottom/conv1"] < 3
    assert min(ranks.values()) >= 1
    with pytest.raises(HwsegError, match="--fewer: is too much: no adapters fit 200 times fewer parameters"):
        adapt.attach(QuantUNet(UNetConfig(depth=2, width=8)), 3, fewer=200)


def test_the_least_important_triplets_go(base: Path, tmp_path: Path) -> None:
    plan = adapt.AdaptConfig(rank=2, final_rank=1.0, fewer=1)
    run = adapt.AdaptRun(tmp_path / "run", UNET, config(base), plan)
    found = [adapter for _, adapter in adapt.adapters(run.model)]
    for number, adapter in enumerate(found):
        adapter.weight_sensitivity[:] = (torch.tensor([2.0, 1.0]) + 10 * number)[: len(adapter.alive)]
        adapter.weight_deviation[:] = 1
    run.step = 3
    run.prune()
    ranks = list(run.ranks().values())
    assert ranks == [0, 0, 0, 2, 2, 2, 1]
    dead = found[0]
    torch.nn.init.normal_(dead.weight)
    assert torch.equal(dead(torch.zeros(dead.shape[0], dead.shape[2], 3, 3)), torch.zeros(4, 1, 3, 3))


@pytest.mark.parametrize("stop", [3, 6])
def test_a_run_freezes_the_base_resumes_exactly_and_ends_in_integers(
    stop: int, base: Path, discs: Path, tmp_path: Path
) -> None:
    parts = data.load(discs)
    plan = adapt.AdaptConfig(rank=2, final_rank=1.0, fewer=4)

    def interrupt(progress: Progress) -> None:
        if progress.step == stop:
            raise KeyboardInterrupt

    whole = adapt.AdaptRun(tmp_path / "whole", UNET, config(base, ema=0.9), plan)
    originals = {k: v.clone() for k, v in whole.model.state_dict().items() if k.endswith("weight.original")}
    assert whole.started["all"] == sum(p.numel() for n, p in QuantUNet(UNET).named_parameters() if "scaling" not in n)
    train(whole, parts, lambda p: None)
    assert not any(p.requires_grad for n, p in whole.model.named_parameters() if n.endswith("weight.original"))
    factors = {k: whole.model.state_dict()[k] / v for k, v in originals.items()}
    assert all(torch.allclose(f, f[:, :1, :1, :1].expand_as(f), atol=1e-3) for f in factors.values())
    first = adapt.AdaptRun(tmp_path / "parts", UNET, config(base, ema=0.9), plan)
    assert train(first, parts, interrupt).interrupted
    second = adapt.AdaptRun.resume(tmp_path / "parts")
    assert second.started == whole.started
    train(second, parts)
    wanted, found = whole.model.state_dict(), second.model.state_dict()
    assert list(wanted) == list(found)
    assert all(torch.equal(wanted[k], found[k]) for k in wanted)
    assert adapt.trainable(second.model) < whole.started["all"] / 2


def test_a_folded_base_is_adapted_and_resumed(discs: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    folded = fold_batch_norm(QuantUNet(UNET).eval())
    save_network(tmp_path / "base.pt", folded, TrainConfig(size=16))
    run = adapt.AdaptRun(
        tmp_path / "run", UNET, config(tmp_path / "base.pt"), adapt.AdaptConfig(rank=1, final_rank=1, fewer=1)
    )
    train(run, data.load(discs))
    again = adapt.AdaptRun.resume(tmp_path / "run")
    assert again.step == 8
    assert again.started == run.started
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in run.model.state_dict().items())


def test_the_command_reports_and_its_integers_are_those_evaluated(
    base: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    call = ["adapt", "--base", str(base), "--data", str(discs), "-o", str(out), "--preset", "w4a4", "--steps", "6",
            "--fewer", "1",
            "--size", "16", "--resize", "16", "--batch", "2", "--rank", "2", "--final-rank", "1",
            "--threads", "1"]  # fmt: skip
    with pytest.raises(SystemExit) as done:
        main(call)
    assert done.value.code == 0, capsys.readouterr().err
    report = json.loads((out / "adapt.json").read_text())
    assert report["trainable"]["begin"] < report["trainable"]["full"]
    assert report["weight_bytes"]["packed"] * 5 < report["weight_bytes"]["float32"]
    pairs = data.load(discs)["test"]
    model, meta = load_network(out / "best.pt")
    assert meta["quantized"]
    brevitas = dice(model, pairs, meta["input"], torch.device("cpu"), 16)
    assert evaluate.dices(load(out / "model.onnx"), pairs) == pytest.approx(brevitas)
    assert report["dice"]["test"]["integers"]["mean"] == pytest.approx(float(np.mean(brevitas)))


def test_bad_options(tmp_path: Path, base: Path) -> None:
    with pytest.raises(HwsegError, match="--final-rank: must be above 0 and at most 2, not 3"):
        adapt.AdaptConfig(rank=2, final_rank=3)
    with pytest.raises(
        HwsegError, match=r"is of another architecture: it has enc0.conv0.weight of shape \[4, 1, 3, 3\]"
    ):
        adapt.AdaptRun(tmp_path / "run", UNetConfig(depth=1, width=2), config(base), adapt.AdaptConfig())
