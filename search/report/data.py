"""The contents of a report as plain values, computed from a run; the pictures and the templates show them."""

from __future__ import annotations

import base64
import dataclasses
import datetime
from collections import Counter
from dataclasses import dataclass

import numpy as np

from search.analysis.cost import Cost, cost_of
from search.analysis.importances import EqualEpoch, equal_epoch
from search.analysis.results import Run
from search.analysis.rung_quality import RungQuality, rung_qualities
from search.analysis.tables import stop_of
from search.report.winner import Winner, describe_winner
from search.schedulers.rungs import reduction_factor_of, rungs_of
from search.study.ranking import rank_trials
from search.study.record import RungDecision, TrialRecord, TrialStatus

NUM_TOP_TRIALS = 10


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The whole page."""

    run: Run
    state: str
    """running, finished (the winner was retrained) or unfinished."""
    steering: str | None
    """What people asked for and that holds now, in words; None once the run has ended."""
    written: str
    warnings: list[str]
    cost: Cost
    winner: Winner | None
    winner_number: int | None
    """The winning trial, or the best so far; None while no trial has a score."""
    trials: list[TrialRecord]
    """All trials but the rejected ones, by number."""
    top_trials: list[TrialRecord]
    rungs: list[RungQuality]
    reduction_factor: int
    equal_epoch: EqualEpoch

    @property
    def stops(self) -> list[tuple[TrialRecord, RungDecision]]:
        """The stopped trials, each with the decision that stopped it."""
        return [(trial, stop) for trial in self.trials if (stop := stop_of(trial)) is not None]

    @property
    def blind_rungs(self) -> dict[int, int]:
        """How many trials went on from a rung because no score there was above chance, by the rung's epoch."""
        return dict(
            sorted(Counter(rung.epoch for trial in self.trials for rung in trial.rungs if rung.is_at_chance).items())
        )

    @property
    def failures(self) -> list[TrialRecord]:
        return [trial for trial in self.trials if trial.error is not None]

    @property
    def keys_by_importance(self) -> list[str]:
        """The searched keys, the most important first; without importances, in the space's order."""
        return list(self.equal_epoch.importances or self.run.space.parameters)

    @property
    def trials_csv_uri(self) -> str:
        """trials.csv as a data URI."""
        text = self.run.trials.to_csv(index=False)
        return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def report_data(run: Run, *, is_running: bool = False) -> ReportData:
    """The contents of a run's page, at any moment of the run and however it ended."""
    settings = run.settings
    best = run.finals.winner.record if run.finals.winner is not None else None
    # The record does not know whether a process is running; ranking treats open trials as interrupted.
    shown = [_as_running(record) for record in run.records] if is_running else run.records
    trials = [record for record in shown if record.status is not TrialStatus.REJECTED]
    by_number = {trial.number: trial for trial in trials}
    finished = run.result.winner is not None
    return ReportData(
        run=run,
        state="running" if is_running else "finished" if finished else "unfinished",
        steering=None if finished and not is_running else run.steering,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        warnings=[*run.warnings, *_limit_warnings(best)],
        cost=cost_of(shown, run.retrain_records, settings.max_epochs),
        winner=describe_winner(run, best) if best is not None else None,
        winner_number=best.number if best is not None else None,
        trials=trials,
        top_trials=[by_number[record.number] for record in rank_trials(run.records)[:NUM_TOP_TRIALS]],
        rungs=rung_qualities(run.records, rungs_of(settings), settings.max_epochs),
        reduction_factor=reduction_factor_of(settings),
        equal_epoch=equal_epoch(
            trials,
            settings.grace_period,
            run.space,
            chance_level=run.metric.chance_level(np.array(run.document.data.val_counts)),
        ),
    )


def _as_running(record: TrialRecord) -> TrialRecord:
    is_open = record.status is TrialStatus.INTERRUPTED
    return dataclasses.replace(record, status=TrialStatus.RUNNING) if is_open else record


def _limit_warnings(best: TrialRecord | None) -> list[str]:
    if best is None or best.is_within_limits:
        return []
    return ["no trial within the limits has a score; the best one breaks them"]
