"""What was drawn: operations that follow each other, ranges of instruction fields, modes of every unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from tests.fuzz.executor import Executor, attributes
from tests.fuzz.functions import FUNCTIONS
from tests.fuzz.operations import execute
from tests.fuzz.under_test import FORMATS, PARAMETER, Mode, Opcode, Program, Scatter, Target

PICTURE = "picture"
STRUCTURAL = (
    "Conv 3x3", "Conv 3x3/2", "Conv 1x1", "Conv 1x1/2", "Conv 5x5", "Conv 5x5/2", "Conv 7x7/2", "Conv grouped",
    "ConvTranspose", "ConvTranspose larger", "ConvTranspose grouped",
    "MaxPool", "MaxPool 3x3", "AveragePool", "Resize nearest", "Resize linear",
    "Concat", "Add", "Mul", "Function", "ArgMax",
)  # fmt: skip
"""Operations that are not of every number by itself."""
CHOSEN, INNER, CONSTANTS = "an output chosen", "an output chosen that others read", "other outputs are constants"
DETAILS = ("Gelu by tanh", *(op for op in FUNCTIONS if op != "Swish"), CHOSEN, INNER, CONSTANTS)
"""What is counted beside operations that follow each other.  Swish is drawn as a sigmoid and a product."""
NO_WRAP = (1 << 14) - 1

Range = tuple[int, int]


def label(node: onnx.NodeProto, maps: set[str], pads: bool = False) -> str:
    """The name under which an operation is counted.  pads: it puts something around a map."""
    given = attributes(node)
    if node.op_type in ("Quant", "IntQuant", "DequantizeLinear"):
        return "Quant"
    if node.op_type == "Conv" and given.get("group", 1) > 1:
        return "Conv grouped"
    if node.op_type == "Conv":
        kernel = given.get("kernel_shape", [1])[0]  # the drawer leaves it out of 1x1 only
        return f"Conv {kernel}x{kernel}" + ("/2" if given.get("strides", [1])[0] == 2 else "")
    if node.op_type == "MaxPool" and given["kernel_shape"][0] == 3:
        return "MaxPool 3x3"
    if node.op_type == "ConvTranspose" and given.get("group", 1) > 1:
        return "ConvTranspose grouped"
    if node.op_type == "ConvTranspose" and (given["kernel_shape"][0] != 2 or any(given.get("pads", [0]))):
        return "ConvTranspose larger"
    if node.op_type in ("Resize", "Upsample"):
        return f"Resize {given.get('mode', 'nearest')}"
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        both = sum(name in maps for name in node.input[:2]) == 2
        if node.op_type == "Sub" and node.input[0] not in maps:
            return "Sub from constant"
        return node.op_type.replace("Sub", "Add") if both else f"{node.op_type} constant"
    if node.op_type == "Pad" and pads:
        return "Pad zeros"
    return "Function" if node.op_type in FUNCTIONS else str(node.op_type)


def details(model: onnx.ModelProto) -> set[str]:
    """Which functions it has, and how it chooses its output."""
    executor = execute(model)
    found, outputs = set(), model.graph.output
    for node in executor.live():
        if node.op_type in FUNCTIONS:
            found.add(node.op_type + (" by tanh" if attributes(node).get("approximate") == "tanh" else ""))
    if executor.choice():
        found.add(INNER if any(executor.output in node.input for node in model.graph.node) else CHOSEN)
    elif len(outputs) > 1:
        found.add(CONSTANTS)
    return found


def inner(nodes: Sequence[onnx.NodeProto], output: str) -> set[str]:
    """Sigmoids that do not end the network."""
    made = {node.output[0] for node in nodes if node.op_type == "Sigmoid" and node.output[0] != output}
    return made & {name for node in nodes if node.op_type != "Greater" for name in node.input}


def of_levels(executor: Executor, node: onnx.NodeProto) -> bool:
    """Does a Clip read integers of a QuantizeLinear?"""
    maker = executor.makers.get(node.input[0])
    return maker is not None and maker.op_type == "QuantizeLinear"


def pads(executor: Executor, node: onnx.NodeProto) -> bool:
    """Does it put something around a map?"""
    if node.op_type != "Pad":
        return False
    given = attributes(node)
    return bool(np.any(given["pads"] if "pads" in given else executor.value(node.input[1])))


def sequences(model: onnx.ModelProto) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Pairs of operations of which the second reads the first; pairs of structural ones with a quantizer between."""
    executor = execute(model)
    labels = {executor.input.name: PICTURE}
    behind: dict[str, set[tuple[str, bool]]] = {executor.input.name: {(PICTURE, True)}}
    pairs: set[tuple[str, str]] = set()
    through: set[tuple[str, str]] = set()
    nodes = executor.live()
    bending = inner(nodes, executor.output)
    for node in nodes:
        sources = [name for name in node.input if name in labels]
        if not sources or node.op_type == "Shape":
            continue
        if node.op_type == "QuantizeLinear" or (node.op_type == "Clip" and of_levels(executor, node)):
            # the first of three nodes, counted at the last
            labels[node.output[0]], behind[node.output[0]] = labels[sources[0]], behind[sources[0]]
            continue
        this = "Function" if node.output[0] in bending else label(node, set(labels), pads(executor, node))
        pairs |= {(labels[name], this) for name in sources}
        before = {found for name in sources for found in behind[name]}
        if this in STRUCTURAL or this == "Quant":
            through |= {(other, this) for other, quantized in before if quantized}
        if this in STRUCTURAL:
            before = {(this, False)}
        elif this == "Quant":
            before = {(other, True) for other, _ in before}
        labels[node.output[0]], behind[node.output[0]] = this, before
    return pairs, through


@dataclass(frozen=True)
class Seen:
    """A program's instructions, by kind and field."""

    load: dict[str, np.ndarray]
    move: dict[str, np.ndarray]
    config: dict[str, np.ndarray]
    run: dict[str, np.ndarray]
    program: Program
    planes: int

    @property
    def fold(self) -> tuple[int, int]:
        rows, columns = self.program.memory.layouts[self.program.graph.input].fold
        return rows, columns

    def loaded(self, target: Target, field: str) -> np.ndarray:
        """A field of all LOADs to a target."""
        return self.load[field][self.load["target"] == target]


MODES: dict[str, Callable[[Seen], object]] = {
    **{f"walk {mode.name}": lambda s, mode=mode: (s.config["mode"] == mode).any() for mode in Mode},
    **{f"scatter {way.name}": lambda s, way=way: (s.run["scatter"] == way).any() for way in Scatter},
    "signed input": lambda s: s.config["signed_in"].any(),
    "split": lambda s: s.config["split"].any(),
    "split and pooled": lambda s: (s.config["split"] & s.config["pool"]).any(),
    "fused chain": lambda s: any(len(chain.plans) > 1 for chain in s.program.chains),
    "ring of one layer": lambda s: any(chain.stages and len(chain.plans) == 1 for chain in s.program.chains),
    "move to window": lambda s: (s.move["target"] == Target.WINDOW).any(),
    "move to point": lambda s: (s.move["target"] == Target.POINT).any(),
    "folded 2x1": lambda s: s.fold == (2, 1),
    "folded 2x2": lambda s: s.fold == (2, 2),
    "pooled alone": lambda s: (s.config["pool"] > s.config["keep"]).any(),
    "pooled and kept": lambda s: (s.config["pool"] & s.config["keep"]).any(),
    "kept and in the loop": lambda s: (s.config["loop"] & s.config["keep"]).any(),
    "residual": lambda s: s.config["residual"].any(),
    "residual doubled": lambda s: s.config["double"].any(),
    "residual halved": lambda s: s.config["halve"].any(),
    "head of sums": lambda s: s.config["raw"].any(),
    "head by dot": lambda s: s.config["dot"].any(),
    "head of planes": lambda s: not (s.config["raw"].any() or s.config["dot"].any()),
    "skipping allowed": lambda s: s.config["skip"].any(),
    "packed weights": lambda s: s.loaded(Target.WEIGHTS, "every_other").any(),
    "rows of a phase": lambda s: s.move["every_other"].any(),
    "kept tiles (jump)": lambda s: s.run["jump"].any(),
    "16-bit weights (shift)": lambda s: s.run["shift"].any(),
    "rows in pairs": lambda s: s.run["pair"].any(),
    "odd row": lambda s: s.run["odd_row"].any(),
    "odd column": lambda s: s.run["odd_column"].any(),
    "several tiles": lambda s: (s.run["first"] == 0).any(),
    "several slices": lambda s: (s.run["slice"] > 0).any(),
    "several pages": lambda s: len(s.loaded(Target.PROGRAM, "opcode")) > 0,
    "ring wraps": lambda s: (s.load["wrap_at"] != NO_WRAP).any(),
    "part of the rows": lambda s: (s.run["bottom"] == 0).any(),
    "part of the columns": lambda s: (s.run["right"] == 0).any(),
    "dial": lambda s: s.planes < 8,
}
"""What a program can make units do, each asked of its instructions."""


@dataclass
class Coverage:
    """Counts over many graphs; `+=` by `add`."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    through: Counter[tuple[str, str]] = field(default_factory=Counter)
    fields: dict[tuple[str, str], Range] = field(default_factory=dict)
    details: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    arrays: Counter[str] = field(default_factory=Counter)

    def see_model(self, model: onnx.ModelProto) -> None:
        pairs, through = sequences(model)
        self.pairs.update(pairs)
        self.through.update(through)
        self.details.update(details(model))

    def see_program(self, program: Program, planes: int) -> None:
        found = list(instructions(program.program))
        for name, columns in [*found, ("PARAMETER", parameters(program))]:
            for key, values in columns.items():
                if len(values):
                    self._widen((name, key), int(min(values)), int(max(values)))
        self.modes.update(modes(dict(found), program, planes))
        self.arrays[program.config.name] += 1

    def add(self, other: Coverage) -> None:
        for mine, theirs in (
            (self.pairs, other.pairs),
            (self.through, other.through),
            (self.details, other.details),
            (self.modes, other.modes),
            (self.arrays, other.arrays),
        ):
            mine.update(theirs)
        for key, (low, high) in other.fields.items():
            self._widen(key, low, high)

    def _widen(self, key: tuple[str, str], low: int, high: int) -> None:
        before = self.fields.get(key, (low, high))
        self.fields[key] = min(before[0], low), max(before[1], high)


def instructions(program: bytes) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Every field of all instructions of one kind, as they stand in the program."""
    words = np.frombuffer(program, "<u8").reshape(-1, 4)
    opcodes = words[:, 0] & np.uint64(15)
    for opcode, form in FORMATS.items():
        chosen = np.concatenate([words[opcodes == opcode], np.zeros((int((opcodes == opcode).sum()), 1), np.uint64)], 1)
        columns = {}
        for name, width in form.fields.items():
            word, bit = divmod(form.offsets[name], 64)
            value = chosen[:, word] >> np.uint64(bit)
            if bit + width > 64:
                value = value | chosen[:, word + 1] << np.uint64(64 - bit)
            columns[name] = value & np.uint64((1 << width) - 1)
        yield Opcode(opcode).name, columns


def parameters(program: Program) -> dict[str, list[int]]:
    """Fields of the requantizers that the program loads; multipliers and offsets with their signs."""
    loads = dict(instructions(program.program))["LOAD"]
    found: dict[str, list[int]] = {name: [] for name in PARAMETER.fields}
    for number in np.flatnonzero(loads["target"] == Target.PARAMETERS):
        start, count = int(loads["ddr"][number]), int(loads["run_words"][number])
        at = start - program.memory.weights_address
        words = np.frombuffer(program.weights[at : at + 8 * count], "<u8").reshape(-1, 2)
        for low, high in words[words.any(axis=1)]:
            for name, value in PARAMETER.unpack(int(low) | int(high) << 64).items():
                width = PARAMETER.fields[name]
                signed = name in ("offset", "multiplier", "dot")
                found[name].append(value - (value >> width - 1 << width) if signed else value)
    return found


def modes(found: dict[str, dict[str, np.ndarray]], program: Program, planes: int) -> set[str]:
    """Which modes of which units the program uses."""
    seen = Seen(found["LOAD"], found["MOVE"], found["CONFIG"], found["RUN"], program, planes)
    return {name for name, test in MODES.items() if test(seen)}


def widths() -> dict[tuple[str, str], int]:
    """Bits of every field that is counted."""
    forms = {Opcode(opcode).name: form for opcode, form in FORMATS.items()} | {"PARAMETER": PARAMETER}
    return {(name, key): width for name, form in forms.items() for key, width in form.fields.items()}
