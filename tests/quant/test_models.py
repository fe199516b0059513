"""The shipped networks: small, reproducible from their checkpoints, honest about what they saw, and good enough."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from hwseg import golden, models
from hwseg.errors import HwsegError

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg import demo  # noqa: E402
from hwseg.datasets.data import load_folder  # noqa: E402
from hwseg.datasets.pairs import Pair  # noqa: E402
from hwseg.pictures.prepare import prepare  # noqa: E402
from hwseg.pictures.raster import raster  # noqa: E402
from hwseg.pictures.source import read_input  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from hwseg.quant.train.metrics import labels, summarize  # noqa: E402
from hwseg.quant.train.run import dice, load_network  # noqa: E402
from hwseg.quant.train.tensors import to_tensor  # noqa: E402
from hwseg.trust.fitting.file import with_trust  # noqa: E402
from hwseg.trust.graph import trust_of  # noqa: E402

DEMO_PICTURE = "4dbbb275960a.png"

each = pytest.mark.parametrize("name", models.NAMES)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Layers are small, and a second thread mostly waits where tests run side by side."""
    torch.set_num_threads(1)


def test_together_they_are_under_two_megabytes() -> None:
    assert sum(models.path(name).stat().st_size for name in models.NAMES) < 2_000_000


@each
def test_the_file_is_what_its_checkpoint_exports(name: str, tmp_path: Path) -> None:
    network, meta = load_network(models.path(name, ".pt"))
    export_qonnx(network, tmp_path / "again.onnx", (128, 128), meta["input"], meta["labels"], name)
    trust = trust_of(load(models.path(name)))
    assert trust is not None
    assert with_trust(tmp_path / "again.onnx", trust, in_place=True) == models.path(name).read_bytes()


@each
def test_scales_are_powers_of_two_and_normalization_is_folded(name: str) -> None:
    model = onnx.load(models.path(name))
    assert {node.op_type for node in model.graph.node} <= {
        "Quant", "Conv", "ConvTranspose", "Relu", "MaxPool", "Resize", "Concat",
    }  # fmt: skip
    scales = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("/scale")]
    assert len(scales) > 40
    assert all(math.frexp(s)[0] == 0.5 for s in np.concatenate([s.reshape(-1) for s in scales]).tolist())


def test_one_has_each_upsampling_and_one_has_mixed_bits() -> None:
    configs = {name: load_network(models.path(name, ".pt"))[0].config for name in models.NAMES}
    assert {config.upsampling for config in configs.values()} == {"nearest", "transposed"}
    bits = {configs["nuclei-mixed"].weight_bits_of(n) for n in configs["nuclei-mixed"].convolutions}
    assert bits == {4, 8}
    assert configs["nuclei-w8a8"].weight_bits == configs["nuclei-w8a8"].activation_bits == 8


@each
def test_the_demo_picture_was_left_out_of_training(name: str) -> None:
    assert DEMO_PICTURE in load_network(models.path(name, ".pt"))[1]["excluded"]


@each
def test_dice_is_what_the_model_card_says(name: str, data: Path) -> None:
    network, meta = load_network(models.path(name, ".pt"))
    test: list[Pair] = load_folder(data / "nuclei-dsb2018")["test"]
    score = summarize(dice(network, test, meta["input"], torch.device("cpu")))
    card = models.path(name, ".md").read_text(encoding="utf-8")
    row = re.search(r"\| test \(64 pictures\) \| ([0-9.]+) \| ([0-9.]+) to ([0-9.]+) \|", card)
    assert row is not None
    assert [float(v) for v in row.groups()] == pytest.approx([score.mean, score.low, score.high], abs=6e-4)
    assert score.mean > 0.88


@each
@pytest.mark.network
def test_the_demo_crop_is_segmented(name: str) -> None:
    network, meta = load_network(models.path(name, ".pt"))
    crop = demo.nuclei().crop(*demo.CROP)
    pixels = prepare(raster(crop.pixels), meta["input"], 1).values()
    with torch.no_grad():
        found = labels(network(to_tensor(pixels[None])))[0].numpy().astype(np.uint8)
    assert demo.dice(found, crop.mask) > 0.85


def test_other_names_are_refused() -> None:
    with pytest.raises(HwsegError, match="model: must be nuclei-w8a8 or nuclei-mixed, not 'lungs'"):
        models.path("lungs")


MASKS = {
    ("nuclei-w8a8", "crop"): ("6095b557408b7914", "029a2755cc2524f3"),
    ("nuclei-w8a8", "resize"): ("9449430f00c7f1f4", "71085220d859b52c"),
    ("nuclei-mixed", "crop"): ("823ba53e7c95f925", "b658b458682fabc2"),
    ("nuclei-mixed", "resize"): ("eea97f350d623ea3", "c80305fd7846500f"),
}
"""SHA-256, its beginning, of mask and logits, as they were before pixels had a declared meaning (Pillow 13 scaled)."""


@pytest.mark.parametrize(("name", "fit"), MASKS)
def test_masks_are_what_they_always_were(name: str, fit: str, tmp_path: Path) -> None:
    """A file with `hwseg.normalize` is brought to 8 bits, then cropped or scaled, then is pixel / 256."""
    y, x = np.mgrid[:200, :300]
    discs = (
        (y - 60) ** 2 + (x - 150) ** 2 < 900,
        (y - 120) ** 2 + (x - 100) ** 2 < 400,
        (y - 90) ** 2 + (x - 200) ** 2 < 250,
    )
    light = 30 + 150 * np.logical_or.reduce(discs) + np.random.default_rng(1).normal(0, 8, y.shape)
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    graph = load(models.path(name))
    result = golden.run(graph, read_input(tmp_path / "a.png", graph, fit), taps=())
    assert tuple(hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in (result.mask, result.output)) == MASKS[name, fit]
