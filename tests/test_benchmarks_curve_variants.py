"""Trainings with other schedules and with averaged weights, as they are recorded."""

from __future__ import annotations

import pytest
import torch
from recorded_digits import recorded_digits
from small_training import PLAIN, TINY
from torch import Tensor

from benchmarks.record_curves.variants import Kind, make_training
from model.config import TrainConfig
from model.evaluation import evaluate
from model.layers import GhostBatchNorm
from model.split_images import ImageArrays, on_device
from model.training import Training


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageArrays:
    return recorded_digits(tmp_path_factory.mktemp("data"))


def test_schedules_of_the_variants_are_those_of_a_plain_formula(images: ImageArrays) -> None:
    config = TrainConfig.from_flat({"batch_size": 30, "lr": 0.4, "schedule": "one_cycle", "warmup_fraction": 0.4})
    tensors = on_device(images, torch.device("cpu"))

    def rates(kind: Kind) -> list[float]:
        training = make_training(kind, config, tensors, max_epochs=25, num_epochs=4, seed=0, engine=PLAIN)
        assert training.steps_per_epoch == 4
        return [training.learning_rate(step) for step in range(16)]

    warmup = [0.4 * (step + 1) / 40 for step in range(16)]
    assert rates("averaged") == pytest.approx(warmup)
    assert rates("cooled") == pytest.approx(warmup[:12] + [warmup[12] * left / 4 for left in (4, 3, 2, 1)])
    assert rates("constant") == pytest.approx([0.2] + [0.4] * 12 + [0.3, 0.2, 0.1])
    assert rates("complete") == pytest.approx([0.4 * min(1.0, (n + 1) / 6.4, (16 - n) / 9.6) for n in range(16)])


def test_an_averaged_network_is_the_mean_of_its_steps_with_the_statistics_of_its_own_activations(
    images: ImageArrays,
) -> None:
    config, tensors = TINY.changed(batch_size=30), on_device(images, torch.device("cpu"))
    steps: list[dict[str, Tensor]] = []
    plain = Training(
        config,
        tensors,
        max_epochs=25,
        seed=0,
        engine=PLAIN,
        on_step=lambda *_: steps.append(
            {name: value.clone() for name, value in plain.trained_network.state_dict().items()}
        ),
    )
    plain.train_epoch()
    averaged = make_training("averaged", config, tensors, max_epochs=25, num_epochs=4, seed=0, engine=PLAIN)
    averaged.train_epoch()
    means = dict(averaged.network.named_parameters())
    for name, mean in means.items():
        torch.testing.assert_close(mean, torch.stack([step[name] for step in steps]).mean(0))
    inputs: list[Tensor] = []
    norm = next(module for module in averaged.network.modules() if isinstance(module, GhostBatchNorm))
    norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    evaluate(
        averaged.network,
        tensors.images,
        tensors.labels,
        tensors.train_indices,
        mean=tensors.mean,
        std=tensors.std,
        engine=PLAIN,
    )
    torch.testing.assert_close(norm.running_mean, torch.cat(inputs).mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
