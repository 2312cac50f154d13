"""Reads the images of a run; says what was read in a few lines, and what in it is suspicious."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from model.data import TrainingData
from model.survey import ImageSurvey, load_and_survey
from search.settings import SearchSettings
from search.text import percent

MIN_CONTRAST = 0.03
"""Standard deviation of all pixels, of 1, below which images are nearly of one colour."""
MAX_BLANK_SHARE = 0.1
SUSPICIOUS = ("dangling links", "without a suffix", "with an unknown suffix")
"""Reasons why a file was passed over that the user may not know of."""


ReadImages = tuple[TrainingData, ImageSurvey]
"""The training images, and the survey of all splits."""


def read_images(settings: SearchSettings) -> ReadImages:
    """The training images that the settings name, and the survey of all splits. DataError names all problems."""
    return load_and_survey(
        settings.dataset,
        image_size=settings.image_size,
        seed=settings.seed,
        data_dir=settings.data_dir,
        skip_unreadable=settings.skip_unreadable,
    )


def read_and_say(settings: SearchSettings, say: Callable[[str], None]) -> ReadImages:
    """As `read_images`; says what was read."""
    data, survey = read_images(settings)
    for line in survey_lines(data.name, survey):
        say(line)
    return data, survey


def survey_lines(name: str, survey: ImageSurvey) -> list[str]:
    """The survey in two or three lines for the screen."""
    counts = [f"{sum(survey.train.values()):,} training"]
    if survey.val:
        counts.append(f"{sum(survey.val.values()):,} validation")
    lines = [
        f"read {name}: {' and '.join(counts)} and {sum(survey.test.values()):,} test images of {len(survey.train)} "
        f"classes, {_fewest_and_most(survey.train)}"
    ]
    facts = f"largest class {percent(survey.largest_share)}, contrast {survey.contrast:.2f}"
    if survey.sizes:
        facts = f"sizes: {_listed(survey.sizes)}; modes: {_listed(survey.modes)}; {facts}"
    lines.append(facts)
    if survey.passed_over:
        lines.append(f"passed over: {_listed(survey.passed_over)}")
    return lines


def class_lines(survey: ImageSurvey) -> list[str]:
    """A line for each class with its images in every split."""
    return [
        f"  {name}: {survey.train[name]:,} training, "
        f"{f'{survey.val[name]:,} validation, ' if survey.val else ''}{survey.test[name]:,} test images"
        for name in survey.train
    ]


def survey_warnings(survey: ImageSurvey) -> list[str]:
    """One line for each thing that should be known before trusting a result."""
    return [*_reading_warnings(survey), *_class_warnings(survey), *_copy_warnings(survey)]


def is_imbalanced(classes: Mapping[str, int]) -> bool:
    """Whether the largest class has twice its fair share of the images or, with few classes, three quarters."""
    fair = 1 / len(classes)
    return max(classes.values()) > min(2 * fair, (1 + fair) / 2) * sum(classes.values())


def _reading_warnings(survey: ImageSurvey) -> Iterator[str]:
    num_images = sum(sum(classes.values()) for classes in (survey.train, survey.val, survey.test))
    if survey.unreadable:
        name, reason = next(iter(survey.unreadable.items()))
        num = len(survey.unreadable)
        which = "1 unreadable image was left out" if num == 1 else f"{num:,} unreadable images were left out, the first"
        yield f"{which}: {name} ({reason})"
    suspicious = {reason: count for reason, count in survey.passed_over.items() if reason.startswith(SUSPICIOUS)}
    if sum(suspicious.values()) > 0:
        yield f"files in the class folders were not read: {_listed(suspicious)}"
    if survey.contrast < MIN_CONTRAST:
        yield (
            f"the images have almost no contrast: their pixels differ by {255 * survey.contrast:.1f} of 255 (standard "
            "deviation). Look at some of them as the network sees them; 16-bit images are divided by 256"
        )
    if survey.num_blank > MAX_BLANK_SHARE * num_images:
        yield f"{survey.num_blank:,} of {num_images:,} images are of a single colour"


def _class_warnings(survey: ImageSurvey) -> Iterator[str]:
    if is_imbalanced(survey.train):
        largest = max(survey.train, key=lambda name: survey.train[name])
        yield (
            f"class {largest} has {percent(survey.largest_share)} of the training images: always answering it would "
            "score as much accuracy, so judge by another --metric, and see --class-weights"
        )


def _copy_warnings(survey: ImageSurvey) -> Iterator[str]:
    num_test = sum(survey.test.values())
    if survey.test_copies:
        yield (
            f"{survey.test_copies:,} of {num_test:,} test images are training images, pixel for pixel: the test "
            "accuracy will be too high"
        )
    if survey.near_test_copies:
        yield f"{survey.near_test_copies:,} of {num_test:,} test images are nearly equal to a training image"
    if survey.val_copies:
        yield f"{survey.val_copies:,} of {sum(survey.val.values()):,} validation images are training images"
    if survey.num_repeated:
        other = f", {survey.num_contradicting:,} of them under another class" if survey.num_contradicting else ""
        yield (
            f"{survey.num_repeated:,} of {sum(survey.train.values()) + sum(survey.val.values()):,} training images "
            f"repeat another one, pixel for pixel{other}; copies may lie on both sides of the validation split"
        )


def _fewest_and_most(classes: Mapping[str, int]) -> str:
    fewest, most = min(classes.values()), max(classes.values())
    return f"{fewest:,} training images each" if fewest == most else f"{fewest:,} to {most:,} training images each"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
