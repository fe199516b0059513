"""Weights under what wrappers put before their names, tied ones, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
safetensors = pytest.importorskip("safetensors.torch")

from torch import Tensor, nn  # noqa: E402

from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.convert import source  # noqa: E402
from hwseg.quant.convert.convert import quantize  # noqa: E402
from hwseg.quant.convert.source import load_weights, module_of, read_module, state_of  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

STATE = nets.settled(nets.Small(), 7).state_dict()


def behind(prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        *(behind(p) for p in ("_orig_mod.module.", "model.module.", "net.model.", "module.net.", "unet.", "a.b.c.")),
        {"state_dict": {**behind("model."), "criterion.weight": torch.ones(2)}, "epoch": 3},
        {"checkpoint": {"model": STATE}},
        {"model": {"state_dict": {"net": {"weights": STATE}}}},
    ],
    ids=lambda content: next(iter(content)),
)
def test_wrapped_weights_are_loaded(content: dict[str, object], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    module = nets.Small()
    load_weights(module, state_of(tmp_path / "w.pt"), "w.pt")
    assert all(torch.equal(value, STATE[key]) for key, value in module.state_dict().items())


def test_two_networks_in_one_file_are_refused() -> None:
    both = {**behind("student."), **{key: value * 0 for key, value in behind("teacher.").items()}}
    with pytest.raises(HwsegError, match=r"holds the weights of 2 such networks, behind student. and teacher.; save"):
        load_weights(nets.Small(), both, "w.pt")


class Tied(nn.Module):
    """Two convolutions with one tensor of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


def test_tied_weights_are_loaded_where_a_file_keeps_one_of_them(tmp_path: Path) -> None:
    wanted, module = Tied(), Tied()
    safetensors.save_model(wanted, str(tmp_path / "w.safetensors"))
    assert len(state_of(tmp_path / "w.safetensors")) == 3
    load_weights(module, state_of(tmp_path / "w.safetensors"), "w")
    assert torch.equal(module.a.weight, wanted.a.weight)
    assert module.b.weight is module.a.weight
    with pytest.raises(HwsegError, match=r"a.weight and b.weight are one tensor in the network, and differ"):
        load_weights(module, {**wanted.state_dict(), "b.weight": torch.zeros(1, 1, 3, 3)}, "w")


def test_tensors_without_plain_numbers_are_refused() -> None:
    key, value = "head.weight", STATE["head.weight"]
    for wrong, what in ((value.to_sparse(), "sparse_coo"), (value.to("meta"), "on the device meta"),
                        (torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "quantized")):  # fmt: skip
        with pytest.raises(HwsegError, match=f"{key} must be plain numbers, is {what}"):
            load_weights(nets.Small(), {**STATE, key: wrong}, "w.pt")


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    safetensors.save_file(STATE, path)
    with pytest.raises(HwsegError, match=r"w\.pt: is a safetensors file with another ending; name it \.safetensors"):
        state_of(path)
    path.write_bytes(b"\x08\x08\x12\x07pytorch and the rest of an ONNX file")
    with pytest.raises(HwsegError, match=r"is no checkpoint of PyTorch; .*an ONNX file is MODEL itself"):
        state_of(path)
    torch.jit.script(nn.Conv2d(1, 1, 1)).save(str(path))
    with pytest.raises(HwsegError, match=r"is TorchScript, which is code, and was not run; .*torch\.jit\.load"):
        state_of(path)
    with pytest.raises(HwsegError, match="must be a file of weights, but it is a folder"):
        state_of(tmp_path)


def test_modules_without_numbers_and_without_layers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit(3)

    lazy = nn.Sequential(nn.LazyConv2d(1, 3))
    cases = [
        (lazy, "0.weight has no numbers yet: it is made at the first call"),
        (nn.Conv2d(1, 1, 3, device="meta"), "weight has no numbers: it is on the device meta"),
        (nn.Identity(), "Identity: has no convolution between picture and output"),
        (Ends(), "Ends: ends the program .SystemExit: 3. when it is called"),
    ]
    for module, sentence in cases:
        with pytest.raises(HwsegError, match=sentence):
            read_module(module, (1, 1, 16, 16))
        with pytest.raises(HwsegError, match=sentence):
            quantize(module, [nets.pictures(2)])
    monkeypatch.setattr(nets, "lazy", lambda: lazy, raising=False)
    monkeypatch.setattr(nets, "ends", lambda: exit(3), raising=False)
    for name, sentence in (("lazy", "made at the first call"), ("ends", "ends the program .SystemExit: 3")):
        with pytest.raises(HwsegError, match=sentence):
            module_of(f"tests.quant.convert.nets:{name}", None)


def test_importing_what_ends_the_program_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ending_script.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HwsegError, match=r"importing ending_script ends the program \(SystemExit: 3\); .*__main__"):
        source.module_of("ending_script:make", None)
