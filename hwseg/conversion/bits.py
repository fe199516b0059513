"""`--bits mixed`: as few bits of activations as leave the float network's masks what they are.

at 8 bits -> what each quantizer loses, and what it costs, at each number of bits -> front -> one choice of it

What is made least is the predicted cycles, or energy, of a frame, among choices whose Dice with the float network's
masks is at most `budget` below that at 8 bits, on the pictures that calibrate.  Weights keep 8 bits: theirs cost no
cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hwseg import codesign
from hwseg.errors import require
from hwseg.pictures.meaning import Meaning
from hwseg.power.band import OBJECTIVES
from hwseg.quant.convert.convert import FITTED, Converted, some
from hwseg.quant.convert.mixed import Agreement, Base
from hwseg.quant.train.search import Memory

Told = Callable[[str], None]


@dataclass(frozen=True)
class Mixed:
    """What `--bits mixed` is told.  objective: one of `OBJECTIVES`, energy within `boundary`.  points: to measure."""

    objective: str = "cycles"
    budget: float = 0.01
    boundary: str = "pl_ps"
    points: int = 16


@dataclass(frozen=True)
class Choice:
    """Bits of activations by name, the rows that were measured, the base first, and which of them it is."""

    bits: Mapping[str, int]
    rows: Sequence[Mapping[str, Any]]
    chosen: int
    wanted: Mixed

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        wanted = {"objective": self.wanted.objective, "budget": self.wanted.budget, "boundary": self.wanted.boundary}
        return {**wanted, "chosen": self.chosen, "points": [dict(row) for row in self.rows]}


def choose_bits(
    converted: Converted, inputs: Sequence[Tensor], wanted: Mixed, *, pixels: Meaning, array: str, seed: int,
    path: Path, told: Told,
) -> Choice:  # fmt: skip
    """Bits for a network that was converted at 8 bits, on the float `inputs` that calibrated it.

    path: where measurements are kept, so that a search that was stopped goes on.
    """
    rule = "mixed has nothing to choose: the network has no activation of its own bits"
    require(bool(converted.quantized.config.quantizers), "--bits", rule, "use --bits 8")
    height, width = inputs[0].shape[2:]
    subject = codesign.subject_of(converted.quantized, (height, width), pixels)
    engine = codesign.Costs(subject, array, wanted.objective, wanted.boundary)
    base = Base.of(converted, inputs, seed)
    few, every = (Agreement.of(converted.network, batches) for batches in (some(inputs, FITTED), inputs))
    key = {
        "network": base.config.to_dict(), "parameters": base.digest, "pictures": every.digest,
        "size": list(engine.size), "array": engine.config.name,
    }  # fmt: skip
    memory = Memory(path, key)
    rows = list[dict[str, Any]]()
    for row in codesign.explored(
        engine, base, few, every, memory, wanted.points, 0.0, 1, lambda what, text: told(f"measuring {what}, {text}")
    ):
        rows.append(row)
        told(f"measuring choices of bits, {len(rows)} of at most {wanted.points}")
    number = codesign.choose(rows, None, wanted.budget, OBJECTIVES[wanted.objective])
    bits = {knob.removeprefix("a:"): count for knob, count in rows[number]["bits"].items()}
    return Choice(bits, rows, number, wanted)
