"""How many finalists a run retrains once people have changed its number of trials."""

from __future__ import annotations

from fabricated_run import finalist_record
from retrained_run import PROFILE, TINY, completed_trials

from search.schedulers.retrain_queue import RetrainQueue
from search.schedulers.steering import Steering
from search.settings import SearchSettings
from search.study.record import NewTrial, TrialStatus

EPOCHS = 4


def order(queue: RetrainQueue) -> list[str]:
    return [task.key for task in queue.due()]


def test_finalists_are_counted_by_the_trials_that_people_asked_for() -> None:
    """The run began with two trials and has four now, one of which has no score."""
    study = completed_trials(TINY, TINY, TINY, max_epochs=EPOCHS)
    study.finish(study.add_trial(NewTrial(config=TINY.flat(), seed=3, profile=PROFILE)), TrialStatus.FAILED)
    settings = SearchSettings(run_name="r", num_trials=2, max_epochs=EPOCHS, retrain_top=99, retrain_seeds=1)
    steering = Steering(num_trials=2)
    queue = RetrainQueue(settings, study, {}, steering=steering)
    assert queue.plan.words(has_baselines=False) == "2 finalists and the winner on one seed each"
    steering.num_trials = 4
    assert queue.plan.num_top == 4
    assert order(queue) == ["finalist:0:0", "finalist:1:0", "finalist:2:0"]
    assert queue.num_tasks == 3 + 1
    for number in range(3):
        study.record_retrain(finalist_record(number, 0, 0.5 + number / 10))
        queue.release(f"finalist:{number}:0")
    assert order(queue) == ["retrain:winner:0"]
