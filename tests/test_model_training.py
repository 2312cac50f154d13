import dataclasses
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import BlockConfig, TrainConfig
from model.engine import Engine
from model.seeds import derive_seed
from model.training import DivergedError, SharedImages, Training, train_epochs

PLAIN = Engine(num_threads=1)
FAST = Engine(precision="bf16", channels_last=True, num_threads=1)
BLOCK = BlockConfig(num_convs=1, inner_width=8, width=8)
TINY = TrainConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK, batch_size=16, lr=0.05)
# Everything that could leak from one training into the next, or be lost by a checkpoint, at once.
BUSY = dataclasses.replace(
    TINY,
    norm="ghost",
    norm_splits=2,
    frozen_norm_scale=True,
    dropout=0.2,
    ema_decay=0.9,
    rotation_degrees=8.0,
    cutout_size=4,
    label_smoothing=0.1,
    weight_decay=1e-3,
)


def shared(num: int = 80, num_val: int = 24, size: int = 16) -> SharedImages:
    """Two classes that differ by brightness, so that a few steps learn something."""
    generator = np.random.default_rng(0)
    labels = np.arange(num) % 2
    images = generator.integers(0, 160, (num, size, size, 3)) + 80 * labels[:, None, None, None]
    return SharedImages(
        images=torch.from_numpy(images.astype(np.uint8)),
        labels=torch.from_numpy(labels),
        train_indices=torch.arange(num_val, num),
        val_indices=torch.arange(num_val),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=2,
    )


def make(config=TINY, images=None, *, max_epochs=4, seed=7, engine=PLAIN) -> Training:
    return Training(config, images or shared(), max_epochs=max_epochs, seed=seed, engine=engine)


def scores(training: Training) -> list[tuple]:
    return [(row.epoch, row.train_loss, row.val_loss, row.val_accuracy, row.lr) for row in train_epochs(training)]


def assert_equal_states(one: Training, other: Training) -> None:
    tensors, meta = one.state()
    other_tensors, other_meta = other.state()
    assert meta == other_meta
    assert tensors.keys() == other_tensors.keys()
    assert [name for name, value in tensors.items() if not torch.equal(value, other_tensors[name])] == []


@pytest.mark.parametrize("engine", [PLAIN, FAST], ids=["fp32", "bf16"])
def test_it_learns(engine):
    rows = list(train_epochs(make(engine=engine, max_epochs=6)))
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1].train_loss < rows[0].train_loss
    assert rows[-1].val_accuracy > 0.9
    assert all(row.seconds > 0 and row.images_per_s > 0 for row in rows)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
@pytest.mark.parametrize("engine", [PLAIN, FAST], ids=["fp32", "bf16"])
def test_resumed_equals_uninterrupted_bit_for_bit(optimizer, engine):
    config = dataclasses.replace(BUSY, optimizer=optimizer)
    whole = make(config, engine=engine)
    rows = scores(whole)
    interrupted = make(config, engine=engine)
    for _ in range(2):
        interrupted.train_epoch()
    tensors, meta = interrupted.state()
    meta = json.loads(json.dumps(meta))
    resumed = make(config, engine=engine)
    resumed.load_state(tensors, meta)
    assert resumed.epoch == 2
    assert scores(resumed) == rows[2:]
    assert_equal_states(resumed, whole)


def test_a_training_after_another_equals_it_alone():
    alone = make(BUSY, engine=FAST)
    rows = scores(alone)
    torch.manual_seed(99)
    torch.set_num_threads(2)
    scores(make(dataclasses.replace(TINY, dropout=0.4), seed=1, max_epochs=1))
    after = make(BUSY, engine=FAST)
    assert scores(after) == rows
    assert_equal_states(after, alone)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_training_begins_with_what_the_last_one_freed_given_back():
    make()
    before = resident_bytes()
    blocks = [(torch.ones(2**18), torch.ones(2**10)) for _ in range(300)]  # the small ones hold the heap's top
    small = [one for _, one in blocks]
    del blocks
    assert resident_bytes() > before + 200 * 2**20, "the pages of freed blocks are not kept"
    make()
    assert resident_bytes() < before + 50 * 2**20
    del small


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_trainings_that_take_turns_do_not_disturb_each_other():
    rows = scores(make(BUSY))
    one, other = make(BUSY), make(BUSY, seed=8)
    turns = [(one.train_epoch(), other.train_epoch())[0].train_loss for _ in range(4)]
    assert turns == [row[1] for row in rows]


def test_another_seed_gives_another_result():
    assert scores(make(seed=7, max_epochs=1)) != scores(make(seed=8, max_epochs=1))


def test_building_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(BUSY)
    assert torch.equal(torch.rand(3), expected)


def test_images_left_over_sit_the_epoch_out():
    training = make(images=shared(num=63, num_val=10))
    assert (training.steps_per_epoch, training.batch_size) == (3, 16)


def test_eight_images_make_one_step():
    training = make(images=shared(num=8, num_val=0))
    row = training.train_epoch()
    assert (training.steps_per_epoch, training.batch_size) == (1, 8)
    assert row.val_loss is None
    assert row.val_accuracy is None


def test_every_image_is_used_once_an_epoch_in_a_new_order():
    training = make(images=shared(num=48, num_val=16))
    first, _ = training._draw_epoch(1)
    second, _ = training._draw_epoch(2)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(16, 48))
    assert not torch.equal(first, second)


def test_the_schedule_spans_max_epochs():
    rows = list(train_epochs(make(max_epochs=5)))
    assert rows[0].lr == pytest.approx(TINY.lr)
    assert 0 < rows[-1].lr < TINY.lr / 10


def test_the_average_is_evaluated_and_differs_from_the_trained_network():
    training = make(BUSY)
    list(train_epochs(training))
    trained, averaged = training.trained_network.state_dict(), training.network.state_dict()
    assert training.network is not training.trained_network
    assert any(not torch.equal(trained[name], averaged[name]) for name in trained)
    assert make(TINY).network.training


def test_divergence_is_noticed_in_its_epoch():
    training = make(dataclasses.replace(TINY, lr=1e30))
    with pytest.raises(DivergedError, match="diverged: the loss was not finite by step 3 of epoch 1"):
        list(train_epochs(training))


def test_divergence_is_noticed_within_fifty_steps_of_a_long_epoch():
    steps = []
    training = Training(
        dataclasses.replace(TINY, batch_size=2, lr=1e30),
        shared(num=274),
        max_epochs=1,
        seed=7,
        engine=PLAIN,
        on_step=lambda *step: steps.append(step),
    )
    assert training.steps_per_epoch == 125
    with pytest.raises(DivergedError, match="by step 50 of epoch 1"):
        list(train_epochs(training))
    assert len(steps) == 50


def test_a_network_that_trains_but_cannot_be_evaluated_has_diverged():
    training = make()
    training.train_epoch()
    norm = next(module for name, module in training.network.named_modules() if hasattr(module, "running_mean"))
    norm.running_mean.fill_(torch.nan)
    with pytest.raises(DivergedError, match="diverged: the loss was not finite by step 3 of epoch 2"):
        training.train_epoch()


def test_divergence_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(DivergedError(3, 50)))
    assert (error.epoch, error.step) == (3, 50)
    assert "step 50 of epoch 3" in str(error)


@pytest.mark.parametrize(
    ("changes", "name"), [({"seed": 8}, "seed"), ({"max_epochs": 5}, "max_epochs"), ({"config": BUSY}, "config")]
)
def test_anothers_checkpoint_is_refused(changes, name):
    tensors, meta = make().state()
    with pytest.raises(ValueError, match=f"`{name}` of the checkpoint is .* but this training's is .*Delete"):
        make(**changes).load_state(tensors, meta)


def test_a_state_is_a_snapshot():
    training = make()
    tensors, _ = training.state()
    before = {name: value.clone() for name, value in tensors.items()}
    training.train_epoch()
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())
    assert all(value.is_contiguous() and value.device.type == "cpu" for value in tensors.values())


def test_shared_images_are_not_copied_or_changed():
    images = shared()
    before = images.images.clone()
    training = make(BUSY, images)
    training.train_epoch()
    assert torch.equal(images.images, before)
    assert training.images.images.data_ptr() == images.images.data_ptr()


def test_fast_and_plain_paths_start_from_the_same_weights():
    plain, fast = make(BUSY).state()[0], make(BUSY, engine=FAST).state()[0]
    assert all(torch.equal(plain[name], fast[name]) for name in plain)


def test_derived_seeds_are_fixed_and_apart():
    assert derive_seed(1, "trial", 2) == derive_seed(1, "trial", 2)
    seeds = {derive_seed(1), derive_seed(1, "1"), derive_seed(1, 1), derive_seed(2, 1), derive_seed(1, 1, 1)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(7, "epoch", 3) == 4738941080608759763


def test_steps_are_told_and_change_nothing():
    told = []
    training = Training(BUSY, shared(), max_epochs=2, seed=7, engine=PLAIN, on_step=lambda *step: told.append(step))
    assert scores(training) == scores(make(BUSY, max_epochs=2))
    assert told == [(epoch, step, 3) for epoch in (1, 2) for step in (1, 2, 3)]
