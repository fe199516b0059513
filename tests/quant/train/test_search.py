"""Bits against costs: knobs, the front against all choices, costs against the compiler, and a whole small search."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("joblib")

from hwseg.boards import load_board  # noqa: E402
from hwseg.cli import main  # noqa: E402
from hwseg.codesign import choose  # noqa: E402
from hwseg.compile.activation_cost import activation_nodes, compiled, cycles, shortened  # noqa: E402
from hwseg.compile.program import compile_graph  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.quant.networks.layers import calibrate  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import plots, search  # noqa: E402
from hwseg.quant.train.checkpoint import load_network, save_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from hwseg.rtl.config import parse_array  # noqa: E402


@pytest.mark.parametrize("options", [{}, {"residual": True}, {"upsampling": "transposed"}])
def test_knobs_cover_every_layer_once_and_respect_concats(options: dict[str, object]) -> None:
    unet = UNetConfig(depth=2, width=2, **options)  # type: ignore[arg-type]
    layers = search.knobs(unet, weights=True)
    activations = [n for knob, names in layers.items() if knob.startswith("a:") for n in names]
    assert sorted(activations) == sorted(unet.activations)
    assert [n for knob, names in layers.items() if knob.startswith("w:") for n in names] == list(unet.convolutions)
    for knob in layers:
        turned = search.with_bits(unet, {knob: 3})
        assert search.start(turned, knob) == 3
        assert sum(search.start(turned, other) == 3 for other in layers) == 1


def test_the_front_is_that_of_all_choices() -> None:
    table = {
        "a": {8: 0.0, 4: 0.01, 3: 0.05, 2: 0.3}, "b": {8: 0.0, 4: 0.002, 3: 0.01, 2: 0.02},
        "c": {8: 0.0, 4: 0.1, 3: 0.3, 2: 0.9},
    }  # fmt: skip
    table = {k: {b: v.get(b, v[4] * (8 - b) / 4) for b in range(2, 9)} for k, v in table.items()}
    price = {"a": 5, "b": 2, "c": 1}

    def cost(bits: dict[str, int]) -> float:
        return sum(price[k] * b for k, b in bits.items())

    found = search.front(table, cost)  # type: ignore[arg-type]
    assert found[0].bits == {"a": 8, "b": 8, "c": 8}
    assert found[-1].bits == {"a": 2, "b": 2, "c": 2}
    everything = [
        (cost(dict(zip("abc", bits, strict=True))), sum(table[k][b] for k, b in zip("abc", bits, strict=True)))
        for bits in itertools.product(range(2, 9), repeat=3)
    ]
    for point in found:
        best = min(loss for c, loss in everything if c <= point.cost)
        assert point.loss <= best * 1.25 + 1e-9
    assert [p.cost for p in found] == sorted({p.cost for p in found}, reverse=True)
    assert [p.loss for p in found] == sorted({p.loss for p in found})
    assert [p.cost for p in search.spread(found, 3)][:: len(found[:3]) - 1] == [found[0].cost, found[-1].cost]
    assert search.spread(found, 1) == [found[-1]]


def small(tmp_path: Path, **options: object) -> tuple[QuantUNet, Path]:
    torch.manual_seed(0)
    model = fold_batch_norm(QuantUNet(UNetConfig(depth=1, width=2, **options)).eval())  # type: ignore[arg-type]
    calibrate(model, [torch.rand(2, 1, 16, 16)])
    export_qonnx(model, tmp_path / "m.onnx", (16, 16))
    return model, tmp_path / "m.onnx"


@pytest.mark.parametrize("options", [{}, {"residual": True, "upsampling": "transposed"}])
def test_shortened_words_cost_what_the_exported_network_costs(options: dict[str, object], tmp_path: Path) -> None:
    model, path = small(tmp_path, **options)
    unet = search.with_bits(model.config, {"a:enc0/conv0": 3, "a:dec0/conv0": 5})
    other = search.Base.of(model).network({"a:enc0/conv0": 3, "a:dec0/conv0": 5})
    export_qonnx(other, tmp_path / "other.onnx", (16, 16))
    config, board = parse_array("8x2x2", "table"), load_board("zynq7020")
    bits = [unet.activation_bits_of(name) for name in unet.activations]
    found = cycles(compiled(load(path), bits, config, board))
    graph = load(tmp_path / "other.onnx")
    assert [graph.types[n.output].bits for n in activation_nodes(graph)] == bits
    program = compile_graph(graph, config, board)
    assert found.total == program.timing().total
    assert sum(found.layers.values()) == found.total
    words = shortened(load(path), bits).types
    assert all(words[name].bits == kind.bits for name, kind in graph.types.items() if kind.bits <= 8)


def test_measurements_are_kept_and_belong_to_their_network(tmp_path: Path) -> None:
    memory, told = search.Memory(tmp_path / "m.json", {"unet": 1}), []
    memory.fill({"x": (2,), "y": (3,)}, _square, 1, told.append)
    again = search.Memory(tmp_path / "m.json", {"unet": 1})
    assert again.values == {"x": 4, "y": 9}
    again.fill({"x": (7,), "z": (5,)}, _square, 1, told.append)
    assert again.values == {"x": 4, "y": 9, "z": 25}
    with pytest.raises(HwsegError, match="belongs to another network, data or array"):
        search.Memory(tmp_path / "m.json", {"unet": 2})
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(HwsegError, match=r"is damaged \(JSONDecodeError: .*\); remove it to measure again"):
        search.Memory(tmp_path / "m.json", {"unet": 1})


def _square(x: int) -> int:
    return x * x


def test_the_plot_names_what_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn = []
    monkeypatch.setattr(plots, "_write", lambda path, draw: drawn.append(draw()))
    rows = [{"energy_mj": m, "loss": 0.1, "dice": 0.9} for m in (4.0, 3.0, 2.0)]
    plots.pareto(rows, 1, tmp_path / "x.png", "energy_mj")
    for axis in drawn[0].axes:
        assert axis.get_xlabel() == "predicted energy, share of the base's"
        assert list(axis.lines[0].get_xdata()) == [1, 0.75, 0.5]


def test_choices() -> None:
    rows = [
        {"cycles": c, "energy_mj": m, "loss": e, "dice": d}
        for c, m, e, d in ((100, 4.0, 0.1, 0.9), (80, 2.9, 0.12, 0.895), (50, 3.0, 0.2, 0.85))
    ]
    assert choose(rows, 0.8, 0.01) == 1
    assert choose(rows, None, 0.01) == 1
    assert choose(rows, None, 0.06) == 2
    assert choose(rows, 0.75, 0.01, "energy_mj") == 1
    assert choose(rows, None, 0.06, "energy_mj") == 1
    with pytest.raises(HwsegError, match=r"--share: must be at least 0.500 here, not 0.4"):
        choose(rows, 0.4, 0.01)


@pytest.mark.parametrize("objective", ["cycles", "energy"])
def test_a_search_from_checkpoint_to_fine_tuned_network(
    objective: str, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOWEST", 6)
    model, _ = small(tmp_path)
    save_network(tmp_path / "base.pt", model, TrainConfig(size=16, resize=16))
    out = tmp_path / "search"
    call = ["search", str(tmp_path / "base.pt"), "--data", str(discs), "-o", str(out), "--array", "8x2x2", "--share",
            "0.98", "--objective", objective, "--boundary", "pl",
            "--steps", "2", "--points", "4", "--weight-price", "0.01"]  # fmt: skip
    with pytest.raises(SystemExit) as done:
        main(call)
    assert done.value.code == 0, capsys.readouterr().err
    front = json.loads((out / "front.json").read_text())
    row = front["points"][front["chosen"]]
    key = {"cycles": "cycles", "energy": "energy_mj"}[objective]
    assert front["objective"] == objective
    assert 0 < row[key] <= 0.98 * front["points"][0][key]
    assert abs(row["estimated"] / row[key] - 1) < 0.1
    assert set(front["points"][0]["bits"].values()) == {8}
    tuned, _ = load_network(out / "run" / "best.pt")
    table = tomllib.loads((out / "config.toml").read_text())["unet"]
    assert UNetConfig.from_dict(table) == tuned.config == search.with_bits(model.config, row["bits"])
    assert (out / "front.png").read_bytes()[:4] == b"\x89PNG"
