"""`model.safetensors`: the retrained network and the channel statistics that normalise its images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from search.errors import UserError
from search.files import write_atomically
from search.setup.run_lock import finish_advice

_STATISTICS = "channel_statistics"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The contents of a weights file."""

    tensors: dict[str, Tensor]
    mean: tuple[float, float, float]
    """Channel means of the training images, in 0..1."""
    std: tuple[float, float, float]


def write_weights(
    path: Path, network: nn.Module, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    """Writes a network's state atomically. `mean` and `std`: channel statistics of its training images, in 0..1."""
    tensors = {  # copies: safetensors refuses weights that share memory, such as tied ones
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    statistics = json.dumps({"mean": list(mean), "std": list(std)})
    write_atomically(path, save(tensors, metadata={_STATISTICS: statistics}))


def read_weights(path: Path) -> Weights:
    """Reads a weights file. UserError if it is missing or damaged."""
    if not path.exists():
        raise UserError(f"{path} does not exist: the winner has not been retrained. {finish_advice(path.parent)}")
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            statistics = json.loads(file.metadata()[_STATISTICS])
        mean, std = tuple(statistics["mean"]), tuple(statistics["std"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}). Restore it from a copy, or retrain.") from None
    return Weights(tensors=tensors, mean=mean, std=std)
