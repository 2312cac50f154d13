"""A run's numbers in words, the same in the summary and on the page; pure."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.verdict import ConfigResult, Gain
from search.estimates import Difference, Estimate
from search.study.finals import Finals
from search.text import percent

FINALS_HEADINGS = (
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
    """A difference and its interval in a table, in points."""
    value = f"{100 * difference.value:+.2f}"
    return value if difference.low is None else f"{value} ({gain_interval(difference)})"


def estimate_cell(estimate: Estimate) -> str:
    """A mean and its standard deviation in a table."""
    return percent(estimate.mean) + ("" if estimate.std is None else f" (std {100 * estimate.std:.2f})")


def accuracy_interval(result: ConfigResult) -> str:
    """The 95 % interval of a config's test accuracy: over seeds, or over the test images with a single seed."""
    low, high = (result.test.low, result.test.high) if result.test.n > 1 else result.images_interval or (None, None)
    return interval_text(low, high)


def gain_note(gain: Gain) -> str:
    """The uncertainty of a gain."""
    if gain.difference.low is None:
        return "no interval: one seed a side" if gain.has_one_seed else "no interval: fewer than two seeds on a side"
    source = "over seeds" if gain.is_over_seeds else "over the test images, one seed each"
    return f"95 % interval {gain_interval(gain.difference)} {source}"


def interval_sentence(results: Sequence[ConfigResult]) -> str:
    """The source of the intervals of the test accuracies."""
    if results[0].test.n == 1:
        return "With one seed the interval covers only the choice of test images; another seed may differ by more."
    return "Intervals are Student's, over retrain seeds."


def finals_rows(finals: Finals) -> list[list[str]]:
    """A row for each finalist, under FINALS_HEADINGS; empty before the first retraining on a fresh seed."""
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


def finals_sentences(finals: Finals, search_examples: int | None) -> str:
    """How the winner was chosen, and the meaning of the optimism."""
    if not finals.plan.has_finals:
        return (
            "The search's own score is optimistic, because it picked the winner. This run did not measure by how much: "
            "that takes retraining on fresh seeds without the validation images (--retrain-top, --retrain-seeds). "
            "Unless asked for, a run does so only if all retrainings cost no more than the search."
        )
    plan = finals.plan
    words = (
        f"The best configs of the search ({plan.num_top}), trained from scratch on fresh seeds ({plan.num_seeds} each) "
        "without the validation images. The best mean wins. Scores are validation accuracies of the last epoch, single "
        "view. Optimism is the score in the search minus the mean on fresh seeds. The validation mean picked the "
        "winner, so it is slightly optimistic; the test accuracy is not."
    )
    if search_examples is not None:
        words += (
            f" Trials trained on {search_examples:,} images, finalists on the whole training split, so the difference "
            "also contains the effect of more images."
        )
    return words
