"""After the search: finals on fresh seeds, retraining of winner and baselines, then the test images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import tomli_w

from model.config import TrainConfig
from model.training import EpochMetrics
from search.display.display import Display
from search.errors import RunFailed
from search.files import write_atomically
from search.retrain.retrainer import Retrainer, RetrainTask
from search.settings import SearchSettings
from search.setup.images import split_images
from search.setup.prepare import Preparation
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.record import NewTrial, TrialRecord
from search.study.retrain_record import FINALIST
from search.study.study import RunStudy
from search.text import percent


def retrain_and_test(preparation: Preparation, study: RunStudy, display: Display, on_end: Callable[[], None]) -> None:
    """Chooses the winner, retrains it and the baselines on all training images, and only then opens the test images.

    `on_end` is called after each training.
    """
    settings = preparation.settings
    retrainer = Retrainer(
        settings=settings,
        data=preparation.data,
        engine=preparation.retrain_engine,
        study=study,
        on_epoch=partial(_show_epoch, display, settings.max_epochs),
    )
    winner = _choose(preparation, retrainer, display, on_end)
    config = TrainConfig.from_flat(dict(winner.config))
    write_atomically(settings.run_dir / "best_config.toml", tomli_w.dumps(config.flat()))
    study.set_note("winner", winner.number)
    tasks = retrain_tasks(preparation, winner)
    for task in tasks:
        if retrainer.finished(task) is None:
            display.message(f"retraining {_title(task, settings)} for {settings.max_epochs} epochs on all images")
            retrainer.train(task)
            on_end()
    for task, tested in zip(tasks, retrainer.test(tasks), strict=True):
        display.message(
            f"{_title(task, settings)}: test accuracy {percent(tested.test_accuracy)} single view, "
            f"{percent(tested.test_accuracy_tta)} with flip TTA"
        )


def retrain_tasks(preparation: Preparation, winner: TrialRecord) -> list[RetrainTask]:
    """The winner's retrainings, then those of the baselines that did not win."""
    settings = preparation.settings
    seeds = range(RetrainPlan.of(settings).num_seeds)
    weights_file = settings.run_dir / "model.safetensors"
    # The first seed's weights are kept: keeping the best seed's would choose by test accuracy.
    tasks = [_task("winner", winner.number, winner, index, None if index else weights_file) for index in seeds]
    for number, trial in preparation.baselines.items():
        if number != winner.number:
            tasks += [_task(trial.origin, number, trial, index) for index in seeds]
    return tasks


def _choose(
    preparation: Preparation, retrainer: Retrainer, display: Display, on_end: Callable[[], None]
) -> TrialRecord:
    """Runs the finals, if there are any, and returns the winner."""
    settings = preparation.settings
    finals = _finals(retrainer.study, settings)
    if finals.winner is None:
        raise RunFailed("no trial ended with a score, so there is nothing to retrain. See the errors in trials.csv.")
    if not finals.plan.has_finals:
        return finals.winner.record
    # Finalists train on the whole training split, even if trials used a part of it.
    images = split_images(settings.changed(search_examples=None), preparation.data)
    for finalist in finals.finalists:
        for index in range(finals.plan.num_seeds):
            task = _task(FINALIST, finalist.record.number, finalist.record, index)
            if retrainer.finished(task) is None:
                display.message(f"retraining {_title(task, settings)} with the validation images held out")
                validated = retrainer.validate(task, images)
                display.message(f"{_title(task, settings)}: validation accuracy {percent(validated.val_accuracy)}")
                on_end()
    winner = _finals(retrainer.study, settings).winner
    assert winner is not None
    assert winner.fresh is not None
    display.message(
        f"the winner is trial {winner.record.number}: validation accuracy {percent(winner.fresh.mean)} on fresh seeds, "
        f"{percent(winner.search_score)} in the search"
    )
    return winner.record


def _finals(study: RunStudy, settings: SearchSettings) -> Finals:
    return finals_of(study.trials(), study.retrains(), RetrainPlan.of(settings))


def _task(
    name: str, number: int, trial: TrialRecord | NewTrial, index: int, weights_file: Path | None = None
) -> RetrainTask:
    return RetrainTask(
        config_name=name,
        config=TrainConfig.from_flat(dict(trial.config)),
        trial_number=number,
        profile=trial.profile,
        seed_index=index,
        weights_file=weights_file,
    )


def _title(task: RetrainTask, settings: SearchSettings) -> str:
    """A retraining's name in messages."""
    name = f"finalist trial {task.trial_number}" if task.config_name == FINALIST else f"the {task.config_name} config"
    num_seeds = settings.retrain_seeds or 1
    return name if num_seeds == 1 else f"{name}, seed {task.seed_index + 1} of {num_seeds},"


def _show_epoch(display: Display, max_epochs: int, task: RetrainTask, metrics: EpochMetrics) -> None:
    display.retrain_epoch(task.config_name, metrics.epoch, max_epochs, metrics.train_loss, metrics.images_per_s)
