"""The importance of each parameter, as bars."""

from __future__ import annotations

from collections.abc import Mapping

from model.metrics import Metric
from search.analysis.importances import MIN_TRIALS_FOR_IMPORTANCES, EqualEpoch
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, base_layout, safe_text, single
from search.text import score_text

_TITLE = "Importance at equal epoch"
NUM_BARS = 12
ENOUGH_TRIALS = 50


def picture(data: ReportData) -> Picture:
    """The bars, or why the scores at that epoch cannot tell."""
    equal = data.equal_epoch
    if not equal.importances:
        return Picture(_TITLE, _why_none(equal, data.run.metric, data.run.document.data.num_val))
    hint = "Treat it as a hint." if len(equal.trials) < ENOUGH_TRIALS else "Small shares are still uncertain."
    sentence = (
        "How much each parameter distinguishes the best quarter of the trials from all trials (PED-ANOVA). The shares "
        f"of all parameters sum to 100 %. Based on {len(equal.trials)} trials. {hint}"
    )
    return single("importances", _TITLE, sentence, draw(equal.importances), height=380)


def draw(shares: Mapping[str, float]) -> Figure:
    """The largest shares, the largest on top."""
    names = list(shares)[:NUM_BARS][::-1]
    values = [shares[name] for name in names]
    trace = {
        "type": "bar", "orientation": "h", "x": values, "y": [safe_text(name) for name in names],
        "marker": {"color": "--winner"}, "text": [f"{100 * value:.0f} %" for value in values],
        "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip",
    }  # fmt: skip
    layout = base_layout("share", "")
    layout["xaxis"] |= {"tickformat": "~%", "rangemode": "tozero"}
    layout["yaxis"] |= {"showgrid": False}
    layout["margin"] |= {"r": 48, "t": 8}
    layout["showlegend"] = False
    return {"data": [trace], "layout": layout}


def _why_none(equal: EqualEpoch, metric: Metric, num_val: int) -> str:
    if equal.is_telling:
        return f"All {len(equal.trials)} trials have the same score at epoch {equal.epoch}, so no parameter stands out."
    return (
        f"At epoch {equal.epoch}, {equal.num_above_chance} of {len(equal.trials)} trials score above chance level: "
        f"better than {score_text(metric, equal.chance_level)}, three standard errors above guessing (at most halfway "
        f"to the best score) with {num_val:,} validation images. It takes {MIN_TRIALS_FOR_IMPORTANCES} such trials to "
        "tell which parameters matter, so importances, parallel coordinates and slices are left out."
    )
