"""The report's pictures of the winner: plotly figures as plain dicts, made from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.report.plot_style import Figure, Trace, as_lists, base_layout, safe_text
from search.report.winner import Answers


def confusion_map(answers: Answers) -> Figure:
    """Counts by labelled and predicted class, coloured by their part of the labelled class."""
    names = [safe_text(name) for name in answers.class_names]
    totals = answers.confusion.sum(axis=1, keepdims=True).clip(min=1)
    trace: Trace = {
        "type": "heatmap", "x": names, "y": names, "z": as_lists(answers.confusion / totals), "zmin": 0, "zmax": 1,
        "customdata": as_lists(answers.confusion), "colorscale": [[0, "--heat-0"], [0.2, "--heat-1"], [1, "--heat-2"]],
        "showscale": False, "xgap": 1, "ygap": 1,
        "hovertemplate": "%{y} taken for %{x}: %{customdata} images, %{z:.1%}<extra></extra>",
    }  # fmt: skip
    if len(names) <= 12:
        trace |= {"text": as_lists(answers.confusion), "texttemplate": "%{text}"}
    layout = base_layout("predicted", "labelled")
    layout["margin"]["t"] = 8
    layout["xaxis"] |= {"type": "category", "showgrid": False, "side": "bottom", "automargin": True}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed", "automargin": True}
    return {"data": [trace], "layout": layout}


def class_bars(answers: Answers) -> Figure:
    """Test accuracy of each class, the weakest on top."""
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
    layout = base_layout("part of the class that was got right", "")
    layout["xaxis"] |= {"tickformat": "~%", "range": [0, 1]}
    layout["margin"]["t"] = 8
    layout["showlegend"] = False
    layout["yaxis"] |= {"type": "category", "automargin": True, "showgrid": False}
    return {"data": [trace], "layout": layout}


def retrain_curves(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Training loss by epoch, a line a retraining."""
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": safe_text(name), "y": list(values),
            "x": list(range(1, len(values) + 1)), "marker": {"size": 5},
            "line": {"color": "--winner" if name.startswith("winner") else "--stopped", "width": 2},
        }
        for name, values in reversed(list(losses.items()))
    ]  # fmt: skip
    return {"data": traces, "layout": base_layout("epoch", "training loss")}
