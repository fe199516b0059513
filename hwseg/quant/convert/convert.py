"""From a float network and pictures to a quantized network: made fit, equalized, calibrated, corrected.

Equalization, smaller ranges of weights, corrected biases and GPTQ each help most networks and hurt some.  So each is
tried, and kept where the probabilities on the pictures come closer to the float network's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hwseg.errors import require
from hwseg.pictures.meaning import NAMES, Meaning
from hwseg.quant.convert import improve, ranges, reading
from hwseg.quant.convert.distill import likely
from hwseg.quant.convert.fit import Fit, fit, logits_of
from hwseg.quant.convert.source import read_module
from hwseg.quant.networks.graph import Network, require_finite
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork
from hwseg.quant.networks.operations import run

Told = Callable[[str], None]
Bits = int | Mapping[str, int]
FITTED, CORRECTED, ROUNDED = 16, 12, 8
"""Pictures that replacements, biases and GPTQ look at."""
FEW = 5
"""GPTQ is tried where weights have fewer bits than this."""


@dataclass(frozen=True)
class Converted:
    """A quantized network with what it came from.

    network: the float network as it was given, but for a sigmoid at its end: it gives logits.  fit: made fit, and what
    was replaced.  helped: what of equalization, clipping, bias correction and GPTQ was kept.  error: mean squared error
    of probabilities on the pictures.
    """

    quantized: QuantizedNetwork
    network: Network
    fit: Fit
    helped: tuple[str, ...]
    error: float


def quantize(
    module: nn.Module | Network,
    pictures: Sequence[Tensor],
    *,
    pixels: Meaning = NAMES["unit"],
    weight_bits: Bits = 8,
    activation_bits: Bits = 8,
    scales: str = "power_of_two",
    strict: bool = False,
    seed: int = 0,
    told: Told = lambda _: None,
) -> QuantizedNetwork:
    """`module` in integers, calibrated on `pictures`: batches of float inputs [n, C, H, W] of one size.

    pixels: what pictures are to it, for the first quantizer.  weight_bits, activation_bits: one number, of which the
    first and the last convolution's weights keep 8, or numbers by layer, where a later pattern wins.  strict: raise
    HwsegError rather than replace anything.  Raises HwsegError for what cannot be traced or computed in integers.
    """
    return convert(
        module, pictures, pixels=pixels, weight_bits=weight_bits, activation_bits=activation_bits, scales=scales,
        strict=strict, seed=seed, told=told,
    ).quantized  # fmt: skip


def convert(
    module: nn.Module | Network,
    pictures: Sequence[Tensor],
    *,
    pixels: Meaning = NAMES["unit"],
    weight_bits: Bits = 8,
    activation_bits: Bits = 8,
    scales: str = "power_of_two",
    strict: bool = False,
    seed: int = 0,
    told: Told = lambda _: None,
) -> Converted:
    """The same, with what was done to get there."""
    require(len(pictures) > 0, "pictures", "must be at least one to calibrate on", "add pictures")
    _require_varied(pictures)
    shape = tuple(pictures[0].shape)
    told("reading the network")
    if isinstance(module, Network):
        network = module
    else:
        network = read_module(module, (1, shape[1], shape[2], shape[3]))
        reading.check(network, reading.OfModule(module), pictures)
    rule = f"must have {network.channels} channels, have {shape[1]}"
    require(network.channels == shape[1], "pictures", rule, "give pictures of the network's channels")
    require_finite(network)
    network, ended = logits_of(network, pictures[0][:1])
    with torch.no_grad():
        classes = run(network, pictures[0][:1])[network.output].shape[1]
    made = fit(network, some(pictures, FITTED), strict, lambda name: told(f"replacing {name}"))
    made = replace(made, replacements=(*ended, *made.replacements))
    bound = pixels.check(network.channels).bound
    config = NetworkConfig.of(made.network, scales, bound, classes).with_bits(weight_bits, activation_bits)
    targets = [likely(run(network, batch)[network.output]) for batch in _graded(pictures)]

    def error(quantized: QuantizedNetwork) -> float:
        found = [likely(quantized(batch)) for batch in _graded(pictures)]
        return float(torch.stack([(a - b).square().mean() for a, b in zip(found, targets, strict=True)]).mean())

    def calibrated(float_network: Network) -> QuantizedNetwork:
        quantized = QuantizedNetwork(config, float_network.tensors)
        ranges.calibrate(quantized, ranges.samples(float_network, config.settled, pictures, seed))
        return quantized

    with torch.no_grad():
        told("choosing ranges")
        best, helped = calibrated(made.network), list[str]()
        least = error(best)
        told("equalizing")
        equal = replace(made, network=improve.equalized(made.network))
        tried = calibrated(equal.network)
        if (now := error(tried)) < least:
            best, least, made = tried, now, equal
            helped.append("equalization")
        steps: list[tuple[str, Callable[[QuantizedNetwork], None]]] = [("clipped weights", ranges.clip_weights)]
        if min(config.weight_bits_of(name) for name in config.convolutions) < FEW:
            steps.append(("GPTQ", lambda q: improve.gptq(q, some(pictures, ROUNDED))))
        steps.append(("bias correction", lambda q: improve.correct_biases(q, some(pictures, CORRECTED))))
        for name, step in steps:
            told(f"trying {name}")
            tried = deepcopy(best)
            step(tried)
            if (now := error(tried)) < least:
                best, least = tried, now
                helped.append(name)
    return Converted(best.eval(), network, made, tuple(helped), least)


def some(pictures: Sequence[Tensor], count: int) -> list[Tensor]:
    """The first of the pictures, at most `count`, in the same batches."""
    found: list[Tensor] = []
    for batch in pictures:
        if count <= 0:
            break
        found.append(batch[:count])
        count -= len(found[-1])
    return found


def _graded(pictures: Sequence[Tensor]) -> list[Tensor]:
    return some(pictures, FITTED)


def _require_varied(pictures: Sequence[Tensor]) -> None:
    """Refuse pictures that all are of one value: nothing can be learned of them."""
    count = sum(len(batch) for batch in pictures)
    varied = any(bool((picture != picture.flatten()[0]).any()) for batch in pictures for picture in batch)
    first = float(pictures[0].flatten()[0])
    rule = f"all {count} to calibrate on are of one value each, the first of {first:.4g} everywhere"
    require(varied, "pictures", rule, "check the files and --normalize: real pictures are needed")
    for number, batch in enumerate(pictures):
        same = batch.shape[1:] == pictures[0].shape[1:]
        require(same, "pictures", f"batch {number} is {list(batch.shape[1:])}", "bring all to one size")
        require(bool(batch.isfinite().all()), "pictures", f"batch {number} has NaN or infinity", "check the files")
