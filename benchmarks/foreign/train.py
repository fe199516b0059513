"""Train the float networks: AdamW, cross-entropy and soft Dice, a cosine; nothing of them is quantized.

    python -m benchmarks.foreign.train --data cxr-lungs -o floats --augment mild --resize 128
    python -m benchmarks.foreign.train --data nuclei-dsb2018 -o floats --name nuclei --only milesial --steps 1200

OUT receives NAME-NETWORK.pt, a state dict, and NAME-NETWORK.json with Dice on the parts and the command's options.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.foreign.networks import NETWORKS
from hwseg.datasets.data import load, meaning_of, parts_of
from hwseg.pictures.choice import named
from hwseg.pictures.prepare import standardized
from hwseg.quant.train import losses
from hwseg.quant.train.crops import Crops, ahead
from hwseg.quant.train.tensors import to_tensor


def train(
    network: nn.Module, parts: dict[str, Any], crops: Crops, steps: int, batch: int, lr: float, seed: int
) -> None:
    """`steps` of `batch` crops, in place."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4)
    started = time.monotonic()
    for step, (images, targets) in enumerate(ahead(parts["train"], crops, seed, range(steps), range(batch))):
        rate = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        network.train()
        optimizer.zero_grad(set_to_none=True)
        loss = losses.dice_ce(network(images), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"{step}: {float(loss.detach()):.4f}, {time.monotonic() - started:.0f} s", flush=True)


@torch.no_grad()
def dice(network: nn.Module, pairs: list[Any], crops: Crops) -> float:
    """Mean over pictures."""
    network.eval()
    scores = []
    for pair in pairs:
        prepared, target = pair.prepared(crops.meaning, (crops.resize, crops.resize) if crops.resize else None)
        x: Tensor = to_tensor(standardized(prepared.values()[None], crops.meaning))
        found, wanted = network(x)[0, 0].numpy() > 0, target == 1
        scores.append(2 * (found & wanted).sum() / max(1, found.sum() + wanted.sum()))
    return float(sum(scores) / len(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--name", default="lungs")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    parser.add_argument("--resize", type=int, default=0)
    parser.add_argument("--augment", default="turn")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    extra = parts_of(options.data)
    parts = load(options.data, 1, 1, options.seed, extra=[part for part in extra if part != "all"])
    meaning = meaning_of(options.data) or named("percentile 0.5 99.5")
    crops = Crops(128, meaning, options.resize, options.augment)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        torch.manual_seed(options.seed)
        network, started = NETWORKS[name](), time.monotonic()
        train(network, parts, crops, options.steps, options.batch, options.lr, options.seed)
        found = {part: dice(network, pairs, crops) for part, pairs in parts.items() if part != "train"}
        numbers = sum(p.numel() for p in network.parameters())
        seconds = round(time.monotonic() - started)
        given = {key: str(value) for key, value in vars(options).items() if key not in ("data", "out")}
        told = {"network": name, "parameters": numbers, "dice": found, "seconds": seconds, "options": given}
        path = options.out / f"{options.name}-{name}.pt"
        torch.save(network.state_dict(), path)
        path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
