"""A float network is made fit for the engine: what is exact first, then what must be replaced, each with its reason.

Exact: batch normalization and other factors of channels go into the convolution before them, or become one of 1x1;
Dropout and identities are gone; an enlarging by 4 is two by 2.  Replaced is only what the compiler's reader refuses
(`taken`), by the nearest that it takes.  A replacement with numbers of its own takes them from the pictures: of each
channel, the straight line that is closest to what the network gave there (least squares), later layers after earlier
ones, so that errors do not add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwseg.errors import HwsegError, require
from hwseg.quant.convert.ends import BOUNDED, require_logits
from hwseg.quant.convert.taken import refused
from hwseg.quant.networks.graph import ACTIVATIONS, CONVOLUTIONS, INPUT, MOVES, Layer, Network, unique
from hwseg.quant.networks.operations import run

Told = Callable[[str], None]
NORMS = ("instance_norm", "group_norm")
MATCHED = 2
"""Batches over which means are matched."""
DAMAGED = "the network is damaged, or --normalize is not what it was trained with"
GATES = ("sigmoid", "hardsigmoid")
_STATISTICS = "it needs statistics of the whole map while the network runs"


@dataclass(frozen=True)
class Replacement:
    """What was put in the place of a layer, and why; exact: whether that computes the same."""

    layer: str
    what: str
    instead: str
    why: str
    exact: bool = False


@dataclass(frozen=True)
class Fit:
    """A network of layers that the engine has, and what was done to make it so."""

    network: Network
    replacements: tuple[Replacement, ...]

    @property
    def replaced(self) -> tuple[Replacement, ...]:
        """Those that are not exact."""
        return tuple(one for one in self.replacements if not one.exact)


def fit(network: Network, pictures: Sequence[Tensor], strict: bool = False, told: Told = lambda _: None) -> Fit:
    """The network as the engine can compute it.  pictures: batches of float inputs; what is learned of them is fitted.

    strict: raise HwsegError instead of any replacement that is not exact.
    """
    done: list[Replacement] = []
    network = network.pruned()
    network, ended = logits_of(network, pictures[0][:1])
    done += ended
    network = folded(joined_silu(network), done)
    original = network
    for name in [layer.name for layer in network.layers]:
        layer = next((x for x in network.layers if x.name == name), None)
        rule = None if layer is None else _rule(layer)
        if layer is None or rule is None:
            continue
        error = _refused(network, layer, pictures[0])
        if error is None:
            continue
        told(f"{layer.name}")
        network, made = rule(network, layer, original, pictures, error)
        if strict and not made.exact:
            cure = "leave out --strict to have it replaced"
            raise HwsegError(made.layer, f"{made.what} is not supported, --strict allows no {made.instead}", cure)
        done.append(made)
        network = network.pruned()
    network = folded(network, done)
    network = _fresh_picture(network)
    shift = [one for one in done if one.what in ACTIVATIONS]
    if shift:
        network = means_matched(original, network, pictures)
    _check(network, pictures)
    return Fit(network, tuple(done))


def _rule(layer: Layer) -> Rule | None:
    standard = layer.op == "nearest" and layer.options["factor"] == 2
    return None if standard else RULES.get(layer.op)


def _refused(network: Network, layer: Layer, picture: Tensor) -> HwsegError | None:
    """Why the reader does not take a layer; of a product, or the mean that its gate is computed from."""
    error = refused(network, layer, _spread(network, layer, picture))
    if error is not None or layer.op != "multiply":
        return error
    means = [mean for name in layer.inputs if (mean := _mean_before(network, name)) is not None]
    return refused(network, means[0]) if means else None


def _spread(network: Network, layer: Layer, picture: Tensor) -> bool:
    if layer.op != "multiply":
        return False
    found = run(network, picture[:1], layer.inputs)
    return len({found[name].shape for name in layer.inputs}) > 1


def logits_of(network: Network, picture: Tensor) -> tuple[Network, tuple[Replacement, ...]]:
    """The network without a sigmoid, hardsigmoid or tanh at its end, and what is to be told of that.

    picture: [1, C, H, W].  Raises HwsegError where something is computed with what such an end gives (`ends`).
    """
    require_logits(network, picture)
    last = network[network.output]
    if last.op not in BOUNDED:
        return network, ()
    half = "it is" if last.op == "tanh" else "the probability is above 1/2"
    why = f"the mask is where the logit is above 0, which is where {half}"
    said = Replacement(last.name, last.op, "nothing", why, exact=True)
    return replace(network, output=last.inputs[0]).pruned(), (said,)


def joined_silu(network: Network) -> Network:
    """x * sigmoid(x), as older exporters write it, is one function."""
    for layer in network.layers:
        if layer.op != "multiply":
            continue
        for x, gate in (layer.inputs, layer.inputs[::-1]):
            if gate != INPUT and network[gate].op == "sigmoid" and network[gate].inputs == (x,):
                return joined_silu(network.with_layer(layer.name, [Layer(layer.name, "silu", (x,))]).pruned())
    return network


def folded(network: Network, done: list[Replacement]) -> Network:
    """Factors and addends of channels in the convolutions before them; padding with zeros in those behind."""
    for layer in network.layers:
        if layer.op == "batch_norm":
            network = _as_scale(network, layer)
        elif layer.op == "pad":
            network = _padded(network, layer)
    for name in [layer.name for layer in network.layers if layer.op == "scale"]:
        network = _fold(network, network[name], done)  # as it is now: what it reads may have been folded, too
    return network


def _as_scale(network: Network, layer: Layer) -> Network:
    mean, variance = (network.tensor(layer, role).double() for role in ("mean", "variance"))
    factor = 1 / torch.sqrt(variance + layer.options["eps"])
    if "weight" in layer.roles:
        factor = factor * network.tensor(layer, "weight").double()
    bias = -mean * factor
    if "bias" in layer.roles:
        bias = bias + network.tensor(layer, "bias").double()
    return network.with_layer(layer.name, [Layer(layer.name, "scale", layer.inputs, {}, ("weight", "bias"))],
                              {f"{layer.name}.weight": factor, f"{layer.name}.bias": bias})  # fmt: skip


def _fold(network: Network, layer: Layer, done: list[Replacement]) -> Network:
    source = None if layer.inputs[0] == INPUT else network[layer.inputs[0]]
    weight, bias = (network.tensor(layer, role).double() for role in ("weight", "bias"))
    alone = source is not None and len(network.readers(source.name)) == 1 and source.name != network.output
    if source is not None and alone and source.op in CONVOLUTIONS:
        dimension = 0 if source.op == "conv" else 1
        old = network.tensor(source, "weight").double()
        if dimension and source.options["groups"] > 1:
            shaped = weight.view(source.options["groups"], 1, -1, 1, 1)
            new = (old.view(source.options["groups"], -1, *old.shape[1:]) * shaped).view(old.shape)
        else:
            new = old * weight.view([-1 if i == dimension else 1 for i in range(4)])
        shift = network.tensor(source, "bias").double() if "bias" in source.roles else torch.zeros_like(bias)
        tensors = {f"{source.name}.weight": new.float(), f"{source.name}.bias": (shift * weight + bias).float()}
        made = replace(source, roles=("weight", "bias"))
        return network.with_layer(source.name, [made], tensors).without(layer.name).pruned()
    if source is not None and alone and source.op in NORMS:
        factor = network.tensor(source, "weight").double() if "weight" in source.roles else torch.ones_like(weight)
        shift = network.tensor(source, "bias").double() if "bias" in source.roles else torch.zeros_like(bias)
        made = replace(source, roles=("weight", "bias"))
        tensors = {f"{source.name}.weight": (factor * weight).float(),
                   f"{source.name}.bias": (shift * weight + bias).float()}  # fmt: skip
        return network.with_layer(source.name, [made], tensors).without(layer.name).pruned()
    why = "no convolution alone comes before it"
    done.append(Replacement(layer.name, "factors of channels", "a 1x1 convolution of each channel", why, exact=True))
    channels = len(weight)
    options = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": channels}
    tensors = {f"{layer.name}.weight": weight.float().view(-1, 1, 1, 1), f"{layer.name}.bias": bias.float()}
    made = Layer(layer.name, "conv", layer.inputs, options, ("weight", "bias"))
    return network.with_layer(layer.name, [made], tensors)


def _padded(network: Network, layer: Layer) -> Network:
    pads, readers = set(layer.options["pads"]), network.readers(layer.name)
    behind = bool(readers) and layer.name != network.output
    fits = behind and len(pads) == 1 and all(r.op == "conv" and r.options["padding"] == 0 for r in readers)
    rule = f"padding {list(layer.options['pads'])} must be that of the convolution behind it"
    require(fits, layer.name, rule, "use padding of the convolutions")
    for reader in readers:
        made = replace(reader, options={**reader.options, "padding": pads.copy().pop()})
        network = network.with_layer(reader.name, [made])
    return network.without(layer.name)


def _fresh_picture(network: Network) -> Network:
    """The picture's quantizer is fixed; where it meets other maps in a concatenation, even with its pixels moved, it
    gets one of theirs.
    """
    pictures = {INPUT}
    for layer in network.layers:
        if layer.op != "concat":
            if layer.op in MOVES and layer.inputs[0] in pictures:
                pictures.add(layer.name)
            continue
        renamed, made = dict[str, str](), list[Layer]()
        for source in dict.fromkeys(name for name in layer.inputs if name in pictures):
            name = unique(f"{layer.name}/picture", (x.name for x in (*network.layers, *made)))
            made.append(Layer(name, "requantize", (source,)))
            renamed[source] = name
        if made:
            inputs = tuple(renamed.get(name, name) for name in layer.inputs)
            network = network.with_layer(layer.name, [*made, replace(layer, inputs=inputs)])
    return network


Rule = Callable[[Network, Layer, Network, Sequence[Tensor], HwsegError], tuple[Network, Replacement]]


def _normalization(
    network: Network, layer: Layer, original: Network, pictures: Sequence[Tensor], error: HwsegError
) -> tuple[Network, Replacement]:
    """Instance and group normalization: batch normalization with statistics of the pictures."""
    what = layer.op.replace("_", " ") + "alization"
    made = Replacement(layer.name, what, "batch normalization with statistics of the pictures", _STATISTICS)
    return line(network, layer, original, pictures), made


def _activation(
    network: Network, layer: Layer, original: Network, pictures: Sequence[Tensor], error: HwsegError
) -> tuple[Network, Replacement]:
    made = Replacement(layer.name, layer.op, "relu", "activations of the engine are clamped, not looked up")
    return network.with_layer(layer.name, [Layer(layer.name, "relu", layer.inputs)]), made


def _corners(
    network: Network, layer: Layer, original: Network, pictures: Sequence[Tensor], error: HwsegError
) -> tuple[Network, Replacement]:
    """Enlarging: by 4 in two steps, pixel centres at halves."""
    factor, corners = layer.options["factor"], layer.options.get("align_corners", False)
    if factor == 1:
        made = Replacement(layer.name, f"{layer.op} enlarging by 1", "nothing", error.rule, exact=True)
        return network.without(layer.name), made
    halves = factor.bit_length() - 1
    require(factor == 1 << halves, layer.name, f"must enlarge by a power of two, not {factor}", "use scale_factor=2")
    options = {"factor": 2} | ({"align_corners": False} if layer.op == "bilinear" else {})
    names = [unique(f"{layer.name}/by{2 << i}", (x.name for x in network.layers)) for i in range(halves - 1)]
    steps = [
        Layer(name, layer.op, (source,), options)
        for name, source in zip([*names, layer.name], [layer.inputs[0], *names], strict=True)
    ]
    what = f"{layer.op} enlarging by {factor}" + (" with align_corners" if corners else "")
    instead = f"{halves} enlargings by 2" if halves > 1 else "one with pixel centres at halves"
    made = Replacement(layer.name, what, instead, error.rule, exact=layer.op == "nearest")
    return network.with_layer(layer.name, steps), made


def _gate(
    network: Network, layer: Layer, original: Network, pictures: Sequence[Tensor], error: HwsegError
) -> tuple[Network, Replacement]:
    """A product with a gate: with the gate's mean over the pictures, of each channel."""
    for x, gate in (layer.inputs, layer.inputs[::-1]):
        if gate != INPUT and network[gate].op in GATES:
            only = replace(layer, inputs=(x,))
            pooled = _mean_before(network, gate) is not None
            what = "squeeze-and-excitation" if pooled else "attention gate"
            why = _STATISTICS if pooled else error.rule
            made = Replacement(layer.name, what, "its mean over the pictures, of each channel", why)
            return line(network.with_layer(layer.name, [only]), only, original, pictures, offset=False), made
    raise HwsegError(layer.name, error.rule, error.cure)


def _mean_before(network: Network, name: str) -> Layer | None:
    """The mean of whole maps that a gate is computed from, if it is."""
    while name != INPUT:
        layer = network[name]
        if layer.op == "global_mean":
            return layer
        name = layer.inputs[0]
    return None


def line(network: Network, layer: Layer, original: Network, pictures: Sequence[Tensor], offset: bool = True) -> Network:
    """The network with weight * x + bias in a layer's place: closest to what `original` has there on the pictures."""
    source = layer.inputs[0]
    before = network.pruned() if source == INPUT else replace(network, output=source).pruned()
    wanted = replace(original, output=layer.name).pruned()
    sums: list[Tensor] = []
    with torch.no_grad():
        for batch in pictures:
            x = (batch if source == INPUT else run(before, batch)[source]).double()
            y = run(wanted, batch)[layer.name].double()
            each = [t.transpose(0, 1).flatten(1) for t in (x, y)]
            x, y = each[0], each[1]
            count = torch.full((len(x),), float(x.shape[1]), dtype=torch.float64)
            sums.append(torch.stack([count, x.sum(1), y.sum(1), (x * x).sum(1), (x * y).sum(1)]))
    count, sx, sy, sxx, sxy = torch.stack(sums).sum(0)
    if offset:
        spread = sxx - sx * sx / count
        flat = spread <= 1e-12 * sxx.clamp(min=1e-30)
        slope = torch.where(flat, torch.zeros_like(spread), (sxy - sx * sy / count) / spread.clamp(min=1e-30))
        bias = (sy - slope * sx) / count
    else:
        slope = torch.where(sxx > 0, sxy / sxx.clamp(min=1e-30), torch.zeros_like(sxx))
        bias = torch.zeros_like(slope)
    made = Layer(layer.name, "scale", (source,), {}, ("weight", "bias"))
    tensors = {f"{layer.name}.weight": slope.float(), f"{layer.name}.bias": bias.float()}
    return network.with_layer(layer.name, [made], tensors)


def means_matched(original: Network, network: Network, pictures: Sequence[Tensor]) -> Network:
    """The biases of convolutions moved until each channel's mean over some pictures is the original's."""
    known = {layer.name for layer in original.layers}
    places = {}
    for layer in network.layers:
        if layer.op in CONVOLUTIONS:
            first = next((r for r in network.readers(layer.name)), layer)
            place = layer.name if layer.name not in known or first.op not in ACTIVATIONS else first.inputs[0]
            reference = _counterpart(original, place)
            if reference is not None:
                places[layer.name] = reference
    some = pictures[:MATCHED]
    with torch.no_grad():
        wanted = _means(original, tuple(places.values()), some)
        for name, reference in places.items():
            ours = _means(replace(network, output=name).pruned(), (name,), some)[name]
            shift, layer = wanted[reference] - ours, network[name]
            bias = network.tensor(layer, "bias") if "bias" in layer.roles else torch.zeros_like(shift)
            made = replace(layer, roles=("weight", "bias"))
            network = network.with_layer(name, [made], {f"{name}.bias": bias + shift})
    return network


def _means(network: Network, names: tuple[str, ...], pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """Of each channel of some values, over the pictures."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in pictures:
        values = run(network, batch, names)
        for name in found:
            found[name].append(values[name].mean((0, 2, 3)))
    return {name: torch.stack(values).mean(0) for name, values in found.items()}


def _counterpart(original: Network, name: str) -> str | None:
    """The value of the original that a convolution's is to be: behind the normalization that was folded into it."""
    if name not in {layer.name for layer in original.layers}:
        return None
    readers = original.readers(name)
    while len(readers) == 1 and readers[0].op in NORMS:
        name = readers[0].name
        readers = original.readers(name)
    return name


def _check(network: Network, pictures: Sequence[Tensor]) -> None:
    """What is left must be of kinds that can be quantized, no layer may always give 0, and masks must differ."""
    for layer in network.layers:
        rule = f"{layer.op.replace('_', ' ')} is not supported"
        unknown = layer.op in ("global_mean", "crop", "pad", *NORMS)
        require(
            not unknown, layer.name, rule, "leave it out, and train the network on; docs/models.md says what there is"
        )
    names = [layer.name for layer in network.layers]
    with torch.no_grad():
        most = [float(value.abs().max()) for value in run(network, pictures[0], names).values()]
        for name, number in zip(run(network, pictures[0], names), most, strict=True):
            dead = number == 0 and all(float(run(network, b, (name,))[name].abs().max()) == 0 for b in pictures)
            rule = f"gives 0 everywhere, for all {sum(len(b) for b in pictures)} pictures"
            require(not dead, name, rule, DAMAGED)
        maps = [run(network, batch)[network.output] for batch in pictures]
    first = maps[0][:1, :, :1, :1]
    said = ", ".join(f"{number:.4g}" for number in first.flatten().tolist())
    rule = f"gives {said} everywhere, for all {sum(len(b) for b in pictures)} pictures"
    require(any(bool((one != first).any()) for one in maps), network.output, rule, DAMAGED)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(NORMS, _normalization),
    **dict.fromkeys(("relu6", "leaky_relu", "prelu", "elu", "silu", "gelu", "hardswish"), _activation),
    **dict.fromkeys(("nearest", "bilinear"), _corners),
    "multiply": _gate,
}
"""How each kind is replaced, where the reader refuses it."""
