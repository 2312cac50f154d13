"""A training on a real GPU against the same training on the CPU, and against itself resumed: `make test-gpu`."""

import dataclasses
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import BUSY, TINY, assert_equal_states, scores, shared

from benchmarks.gpu import counted_waits
from benchmarks.graphed_step import graphed_epoch
from model.augment import Augmentation, augment
from model.config import SEED_CONFIG, TrainConfig
from model.data import load_training_data
from model.engine import Engine
from model.engine_choice import choose_engine
from model.evaluation import evaluate
from model.split_images import ImageArrays, ImageTensors, on_device
from model.splits import stratified_split
from model.training import Training, train_epochs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CPU, GPU = Engine(), Engine(device="cuda")
GPU_FAST = Engine(device="cuda", precision="bf16", channels_last=True)
SILENT = BUSY.changed(dropout=0.0)
"""Everything but dropout, whose masks differ between devices."""


@pytest.fixture
def deterministic() -> Iterator[None]:
    """cuDNN's convolutions repeat bit for bit."""
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False


def moved(images: ImageTensors, engine: Engine) -> ImageTensors:
    names = ("images", "labels", "train_indices", "val_indices")
    return dataclasses.replace(images, **{name: getattr(images, name).to(engine.device) for name in names})


def make(config: TrainConfig, engine: Engine, *, images: ImageTensors | None = None, max_epochs: int = 4) -> Training:
    return Training(config, moved(images or shared(), engine), max_epochs=max_epochs, seed=7, engine=engine)


def seed_images() -> ImageTensors:
    return dataclasses.replace(shared(num=600, num_val=88, size=32), num_classes=10)


@pytest.mark.parametrize(
    ("config", "images"),
    [(SILENT, shared()), (SEED_CONFIG.changed(dropout=0.0), seed_images())],
    ids=["tiny", "seed"],
)
def test_fp32_equals_the_cpu(config: TrainConfig, images: ImageTensors) -> None:
    ours, reference = (make(config, engine, images=images, max_epochs=2) for engine in (GPU, CPU))
    assert_close_states(ours, reference, 0.0)
    for one, other in zip(train_epochs(ours), train_epochs(reference), strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-2)
    assert_close_states(ours, reference, 5e-3)


def test_whitening_equals_the_cpu_bit_for_bit() -> None:
    ours, reference = (make(TINY.changed(stem="whitening"), engine) for engine in (GPU, CPU))
    assert_close_states(ours, reference, 0.0)


def assert_close_states(one: Training, other: Training, tolerance: float) -> None:
    tensors, reference = one.state()[0], other.state()[0]
    assert tensors.keys() == reference.keys()
    for name, value in reference.items():
        worst = (tensors[name].float() - value.float()).abs().max().item()
        assert worst <= tolerance * max(1.0, value.float().abs().max().item()), name


def test_flip_tta_equals_the_cpu() -> None:
    images, results = seed_images(), []
    network = make(SEED_CONFIG, CPU, images=images).network
    for engine in (CPU, GPU):
        placed, statistics = moved(images, engine), {"mean": images.mean, "std": images.std}
        network.to(engine.device)
        results.append(
            evaluate(network, placed.images, placed.labels, None, **statistics, engine=engine, flip_tta=True)
        )
    on_cpu, on_gpu = results
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-4)
    torch.testing.assert_close(on_gpu.probabilities, on_cpu.probabilities, rtol=1e-3, atol=1e-5)


def test_augmentation_equals_the_cpu_bit_for_bit() -> None:
    images, batches = shared(num=64).images, []
    for device in ("cpu", "cuda"):
        augmentation = Augmentation(BUSY.recipe, height=16, width=16, device=device)
        draws = augmentation.draw(64, np.random.default_rng(3))
        moved_pixels = augmentation.move_pixels(images.to(device), draws)
        values = augment(images.to(device), draws, augmentation, mean=(0.5,) * 3, std=(0.25,) * 3, dtype=torch.float32)
        batches.append((moved_pixels.cpu(), values.cpu()))
    assert torch.equal(batches[0][0], batches[1][0])
    torch.testing.assert_close(batches[0][1], batches[1][1], rtol=1e-6, atol=1e-6)


def test_bf16_learns_as_much() -> None:
    """Digits, five seeds of each precision. The standard error of the difference is about a point."""
    ends: dict[str, list[float]] = {"bf16": [], "fp32": []}
    config = TINY.changed(batch_size=32, lr=0.1)
    for precision, engine in (("bf16", GPU_FAST), ("fp32", GPU)):
        images = digits(engine)
        for seed in range(5):
            *_, last = train_epochs(Training(config, images, max_epochs=6, seed=seed, engine=engine))
            assert last.val_accuracy is not None
            ends[precision].append(last.val_accuracy)
    bf16, fp32 = (statistics.mean(scores) for scores in ends.values())
    assert fp32 > 0.7, ends
    assert abs(bf16 - fp32) < 0.04, ends


def digits(engine: Engine) -> ImageTensors:
    data = load_training_data("digits", image_size=16, seed=0, data_dir=Path("data"))
    split = stratified_split(data.examples.labels, seed=0)
    arrays = ImageArrays(
        images=data.examples.images,
        labels=data.examples.labels,
        train_indices=split.train_indices,
        val_indices=split.val_indices,
        mean=(0.3,) * 3,
        std=(0.3,) * 3,
        num_classes=10,
    )
    return on_device(arrays, torch.device(engine.device))


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
@pytest.mark.parametrize("engine", [GPU, GPU_FAST], ids=["fp32", "bf16"])
def test_resumed_equals_uninterrupted_bit_for_bit(optimizer: Any, engine: Engine) -> None:
    config = BUSY.changed(optimizer=optimizer)
    whole = make(config, engine)
    rows = scores(whole)
    interrupted = make(config, engine)
    for _ in range(2):
        interrupted.train_epoch()
    tensors, meta = interrupted.state()
    resumed = make(config, engine)
    resumed.load_state(tensors, json.loads(json.dumps(meta)))
    assert scores(resumed) == rows[2:]
    assert_equal_states(resumed, whole)


def test_a_checkpoint_of_the_gpu_goes_on_on_the_cpu() -> None:
    on_gpu, on_cpu = make(SILENT, GPU), make(SILENT, CPU)
    for training in (on_gpu, on_cpu):
        training.train_epoch()
    continued = make(SILENT, CPU)
    continued.load_state(*on_gpu.state())
    assert continued.train_epoch().train_loss == pytest.approx(on_cpu.train_epoch().train_loss, rel=1e-2)


def test_a_training_returns_the_memory_of_the_last_one() -> None:
    make(SEED_CONFIG.changed(batch_size=512), GPU, images=seed_images()).train_epoch()
    big = torch.cuda.memory_reserved()
    make(TINY, GPU)
    assert torch.cuda.memory_reserved() < big / 4


def test_the_host_waits_at_the_ends_of_epochs_only() -> None:
    training = make(BUSY.changed(batch_size=2), GPU_FAST)
    training.train_epoch()
    assert training.steps_per_epoch == 28
    with counted_waits(GPU_FAST) as waits:
        training.train_epoch()
    assert len(waits) <= 6, waits


def test_the_compiled_network_learns_the_same_and_the_choice_measures_it() -> None:
    engine, rows = choose_engine("cuda", num_threads=4)
    assert any(row["compile"] for row in rows), "torch.compile failed: is there a C compiler?"
    assert {row["precision"] for row in rows} >= {"fp32"}
    assert engine.device == "cuda"
    plain, compiled = (make(SILENT, dataclasses.replace(GPU, compile=value)) for value in (False, True))
    assert compiled.train_epoch().train_loss == pytest.approx(plain.train_epoch().train_loss, rel=1e-3)


def test_the_graph_of_a_step_trains() -> None:
    training = make(SILENT.changed(ema_decay=0.0), GPU_FAST)
    epoch = graphed_epoch(training)
    before, _ = training.state()
    assert epoch() > 0
    after, _ = training.state()
    weights = [name for name in before if name.endswith("conv.weight")]
    assert weights
    assert all(not torch.equal(before[name], after[name]) and after[name].isfinite().all() for name in weights)
