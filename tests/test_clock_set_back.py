"""A machine's clock that is set back while a run goes on spoils nothing that is made of the record."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from fabricated_run import add_trials, make_run
from search_worlds import search

from search.analysis.summary import write_results
from search.report.page import write_report
from search.schedulers.steering import Steering
from search.schedulers.time_budget import Budget
from search.study.ranking import rank_trials
from search.study.study import RunStudy


def turn_back(study: RunStudy) -> None:
    """As if the clock had been set back an hour at every epoch: later is earlier, and ends lie before starts."""
    study_id = study.storage.get_study_id_from_name(study.name)
    trials = study.storage.get_all_trials(study_id, deepcopy=False)
    for record, frozen in zip(study.trials(), trials, strict=True):
        if frozen.datetime_complete is not None:
            assert frozen.datetime_start is not None
            frozen.datetime_complete = frozen.datetime_start - timedelta(hours=1 + record.number)
        for epoch, metrics in record.epoch_metrics.items():
            moment = {**metrics, "recorded_at": 1_800_000_000.0 - 3600 * (10 * record.number + epoch)}
            frozen.user_attrs[f"epoch:{epoch:04d}"] = moment


def test_tables_page_winner_and_budget_do_not_mind(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 6))
    winner = rank_trials(run.records)[0].number
    turned = make_run(tmp_path / "turned", lambda study: add_trials(study, 6))
    turn_back(turned.study)
    assert rank_trials(turned.records)[0].number == winner
    write_results(turned)
    write_report(turned)
    assert (turned.trials.ended < turned.trials.started).any(), "the clock went on as usual"
    steering = Steering(num_trials=1, time_budget_s=1e6)
    budgets = [Budget(steering, held, max_epochs=9, retrain_epochs=18) for held in (run.study, turned.study)]
    assert [budget.may_start() for budget in budgets] == [True, True]


def test_a_search_decides_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, turned = RunStudy.in_memory(), RunStudy.in_memory()
    search(usual, 8)
    now = [2_000_000_000.0]

    def back() -> float:
        now[0] -= 1000.0
        return now[0]

    monkeypatch.setattr(time, "time", back)
    search(turned, 5)
    search(turned, 8)
    assert [(record.config, record.status, record.rungs) for record in turned.trials()] == [
        (record.config, record.status, record.rungs) for record in usual.trials()
    ]
