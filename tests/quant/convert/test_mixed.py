"""Bits chosen for converted networks: costs are the exported network's, the loss is the distance to the float one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("joblib")

from torch import nn  # noqa: E402

from hwseg.cli import main  # noqa: E402
from hwseg.codesign import Costs, subject_of  # noqa: E402
from hwseg.compile.program import compile_graph  # noqa: E402
from hwseg.conversion.bits import Mixed, choose_bits  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.pictures.meaning import NAMES  # noqa: E402
from hwseg.quant.convert import Converted, convert  # noqa: E402
from hwseg.quant.convert.mixed import Agreement, Base  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import search  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from tests.quant.convert import nets  # noqa: E402

SIZE = (16, 16)


INPUTS = [nets.pictures(4)]


@pytest.fixture(scope="module")
def small() -> Converted:
    return convert(nets.small(), INPUTS)


@pytest.mark.parametrize("make", [nets.Small, nets.Gated], ids=lambda make: make.__name__)
def test_costs_are_those_of_the_network_exported_at_these_bits(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    inputs = [nets.pictures(2)]
    converted = convert(nets.settled(make()), inputs)
    base = Base.of(converted, inputs, 0)
    knobs = search.knobs(base.config, weights=False)
    assert sorted(name for names in knobs.values() for name in names) == sorted(base.config.quantizers)
    subject = subject_of(converted.quantized, SIZE, NAMES["unit"])
    assert set(subject.owners) == set(base.config.quantizers)  # every node has an owner, every quantizer a node
    engine = Costs(subject, "8x2x2", "cycles", "pl_ps")
    assert engine.size == SIZE
    bits = {knob: 3 + i % 4 for i, knob in enumerate(knobs)}
    other = base.network(bits)
    export_qonnx(other, tmp_path / "other.onnx", SIZE, NAMES["unit"])
    total = compile_graph(load(tmp_path / "other.onnx"), engine.config, engine.board).timing().total
    assert engine.prices(bits, other)["cycles"] == total
    tabulated = any(layer.op == "sigmoid" for layer in base.config.layers)
    assert tabulated or engine.prices(bits)["cycles"] == total
    assert tabulated or total < engine.prices({})["cycles"]
    assert engine.packed(bits) == sum(engine.subject.counts.values())


def test_only_what_is_turned_changes_and_the_loss_is_the_distance_to_the_float_network(small: Converted) -> None:
    converted, inputs = small, INPUTS
    base, pictures = Base.of(converted, inputs, 0), Agreement.of(converted.network, inputs)
    same, turned = base.network({}), base.network({"a:dec/3": 2})
    assert torch.equal(same(inputs[0]), converted.quantized(inputs[0]))
    taps = ("enc/3", "bottom/3", "up", "dec/3")
    a, b = (net.values(inputs[0], taps) for net in (same, turned))
    assert all(torch.equal(a[name], b[name]) for name in taps[:-1])
    assert turned.config.activation_bits_of("dec/3") == 2
    loss, dice = pictures.measure(same)
    assert loss == pytest.approx(converted.error)
    assert 0.9 < dice <= 1
    assert pictures.measure(turned)[0] > loss
    exact = Agreement(((inputs[0], same(inputs[0]).detach()),))
    assert exact.measure(same) == (0, 1)
    assert exact.digest != pictures.digest


def test_thresholds_follow_the_bits(small: Converted) -> None:
    """With fewer bits a smaller range is better: the loss is no larger than with the range of 8 bits."""
    base, pictures = Base.of(small, INPUTS, 0), Agreement.of(small.network, INPUTS)
    bits = dict.fromkeys(search.knobs(base.config, weights=False), 2)
    kept = base.network(bits)
    kept.load_state_dict(base.state)
    assert pictures.measure(base.network(bits))[0] < pictures.measure(kept)[0]


def test_a_network_without_activations_has_no_bits_to_choose(tmp_path: Path) -> None:
    inputs = [nets.pictures(2)]
    converted = convert(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), inputs)
    with pytest.raises(HwsegError, match=r"--bits: mixed has nothing to choose.*; use --bits 8"):
        choose_bits(converted, inputs, Mixed(), pixels=NAMES["unit"], array="8x2x2", seed=0, path=tmp_path / "s.json",
                    told=lambda _: None)  # fmt: skip


def test_mixed_bits_cost_least_within_the_budget(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOWEST", 6)
    out, key = tmp_path / "m.onnx", "energy_mj"
    call = ["quantize", "tests.quant.convert.nets:tiny", "--data", str(discs), "-o", str(out), "--array", "8x2x2",
            "--resize", "16", "--bits", "mixed", "--objective", "energy", "--budget", "0.02", "--pictures",
            "2"]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main(call)
    assert end.value.code == 0, capsys.readouterr().err
    report = json.loads(out.with_suffix(".json").read_text())
    found, rows = report["search"], report["search"]["points"]
    row = rows[found["chosen"]]
    assert set(rows[0]["bits"].values()) == {8}
    allowed = [one for one in rows if one["dice"] >= rows[0]["dice"] - 0.02]
    assert row in allowed
    assert row[key] == min(one[key] for one in allowed) < rows[0][key]
    assert {f"a:{name}": bits for name, bits in report["bits"]["activations"].items()} == row["bits"]
    assert set(report["bits"]["weights"].values()) == {8}
    assert report["costs"]["cycles"] == row["cycles"]
    assert "of the energy at 8 bits" in capsys.readouterr().out
    page = out.with_suffix(".html").read_text()
    assert page.count("<td>chosen</td>") == 1
    assert all(f"{one['dice']:.4f}</td>" in page and f"{one['cycles']:,}</td>" in page for one in rows)
    assert "Bits that were chosen" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.html", "m.json", "m.onnx", "m.pt"]
