"""One config trained from scratch after the search, as the study has it: epoch by epoch, then its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FINALIST = "finalist"
CONFIG_NAMES = ("winner", "seed", "default", FINALIST)
"""In the order of the tables."""
TEST_ACCURACIES = ("test_accuracy", "test_accuracy_tta", "test_balanced_accuracy")
_CURVES = ("train_losses", "val_scores")


@dataclass(frozen=True, kw_only=True)
class RetrainRecord:
    """One retraining on one seed, measured after the last epoch, single view unless named TTA.

    Scores are those of the run's metric, larger is better; accuracies are fractions 0..1.
    """

    config_name: str
    """One of `CONFIG_NAMES`. A finalist trains without the validation images; the others use all training images."""
    trial_number: int
    seed_index: int
    """Counts the retrainings of one config, from 0."""
    retrain_seed: int
    includes_val: bool
    """Whether it trained on the validation images, too."""
    epochs_trained: int
    num_params: int
    multiply_adds: int
    receptive_field: int | None
    seconds: float
    val_score: float | None = None
    val_accuracy: float | None = None
    test_score: float | None = None
    test_score_tta: float | None = None
    test_accuracy: float | None = None
    test_accuracy_tta: float | None = None
    """From the mean of the logits for each image and its mirror image."""
    test_balanced_accuracy: float | None = None
    """Mean over the classes of the share of their test images that are right, single view."""
    test_loss: float | None = None
    error: str | None = None
    """Set if the training diverged; its scores are the worst then, its accuracies 0."""
    train_losses: tuple[float, ...] = ()
    """Mean training loss of each epoch."""
    val_scores: tuple[float, ...] = ()
    """Of each epoch of a finalist; empty for the others, which train on the validation images."""

    @property
    def key(self) -> str:
        """Its name in the record and in file names."""
        return retrain_key(self.config_name, self.trial_number, self.seed_index)

    @property
    def is_ended(self) -> bool:
        """Whether it has its score: a finalist after its last epoch, the others after the test."""
        return self.val_score is not None or self.test_score is not None

    def to_note(self) -> dict[str, Any]:
        """The JSON form in the record."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _CURVES}}

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> RetrainRecord:
        """The inverse of `to_note`."""
        return cls(**{**note, **{name: tuple(note[name]) for name in _CURVES if name in note}})


def retrain_key(config_name: str, trial_number: int, seed_index: int) -> str:
    """The record's name of a retraining, from which its seed is derived, too."""
    if config_name == FINALIST:
        return f"{FINALIST}:{trial_number}:{seed_index}"
    return f"retrain:{config_name}:{seed_index}"


def retrain_title(key: str) -> str:
    """A retraining as people read it, such as "winner, seed 1" or "finalist trial 7, seed 2"."""
    first, second, seed_index = key.split(":")
    name = f"{FINALIST} trial {second}" if first == FINALIST else second if second == "winner" else f"{second} config"
    return f"{name}, seed {int(seed_index) + 1}"


def table_order(record: RetrainRecord) -> tuple[int, int, int]:
    """Sort key: winner, seed config, default, then finalists by trial; each by seed."""
    is_finalist = record.config_name == FINALIST
    return CONFIG_NAMES.index(record.config_name), record.trial_number if is_finalist else 0, record.seed_index
