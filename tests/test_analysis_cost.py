"""What a run took, worked out by hand."""

from __future__ import annotations

import random
from pathlib import Path

from fabricated_run import SPACE, add_trial, finalist_record, make_run, record_epoch
from trial_records import trial_record

from search.analysis.cost import cost_of
from search.study.study import RunStudy


def test_costs_are_summed_over_trials_and_retrainings() -> None:
    records = [
        trial_record(0, [0.1] * 9),
        trial_record(1, [0.1] * 3, "stopped"),
        trial_record(2, [0.1], "diverged"),
        trial_record(3, [], "rejected"),
    ]
    cost = cost_of(records, [finalist_record(0, 0, 0.5), finalist_record(0, 1, 0.5)], 9)
    assert cost.statuses == {"completed": 1, "stopped": 1, "diverged": 1, "rejected": 1}
    assert cost.num_trials == 3
    assert (cost.epochs, cost.saved_epochs) == (13, 6)
    assert (cost.trial_s, cost.retrain_s) == (130, 340)
    # Nine epochs of trial 0; those of trials 1 and 2 end one second later each.
    assert cost.wall_s == 9 * 10 + 3 + 1


def test_a_run_without_epochs_took_no_time() -> None:
    cost = cost_of([trial_record(0, [], "failed")], [], 9)
    assert (cost.epochs, cost.saved_epochs, cost.trial_s, cost.retrain_s, cost.wall_s) == (0, 0, 0, 0, 0)


def test_pauses_and_the_time_before_an_extension_are_not_time_of_the_search(tmp_path: Path) -> None:
    """Two workers with epochs of 20 s, one of them a second behind; the run is extended a day later."""

    def fill(study: RunStudy) -> None:
        for day in (0, 1):
            for worker in (0, 1):
                number = add_trial(study, SPACE.draw(random.Random(worker)))
                for epoch in (1, 2):
                    at = 1.8e9 + 86_400 * day + 20 * epoch + worker
                    record_epoch(study, number, epoch, 0.5, recorded_at=at, worker=f"host:{worker}")

    run = make_run(tmp_path / "run", fill)
    # An epoch takes 19 s, so for a second no trial trains, but the other worker does.
    assert cost_of(run.records, [], 9).wall_s == 2 * (19 + 1 + 19 + 1)
