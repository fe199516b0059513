"""Export: the file computes what Brevitas computes, twice the same bytes, readable names, any size that fits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

import onnx  # noqa: E402
from qonnx.core.modelwrapper import ModelWrapper  # noqa: E402
from qonnx.core.onnx_exec import execute_onnx  # noqa: E402

from hwseg.cli import main  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.pictures.meaning import Meaning  # noqa: E402
from hwseg.quant.networks.layers import calibrate  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm, preset  # noqa: E402
from hwseg.quant.read.reshape import parse_size  # noqa: E402
from hwseg.quant.train.export import export_qonnx, resize  # noqa: E402
from hwseg.quant.train.run import TrainConfig, save_network  # noqa: E402


def network(config: UNetConfig) -> QuantUNet:
    torch.manual_seed(0)
    model = fold_batch_norm(QuantUNet(config)).eval()
    return calibrate(model, [pixels(config, (16, 16))])


def pixels(config: UNetConfig, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    return torch.randint(0, 256, (1, config.in_channels, *size), generator=generator) / 256


def run(model: onnx.ModelProto, x: torch.Tensor) -> np.ndarray:
    result: np.ndarray = execute_onnx(ModelWrapper(model), {"image": x.numpy()})["logits"]
    return result


@pytest.mark.parametrize(
    "config",
    [
        preset("w8a8", depth=2, width=3, upsampling="nearest"),
        preset("mixed", depth=2, width=3, upsampling="bilinear"),
        preset("mixed", depth=2, width=3, upsampling="transposed", residual=True, in_channels=3, out_channels=2),
    ],
)
def test_the_file_computes_what_brevitas_computes(config: UNetConfig, tmp_path: Path) -> None:
    model = network(config)
    x = pixels(config, (16, 24))
    export_qonnx(model, tmp_path / "a.onnx", (16, 24))
    exported = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(exported)
    with torch.no_grad():
        assert np.array_equal(run(exported, x), model(x).numpy())


def test_the_same_network_gives_the_same_bytes_and_says_nothing_of_the_machine(tmp_path: Path) -> None:
    config = UNetConfig(depth=1, width=2)
    paths = [tmp_path / "a.onnx", tmp_path / "deeper" / "b.onnx"]
    for path in paths:
        export_qonnx(network(config), path, (8, 8), Meaning("percentile 1 99"), Labels(names=("other", "cell")))
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    model = onnx.load(paths[0])
    assert not any(node.doc_string for node in model.graph.node)
    assert b"site-packages" not in first
    assert b"__torch__" not in first
    metadata = {p.key: p.value for p in model.metadata_props}
    assert json.loads(metadata.pop("hwseg.config"))["depth"] == 1
    assert metadata == {
        "hwseg.input": '{"bits": 0, "extend": "edge", "format": 1, "values": "percentile 1 99"}',
        "hwseg.labels": '{"channels": 1, "coding": "binary", "format": 1, "names": ["other", "cell"]}',
        "hwseg.channels": "1",
        "hwseg.size": "8x8",
        "hwseg.classes": "1",
    }


def test_nodes_carry_the_names_of_layers(tmp_path: Path) -> None:
    model = export_qonnx(network(UNetConfig(depth=1, width=2, upsampling="transposed")), tmp_path / "a.onnx", (8, 8))
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    kinds = {"Conv", "ConvTranspose", "MaxPool", "Concat"}
    assert [node.name for node in model.graph.node if node.op_type in kinds] == [
        "enc0/conv0", "enc0/conv1", "pool0", "bottom/conv0", "bottom/conv1", "up0/conv", "skip0", "dec0/conv0",
        "dec0/conv1", "head",
    ]  # fmt: skip


def test_an_exported_file_changes_size_without_the_checkpoint(tmp_path: Path) -> None:
    config = preset("mixed", depth=2, width=2, upsampling="nearest")
    model = network(config)
    small = export_qonnx(model, tmp_path / "a.onnx", (16, 16))
    x = pixels(config, (8, 20))
    with torch.no_grad():
        assert np.array_equal(run(resize(small, (8, 20)), x), model(x).numpy())
    assert resize(small, (8, 20)) == export_qonnx(model, tmp_path / "b.onnx", (8, 20))


def test_the_command_exports_checkpoints_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_network(tmp_path / "best.pt", network(UNetConfig(depth=1, width=2)), TrainConfig(size=16))
    for arguments in (["best.pt", "-o", "a.onnx", "--name", "n"], ["a.onnx", "-o", "b.onnx", "--size", "8x10"]):
        with pytest.raises(SystemExit) as done:
            main(["export", *(str(tmp_path / a) if "." in a else a for a in arguments)])
        assert done.value.code == 0
    shapes = [
        [d.dim_value for d in onnx.load(tmp_path / f).graph.input[0].type.tensor_type.shape.dim]
        for f in ("a.onnx", "b.onnx")
    ]
    assert shapes == [[1, 1, 16, 16], [1, 1, 8, 10]]


def test_auto_prints_what_a_pixel_costs_and_exports_what_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hwseg import tile_size

    monkeypatch.setattr(tile_size, "SIDES", (16, 32))
    save_network(tmp_path / "best.pt", network(UNetConfig(depth=1, width=2)), TrainConfig(size=16))
    for source, target in (("best.pt", "a.onnx"), ("a.onnx", "b.onnx")):
        arguments = [
            "export",
            str(tmp_path / source),
            "-o",
            str(tmp_path / target),
            "--size",
            "auto",
            "--array",
            "8x1x1",
        ]
        with pytest.raises(SystemExit) as done:
            main(arguments)
        assert done.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        (taken,) = (line.split()[0] for line in lines if line.endswith("taken"))
        dims = onnx.load(tmp_path / target).graph.input[0].type.tensor_type.shape.dim
        assert taken == f"{dims[2].dim_value}x{dims[3].dim_value}"
        assert lines[-1].startswith(f"{tmp_path / target}: {taken}, ")
        assert "cycles per pixel" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["best.pt", "-o", "x.onnx", "--picture", "8x8"], "--picture: goes with --size auto alone; leave it out"),
        (["best.pt", "-o", "x.onnx", "--size", "auto", "--board", "z"], "'z' is not a board"),
        (["missing", "-o", "x.onnx"], "missing: does not exist"),
        (["bad.pt", "-o", "x.onnx"], "bad.pt: is not a checkpoint"),
        (["bad.onnx", "-o", "x.onnx", "--size", "8"], "bad.onnx: is not an ONNX file"),
        (["best.pt", "-o", "x.onnx", "--size", "7x8"], "--size: height must be a multiple of 2, not 7; 8 fits"),
        (["best.pt", "-o", "x.onnx", "--size", "8x"], "--size: must be HEIGHTxWIDTH, not '8x'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_network(tmp_path / "best.pt", network(UNetConfig(depth=1, width=1)), TrainConfig(size=8))
    for name in ("bad.pt", "bad.onnx"):
        (tmp_path / name).write_bytes(b"\x08not a model")
    with pytest.raises(SystemExit) as done:
        main(["export", *arguments])
    error = capsys.readouterr().err
    assert done.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_sizes_are_read_as_height_by_width() -> None:
    assert parse_size("96x128") == (96, 128)
    assert parse_size("64") == (64, 64)
    with pytest.raises(HwsegError):
        parse_size("-8x8")
