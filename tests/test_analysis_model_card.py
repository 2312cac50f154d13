"""The model card: what was measured, on what, and what the network is not for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fabricated_run import add_retrains, add_trials, make_run, reread

from search.analysis.model_card import card_text, write_card
from search.analysis.results import Run
from search.errors import UserError
from search.retrain.predictions import predictions_path, read_predictions
from search.text import percent

NAMES = ("plane", "car", "cat", "dog")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = make_run(tmp_path / "run", lambda study: add_trials(study, 3), class_names=NAMES)
    add_retrains(made, accuracies={"winner": 0.8, "default": 0.5}, num_images=60)
    return reread(made)


def test_the_card_has_the_test_accuracy_with_its_interval_and_the_weakest_class(run: Run) -> None:
    winner = run.result.winner
    assert winner is not None
    assert winner.images_interval is not None
    low, high = winner.images_interval
    card = card_text(run, "model.onnx", licence="Licence: MIT")
    row = next(line for line in card.splitlines() if line.startswith("| winner |"))
    assert percent(winner.test.mean) in row
    assert f"{100 * low:.2f} to {100 * high:.2f}" in row
    assert row.endswith("| 1 | 60 |")
    answers = read_predictions(predictions_path(run.run_dir, "retrain:winner:0"))
    assert answers is not None
    shares = {
        percent((answers.probabilities.argmax(1) == k)[answers.labels == k].mean()): NAMES[k] for k in range(len(NAMES))
    }
    weakest = min(shares, key=lambda text: float(text.split()[0]))
    assert f"are right: {shares[weakest]} {weakest} of " in card
    few = [name for k, name in enumerate(NAMES) if (answers.labels == k).sum() < 20]
    assert f"(fewer than 20): {', '.join(few)}." in card
    for fact in ("in this order: plane, car, cat, dog.", "f" * 64, "fell back", "32x32 pixels", run.result.verdict):
        assert fact in card
    assert "None" not in card


def test_the_licence_of_an_earlier_card_stays(run: Run, tmp_path: Path) -> None:
    exported = tmp_path / "cats.pt2"
    path = write_card(run, exported)
    assert path == tmp_path / "cats_card.md"
    text = path.read_text()
    assert "Licence: **not chosen yet.**" in text
    path.write_text(re.sub(r"^Licence: .*$", "Licence: CC BY 4.0", text.replace("80", "99"), flags=re.MULTILINE))
    write_card(run, exported)
    assert path.read_text() == text.replace(next(x for x in text.splitlines() if "Licence" in x), "Licence: CC BY 4.0")


def test_an_untested_winner_has_no_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    with pytest.raises(UserError, match=r"was not tested yet\. Resume the run"):
        card_text(run, "model.onnx", licence="")
