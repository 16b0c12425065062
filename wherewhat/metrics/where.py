"""Where a control acts: what its sweep changes, against its mask and against the truth.  s places, h w space."""

import numpy as np
from jaxtyping import Bool, Float

CHANGE = 0.1
"""a pixel has changed if it moves by more than this over a sweep, of a range of 2 (images in [−1, 1])"""


def changed(images: Float[np.ndarray, "s c h w"], threshold: float = CHANGE) -> Bool[np.ndarray, "h w"]:
    """Pixels that move over a sweep: the largest of the channels' ranges is above the threshold."""
    return np.asarray(np.ptp(images, 0).max(0) > threshold)


def covered(mask: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a mask is above half its peak; nowhere if it is zero."""
    return (mask >= mask.max() / 2) & (mask > 0)


def iou(a: Bool[np.ndarray, "h w"], b: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union, 0 … 1; 1 if both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0
