"""The model card beside an exported network: results with intervals, data, limits of use, and a line for a licence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from search.analysis.results import Run
from search.analysis.templating import environment
from search.analysis.wording import interval_sentence
from search.errors import UserError
from search.files import read_text, write_atomically
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.setup.run_lock import finish_advice
from search.setup.survey_text import survey_lines
from search.study.retrain_record import retrain_key
from search.text import percent

FEW_IMAGES = 20
"""Test images of a class below which its share of right answers says little: a standard error of 10 points at 70 %."""
_NUM_WEAKEST = 3
_LICENCE = "Licence: "
_NO_LICENCE = f"{_LICENCE}**not chosen yet.** Write it here; it must suit the training images as well."


def write_card(run: Run, exported: Path) -> Path:
    """Writes `<name>_card.md` beside an exported file, and keeps the licence of an earlier card there.

    UserError if the file cannot be written, the run's record cannot be read or its winner was not tested.
    """
    path = exported.with_name(f"{exported.stem}_card.md")
    text = card_text(run, exported.name, licence=_written_licence(path) or _NO_LICENCE)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from None
    return path


def card_text(run: Run, file_name: str, *, licence: str) -> str:
    """The card in Markdown. UserError as for `write_card`."""
    winner, document = run.result.winner, run.document
    if winner is None:
        raise UserError(f"the winner of {run.run_dir} was not tested yet. {finish_advice(run.run_dir)}")
    answers = read_predictions(predictions_path(run.run_dir, retrain_key("winner", 0, 0)))
    shares = {} if answers is None else _class_shares(answers, run.class_names)
    weakest = sorted(shares, key=lambda name: shares[name][0])[:_NUM_WEAKEST]
    survey = document.data.survey
    return (
        environment("search.analysis", autoescape=False)
        .get_template("model_card.md.j2")
        .render(
            run=run,
            file_name=file_name,
            licence=licence,
            document=document,
            data=document.data,
            result=run.result,
            winner=winner,
            interval_sentence=interval_sentence([winner]),
            weakest=", ".join(f"{name} {percent(shares[name][0])} of {shares[name][1]}" for name in weakest),
            few=[name for name, (_share, num_images) in shares.items() if num_images < FEW_IMAGES],
            few_limit=FEW_IMAGES,
            survey_lines=[] if survey is None else survey_lines(document.data.name, survey),
        )
    )


def _class_shares(answers: TestPredictions, class_names: Iterable[str]) -> dict[str, tuple[float, int]]:
    """By class: the share of its test images that are right, and their number; classes without images left out."""
    shares = {}
    for index, name in enumerate(class_names):
        members = answers.is_right[answers.labels == index]
        if len(members):
            shares[name] = float(np.mean(members)), len(members)
    return shares


def _written_licence(path: Path) -> str | None:
    """The line of an earlier card that names the licence."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return next((line for line in read_text(path).splitlines() if line.startswith(_LICENCE)), None)
    return None
