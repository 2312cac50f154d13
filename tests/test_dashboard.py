"""optuna-dashboard on a run's record: what it tells its page of trials of every state."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from fabricated_run import SPACE, add_trial, record_epoch

from model.config import SEED_CONFIG
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy

optuna_dashboard = pytest.importorskip("optuna_dashboard", reason="the extra [dashboard] is not installed")


def answer(database: Path, path: str) -> Any:
    """What the dashboard's server says, without a server."""
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": "after=0", "REQUEST_METHOD": "GET"}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    app = optuna_dashboard.wsgi(f"sqlite:///{database}")
    return json.loads(b"".join(app(environ, lambda status, headers, exc_info=None: None)))


def test_the_dashboard_reads_the_record_while_it_grows(tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    study = RunStudy.in_database(f"sqlite:///{database}", "run")
    config = SPACE.default_config() or {}
    params = {key: config[key] for key in SPACE.distributions}
    drawn = NewTrial(config=config, seed=1, params=params, distributions=SPACE.distributions)
    scores = {0: (0.25, 0.5, 0.75), 1: (0.375,), 2: (0.125, 0.5)}
    for number, curve in scores.items():
        study.add_trial(drawn) if number else add_trial(study, SEED_CONFIG.flat(), origin="seed")
        for epoch, score in enumerate(curve, 1):
            record_epoch(study, number, epoch, score, recorded_at=0.0, worker="host:1")
    study.finish(0, TrialStatus.COMPLETED, value=0.75)
    study.finish(1, TrialStatus.STOPPED)
    study.add_trial(drawn, is_rejected=True)

    (summary,) = answer(database, "/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("run", ["maximize"])
    trials = answer(database, f"/api/studies/{summary['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Pruned", "Running", "Pruned"]
    curves = [[(point["step"], point["value"]) for point in trial["intermediate_values"]] for trial in trials]
    assert curves == [*(list(enumerate(curve, 1)) for curve in scores.values()), []]
    assert trials[0]["values"] == [0.75]
    assert {param["name"] for param in trials[1]["params"]} == set(params)

    study.finish(2, TrialStatus.COMPLETED, value=0.5)  # the dashboard has not locked the record
    assert study.trial(2).status is TrialStatus.COMPLETED
