"""Weights in safetensors: the numbers themselves, or one sentence; no size in a header is taken on faith."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
safetensors = pytest.importorskip("safetensors.torch")

from hwseg.cli import main  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.source import module_of, state_of  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

SMALL = "tests.quant.convert.nets:small"


def saved(path: Path, **changed: object) -> Path:
    """Weights of another seed than the callable's, some of them changed; None takes one away."""
    state = {**nets.settled(nets.Small(), 7).state_dict(), **changed}
    safetensors.save_file({key: value for key, value in state.items() if value is not None}, path)
    return path


def renamed(path: Path, old: str, new: str) -> Path:
    value = nets.settled(nets.Small(), 7).state_dict()[old]
    return saved(path, **{old: None, new: value})


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_weights_are_loaded(kind: object, tmp_path: Path) -> None:
    wanted = nets.settled(nets.Small(), 7).state_dict()
    weight = wanted["head.weight"].to(kind)
    module = module_of(SMALL, saved(tmp_path / "w.safetensors", **{"head.weight": weight}))
    found = module.state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted if key != "head.weight")
    assert torch.equal(found["head.weight"], weight.float())
    assert found["head.weight"].dtype == torch.float32


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a": torch.ones(2, 3)}, path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(HwsegError, match=r"w\.safetensors: "):
            state_of(path)


def header(content: object, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**15) + b"{}",
        header({"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}),
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"\0" * 4),
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        header([1, 2, 3]),
        header({"a": 3}),
        b"PK\x03\x04 not safetensors at all",
    ],
    ids=["header 2^63", "header 10^15", "offsets", "shape", "backwards", "negative", "type", "list", "number", "zip"],
)
def test_headers_that_lie_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(HwsegError, match=r"w\.safetensors: .*; save it again with safetensors\.torch\.save_file"):
        state_of(path)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_integers_and_tiny_floats_are_no_weights(kind: object, ending: str, tmp_path: Path) -> None:
    """Without their scales, which are elsewhere, they would be another network's."""
    path, weight = tmp_path / f"w.{ending}", torch.ones(1, 6, 1, 1).to(kind)
    if ending == "pt":
        torch.save({**nets.small().state_dict(), "head.weight": weight}, path)
    else:
        saved(path, **{"head.weight": weight})
    name = str(kind).removeprefix("torch.")
    with pytest.raises(HwsegError, match=rf"head\.weight must be floating-point numbers, is {name}; "):
        module_of(SMALL, path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("head.weight", "head.wieght", r"lacks head.weight \(nearest: head.wieght\); it has beside them head.wieght"),
        ("up.bias", "upper.bias", r"lacks up.bias \(nearest: upper.bias\)"),
    ],
)
def test_missing_and_spare_keys_are_named_with_the_nearest(
    old: str, new: str, sentence: str, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = renamed(tmp_path / "w.safetensors", old, new)
    with pytest.raises(HwsegError, match=sentence):
        module_of(SMALL, path)
    with pytest.raises(SystemExit) as end:
        main(["quantize", SMALL, "--weights", str(path), "--data", str(discs), "-o", str(tmp_path / "m.onnx")])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert f"does not fit the network: it lacks {old}" in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == [path]
