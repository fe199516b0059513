"""What a choice of bits costs on an array, and which choice to take: the compiler's side of a search for bits.

bits of each layer -> shortened graph -> program -> cycles, energy
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.boards import load_board
from hwseg.compile.activation_cost import activation_nodes, compiled, cycles
from hwseg.compile.program import Program, compile_graph
from hwseg.energy.frame import activity_of_program
from hwseg.errors import require
from hwseg.ir import Graph
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.power.coefficients import load as load_coefficients
from hwseg.power.estimate import EnergyReport, estimate
from hwseg.quant.networks.architecture import Quantized, Turnable
from hwseg.quant.networks.unet import UNetConfig
from hwseg.quant.read.load import load
from hwseg.quant.train import search
from hwseg.quant.train.export import export_qonnx
from hwseg.quant.train.search import Memory, with_bits
from hwseg.target.array import choose_array


def choose(rows: list[dict[str, Any]], share: float | None, budget: float, key: str = "cycles") -> int:
    """The least loss within a share of what the first row costs, or the least cost within a loss of Dice."""
    costs = [row[key] for row in rows]
    if share is not None:
        fits = [i for i, cost in enumerate(costs) if cost <= share * costs[0]]
        least = min(costs) / costs[0]
        require(bool(fits), "--share", f"must be at least {least:.3f} here, not {share:g}", "try a smaller --array")
        return min(fits, key=lambda i: rows[i]["loss"])
    fits = [i for i, row in enumerate(rows) if row["dice"] >= rows[0]["dice"] - budget]
    return min(fits, key=costs.__getitem__)


@dataclass(frozen=True)
class Subject:
    """A quantized network as the compiler sees it.

    owners: of each of the graph's `activation_nodes` the activation in `config` that has its bits, None where none has.
    counts: weights of each convolution.  exported: the graph of the network at other bits, where words alone do not say
    what it costs: the steps of a tabulated function depend on ranges, too.
    """

    config: Turnable
    graph: Graph
    owners: tuple[str | None, ...]
    counts: Mapping[str, int]
    exported: Callable[[Any], Graph] | None = None


def subject_of(
    model: Quantized, size: tuple[int, int], pixels: Meaning, labels: Labels | None = None, path: Path | None = None
) -> Subject:
    """A network for pictures of `size`, exported to `path` if there is one."""

    def exported(network: Quantized, path: Path | None = None) -> Graph:
        with tempfile.TemporaryDirectory(prefix="hwseg-bits-") as folder:
            found = path or Path(folder) / "base.onnx"
            export_qonnx(network, found, size, pixels, labels, "base")
            return load(found)

    config, graph = model.config, exported(model, path)
    counts = {name: model.weight_of(name).numel() for name in config.convolutions}
    if isinstance(config, UNetConfig):
        return Subject(config, graph, _in_order(config, graph), counts)
    return Subject(config, graph, _by_name(config, graph), counts, exported)


def _in_order(config: UNetConfig, graph: Graph) -> tuple[str, ...]:
    """Owners in hwseg's own U-Net: its activations are the graph's, one after the other."""
    widths = [graph.types[node.output].bits for node in activation_nodes(graph)]
    assert widths == [config.activation_bits_of(name) for name in config.activations]
    return config.activations


def _by_name(config: Turnable, graph: Graph) -> tuple[str | None, ...]:
    """Owners in any other network: the graph's nodes are named after its quantizers."""
    prefixes = {f"{name}/quantizer/": name for name in config.activations}
    nodes = [f"{node.output}/" for node in activation_nodes(graph)]
    return tuple(next((n for prefix, n in prefixes.items() if node.startswith(prefix)), None) for node in nodes)


class Costs:
    """Compiler and energy model as sources of costs.  objective: `cycles` or `energy`, counted within `boundary`."""

    def __init__(self, subject: Subject, array: str, objective: str, boundary: str) -> None:
        self.subject, self.graph = subject, subject.graph
        self.objective, self.boundary = objective, boundary
        height, width, _ = self.graph.types[self.graph.input].shape
        self.size = (height, width)
        self.board = load_board("zynq7020")
        self.config = choose_array(array, "table", self.board)

    def widths(self, bits: Mapping[str, int]) -> list[int]:
        """Word length of each of the graph's activations at a choice of bits.

        A word may be narrower than its quantizer's: what is never negative needs no sign.  It stays so much narrower.
        """
        config, turned = self.subject.config, with_bits(self.subject.config, bits)
        found = []
        for node, owner in zip(activation_nodes(self.graph), self.subject.owners, strict=True):
            width = self.graph.types[node.output].bits
            taken = 0 if owner is None else config.activation_bits_of(owner) - turned.activation_bits_of(owner)
            found.append(max(1, width - taken))
        return found

    def program(self, bits: Mapping[str, int]) -> Program:
        """The network with a choice of bits, compiled."""
        return compiled(self.graph, self.widths(bits), self.config, self.board)

    def energy(self, program: Program) -> EnergyReport:
        """Estimated, at the default activity."""
        return estimate(activity_of_program(program), load_coefficients(), self.board.clock_mhz)

    def prices(self, bits: Mapping[str, int], network: Any = None) -> dict[str, float]:
        """Exact cycles of a choice, and its millijoules: the middle of the estimate.  network: at these bits."""
        if network is not None and self.subject.exported is not None:
            program = compile_graph(self.subject.exported(network), self.config, self.board)
        else:
            program = self.program(bits)
        energy = self.energy(program).total.energy_mj[self.boundary].mid
        return {"cycles": program.timing().total, "energy_mj": energy}

    def layers(self, bits: Mapping[str, int]) -> dict[str, float]:
        """Cost of each layer."""
        program = self.program(bits)
        if self.objective == "cycles":
            return dict(cycles(program).layers)
        return {layer.name: layer.energy_mj[self.boundary].mid for layer in self.energy(program).layers}

    def packed(self, bits: Mapping[str, int]) -> int:
        """Bytes of all weights, each in its own bits."""
        chosen = with_bits(self.subject.config, bits)
        return sum((count * chosen.weight_bits_of(name) + 7) // 8 for name, count in self.subject.counts.items())

    def cost(
        self,
        memory: Memory,
        table: Mapping[str, Mapping[int, float]],
        jobs: int,
        price: float,
        told: Callable[[str], None],
    ) -> Callable[[Mapping[str, int]], float]:
        """A quick estimate from choices of one knob at b bits and all others at two.

        A layer takes the most cycles that any knob makes it take; what knobs add to its energy is added up.
        """
        activations = [knob for knob in table if knob.startswith("a:")]
        low = dict.fromkeys(activations, search.LOWEST)
        kind = self.objective if self.objective == "cycles" else f"{self.objective} {self.boundary}"
        tasks = {f"{kind} {k} {b}": ({**low, k: b},) for k in activations for b in table[k]}
        memory.fill(tasks, self.layers, jobs, told)
        seen = {(k, b): memory.values[f"{kind} {k} {b}"] for k in activations for b in table[k]}
        least = seen[activations[0], search.LOWEST]

        def cost(bits: Mapping[str, int]) -> float:
            rows = [seen[k, bits[k]] for k in activations]
            if self.objective == "cycles":
                total = sum(max(row[name] for row in rows) for name in least)
            else:
                total = sum(value + sum(row[name] - value for row in rows) for name, value in least.items())
            unit = 1.0 if self.objective == "cycles" else 1e-6
            return float(total + unit * price * self.packed(bits))

        return cost


def explored(
    engine: Costs, base: search.Starting, pictures: search.Measure, graded: search.Measure, memory: Memory,
    points: int, price: float, jobs: int, told: Callable[[str, str], None],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Rows of what choices of bits cost and lose: the base first, then points of the front, from dear to cheap.

    Losses are measured on `pictures`, Dice on `graded`.  price: of a byte of packed weights, which are left alone at 0.
    told: is told what is measured, and how far that is.
    """
    table = search.sensitivity(memory, base, pictures, price > 0, jobs, lambda text: told("losses", text))
    cost = engine.cost(memory, table, jobs, price, lambda text: told(engine.objective, text))
    first = search.Point({knob: max(losses) for knob, losses in table.items()}, 0.0, 0.0)
    best: Sequence[search.Point] = search.spread(search.front(table, cost), points - 1)
    for point in [first, *(p for p in best if p.bits != first.bits)]:
        network = base.network(point.bits)
        (loss, _), (_, dice) = pictures.measure(network), graded.measure(network)
        yield {**engine.prices(point.bits, network), "estimated": cost(point.bits), "loss": loss, "dice": dice,
               "packed_bytes": engine.packed(point.bits), "bits": point.bits}  # fmt: skip
