"""The report's panel on the audit of early stopping."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.wording import audit_sentences
from search.report.html import Html, element, table
from search.report.trials import TrialView
from search.schedulers.audit import AuditReport
from search.study.record import RungDecision
from search.text import percent


def audit_panel(report: AuditReport, trials: Sequence[TrialView]) -> Html:
    """What the stops cost and saved, by rung, and each trial that went on past its stop."""
    words = " ".join(audit_sentences(report))
    parts: list[Html] = [element("h3", "Audit of early stopping"), element("p", words)]
    if report.rungs:
        parts += [element("p", _RUNG_WORDS), _rungs(report)]
    audited = [trial for trial in trials if trial.audit is not None]
    if audited:
        parts += [element("p", "The trials that went on past their stop; they could not win."), _trials(audited)]
    return element("div", *parts, class_="panel")


_RUNG_WORDS = (
    "Rank correlation (Spearman) of the scores at each rung with those at the end, 1 meaning the same order, over all "
    "trials that reached the end: those that the rungs let through, and the audited ones, of whom there are fewer than "
    "were stopped."
)


def _rungs(report: AuditReport) -> Html:
    headings = ["rung (epoch)", "rank correlation with the end", "trials", "stopped", "epochs saved", "audited"]
    headings.append("ended above all let through")
    rows = [
        [
            str(rung.epoch),
            "-" if rung.correlation is None else f"{rung.correlation:+.2f}",
            str(rung.num_trials),
            str(rung.num_stopped),
            str(rung.epochs_saved),
            str(rung.num_audited),
            str(rung.num_missed),
        ]
        for rung in report.rungs
    ]
    return table(headings, rows, numeric=range(len(headings)))


def _trials(audited: Sequence[TrialView]) -> Html:
    rows = [_trial_row(trial, trial.audit) for trial in audited if trial.audit is not None]
    headings = ["trial", "rung (epoch)", "its score", "cutoff", "status", "epochs", "last accuracy"]
    return table(headings, rows, numeric=(0, 1, 2, 3, 5, 6))


def _trial_row(trial: TrialView, stop: RungDecision) -> list[str]:
    return [
        str(trial.number),
        str(stop.epoch),
        percent(stop.score),
        "-" if stop.cutoff is None else percent(stop.cutoff),
        trial.status,
        str(trial.epochs_trained),
        percent(trial.last_score),
    ]
