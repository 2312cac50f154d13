"""What a run took, worked out by hand."""

from __future__ import annotations

from fabricated_run import finalist_record
from trial_records import trial_record

from search.analysis.cost import cost_of


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
    assert cost.wall_s == 900 - (100 - 10)  # trial 0 starts 10 s before its first epoch ends


def test_a_run_without_epochs_took_no_time() -> None:
    cost = cost_of([trial_record(0, [], "failed")], [], 9)
    assert (cost.epochs, cost.saved_epochs, cost.trial_s, cost.retrain_s, cost.wall_s) == (0, 0, 0, 0, 0)
