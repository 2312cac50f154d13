"""Batch norm over channels_last memory is as exact as PyTorch's over its default, forward, backward, in a network."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.batch_norm import batch_norm
from model.config import SEED_CONFIG
from model.network import build_network


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def results(norm, x: Tensor, grad: Tensor, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Output, gradients and running statistics of a norm with a scale and a shift."""
    generator = torch.Generator().manual_seed(1)
    weight, bias = (torch.rand(x.shape[1], generator=generator).to(dtype).requires_grad_() for _ in range(2))
    mean, variance = torch.full_like(weight, 0.5).detach(), torch.full_like(weight, 2.0).detach()
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    output = norm(x, mean, variance, weight, bias)
    torch.autograd.backward(output, grad.to(output.dtype))
    assert x.grad is not None
    assert weight.grad is not None
    assert bias.grad is not None
    named = {"output": output.detach(), "x": x.grad, "weight": weight.grad, "bias": bias.grad}
    return {**named, "mean": mean, "variance": variance}


def pytorchs(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, True, 0.1, 1e-5)


def ours(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return batch_norm(x, mean, variance, weight, bias, momentum=0.1, eps=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (32, 8, 32, 32), (1, 4, 2, 1), (64, 1, 8, 8), (6, 5, 1, 1)])
def test_it_is_pytorchs_in_double_precision(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, grad = (channels_last(torch.randn(shape, generator=generator) + shift) for shift in (3, 0))
    exact = results(pytorchs, x.double(), grad.double(), torch.float64)
    for name, value in results(ours, x, grad).items():
        assert torch.allclose(value.double(), exact[name], rtol=1e-5, atol=1e-4), name
    assert results(ours, x, grad)["output"].is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_goes_in_and_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x, grad = (channels_last(torch.randn((16, 8, 6, 6), generator=generator)).bfloat16() for _ in range(2))
    exact = results(pytorchs, x.double(), grad.double(), torch.float64)
    rounded = results(ours, x, grad)
    assert rounded["output"].dtype == rounded["x"].dtype == torch.bfloat16
    for name, value in rounded.items():
        assert torch.allclose(value.double(), exact[name], rtol=0.01, atol=0.01), name


def test_one_value_a_channel_is_refused_as_by_pytorch() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        results(ours, torch.ones(1, 3, 1, 1), torch.ones(1, 3, 1, 1))


def test_the_gradients_of_a_whole_network_are_exact() -> None:
    """PyTorch's own norm is off by up to 4 % here."""
    torch.manual_seed(0)
    network = build_network(dataclasses.replace(SEED_CONFIG, dropout=0.0), 10)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    exact = gradients(copy.deepcopy(network).double(), images.double(), labels)
    network.to(memory_format=torch.channels_last)
    for name, value in gradients(network, channels_last(images), labels).items():
        assert (value.double() - exact[name]).norm() < 1e-3 * exact[name].norm(), name


def gradients(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    torch.autograd.backward(F.cross_entropy(network(images), labels))
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
