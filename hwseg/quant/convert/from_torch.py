"""A float PyTorch module becomes a `Network`: `torch.export` says what it computes for pictures of one size."""

from __future__ import annotations

from torch import nn

from hwseg.errors import require
from hwseg.quant.convert.torch_reader import Reader, Value
from hwseg.quant.convert.torch_rules import RULES
from hwseg.quant.convert.tracing import exported_program
from hwseg.quant.networks.graph import INPUT, Network

ONE = "let the callable give a module of one picture and one map of logits: wrap it"


def from_module(module: nn.Module, shape: tuple[int, int, int, int]) -> Network:
    """What `module` computes in evaluation mode from a float32 picture of `shape` [1, C, H, W].

    Raises HwsegError where its Python code depends on the numbers of a picture, or computes what there is no layer for.
    """
    empty = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    rule = f"{', '.join(empty[:3])} has no numbers: it was made on PyTorch's meta device"
    require(not empty, type(module).__name__, rule, "let the callable make the network on the processor")
    exported = exported_program(module.eval().cpu().float(), shape)
    reader = Reader(RULES)
    signature = exported.graph_signature
    names: dict[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    stored = {**exported.constants, **exported.state_dict}
    inputs = [node for node in exported.graph.nodes if node.op == "placeholder"]
    for node in inputs:
        if node.name in names:
            reader.constants[node] = stored[names[node.name]].detach().clone()
        else:
            reader.values[node] = Value(INPUT)
    reader.read_all(exported.graph)
    outputs = next(node for node in exported.graph.nodes if node.op == "output").args[0]
    place, rule = type(module).__name__, f"must give one tensor, gives {len(outputs)}"
    require(len(outputs) == 1, place, rule, ONE)
    require(outputs[0] in reader.values, place, "gives what no picture changes", ONE)
    output = reader.values[outputs[0]].name
    found = tuple(outputs[0].meta["val"].shape)
    require(len(found) == 4 and found[0] == 1, place, f"must give [1, C, H, W], gives {found}", ONE)
    return Network(tuple(reader.layers), output, shape[1], reader.tensors).pruned()
