"""The tensors of a training's state: networks and optimizer, by name, ready for a file."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def collect_tensors(networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Contiguous CPU copies of each network's state and of the optimizer's state per parameter, under unique names."""
    tensors = {
        f"{prefix}.{name}": value for prefix, net in networks.items() for name, value in net.state_dict().items()
    }
    for index, parameter in enumerate(_parameters(optimizer)):
        tensors |= {f"optimizer.{index}.{key}": value for key, value in optimizer.state[parameter].items()}
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def restore_tensors(
    tensors: dict[str, Tensor], networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Load the result of `collect_tensors` into networks and an optimizer of the same kind."""
    for prefix, network in networks.items():
        network.load_state_dict(_under(f"{prefix}.", tensors))
    for index, parameter in enumerate(_parameters(optimizer)):
        state = _under(f"optimizer.{index}.", tensors)
        optimizer.state[parameter] = {key: _laid_out_as(parameter, value) for key, value in state.items()}


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy on the parameter's device, in its memory layout if the shapes agree: a fused optimizer assumes both."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter).copy_(value)
