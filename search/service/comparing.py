"""Two to five runs side by side, from the comparisons of each with the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.analysis.compare import compare_runs
from search.analysis.compared_sections import NOTHING
from search.analysis.results import Run
from search.report.pictures.style import metric_layout, safe_text, values_of

MAX_COMPARED = 5
_COLOURS = ("--completed", "--winner", "--running", "--diverged", "--failed")
_ALWAYS_SHOWN = ("result", "cost")


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """Names, a sentence for each run after the first, and sections of rows: a name and a value for each run."""
    pairs = [compare_runs(runs[0], other) for other in runs[1:]]
    sections = []
    for index, section in enumerate(pairs[0].sections):
        found = [{row.name: row.values for row in pair.sections[index].rows} for pair in pairs]
        rows = []
        for name in dict.fromkeys(key for rows_of_pair in found for key in rows_of_pair):
            first = next(rows_of_pair[name][0] for rows_of_pair in found if name in rows_of_pair)
            # A row that is missing where only differences are shown is as in the first run.
            missing = NOTHING if section.title in _ALWAYS_SHOWN else first
            values = [first, *(one[name][1] if name in one else missing for one in found)]
            rows.append({"name": name, "values": values, "differs": len(set(values)) > 1})
        sections.append({"title": section.title, "rows": rows})
    names = [run.run_dir.name for run in runs]
    return {"names": names, "verdicts": [pair.verdict for pair in pairs], "sections": sections}


def curves(runs: Sequence[Run]) -> dict[str, Any]:
    """The best validation result so far of all runs of the first's metric, as the page's script draws it."""
    from search.analysis.best_so_far import best_so_far

    traces, metric = [], runs[0].metric
    for run, colour in zip(runs, _COLOURS, strict=False):
        curve = best_so_far(run.records)
        if curve is not None and run.metric is metric:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": curve.costs,
                    "y": values_of(metric, curve.scores),
                    "name": safe_text(run.run_dir.name),
                    "line": {"color": colour, "width": 2.5, "shape": "hv"},
                }
            )
    layout = metric_layout(metric, "epochs trained in all trials", "best")
    return {"labels": {}, "figures": {"both": {"data": traces, "layout": layout}}}
