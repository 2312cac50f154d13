"""Random crop, mirror, rotation and cutout of a whole batch at once.

Crop, mirror and rotation each map an output pixel to a pixel of the input image. A table holds that map for every
angle, mirrored and not. Each image looks up its row, shifts it by the crop's offset, and one gather moves the batch.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.recipe import Recipe

_MAX_ANGLES = 256
_MAX_TABLE_ENTRIES = 2**22  # 16 MiB; the mirrored views take another 16 MiB


@dataclass(frozen=True)
class Draws:
    """The random choices for N images: int64 tensors (N,), one entry per image."""

    view: Tensor
    """Row of the view table: the angle's index, plus the number of angles if the image is mirrored."""
    crop_y: Tensor
    """First row of the crop in the padded image, 0..2 * crop_padding."""
    crop_x: Tensor
    """First column of the crop in the padded image."""
    cutout_y: Tensor
    """First row of the cutout in the output, 0..height - cutout_size."""
    cutout_x: Tensor
    """First column of the cutout in the output."""

    def __getitem__(self, part: slice) -> Draws:
        return Draws(self.view[part], self.crop_y[part], self.crop_x[part], self.cutout_y[part], self.cutout_x[part])


class Augmentation:
    """A recipe's augmentation for images of one size, `height` x `width` pixels.

    Every pixel equals torchvision's crop from the padded image, `hflip`, then `rotate` (nearest, fill 0) with the same
    draws. The cutout (DeVries and Taylor 2017, arXiv 1708.04552) comes after the normalisation, so its 0 is the
    mean colour. Angles come from at most 256 evenly spaced values in +-rotation_degrees: at 8 degrees on 32x32 images,
    neighbouring angles move a corner pixel by a fortieth of a pixel.
    """

    def __init__(self, recipe: Recipe, *, height: int, width: int, device: str = "cpu") -> None:
        self.height, self.width = height, width
        self.padding = recipe.crop_padding
        is_reflected = recipe.crop_border == "reflected" and recipe.crop_padding > 0
        self._reflected = [_reflected(size, recipe.crop_padding, device) for size in (height, width) if is_reflected]
        self.cutout_size = min(recipe.cutout_size, height // 2, width // 2)  # more would leave too little to see
        self.flip = recipe.flip
        self.angles = _angles(recipe.rotation_degrees, max_angles=_MAX_TABLE_ENTRIES // (height * width))
        views = _view_table(self.angles, height=height, width=width, padding=self.padding, flip=self.flip)
        self._views = views.to(device)
        # Black rows below the padded image: pixels rotated in from outside point into them, for every crop.
        self._num_rows = height + 2 * self.padding + 2 * self.padding + 1
        self._changes_pixels = self.padding > 0 or len(views) > 1
        self._device = device

    def draw(
        self, num_images: int, generator: np.random.Generator, *, mirrored: NDArray[np.int64] | None = None
    ) -> Draws:
        """Draw the choices for `num_images` images, on the CPU so that every device gets the same ones.

        mirrored: 1 for each image to mirror, else 0, if that is not to be drawn.
        """
        last_crop = 2 * self.padding
        views = generator.integers(len(self._views), size=num_images)
        if mirrored is not None and self.flip:
            views = views % len(self.angles) + len(self.angles) * mirrored
        drawn = np.stack(
            [
                views,
                generator.integers(last_crop, size=num_images, endpoint=True),
                generator.integers(last_crop, size=num_images, endpoint=True),
                generator.integers(self.height - self.cutout_size, size=num_images, endpoint=True),
                generator.integers(self.width - self.cutout_size, size=num_images, endpoint=True),
            ]
        )
        return Draws(*to_device(torch.from_numpy(drawn), self._device).unbind())

    def move_pixels(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop, mirror and rotate: uint8 (B, H, W, 3), same shape out."""
        if not self._changes_pixels:
            return images
        num_images, padded_width = len(images), self.width + 2 * self.padding
        padded = images.new_zeros(num_images, self._num_rows, padded_width, 3)
        if self._reflected:
            rows, columns = self._reflected
            padded[:, : len(rows)] = images.index_select(1, rows).index_select(2, columns)
        else:
            inside = slice(self.padding, self.padding + self.height), slice(self.padding, self.padding + self.width)
            padded[:, inside[0], inside[1]] = images
        first = torch.arange(num_images, device=images.device) * (self._num_rows * padded_width)
        first += draws.crop_y * padded_width + draws.crop_x
        source = self._views.index_select(0, draws.view).add_(first.to(self._views.dtype).unsqueeze(1))
        return padded.view(-1, 3).index_select(0, source.view(-1)).view(images.shape)

    def cut_out(self, images: Tensor, draws: Draws) -> Tensor:
        """Set one square in each image of the float batch (B, 3, H, W) to 0, in place."""
        if self.cutout_size == 0:
            return images
        rows = torch.arange(self.height, device=images.device) - draws.cutout_y.unsqueeze(1)
        columns = torch.arange(self.width, device=images.device) - draws.cutout_x.unsqueeze(1)
        in_rows = (rows >= 0) & (rows < self.cutout_size)
        in_columns = (columns >= 0) & (columns < self.cutout_size)
        return images.masked_fill_((in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1), 0)


def augment(
    images: Tensor,
    draws: Draws,
    augmentation: Augmentation,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    dtype: torch.dtype,
) -> Tensor:
    """Augment and normalise: uint8 (B, H, W, 3) to the network's input (B, 3, H, W) in `dtype`, channels_last."""
    moved = augmentation.move_pixels(images, draws)
    return augmentation.cut_out(normalise(moved, mean=mean, std=std, dtype=dtype), draws)


def normalise(
    images: Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float], dtype: torch.dtype
) -> Tensor:
    """uint8 (B, H, W, 3) to (B, 3, H, W) in `dtype`, channels_last: (pixel / 255 - mean) / std per channel."""
    num_images, height, width, _ = images.shape
    scale, offset = _scale_and_offset(mean, std, height * width, images.device)
    values = images.reshape(num_images, -1).float()
    torch.addcmul(offset, values, scale, out=values)
    return values.to(dtype).view(num_images, height, width, 3).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=8)
def _scale_and_offset(
    mean: tuple[float, float, float], std: tuple[float, float, float], num_pixels: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and offset for each value of an image with (num_pixels, 3) interleaved values.

    They are tiled over the whole image, which makes the inner loop num_pixels * 3 long instead of 3: five times faster
    on a CPU.
    """
    means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    scale = (1 / (255 * stds)).float().repeat(num_pixels)
    offset = (-means / stds).float().repeat(num_pixels)
    return scale.to(device), offset.to(device)


def to_device(tensor: Tensor, device: str) -> Tensor:
    """Copy to a GPU from pinned memory without waiting; returns the tensor itself on the CPU."""
    if device.startswith("cuda"):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _reflected(size: int, padding: int, device: str) -> Tensor:
    """int64 (size + 2 * padding,): the line of the image that each line of the padded one repeats."""
    return torch.from_numpy(np.pad(np.arange(size), padding, mode="reflect")).to(device)


def _angles(degrees: float, *, max_angles: int) -> tuple[float, ...]:
    """The midpoints of equal parts of +-degrees; only 0 if nothing rotates."""
    if degrees == 0:
        return (0.0,)
    num_angles = max(16, min(_MAX_ANGLES, max_angles))
    return tuple(degrees * ((2 * index + 1) / num_angles - 1) for index in range(num_angles))


def _view_table(angles: tuple[float, ...], *, height: int, width: int, padding: int, flip: bool) -> Tensor:
    """int32 (views, height * width): the source of each output pixel in the padded image, for crop offset (0, 0)."""
    padded_width = width + 2 * padding
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # Sources count from 1 because `_rotate` fills pixels from outside the image with 0.
    plain = _rotate((1 + rows * padded_width + columns).float(), angles)
    views = [plain, _rotate((1 + rows * padded_width + columns.flip(1)).float(), angles)] if flip else [plain]
    table = torch.cat(views).to(torch.int32).flatten(1) - 1
    return torch.where(table < 0, (height + 2 * padding) * padded_width, table)


def _rotate(image: Tensor, angles: tuple[float, ...]) -> Tensor:
    """(H, W) to (angles, H, W): counter-clockwise, nearest pixel, 0 outside, with torchvision's arithmetic."""
    height, width = image.shape
    if angles == (0.0,):
        return image.unsqueeze(0)
    turns = [math.radians(-angle) for angle in angles]
    theta = torch.tensor([[[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]] for turn in turns])
    scaled = theta.transpose(1, 2) / torch.tensor([0.5 * width, 0.5 * height])
    y = torch.arange(height) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    centred = torch.stack([x.expand(height, width), y.unsqueeze(1).expand(height, width)], dim=-1).view(1, -1, 2)
    grid = centred.expand(len(angles), -1, -1).bmm(scaled).view(-1, height, width, 2)
    batch = image.expand(len(angles), 1, height, width)
    return functional.grid_sample(batch, grid, mode="nearest", padding_mode="zeros", align_corners=False).squeeze(1)
