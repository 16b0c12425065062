"""A run that is measured, and what its metrics need, each made once, when it is first asked for."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float

from wherewhat.data import open_data
from wherewhat.data.batches import Images, draw_index
from wherewhat.evaluation.encoding import Encoded, ImagesOf, encode
from wherewhat.evaluation.features import features_of, real_features
from wherewhat.metrics.backbones import Backbone, load_backbone
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.ops import to_uint8
from wherewhat.progress import Progress
from wherewhat.run.folder import Run

ENCODED = {"dlib": 50_000, "fast": 10_000}
"""protocol → images encoded, drawn without replacement; all of a smaller data set"""


@dataclass
class Subject:
    """A run, and all choices that change its scores.  Attributes raise UserError for what cannot be had."""

    run: Run
    protocol: str
    tpl_protocol: str
    distance_name: str
    threshold: float | None
    until: float | None
    features_name: str
    count: int  # real images, samples, and pairs of latents of the metrics of image quality
    seed: int
    device: str
    progress: Progress

    @cached_property
    def data(self) -> Images:
        """The run's data set."""
        return open_data(self.run.config.data)

    @cached_property
    def generate(self) -> ImagesOf:
        """The generator, from latents to images."""
        return ImagesOf(self.run.generator.to(self.device))

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, on the device."""
        return self.run.encoder.to(self.device)

    @cached_property
    def encoded(self) -> Encoded:
        """Codes and factors, as many as the protocol has."""
        return encode(self.encoder, self.data, ENCODED[self.protocol], self.seed, self.progress)

    @cached_property
    def distance(self) -> Distance:
        """The distance of images; images that are too small for it are refused now."""
        distance = load_distance(self.distance_name, self.device)
        distance.path(torch.zeros(1, 2, *self._shape, device=self.device))
        return distance

    @cached_property
    def backbone(self) -> Backbone:
        """The network of features; images that are too small for it are refused now."""
        backbone = load_backbone(self.features_name, self.device)
        backbone(torch.zeros(1, *self._shape, dtype=torch.uint8, device=self.device))
        return backbone

    @cached_property
    def features(self) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
        """Features of real images, and of as many samples, rounded to 8 bits as if they had been saved."""
        index = draw_index(self.data, self.count, self.seed)
        real = real_features(self.data, index, self.backbone, self.device, self.progress)
        z = torch.from_numpy(self.run.draw(len(real), [self.seed, 1])).to(self.device)
        with torch.no_grad():
            fake = features_of(
                self.backbone, len(real), lambda rows: to_uint8(self.generate(z[rows])), self.progress, "samples"
            )
        return real, fake

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.run.config.data.channels, *self.run.config.size)
