"""Where a control acts: what its sweep changes, and overlaps of such places.  s images of a sweep, h w space."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from wherewhat.metrics.distance import Distance

CHANGE = 0.1  # a pixel has changed if it moves by more than this over a sweep, of a range of 2 (images in [−1, 1])


def changed(images: Float[np.ndarray, "s c h w"], threshold: float = CHANGE) -> Bool[np.ndarray, "h w"]:
    """Pixels that move over a sweep: the largest of the channels' ranges is above the threshold."""
    return np.asarray(np.ptp(images, 0).max(0) > threshold)


class Box(NamedTuple):
    """A part of an image: its edges as shares of height and width, from 0 (top, left) to 1."""

    top: float
    left: float
    bottom: float
    right: float

    @classmethod
    def around(cls, row: float, column: float) -> "Box":
        """An eighth of the image's height and width, around a place."""
        return cls(row - 1 / 16, column - 1 / 16, row + 1 / 16, column + 1 / 16)

    def pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns, at least one of each."""
        rows, columns = ((max(0, min(round(a * n), n - 1)), max(1, min(round(b * n), n)))
                         for a, b, n in ((self.top, self.bottom, height), (self.left, self.right, width)))  # fmt: skip
        return slice(rows[0], max(rows[1], rows[0] + 1)), slice(columns[0], max(columns[1], columns[0] + 1))


def covered(mask: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a mask is above half its peak; nowhere if it is zero."""
    return (mask >= mask.max() / 2) & (mask > 0)


def iou(a: Bool[np.ndarray, "h w"], b: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union, 0 … 1; 1 if both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def sharpness(mask: Float[np.ndarray, "h w"]) -> float:
    """Share of a mask's weight that lies where it is above half its peak: 1 for a mask of two values, near 0 for a
    narrow peak on a wide background; 0 for an empty mask."""
    total = mask.sum()
    return float(mask[covered(mask)].sum() / total) if total > 0 else 0.0


def consistency(masks: Float[np.ndarray, "n h w"]) -> float:
    """How similar the places of one control are over n images: mean intersection over union with the place of the mean
    mask; 1 if they are all the same."""
    middle = covered(masks.mean(0))
    return float(np.mean([iou(covered(mask), middle) for mask in masks]))


def perceived(distance: Distance, images: Float[Tensor, "s c h w"]) -> Float[np.ndarray, "h w"]:
    """Where a sweep changes what is seen: the perceptual distance of neighbours at each place, summed along the sweep
    (spatial LPIPS, Zhang et al. 2018: the layers' maps brought to the size of the images and added)."""
    size = images.shape[2:]
    total = torch.zeros(size)
    for maps in distance.features(images):
        moved = (maps[1:] - maps[:-1]).square().sum(1, keepdim=True).sum(0, keepdim=True)
        total += F.interpolate(moved, size, mode="bilinear", align_corners=False)[0, 0].cpu()
    return total.numpy()
