"""Device, precision and several processes (`torchrun`): Lightning Fabric, as a training run asks for it."""

from __future__ import annotations

import os
from typing import Any

import torch

from hwseg.errors import HwsegError, require
from hwseg.quant.train.config import TrainConfig


def fabric(config: TrainConfig) -> Any:
    """Lightning Fabric for the device, precision and processes of `config`, launched."""
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
        devices, nodes = _processes(config)
        # The thresholds take no part in the first stage.
        strategy = "ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto"
        made = Fabric(
            accelerator=name,
            strategy=strategy,
            devices=devices,
            num_nodes=nodes,
            precision=config.precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, AssertionError, ValueError, MisconfigurationException) as error:
        raise HwsegError("--device", f"{config.device!r} is not available here", "use cpu") from error
    made.launch()
    return made


def _processes(config: TrainConfig) -> tuple[int, int]:
    """Processes on this machine and machines: those of `torchrun`, which tells by the environment, or of `config`."""
    if not torch.distributed.is_torchelastic_launched():
        return config.devices, 1
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    fits = config.devices in (1, here)
    require(fits, "--devices", f"is {config.devices}, but torchrun started {here} processes here", "leave it out")
    return here, int(os.environ["WORLD_SIZE"]) // here
