import os
import pickle
from pathlib import Path

import pytest
import torch
from small_training import BUSY, FAST, PLAIN, TINY, assert_equal_states, make, scores, shared

from model.engine import Engine
from model.training import DivergedError, Training, train_epochs


@pytest.mark.parametrize("engine", [PLAIN, FAST], ids=["fp32", "bf16"])
def test_it_learns(engine: Engine) -> None:
    rows = list(train_epochs(make(engine=engine, max_epochs=6)))
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1].train_loss < rows[0].train_loss
    assert rows[-1].val_accuracy is not None
    assert rows[-1].val_accuracy > 0.9
    assert all(row.seconds > 0 and row.images_per_s > 0 for row in rows)


def test_an_earlier_training_changes_nothing() -> None:
    alone = make(BUSY, engine=FAST)
    rows = scores(alone)
    torch.manual_seed(99)
    torch.set_num_threads(2)
    scores(make(TINY.changed(dropout=0.4), seed=1, max_epochs=1))
    after = make(BUSY, engine=FAST)
    assert scores(after) == rows
    assert_equal_states(after, alone)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_training_returns_freed_memory_before_it_starts() -> None:
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


def test_trainings_that_take_turns_do_not_disturb_each_other() -> None:
    rows = scores(make(BUSY))
    one, other = make(BUSY), make(BUSY, seed=8)
    turns = [(one.train_epoch(), other.train_epoch())[0].train_loss for _ in range(4)]
    assert turns == [row[1] for row in rows]


def test_another_seed_gives_another_result() -> None:
    assert scores(make(seed=7, max_epochs=1)) != scores(make(seed=8, max_epochs=1))


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(BUSY)
    assert torch.equal(torch.rand(3), expected)


def test_leftover_images_sit_the_epoch_out() -> None:
    training = make(images=shared(num=63, num_val=10))
    assert (training.steps_per_epoch, training.batch_size) == (3, 16)


def test_eight_images_make_one_step() -> None:
    training = make(images=shared(num=8, num_val=0))
    row = training.train_epoch()
    assert (training.steps_per_epoch, training.batch_size) == (1, 8)
    assert row.val_loss is None
    assert row.val_accuracy is None


def test_each_epoch_uses_every_image_once_in_a_new_order() -> None:
    images = shared(num=48, num_val=16)
    images.images[:] = torch.arange(48, dtype=torch.uint8).view(48, 1, 1, 1)  # every pixel is the image's index
    training = make(TINY.changed(crop_padding=0, flip=False), images)
    first, second = images_seen_in_an_epoch(training), images_seen_in_an_epoch(training)
    assert sorted(first) == sorted(second) == list(range(16, 48))
    assert first != second


def images_seen_in_an_epoch(training: Training) -> list[int]:
    """The first pixel of each training image, in the order in which the network sees them."""
    batches: list[torch.Tensor] = []

    def watch(network: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
        if network.training:
            batches.append(args[0])

    hook = training.trained_network.register_forward_pre_hook(watch)
    training.train_epoch()
    hook.remove()
    pixels = (torch.cat(batches)[:, 0, 0, 0] * 0.25 + 0.5) * 255
    return [int(pixel) for pixel in pixels.round()]


def test_the_schedule_spans_max_epochs() -> None:
    rows = list(train_epochs(make(max_epochs=5)))
    assert rows[0].lr == pytest.approx(TINY.recipe.lr)
    assert 0 < rows[-1].lr < TINY.recipe.lr / 10


def test_the_average_is_evaluated_and_differs_from_the_trained_network() -> None:
    training = make(BUSY)
    list(train_epochs(training))
    trained, averaged = training.trained_network.state_dict(), training.network.state_dict()
    assert training.network is not training.trained_network
    assert any(not torch.equal(trained[name], averaged[name]) for name in trained)
    assert make(TINY).network.training


def test_divergence_is_noticed_in_its_epoch() -> None:
    training = make(TINY.changed(lr=1e30))
    with pytest.raises(DivergedError, match="diverged: the loss was not finite by step 3 of epoch 1"):
        list(train_epochs(training))


def test_divergence_is_noticed_within_fifty_steps_of_a_long_epoch() -> None:
    steps = []
    training = Training(
        TINY.changed(batch_size=2, lr=1e30),
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


def test_a_network_that_trains_but_cannot_be_evaluated_has_diverged() -> None:
    training = make()
    training.train_epoch()
    norm = next(module for name, module in training.network.named_modules() if hasattr(module, "running_mean"))
    norm.running_mean.fill_(torch.nan)
    with pytest.raises(DivergedError, match="diverged: the loss was not finite by step 3 of epoch 2"):
        training.train_epoch()


def test_a_divergence_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(DivergedError(3, 50)))
    assert (error.epoch, error.step) == (3, 50)
    assert "step 50 of epoch 3" in str(error)


def test_shared_images_are_not_copied_or_changed() -> None:
    images = shared()
    before = images.images.clone()
    training = make(BUSY, images)
    training.train_epoch()
    assert torch.equal(images.images, before)
    assert training.images.images.data_ptr() == images.images.data_ptr()


def test_fast_and_plain_paths_start_from_the_same_weights() -> None:
    plain, fast = make(BUSY).state()[0], make(BUSY, engine=FAST).state()[0]
    assert all(torch.equal(plain[name], fast[name]) for name in plain)


def test_on_step_hears_of_each_step_and_changes_nothing() -> None:
    told = []
    training = Training(BUSY, shared(), max_epochs=2, seed=7, engine=PLAIN, on_step=lambda *step: told.append(step))
    assert scores(training) == scores(make(BUSY, max_epochs=2))
    assert told == [(epoch, step, 3) for epoch in (1, 2) for step in (1, 2, 3)]


def test_alternating_flip_shows_each_image_both_ways_in_two_epochs() -> None:
    training = make(TINY.changed(alternating_flip=True, crop_padding=0))
    views = []
    for epoch in (1, 2, 3):
        order, draws = training.draw_epoch(epoch)
        views.append(dict(zip(order.tolist(), draws.view.tolist(), strict=True)))
    shared_images = views[0].keys() & views[1].keys() & views[2].keys()
    assert len(shared_images) > 20
    assert all(views[0][image] + views[1][image] == 1 and views[0][image] == views[2][image] for image in shared_images)
    assert 0 < sum(views[0].values()) < len(views[0])
