"""What a trial's record says of its trainings: one that goes on from a rung starts anew."""

from __future__ import annotations

from search_worlds import study_of

from search.study.record import RungDecision, TrialRecord
from search.study.study import RunStudy


def going_on(study: RunStudy, epoch: int, next_epochs: int | None) -> None:
    score = study.trial(0).scores[epoch]
    decision = RungDecision(
        epoch=epoch, score=score, cutoff=0.0, num_scores=3, is_stopped=False, next_epochs=next_epochs
    )
    study.record_rung(0, decision)


def trained_thrice() -> TrialRecord:
    """For 1 epoch, for 3 and for 9."""
    study = study_of([epoch / 10 for epoch in range(1, 10)])
    going_on(study, 1, 3)
    going_on(study, 3, 9)
    return study.trial(0)


def test_epochs_are_spent_again_by_each_training() -> None:
    record = trained_thrice()
    assert (record.epochs_trained, record.epochs_spent) == (9, 1 + 3 + 9)
    assert [record.epochs_spent_on(epoch) for epoch in range(1, 10)] == [1, 2, 1, 4, 1, 1, 1, 1, 1]


def test_a_training_that_has_not_reported_yet_has_spent_nothing() -> None:
    study = study_of([0.1, 0.2, 0.3])
    going_on(study, 3, 9)
    assert study.trial(0).epochs_spent == 3


def test_the_same_training_spends_nothing_twice() -> None:
    study = study_of([0.1, 0.2, 0.3])
    going_on(study, 1, None)
    assert study.trial(0).epochs_spent == 3
    assert study.trial(0).rung_scores == study.trial(0).scores


def test_scores_within_a_longer_training_compare_with_no_rung() -> None:
    assert trained_thrice().rung_scores == {1: 0.1, 3: 0.3, 9: 0.9}
    study = study_of([0.1, 0.2, 0.3, 0.4, 0.5])
    going_on(study, 1, 9)
    assert study.trial(0).rung_scores == {1: 0.1}, "sent to the end, it passes the rung at 3"
