"""Which tensor of a file the network gives: its only output, the only one that depends on the picture, or a chosen one.

Networks with deep supervision have several outputs.  `--output NAME` chooses one, or any other tensor that the file
computes, and what that does not need is left out.  The choice travels in the metadata `hwseg.output` of what is made of
the file.  Brevitas exports a QuantTensor with its scale and zero point, which are constants and no choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from hwseg.errors import HwsegError, require

CHOSEN = "hwseg.output"
"""Metadata: the output that was chosen of several."""
MAX_SHOWN = 12

Names = tuple[str, ...]


def chosen(place: str, outputs: Sequence[str], nodes: Iterable[tuple[Names, Names]], picture: str, wanted: str) -> str:
    """The name of the output.  wanted: the chosen one, if any.  nodes: what each reads and makes, in any order; of
    those whose results are sizes, not maps, nothing that they read.
    """
    nodes = list(nodes)
    made = {name for _, names in nodes for name in names}
    if wanted:
        rule = f"must be a tensor that {place} computes, not {wanted[:80]!r}"
        require(wanted in made, "--output", rule, f"choose {_listed(outputs)}")
        return wanted
    names = list(dict.fromkeys(outputs))
    require(len(names) > 0, place, "must have an output, has none", "export the model with one")
    if len(names) == 1:
        return names[0]
    seen = _seen(nodes, picture)
    maps = [name for name in names if name in seen & made]
    if len(maps) == 1:
        return maps[0]
    rule = f"must have one output, has {len(names)}: {_listed(names)}"
    raise HwsegError(place, rule, f"choose one: --output {(maps or names)[0]}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} others" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


def _seen(nodes: list[tuple[Names, Names]], picture: str) -> set[str]:
    """All that is computed from the picture."""
    readers: dict[str, list[Names]] = {}
    for inputs, outputs in nodes:
        for name in filter(None, inputs):
            readers.setdefault(name, []).append(outputs)
    seen, waiting = {picture}, [picture]
    while waiting:
        for name in (name for outputs in readers.get(waiting.pop(), ()) for name in outputs):
            if name and name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def remembered(metadata: Mapping[str, str], output: str, wanted: str) -> dict[str, str]:
    """A file's metadata with the output that was chosen, now or when the file was made.

    What a file says of itself counts only if that is what it gives: any text may stand there.
    """
    kept = {key: text for key, text in metadata.items() if key != CHOSEN}
    return kept | {CHOSEN: output} if wanted or metadata.get(CHOSEN) == output else kept


def give(model: onnx.ModelProto, output: str) -> None:
    """Let the model give one tensor and no other."""
    known = [*model.graph.output, *model.graph.value_info]
    found = next((value for value in known if value.name == output), onnx.ValueInfoProto(name=output))
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(found)
    del model.graph.output[:]
    model.graph.output.append(kept)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, metadata | {CHOSEN: output})
