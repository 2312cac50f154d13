"""Reads the images of a run; says what was read in a few lines, and what in it is suspicious."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from model.data import TrainingData
from model.survey import ImageSurvey, load_and_survey
from search.settings import SearchSettings
from search.text import percent

MIN_CONTRAST = 0.03
"""Standard deviation of all pixels, of 1, below which images are nearly of one colour."""
MAX_BLANK_SHARE = 0.1
MAX_CLASS_RATIO = 5
"""Largest class over smallest, in training images, above which accuracy hides the small classes."""
MAX_SHARE_SHIFT = 0.1
"""Fraction of the test images that would have to change their class for the shares to be those of training."""
SUSPICIOUS = ("dangling links", "without a suffix", "with an unknown suffix")
"""Reasons why a file was passed over that the user may not know of."""
_ADVICE = "judge by the balanced accuracy: --metric balanced_accuracy --class-weights balanced"


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


def accuracy_misleads(survey: ImageSurvey) -> bool:
    """Whether the classes' sizes make the accuracy say little, so that the balanced accuracy belongs beside it."""
    return is_imbalanced(survey.train) or is_imbalanced(survey.test) or _are_uneven(survey) or _is_shifted(survey)


def _are_uneven(survey: ImageSurvey) -> bool:
    return max(survey.train.values()) > MAX_CLASS_RATIO * min(survey.train.values())


def _is_shifted(survey: ImageSurvey) -> bool:
    """Whether the classes' shares differ between training and test by more than the choice of the images explains."""
    train, test = _shares(survey.train), _shares(survey.test)
    num_train, num_test = sum(survey.train.values()), sum(survey.test.values())
    shift = sum(abs(test[name] - share) for name, share in train.items()) / 2
    # The mean of |x| is sqrt(2 / pi) of the standard deviation of a normal x.
    deviations = (math.sqrt(share * (1 - share) * (1 / num_train + 1 / num_test)) for share in train.values())
    return shift - sum(deviations) / math.sqrt(2 * math.pi) > MAX_SHARE_SHIFT


def _shares(classes: Mapping[str, int]) -> dict[str, float]:
    num_images = sum(classes.values())
    return {name: count / num_images for name, count in classes.items()}


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
    by_size = sorted(survey.train, key=lambda name: survey.train[name], reverse=True)
    largest, smallest = by_size[0], by_size[-1]
    if is_imbalanced(survey.train):
        yield (
            f"class {largest} has {percent(survey.largest_share)} of the training images: always answering it would "
            f"score as much accuracy, so {_ADVICE}"
        )
    elif _are_uneven(survey):
        yield (
            f"class {largest} has {survey.train[largest]:,} training images and class {smallest} only "
            f"{survey.train[smallest]:,}: accuracy hides the small classes, so {_ADVICE}"
        )
    if _is_shifted(survey):
        train, test = _shares(survey.train), _shares(survey.test)
        name = max(train, key=lambda name: abs(test[name] - train[name]))
        yield (
            f"the classes' shares differ between training and test images: of class {name} they are "
            f"{percent(train[name])} and {percent(test[name])}. The accuracy in the search is no forecast of that in "
            f"the test, so {_ADVICE}"
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
