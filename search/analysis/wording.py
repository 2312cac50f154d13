"""A run's numbers in words, the same for the summary and for the page; pure."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.verdict import ConfigResult, Gain
from search.estimates import Difference, Estimate
from search.schedulers.audit import ENOUGH_CORRELATION, MIN_AUDITED, MIN_TRIALS, AuditReport
from search.schedulers.done import Done
from search.study.finals import Finals
from search.text import percent

HEADINGS_OF_FINALS = (
    "trial",
    "score in the search",
    "mean on fresh seeds",
    "std",
    "95 % interval",
    "seeds",
    "optimism, points",
)


def done_words(done: Done) -> str:
    """Why the search ended before all its trials."""
    return (
        f"The search was done after {done.num_started} of {done.num_trials} trials (--stop-when-done): the last half "
        f"of its training had won {100 * done.gain:.2g} points of validation accuracy, less than the noise of "
        f"{100 * done.noise:.2g}. That saved about {done.epochs_saved} epochs."
    )


def interval_text(low: float | None, high: float | None) -> str:
    """The 95 % interval of an accuracy, in percent."""
    return "-" if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"


def gain_interval(difference: Difference) -> str:
    """The 95 % interval of a difference, in points."""
    if difference.low is None or difference.high is None:
        return "-"
    return f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"


def difference_cell(difference: Difference) -> str:
    """A difference and its interval as a table has them, in points."""
    value = f"{100 * difference.value:+.2f}"
    return value if difference.low is None else f"{value} ({gain_interval(difference)})"


def estimate_cell(estimate: Estimate) -> str:
    """A mean and its standard deviation as a table has them."""
    return percent(estimate.mean) + ("" if estimate.std is None else f" (std {100 * estimate.std:.2f})")


def gain_note(gain: Gain) -> str:
    """How surely a gain is one."""
    if gain.difference.low is None:
        return "no interval: one seed a side" if gain.has_one_seed else "no interval: fewer than two seeds on a side"
    source = "over seeds" if gain.is_over_seeds else "over the test images, one seed each"
    return f"95 % interval {gain_interval(gain.difference)} {source}"


def interval_words(results: Sequence[ConfigResult]) -> str:
    """What the intervals of the test accuracies are of."""
    if results[0].test.n == 1:
        return (
            "With one seed the interval tells only how far the number may be off because the test images are finitely "
            "many; another seed may differ by more."
        )
    return "The interval is Student's, over retrain seeds."


def finals_rows(finals: Finals) -> list[list[str]]:
    """A row for each finalist, under HEADINGS_OF_FINALS; empty where nothing was retrained on fresh seeds."""
    rows = []
    for one in finals.finalists:
        fresh, optimism = one.fresh, one.optimism
        if fresh is None or optimism is None:
            continue
        is_winner = finals.is_over and one is finals.winner
        rows.append(
            [
                f"{one.record.number}{', the winner' if is_winner else ''}",
                percent(one.search_score),
                percent(fresh.mean),
                "-" if fresh.std is None else f"{100 * fresh.std:.2f}",
                interval_text(fresh.low, fresh.high),
                str(fresh.n),
                difference_cell(optimism),
            ]
        )
    return rows


def finals_words(finals: Finals, search_examples: int | None) -> str:
    """How the winner was chosen, and what the optimism is."""
    if not finals.plan.has_finals:
        return (
            "How much the search's own score flatters its choice was not measured: that takes retraining on fresh "
            "seeds with the validation images held out (--retrain-top, --retrain-seeds)."
        )
    words = (
        "The best configs of the search, trained from scratch on fresh seeds with the validation images held out; the "
        "best mean wins. Validation accuracies of the last epoch, single view. The optimism of the selection is the "
        "score in the search minus that mean. The winner's mean was chosen by, too, so it still flatters a little; the "
        "test accuracy does not."
    )
    if search_examples is not None:
        words += (
            f" Trials trained on {search_examples:,} images and finalists on the whole training split, so more images "
            "and fresh seeds are mixed in these differences."
        )
    return words


def audit_sentences(report: AuditReport) -> list[str]:
    """What the audit of early stopping found, or that there is too little to say."""
    if not report.num_audited:
        return [
            f"The audit let no trial go on past its stop and reach the end ({report.num_stopped} were stopped), so "
            "there is nothing to say of what the stops cost."
        ]
    sentences = [
        f"{_trials(report.num_audited)} about to be stopped went on to the end for the audit, at a price of "
        f"{report.epochs_spent} epochs; {report.num_stopped} were stopped, which saved {report.epochs_saved} epochs."
    ]
    if report.lost_accuracy is None:
        sentences.append("Not one of them can be compared with a trial that the rungs let through.")
    elif report.lost_accuracy > 0:
        sentences.append(
            f"{report.num_missed} of them ended above every trial that the rungs let through, the best by "
            f"{100 * report.lost_accuracy:.2f} points: that is what stopping would have cost."
        )
    else:
        sentences.append(
            "Not one of them ended above the best trial that the rungs let through: as far as they tell, stopping cost "
            "no accuracy."
        )
    return [*sentences, _grace_period_sentence(report)]


def _grace_period_sentence(report: AuditReport) -> str:
    if not report.is_enough:
        return (
            f"That is too little to judge the rungs by: it takes {MIN_TRIALS} trials with an end, {MIN_AUDITED} of "
            f"them audited, and there are {report.num_whole} and {report.num_audited}."
        )
    if report.suggested_grace_period is None:
        return (
            f"No epoch's scores foretell the end well (rank correlation {ENOUGH_CORRELATION} or more), so no grace "
            "period can be suggested."
        )
    return (
        f"From epoch {report.suggested_grace_period} on the scores foretell the end (rank correlation "
        f"{ENOUGH_CORRELATION} or more), which suggests --grace-period {report.suggested_grace_period}."
    )


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
