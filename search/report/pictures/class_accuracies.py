"""The winner's test accuracy on each class."""

from __future__ import annotations

from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, base_layout, safe_text, single
from search.report.winner import Answers

_SENTENCE = "Share of each class's test images that the winner classifies correctly, the weakest class on top."


def picture(data: ReportData) -> Picture | None:
    """None before the winner was tested."""
    if data.winner is None or data.winner.answers is None:
        return None
    answers = data.winner.answers
    return single(
        "classes", "Accuracy of each class", _SENTENCE, draw(answers), height=answers.plot_height, is_half=True
    )


def draw(answers: Answers) -> Figure:
    """One bar per class that has test images."""
    pairs = [
        (accuracy, safe_text(name))
        for accuracy, name in zip(answers.class_accuracies, answers.class_names, strict=True)
        if accuracy is not None
    ]
    pairs.sort(reverse=True)
    trace = {
        "type": "bar", "orientation": "h", "x": [accuracy for accuracy, _ in pairs], "y": [name for _, name in pairs],
        "marker": {"color": "--completed"}, "text": [f"{100 * accuracy:.1f} %" for accuracy, _ in pairs],
        "textposition": "inside", "insidetextanchor": "end", "hoverinfo": "skip",
    }  # fmt: skip
    layout = base_layout("test accuracy", "")
    layout["xaxis"] |= {"tickformat": "~%", "range": [0, 1]}
    layout["margin"]["t"] = 8
    layout["showlegend"] = False
    layout["yaxis"] |= {"type": "category", "showgrid": False}
    return {"data": [trace], "layout": layout}
