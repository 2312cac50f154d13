"""What a run left, read from its folder and its record: `load_run("results/NAME").trials`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from model.classifier import Classifier
from model.config import TrainConfig, network_values, ordered_keys
from model.metrics import METRICS, Metric
from model.network_source import NetworkSource, builder_of
from model.profile import NetworkProfile, profile_network
from search.analysis.inference import load_classifier, load_network, predict, predict_readable
from search.analysis.tables import epochs_frame, retrains_frame, trials_frame
from search.analysis.verdict import Result, run_result
from search.errors import SpaceError, UserError
from search.paths import sqlite_url
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.setup.document import RunDocument, damaged, read_document, read_space_text
from search.setup.floor import floor_of
from search.setup.own_network import network_of_run
from search.setup.run_lock import finish_advice
from search.setup.survey_text import accuracy_misleads
from search.space.space import SearchSpace
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.integrity import record_problems
from search.study.record import TrialRecord
from search.study.retrain_record import RetrainRecord
from search.study.study import EARLY_END_NOTE, RunStudy, open_study
from search.study.wishes import AskedWish, wishes_of


class Run:
    """A run's folder and its record, read once: a `Run` does not follow a run that goes on."""

    def __init__(
        self,
        run_dir: Path,
        document: RunDocument,
        study: RunStudy | None = None,
        network: str | NetworkSource | None = None,
    ) -> None:
        """`study` None opens the record when it is first needed. `network` as for `load`."""
        self.run_dir = run_dir
        self.document = document
        self._study = study
        self._network = network

    @classmethod
    def load(cls, run_dir: str | Path, network: str | NetworkSource | None = None) -> Self:
        """The run in a folder, finished or not. UserError if the folder holds none.

        `network`: of a run with an own network, FILE.py:NAME or MODULE:NAME once more; only its predictions need it.
        """
        folder = Path(run_dir).expanduser()
        return cls(folder, read_document(folder), network=network)

    @property
    def settings(self) -> SearchSettings:
        """The settings of the run's start or last resume."""
        return self.document.settings

    @property
    def metric(self) -> Metric:
        """What its networks are ranked by."""
        return METRICS[self.settings.metric]

    @cached_property
    def network(self) -> NetworkSource:
        """What builds the networks. UserError if that is code that `load_run` was not given."""
        return network_of_run(self.run_dir, self.document, self._network)

    @cached_property
    def study(self) -> RunStudy:
        """The record. UserError if it is missing or damaged."""
        if self._study is not None:
            return self._study
        if problems := record_problems(self.run_dir, self.settings):
            raise UserError("\n".join(problems))
        # The folder may have been moved or renamed since.
        settings = self.settings.changed(
            storage=self.settings.storage or sqlite_url(self.run_dir.absolute() / "study.db")
        )
        return open_study(settings, create=False)

    @cached_property
    def space(self) -> SearchSpace:
        """The search space. UserError if the run's copy of it is damaged."""
        try:
            return SearchSpace.from_toml(read_space_text(self.run_dir))
        except SpaceError as error:
            raise damaged(self.run_dir / "space.toml", str(error).splitlines()[0]) from None

    @property
    def warnings(self) -> list[str]:
        """What should be known before trusting the result."""
        early_end = self.study.notes().get(EARLY_END_NOTE)
        return [*self.document.warnings, *([early_end] if early_end else [])]

    @cached_property
    def records(self) -> list[TrialRecord]:
        """Every trial as plain values, by number."""
        return self.study.trials()

    @cached_property
    def retrain_records(self) -> list[RetrainRecord]:
        """Every retraining as plain values: winner, seed config, default, then finalists; each by seed."""
        return self.study.retrains()

    @property
    def wishes(self) -> list[AskedWish]:
        """What was asked of the run while it went on, by `search.control`, with its answers; by number."""
        return wishes_of(self.study.notes())

    @property
    def steering(self) -> str | None:
        """What people asked for and that holds now, such as "paused by anna, 1 of 2 slots"; None if nothing does."""
        return Steering.of(self.settings, self.wishes, num_slots=self.document.slots.num_concurrent).words

    @property
    def trials(self) -> pd.DataFrame:
        """A row for every trial, rejected ones included, by trial_number.

        status: completed, stopped, failed, diverged, interrupted or rejected. last_val_METRIC and best_val_METRIC are
        of the run's metric on the validation images, single view; last_val_accuracy, a fraction 0..1, is beside them.
        stop_*: the rung (epoch) where the trial was stopped, the metric there, the cutoff it missed and by how much
        (negative, whatever the metric). error: one line. multiply_adds: of one image, forward. receptive_field: pixels.
        images_per_s: training images a second, mean over epochs. seconds: training and validation, all epochs.
        Then a column for each key of the config; config_KEY for a key of an own network that is called as one of these.
        """
        return trials_frame(self.records, self.metric, ordered_keys(self.space.keys))

    @property
    def epochs(self) -> pd.DataFrame:
        """A row for every epoch of every trial. Losses are mean cross-entropies; recorded_at is a Unix time.

        val_METRIC is the run's metric, val_METRIC_error its standard error over the choice of validation images.
        """
        return epochs_frame(self.records, self.metric)

    @property
    def retrains(self) -> pd.DataFrame:
        """A row for every retraining from scratch, by config and seed. The only test results of a run.

        config_name: winner, seed and default (the baselines), or finalist: one of the best configs on a fresh seed. A
        finalist trains without the validation images (`includes_val` false); the best mean of val_METRIC, the
        run's metric, wins. Test results are of the last epoch, single view (`test_METRIC`) and averaged with the
        mirrored image (`test_METRIC_tta`); accuracies are fractions 0..1. error: one line if the training diverged;
        its metric is the worst possible then, its accuracies are 0.
        """
        return retrains_frame(self.retrain_records, self.metric)

    @cached_property
    def finals(self) -> Finals:
        """The best configs on fresh seeds, and the winner among them."""
        return finals_of(self.records, self.retrain_records, RetrainPlan.of(self.settings))

    @cached_property
    def result(self) -> Result:
        """Test scores over seeds, the winner's gains over the baselines, and the verdict in a sentence."""
        survey = self.document.data.survey
        floor = None
        if survey is not None:
            floor = floor_of(survey.test, self.settings.metric, is_imbalanced=accuracy_misleads(survey))
        return run_result(self.run_dir, self.records, self.retrain_records, self.finals, self.metric, floor)

    @property
    def best_config(self) -> TrainConfig:
        """The winner's config. UserError while no trial has a score."""
        winner = self.finals.winner
        if winner is None:
            advice = finish_advice(self.run_dir)
            raise UserError(f"{self.run_dir} has no trial with a score yet, so no best config. {advice}")
        return TrainConfig.from_flat(dict(winner.record.config))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class k at position k."""
        return self.document.data.class_names

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the network takes."""
        return self.document.data.image_size

    def profile(self, config: Mapping[str, Any]) -> NetworkProfile | None:
        """The network of a trial's config; None if it is code that `load_run` was not given."""
        try:
            build = builder_of(self.network)
        except UserError:
            return None
        return profile_network(network_values(config), build=build, **self._images_kind)

    @property
    def _images_kind(self) -> dict[str, int]:
        return {"num_classes": len(self.class_names), "image_size": self.image_size}

    def load_network(self) -> nn.Module:
        """The retrained winner on the CPU, in evaluation mode. UserError before the retrain has ended.

        Takes normalised images (N, 3, H, W), gives logits (N, K); `load_classifier` includes the normalisation.
        """
        return load_network(self.run_dir, network=self.network, **self._images_kind)

    def load_classifier(self) -> Classifier:
        """The retrained winner on the CPU: uint8 (N, image_size, image_size, 3) RGB to probabilities (N, K)."""
        return load_classifier(self.run_dir, network=self.network, **self._images_kind)

    def predict(self, images: Sequence[str | Path] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities (N, K) of N image files, or of uint8 images (N, H, W, 3) RGB of any one size.

        Column k is `class_names[k]`. Images are decoded and resized as in training. UserError before the retrain has
        ended, DataError for a file that is missing or not an image.
        """
        return predict(self.load_classifier(), images, image_size=self.image_size)

    def predict_readable(
        self, images: Sequence[str | Path]
    ) -> tuple[list[tuple[Path, NDArray[np.float32]]], list[str]]:
        """The path and class probabilities (K,) of each image file that can be read, and lines that name the others.

        Of a folder, all image files at any depth. DataError if none can be read; otherwise as `predict`.
        """
        return predict_readable(self.load_classifier(), [Path(path) for path in images], image_size=self.image_size)
