"""The retrained network as a file: `model.safetensors`, with the statistics that its images are normalised by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from search.errors import UserError
from search.files import write_atomically

_STATISTICS = "channel_statistics"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What `write_weights` wrote."""

    tensors: dict[str, Tensor]
    mean: tuple[float, float, float] | None
    """Of the channels of the images that were trained on, in 0..1; None in files from before they were kept."""
    std: tuple[float, float, float] | None


def write_weights(
    path: Path, network: nn.Module, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    """Writes a network's state, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    statistics = json.dumps({"mean": list(mean), "std": list(std)})
    write_atomically(path, save(tensors, metadata={_STATISTICS: statistics}))


def read_weights(path: Path) -> Weights:
    """UserError if the file is not there or damaged."""
    if not path.exists():
        raise UserError(f"{path} is not there: the winner has not been retrained. Resume the run.")
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}). Restore it from a copy, or retrain.") from None
    statistics = json.loads(metadata.get(_STATISTICS, "{}"))
    return Weights(tensors=tensors, mean=_triple(statistics.get("mean")), std=_triple(statistics.get("std")))


def _triple(values: list[float] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    red, green, blue = values
    return red, green, blue
