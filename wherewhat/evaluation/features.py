"""Features of images by a backbone; those of real images are kept in the user's cache."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.atomic import write_with
from wherewhat.cache import cache
from wherewhat.data.batches import Images
from wherewhat.metrics.backbones import Backbone
from wherewhat.progress import Progress

BATCH = 64


def real_features(
    data: Images, index: Integer[np.ndarray, " n"], backbone: Backbone, device: str, progress: Progress
) -> Float[np.ndarray, "n d"]:
    """Features of these images, from the user's cache if they were computed before: the same pixels by the same
    network.  If the cache cannot be written, they are not kept."""
    key = hashlib.sha256(json.dumps(backbone.options, sort_keys=True).encode())
    for at in range(0, len(index), BATCH):
        key.update(data.images(index[at : at + BATCH]).tobytes())
        progress("reading", at / len(index))
    file = cache("features") / f"{backbone.options['network']}-{key.hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept: Float[np.ndarray, "n d"] = np.load(file, allow_pickle=False)
        return kept
    features = features_of(
        backbone,
        len(index),
        lambda rows: torch.from_numpy(data.images(index[rows])).to(device),
        progress,
        "real images",
    )
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_with(file, partial(np.save, arr=features))
    return features


@torch.no_grad()
def features_of(
    backbone: Backbone, count: int, images: Callable[[slice], Tensor], progress: Progress, what: str
) -> Float[np.ndarray, "n d"]:
    """Features of `count` images, which `images` makes, some rows at a time."""
    parts = []
    for at in range(0, count, BATCH):
        progress(what, at / count)
        parts.append(backbone(images(slice(at, at + BATCH))).cpu().numpy())
    return np.concatenate(parts)
