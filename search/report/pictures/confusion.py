"""The confusion matrix of the winner on the test images."""

from __future__ import annotations

from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, Trace, as_lists, base_layout, safe_text, single
from search.report.winner import Answers

MAX_CLASSES_WITH_TEXT = 12
_SENTENCE = (
    "One row per true class, one column per predicted class: numbers of test images, coloured by their share of the "
    "row. Off the diagonal are the mistakes."
)


def picture(data: ReportData) -> Picture | None:
    """None before the winner was tested."""
    if data.winner is None or data.winner.answers is None:
        return None
    answers = data.winner.answers
    return single("confusion", "Confusion matrix", _SENTENCE, draw(answers), height=answers.plot_height, is_half=True)


def draw(answers: Answers) -> Figure:
    """Counts by true and predicted class, coloured by their share of the true class."""
    names = [safe_text(name) for name in answers.class_names]
    totals = answers.confusion.sum(axis=1, keepdims=True).clip(min=1)
    trace: Trace = {
        "type": "heatmap", "x": names, "y": names, "z": as_lists(answers.confusion / totals), "zmin": 0, "zmax": 1,
        "customdata": as_lists(answers.confusion), "colorscale": [[0, "--heat-0"], [0.2, "--heat-1"], [1, "--heat-2"]],
        "showscale": False, "xgap": 1, "ygap": 1,
        "hovertemplate": "%{y} predicted as %{x}: %{customdata} images, %{z:.1%}<extra></extra>",
    }  # fmt: skip
    if len(names) <= MAX_CLASSES_WITH_TEXT:
        trace |= {"text": as_lists(answers.confusion), "texttemplate": "%{text}"}
    layout = base_layout("predicted", "true class")
    layout["margin"]["t"] = 8
    layout["xaxis"] |= {"type": "category", "showgrid": False, "side": "bottom", "automargin": True}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed"}
    return {"data": [trace], "layout": layout}
