"""Callables and weights: what is run, what is only read, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert.source import channels_of, load_weights, module_of, state_of  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

HERE = "tests.quant.convert.nets"


def test_weights_of_a_checkpoint_are_loaded(tmp_path: Path) -> None:
    wanted = nets.settled(nets.Small(), 7)
    path = tmp_path / "best.pt"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in wanted.state_dict().items()}}, path)
    module = module_of(f"{HERE}:small", path)
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), wanted.state_dict().values(), strict=True)
    )
    assert channels_of(module) == 1


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "was-here"

    class Here:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(mark), "w"))  # type: ignore[return-value]

    torch.save({"state_dict": Here()}, path)
    with pytest.raises(HwsegError, match=r"holds code of Python \(\w*io\w*.open\) beside numbers, and was not run"):
        state_of(path)
    path.write_bytes(pickle.dumps(Here()))
    with pytest.raises(HwsegError, match=r"evil.pt: "):
        state_of(path)
    assert not mark.exists()


def test_a_whole_module_is_code_and_refused(tmp_path: Path) -> None:
    torch.save(nets.Small(), tmp_path / "whole.pt")
    with pytest.raises(HwsegError, match=r"holds code of Python.*save numbers alone"):
        state_of(tmp_path / "whole.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(HwsegError, match=r"w.pt: "):
        state_of(tmp_path / "w.pt")


def test_missing_and_spare_keys_are_named_with_the_nearest() -> None:
    module = nets.Small()
    state = dict(module.state_dict())
    state["head.wieght"] = state.pop("head.weight")
    with pytest.raises(
        HwsegError,
        match=r"lacks head.weight \(nearest: head.wieght\); it has beside them head.wieght \(nearest: head.weight\)",
    ):
        load_weights(module, state, "w.pt")
    state["up.bais"] = state.pop("up.bias")
    with pytest.raises(
        HwsegError, match=r"lacks up.bias \(nearest: up.bais\), head.weight \(nearest: head.wieght\); it"
    ):
        load_weights(module, state, "w.pt")
    state = {**module.state_dict(), "head.weight": torch.zeros(2, 6, 1, 1)}
    with pytest.raises(HwsegError, match=r"head.weight must have shape \[1, 6, 1, 1\], has \[2, 6, 1, 1\]"):
        load_weights(module, state, "w.pt")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{HERE}:needs", "must need no arguments, needs width"),
        (f"{HERE}:smal", "has no smal; it has small"),
        (f"{HERE}:pictures", "must give a torch.nn.Module, gives Tensor"),
        ("no_such_module:make", "needs the module no_such_module"),
        ("unet", "must be an ONNX file, or module:callable"),
        ("os:path.join", "must need no arguments, needs a"),
    ],
)
def test_callables_that_will_not_do_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(HwsegError, match=sentence):
        module_of(text, None)
