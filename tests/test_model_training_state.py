import json
from typing import Any

import pytest
import torch
from small_training import BUSY, FAST, PLAIN, assert_equal_states, make, scores

from model.engine import Engine


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw", "muon"])
@pytest.mark.parametrize("engine", [PLAIN, FAST], ids=["fp32", "bf16"])
def test_resumed_equals_uninterrupted_bit_for_bit(optimizer: Any, engine: Engine) -> None:
    # Muon takes kernels of at least 32 channels.
    config = BUSY.changed(optimizer=optimizer, c2_width=32, c3_width=32, stem="whitening", alternating_flip=True)
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


@pytest.mark.parametrize(
    ("changes", "name"), [({"seed": 8}, "seed"), ({"max_epochs": 5}, "max_epochs"), ({"config": BUSY}, "config")]
)
def test_the_checkpoint_of_another_training_is_refused(changes: dict[str, Any], name: str) -> None:
    tensors, meta = make().state()
    with pytest.raises(ValueError, match=f"`{name}` of the checkpoint is .* but this training's is .*Delete"):
        make(**changes).load_state(tensors, meta)


def test_a_state_is_a_snapshot() -> None:
    training = make()
    tensors, _ = training.state()
    before = {name: value.clone() for name, value in tensors.items()}
    training.train_epoch()
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())
    assert all(value.is_contiguous() and value.device.type == "cpu" for value in tensors.values())
