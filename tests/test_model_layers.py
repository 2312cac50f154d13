"""Convolutions, ghost batch norm and dropout against PyTorch's own layers and hand-made averages."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.layers import Conv2d, Dropout, GhostBatchNorm, seed_dropout


def _images(batch_size: int, *, channels: int = 6, side: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return 3 * torch.randn(batch_size, channels, side, side, generator=generator) + 1


def _with_random_affine(norm: GhostBatchNorm) -> GhostBatchNorm:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(norm.weight.shape, generator=generator))
        norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator))
    return norm


def _torch_norm_like(norm: GhostBatchNorm) -> nn.BatchNorm2d:
    other = nn.BatchNorm2d(len(norm.bias))
    other.load_state_dict(norm.state_dict(), strict=False)
    return other


@pytest.mark.parametrize(
    ("batch_size", "num_splits", "part_sizes"),
    [
        (8, 1, [8]),
        (8, 2, [4, 4]),
        (11, 4, [3, 3, 3, 2]),
        (7, 8, [3, 2, 2]),  # too few images for eight parts of two
        (3, 2, [3]),
        (1, 2, [1]),
    ],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_ghost_norm_equals_batch_norm_of_each_part(
    batch_size: int, num_splits: int, part_sizes: list[int], memory_format: torch.memory_format
) -> None:
    norm = _with_random_affine(GhostBatchNorm(6, num_splits=num_splits))
    x = _images(batch_size).contiguous(memory_format=memory_format).requires_grad_()
    oracle_x = x.detach().clone().requires_grad_()
    part_norms = [_torch_norm_like(norm) for _ in part_sizes]
    parts = zip(part_norms, torch.split(oracle_x, part_sizes), strict=True)
    expected = torch.cat([part_norm(part) for part_norm, part in parts])

    y = norm(x)
    upstream = _images(batch_size + 100)[:batch_size]
    torch.autograd.backward(y, upstream)
    torch.autograd.backward(expected, upstream)

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(x.grad, oracle_x.grad)
    torch.testing.assert_close(norm.weight.grad, sum(part_norm.weight.grad for part_norm in part_norms))
    torch.testing.assert_close(norm.bias.grad, sum(part_norm.bias.grad for part_norm in part_norms))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_ghost_norm_running_statistics_follow_the_average_of_the_parts(memory_format: torch.memory_format) -> None:
    norm = GhostBatchNorm(6, num_splits=2)
    mean, variance = np.zeros(6), np.ones(6)
    for batch_size in (8, 12, 9):
        x = _images(batch_size)
        norm(x.contiguous(memory_format=memory_format))
        parts = np.array_split(x.numpy().astype(np.float64), 2)
        mean = 0.9 * mean + 0.1 * np.mean([part.mean(axis=(0, 2, 3)) for part in parts], axis=0)
        variance = 0.9 * variance + 0.1 * np.mean([part.var(axis=(0, 2, 3), ddof=1) for part in parts], axis=0)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-5)


def test_ghost_norm_with_one_split_keeps_the_statistics_of_batch_norm() -> None:
    norm, oracle = GhostBatchNorm(6), nn.BatchNorm2d(6)
    for batch_size in (4, 9):
        norm(_images(batch_size))
        oracle(_images(batch_size))
    torch.testing.assert_close(norm.running_mean, oracle.running_mean)
    torch.testing.assert_close(norm.running_var, oracle.running_var)


def test_ghost_norm_evaluates_like_batch_norm_with_the_same_statistics() -> None:
    norm = _with_random_affine(GhostBatchNorm(6, num_splits=4))
    norm(_images(16))
    norm.eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(_images(5)), _torch_norm_like(norm).eval()(_images(5)))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_frozen_scale_stays_one_and_the_shift_learns() -> None:
    norm = GhostBatchNorm(6, num_splits=2, frozen_scale=True)
    norm(_images(8)).square().sum().backward()
    assert norm.weight.grad is None
    assert norm.bias.grad is not None
    assert torch.equal(norm.weight, torch.ones(6))


@pytest.mark.parametrize(
    ("kernel_size", "padding"), [((3, 3), (1, 1)), ((1, 1), (1, 1)), ((3, 1), (1, 1)), ((1, 3), (2, 4))]
)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_equal_pytorchs(kernel_size: tuple[int, int], padding: tuple[int, int], *, bias: bool) -> None:
    ours = Conv2d(6, 4, kernel_size, padding=padding, bias=bias).double()
    theirs = nn.Conv2d(6, 4, kernel_size, padding=padding, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = _images(3).double().requires_grad_()
    x_theirs = x.detach().clone().requires_grad_()
    y, y_theirs = ours(x), theirs(x_theirs)
    torch.testing.assert_close(y, y_theirs)
    y.square().sum().backward()
    y_theirs.square().sum().backward()
    torch.testing.assert_close(x.grad, x_theirs.grad)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("make_layer", [lambda: GhostBatchNorm(6, num_splits=3), lambda: Dropout(0.3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_keep_dtype_and_memory_format(make_layer: type[nn.Module], dtype: torch.dtype) -> None:
    x = _images(7).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = make_layer()(x)
    y.sum().backward()
    assert x.grad is not None
    for tensor in (y, x.grad):
        assert tensor.dtype == dtype
        assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("p", "rounded"), [(0.1, 26 / 256), (0.5, 0.5), (0.0, 0.0), (0.001, 0.0), (0.9999, 255 / 256)])
def test_dropout_rounds_its_probability_to_256ths(p: float, rounded: float) -> None:
    assert Dropout(p).p == rounded


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_keeps_the_right_share_and_scales_it_exactly(p: float, memory_format: torch.memory_format) -> None:
    layer = Dropout(p)
    y = layer(torch.ones(64, 16, 16, 16).contiguous(memory_format=memory_format))
    kept = y != 0
    assert torch.all(y[kept] == torch.tensor(1 / (1 - layer.p)))
    standard_error = (layer.p * (1 - layer.p) / y.numel()) ** 0.5
    assert abs(kept.double().mean().item() - (1 - layer.p)) < 4 * standard_error
    # No channel and no pixel is favoured: every marginal share lies within its own, wider error.
    for axes in ((0, 2, 3), (0, 1)):
        shares = kept.double().mean(dim=axes)
        num_averaged = y.numel() / shares.numel()
        assert torch.all((shares - (1 - layer.p)).abs() < 5 * (layer.p * (1 - layer.p) / num_averaged) ** 0.5)


def test_dropout_gradient_passes_where_the_forward_pass_did() -> None:
    x = torch.ones(5, 3, 7, 7, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach(), rtol=0, atol=0)  # both are the mask times the scale


def test_dropout_does_not_round_the_scale_in_bf16() -> None:
    x = torch.full((64, 64), 1.2421875, dtype=torch.bfloat16)  # a scale rounded to bf16 would give 1.375 or 1.3984
    layer = Dropout(0.1)
    y = layer(x)
    assert y[y != 0].unique().item() == (x[0, 0].float() / (1 - layer.p)).bfloat16().item()


def test_dropout_is_the_identity_in_evaluation_and_without_a_probability() -> None:
    x = _images(3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_dropout_masks_depend_on_the_seed_and_the_layer_alone() -> None:
    def masks(seed: int) -> list[Tensor]:
        first, second = Dropout(0.5), Dropout(0.5)
        seed_dropout(nn.Sequential(first, nn.Sequential(second)), seed)
        return [layer(torch.ones(4, 5)) for layer in (first, second, first)]

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = masks(7), masks(7), masks(8)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1])  # each layer its own
    assert not torch.equal(first[0], first[2])  # each call its own
    assert torch.equal(torch.get_rng_state(), state)
