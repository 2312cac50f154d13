"""The report's sections on the search: curves, progress, what mattered, every stop, the workers."""

from __future__ import annotations

from collections.abc import Sequence

from search.estimates import MIN_TRIALS_FOR_IMPORTANCES, front
from search.report import plots
from search.report.data import BestSoFar, ReportData
from search.report.html import Html, element, json_data, picture, table
from search.report.plots_parallel import parallel_coordinates
from search.report.trials import TrialView
from search.text import percent

NUM_SLICES = 8
NUM_AXES = 7

_SENT_ON = ", or was sent on to the last epoch, where the rungs are checked"


def search_section(data: ReportData) -> Html:
    """Learning curves, the best so far, and the best trials."""
    scored = [trial for trial in data.trials if trial.scores]
    parts = [element("h2", "The search")]
    if not scored:
        parts.append(element("p", "No trial has finished an epoch, so there are no curves."))
        return element("section", *parts, *_failures(data), id="search")
    at_rungs = ", ".join(map(str, data.rung_epochs))
    words = "Validation accuracy after every epoch, a line for each trial; point at one to see its config. "
    words += (
        f"Dotted lines are the rungs (epoch {at_rungs}): a trial went on only if it was among the best of the trials "
        f"that had come so far, one in {data.reduction_factor}{_SENT_ON if data.scheduler == 'promotion' else ''}."
        if at_rungs
        else "There are no rungs, so no trial was stopped early."
    )
    curves = plots.learning_curves(scored, data.rung_epochs)
    parts.append(picture("curves", "Learning curves", words, curves, height=440))
    parts.append(_best_so_far(data))
    parts.append(_top_trials(data.top_trials))
    return element("section", *parts, *_failures(data), id="search")


def mattered_section(data: ReportData) -> Html:
    """Importances, parallel coordinates and slices on the scores of one epoch; accuracy against cost."""
    equal = data.equal_epoch
    intro = (
        f"All trials compared at epoch {equal.epoch}, the first at which any could be stopped: "
        f"{len(equal.trials)} have a score there, stopped ones too. Those with a config outside the space are left out."
    )
    parts: list[Html] = [element("h2", "What mattered"), element("p", intro)]
    if equal.importances:
        keys = list(equal.importances)
        words = (
            "How much each parameter sets the best quarter of the trials apart from all (PED-ANOVA); the shares of all "
            f"parameters add up to 100 %. With {len(equal.trials)} trials "
            + ("take it as a hint." if len(equal.trials) < 50 else "small shares are still uncertain.")
        )
        bars = plots.importance_bars(equal.importances, 12)
        parts.append(picture("importances", "Importance at equal epoch", words, bars, height=380))
    else:
        keys = list(data.space.parameters)
        words = (
            f"Importances need {MIN_TRIALS_FOR_IMPORTANCES} trials with differing scores at that epoch; "
            f"there are {len(equal.trials)}."
        )
        parts.append(element("div", element("h3", "Importance at equal epoch"), element("p", words), class_="panel"))
    if len(equal.trials) > 1:
        parts += [_parallel(data, keys[:NUM_AXES]), _slices(data, keys[:NUM_SLICES])]
    parts.append(_fronts(data.trials))
    return element("section", *parts, id="mattered")


def stops_section(data: ReportData) -> Html:
    """Every stop with its reason, how well the rungs foretold the end, and the timeline of the workers."""
    parts = [element("h2", "Stops and workers")]
    if data.stops:
        words = f"{len(data.stops)} trials were stopped. " + (
            "Each waited at its rung, with the score in the table, until the search ended. The cutoff is the accuracy "
            f"that took to go on: the lowest of the best one in {data.reduction_factor} of the trials there, or the "
            "best of all if time ran out or the rung held too few."
            if data.scheduler == "promotion"
            else "Each had the score in the table when it reached the rung, below the cutoff: the accuracy that the "
            f"best one in {data.reduction_factor} of the trials before it had there."
        )
        rows = [_stop_row(trial) for trial in data.stops]
        headings = ["trial", "rung (epoch)", "its score", "cutoff", "margin", "scores at the rung"]
        stops = table(headings, rows, numeric=range(6))
        parts.append(element("div", element("h3", "Every stop"), element("p", words), stops, class_="panel"))
    else:
        parts.append(element("p", "No trial was stopped early."))
    if data.rung_correlations:
        parts.append(_correlations(data))
    if data.spans:
        lanes = 1 + max(span.lane for span in data.spans)
        words = (
            f"When each trial ran, on {lanes} worker{'s' if lanes > 1 else ''} at a time; point at a bar for "
            "its trial. Gaps are starts, resumes, and waiting for work."
        )
        timeline = plots.worker_timeline(data.spans)
        parts.append(picture("timeline", "Timeline of the workers", words, timeline, height=120 + 44 * lanes))
    return element("section", *parts, id="stops")


def trial_labels(data: ReportData) -> Html:
    """What a pointer over each trial tells, once for all pictures."""
    return json_data("trial-labels", {str(trial.number): trial.label for trial in data.trials})


def _best_so_far(data: ReportData) -> Html:
    words = (
        "The best validation accuracy seen so far, the trials one after another in the order they were proposed. The "
        "band is the same trials in random order: above it good configs came early, below it late, as when the search "
        "learns."
    )
    pictures = []
    for name, curve, title in (
        ("by-epochs", data.by_epochs, "Best so far, by epochs trained"),
        ("by-time", data.by_seconds, "Best so far, by training time"),
    ):
        if curve is not None:
            unit, scale = ("epochs trained", 1.0) if name == "by-epochs" else _time_unit(curve)
            figure = plots.best_so_far(curve, unit=unit, scale=scale)
            pictures.append(picture(name, title, words, figure, height=320))
        words = "The same against the time that trials took, added up over the workers: a cheap good trial counts more."
    return element("div", *pictures, class_="pair")


def _time_unit(curve: BestSoFar) -> tuple[str, float]:
    longest = curve.costs[-1]
    if longest > 7200:
        return "hours of training", 3600
    return ("minutes of training", 60) if longest > 120 else ("seconds of training", 1)


def _top_trials(trials: Sequence[TrialView]) -> Html:
    rows = [
        [
            str(rank),
            f"{trial.number}",
            trial.origin,
            trial.status,
            percent(trial.last_score),
            str(trial.epochs_trained),
            "-" if trial.num_params is None else f"{trial.num_params:,}",
            "-" if trial.images_per_s is None else f"{trial.images_per_s:,.0f}",
        ]
        for rank, trial in enumerate(trials, start=1)
    ]
    headings = ["rank", "trial", "origin", "status", "validation accuracy", "epochs", "parameters", "images/s"]
    is_first = any(trial.is_winner for trial in trials[:1])
    words = "The first is the winner." if is_first else "The winner was chosen from the first of them on fresh seeds."
    words += " Trials that ran the full length come before those that were stopped."
    ranked = table(headings, rows, numeric=(0, 1, 4, 5, 6, 7))
    return element("div", element("h3", "The best trials"), element("p", words), ranked, class_="panel")


def _failures(data: ReportData) -> list[Html]:
    if not data.failures:
        return []
    rows = [[str(trial.number), trial.status, str(trial.epochs_trained), trial.error or ""] for trial in data.failures]
    words = f"{len(data.failures)} trials ended with an error; a diverged one reached a loss that is no number."
    failed = table(["trial", "status", "epochs", "error"], rows, numeric=(0, 2))
    return [element("div", element("h3", "Trials that went wrong"), element("p", words), failed, class_="panel")]


def _parallel(data: ReportData, keys: Sequence[str]) -> Html:
    words = (
        f"A line for each trial from its values to its accuracy at epoch {data.equal_epoch.epoch}, over the "
        f"{len(keys)} parameters that {'mattered most' if data.equal_epoch.importances else 'come first'}. "
        "Where the lines of the best run together, a value is a good choice."
    )
    figure = parallel_coordinates(data.equal_epoch, data.space, keys)
    return picture("parallel", "Parallel coordinates", words, figure, height=420)


def _slices(data: ReportData, keys: Sequence[str]) -> Html:
    equal = data.equal_epoch
    words = f"Accuracy at epoch {equal.epoch} against one parameter at a time, a point for each trial."
    plotted = []
    for index, key in enumerate(keys):
        figure = plots.slice_plot(key, data.space.parameters[key], equal.trials, equal.scores)
        label = f"Accuracy at epoch {equal.epoch} against {key}"
        plot = element(
            "div", class_="plot", id=f"plot-slice-{index}", style="height:220px", role="img", aria_label=label
        )
        plotted.append(element("div", plot, json_data(f"slice-{index}", figure)))
    caption = element("figcaption", element("h3", "Slices"), element("p", words))
    return element("figure", caption, element("div", *plotted, class_="slices"))


def _fronts(trials: Sequence[TrialView]) -> Html:
    pictures = []
    for name, title, unit, words in (
        (
            "params",
            "Accuracy against size",
            "parameters",
            "Last validation accuracy against the number of parameters. The dotted line is the front: full-length "
            "trials that no other beats in both. Trials that ended early were measured at an earlier epoch.",
        ),
        (
            "speed",
            "Accuracy against speed",
            "images a second",
            "The same against training speed as measured in the trial, on this machine beside the other trials.",
        ),
    ):
        values = {trial.number: (trial.num_params if name == "params" else trial.images_per_s) for trial in trials}
        costs = {number: float(value) for number, value in values.items() if value is not None}
        shown = [trial for trial in trials if trial.scores and trial.number in costs]
        if shown:
            full = [trial for trial in shown if trial.status == "completed"]
            sign = 1 if name == "params" else -1
            scores = [trial.last_score or 0.0 for trial in full]
            best = [full[index] for index in front([sign * costs[trial.number] for trial in full], scores)]
            figure = plots.cost_front(shown, best, costs, unit=unit)
            pictures.append(picture(name, title, words, figure, height=340))
    return element("div", *pictures, class_="pair")


def _stop_row(trial: TrialView) -> list[str]:
    stop = trial.stop
    assert stop is not None
    cutoff = "-" if stop.cutoff is None else percent(stop.cutoff)
    margin = "-" if stop.cutoff is None else f"{100 * (stop.score - stop.cutoff):+.2f} points"
    return [str(trial.number), str(stop.epoch), percent(stop.score), cutoff, margin, str(stop.num_scores)]


def _correlations(data: ReportData) -> Html:
    words = (
        f"Rank correlation (Spearman) of the scores at each rung with those at epoch {data.max_epochs}, 1 meaning the "
        "same order. Only trials that ran the full length can tell, and those are the ones that the rungs let through: "
        "over all trials it would be higher, and only an audit (--audit) could tell."
    )
    rows = [
        [str(epoch), "-" if rho is None else f"{rho:+.2f}", str(num)]
        for epoch, (rho, num) in data.rung_correlations.items()
    ]
    rungs = table(["rung (epoch)", "rank correlation with the end", "trials"], rows, numeric=(0, 1, 2))
    return element(
        "div", element("h3", "How well the rungs foretold the end"), element("p", words), rungs, class_="panel"
    )
