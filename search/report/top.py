"""The report's first screen: what came of the run, how surely, at what price, and the winner's config."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.verdict import ConfigResult, Gain
from search.analysis.wording import (
    HEADINGS_OF_FINALS,
    difference_cell,
    estimate_cell,
    finals_rows,
    finals_words,
    gain_interval,
    gain_note,
    interval_text,
    interval_words,
)
from search.report.data import ReportData
from search.report.html import Html, element, table
from search.report.winner import ConfigEntry
from search.text import duration, percent, points, value_text

_FIRST_RECIPE_KEY = "optimizer"


def header(data: ReportData) -> Html:
    """Name, state, verdict and warnings."""
    state = {"finished": "finished", "running": "running", "unfinished": "not finished"}[data.state]
    warnings = [element("p", element("strong", "Warning: "), warning) for warning in data.warnings]
    links = [element("a", text, href=f"#{name}") for name, text in _SECTIONS]
    return element(
        "header",
        element(
            "div",
            element("span", "convladder run ", element("strong", data.name)),
            element("span", state, class_=f"state {data.state}"),
            element("span", f"page written {data.written}"),
            class_="run",
        ),
        element("h1", data.result.verdict.replace(" %", "\u00a0%")),
        element("div", *warnings, class_="warnings", role="note") if warnings else Html(""),
        _tiles(data),
        element("nav", *links, aria_label="Sections"),
    )


_SECTIONS = (
    ("result", "Result"),
    ("search", "The search"),
    ("mattered", "What mattered"),
    ("winner", "The winner"),
    ("stops", "Stops and workers"),
    ("again", "Do it again"),
)


def result_section(data: ReportData) -> Html:
    """The comparison with the references, and the winner's config in its space."""
    parts = [element("h2", "Result")]
    winner = data.result.winner
    if winner is not None:
        parts += [_comparison([winner, *data.result.references], data.result.gains)]
    if data.winner is not None:
        parts.append(_finals(data))
        entries = data.winner.entries
        at = next((index for index, entry in enumerate(entries) if entry.key == _FIRST_RECIPE_KEY), len(entries))
        words = (
            f"The config of trial {data.winner.trial_number}. A dot shows where a value lies between the lowest and "
            "the highest that could be drawn, on the scale it is drawn on; of a choice, the chosen one is marked."
        )
        halves = element("div", _config_table(entries[:at]), _config_table(entries[at:]), class_="configs")
        parts.append(element("div", element("h3", "The winner's config"), element("p", words), halves, class_="panel"))
    if len(parts) == 1:
        parts.append(element("p", "No trial has a score yet, so there is nothing to show here."))
    return element("section", *parts, id="result")


def _tiles(data: ReportData) -> Html:
    winner, cost = data.result.winner, data.cost
    tiles: list[tuple[str, str, str]] = []
    if winner is not None:
        tiles.append(("test accuracy", percent(winner.test.mean), _accuracy_note(winner)))
        tiles += [
            (f"gain over {gain.over.title}", points(gain.difference.value), gain_note(gain))
            for gain in data.result.gains
        ]
        if data.finals.winner is not None and data.finals.winner.optimism is not None:
            optimism = data.finals.winner.optimism
            spread = "one seed: no interval" if optimism.low is None else f"95 % interval {gain_interval(optimism)}"
            note = f"score in the search minus mean on fresh seeds; {spread}"
            tiles.append(("optimism of the selection", points(optimism.value), note))
    elif data.top_trials:
        best = data.top_trials[0]
        note = f"trial {best.number}, epoch {best.epochs_trained}; chosen by this number"
        tiles.append(("validation accuracy", percent(best.last_score), note))
    if data.winner is not None:
        profile = data.winner.profile
        note = f"{profile.multiply_adds / 1e6:.1f} M multiply-adds an image, receptive field {profile.receptive_field}"
        tiles.append(("parameters", f"{profile.num_params:,}", note))
    counts = ", ".join(f"{count} {status}" for status, count in cost.statuses.items())
    saved = cost.epochs_without_stops - cost.epochs
    note = f"{cost.epochs:,} epochs in trials" + (f", early stops saved {saved:,}" if saved else "")
    tiles.append(("trials", f"{sum(cost.statuses.values()) - cost.statuses.get('rejected', 0)}", counts or "none yet"))
    tiles.append(("time of the search", duration(cost.wall_s), note))
    if winner is not None and len(tiles) % 2:
        tiles.append(("time of the retraining", duration(cost.retrain_s), "all configs, one after another"))
    return element(
        "div",
        *(_tile(name, value, note, is_lead=index == 0) for index, (name, value, note) in enumerate(tiles)),
        class_=f"tiles of-{len(tiles)}",
    )


def _tile(name: str, value: str, note: str, *, is_lead: bool) -> Html:
    return element(
        "div",
        element("div", name, class_="name"),
        element("div", value, class_="value"),
        element("div", note, class_="note"),
        class_="tile lead" if is_lead else "tile",
    )


def _accuracy_note(result: ConfigResult) -> str:
    if result.test.low is not None and result.test.high is not None:
        interval = f"{100 * result.test.low:.2f} to {percent(result.test.high)}"
        return f"mean of {result.test.n} seeds, 95 % interval {interval}; flip TTA {percent(result.test_tta.mean)}"
    note = f"one seed; with flip TTA {percent(result.test_tta.mean)}"
    if result.images_interval is not None:
        low, high = result.images_interval
        note += f"; {100 * low:.1f} to {100 * high:.1f} % by the number of test images alone"
    return note


def _comparison(results: Sequence[ConfigResult], gains: Sequence[Gain]) -> Html:
    by_name = {gain.over.name: gain for gain in gains}
    rows = []
    for result in results:
        gain = by_name.get(result.name)
        low, high = (result.test.low, result.test.high) if result.test.n > 1 else result.images_interval or (None, None)
        tta = result.test_tta
        rows.append(
            [
                result.title,
                estimate_cell(result.test),
                interval_text(low, high),
                str(result.test.n),
                estimate_cell(tta),
                interval_text(tta.low, tta.high),
                "" if gain is None else difference_cell(gain.difference),
                f"{result.num_params:,}",
                f"{result.multiply_adds / 1e6:.1f} M",
                duration(result.seconds),
            ]
        )
    headings = ["config", "test accuracy", "95 % interval", "seeds", "flip TTA", "95 % interval"]
    headings += ["winner's gain", "parameters", "multiply-adds", "training"]
    images = results[0].num_test_images
    words = (
        f"Each config trained from scratch for {results[0].epochs} epochs on all training images, validation images "
        f"included; then the test set{f' of {images:,} images' if images else ''} was opened. Accuracy of the last "
        "epoch, single view and, under flip TTA, averaged with the mirrored image. "
    )
    words += interval_words(results)
    return element(
        "div",
        element("h3", "On the test images"),
        element("p", words),
        table(headings, rows, numeric=range(1, len(headings))),
        class_="panel",
    )


def _finals(data: ReportData) -> Html:
    """The best configs on fresh seeds, or that there were no finals."""
    rows = finals_rows(data.finals)
    words = finals_words(data.finals, data.document.settings.search_examples)
    title = "On fresh seeds" if data.finals.plan.has_finals else "The optimism of the selection"
    parts: list[Html] = [element("h3", title), element("p", words)]
    if rows:
        parts.append(table(HEADINGS_OF_FINALS, rows, numeric=range(1, len(HEADINGS_OF_FINALS))))
    elif data.finals.plan.has_finals:
        parts.append(element("p", "No finalist has been retrained yet."))
    return element("div", *parts, class_="panel")


def _config_table(entries: Sequence[ConfigEntry]) -> Html:
    rows = [[element("code", entry.key), value_text(entry.value), _place(entry)] for entry in entries]
    return table(["key", "value", "place in the space"], rows)


def _place(entry: ConfigEntry) -> Html:
    if entry.choices:
        chosen = [element("b" if choice == entry.value else "span", value_text(choice)) for choice in entry.choices]
        return element("span", *(part for one in chosen for part in (one, " ")), class_="choices")
    if entry.low is None or entry.high is None:
        return element("span", "fixed", class_="fixed")
    if entry.position is None:
        text = f"outside {value_text(entry.low)} to {value_text(entry.high)}"
        return element("span", text, class_="fixed")
    dot = element("i", style=f"left:{100 * entry.position:.1f}%")
    return element(
        "span",
        element("span", value_text(entry.low)),
        element("span", dot, class_="track"),
        element("span", value_text(entry.high)),
        class_="range",
        title="logarithmic scale" if entry.is_log else "linear scale",
    )
