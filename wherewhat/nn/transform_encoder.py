"""An encoder that undoes what it has read: for generators that move all their features by one transform group.

Shift and size are read first and the image is moved back by them; then the turn, and the image is turned back; then all
other latents, from an image in which nothing moves any more.  A turn is also searched for: of several, the one whose
image fits best is taken, because content and turn are hard to learn from each other's mistakes.

b batch, z latents, c channels, h w space.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import GeneratorConfig, TrunkConfig
from wherewhat.nn.controls import ANGLE_RANGE, Controls
from wherewhat.nn.encoder import Encoder, Trunk
from wherewhat.nn.generator import Generator
from wherewhat.nn.transforms import Similarity, undo

TURNS = 8
"""turns that are tried, equally far apart"""
MARGIN = 0.05
"""another turn is taken only if it lowers the squared error of the image by at least this share"""


def undone_group(config: GeneratorConfig) -> tuple[int, str] | None:
    """First latent and kind (line, circle) of the one transform group that moves everything; None if there is none or
    there are several."""
    first, found = 0, []
    for stage in config.stages:
        if stage.transform in ("line", "circle") and stage.transform_mask == "open":
            found.append((first + stage.latents, stage.transform))
        first += stage.owned
    return found[0] if len(found) == 1 else None


class TransformEncoder(Encoder):
    """Variational encoder of shift, turn, size, then of what is left.  `attach` gives it the generator, whose gains it
    needs to undo a transform and whose images it compares turns by."""

    def __init__(self, config: TrunkConfig, size: tuple[int, int], channels: int, generator: GeneratorConfig) -> None:
        nn.Module.__init__(self)  # it has trunks of its own
        group = undone_group(generator)
        assert group is not None
        self.first, self.circle = group[0], group[1] == "circle"
        self.latents = generator.latents
        self.controls: Controls | None = None
        """if set, codes are given as these controls; None while training"""
        self.place = Trunk(config, size, channels, 6)
        self.turn = Trunk(config, size, channels, 3 if self.circle else 2)
        self.style = Trunk(config, size, channels, 2 * (self.latents - 4))

    def attach(self, generator: Generator) -> None:
        """The generator whose images are encoded.  It is no part of this module's weights."""
        self._attached = (generator,)  # in a tuple, so that it is not registered as a submodule

    @property
    def generator(self) -> Generator:
        """The attached generator."""
        return self._attached[0]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z"]:
        """The codes (means of the posterior, the turn searched) of images in [−1, 1]."""
        mean, _ = self.posterior(images)
        codes = self.with_turn(mean, self.best_turn(images, mean)) if self.circle else mean
        return self.controls.encode(codes) if self.controls else codes

    def posterior(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Mean and log-variance (clamped to −12 … 4) of the latents, before any search."""
        place, place_log_variance = self.place(images).chunk(2, 1)
        zero = torch.zeros_like(place[:, :1])
        turn = self.turn(undo(images, self._similarity(place, zero)))
        angle = torch.atan2(turn[:, 1:2], turn[:, :1]) * (ANGLE_RANGE / torch.pi) if self.circle else turn[:, :1]
        style, style_log_variance = self.style(undo(images, self._similarity(place, angle))).chunk(2, 1)

        def in_order(style: Tensor, place: Tensor, angle: Tensor) -> Tensor:
            before, after = style.split([self.first, self.latents - 4 - self.first], 1)
            return torch.cat([before, place[:, :2], angle, place[:, 2:], after], 1)

        mean = in_order(style, place, angle)
        return mean, in_order(style_log_variance, place_log_variance, turn[:, -1:]).clamp(-12, 4)

    def _similarity(self, place: Float[Tensor, "b 3"], angle: Float[Tensor, "b 1"]) -> Similarity:
        """What was read as a transform, without gradient: what is read next must not change what was read before."""
        latents = torch.cat([place[:, :2], angle, place[:, 2:]], 1).detach()
        by = self.generator.open_transform().similarity(latents)
        return Similarity(*(value.detach() for value in by))

    @torch.no_grad()
    def best_turn(self, images: Float[Tensor, "b c h w"], latents: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
        """By how much to turn each: of TURNS equally far apart, what makes the generator's image most like it; 0 unless
        another is better by MARGIN."""
        turns = torch.arange(TURNS, device=images.device) * (2 * ANGLE_RANGE / TURNS)
        tried = latents[:, None].repeat(1, TURNS, 1)
        tried[:, :, self.first + 2] += turns
        errors = (self.generator.sweeps_of_latents(tried) - images[:, None]).square().sum((2, 3, 4))
        least, best = errors.min(1)
        return torch.where(least < (1 - MARGIN) * errors[:, 0], turns[best], torch.zeros_like(least))

    def with_turn(self, latents: Float[Tensor, "b z"], turn: Float[Tensor, " b"]) -> Float[Tensor, "b z"]:
        """Latents turned further, the angle kept within ±2."""
        further = torch.remainder(latents[:, self.first + 2] + turn + ANGLE_RANGE, 2 * ANGLE_RANGE) - ANGLE_RANGE
        return torch.cat([latents[:, : self.first + 2], further[:, None], latents[:, self.first + 3 :]], 1)
