from typing import Any

import pytest
import torch
from torch import nn

from model.config import TrainConfig
from model.optim import ParameterAverage, build_optimizer, learning_rate, set_learning_rate
from model.recipe import Recipe


def small_network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))


def rates(config: Recipe, *, steps_per_epoch: int, max_epochs: int) -> list[float]:
    return [
        learning_rate(config, step, steps_per_epoch=steps_per_epoch, max_epochs=max_epochs)
        for step in range(steps_per_epoch * max_epochs)
    ]


def test_step_schedule_equals_torchs_step_lr() -> None:
    config = Recipe(optimizer="sgd", lr=0.016, schedule="step", warmup_fraction=0.5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.016)
    oracle = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.92)
    expected = []
    for _ in range(7):
        expected += [oracle.get_last_lr()[0]] * 3
        optimizer.step()
        oracle.step()
    assert rates(config, steps_per_epoch=3, max_epochs=7) == pytest.approx(expected)


def test_one_cycle_rises_and_falls_in_straight_lines() -> None:
    lrs = rates(Recipe(lr=0.3, schedule="one_cycle", warmup_fraction=0.25), steps_per_epoch=10, max_epochs=4)
    assert lrs[:10] == pytest.approx([0.03 * step for step in range(1, 11)])
    assert lrs[10:] == pytest.approx([0.01 * step for step in range(30, 0, -1)])


def test_cosine_equals_torchs_after_its_warmup() -> None:
    lrs = rates(Recipe(lr=0.3, schedule="cosine", warmup_fraction=0.2), steps_per_epoch=5, max_epochs=4)
    assert lrs[:4] == pytest.approx([0.075, 0.15, 0.225, 0.3])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=16)
    expected = []
    for _ in range(16):
        expected += oracle.get_last_lr()
        optimizer.step()
        oracle.step()
    assert lrs[4:] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["step", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.2, 0.999])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_every_rate_is_above_zero_and_at_most_the_peak(schedule: str, warmup_fraction: float, num_steps: int) -> None:
    config = TrainConfig.from_flat({"lr": 0.3, "schedule": schedule, "warmup_fraction": warmup_fraction}).recipe
    lrs = rates(config, steps_per_epoch=1, max_epochs=num_steps)
    assert min(lrs) > 0
    assert max(lrs) <= 0.3 * (1 + 1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_optimizer_equals_torchs_plain_loop(optimizer: str) -> None:
    recipe = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.01, "adamw_lr": 0.003, "adamw_weight_decay": 0.1}
    config = TrainConfig.from_flat({"optimizer": optimizer, **recipe}).recipe
    ours, theirs = small_network(), small_network()
    built = build_optimizer(ours, config)
    decayed = [parameter for parameter in theirs.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in theirs.parameters() if parameter.ndim == 1]
    if optimizer == "adamw":
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
        oracle: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=0.003, foreach=False)
    else:
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        oracle = torch.optim.SGD(groups, lr=0.1, momentum=0.8, nesterov=optimizer == "nesterov", foreach=False)
    images = torch.randn(6, 3, 8, 8)
    for network, stepper in ((ours, built), (theirs, oracle)):
        for _ in range(3):
            stepper.zero_grad()
            network(images).square().mean().backward()
            stepper.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_are_not_optimised() -> None:
    network = small_network()
    network[1].weight.requires_grad_(False)
    optimizer = build_optimizer(network, Recipe())
    assert all(parameter is not network[1].weight for group in optimizer.param_groups for parameter in group["params"])


def test_nesterov_without_momentum_is_plain_sgd() -> None:
    optimizer = build_optimizer(small_network(), Recipe(optimizer="nesterov", momentum=0.0))
    assert optimizer.defaults["nesterov"] is False


def test_set_learning_rate_reaches_every_group() -> None:
    optimizer = build_optimizer(small_network(), Recipe(lr=0.1))
    set_learning_rate(optimizer, 0.7)
    assert [group["lr"] for group in optimizer.param_groups] == [0.7, 0.7]


def test_muon_and_adamw_follow_one_schedule_from_their_own_peaks() -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 3), nn.Conv2d(40, 16, 3), nn.Conv2d(40, 5, 1))
    optimizer = build_optimizer(network, Recipe(optimizer="muon", muon_lr=0.2, adamw_lr=0.01))
    set_learning_rate(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.005, 0.005])
    muon, *_ = optimizer.param_groups
    assert [tuple(matrix.shape) for matrix in muon["params"]] == [(40, 360)]  # neither first, last nor thin


def test_muon_without_a_kernel_wide_enough_is_adamw() -> None:
    optimizer = build_optimizer(small_network(), Recipe(optimizer="muon", muon_lr=0.2, adamw_lr=0.01))
    set_learning_rate(optimizer, 0.1)
    assert type(optimizer) is torch.optim.AdamW
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.005])


def test_average_equals_the_formula_for_parameters_and_buffers() -> None:
    network = small_network()
    average = ParameterAverage(network, 0.5)
    averaged: Any = average.network
    expected = network[0].weight.detach().clone()
    expected_mean = network[1].running_mean.clone()
    for num_updates in range(12):
        with torch.no_grad():
            network[0].weight.add_(1.0)
        network(torch.randn(4, 3, 8, 8))
        average.update(num_updates)
        decay = min(0.5, (1 + num_updates) / (10 + num_updates))
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
        expected_mean = decay * expected_mean + (1 - decay) * network[1].running_mean
    torch.testing.assert_close(averaged[0].weight, expected)
    torch.testing.assert_close(averaged[1].running_mean, expected_mean)
    assert averaged[1].num_batches_tracked.item() == 12
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
