"""`hwseg quantize` as a function: read, convert, distil, export, measure, tell.

Beside the model file M.onnx lie M.pt (to train on, and for `hwseg search`), M.json and M.html (what it came to), and,
while it is distilled, M.distill.pt.  A model file is written whole, and last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwseg.conversion.costs import costs
from hwseg.conversion.page import Outcome, page
from hwseg.datasets.data import meaning_of
from hwseg.errors import require
from hwseg.files import write_whole
from hwseg.pictures import meaning as meanings
from hwseg.pictures.choice import named
from hwseg.pictures.labels import LABELS, Labels
from hwseg.pictures.labels import parse as parse_labels
from hwseg.pictures.meaning import DEFAULT, Meaning
from hwseg.quant.convert import checkpoint, distill, from_onnx, measure, source
from hwseg.quant.convert.convert import Bits, Converted, convert
from hwseg.quant.convert.distill import gathered
from hwseg.quant.convert.export import export_network
from hwseg.quant.convert.fit import Fit, Replacement
from hwseg.quant.convert.from_torch import from_module
from hwseg.quant.convert.graph import Network
from hwseg.quant.convert.network import NetworkConfig, QuantizedNetwork
from hwseg.quant.convert.pictures import Pictures, batches, common_size, depth
from hwseg.quant.convert.pictures import load as load_pictures
from hwseg.quant.read.load import load
from hwseg.quant.read.onnx_file import read

Told = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `hwseg quantize` is told.  model: a float ONNX file, or module:callable."""

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


@dataclass(frozen=True)
class Taken:
    """The float network with what is declared about its pictures, and the pictures themselves."""

    network: Network
    pixels: Meaning
    assumed: bool
    labels: Labels
    size: tuple[int, int]
    pictures: Pictures


def convert_files(options: Options, told: Told = lambda _: None, learned: Any = lambda step, loss: None) -> Outcome:
    """Convert, and write everything.  Raises HwsegError for what cannot be converted; Ctrl-C keeps a distillation."""
    state_file = options.out.with_suffix(".distill.pt")
    require(options.out.suffix == ".onnx", "--out", f"must end in .onnx, is {options.out}", "name a .onnx file")
    left = state_file.exists() and not options.resume
    require(not left, str(state_file), "holds a distillation that was stopped", "add --resume, or remove it")
    taken = take(options, told)
    parts = taken.pictures
    inputs = batches(parts.calibrate, taken.pixels, taken.size, told)
    key = _key(options, taken)
    if options.resume:
        cure = "begin without --resume"
        require(state_file.is_file(), str(state_file), "does not exist: there is no distillation to go on with", cure)
        converted = _converted(distill.read_state(state_file, key), taken.network)
    else:
        converted = convert(
            taken.network, inputs, pixels=taken.pixels, weight_bits=options.weight_bits,
            activation_bits=options.activation_bits, scales=options.scales, strict=options.strict, seed=options.seed,
            told=told,
        )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.distill.steps:
        papers = {"key": key, **_papers(converted)}
        work = distill.Distillation(converted.quantized, taken.network, gathered(inputs), options.distill, papers)
        if options.resume:
            work.restore(distill.read_state(state_file, key))
        distill.distill(work, state_file, learned)
    return _finish(options, taken, converted, inputs, state_file, told)


def take(options: Options, told: Told) -> Taken:
    """Read the network, and arrange its pictures."""
    told("reading the network")
    metadata: Mapping[str, str] = {}
    network: Network | None = None
    module: torch.nn.Module | None = None
    size: tuple[int, int] | None
    if options.model.lower().endswith(".onnx"):
        rule = "holds its weights itself"
        require(options.weights is None, options.model, rule, "leave --weights out")
        file = read(Path(options.model))
        metadata, channels, size = file.metadata, file.shape[1], (file.shape[2], file.shape[3])
        rule = f"is {options.size}, and {options.model} is for {size[0]}x{size[1]}"
        require(options.size in (None, size), "--size", rule, "export it at that size, or leave --size out")
        rule = f"is {options.resize}, and {options.model} is for {size[0]}x{size[1]}"
        fits = not options.resize or size == (options.resize,) * 2
        require(fits, "--resize", rule, "scale pictures to the side that the file is for")
        network = from_onnx.from_file(file)
    else:
        module = source.module_of(options.model, options.weights)
        channels = options.in_channels or source.channels_of(module)
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
        network = from_module(module, (1, channels, *size))
    assert network is not None
    assert size is not None
    classes = _classes(network)
    labels = options.labels(classes, known) if options.labels else known or Labels(classes)
    parts = load_pictures(options.data, channels, labels, options.seed, options.pictures, options.held, options.extra)
    pixels = depth(parts.calibrate + parts.held, pixels)
    rule = f"must be multiples of {network.multiple}, are {size[0]}x{size[1]}"
    require(all(side % network.multiple == 0 for side in size), "--size", rule, "choose others, or add --resize")
    return Taken(network, pixels, assumed, labels, size, parts)


def _classes(network: Network) -> int:
    """Channels of the network's output."""
    from hwseg.quant.convert.operations import run

    side = max(network.multiple, 16) * 2
    with torch.no_grad():
        return int(run(network, torch.zeros(1, network.channels, side, side))[network.output].shape[1])


def _meaning(options: Options, metadata: Mapping[str, str]) -> Meaning | None:
    if options.normalize:
        return named(options.normalize)
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
               _plain(options.activation_bits), asdict(options.distill), options.seed]  # fmt: skip
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
    made = Network(config.layers, config.output, config.channels, tensors)
    replacements = tuple(Replacement(**one) for one in state["replacements"])
    quantized = QuantizedNetwork(config, tensors)
    return Converted(quantized, network, Fit(made, replacements), tuple(state["helped"]), state["error"])


def _finish(
    options: Options, taken: Taken, converted: Converted, inputs: list[Tensor], state_file: Path, told: Told
) -> Outcome:
    parts, pixels = taken.pictures, taken.pixels
    quantized = converted.quantized.eval()
    told("exporting")
    content = options.out.with_suffix(".partial.onnx")
    try:
        export_network(quantized, content, taken.size, pixels, taken.labels, parts.seen, options.out.stem)
        graph = load(content)
        found = measure.compare(taken.network, graph, parts.held, pixels, told)
        further = {
            part: measure.compare(taken.network, graph, pictures, pixels, told).to_dict()["means"]
            for part, pictures in parts.extra.items()
        }
        told("predicting cycles and energy")
        price = costs(graph, options.array)
        model = content.read_bytes()
    finally:
        content.unlink(missing_ok=True)
    told("measuring the noise of layers")
    layers = measure.noise(quantized, converted.fit.network, inputs[:2])
    about = checkpoint.About(pixels, taken.labels, taken.size, parts.seen)
    checkpoint.save_converted(options.out.with_suffix(".pt"), quantized, about)
    report = _report(options, taken, converted, found, layers, price, further)
    write_whole(options.out.with_suffix(".json"), (json.dumps(report, indent=1) + "\n").encode())
    outcome = Outcome(options.out, report, found, layers, converted)
    shown = {picture.name: picture for picture in parts.held}
    write_whole(options.out.with_suffix(".html"), page(outcome, shown, pixels, taken.size).encode())
    write_whole(options.out, model)
    state_file.unlink(missing_ok=True)
    return outcome


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
