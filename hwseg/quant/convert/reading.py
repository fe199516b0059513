"""Whether a network was read right: its layers beside the module or the file itself, on some pictures.

Everything behind the reading is measured against the layers that were read.  So a layer that was read wrongly would be
seen nowhere, and this comparison comes before anything is folded or replaced.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hwseg.borders import told
from hwseg.errors import HwsegError, require
from hwseg.quant.networks.graph import Network
from hwseg.quant.networks.operations import run
from hwseg.quant.read.onnx_file import OnnxFile
from hwseg.quant.read.referee import tidied
from hwseg.quant.train import metrics

PICTURES = 4
ROUNDING = 1e-3
"""Largest difference, over the range of the values, that is rounding.

Both sides compute in float32 and differ in the order of sums: some 1e-7 of a value in a layer, which networks of a
hundred layers make 1e-6 to 1e-5, and a normalization that divides by a standard deviation near its eps up to a hundred
times that.  Another padding, other places of samples, a factor or an activation that was lost move some pixel by a
percent of the range or more.
"""
CURE = "write that layer in another way (docs/models.md says which there are), or give {other}; please report this line"


@dataclass(frozen=True)
class Reading:
    """What the comparison came to.

    against: the module or the executor; empty if there was none, and then `why`.  pictures: how many.  difference: the
    largest of the outputs, over their range.
    """

    against: str
    pictures: int = 0
    difference: float = 0.0
    why: str = ""

    def sentence(self) -> str:
        """In words."""
        if not self.against:
            return f"how the network was read could not be checked: {self.why}"
        count = f"{self.pictures} picture{'s' if self.pictures > 1 else ''}"
        return (
            f"the network was read right: against {self.against} on {count} its output differs by at most "
            f"{self.difference:.1e} of the range"
        )


class Unchecked(Exception):
    """There is nothing to compare with, for a reason that no user is to blame for."""


class Own(Protocol):
    """The network itself.  place: what the user gave.  name: of what computes it.  other: how else to give it."""

    place: str
    name: str
    other: str

    def output(self, picture: Tensor) -> Tensor:
        """Of one picture [1, C, H, W]."""

    def values(self, picture: Tensor) -> dict[str, Tensor]:
        """Of what is inside, by the names of layers."""


class OfModule:
    """A module of the user's, in evaluation mode and float32."""

    other = "the network as an ONNX file"

    def __init__(self, module: nn.Module) -> None:
        self.module, self.name = module.eval(), type(module).__name__
        self.place = self.name

    def output(self, picture: Tensor) -> Tensor:
        """The one tensor that the module gives, perhaps in a list or a table."""
        try:
            with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                found = self.module(picture.clone())
        except (Exception, SystemExit) as error:
            rule = f"raised {told(error)} for a picture {list(picture.shape)}"
            raise HwsegError(self.name, rule, "call it yourself with torch.rand of that shape to see where") from error
        while isinstance(found, (list, tuple, Mapping)) and len(found) == 1:
            found = next(iter(found.values() if isinstance(found, Mapping) else found))
        rule = f"must give one tensor, gives {type(found).__name__}"
        require(isinstance(found, Tensor), self.name, rule, "wrap it in a module that gives the logits alone")
        assert isinstance(found, Tensor)
        return found.detach().float()

    def values(self, picture: Tensor) -> dict[str, Tensor]:
        """What modules inside gave when they were called first."""
        found: dict[str, Tensor] = {}

        def hook(name: str) -> Any:
            def keep(module: nn.Module, inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor):
                    found.setdefault(name, output.detach().clone().float())

            return keep

        handles = [m.register_forward_hook(hook(n.replace(".", "/"))) for n, m in self.module.named_modules() if n]
        try:
            self.output(picture)
        finally:
            for handle in handles:
                handle.remove()
        return found


class OfFile:
    """An ONNX file, computed by onnxruntime, or by onnx's own evaluator where that cannot."""

    other = "the module that it was exported from"

    def __init__(self, file: OnnxFile) -> None:
        self.file, self.place, self.name = file, file.path.name, ""

    def output(self, picture: Tensor) -> Tensor:
        """Raises `Unchecked` where no executor can."""
        return self._run(picture, [self.file.output])[self.file.output]

    def values(self, picture: Tensor) -> dict[str, Tensor]:
        """What every node with a name gives."""
        names = {node.name.strip("/").replace(".", "/"): node.outputs[0] for node in self.file.nodes if node.name}
        found = self._run(picture, list(dict.fromkeys([*names.values(), self.file.output])))
        return {name: found[tensor] for name, tensor in names.items() if tensor in found}

    def _run(self, picture: Tensor, names: list[str]) -> dict[str, Tensor]:
        if self.file.channels_last:
            raise Unchecked("its picture is [1, H, W, C]")
        errors = []
        for execute in (_onnxruntime, _onnx):
            try:
                name, found = execute(self.file, names, {self.file.input: picture.numpy()})
            except Exception as error:  # of an executor, which knows less than the file has
                errors.append(told(error))
                continue
            self.name = name
            return {n: torch.from_numpy(np.array(v, np.float32)) for n, v in found.items() if v is not None}
        raise Unchecked(f"neither onnxruntime nor onnx's evaluator computes it ({errors[0]})")


def _with_outputs(file: OnnxFile, names: list[str]) -> Any:
    import onnx

    model = tidied(file.path)
    given = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    return model


def _onnxruntime(file: OnnxFile, names: list[str], feed: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    import onnxruntime as runtime  # type: ignore[import-untyped]

    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    content = _with_outputs(file, names).SerializeToString()
    session = runtime.InferenceSession(content, options, ["CPUExecutionProvider"])
    return f"onnxruntime {runtime.__version__}", dict(zip(names, session.run(names, dict(feed)), strict=True))


def _onnx(file: OnnxFile, names: list[str], feed: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    from onnx.reference import ReferenceEvaluator

    found = ReferenceEvaluator(_with_outputs(file, names)).run(names, dict(feed))
    return "onnx's reference evaluator", dict(zip(names, found, strict=True))


@torch.no_grad()
def check(network: Network, own: Own, pictures: Iterable[Tensor]) -> Reading:
    """Compare the outputs on the first `PICTURES` of the batches; HwsegError names the first layer that differs.

    A softmax at the end is not read, since the largest logit is the largest probability: logits that give the network's
    own probabilities are right, too.
    """
    some = list(islice((picture[None] for batch in pictures for picture in batch), PICTURES))
    try:
        wanted = [own.output(picture) for picture in some]
        again = own.output(some[0])
    except Unchecked as error:
        return Reading("", why=str(error))
    for value in wanted:
        bad = int((~value.isfinite()).sum())
        rule = f"gives NaN or infinity, in {bad} of {value.numel()} numbers of its output"
        require(not bad, own.place, rule, "training has diverged, or --normalize is wrong: take an earlier checkpoint")
    spread = _range(wanted)
    chance = _largest([again], wanted[:1]) / spread
    rule = f"gives two outputs for one picture, which differ by {chance:.1e} of their range"
    cure = "take out what is random in evaluation, such as dropout with training=True"
    require(chance <= ROUNDING, own.place, rule, cure)
    found = [run(network, picture)[network.output] for picture in some]
    forms = [found]
    if found[0].shape[1] > 1:
        forms += [[value.softmax(1) for value in found], [value.log_softmax(1) for value in found]]
    difference = min(_largest(form, wanted) for form in forms) / spread
    if not difference <= ROUNDING:  # NaN, too
        _refuse(network, own, some[0], difference)
    return Reading(own.name, len(some), difference)


def _range(values: list[Tensor]) -> float:
    """From the least to the largest; of what is the same everywhere, its size."""
    least, most = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    return (most - least) or abs(most) or 1.0


def _largest(found: list[Tensor], wanted: list[Tensor]) -> float:
    if any(a.shape != b.shape for a, b in zip(found, wanted, strict=True)):
        return float("inf")
    differences = [float((a.double() - b.double()).abs().max()) for a, b in zip(found, wanted, strict=True)]
    return float(np.max(differences))  # NaN, if one is


def _refuse(network: Network, own: Own, picture: Tensor, difference: float) -> None:
    """Name the first layer that has other values than the network itself."""
    taps = [layer.name for layer in network.layers]
    ours, theirs = run(network, picture, taps), own.values(picture)
    place, part = own.place, ""
    for name in taps:
        if name in theirs and not _largest([ours[name]], [theirs[name]]) / _range([theirs[name]]) <= ROUNDING:
            place, part = name, " here or just before"
            break
    size = f"by {difference:.2g} of its range" if np.isfinite(difference) else "in its size"
    rule = f"hwseg reads the network wrongly{part}: its output differs {size} from what {own.name} gives for a picture"
    raise HwsegError(place, f"{rule}, where rounding makes {ROUNDING:g} at most", CURE.format(other=own.other))


@torch.no_grad()
def require_masks(network: Network, pictures: Sequence[Tensor]) -> None:
    """Refuse a network whose mask is one class everywhere: nothing that is measured of it would say anything."""
    found: set[int] = set()
    for batch in pictures:
        found.update(np.unique(metrics.labels(run(network, batch)[network.output]).numpy()).tolist())
        if len(found) > 1:
            return
    count = sum(len(batch) for batch in pictures)
    rule = f"the float network's mask is class {found.pop()} in every pixel of all {count} pictures that calibrate"
    cure = "check --normalize and the weights, and that it gives logits; or calibrate with pictures of what it segments"
    raise HwsegError(network.output, rule, cure)
