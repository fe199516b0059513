"""`hwseg quantize` as a function: read, convert, distil, export, measure, tell.

Beside the model file M.onnx lie M.pt (the quantized network), M.json and M.html (what it came to), and, while it is
distilled, M.distill.pt; while bits are chosen, M.search.json.  A model file is written whole, and last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from hwseg.conversion.bits import Choice, Mixed, choose_bits
from hwseg.conversion.costs import costs
from hwseg.conversion.outputs import SEARCH, STATE, require_free
from hwseg.conversion.page import Outcome, page
from hwseg.datasets.data import meaning_of
from hwseg.errors import HwsegError, require
from hwseg.files import write_whole
from hwseg.pictures import meaning as meanings
from hwseg.pictures.choice import named
from hwseg.pictures.labels import LABELS, Labels
from hwseg.pictures.labels import parse as parse_labels
from hwseg.pictures.meaning import DEFAULT, Meaning
from hwseg.quant.convert import distill, from_onnx, measure, source
from hwseg.quant.convert.convert import Bits, Converted, convert
from hwseg.quant.convert.distill import gathered
from hwseg.quant.convert.fit import Fit, Replacement, logits_of
from hwseg.quant.convert.pictures import Pictures, batches, common_size, depth
from hwseg.quant.convert.pictures import load as load_pictures
from hwseg.quant.convert.reading import OfFile, OfModule, Own, check, require_masks
from hwseg.quant.networks.graph import Network
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork
from hwseg.quant.read.load import load
from hwseg.quant.read.onnx_file import read
from hwseg.quant.train.checkpoint import save_network
from hwseg.quant.train.config import TrainConfig
from hwseg.quant.train.export import export_qonnx

Told = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `hwseg quantize` is told.  model: a float ONNX file, or module:callable.

    mixed: bits of activations are chosen; the numbers of bits are 8 then.
    """

    model: str
    data: Path
    out: Path
    weights: Path | None = None
    normalize: str = ""
    size: tuple[int, int] | None = None
    resize: int = 0
    in_channels: int = 0
    weight_bits: Bits = 8
    activation_bits: Bits = 8
    mixed: Mixed | None = None
    scales: str = "power_of_two"
    strict: bool = False
    pictures: int = 50
    held: str = "test"
    extra: tuple[str, ...] = ()
    distill: distill.DistillConfig = field(default_factory=lambda: distill.DistillConfig(0))
    resume: bool = False
    seed: int = 0
    array: str = "auto"
    labels: Callable[[int, Labels | None], Labels] | None = None

    @property
    def is_file(self) -> bool:
        """Whether the model is an ONNX file."""
        return self.model.lower().endswith(".onnx")

    @property
    def sources(self) -> list[Path]:
        """Files that are read, pictures aside."""
        given = [Path(self.model)] if self.is_file else []
        return [*given, *([self.weights] if self.weights else []), self.data]


@dataclass(frozen=True)
class Taken:
    """The float network with what is declared about its pictures, and the pictures themselves.

    own: the module or the file, to compare with.
    """

    network: Network
    own: Own
    pixels: Meaning
    assumed: bool
    labels: Labels
    size: tuple[int, int]
    pictures: Pictures


def convert_files(options: Options, told: Told = lambda _: None, learned: Any = lambda step, loss: None) -> Outcome:
    """Convert, and write everything.  Raises HwsegError for what cannot be converted; Ctrl-C keeps a distillation."""
    require_free(options.out, options.sources)
    state_file = options.out.with_suffix(STATE)
    left = state_file.exists() and not options.resume
    require(not left, str(state_file), "holds a distillation that was stopped", "add --resume, or remove it")
    taken = take(options, told)
    parts = taken.pictures
    inputs = batches(parts.calibrate, taken.pixels, taken.size, told)
    told("comparing with the network itself")
    reading = check(taken.network, taken.own, inputs)
    logits = logits_of(taken.network, inputs[0][:1])[0]
    require_masks(logits, inputs)
    key = _key(options, taken)
    if options.resume:
        cure = "begin without --resume"
        require(state_file.is_file(), str(state_file), "does not exist: there is no distillation to go on with", cure)
        state = distill.read_state(state_file, key)
        replaced = [one["layer"] for one in state["replacements"] if not one["exact"]]
        rule = f"allows no replaced layers, and the distillation began with {len(replaced)}: {', '.join(replaced[:3])}"
        require(not (options.strict and replaced), "--strict", rule, "leave it out")
        converted, search = _converted(state, logits), state.get("search")
    else:
        converted, choice = _at_bits(options, taken, inputs, told)
        search = choice.to_dict() if choice else None
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.distill.steps:
        papers = {"key": key, "search": search, **_papers(converted)}
        work = distill.Distillation(converted.quantized, converted.network, gathered(inputs), options.distill, papers)
        if options.resume:
            work.restore(state)
        distill.distill(work, state_file, learned)
    return _finish(options, taken, converted, {"search": search, "reading": asdict(reading)}, inputs, told)


def _at_bits(options: Options, taken: Taken, inputs: list[Tensor], told: Told) -> tuple[Converted, Choice | None]:
    """Converted at the bits that are asked for, or at those that were chosen."""
    made = partial(
        convert, taken.network, inputs, pixels=taken.pixels, scales=options.scales, strict=options.strict,
        seed=options.seed, told=told,
    )  # fmt: skip
    converted = made(weight_bits=options.weight_bits, activation_bits=options.activation_bits)
    if options.mixed is None:
        return converted, None
    kept = options.out.with_suffix(SEARCH)
    kept.parent.mkdir(parents=True, exist_ok=True)
    choice = choose_bits(
        converted, inputs, options.mixed, pixels=taken.pixels, array=options.array, seed=options.seed, path=kept,
        told=told,
    )  # fmt: skip
    return made(weight_bits=options.weight_bits, activation_bits=choice.bits), choice


def take(options: Options, told: Told) -> Taken:
    """Read the network, and arrange its pictures."""
    told("reading the network")
    metadata: Mapping[str, str] = {}
    network: Network | None = None
    module: torch.nn.Module | None = None
    own: Own
    size: tuple[int, int] | None
    if options.is_file:
        rule = "holds its weights itself"
        require(options.weights is None, options.model, rule, "leave --weights out")
        file = read(Path(options.model))
        metadata, channels, size = file.metadata, file.shape[1], (file.shape[2], file.shape[3])
        rule = f"is {options.in_channels}, and {options.model} takes {channels}"
        require(options.in_channels in (0, channels), "--in-channels", rule, "leave it out")
        asked = options.size or size
        rule = f"is {asked[0]}x{asked[1]}, and {options.model} is for {size[0]}x{size[1]}"
        require(asked == size, "--size", rule, "export it at that size, or leave --size out")
        rule = f"is {options.resize}, and {options.model} is for {size[0]}x{size[1]}"
        fits = not options.resize or size == (options.resize,) * 2
        require(fits, "--resize", rule, "scale pictures to the side that the file is for")
        network, own = from_onnx.from_file(file), OfFile(file)
    else:
        module = source.module_of(options.model, options.weights)
        channels = options.in_channels or source.channels_of(module)
        rule = f"is {options.resize}, and --size says otherwise"
        fits = not options.resize or options.size in (None, (options.resize,) * 2)
        require(fits, "--resize", rule, "give one of both: --resize scales whole pictures to squares, --size cuts")
        size = options.size or ((options.resize, options.resize) if options.resize else None)
    pixels = _meaning(options, metadata)
    assumed = pixels is None
    pixels = (pixels or Meaning(DEFAULT)).check(channels, "--normalize")
    pixels = replace(pixels, fit="resize") if options.resize else pixels
    known = None
    if LABELS in metadata and network is not None:
        known = parse_labels(metadata[LABELS], _classes(network), options.model)
    told("listing pictures")
    if module is not None:
        if size is None:
            probe = load_pictures(options.data, channels, Labels(1), options.seed, options.pictures, options.held)
            size = common_size(probe.calibrate + probe.held)
        told("tracing the network")
        first = source.channels_of(module)
        try:
            network, own = source.read_module(module, (1, channels, *size)), OfModule(module)
        except HwsegError:
            rule = f"is {channels}, and the network's first convolution takes {first}"
            require(channels == first, "--in-channels", rule, "leave it out")
            raise
    assert network is not None
    assert size is not None
    classes = _classes(network)
    labels = options.labels(classes, known) if options.labels else known or Labels(classes)
    parts = load_pictures(options.data, channels, labels, options.seed, options.pictures, options.held, options.extra)
    pixels = depth(parts.calibrate + parts.held, pixels)
    rule = f"must be multiples of {network.multiple}, are {size[0]}x{size[1]}"
    require(all(side % network.multiple == 0 for side in size), "--size", rule, "choose others, or add --resize")
    return Taken(network, own, pixels, assumed, labels, size, parts)


def _classes(network: Network) -> int:
    """Channels of the network's output."""
    from hwseg.quant.networks.operations import run

    side = max(network.multiple, 16) * 2
    with torch.no_grad():
        return int(run(network, torch.zeros(1, network.channels, side, side))[network.output].shape[1])


def _meaning(options: Options, metadata: Mapping[str, str]) -> Meaning | None:
    if options.normalize:
        return named(options.normalize, "--normalize")
    found = meanings.declared(metadata, options.model)
    return found or (meaning_of(options.data) if options.data.exists() else None)


def _key(options: Options, taken: Taken) -> str:
    """What a distillation belongs to: weights, pictures, options."""
    found = hashlib.sha256()
    for name, tensor in taken.network.tensors.items():
        found.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    for digest in sorted(picture.digest for picture in taken.pictures.calibrate):
        found.update(digest)
    told_of = [taken.pixels.text(), list(taken.size), options.scales, _plain(options.weight_bits),
               _plain(options.activation_bits), asdict(options.distill), options.seed,
               *([asdict(options.mixed)] if options.mixed else [])]  # fmt: skip
    found.update(json.dumps(told_of, sort_keys=True).encode())
    return found.hexdigest()


def _plain(bits: Bits) -> Any:
    return bits if isinstance(bits, int) else dict(bits)


def _papers(converted: Converted) -> dict[str, Any]:
    """What a distillation keeps of the conversion before it."""
    made = converted.fit
    return {
        "config": converted.quantized.config.to_dict(), "fit": dict(made.network.tensors),
        "replacements": [asdict(one) for one in made.replacements], "helped": list(converted.helped),
        "error": converted.error,
    }  # fmt: skip


def _converted(state: Mapping[str, Any], network: Network) -> Converted:
    config = NetworkConfig.from_dict(state["config"])
    tensors: dict[str, Tensor] = state["fit"]
    made = Network(config.layers, config.output, config.in_channels, tensors)
    replacements = tuple(Replacement(**one) for one in state["replacements"])
    quantized = QuantizedNetwork(config, tensors)
    return Converted(quantized, network, Fit(made, replacements), tuple(state["helped"]), state["error"])


def _finish(
    options: Options, taken: Taken, converted: Converted, told_of: dict[str, Any], inputs: list[Tensor],
    told: Told,
) -> Outcome:  # fmt: skip
    parts, pixels = taken.pictures, taken.pixels
    quantized = converted.quantized.eval()
    told("exporting")
    with TemporaryDirectory(prefix="hwseg-quantize-") as folder:
        content = Path(folder) / options.out.name
        export_qonnx(quantized, content, taken.size, pixels, taken.labels, options.out.stem, parts.seen)
        graph = load(content)
        found = measure.compare(converted.network, graph, parts.held, pixels, told)
        further = {
            part: measure.compare(converted.network, graph, pictures, pixels, told).to_dict()["means"]
            for part, pictures in parts.extra.items()
        }
        told("predicting cycles and energy")
        price = costs(graph, options.array)
        model = content.read_bytes()
    told("measuring the noise of layers")
    layers = measure.noise(quantized, converted.fit.network, inputs[:2])
    _save(options.out.with_suffix(".pt"), quantized, taken)
    report = _report(options, taken, converted, found, layers, price, further) | told_of
    write_whole(options.out.with_suffix(".json"), (json.dumps(report, indent=1) + "\n").encode())
    outcome = Outcome(options.out, report, found, layers, converted)
    shown = {picture.name: picture for picture in parts.held}
    write_whole(options.out.with_suffix(".html"), page(outcome, shown, pixels, taken.size).encode())
    write_whole(options.out, model)
    for ending in (STATE, SEARCH):
        options.out.with_suffix(ending).unlink(missing_ok=True)
    return outcome


def _save(path: Path, quantized: QuantizedNetwork, taken: Taken) -> None:
    """A checkpoint that `hwseg train`, `search`, `adapt` and `export` go on with."""
    side = min(taken.size)
    scaled = taken.pixels.fit == "resize" and taken.size == (side, side)
    config = TrainConfig(size=side, resize=side if scaled else 0)
    save_network(path, quantized, config, taken.pixels, taken.labels, True, taken.pictures.seen, taken.size)


def _report(
    options: Options, taken: Taken, converted: Converted, found: measure.Comparison, layers: list[measure.Noise],
    price: Mapping[str, Any], further: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    config, parts = converted.quantized.config, taken.pictures
    report: dict[str, Any] = {
        "model": options.out.name, "from": options.model, "parameters": taken.network.parameters,
        "size": list(taken.size), "input": taken.pixels.sentence(), "input_assumed": taken.assumed,
        "scales": config.scales, "seed": options.seed, "distilled_steps": options.distill.steps,
        "bits": {"weights": {n: config.weight_bits_of(n) for n in config.convolutions},
                 "activations": {n: config.activation_bits_of(n) for n in config.quantizers}},
        "calibrated_on": [picture.name for picture in parts.calibrate],
        "replaced": [asdict(one) for one in converted.fit.replaced],
        "exact": [asdict(one) for one in converted.fit.replacements if one.exact],
        "helped": list(converted.helped), "comparison": found.to_dict(), "further": dict(further),
        "noise": [asdict(one) for one in layers], "costs": dict(price),
    }  # fmt: skip
    report["advice"] = advice(report, found, layers)
    report["next"] = f"hwseg compile {options.out} -o {options.out.with_suffix('.hwseg')}"
    return report


def advice(report: Mapping[str, Any], found: measure.Comparison, layers: list[measure.Noise]) -> list[str]:
    """Where accuracy was lost, if it was, and what to try."""
    lost = found.loss.mean if found.loss is not None else 0.0
    if found.agree.mean >= 0.98 and lost <= 0.005:
        return []
    worst = max(layers, key=lambda one: one.lost)
    said = [f"{worst.layer} loses most: {worst.lost:.1f} dB, down to {worst.decibels:.1f} dB"]
    if report["replaced"]:
        kinds = ", ".join(dict.fromkeys(one["what"] for one in report["replaced"]))
        said.append(f"{len(report['replaced'])} layers were replaced ({kinds}): distilling makes good for most of that")
    if not report["distilled_steps"]:
        said.append("add --distill 300")
    low = min((*report["bits"]["weights"].values(), *report["bits"]["activations"].values()))
    if low < 8:
        said.append("give the layers that lose most 8 bits, or --bits 8")
    return said
