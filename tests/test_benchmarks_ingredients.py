from typing import Any

from benchmarks.ingredients import INGREDIENTS, NUM_IMAGES, table
from model.config import CONFIG_KEYS, TrainConfig
from model.profile import limit_violations
from search.space.network_space import network_space
from search.space.space_check import Limits

LIMITS: dict[str, Any] = {"max_params": 1_000_000, "min_receptive_field": 44, "num_classes": 10, "image_size": 32}


def test_each_change_of_the_default_is_another_config_within_the_limits() -> None:
    default = network_space(None, Limits(**LIMITS), num_train=NUM_IMAGES).default_config()
    assert default is not None
    for name, changes in INGREDIENTS.items():
        assert changes.keys() <= set(CONFIG_KEYS), name
        config = TrainConfig.from_flat({**default, **changes})
        assert max(limit_violations(config.network, **LIMITS).values()) <= 0, name
        assert (config.flat() == default) == (name == "default"), name


def test_the_table_compares_equal_seeds_and_puts_the_best_first() -> None:
    def row(ingredient: str, seed: int, accuracy: float | None) -> dict[str, object]:
        return {"ingredient": ingredient, "seed": seed, "val_accuracy": accuracy, "seconds": 10}

    rows = [row("default", 0, 0.8), row("default", 1, 0.82), row("ReLU", 0, 0.79), row("ReLU", 1, 0.80)]
    rows += [row("AdamW", 0, None), row("cosine", 0, 0.805)]
    _, _, *lines = table(rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["cosine", "default", "ReLU", "AdamW"]
    assert lines[2] == "| ReLU | 2 | 79.50 | -1.50 | 0.71 | 10 |"
