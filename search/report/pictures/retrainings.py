"""Training loss of the retrainings by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.verdict import current_retrains
from search.report.data import ReportData
from search.report.pictures.style import Figure, Picture, base_layout, safe_text, single
from search.study.retrain_record import RetrainRecord

_SENTENCE = (
    "Mean training loss of each epoch, including label smoothing. Configs smooth labels differently, so compare the "
    "shapes and not the heights."
)


def picture(data: ReportData) -> Picture | None:
    """None before the first tested retraining."""
    retrains = current_retrains(data.run.retrain_records, data.run.finals).values()
    losses = {_name(one): one.train_losses for one in retrains if one.train_losses}
    return single("retrain", "The retrainings", _SENTENCE, draw(losses), height=320) if losses else None


def draw(losses: Mapping[str, Sequence[float]]) -> Figure:
    """One line per retraining, by name."""
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": safe_text(name), "y": list(values),
            "x": list(range(1, len(values) + 1)), "marker": {"size": 5},
            "line": {"color": "--winner" if name.startswith("winner") else "--stopped", "width": 2},
        }
        for name, values in reversed(list(losses.items()))
    ]  # fmt: skip
    return {"data": traces, "layout": base_layout("epoch", "training loss")}


def _name(record: RetrainRecord) -> str:
    return record.config_name + (f", seed {record.seed_index + 1}" if record.seed_index else "")
