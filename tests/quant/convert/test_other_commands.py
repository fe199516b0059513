"""What trains, searches, adapts, exports and judges takes networks of `hwseg quantize` as it takes hwseg's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("joblib")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.datasets.seen import SEEN, declared  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.source import choice_of  # noqa: E402
from hwseg.quant.convert import NetworkConfig, QuantizedNetwork  # noqa: E402
from hwseg.quant.networks.unet import UNetConfig  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import search  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig, read_toml  # noqa: E402
from hwseg.quant.train.run import Run, train  # noqa: E402
from tests.quant.convert import nets  # noqa: E402
from tests.quant.convert.exact import agrees_with_its_file  # noqa: E402


def called(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def model(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted network in 6 bits, for pictures scaled to 16x16 whose values are `range 0 255`."""
    out = tmp_path_factory.mktemp("converted") / "m.onnx"
    bits = out.with_name("bits.toml")
    bits.write_text('[weights]\n"*" = 6\n[activations]\n"*" = 6\n')
    call = ["quantize", "tests.quant.convert.nets:masked", "--data", discs, "-o", out, "--array", "8x2x2", "--resize",
            "16", "--normalize", "range 0 255", "--bits", bits, "--pictures", "4"]  # fmt: skip
    assert called(*call) == 0
    return out


@pytest.fixture(scope="module")
def base(model: Path) -> Path:
    """Its checkpoint."""
    return model.with_suffix(".pt")


@pytest.fixture(scope="module")
def trained(base: Path, discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that began with it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert called("train", "--init", base, "--data", discs, "-o", out, "--steps", 3, "--batch", 2, "--threads", 1) == 0
    return out


def test_it_is_exported_again_as_the_same_file(model: Path, base: Path, tmp_path: Path) -> None:
    assert called("export", base, "-o", tmp_path / "m.onnx") == 0
    assert (tmp_path / "m.onnx").read_bytes() == model.read_bytes()
    assert called("export", base, "-o", tmp_path / "large.onnx", "--size", "32x48", "--name", "m") == 0
    assert called("export", model, "-o", tmp_path / "again.onnx", "--size", "32x48") == 0
    assert load(tmp_path / "large.onnx").types["image"].shape == (32, 48, 1)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "large.onnx").read_bytes()


def test_it_is_trained_as_it_was_converted(base: Path, trained: Path, discs: Path, tmp_path: Path) -> None:
    before, about = load_network(base)
    after, meta = load_network(trained / "best.pt")
    assert isinstance(after, QuantizedNetwork)
    assert after.config == before.config
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert [meta[n] for n in ("size", "resize", "input", "picture")] == [16, 16, about["input"], (16, 16)]
    tables = read_toml(trained / "config.toml")
    assert tables["train"] | {"lr": 1e-3, "float_part": 0.0, "quantized_part": 0.0} == tables["train"]
    assert tables["network"] == before.config.settings()
    stages = [row.split(",")[1] for row in (trained / "metrics.csv").read_text().splitlines()[1:]]
    assert set(stages) == {"folded"}
    assert set(json.loads((trained / "result.json").read_text())["dice"]) == {"val", "test"}
    agrees_with_its_file(after, [nets.pictures(2)], tmp_path)
    settings = tmp_path / "again.toml"  # what a run writes begins another one
    shutil.copyfile(trained / "config.toml", settings)
    assert called("train", settings, "--data", discs, "-o", tmp_path / "again", "--steps", 1) == 0


def test_what_was_trained_is_exported_judged_and_scored(trained: Path, model: Path, discs: Path) -> None:
    assert called("export", trained) == 0
    graph, first = load(trained / "model.onnx"), load(model)
    assert choice_of(graph).meaning == choice_of(first).meaning
    seen, before = (declared(one.metadata, "m").train for one in (graph, first))
    assert before < seen  # what calibrated, and what trained
    assert SEEN in graph.metadata
    assert called("trust", trained / "model.onnx", "--data", discs, "--in-place", "--fit", "resize") == 0
    assert called("eval", trained / "model.onnx", "--data", discs, "--fit", "resize") == 0


def test_the_networks_own_tensors_referee_its_file(model: Path, discs: Path) -> None:
    picture = discs / "images" / "0.png"
    assert called("golden", model, "--image", picture, "--fit", "resize", "--compare", "brevitas") == 0


@pytest.mark.parametrize(
    "options", [{}, {"float_part": 0.4, "quantized_part": 0.2, "ema": 0.5, "rounding": 4}], ids=repr
)
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(
    options: dict[str, Any], base: Path, discs: Path, tmp_path: Path
) -> None:
    network, parts = load_network(base)[0].config, data.load_folder(discs)
    fine = {"float_part": 0.0, "quantized_part": 0.0, **options}
    config = TrainConfig(steps=5, batch=2, size=16, validate_every=5, threads=1, init=str(base), calibration_batches=2,
                         **fine)  # fmt: skip

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    whole, first = (Run(tmp_path / name, network, config) for name in ("whole", "parts"))
    assert not train(whole, parts).interrupted
    assert train(first, parts, stop).interrupted
    again = Run.resume(tmp_path / "parts")
    assert again.step == 2
    assert not train(again, parts).interrupted
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_its_bits_are_searched_and_tuned(
    base: Path, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOWEST", 5)
    out = tmp_path / "search"
    call = ["search", base, "--data", discs, "-o", out, "--array", "8x2x2", "--points", 2, "--steps", 1, "--budget", 1]
    assert called(*call) == 0
    front = json.loads((out / "front.json").read_text())
    row, first = front["points"][front["chosen"]], front["points"][0]
    assert set(first["bits"].values()) == {6}
    assert row["bits"]["a:bottom/3"] == 5
    assert row["cycles"] == min(point["cycles"] for point in front["points"]) < first["cycles"]
    tuned, _ = load_network(out / "run" / "best.pt")
    assert {f"a:{name}": bits for name, bits in tuned.config.settings()["activation_bits"].items()} == row["bits"]
    assert read_toml(out / "config.toml") == {"network": tuned.config.settings()}
    assert called("export", out / "run") == 0
    graph = load(out / "run" / "model.onnx")
    assert graph.types["bottom/3/quantizer"].bits == 5


def test_it_is_adapted_with_few_parameters(base: Path, discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    call = ["adapt", "--base", base, "--data", discs, "-o", out, "--preset", "w8a8", "--rank", 1, "--final-rank", 1,
            "--fewer", 1, "--steps", 3, "--batch", 2, "--size", 16, "--resize", 16, "--threads", 1]  # fmt: skip
    assert called(*call) == 0
    report = json.loads((out / "adapt.json").read_text())
    adapted, before = load_network(out / "best.pt")[0], load_network(base)[0]
    assert set(report["ranks"]) == set(adapted.config.convolutions)
    assert report["trainable"]["end"] < report["trainable"]["full"]
    assert set(adapted.config.settings()["activation_bits"].values()) == {8}
    change = adapted.weight_of("dec/0") - before.weight_of("dec/0")
    rows = change.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    assert 0 < int(torch.linalg.matrix_rank(rows, rtol=1e-4)) <= 1


def test_bits_are_chosen_by_preset_and_by_table(base: Path, discs: Path, tmp_path: Path) -> None:
    common = ["--data", discs, "--steps", 1, "--batch", 1]
    assert called("train", "--init", base, "-o", tmp_path / "w4", "--preset", "w4a4", *common) == 0
    found = load_network(tmp_path / "w4" / "best.pt")[0].config
    assert {found.weight_bits_of(name) for name in found.convolutions[1:-1]} == {4}
    assert {found.weight_bits_of(name) for name in (found.convolutions[0], found.convolutions[-1])} == {8}
    table = tmp_path / "t.toml"
    table.write_text(f'[network]\nactivation_bits = {{ "*" = 5, "enc/*" = 7 }}\n[train]\ninit = "{base}"\n')
    assert called("train", table, "-o", tmp_path / "t", *common) == 0
    found = load_network(tmp_path / "t" / "best.pt")[0].config
    assert (found.activation_bits_of("enc/3"), found.activation_bits_of("dec/3")) == (7, 5)
    assert {found.weight_bits_of(name) for name in found.convolutions} == {6}  # those that it had


@pytest.mark.parametrize(
    ("options", "table", "told"),
    [
        (["--depth", 2, "--width", 4], "", "has layers of its own; depth, width would change them; leave these"),
        (["--preset", "mixed"], "", "--preset: must be w8a8 or w4a4 for a converted network; choose bits by layer"),
        ([], "[network]\nlayers = 3", "[network]: has weight_bits and activation_bits only, not layers"),
        ([], '[network]\nweight_bits = { "no" = 3 }', "--bits: 'no' matches no layer; layers are enc/0"),
        ([], "[network]\nweight_bits = true", "--bits: must be a number, or numbers by layer, not True"),
        ([], '[network]\nweight_bits = "4"', "--bits: must be a number, or numbers by layer, not '4'"),
        (["--size", 15], "", "train.size: must be a multiple of 2 for this network, not 15"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(
    options: list[object], table: str, told: str, base: Path, discs: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings = tmp_path / "t.toml"
    settings.write_text(table)
    assert called("train", settings, "--init", base, "--data", discs, "-o", tmp_path / "out", *options) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_its_table_needs_it(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "t.toml"
    settings.write_text("[network]\nactivation_bits = 4\n")
    assert called("train", settings, "--data", discs, "-o", tmp_path / "out") == 2
    assert "name its checkpoint as init" in capsys.readouterr().err


def test_a_network_of_other_layers_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(HwsegError, match="is of another architecture: it has"):
        Run(tmp_path / "run", UNetConfig(depth=1, width=4), TrainConfig(init=str(base)))
    network = load_network(base)[0].config
    assert isinstance(network, NetworkConfig)
    content = network.to_dict()
    next(x for x in content["layers"] if x["name"] == "dec/0")["options"].update(dilation=2, padding=2)  # same numbers
    with pytest.raises(HwsegError, match="its layers are joined otherwise"):
        Run(tmp_path / "run", NetworkConfig.from_dict(content), TrainConfig(size=16, init=str(base)))
    assert not (tmp_path / "run").exists()


def test_thresholds_of_other_scales_are_found_anew(base: Path, discs: Path, tmp_path: Path) -> None:
    """Those of powers of two are kept as logarithms: taken as they are, they would clip everything."""
    content = load_network(base)[0].config.to_dict() | {"scales": "float"}
    config = TrainConfig(steps=1, batch=2, size=16, resize=16, float_part=0, quantized_part=0, lr=1e-9, init=str(base),
                         normalize="range 0 255", calibration_batches=2)  # fmt: skip
    run = Run(tmp_path / "run", NetworkConfig.from_dict(content), config)
    train(run, data.load_folder(discs))
    with torch.no_grad():
        x = nets.pictures(2)
        wanted, found = load_network(base)[0](x), run.model.eval()(x)
    assert float((found - wanted).square().mean()) < 0.25 * float(wanted.square().mean())


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "kernel": (lambda c: c["layers"][0]["options"].update(kernel=10**6), "enc/0 has weights of"),
    "name": (lambda c: c["layers"][0].update(name="input"), "'input' cannot be the name of a layer"),
    "operation": (lambda c: c["layers"][1].update(op="system"), "'system' is no operation"),
    "order": (lambda c: c["layers"].reverse(), "reads what is not there"),
    "size": (lambda c: c["layers"][2]["options"].update(kernel=2, stride=10**9), "pictures would be multiples of"),
    "numbers": (lambda c: c["layers"][1].update(op="scale", roles=["weight"]), "scale has no numbers here"),
    "channels": (lambda c: c.update(out_channels=7), "head has 1 channels, not 7"),
    "shapes": (lambda c: c["shapes"].update(no=[1, 1, 1, 1]), "shapes are not those of its convolutions"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_whose_layers_do_not_fit_is_refused(name: str, base: Path, tmp_path: Path) -> None:
    change, told = HOSTILE[name]
    network, meta = load_network(base)
    content = network.config.to_dict()
    change(content)

    class Damaged:
        table = "network"

        def to_dict(self) -> dict[str, Any]:
            return content

    network.config = Damaged()  # type: ignore[assignment]
    save_network(tmp_path / "n.pt", network, TrainConfig(size=16), meta["input"])
    with pytest.raises(HwsegError, match=f"n.pt: is not a checkpoint of hwseg, or is damaged .*{told}"):
        load_network(tmp_path / "n.pt")
