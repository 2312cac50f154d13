from typing import Literal

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as oracle

from model.augment import Augmentation, augment, normalise
from model.recipe import Recipe

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def random_images(num: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (num, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def moved_by_torchvision(
    image: torch.Tensor, config: Recipe, angle: float, mirror: bool, y: int, x: int
) -> torch.Tensor:
    """One uint8 (H, W, 3) image through torchvision's crop from the padded image, hflip and rotate."""
    height, width, _ = image.shape
    mode = {"black": "constant", "reflected": "reflect"}[config.crop_border]
    moved: torch.Tensor = oracle.pad(image.permute(2, 0, 1), config.crop_padding, padding_mode=mode)
    moved = oracle.crop(moved, y, x, height, width)
    if mirror:
        moved = oracle.hflip(moved)
    if config.rotation_degrees:
        moved = oracle.rotate(moved, angle)
    return moved.permute(1, 2, 0)


@pytest.mark.parametrize(
    ("padding", "border", "flip", "degrees", "size"),
    [
        (4, "black", True, 8.0, (32, 32)),
        (0, "black", False, 8.0, (32, 32)),
        (0, "black", True, 180.0, (32, 32)),
        (3, "black", True, 0.0, (32, 32)),
        (0, "black", True, 0.0, (32, 32)),
        (5, "black", False, 30.0, (17, 12)),
        (2, "reflected", True, 0.0, (32, 32)),
        (4, "reflected", True, 8.0, (17, 12)),
        (0, "reflected", True, 0.0, (17, 12)),
    ],
)
def test_moved_pixels_equal_torchvisions(
    padding: int, border: Literal["black", "reflected"], flip: bool, degrees: float, size: tuple[int, int]
) -> None:
    config = Recipe(crop_padding=padding, crop_border=border, flip=flip, rotation_degrees=degrees)
    images = random_images(300, *size)
    augmentation = Augmentation(config, height=size[0], width=size[1])
    draws = augmentation.draw(300, np.random.default_rng(3))
    moved = augmentation.move_pixels(images, draws)
    num_angles = len(augmentation.angles)
    for index in range(300):
        view, y, x = int(draws.view[index]), int(draws.crop_y[index]), int(draws.crop_x[index])
        angle = augmentation.angles[view % num_angles]
        expected = moved_by_torchvision(images[index], config, angle, view >= num_angles, y, x)
        assert torch.equal(moved[index], expected), (index, angle)


def test_every_angle_of_the_table_equals_torchvisions_rotate() -> None:
    config = Recipe(crop_padding=0, flip=False, rotation_degrees=8.0)
    augmentation = Augmentation(config, height=32, width=32)
    image = random_images(1)
    draws = augmentation.draw(256, np.random.default_rng(0))
    draws = type(draws)(torch.arange(256), draws.crop_y, draws.crop_x, draws.cutout_y, draws.cutout_x)
    moved = augmentation.move_pixels(image.expand(256, -1, -1, -1).contiguous(), draws)
    for angle, turned in zip(augmentation.angles, moved, strict=True):
        assert torch.equal(turned, oracle.rotate(image[0].permute(2, 0, 1), angle).permute(1, 2, 0)), angle


def test_draws_cover_their_ranges_evenly() -> None:
    config = Recipe(crop_padding=2, flip=True, rotation_degrees=10.0, cutout_size=8)
    augmentation = Augmentation(config, height=32, width=32)
    draws = augmentation.draw(20_000, np.random.default_rng(0))
    assert set(draws.crop_y.tolist()) == set(draws.crop_x.tolist()) == {0, 1, 2, 3, 4}
    assert (int(draws.cutout_y.min()), int(draws.cutout_y.max())) == (0, 24)
    num_angles = len(augmentation.angles)
    assert abs((draws.view >= num_angles).double().mean() - 0.5) < 0.02
    angles = torch.tensor(augmentation.angles)[draws.view % num_angles]
    assert -10 < angles.min() < -9.9
    assert 9.9 < angles.max() < 10
    assert abs(angles.std() - 10 / 3**0.5) < 0.1


def test_cutout_sets_one_square_to_the_mean_colour() -> None:
    augmentation = Augmentation(Recipe(crop_padding=0, flip=False, cutout_size=5), height=16, width=12)
    draws = augmentation.draw(40, np.random.default_rng(0))
    images = augmentation.cut_out(torch.ones(40, 3, 16, 12), draws)
    for index, image in enumerate(images):
        expected = torch.ones(3, 16, 12)
        y, x = int(draws.cutout_y[index]), int(draws.cutout_x[index])
        expected[:, y : y + 5, x : x + 5] = 0
        assert torch.equal(image, expected)


def test_cutout_takes_at_most_half_of_the_shorter_side() -> None:
    augmentation = Augmentation(Recipe(cutout_size=40), height=16, width=12)
    images = augmentation.cut_out(torch.ones(5, 3, 16, 12), augmentation.draw(5, np.random.default_rng(0)))
    assert images.sum((1, 2, 3)).tolist() == [3 * (16 * 12 - 6 * 6)] * 5


@pytest.mark.parametrize("size", [(32, 32), (7, 5)])
def test_normalise_equals_torchvisions(size: tuple[int, int]) -> None:
    images = random_images(6, *size)
    expected = oracle.normalize(images.permute(0, 3, 1, 2).float() / 255, MEAN, STD)
    values = normalise(images, mean=MEAN, std=STD, dtype=torch.float32)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)
    assert values.is_contiguous(memory_format=torch.channels_last)


def test_augment_returns_the_networks_input() -> None:
    config = Recipe(crop_padding=4, rotation_degrees=8.0, cutout_size=4)
    augmentation = Augmentation(config, height=32, width=32)
    images = random_images(10)
    draws = augmentation.draw(10, np.random.default_rng(0))
    batch = augment(images, draws, augmentation, mean=MEAN, std=STD, dtype=torch.bfloat16)
    assert batch.shape == (10, 3, 32, 32)
    assert batch.dtype == torch.bfloat16
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, random_images(10)), "the shared images must stay as they are"


def test_augmenting_a_part_equals_the_part_of_the_whole() -> None:
    augmentation = Augmentation(Recipe(rotation_degrees=8.0), height=32, width=32)
    images, draws = random_images(20), augmentation.draw(20, np.random.default_rng(0))
    whole = augmentation.move_pixels(images, draws)
    assert torch.equal(augmentation.move_pixels(images[5:9], draws[5:9]), whole[5:9])


def test_large_images_take_fewer_angles_not_more_memory() -> None:
    augmentation = Augmentation(Recipe(rotation_degrees=8.0), height=224, width=224)
    assert len(augmentation.angles) == 83


def test_a_border_wider_than_the_image_is_reflected_again_and_again() -> None:
    images = torch.arange(3, dtype=torch.uint8).view(1, 1, 3, 1).expand(1, 2, 3, 3).contiguous()
    augmentation = Augmentation(Recipe(crop_padding=5, crop_border="reflected", flip=False), height=2, width=3)
    draws = augmentation.draw(1, np.random.default_rng(0))
    first = type(draws)(*(torch.zeros(1, dtype=torch.int64) for _ in range(5)))
    # 1 2 1 0 1 | 0 1 2 | 1 0 1 2 1
    assert augmentation.move_pixels(images, first)[0, 0, :, 0].tolist() == [1, 0, 1]
