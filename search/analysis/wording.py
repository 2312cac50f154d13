"""A run's numbers in words, the same in the summary and on the page; pure."""

from __future__ import annotations

from collections.abc import Sequence

from model.metrics import Metric
from search.analysis.verdict import ConfigResult, Gain
from search.estimates import Difference, Estimate
from search.study.finals import Finals
from search.text import bare_number, score_text


def finals_headings(metric: Metric) -> tuple[str, ...]:
    """The columns of `finals_rows`."""
    in_search, unit = f"{metric.title} in the search", ", points" if metric.is_percent else ""
    return ("trial", in_search, "mean on fresh seeds", "std", "95 % interval", "seeds", f"optimism{unit}")


def interval_text(metric: Metric, low: float | None, high: float | None) -> str:
    """The 95 % interval of a score, as the metric's own values."""
    if low is None or high is None:
        return "-"
    first, last = sorted((metric.value(low), metric.value(high)))
    return f"{bare_number(metric, first)} to {bare_number(metric, last)}"


def gain_interval(difference: Difference, metric: Metric) -> str:
    """The 95 % interval of a gain."""
    if difference.low is None or difference.high is None:
        return "-"
    return f"{bare_number(metric, difference.low, '+')} to {bare_number(metric, difference.high, '+')}"


def difference_cell(difference: Difference, metric: Metric) -> str:
    """A gain and its interval in a table."""
    value = bare_number(metric, difference.value, "+")
    return value if difference.low is None else f"{value} ({gain_interval(difference, metric)})"


def estimate_cell(estimate: Estimate, metric: Metric) -> str:
    """A mean and its standard deviation in a table."""
    deviation = "" if estimate.std is None else f" (std {bare_number(metric, estimate.std)})"
    return score_text(metric, estimate.mean) + deviation


def score_interval(result: ConfigResult) -> str:
    """The 95 % interval of a config's test score: over seeds, or over the test images with a single seed."""
    low, high = (result.test.low, result.test.high) if result.test.n > 1 else result.images_interval or (None, None)
    return interval_text(result.metric, low, high)


def gain_note(gain: Gain) -> str:
    """The uncertainty of a gain."""
    if gain.difference.low is None:
        return "no interval: one seed a side" if gain.has_one_seed else "no interval: fewer than two seeds on a side"
    source = "over seeds" if gain.is_over_seeds else "over the test images, one seed each"
    return f"95 % interval {gain_interval(gain.difference, gain.over.metric)} {source}"


def interval_sentence(results: Sequence[ConfigResult]) -> str:
    """The source of the intervals of the test scores."""
    if results[0].test.n == 1:
        return "With one seed the interval covers only the choice of test images; another seed may differ by more."
    return "Intervals are Student's, over retrain seeds."


def finals_rows(finals: Finals, metric: Metric) -> list[list[str]]:
    """A row for each finalist, under `finals_headings`; empty before the first retraining on a fresh seed."""
    rows = []
    for one in finals.finalists:
        fresh, optimism = one.fresh, one.optimism
        if fresh is None or optimism is None:
            continue
        is_winner = finals.is_over and one is finals.winner
        rows.append(
            [
                f"{one.record.number}{', the winner' if is_winner else ''}",
                score_text(metric, one.search_score),
                score_text(metric, fresh.mean),
                "-" if fresh.std is None else bare_number(metric, fresh.std),
                interval_text(metric, fresh.low, fresh.high),
                str(fresh.n),
                difference_cell(optimism, metric),
            ]
        )
    return rows


def finals_sentences(finals: Finals, metric: Metric, search_examples: int | None) -> str:
    """How the winner was chosen, and the meaning of the optimism."""
    if not finals.plan.has_finals:
        return (
            "The search's own score is optimistic, because it picked the winner. This run did not measure by how much: "
            "that takes retraining on fresh seeds without the validation images (--retrain-top 2 or more). "
            "Unless asked for, a run does so only if all retrainings cost no more than the search."
        )
    plan = finals.plan
    words = (
        f"The best configs of the search ({plan.num_top}), trained from scratch on fresh seeds ({plan.num_seeds} each) "
        "without the validation images. The best mean wins. Scores are the validation "
        f"{metric.title} of the last epoch, single view. Optimism is how much better the score in the search is than "
        "the mean on fresh seeds. The validation mean picked the winner, so it is slightly optimistic; the test "
        f"{metric.title} is not."
    )
    if search_examples is not None:
        words += (
            f" Trials trained on {search_examples:,} images, finalists on the whole training split, so the difference "
            "also contains the effect of more images."
        )
    return words
