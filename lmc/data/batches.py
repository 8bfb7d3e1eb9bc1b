"""Normalisation, augmentation and batch order as tensor operations on the images' device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmc.precision import double

CROP_PADDING = 4


@dataclass(frozen=True)
class Normaliser:
    """uint8 images to float32 with the training set's mean and deviation per channel removed.

    Args:
        scale: float32 (C, 1, 1).
        shift: float32 (C, 1, 1); output = image * scale + shift.
    """

    scale: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, images: Tensor) -> Normaliser:
        """Statistics of uint8 ``images`` (N, C, H, W); a constant channel is only centred."""
        channels = images.shape[1]
        counts = double(torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(channels)]))
        values = torch.arange(256, dtype=torch.float64, device=counts.device)
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ values
        deviation = ((values - mean[:, None]).square() * share).sum(1).sqrt()
        deviation = torch.where(deviation > 0, deviation, torch.full_like(deviation, 255.0))
        scale, shift = (each.float().view(channels, 1, 1) for each in (1 / deviation, -mean / deviation))
        return cls(scale.to(images.device), shift.to(images.device))

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 (N, C, H, W) to float32 of the same shape and memory format."""
        return images.to(torch.float32).mul_(self.scale).add_(self.shift)


def epoch_order(size: int, generator: torch.Generator) -> Tensor:
    """A random order of ``size`` images, drawn on the CPU so that it is the same on every device."""
    return torch.randperm(size, generator=generator)


def random_crops(size: int, generator: torch.Generator) -> Tensor:
    """How `augment` is to change ``size`` images, drawn on the CPU so that it is the same on every device.

    Returns:
        uint8 (size, 3): the crop's first row and column in the padded image, and whether the image is flipped.
    """
    shifts = torch.randint(0, 2 * CROP_PADDING + 1, (2, size), generator=generator)
    flips = torch.randint(0, 2, (1, size), generator=generator)
    return torch.cat([shifts, flips]).T.to(torch.uint8)


def augment(images: Tensor, crops: Tensor) -> Tensor:
    """Flip images horizontally and crop them from zero-padded copies.

    Args:
        images: uint8 (N, C, H, W).
        crops: uint8 (N, 3) on the same device, see `random_crops`.

    Returns:
        uint8 (N, C, H, W) on the same device.
    """
    n, channels, height, width = images.shape
    top, left, flipped = (each[:, None] for each in crops.long().unbind(1))  # (N, 1)
    rows = top + torch.arange(height, device=images.device)  # (N, H)
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = torch.where(flipped.bool(), columns.flip(1), columns) + left  # (N, W)
    padded = F.pad(images, (CROP_PADDING,) * 4)
    picked = padded.gather(2, rows[:, None, :, None].expand(n, channels, height, padded.shape[3]))
    return picked.gather(3, columns[:, None, None, :].expand(n, channels, height, width))
