"""What the report says and shows, as plain values worked out from a run; no HTML and no drawing."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.analysis.best_so_far import OrderBand, TrialCurve, best_so_far, random_orders
from search.analysis.results import Run
from search.analysis.verdict import Result, current_retrains, run_result
from search.estimates import importances, rung_correlations
from search.report.trials import TrialView, WorkerSpan, trial_views, worker_spans
from search.report.winner import Winner, describe_winner
from search.schedulers.rungs import reduction_factor_of, rungs_of
from search.setup.document import RunDocument
from search.space.space import SearchSpace
from search.study.finals import Finals, RetrainPlan, finals_of
from search.study.ranking import rank_trials
from search.study.record import TrialRecord, TrialStatus

NUM_TOP_TRIALS = 10


@dataclass(frozen=True, kw_only=True)
class BestSoFar:
    """The best validation accuracy against one kind of cost, with the same trials in random order."""

    costs: list[float]
    best: list[float]
    band: OrderBand


@dataclass(frozen=True, kw_only=True)
class EqualEpoch:
    """All trials compared at the first epoch that every one of them reaches."""

    epoch: int
    trials: list[TrialView]
    """Those that have a score there and whose values all lie in the space."""
    scores: list[float]
    importances: dict[str, float]
    """Shares that add up to 1, largest first; empty for too few trials."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the run took. Epochs and seconds of trials are added up over the workers."""

    statuses: dict[str, int]
    epochs: int
    epochs_without_stops: int
    """Had every trial that trained gone the full length."""
    trial_s: float
    retrain_s: float
    wall_s: float
    """From the first trial's start to the last trial's end, pauses between resumed parts included."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The whole page."""

    name: str
    state: str
    """running, finished (the winner was retrained) or unfinished."""
    written: str
    result: Result
    finals: Finals
    warnings: list[str]
    cost: Cost
    winner: Winner | None
    trials: list[TrialView]
    top_trials: list[TrialView]
    stops: list[TrialView]
    failures: list[TrialView]
    rung_epochs: tuple[int, ...]
    rung_correlations: dict[int, tuple[float | None, int]]
    """Of the trials that trained the full length: rung epoch -> rank correlation with the end, and how many."""
    max_epochs: int
    scheduler: str
    """asha or promotion."""
    reduction_factor: int
    by_epochs: BestSoFar | None
    by_seconds: BestSoFar | None
    equal_epoch: EqualEpoch
    space: SearchSpace
    spans: list[WorkerSpan]
    document: RunDocument
    trials_csv: str


def report_data(run: Run, *, is_running: bool = False) -> ReportData:
    """Everything that the page of a run needs; works at any moment of a run and however it ended."""
    # Trials without an end count as interrupted here, so that the best so far may be one that still runs.
    records = run.study.trials()
    settings = run.settings
    space = run.space
    ranked = rank_trials(records)
    retrained = run.study.retrains()
    finals = finals_of(records, retrained, RetrainPlan.of(run.settings))
    best = finals.winner.record if finals.winner is not None else None
    retrains = current_retrains(retrained, finals)
    shown = [_as_running(record) for record in records] if is_running else records
    views = trial_views(shown, searched=tuple(space.parameters), winner=best.number if best else None)
    by_number = {view.number: view for view in views}
    rungs = rungs_of(run.settings)
    result = run_result(run.run_dir, records, retrained, finals)
    finished = result.winner is not None
    return ReportData(
        name=settings.run_name,
        state="finished" if finished else "running" if is_running else "unfinished",
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        result=result,
        warnings=[*run.document.warnings, *_own_warnings(best)],
        finals=finals,
        cost=_cost(shown, sum(one.seconds for one in retrained), settings.max_epochs),
        winner=describe_winner(run.run_dir, run.document, best, space, retrains) if best else None,
        trials=views,
        top_trials=[by_number[record.number] for record in ranked[:NUM_TOP_TRIALS]],
        stops=[view for view in views if view.stop is not None],
        failures=[view for view in views if view.error is not None],
        rung_epochs=rungs,
        rung_correlations=rung_correlations([record.val_accuracies for record in records], rungs, settings.max_epochs),
        max_epochs=settings.max_epochs,
        scheduler=run.settings.scheduler,
        reduction_factor=reduction_factor_of(settings),
        by_epochs=_best_so_far(records, None, settings.seed),
        by_seconds=_best_so_far(records, "seconds", settings.seed),
        equal_epoch=_equal_epoch(views, settings.grace_period, space),
        space=space,
        spans=worker_spans(shown),
        document=run.document,
        trials_csv=run.trials.to_csv(index=False),
    )


def _as_running(record: TrialRecord) -> TrialRecord:
    is_open = record.status is TrialStatus.INTERRUPTED
    return dataclasses.replace(record, status=TrialStatus.RUNNING) if is_open else record


def _own_warnings(best: TrialRecord | None) -> list[str]:
    if best is None or best.is_within_limits:
        return []
    return ["no trial within the limits has a score; the best one is over them"]


def _cost(records: Sequence[TrialRecord], retrain_s: float, max_epochs: int) -> Cost:
    counts = {status.value: sum(record.status is status for record in records) for status in TrialStatus}
    moments = [
        metrics["recorded_at"] - at_start * metrics["seconds"]
        for record in records
        for metrics in record.epoch_metrics.values()
        if "seconds" in metrics
        for at_start in (0, 1)
    ]
    trained = [record for record in records if record.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)]
    return Cost(
        statuses={status: count for status, count in counts.items() if count},
        epochs=sum(record.epochs_trained for record in records),
        epochs_without_stops=sum(record.epochs_trained for record in records)
        + sum(max_epochs - record.epochs_trained for record in trained),
        trial_s=sum(metrics.get("seconds", 0.0) for record in records for metrics in record.epoch_metrics.values()),
        retrain_s=retrain_s,
        wall_s=max(moments) - min(moments) if moments else 0.0,
    )


def _best_so_far(records: Sequence[TrialRecord], cost_key: str | None, seed: int) -> BestSoFar | None:
    """Against epochs where `cost_key` is None, else against that metric. None while no epoch has ended."""
    curves = [
        TrialCurve(
            costs=np.array([_epoch_cost(record, epoch, cost_key) for epoch in record.val_accuracies]),
            scores=np.array(list(record.val_accuracies.values())),
        )
        for record in records
        if record.val_accuracies
    ]
    if not curves:
        return None
    costs, best = best_so_far(curves)
    return BestSoFar(costs=costs.tolist(), best=best.tolist(), band=random_orders(curves, seed=seed))


def _epoch_cost(record: TrialRecord, epoch: int, key: str | None) -> float:
    return 1.0 if key is None else float(record.epoch_metrics.get(epoch, {}).get(key, 0.0))


def _equal_epoch(views: Sequence[TrialView], epoch: int, space: SearchSpace) -> EqualEpoch:
    trials = [
        view
        for view in views
        if epoch in view.scores
        and all(parameter.allows(view.config[key]) for key, parameter in space.parameters.items())
    ]
    scores = [view.scores[epoch] for view in trials]
    params = [{key: view.config[key] for key in space.parameters} for view in trials]
    shares = importances(params, scores, space.distributions)
    return EqualEpoch(epoch=epoch, trials=trials, scores=scores, importances=shares)
