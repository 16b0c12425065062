"""How near a reconstruction is to its photograph, in words, and whether the photograph is like what the run knows."""

import math
from contextlib import suppress
from typing import NamedTuple

import torch

from wherewhat.editing.invert import Scores
from wherewhat.errors import UserError
from wherewhat.metrics.distance import Distance, Pixels, load_distance
from wherewhat.metrics.networks import smallest
from wherewhat.run.folder import Run

WORDS = (  # at least this PSNR (dB), at most this LPIPS (alex) → words
    (28.0, 0.02, "very close"),
    (20.0, 0.06, "close: shapes and colours are right, small details are not"),
    (15.0, 0.15, "the colours and the pose, not the details"),
    (-math.inf, math.inf, "something else: at most the rough colours are right"),
)
UNLIKE = (
    "This picture is unlike those the model was trained on, or cut out differently: what is shown is the nearest that "
    "the model can draw. Try another crop."
)
SAMPLES = 64  # of the run, whose reconstructions say what is usual


class Nearness(NamedTuple):
    """How near one reconstruction is."""

    psnr: float  # dB
    lpips: float | None  # None: measured by pixels alone
    unlike: bool  # the picture is unlike what the run was trained on

    @property
    def words(self) -> str:
        """The first of WORDS whose bounds are kept; without LPIPS the PSNR alone decides."""
        lpips = -math.inf if self.lpips is None else self.lpips
        return next(words for least, most, words in WORDS if self.psnr >= least and lpips <= most)


def usual_or_pixels(run: Run, device: str = "cpu") -> Distance:
    """LPIPS (alex); pixels if its weights are not on this machine or the run's images are too small for it."""
    if min(run.config.size) >= smallest("alex"):
        with suppress(UserError):
            return load_distance("alex", device)
    return Pixels()


@torch.no_grad()
def usual_distance(run: Run, distance: Distance, device: str = "cpu") -> float:
    """The largest distance between one of SAMPLES samples of the run and what generator and encoder make of it: a
    picture that the encoder's codes miss by more is unlike what the run was trained on.  No data are needed."""
    generator = run.generator.to(device)
    images = generator.images(torch.from_numpy(run.draw(SAMPLES, 0)).to(device)).clamp(-1, 1)
    again = generator.images(run.encoder.to(device)(images)).clamp(-1, 1)
    return float(distance(again, images).max())


def nearness(before: Scores, after: Scores, distance: Distance, usual: float) -> list[Nearness]:
    """Of each photograph that was inverted.  usual: from usual_distance, with the same distance."""
    by_pixels = isinstance(distance, Pixels)
    rows = zip(after.psnr.tolist(), after.distance.tolist(), before.distance.tolist(), strict=True)
    return [Nearness(db, None if by_pixels else lpips, min(start, lpips) > usual) for db, lpips, start in rows]
