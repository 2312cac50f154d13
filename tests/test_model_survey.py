"""What a run says of its images before it begins: counts, copies, contrast, and every broken file of both splits."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import RANDOM, encode_png, load_train, random_image, survey, write_classes, write_mode, write_splits
from PIL import Image

from model.data import DataError
from model.duplicates import count_near, count_repeated, find_shared
from model.test_check import TestCounts
from search.setup.survey_text import class_lines, survey_lines, survey_warnings


def warning(folder: Path, words: str, **options: Any) -> str:
    """The warning that contains some words."""
    (found,) = [line for line in survey_warnings(survey(folder, **options)) if words in line]
    return found


def test_a_clean_folder_is_counted_and_warns_of_nothing(tmp_path: Path) -> None:
    write_splits(tmp_path)
    found = survey(tmp_path)
    assert (found.train, found.test, found.val) == ({"cat": 4, "dog": 4}, {"cat": 4, "dog": 4}, {})
    assert (found.sizes, found.modes) == ({"8x8": 16}, {"RGB": 16})
    assert survey_warnings(found) == []
    first, sizes = survey_lines("x", found)
    assert first == "read x: 8 training and 8 test images of 2 classes, 4 training images each"
    assert sizes == f"sizes: 16 8x8; modes: 16 RGB; largest class 50.00 %, contrast {found.contrast:.2f}"
    assert class_lines(found) == ["  cat: 4 training, 4 test images", "  dog: 4 training, 4 test images"]


def test_contrast_is_the_deviation_of_all_pixels(tmp_path: Path) -> None:
    write_splits(tmp_path)
    assert survey(tmp_path).contrast == pytest.approx((load_train(tmp_path).examples.images / 255).std())


def test_broken_files_of_both_splits_are_all_named_at_once(tmp_path: Path) -> None:
    write_splits(tmp_path)
    broken = {
        "train/cat/aa.png": b"garbage",
        "train/dog/bb.jpg": b"",
        "test/cat/cc.png": (tmp_path / "test/cat/00.png").read_bytes()[:60],
        "test/dog/dd.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        survey(tmp_path)
    lines = str(caught.value).splitlines()
    for name in broken:
        assert any(f"{name} cannot be read as an image (" in line for line in lines), name
    assert lines.count("2 images cannot be read. To leave them out: --skip-unreadable.") == 1
    assert any("bb.jpg" in line and "it is empty" in line for line in lines)
    assert any("dd.jpg" in line and "Git LFS pointer" in line for line in lines)
    found = survey(tmp_path, skip_unreadable=True)
    assert (found.train, found.test) == ({"cat": 4, "dog": 4}, {"cat": 4, "dog": 4})
    assert len(found.unreadable) == 4
    assert "4 unreadable images were left out, the first: " in warning(tmp_path, "left out", skip_unreadable=True)


def test_a_single_broken_file_is_one_image(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "train" / "cat" / "aa.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        survey(tmp_path)
    assert str(caught.value).splitlines()[-1] == "1 image cannot be read. To leave it out: --skip-unreadable."
    left_out = warning(tmp_path, "left out", skip_unreadable=True)
    assert left_out.startswith("1 unreadable image was left out: ")
    assert "aa.png" in left_out


def test_images_left_out_do_not_shift_the_labels(tmp_path: Path) -> None:
    write_splits(tmp_path)
    whole = load_train(tmp_path).examples
    (tmp_path / "train" / "cat" / "01.png").write_bytes(b"x")
    part = load_train(tmp_path, skip_unreadable=True).examples
    assert part.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert np.array_equal(part.images, np.delete(whole.images, 1, axis=0))


def test_a_class_whose_images_are_all_broken_is_refused_even_when_they_are_left_out(tmp_path: Path) -> None:
    write_splits(tmp_path)
    for path in (tmp_path / "test" / "dog").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match=r"class dog \(label 1\) has 0 test images"):
        survey(tmp_path, skip_unreadable=True)


def test_the_check_of_the_test_images_gives_out_counts_and_a_digest_only() -> None:
    kinds = {field.name: field.type for field in dataclasses.fields(TestCounts)}
    assert set(kinds.values()) == {"Mapping[str, int]", "Mapping[str, str]", "int", "int | None", "str"}


def test_copies_across_splits_are_counted(tmp_path: Path) -> None:
    write_splits(tmp_path)
    shutil.copy(tmp_path / "train" / "cat" / "00.png", tmp_path / "test" / "cat" / "copy.png")
    shutil.copy(tmp_path / "train" / "dog" / "00.png", tmp_path / "test" / "cat" / "wrong.png")
    shutil.copy(tmp_path / "train" / "dog" / "00.png", tmp_path / "train" / "cat" / "wrong.png")
    found = survey(tmp_path)
    assert (found.test_copies, found.num_repeated, found.num_contradicting) == (2, 1, 1)
    assert "2 of 10 test images are training images, pixel for pixel" in warning(tmp_path, "test images")
    assert "1 of 9 training images repeat another one" in warning(tmp_path, "repeat")


def test_copies_in_the_own_validation_split_are_counted(tmp_path: Path) -> None:
    write_splits(tmp_path)
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    assert survey(tmp_path).val_copies == 8


def test_photographs_saved_again_are_near_copies(tmp_path: Path) -> None:
    write_splits(tmp_path)
    smooth = np.asarray(Image.fromarray(random_image(6)).resize((48, 48), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "train" / "cat" / "photo.png")
    Image.fromarray(smooth).save(tmp_path / "test" / "cat" / "again.jpg", quality=85)
    found = survey(tmp_path, image_size=32)
    assert (found.test_copies, found.near_test_copies) == (0, 1)


def test_near_copies_against_a_loop() -> None:
    images = RANDOM.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    noise = RANDOM.integers(-3, 4, (10, 16, 16, 3))
    others = np.clip(images[:10].astype(int) + noise, 0, 255).astype(np.uint8)
    cells = [part.reshape(-1, 8, 2, 8, 2, 3).mean(axis=(2, 4, 5)) for part in (images / 1.0, others / 1.0)]
    near = sum(any(np.sqrt(((one - two) ** 2).mean()) <= 2 for two in cells[1]) for one in cells[0])
    assert count_near(images, others) == near == 10
    assert count_near(np.full_like(images, 9), others) == 0


def test_repeated_and_shared_images_are_those_with_equal_pixels() -> None:
    images = RANDOM.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    images[3], images[5] = images[0], images[0]
    assert count_repeated(images, np.array([0, 1, 1, 0, 1, 1])) == (2, 1)
    assert find_shared(images, images[:2]).tolist() == [True, True, False, True, False, True]


def test_the_largest_classs_share_is_warned_of(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_classes(tmp_path / split, {"cat": 9, "dog": 2, "wolf": 2})
    assert "class cat has 69.23 % of the training images" in warning(tmp_path, "class cat")
    for split in ("train", "test"):
        write_classes(tmp_path / "two" / split, {"cat": 7, "dog": 2})
    assert "class cat has 77.78 %" in warning(tmp_path / "two", "class cat")
    write_classes(tmp_path / "fair" / "train", {"cat": 8, "dog": 4, "wolf": 2})
    write_classes(tmp_path / "fair" / "test", {"cat": 1, "dog": 1, "wolf": 1})
    assert survey_warnings(survey(tmp_path / "fair")) == []


def test_uneven_classes_and_other_shares_in_the_test_are_warned_of(tmp_path: Path) -> None:
    sizes = {"cat": 30, "dog": 3, "elk": 30, "fox": 3}
    write_classes(tmp_path / "train", sizes)
    write_classes(tmp_path / "test", dict.fromkeys(sizes, 10))
    found = warning(tmp_path, "class cat has 30 training images and class fox only 3")
    assert "--metric balanced_accuracy --class-weights balanced" in found
    assert "of class cat they are 45.45 % and 25.00 %" in warning(tmp_path, "shares differ")
    write_classes(tmp_path / "same" / "train", sizes)
    write_classes(tmp_path / "same" / "test", {name: count // 3 for name, count in sizes.items()})
    assert len(survey_warnings(survey(tmp_path / "same"))) == 1


def test_images_without_contrast_are_warned_of(tmp_path: Path) -> None:
    # 12-bit numbers in 16-bit files: divided by 256, they are nearly black.
    dark = [Image.fromarray(RANDOM.integers(0, 4096, (8, 8)).astype(np.uint16)) for _ in range(4)]
    write_mode(tmp_path, dark)
    assert "almost no contrast: their pixels differ by 4." in warning(tmp_path, "contrast")
    write_mode(tmp_path / "white", [Image.new("RGB", (8, 8), (255, 255, 255))] * 3)
    assert "differ by 0.0 of 255" in warning(tmp_path / "white", "contrast")
    assert "12 of 12 images are of a single colour" in warning(tmp_path / "white", "single colour")


def test_sizes_and_modes_are_counted_before_resizing(tmp_path: Path) -> None:
    write_splits(tmp_path)
    for index in range(10):
        (tmp_path / "train" / "cat" / f"{index}x.png").write_bytes(encode_png(random_image(20 + index)))
    found = survey(tmp_path, image_size=16)
    assert found.sizes == {"8x8": 16} | {f"{20 + index}x{20 + index}": 1 for index in range(7)} | {"other": 3}
