"""What takes networks of `hwseg train` refuses those of `hwseg quantize`, says what to do, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets.seen import Seen  # noqa: E402
from hwseg.pictures.labels import Labels  # noqa: E402
from hwseg.pictures.meaning import NAMES  # noqa: E402
from hwseg.quant.convert import quantize  # noqa: E402
from hwseg.quant.convert.checkpoint import About, save_converted  # noqa: E402
from tests.quant.convert import nets  # noqa: E402


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "m.pt"
    network = quantize(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1)), [nets.pictures(2)])
    save_converted(path, network, About(NAMES["unit"], Labels(1), (16, 16), Seen()))
    return path


@pytest.mark.parametrize(
    "call",
    [
        ["search", "MODEL", "--data", "DATA", "-o", "OUT"],
        ["train", "--init", "MODEL", "--data", "DATA", "-o", "OUT", "--steps", "1"],
        ["adapt", "--base", "MODEL", "--data", "DATA", "-o", "OUT"],
        ["export", "MODEL", "-o", "OUT"],
    ],
    ids=lambda call: call[0],
)
def test_a_converted_network_is_refused_with_what_to_do(
    call: list[str], converted: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"MODEL": str(converted), "DATA": str(discs), "OUT": str(tmp_path / "out")}
    with pytest.raises(SystemExit) as end:
        main([names.get(word, word) for word in call])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert f"{converted}: is a network of `hwseg quantize`, and must be one of `hwseg train`" in told
    assert "--bits mixed" in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())
