"""A conversion that was killed, in its search for bits and in its distillation, ends as one that nobody disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("joblib")

from hwseg.conversion.bits import Mixed  # noqa: E402
from hwseg.conversion.run import Options, convert_files  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert import distill  # noqa: E402
from hwseg.quant.convert.distill import DistillConfig  # noqa: E402
from hwseg.quant.train import search  # noqa: E402

STEPS = 5


class Killed(BaseException):
    """What no code is ready for, as little as for SIGKILL."""


def options(data: Path, out: Path, **changes: object) -> Options:
    """Two pictures calibrate and two measure, in 16x16."""
    found = {"pictures": 2, "held": "val", "resize": 16, "array": "8x2x2", "mixed": Mixed(points=2)}
    return Options("tests.quant.convert.nets:tiny", data, out, distill=DistillConfig(STEPS, batch=1), **found | changes)  # type: ignore[arg-type]


def killed(data: Path, out: Path, when: Callable[[str | int], bool]) -> None:
    """Convert, and end where a phrase or the number of a step is one; nothing is written from then on."""
    with pytest.MonkeyPatch.context() as patch:

        def told(what: str | int) -> None:
            if when(what):
                patch.setattr(search.Memory, "_write", lambda self: None)
                raise Killed

        with pytest.raises(Killed):
            convert_files(options(data, out), told, lambda step, loss: told(step))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_what_was_killed_ends_with_the_same_bits(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOWEST", 6)
    monkeypatch.setattr(distill, "SAVE_EVERY", 2)
    whole, out = tmp_path / "whole" / "m.onnx", tmp_path / "parts" / "m.onnx"
    steps: list[int] = []
    convert_files(options(discs, whole), learned=lambda step, loss: steps.append(step))
    assert torch.get_num_threads() == 2  # else what comes after a search would have other bits than what is resumed
    assert steps == list(range(STEPS))
    killed(discs, out, lambda what: what == "measuring losses, 4 of 5")
    assert [path.name for path in out.parent.iterdir()] == ["m.search.json"]
    assert len(json.loads(out.with_suffix(".search.json").read_text())["values"]) == 4
    killed(discs, out, lambda what: what == 3)  # which goes on from what was measured
    assert sorted(path.name for path in out.parent.iterdir()) == ["m.distill.pt", "m.search.json"]
    with pytest.raises(HwsegError, match="holds a distillation that was stopped; add --resume"):
        convert_files(options(discs, out))
    with pytest.raises(HwsegError, match="belongs to another network, other pictures or options"):
        convert_files(options(discs, out, resume=True, seed=1))
    steps.clear()
    convert_files(options(discs, out, resume=True), learned=lambda step, loss: steps.append(step))
    assert steps == [2, 3, 4]  # the last file was written after two
    names = sorted(path.name for path in whole.parent.iterdir())
    assert names == sorted(path.name for path in out.parent.iterdir()) == ["m.html", "m.json", "m.onnx", "m.pt"]
    for name in ("m.onnx", "m.pt"):
        assert (whole.parent / name).read_bytes() == (out.parent / name).read_bytes(), name
    for name in ("m.json", "m.html"):
        one, other = ((path.parent / name).read_text().replace(str(path.parent), "") for path in (whole, out))
        assert one == other, name
