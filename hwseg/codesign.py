"""What a choice of bits costs on an array, and which choice to take: the compiler's side of `hwseg search`.

bits of each layer -> shortened graph -> program -> cycles, energy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwseg.boards import load_board
from hwseg.compile.activation_cost import activation_nodes, compiled, cycles
from hwseg.compile.program import Program
from hwseg.energy.frame import activity_of_program
from hwseg.errors import require
from hwseg.power.coefficients import load as load_coefficients
from hwseg.power.estimate import EnergyReport, estimate
from hwseg.quant.read.load import load
from hwseg.quant.read.reshape import parse_size
from hwseg.quant.train import search
from hwseg.quant.train.export import export_qonnx
from hwseg.quant.train.search import Memory, with_bits
from hwseg.quant.train.unet import QuantUNet
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


class Costs:
    """Compiler and energy model as sources of costs."""

    def __init__(self, model: QuantUNet, meta: Mapping[str, Any], out: Path, options: Mapping[str, Any]) -> None:

        self.unet = model.config
        self.objective, self.boundary = options["objective"], options["boundary"]
        side = int(meta["resize"] or meta["size"])
        self.size = parse_size(options["size"]) if options["size"] else (side, side)
        out.mkdir(parents=True, exist_ok=True)
        export_qonnx(model, out / "base.onnx", self.size, meta["input"], meta["labels"], "base")
        self.graph = load(out / "base.onnx")
        self.board = load_board("zynq7020")
        self.config = choose_array(options["array"], "table", self.board)
        widths = [self.graph.types[node.output].bits for node in activation_nodes(self.graph)]
        assert widths == [self.unet.activation_bits_of(name) for name in self.unet.activations]
        self.counts = {
            name: int(
                model.get_parameter(name.replace("/", ".") + (".conv" if name[:2] == "up" else "") + ".weight").numel()
            )
            for name in self.unet.convolutions
        }

    def program(self, bits: Mapping[str, int]) -> Program:
        """The network with a choice of bits, compiled."""
        chosen = with_bits(self.unet, bits)
        return compiled(self.graph, [chosen.activation_bits_of(n) for n in chosen.activations], self.config, self.board)

    def energy(self, program: Program) -> EnergyReport:
        """Estimated, at the default activity."""
        return estimate(activity_of_program(program), load_coefficients(), self.board.clock_mhz)

    def prices(self, bits: Mapping[str, int]) -> dict[str, float]:
        """Exact cycles of a choice, and its millijoules: the middle of the estimate."""
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
        chosen = with_bits(self.unet, bits)
        return sum((count * chosen.weight_bits_of(name) + 7) // 8 for name, count in self.counts.items())

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
