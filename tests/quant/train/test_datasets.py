"""Data sets as people have them: what was trained on wrongly without a word is understood, or refused with a cure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
tifffile = pytest.importorskip("tifffile")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.datasets.pairs import every_class  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.labels import IGNORE, Labels  # noqa: E402
from hwseg.pictures.meaning import NAMES, Meaning  # noqa: E402
from hwseg.pictures.source import choice_of, integers, labels_of, read_input  # noqa: E402
from hwseg.pictures.table import Quantizer  # noqa: E402
from hwseg.quant.networks.layers import calibrate  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import losses, metrics  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from hwseg.quant.train.run import Run, TrainConfig, train  # noqa: E402
from hwseg.quant.train.tensors import whole  # noqa: E402
from tests.pictures import files  # noqa: E402

SIZE = 32
RANDOM = np.random.default_rng(0)


def disc(number: int) -> np.ndarray:
    """Where picture `number` has its bright disc."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = 8 + 3 * (number % 5), 7 + 4 * (number % 4)
    return (rows - y) ** 2 + (columns - x) ** 2 <= 25


def grey(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(0, 60, (SIZE, SIZE))
    return (disc(number) * 120 + noise).astype(np.uint8)


def put(root: Path, images: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> Path:
    for kind, contents in (("images", images), ("masks", masks)):
        (root / kind).mkdir(exist_ok=True, parents=True)
        for name, array in contents.items():
            Image.fromarray(array).save(root / kind / name)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [f"p{n}" for n in range(6)]
    masks = {f"{name}.png": disc(n).astype(np.uint8) * np.uint8(255) for n, name in enumerate(names)}
    return put(tmp_path / "set", {f"{name}.png": grey(n) for n, name in enumerate(names)}, masks)


def refused(*arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return str(done.value.code)


def foreground_is_bright(pair: data.Pair) -> None:
    picture, mask = pair.read()
    values = picture.pixels.astype(float).mean(axis=2)
    assert values[mask == 1].min() > values[mask == 0].max()


def test_turned_photographs_lie_as_their_masks_do(folder: Path) -> None:
    for n in range(6):
        (folder / "images" / f"p{n}.png").unlink()
        files.jpeg_turned(folder / "images" / f"p{n}.png", np.rot90(grey(n)).copy(), 6)  # 6: to be turned clockwise
    for part in data.load(folder).values():
        for pair in part:
            foreground_is_bright(pair)


def test_48_bit_pictures_have_all_their_values(folder: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    for n in range(6):
        deep = np.repeat(grey(n).astype(np.uint16)[..., None] * np.uint16(4), 3, axis=2)
        (folder / "images" / f"p{n}.png").write_bytes(codecs.png_encode(deep))
    pair = data.load(folder, channels=3)["train"][0]
    assert pair.bits == 16
    foreground_is_bright(pair)
    assert len(np.unique(pair.prepared(Meaning("percentile 0.5 99.5"))[0].pixels)) > 100


def test_a_stack_is_a_picture_for_each_page_or_refused(folder: Path) -> None:
    pages = np.stack([grey(n) for n in (0, 7, 8)])
    (folder / "images" / "p0.png").unlink()
    tifffile.imwrite(folder / "images" / "p0.tif", pages, photometric="minisblack")
    with pytest.raises(HwsegError, match=r"masks/p0.png: must hold 3 masks like its picture, holds 1"):
        data.load(folder)
    (folder / "masks" / "p0.png").unlink()
    drawn = np.stack([disc(n) for n in (0, 7, 8)]).astype(np.uint8) * np.uint8(255)
    tifffile.imwrite(folder / "masks" / "p0.tif", drawn, photometric="minisblack")
    parts = data.load(folder)
    names = [{pair.name for pair in part} for part in parts.values()]
    assert {"p0#0", "p0#1", "p0#2"} <= set.union(*names)
    assert sum({"p0#0", "p0#1", "p0#2"} <= found for found in names) == 1  # all in one part
    for part in parts.values():
        for pair in part:
            foreground_is_bright(pair)


def test_palette_masks_by_their_colours(folder: Path) -> None:
    for n in range(6):
        picture = Image.fromarray(np.where(disc(n), 0, 1).astype(np.uint8)).convert("P")
        picture.putdata(np.where(disc(n), 0, 1).reshape(-1).tolist())
        picture.putpalette([255, 255, 255, 0, 0, 0])
        picture.save(folder / "masks" / f"p{n}.png")
    for pair in data.load(folder)["train"]:
        foreground_is_bright(pair)


def test_instances_are_understood_when_declared_and_else_refused(folder: Path) -> None:
    for n in range(6):
        numbers = np.where(disc(n), 1 + np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 140, 0).astype(np.uint8)
        Image.fromarray(numbers).save(folder / "masks" / f"p{n}.png")
    with pytest.raises(
        HwsegError, match=r"must mark the foreground with one value, has 1, 2, .* 'instances' where each"
    ):
        data.load(folder)["train"][0].read()
    (folder / "dataset.toml").write_text('[labels]\ncoding = "instances"\n')
    for pair in data.load(folder)["train"]:
        foreground_is_bright(pair)
    (folder / "dataset.toml").unlink()
    names = {"train": ["p0.png", "p1.png"], "val": ["p2.png"]}
    (folder / "split.json").write_text(json.dumps({**names, "labels": {"coding": "instances"}}))
    foreground_is_bright(data.load(folder)["val"][0])
    foreground_is_bright(data.load(folder, labels=Labels(1, "nonzero"))["val"][0])


@pytest.mark.parametrize(("alpha", "fine"), [(255, True), (254, False)])
def test_alpha_has_one_rule(alpha: int, fine: bool, folder: Path) -> None:
    """Opaque alpha is dropped and transparency refused, by training and by what reads a picture for a network."""
    for n in range(6):
        colour = np.repeat(grey(n)[..., None], 4, axis=2)
        colour[..., 3] = alpha
        Image.fromarray(colour).save(folder / "images" / f"p{n}.png")
    path = folder / "images" / "p0.png"
    network = QuantUNet(UNetConfig(depth=1, width=2, in_channels=3, batch_norm=False)).eval()
    export_qonnx(network, folder / "m.onnx", (SIZE, SIZE))
    graph = load(folder / "m.onnx")
    pair = data.load(folder, channels=3)["train"][0]
    if fine:
        assert pair.read()[0].pixels.shape == (SIZE, SIZE, 3)
        assert read_input(path, graph).shape == (SIZE, SIZE, 3)
        return
    for reading in (pair.read, lambda: read_input(path, graph)):
        with pytest.raises(HwsegError, match="must not be transparent, its alpha falls to 254 of 255; flatten it"):
            reading()


def test_what_a_system_leaves_is_no_picture(folder: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind / "._p0.png").write_bytes(b"\0\5\x16\7 of another system")
        (folder / kind / ".DS_Store").write_bytes(b"x")
    assert sum(map(len, data.load(folder).values())) == 6


def test_two_pictures_cannot_be_split(folder: Path) -> None:
    for n in range(2, 6):
        for kind in ("images", "masks"):
            (folder / kind / f"p{n}.png").unlink()
    with pytest.raises(HwsegError, match=r"at least 3 pictures to be split into train, val and test, holds 2; add"):
        data.load(folder)
    (folder / "split.json").write_text('{"train": ["p0.png"], "val": ["p1.png"]}')
    assert [len(part) for part in data.load(folder).values()] == [1, 1, 0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_files_as_spreadsheets_write_them(delimiter: str, mark: str, folder: Path) -> None:
    lines = [["image", "mask", "part"]]
    lines += [[f"images/p{n}.png", f"masks/p{n}.png", "val" if n == 0 else "train"] for n in range(4)]
    text = mark + "\r\n".join(delimiter.join(line) for line in lines) + "\r\n"
    (folder / "set.csv").write_bytes(text.encode())
    assert [len(part) for part in data.load(folder / "set.csv").values()] == [3, 1, 0]


@pytest.mark.parametrize("name", ["../p0.png", "/etc/hostname", "images/../../p0.png", "..\\p0.png"])
def test_a_csv_file_names_nothing_outside_its_folder(name: str, folder: Path) -> None:
    Image.fromarray(grey(0)).save(folder.parent / "p0.png")
    (folder / "set.csv").write_text(f"image,mask\n{name},masks/p0.png\n")
    with pytest.raises(HwsegError, match=r"line 2: image .* lies outside the file's folder; paths are relative"):
        data.load(folder / "set.csv")


def test_csv_in_utf_16(folder: Path) -> None:
    (folder / "set.csv").write_bytes("image,mask\n".encode("utf-16"))
    with pytest.raises(HwsegError, match="must be text in UTF-8, is in UTF-16; save it as CSV UTF-8"):
        data.load(folder / "set.csv")


def test_a_mask_of_another_size_after_turning(folder: Path) -> None:
    files.jpeg_turned(folder / "images" / "p0.png", np.zeros((SIZE, 20), np.uint8), 6)
    Image.fromarray(np.zeros((SIZE, 20), np.uint8)).save(folder / "masks" / "p0.png")
    with pytest.raises(HwsegError, match=r"masks/p0.png: must be 32x20 like its picture, not 20x32"):
        data.load(folder)


def test_channels_that_do_not_fit(folder: Path) -> None:
    (folder / "images" / "p0.png").unlink()
    tifffile.imwrite(
        folder / "images" / "p0.tif", np.zeros((5, SIZE, SIZE), np.uint8), imagej=True, metadata={"axes": "CYX"}
    )
    with pytest.raises(HwsegError, match=r"images/p0.tif: must have 1 channels, has 5; set --in-channels 5"):
        data.load(folder)


@pytest.fixture
def void(folder: Path) -> Path:
    """Labels 0 to 3, and 255 where nobody knows."""
    for n in range(6):
        labels = np.zeros((SIZE, SIZE), np.uint8)
        labels[disc(n)] = 1
        labels[:2, :5], labels[4:6, :5], labels[-3:] = 2, 3, 255
        Image.fromarray(labels).save(folder / "masks" / f"p{n}.png")
    return folder


def test_an_ignore_label_has_its_cure(void: Path) -> None:
    with pytest.raises(HwsegError, match="must hold labels below 4, holds 255; add --ignore 255 if"):
        data.load(void, classes=4)["train"][0].read()
    pair = data.load(void, classes=4, labels=Labels(4, ignore=255))["train"][0]
    assert set(np.unique(pair.read()[1])) == {0, 1, 2, 3, IGNORE}
    scaled = pair.prepared(NAMES["unit"], (16, 16))[1]
    assert set(np.unique(scaled)) <= {0, 1, 2, 3, IGNORE}


def test_what_is_ignored_is_in_no_loss_and_no_score() -> None:
    rng = torch.Generator().manual_seed(0)
    for channels in (1, 4):
        classes = max(2, channels)
        target = torch.randint(0, classes, (2, 8, 8), generator=rng)
        target[:, 5:] = IGNORE
        logits = torch.randn(2, channels, 8, 8, generator=rng)
        other = logits.clone()
        other[:, :, 5:] = 100 * torch.randn(2, channels, 3, 8, generator=rng)
        for name in ("dice_ce", "poly_dice", "boundary"):
            loss = losses.from_config(TrainConfig(loss=name))
            assert float(loss(logits, target)) == float(loss(other, target))
        known = logits[:, :, :5], target[:, :5]
        assert float(losses.dice_ce(logits, target)) == pytest.approx(float(losses.dice_ce(*known)), rel=1e-5)
        leaf = other.clone().requires_grad_()
        losses.dice_ce(leaf, target).backward()
        assert leaf.grad is not None
        assert not leaf.grad[:, :, 5:].any()
        predicted, changed = metrics.labels(logits), metrics.labels(other)
        for score in (metrics.dice, metrics.iou):
            assert torch.equal(score(predicted, target, classes), score(changed, target, classes))
        masks = [m[0].numpy().astype(np.uint8) for m in (predicted, changed, target)]
        assert metrics.of_mask(masks[0], masks[2], classes) == metrics.of_mask(masks[1], masks[2], classes)


def test_half_known_pixels_of_a_scaled_mask(tmp_path: Path) -> None:
    mask = np.array([[255, 128, 0, 128], [0, 128, 128, 128]], np.uint8)
    root = put(tmp_path, {"a.png": mask}, {"a.png": mask})
    found = data.Pair(root / "images" / "a.png", root / "masks" / "a.png", 1, Labels(1, ignore=128))
    assert found.prepared(NAMES["unit"], (1, 2))[1].tolist() == [[IGNORE, IGNORE]]
    assert found.prepared(NAMES["unit"], (2, 2))[1].tolist() == [[IGNORE, IGNORE], [IGNORE, IGNORE]]
    mask[:, 1] = 255
    Image.fromarray(mask).save(root / "masks" / "a.png")
    found = data.Pair(root / "images" / "a.png", root / "masks" / "a.png", 1, Labels(1, ignore=128))
    assert found.prepared(NAMES["unit"], (1, 2))[1].tolist() == [[1, IGNORE]]


def test_a_class_without_a_pixel_is_named(void: Path) -> None:
    labels = Labels(5, ignore=255, names=("rest", "cell", "b", "c", "dust"))
    pairs = data.load(void, classes=5, labels=labels)["train"]
    with pytest.raises(HwsegError, match=r"no pixel of the \d training masks is of class 4 \(dust\); add pictures"):
        every_class(pairs)
    every_class(data.load(void, classes=4, labels=Labels(4, ignore=255))["train"])


def test_depths_are_not_mixed_where_it_matters(folder: Path) -> None:
    tifffile.imwrite(folder / "images" / "p0.tif", grey(0).astype(np.uint16))
    (folder / "images" / "p0.png").unlink()
    parts = data.load(folder)
    config = TrainConfig(steps=2, batch=1, size=16, calibration_batches=1, threads=1, normalize="range 0 255")
    with pytest.raises(HwsegError, match=r"per channel, and .* is declared for pictures of"):
        Run(folder / "run", UNetConfig(depth=1, width=2), config).meet(parts)
    Run(folder / "run", UNetConfig(depth=1, width=2), TrainConfig(size=16)).meet(parts)  # percentiles have no depth


def test_unit_is_of_the_depth_that_the_pictures_have(folder: Path) -> None:
    for n in range(6):
        (folder / "images" / f"p{n}.png").unlink()
        tifffile.imwrite(folder / "images" / f"p{n}.tif", grey(n).astype(np.uint16) * np.uint16(257))
    run = Run(folder / "run", UNetConfig(depth=1, width=2), TrainConfig(size=16, normalize="unit"))
    run.meet(data.load(folder))
    assert run.meaning == NAMES["unit16"]


# --- what is declared is carried ---


@pytest.mark.parametrize("place", ["dataset.toml", "split.json"])
def test_what_a_data_set_declares_reaches_the_exported_model(place: str, folder: Path, tmp_path: Path) -> None:
    """16-bit pictures with a range of their own and named labels: from the data's file to the model's metadata."""
    for n in range(6):
        (folder / "images" / f"p{n}.png").unlink()
        tifffile.imwrite(folder / "images" / f"p{n}.tif", grey(n).astype(np.uint16) * np.uint16(8))
    if place == "dataset.toml":
        text = '[input]\nvalues = "range 0 1500"\n[labels]\ncoding = "nonzero"\nnames = ["rest", "disc"]\n'
        (folder / place).write_text(text)
    else:
        declared = {"input": {"values": "range 0 1500"}, "labels": {"coding": "nonzero", "names": ["rest", "disc"]}}
        (folder / place).write_text(json.dumps(declared))
    run = tmp_path / "run"
    options = ["--depth", "1", "--width", "2", "--size", "16", "--steps", "3", "--batch", "1", "--threads", "1"]
    assert refused("train", "--data", folder, "-o", run, *options) == "0"
    assert refused("export", run) == "0"
    graph = load(run / "model.onnx")
    found = choice_of(graph)
    assert (found.origin, found.meaning) == ("file", Meaning("range 0 1500", 16))
    assert labels_of(graph) == Labels(1, "nonzero", names=("rest", "disc"))
    assert refused("eval", run / "model.onnx", "--data", folder, "--fit", "resize") == "0"
    assert refused("train", "--data", folder, "-o", run, "--resume") == "0"
    pair = data.load(folder)["test"][0]
    network, meta = load_network(run / "best.pt")
    assert meta["input"] == found.meaning
    x, _ = whole(pair, found.meaning, network.config.input_quantizer, 2)
    q = integers(pair.read()[0], graph, "crop")
    top = (SIZE - 16) // 2
    inner = x[0, 0, top : top + 16, top : top + 16].numpy()
    assert (inner * 256 == q[:, :, 0]).all()  # training and hardware see the same integers


def test_resume_refuses_other_labels(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--depth", "1", "--width", "2", "--size", "16", "--steps", "2", "--batch", "1", "--threads", "1"]
    run = tmp_path / "run"
    assert refused("train", "--data", folder, "-o", run, *options, "--labels", "nonzero") == "0"
    assert Run.resume(run).labels == Labels(1, "nonzero")
    found = Run.resume(run)
    with pytest.raises(HwsegError, match=r"the data's labels are .*binary.*, the run began with .*nonzero"):
        found.meet(data.load(folder))


def test_a_mean_and_a_deviation_have_a_signed_input(folder: Path, tmp_path: Path) -> None:
    """ImageNet's: the first quantizer is signed and wide enough, and the integers are the table's."""
    for n in range(6):
        Image.fromarray(np.stack([grey(n)] * 3, axis=2)).save(folder / "images" / f"p{n}.png")
    config = TrainConfig(steps=3, batch=1, size=16, calibration_batches=1, threads=1, normalize="imagenet")
    run = Run(tmp_path / "run", UNetConfig(depth=1, width=2, in_channels=3), config)
    assert run.architecture.input_quantizer == Quantizer(run.architecture.input_quantizer.scale, -128, 127)
    assert run.architecture.input_bound == 4
    train(run, data.load(folder, channels=3))
    network, meta = load_network(tmp_path / "run" / "best.pt")
    export_qonnx(network, tmp_path / "m.onnx", (SIZE, SIZE), meta["input"], meta["labels"])
    graph = load(tmp_path / "m.onnx")
    kind = graph.types[graph.input]
    assert (kind.low, kind.high, kind.scale[0]) == (-128, 127, network.config.input_quantizer.scale)
    pair = data.load(folder, channels=3)["test"][0]
    x, _ = whole(pair, meta["input"], network.config.input_quantizer, 2)
    q = integers(pair.read()[0], graph)
    assert (x[0].numpy().transpose(1, 2, 0) / float(kind.scale[0]) == q).all()
    assert q.min() < 0 < q.max()


def test_runs_of_an_older_hwseg_keep_their_order(folder: Path, tmp_path: Path) -> None:
    """A run and a checkpoint that do not say `older`, `input` or `labels` are exported as they were."""
    config = TrainConfig(steps=4, batch=1, size=16, calibration_batches=1, threads=1, older=True, resize=16)
    run = Run(tmp_path / "run", UNetConfig(depth=1, width=2), config)
    train(run, data.load(folder))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    del state["train"]["older"], state["input"], state["labels"]
    save(tmp_path / "run" / "last.pt", state)
    again = Run.resume(tmp_path / "run")
    assert again.meaning.metadata() == {"hwseg.normalize": "percentile 0.5 99.5", "hwseg.fit": "resize"}
    again.meet(data.load(folder))
    network = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    assert network["normalize"] == "percentile 0.5 99.5"
    del network["labels"]
    save(tmp_path / "run" / "best.pt", network)
    model, meta = load_network(tmp_path / "run" / "best.pt")
    assert meta["labels"] is None
    written = export_qonnx(model, tmp_path / "m.onnx", (16, 16), meta["input"], meta["labels"])
    assert {p.key for p in written.metadata_props} == {
        "hwseg.normalize", "hwseg.fit", "hwseg.channels", "hwseg.size", "hwseg.classes", "hwseg.config",
    }  # fmt: skip


def test_adapt_takes_what_pixels_are_from_its_base(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    options = ["--depth", "1", "--width", "4", "--size", "16", "--steps", "2", "--batch", "1", "--threads", "1"]
    assert refused("train", "--data", folder, "-o", base, *options, "--normalize", "unit", "--preset", "float") == "0"
    run = tmp_path / "adapted"
    more = [
        "--size",
        "32",
        "--steps",
        "4",
        "--batch",
        "1",
        "--threads",
        "1",
        "--rank",
        "1",
        "--final-rank",
        "1",
        "--fewer",
        "1",
    ]
    assert refused("adapt", "--base", base / "best.pt", "--data", folder, "-o", run, *more) == "0"
    assert choice_of(load(run / "model.onnx")).meaning == Meaning("unit", 8)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[input]\nvalues = 'unit'\n[split]\n", "has the tables [input] and [labels] only, not 'split'"),
        ("[input]\nvalue = 'unit'\n", "[input]: has the unknown key 'value'"),
        ("[labels]\ncoding = 'blue'\n", "[labels]: labels must be"),
        ("[labels]\nnames = ['a']\n", "[labels]: labels must have 2 names"),
        ("[labels\n", "is not readable TOML, or is damaged"),
    ],
)
def test_declarations_that_are_refused(text: str, sentence: str, folder: Path) -> None:
    (folder / "dataset.toml").write_text(text)
    with pytest.raises(HwsegError) as caught:
        data.load(folder)
        data.meaning_of(folder)
    assert sentence in str(caught.value)


def test_a_network_trained_otherwise_is_not_taken_for_pixel_256(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without metadata: one sentence says what is assumed, and --input says what is true."""
    torch.manual_seed(1)
    network = QuantUNet(UNetConfig(depth=1, width=2, batch_norm=False)).eval()
    calibrate(network, [torch.rand(2, 1, 16, 16)])
    import onnx

    model = export_qonnx(network, tmp_path / "m.onnx", (SIZE, SIZE))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    picture = folder / "images" / "p0.png"
    (tmp_path / "mine.json").write_text(json.dumps({"values": "unit", "bits": 8}))
    outputs = []
    for option in ([], ["--input", "pixel/256"], ["--input", "unit"], ["--input", str(tmp_path / "mine.json")]):
        capsys.readouterr()
        out = tmp_path / "out.npy"
        assert refused("golden", tmp_path / "m.onnx", "--image", picture, "--out", out, *option) == "0"
        said = capsys.readouterr().err
        assert (
            "m does not say what the pixels of a picture are to it: its input is taken to be pixel / 256" in said
        ) == (not option)
        outputs.append(np.load(out))
    assert (outputs[0] == outputs[1]).all()
    assert (outputs[2] == outputs[3]).all()
    assert (outputs[0] != outputs[2]).any()
    assert refused("golden", tmp_path / "m.onnx", "--image", picture, "--input", "imagenet") == "2"
    assert "--input: must have a mean for each of 1 channels, has 3" in capsys.readouterr().err
    assert refused("golden", tmp_path / "m.onnx", "--image", picture, "--input", "sepia") == "2"
    assert "or one of the names unit, unit16, imagenet" in capsys.readouterr().err
