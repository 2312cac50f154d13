import math
from typing import Any

import pytest
import torch
from torch import nn

from model.muon import MuonWithAdamW, muon_kernels


def small_network(memory_format: torch.memory_format) -> Any:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 5, 3, bias=False), nn.Flatten())
    return network.to(memory_format=memory_format)


def optimised(network: Any) -> MuonWithAdamW:
    others = [{"params": [*network[0].parameters(), *network[1].parameters()], "weight_decay": 0.0}]
    return MuonWithAdamW([network[2].weight], others, muon_lr=0.1, adamw_lr=0.01, momentum=0.6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_moves_as_torchs_muon_moves_a_matrix(memory_format: torch.memory_format) -> None:
    network = small_network(memory_format)
    optimizer = optimised(network)
    kernel = network[2].weight
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    oracle = torch.optim.Muon([matrix], lr=0.1, momentum=0.6, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(6, 3, 8, 8)).square().mean().backward()
        matrix.grad = kernel.grad.flatten(1).clone()
        optimizer.step()
        oracle.step()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            matrix.mul_(math.sqrt(5) / matrix.norm())
        # Muon computes in bf16, and sums of channels_last columns have another order.
        torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=2e-3)


def test_a_kernel_that_a_step_left_out_stays_as_it_is() -> None:
    network = small_network(torch.contiguous_format)
    optimizer = optimised(network)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    network[:2](torch.randn(6, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert moved == [True, True, True, True, False]


def test_muon_takes_dense_kernels_that_are_not_thin() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.Conv2d(64, 48, 3), nn.Conv2d(48, 96, 3, groups=2), nn.Conv2d(96, 96, 7, groups=96),
        nn.Conv2d(96, 16, 3), nn.Conv2d(16, 32, 2), nn.Linear(32, 64), nn.Conv2d(64, 64, 1),
    )  # fmt: skip
    kernels = muon_kernels(network)
    assert [next(index for index, layer in enumerate(network) if layer.weight is one) for one in kernels] == [1, 5]


def test_the_rest_moves_as_with_adamw_alone() -> None:
    network, other = (small_network(torch.contiguous_format) for _ in range(2))
    optimizer = optimised(network)
    oracle = torch.optim.AdamW([*other[0].parameters(), *other[1].parameters()], lr=0.01, weight_decay=0.0)
    images = torch.randn(6, 3, 8, 8)
    for one, stepper in ((network, optimizer), (other, oracle)):
        one[2].weight.requires_grad_(one is network)
        one.zero_grad()
        one(images).square().mean().backward()
        stepper.step()
    for ours, theirs in zip([*network[:2].parameters()], [*other[:2].parameters()], strict=True):
        torch.testing.assert_close(ours, theirs)
