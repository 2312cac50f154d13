"""The tables and the summary in a run's folder."""

from __future__ import annotations

import io

import pandas as pd

from search.analysis.cost import cost_of
from search.analysis.results import Run
from search.analysis.templating import environment
from search.analysis.wording import finals_headings, finals_rows, finals_sentences, interval_sentence
from search.files import write_atomically
from search.forecast.wording import verdict
from search.setup.document import RunDocument
from search.setup.survey_text import survey_lines


def write_results(run: Run) -> None:
    """trials.csv, trials.parquet, epochs.parquet, retrains.csv and summary.md, each written atomically."""
    trials = run.trials
    write_atomically(run.run_dir / "trials.csv", trials.to_csv(index=False))
    write_atomically(run.run_dir / "trials.parquet", _parquet(trials))
    write_atomically(run.run_dir / "epochs.parquet", _parquet(run.epochs))
    write_atomically(run.run_dir / "retrains.csv", run.retrains.to_csv(index=False))
    write_atomically(run.run_dir / "summary.md", summary_text(run))


def summary_text(run: Run) -> str:
    """The result of the run as Markdown, the verdict first."""
    result, finals, document = run.result, run.finals, run.document
    cost = cost_of(run.records, run.retrain_records, run.settings.max_epochs)
    survey = document.data.survey
    results = [] if result.winner is None else [result.winner, *result.references]
    template = environment("search.analysis", autoescape=False).get_template("summary.md.j2")
    return template.render(
        settings=run.settings,
        result=result,
        results=results,
        interval_sentence=interval_sentence(results) if results else "",
        finals=finals,
        metric=run.metric,
        finals_headings=finals_headings(run.metric),
        finals_rows=finals_rows(finals, run.metric),
        finals_sentences=finals_sentences(finals, run.metric, run.settings.search_examples),
        best=finals.winner.record if finals.winner is not None else None,
        cost=cost,
        forecast_verdict=_forecast_verdict(document, cost.epochs),
        document=document,
        warnings=run.warnings,
        has_accuracy=run.metric.name != "accuracy",
        has_balanced=run.metric.name == "accuracy" and result.floor is not None and result.floor.is_imbalanced,
        survey_lines=[*([] if survey is None else survey_lines(document.data.name, survey)), *document.notes],
        data=document.data,
        hardware=document.hardware,
        packing_gain=_packing_gain(document),
    )


def _forecast_verdict(document: RunDocument, num_epochs: int) -> str | None:
    """How far the forecast was off; None once the run was extended, because the forecast was of the shorter run."""
    table = document.forecast or {}
    forecast_run = (table.get("num_trials"), table.get("actual_epochs"))
    return verdict(table) if forecast_run == (document.settings.num_trials, num_epochs) else None


def _packing_gain(document: RunDocument) -> float | None:
    """Images per second of all trials side by side, as a multiple of one alone; None if that was not measured.

    It is measured on one device, so there is none for several GPUs or the nodes of a cluster.
    """
    tried = document.measurements.get("packing", [])
    if len(tried) < 2 or not tried[0]["images_per_s"] or document.slots.gpus > 1 or document.engines:
        return None
    return float(max(row["images_per_s"] for row in tried) / tried[0]["images_per_s"])


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
