"""A run's numbers in words, the same for the summary and for the page; pure."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.verdict import ConfigResult, Gain
from search.estimates import Difference, Estimate
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
