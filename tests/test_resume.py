"""A search that is killed before any write and resumed ends as the one that was never killed."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from killed import Killed
from run_documents import make_document
from search_worlds import SPACE, Rungs, search
from watched_database import before_each_commit, in_database, lose_every_commit, torn_states
from watched_storage import WatchedStorage, dies_after

from search.schedulers.asha import decide
from search.schedulers.promotion import NUM_FINALISTS
from search.schedulers.rungs import rungs_of
from search.setup.preflight import resume_problems
from search.study.ranking import rank_trials
from search.study.record import TrialStatus
from search.study.study import RunStudy

NUM_TRIALS = 18
STRIDE = 3
STRIDE_IN_DATABASE = 23
SCHEDULERS = ("asha", "promotion")
Undisturbed = tuple[Rungs, list[dict[str, Any]], list[bytes]]


def story(study: RunStudy) -> list[dict[str, Any]]:
    """Everything that a record says of its trials, but for the clock; the ranking last."""
    rows = []
    study_id = study.storage.get_study_id_from_name(study.name)
    states = [trial.state for trial in study.storage.get_all_trials(study_id, deepcopy=False)]
    for record, state in zip(study.trials(), states, strict=True):
        row = {name: value for name, value in vars(record).items() if name not in ("started", "ended", "epoch_metrics")}
        row["epoch_metrics"] = {
            epoch: {name: value for name, value in metrics.items() if name not in ("recorded_at", "repeated_s")}
            for epoch, metrics in record.epoch_metrics.items()
        }
        rows.append({**row, "state": state})
    return [*rows, {"ranking": [record.number for record in rank_trials(study.trials())]}]


@pytest.fixture(scope="module", params=SCHEDULERS)
def undisturbed(request: pytest.FixtureRequest) -> Undisturbed:
    """The settings and the story of a run that was never killed, and what a kill before each of its writes leaves."""
    rungs = Rungs(scheduler=request.param)
    storage = WatchedStorage()
    study = RunStudy(storage, "run")
    left_by_kill: list[bytes] = []
    storage.before_write = lambda: left_by_kill.append(pickle.dumps(storage))
    search(study, NUM_TRIALS, rungs=rungs)
    return rungs, story(study), left_by_kill


def test_the_search_has_every_ending(undisturbed: Undisturbed) -> None:
    trials = undisturbed[1][:-1]
    endings = {trial["status"] for trial in trials}
    assert endings == set(TrialStatus) - {TrialStatus.RUNNING, TrialStatus.INTERRUPTED}
    assert sum(trial["status"] is not TrialStatus.REJECTED for trial in trials) == NUM_TRIALS
    assert len({repr(trial["config"]) for trial in trials}) == len(trials)
    assert len({trial["seed"] for trial in trials}) == len(trials)
    is_sent = any(rung.is_sent_to_end for trial in trials for rung in trial["rungs"])
    assert is_sent == (undisturbed[0].scheduler == "promotion")


def test_a_kill_before_any_write_changes_nothing(undisturbed: Undisturbed) -> None:
    rungs, expected, left_by_kill = undisturbed
    assert len(left_by_kill) > 100
    for kill in range(0, len(left_by_kill), STRIDE):
        study = RunStudy(pickle.loads(left_by_kill[kill]), "run")
        search(study, NUM_TRIALS, rungs=rungs)
        assert story(study) == expected, f"killed before write {kill}"


@pytest.mark.parametrize("lifetime", [5, 8, 19])
def test_many_kills_in_one_run_change_nothing(undisturbed: Undisturbed, lifetime: int) -> None:
    storage = WatchedStorage()
    num_kills = _live_on(storage, NUM_TRIALS, lifetimes=iter([lifetime] * 100), rungs=undisturbed[0])
    assert num_kills > 5
    assert story(RunStudy(storage, "run")) == undisturbed[1]


@pytest.mark.parametrize("num_before", [1, 7, NUM_TRIALS])
def test_an_extended_run_is_the_longer_run(num_before: int) -> None:
    extended, longer = RunStudy.in_memory(), RunStudy.in_memory()
    search(extended, num_before)
    search(extended, NUM_TRIALS)
    search(longer, NUM_TRIALS)
    assert story(extended) == story(longer)


def test_trials_that_an_extended_promotion_stopped_stay_stopped_and_count_at_their_rungs() -> None:
    """How a search by promotion ends depends on where it ends, so an extended one is not the longer one."""
    study, rungs = RunStudy.in_memory(), Rungs(scheduler="promotion")
    search(study, 7, rungs=rungs)
    before = {row["number"]: row for row in story(study)[:-1]}
    search(study, NUM_TRIALS, rungs=rungs)
    after = story(study)[:-1]
    assert {row["number"]: row for row in after[: len(before)]} == before
    _check_whole(study, rungs)
    num_at_first = sum(1 in record.scores for record in study.trials())
    assert max(rung.num_scores for record in study.trials() for rung in record.rungs) == num_at_first


def test_a_kill_before_a_commit_to_a_database_changes_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    path, left_by_kill = tmp_path / "study.db", []
    with in_database(path) as study:
        before_each_commit(study, lambda: left_by_kill.append(path.read_bytes()))
        search(study, NUM_TRIALS, rungs=undisturbed[0])
        assert story(study) == undisturbed[1]
    assert 0 < len(left_by_kill) < len(undisturbed[2]) / 2
    for kill in range(7, len(left_by_kill), STRIDE_IN_DATABASE):
        copy = tmp_path / f"{kill}.db"
        copy.write_bytes(left_by_kill[kill])
        with in_database(copy) as study:
            search(study, NUM_TRIALS, rungs=undisturbed[0])
            assert story(study) == undisturbed[1], f"killed before commit {kill}"


@pytest.mark.parametrize("is_made", [False, True])
def test_a_server_that_is_lost_at_every_commit_changes_nothing(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    """Whether each commit `is_made` before the connection is lost, the run cannot know."""
    monkeypatch.setattr("search.study.transactions._RETRY_S", 0.0)
    with in_database(tmp_path / "study.db") as study:
        reasons = lose_every_commit(study, is_made=is_made)
        search(study, NUM_TRIALS, rungs=undisturbed[0])
        assert story(study) == undisturbed[1]
        assert story(RunStudy.in_database(f"sqlite:///{tmp_path}/study.db", "run")) == undisturbed[1]
    assert set(reasons) == {"the server is gone"}
    assert len(reasons) > NUM_TRIALS


def test_a_database_copied_while_it_is_written_is_whole_or_refused(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A copy that has some pages from before a commit and some from after it."""
    rungs, expected, _ = undisturbed
    path, left_by_kill = tmp_path / "study.db", []
    with in_database(path) as study:
        before_each_commit(study, lambda: left_by_kill.append(path.read_bytes()))
        search(study, NUM_TRIALS, rungs=rungs)
    folder = tmp_path / "copy"
    folder.mkdir(mode=0o755)
    (folder / "run.toml").write_text(make_document().to_toml())
    num_refused = num_equal = 0
    for before, after in islice(pairwise(left_by_kill), 7, None, STRIDE_IN_DATABASE):
        for torn in torn_states(before, after):
            (folder / "study.db").write_bytes(torn)
            if resume_problems(folder):
                num_refused += 1
                continue
            with in_database(folder / "study.db") as study:
                search(study, NUM_TRIALS, rungs=rungs)
                assert story(study) == expected
            num_equal += 1
    assert min(num_refused, num_equal) >= 2


@pytest.mark.parametrize("order", range(12))
def test_with_several_workers_every_stop_is_right_for_the_scores_before_it(order: int) -> None:
    storage, rungs = WatchedStorage(), Rungs()
    lifetimes = chain([5 + order] * 40, [10**6])
    _live_on(storage, NUM_TRIALS, lifetimes=lifetimes, num_workers=3, order=order)
    study = RunStudy(storage, "run")
    _check_whole(study, rungs)
    written = {(record.number, rung.epoch): rung for record in study.trials() for rung in record.rungs}
    assert written == _decisions_in_order(storage.scores, rungs)


@pytest.mark.parametrize("order", range(8))
def test_with_several_workers_the_best_of_each_rung_went_on_and_all_others_were_stopped(order: int) -> None:
    storage, rungs = WatchedStorage(), Rungs(scheduler="promotion")
    _live_on(storage, NUM_TRIALS, lifetimes=chain([5 + order] * 60, [10**6]), num_workers=3, order=order, rungs=rungs)
    study = RunStudy(storage, "run")
    _check_whole(study, rungs)
    records = study.trials()
    assert TrialStatus.COMPLETED in {record.status for record in records}
    assert sum(record.status is TrialStatus.COMPLETED for record in records) >= NUM_FINALISTS
    sent_from = {record.number: rung.epoch for record in records for rung in record.rungs if rung.is_sent_to_end}
    assert sent_from
    for epoch in rungs_of(rungs):
        scores = sorted(record.scores[epoch] for record in records if epoch in record.scores)[::-1]
        decisions = {record.number: rung for record in records for rung in record.rungs if rung.epoch == epoch}
        waited = {record.number for record in records if epoch in record.scores}
        assert set(decisions) == {number for number in waited if sent_from.get(number, epoch) >= epoch}
        num_best = len(scores) // rungs.reduction_factor
        for number, decision in decisions.items():
            assert decision.score == records[number].scores[epoch]
            assert decision.cutoff in scores
            assert decision.is_stopped == (decision.score < decision.cutoff)
            assert decision.is_stopped <= (decision.score not in scores[:num_best])


def _live_on(storage: WatchedStorage, num_trials: int, *, lifetimes: Iterator[int], **options: Any) -> int:
    """Searches in one life after the other, each so many writes long; returns how many were cut short."""
    num_kills = 0
    while True:
        storage.before_write = dies_after(next(lifetimes))
        try:
            search(RunStudy(storage, "run"), num_trials, **options)
        except Killed:
            num_kills += 1
        else:
            return num_kills


def _check_whole(study: RunStudy, rungs: Rungs) -> None:
    """No trial lost, doubled or shortened."""
    records = study.trials()
    trained = [record for record in records if record.status is not TrialStatus.REJECTED]
    assert [record.number for record in records] == list(range(len(records)))
    assert len(trained) == NUM_TRIALS
    assert TrialStatus.INTERRUPTED not in {record.status for record in records}
    assert len({repr(record.config) for record in records}) == len(records)
    for record in trained:
        assert list(record.scores) == list(range(1, record.epochs_trained + 1))
        if record.status is TrialStatus.COMPLETED:
            assert record.epochs_trained == rungs.max_epochs
        if record.status is TrialStatus.STOPPED:
            assert record.rungs[-1].is_stopped
            assert record.rungs[-1].epoch == record.epochs_trained
    assert all(set(record.params) == set(SPACE.parameters) for record in records[1:])


def _decisions_in_order(scores: list[tuple[int, int, float]], rungs: Rungs) -> dict[tuple[int, int], Any]:
    """Every decision made again from the scores in the order in which they arrived."""
    expected = {}
    for rung_epoch in rungs_of(rungs):
        earlier: list[float] = []
        for number, epoch, value in scores:
            if epoch == rung_epoch:
                expected[number, epoch] = decide(epoch, value, earlier, rungs.reduction_factor)
                earlier.append(value)
    return expected
