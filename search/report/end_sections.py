"""The report's sections on the winner's network and on how to repeat the run."""

from __future__ import annotations

import base64

from search.report import plots_winner
from search.report.data import ReportData
from search.report.html import Html, element, joined, picture, table
from search.report.winner import Answers, Winner


def winner_section(data: ReportData) -> Html:
    """Retraining, answers to the test images, layers."""
    winner = data.winner
    parts = [element("h2", "The winner")]
    if winner is None:
        parts.append(element("p", "There is no winner: no trial has a score."))
        return element("section", *parts, id="winner")
    if winner.answers is not None:
        parts += _answers(winner.answers)
    elif data.result.winner is None:
        parts.append(element("p", "It has not been retrained yet; its answers to the test images come after that."))
    if winner.retrain_losses:
        words = "Mean training loss of each epoch, label smoothing included. Configs smooth labels differently, so "
        words += "compare the shapes rather than the heights."
        curves = plots_winner.retrain_curves(winner.retrain_losses)
        parts.append(picture("retrain", "The retrainings", words, curves, height=320))
    parts.append(_layers(winner))
    return element("section", *parts, id="winner")


def again_section(data: ReportData) -> Html:
    """The command, the data, the machine, the versions, and the table to download."""
    document = data.document
    images, hardware, engine = document.data, document.hardware, document.engine
    facts = {
        "seed": str(document.settings.seed),
        "data": f"{images.name}: {images.num_train:,} training and {images.num_val:,} validation images of "
        f"{images.image_size}x{images.image_size} in the search, {len(images.class_names)} classes",
        "images, sha256": element("code", images.fingerprint),
        "split, sha256": element("code", images.split_hash),
        "machine": f"{hardware.processor}, {hardware.cpu_cores} cores, {hardware.memory_gib} GiB, "
        f"GPUs: {', '.join(hardware.gpus) or 'none'}; {hardware.system}",
        "engine": f"{engine.device}, {engine.precision}; {document.slots.num_concurrent} trials at a time",
        "versions": ", ".join(f"{name} {version}" for name, version in document.versions.items()),
        "started": document.created,
    }
    listed = joined(part for name, value in facts.items() for part in (element("dt", name), element("dd", value)))
    encoded = base64.b64encode(data.trials_csv.encode()).decode()
    download = element(
        "a", f"{data.name}-trials.csv", href=f"data:text/csv;base64,{encoded}", download=f"{data.name}-trials.csv"
    )
    return element(
        "section",
        element("h2", "Do it again"),
        element(
            "div",
            element("h3", "The command"),
            element("pre", document.command),
            element("p", "Every trial with its config, scores, stop and cost, one row each: ", download),
            element("dl", listed),
            class_="panel",
        ),
        id="again",
    )


def _answers(answers: Answers) -> list[Html]:
    num_classes = len(answers.class_names)
    confusion_words = (
        "A row for each labelled class, a column for each predicted one: numbers of test images, coloured by their "
        "part of the row. What lies off the diagonal was confused."
    )
    bar_words = "The part of each class's test images that was got right, the weakest class on top."
    tall = max(300, 90 + 30 * num_classes) if num_classes <= 30 else 640
    parts = [
        element(
            "div",
            picture("confusion", "Confusion matrix", confusion_words, plots_winner.confusion_map(answers), height=tall),
            picture("classes", "Accuracy of each class", bar_words, plots_winner.class_bars(answers), height=tall),
            class_="pair",
        )
    ]
    if answers.mistakes:
        words = "Test images that were got wrong with the highest probability, the surest first."
        parts.append(
            element("div", element("h3", "Most surely wrong"), element("p", words), _mistakes(answers), class_="panel")
        )
    return parts


def _mistakes(answers: Answers) -> Html:
    items = []
    for mistake in answers.mistakes:
        source = f"data:image/png;base64,{base64.b64encode(mistake.png).decode()}"
        text = f"test image {mistake.index}: labelled {mistake.label}, taken for {mistake.predicted}"
        words = element(
            "div",
            f"{mistake.predicted} {100 * mistake.confidence:.0f} %",
            element("span", f"is {mistake.label}"),
        )
        items.append(element("li", element("img", src=source, alt=text, title=text), words))
    return element("ul", *items, class_="mistakes")


def _layers(winner: Winner) -> Html:
    profile = winner.profile
    rows = [
        [
            element("code", layer.name),
            layer.description,
            "x".join(map(str, layer.output_shape)),
            f"{layer.num_params:,}" if layer.num_params else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        ]
        for layer in profile.layers
    ]
    words = (
        f"{profile.num_params:,} parameters, {profile.multiply_adds:,} multiply-adds an image, a receptive field of "
        f"{profile.receptive_field} pixels; {profile.num_max_pools} max-pools, {profile.num_depthwise_separable} "
        f"depthwise-separable and {profile.num_dilated} dilated convolutions."
    )
    headings = ["layer", "what it is", "output", "parameters", "multiply-adds"]
    layers = table(headings, rows, numeric=(2, 3, 4))
    return element("div", element("h3", "Layers"), element("p", words), layers, class_="panel")
