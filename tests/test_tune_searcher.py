"""Which trial comes next: unfinished ones, given ones, drawn ones, and when none."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from ray.tune.search import Searcher
from retrained_run import PROFILE
from search_worlds import GIVEN, SEED, SPACE, build_searcher, search

from search.samplers import proposer
from search.schedulers.retrain_queue import RetrainQueue
from search.settings import SearchSettings
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy
from search.tune.searcher import RunSearcher, StudySearcher


def propose(searcher: StudySearcher, trial_id: str = "t") -> dict[str, Any]:
    proposed = searcher.suggest(trial_id)
    assert isinstance(proposed, dict)
    return proposed


def test_given_trials_come_first_and_are_recorded_as_they_are_proposed() -> None:
    study = RunStudy.in_memory()
    searcher = build_searcher(SPACE, study, SEED, given=GIVEN)
    proposed = [propose(searcher, f"t{index}") for index in range(3)]
    assert [trial["trial_number"] for trial in proposed] == [0, 1, 2]
    assert [trial["trial_seed"] for trial in proposed[:2]] == [1, 2]
    assert proposed[0] == {"trial_number": 0, "trial_seed": 1, "config": GIVEN[0].config, "epochs_recorded": 0}
    assert [record.origin for record in study.trials()] == ["seed", "default", "sampled"]
    assert [dict(record.config) for record in study.trials()] == [trial["config"] for trial in proposed]
    assert set(proposed[2]["config"]) == {"x", "y", "kind", "fixed"}


def test_unfinished_trials_come_before_all_others() -> None:
    study = RunStudy.in_memory()
    first = build_searcher(SPACE, study, SEED, given=GIVEN)
    proposed = [propose(first, f"t{index}") for index in range(3)]
    study.record_epoch(1, epoch=1, score=0.5, metrics={})
    study.finish(0, TrialStatus.FAILED, error="e")
    second = build_searcher(SPACE, study, SEED, given=GIVEN)
    assert propose(second, "a") == {**proposed[1], "epochs_recorded": 1}
    assert propose(second, "b") == proposed[2]
    assert propose(second, "c")["trial_number"] == study.num_trials - 1 > 2


def test_no_trial_starts_while_all_slots_are_taken() -> None:
    study = RunStudy.in_memory()
    searcher = build_searcher(SPACE, study, SEED, max_concurrent=2)
    propose(searcher, "a")
    propose(searcher, "b")
    assert searcher.suggest("c") is None
    number = study.num_trials
    study.record_epoch(number - 1, epoch=1, score=0.5, metrics={})
    study.finish(number - 1, TrialStatus.COMPLETED, value=0.5)
    searcher.on_trial_complete("b")
    assert propose(searcher, "c")["trial_number"] >= number


def test_a_spent_budget_ends_new_trials_but_not_unfinished_ones() -> None:
    study = RunStudy.in_memory()
    propose(build_searcher(SPACE, study, SEED))
    searcher = build_searcher(SPACE, study, SEED, may_start=lambda: False)
    number = propose(searcher, "a")["trial_number"]
    assert number == study.num_trials - 1
    assert searcher.suggest("b") is None
    study.record_epoch(number, epoch=9, score=0.5, metrics={})
    study.finish(number, TrialStatus.COMPLETED, value=0.5)
    searcher.on_trial_complete("a")
    assert searcher.suggest("b") == Searcher.FINISHED


def test_over_limit_draws_are_recorded_as_rejected_and_never_trained() -> None:
    study = RunStudy.in_memory()
    search(study, 12)
    rejected = [record for record in study.trials() if record.status is TrialStatus.REJECTED]
    sampled = [record for record in study.trials() if record.origin == "sampled"]
    assert rejected
    assert all(not record.is_within_limits and not record.scores for record in rejected)
    assert all(not record.profile and record.violations == SPACE.violations(dict(record.config)) for record in rejected)
    assert all(record.is_within_limits for record in sampled if record not in rejected)


def test_only_legal_configs_are_described() -> None:
    study = RunStudy.in_memory()
    searcher = build_searcher(SPACE, study, SEED, describe=lambda config: {"num_params": config["fixed"]})
    for index in range(15):
        propose(searcher, f"t{index}")
    profiles = {record.status: record.profile for record in study.trials()}
    assert profiles == {TrialStatus.REJECTED: {}, TrialStatus.INTERRUPTED: {"num_params": 3}}


def test_a_space_without_legal_configs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposer, "MAX_REJECTIONS_IN_A_ROW", 15)
    space = dataclasses.replace(SPACE, constraint=lambda _config: {"size": 1.0, "depth": -1.0})
    searcher = build_searcher(space, RunStudy.in_memory(), SEED)
    with pytest.raises(ValueError, match=r"15 proposals in a row broke them \(the last one: size\)"):
        searcher.suggest("t")


def test_another_seed_draws_other_configs() -> None:
    configs = [propose(build_searcher(SPACE, RunStudy.in_memory(), seed))["config"] for seed in (1, 1, 2)]
    assert configs[0] == configs[1] != configs[2]


@pytest.mark.parametrize("status", [TrialStatus.FAILED, TrialStatus.DIVERGED])
@pytest.mark.parametrize("score_before", [None, 0.9])
def test_a_bad_config_is_told_as_worse_than_any_other(status: TrialStatus, score_before: float | None) -> None:
    """The best tenth of the record is what stopped trials alone make up, near x = 1."""
    study = RunStudy.in_memory()
    space = dataclasses.replace(SPACE, constraint=None)
    for index in range(40):
        x = (index + 0.5) / 40
        params = {"x": x, "y": 0.1, "kind": "a"}
        trial = NewTrial(config=params, seed=index, params=params, distributions=space.distributions)
        number = study.add_trial(trial)
        if x < 0.9:
            if score_before is not None:
                study.record_epoch(number, epoch=1, score=score_before, metrics={})
            study.finish(number, status, error="e")
        else:
            study.record_epoch(number, epoch=1, score=0.1, metrics={})
            study.finish(number, TrialStatus.STOPPED)
    searcher = build_searcher(space, study, SEED)
    drawn = [propose(searcher, f"t{index}")["config"]["x"] for index in range(20)]
    assert sum(x > 0.6 for x in drawn) >= 15


def test_a_trial_that_was_cut_off_is_not_told_as_ended() -> None:
    study = RunStudy.in_memory()
    searcher = build_searcher(SPACE, study, SEED)
    propose(searcher, "a")
    searcher.on_trial_complete("a")
    searcher.on_trial_complete("unknown", error=True)
    assert study.trials()[-1].status is TrialStatus.INTERRUPTED


def test_its_pickle_holds_nothing_of_the_record() -> None:
    study = RunStudy.in_memory()
    search(study, 4)
    assert len(pickle.dumps(build_searcher(SPACE, study, SEED))) < 200


def test_retrainings_follow_once_the_last_trial_has_ended() -> None:
    study, events = RunStudy.in_memory(), []
    given = [dataclasses.replace(trial, profile=PROFILE) for trial in GIVEN]
    queue = RetrainQueue(SearchSettings(run_name="r", max_epochs=9, retrain_seeds=1), study, {0: given[0]})
    searcher = RunSearcher(
        build_searcher(SPACE, study, SEED, given=given, num_trials=2, max_concurrent=1), queue,
        on_search_end=lambda: events.append("search over"),
    )  # fmt: skip
    for number, score in ((0, 0.9), (1, 0.5)):
        assert propose_from(searcher, f"t{number}")["trial_number"] == number
        study.record_epoch(number, epoch=9, score=score, metrics={})
        study.finish(number, TrialStatus.COMPLETED, value=score)
        if number == 1:
            assert (searcher.suggest("early"), events) == (None, []), "a trial is still live"
        searcher.on_trial_complete(f"t{number}")
    first = propose_from(searcher, "a")
    assert events == ["search over"]
    assert first["retraining"] == "retrain:winner:0"
    assert searcher.suggest("b") is None, "the only slot is taken"
    searcher.on_trial_complete("a", error=True)
    assert propose_from(searcher, "b") == first, "its worker died before it ended"
    for key, trial_id in (("retrain:winner:0", "b"), ("retrain:seed:0", "c")):
        if trial_id == "c":
            assert propose_from(searcher, "c")["retraining"] == key
        assert queue.report(key, {"epoch": 9, "seconds": 1.0, "train_loss": 0.1, "val_score": None})
        searcher.on_trial_complete(trial_id)
    assert searcher.suggest("d") == Searcher.FINISHED
    assert events == ["search over"]


def propose_from(searcher: RunSearcher, trial_id: str) -> dict[str, Any]:
    proposed = searcher.suggest(trial_id)
    assert isinstance(proposed, dict)
    return proposed
