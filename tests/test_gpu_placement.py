"""Every tensor of a training is on its GPU: fake ones, which raise if an operation mixes two devices."""

import dataclasses
import json
import random
from collections.abc import Iterator

import pytest
import torch
from fake_gpu import fake_gpu
from small_training import BUSY, shared
from torch import Tensor

from model.augment import Augmentation, augment
from model.config import SEED_CONFIG, TrainConfig
from model.engine import Engine
from model.engine_choice import _PROBE_STEPS, choose_engine
from model.evaluation import evaluate
from model.network import build
from model.seeds import derive_seed
from model.split_images import ImageTensors
from model.training import Training
from model.whitening import PatchWhitening
from search.space.network_space import network_space
from search.space.space_check import Limits

pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="make test-gpu tests the real one"),
]


SPACE = network_space(None, Limits(max_params=10**6, min_receptive_field=44, num_classes=2, image_size=32))
DEFAULT = TrainConfig.from_flat(SPACE.typical_config()).changed(batch_size=16)
CONFIGS = {
    "seed": SEED_CONFIG.changed(batch_size=16),
    "default": DEFAULT,  # Muon and whitening
    # With what the others lack.
    "sampled": TrainConfig.from_flat(SPACE.draw(random.Random(0))).changed(
        optimizer="adamw", ema_decay=0.99, cutout_size=8, batch_size=16
    ),
    "busy": BUSY,
}


@pytest.fixture(params=["cuda:0", "cuda:1"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with fake_gpu(monkeypatch):
        yield request.param


def images_on(device: str) -> ImageTensors:
    images = shared(num=40, num_val=8, size=32)
    names = ("images", "labels", "train_indices", "val_indices")
    return dataclasses.replace(images, **{name: getattr(images, name).to(device) for name in names})


def engine_on(device: str, precision: str) -> Engine:
    is_fast = precision == "bf16"
    return Engine(device=device, precision="bf16" if is_fast else "fp32", channels_last=is_fast)


def devices(training: Training) -> set[str]:
    """Of parameters, buffers, their average and the optimizer's state."""
    networks = [training.trained_network, training.network]
    held: list[Tensor] = [value for network in networks for value in network.state_dict().values()]
    held += [value for state in training._optimizer.state.values() for value in state.values()]
    return {str(value.device) for value in held}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_training_and_its_checkpoint_stay_on_the_gpu(device: str, precision: str, config: TrainConfig) -> None:
    images, engine = images_on(device), engine_on(device, precision)
    training = Training(config, images, max_epochs=2, seed=1, engine=engine)
    training.train_epoch()
    assert training._optimizer.state
    assert devices(training) == {device}
    tensors, meta = training.state()
    assert {(value.device.type, value.is_contiguous()) for value in tensors.values()} == {("cpu", True)}
    resumed = Training(config, images, max_epochs=2, seed=1, engine=engine)
    resumed.load_state(tensors, json.loads(json.dumps(meta)))
    assert devices(resumed) == {device}
    resumed.train_epoch()
    assert resumed.epoch == 2


def test_whitening_is_computed_on_the_cpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its filters do not depend on where the images are."""
    fitted: list[tuple[str, str]] = []
    monkeypatch.setattr(
        PatchWhitening, "fit", lambda layer, images: fitted.append((str(images.device), str(layer.weight.device)))
    )
    Training(DEFAULT, images_on(device), max_epochs=1, seed=1, engine=Engine(device=device))
    assert fitted == [("cpu", "cpu")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("has_indices", [True, False])
def test_flip_tta_answers_on_the_cpu(device: str, precision: str, has_indices: bool) -> None:
    images, engine = images_on(device), engine_on(device, precision)
    network = Training(BUSY, images, max_epochs=1, seed=1, engine=engine).network
    evaluation = evaluate(
        network,
        images.images,
        images.labels,
        images.val_indices if has_indices else None,
        mean=images.mean,
        std=images.std,
        engine=engine,
        flip_tta=True,
    )
    assert evaluation.probabilities.device.type == "cpu"
    assert evaluation.probabilities.shape == (8 if has_indices else 40, 2)


def test_an_epochs_draws_take_one_pinned_copy_each_and_are_used_on_the_gpu(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)  # type: ignore[func-returns-value]
    training = Training(BUSY, images_on(device), max_epochs=1, seed=1, engine=Engine(device=device))
    order, draws = training.draw_epoch(1)
    assert [tuple(tensor.shape) for tensor in pinned] == [(32,), (5, 32)]
    assert {str(tensor.device) for tensor in (order, *vars(draws).values())} == {device}
    augmentation = Augmentation(BUSY.recipe, height=32, width=32, device=device)
    images = training.images
    batch = augment(images.images[:32], draws, augmentation, mean=images.mean, std=images.std, dtype=torch.bfloat16)
    assert (str(batch.device), batch.dtype, tuple(batch.shape)) == (device, torch.bfloat16, (32, 3, 32, 32))


def test_every_epoch_seeds_the_gpus_generator_and_building_leaves_it_alone(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks of `functional.dropout` come from it, so a resumed epoch has those of the uninterrupted one."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    training = Training(BUSY, images_on(device), max_epochs=2, seed=1, engine=Engine(device=device))
    assert seeds == []
    training.draw_epoch(1)
    training.draw_epoch(2)
    assert seeds == [derive_seed(1, "dropout", epoch) for epoch in (1, 2)]


def test_an_epoch_is_timed_when_its_gpu_has_finished(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Training(BUSY, images_on(device), max_epochs=1, seed=1, engine=Engine(device=device)).train_epoch()
    assert waited == [device]


def test_a_mixture_of_devices_raises(device: str) -> None:
    """What the other tests rest on."""
    images = dataclasses.replace(images_on(device), labels=shared(num=40, num_val=8).labels)
    training = Training(BUSY, images, max_epochs=1, seed=1, engine=Engine(device=device))
    with pytest.raises(RuntimeError, match="devices"):
        training.train_epoch()


def test_a_training_gives_its_engine_s_cache_back_and_sets_cudnns_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=True), fake_gpu(monkeypatch):
        Training(BUSY, images_on("cuda:0"), max_epochs=1, seed=1, engine=Engine(device="cuda:0"))
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (True, False)
        assert torch.get_float32_matmul_precision() == "highest"
    assert emptied == [True]


def test_a_gpus_slow_first_step_does_not_decide_on_its_engine(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN tries its algorithms there, so every engine after the first would look hopeless."""
    now = [0.0]
    steps = iter([0.9, 0.009, 0.009, 0.9, 0.005, 0.005, 0.9, 0.002, 0.002])
    monkeypatch.setitem(_PROBE_STEPS, "cuda", 2)
    monkeypatch.setattr("model.engine_choice.synchronise", lambda engine: now.append(now[-1] + next(steps)))
    monkeypatch.setattr("model.engine_choice.time.perf_counter", lambda: now[-1])
    engine, rows = choose_engine(device, num_threads=1, steps_per_training=0)
    assert [row["step_ms"] for row in rows] == pytest.approx([9, 5, 2])
    assert [row["setup_ms"] for row in rows] == pytest.approx([900, 900, 900])
    assert (engine.precision, engine.channels_last) == ("bf16", True)


def test_the_network_compiles_in_one_piece_off_the_cpu() -> None:
    """On the meta device, which takes the layers' paths for GPUs; `fullgraph` raises where tracing would break off."""
    changes = {"c2_kind": "spatially_separable", "c2_num_convs": 2, "c2_squeeze_width": 4, "padding": "seed"}
    with torch.device("meta"):
        network = build({**BUSY.network, **changes}, num_classes=10, image_size=32).train()
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.autograd.backward(compiled(torch.zeros(16, 3, 32, 32, device="meta")).sum())
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
