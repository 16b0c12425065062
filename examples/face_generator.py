"""A generator of another make: python face_generator.py trains it in the current folder, in under a minute of one core.

A small DCGAN-like network learns to draw cartoon faces of six attributes.  Its twelve latents mix them: each attribute
is one direction among the latents, and six more directions do nothing.  So no latent is a control worth naming, and
`wherewhat axes` has something to find.
"""

import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

ATTRIBUTES = ("background", "skin", "fringe", "smile", "eyes", "shirt")
LATENTS, SIDE = 12, 64
FILE = Path("face_generator.safetensors")


def mixing() -> Tensor:
    """An orthogonal matrix: row k is the direction of attribute k, for the first six."""
    return torch.linalg.qr(torch.randn(LATENTS, LATENTS, generator=torch.Generator().manual_seed(0)))[0]


def inside(distance: Tensor) -> Tensor:
    """1 inside a shape, 0 outside, with an edge of about two pixels; distance: from its edge, negative inside."""
    return torch.sigmoid(-distance * SIDE)


def draw(attributes: Tensor) -> Tensor:
    """Faces (b 3 64 64) in [−1, 1] of attributes (b 6), which are cut softly at ±1."""
    background, skin, fringe, smile, eyes, shirt = (a.tanh().view(-1, 1, 1) for a in attributes.unbind(1))
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")

    def ellipse(row: float, column: float, height: Tensor | float, width: float) -> Tensor:
        return inside(((((y - row) / height) ** 2 + ((x - column) / width) ** 2).sqrt() - 1) * width)

    def paint(image: Tensor, shape: Tensor, colour: tuple[Tensor | float, ...]) -> Tensor:
        colours = torch.stack([c if isinstance(c, Tensor) else torch.full_like(skin, c) for c in colour], 1)
        return image + (colours - image) * shape.unsqueeze(1)

    white = torch.ones(len(attributes), SIDE, SIDE)
    image = paint(torch.zeros(len(attributes), 3, SIDE, SIDE), white, (0.6 * background, 0.1, -0.6 * background))
    image = paint(image, ellipse(1.1, 0, 0.5, 0.8) * white, (-0.2, 0.7 * shirt, 0.2 - 0.4 * shirt))
    image = paint(image, ellipse(0.05, 0, 0.66, 0.54) * white, (0.4 + 0.4 * skin, 0.1 + 0.45 * skin, -0.2 + 0.5 * skin))
    hair = ellipse(-0.05, 0, 0.74, 0.6) * inside(y + 0.32 - 0.16 * fringe)
    image = paint(image, hair, (-0.6, -0.75, -0.85))
    for column in (-0.2, 0.2):
        image = paint(image, ellipse(0.0, column, 0.09 + 0.06 * eyes, 0.12), (-0.9, -0.9, -0.8))
    line = y - 0.38 - 2.5 * smile * (0.04 - x**2)
    return paint(image, inside(line.abs() - 0.05) * inside(x.abs() - 0.28), (0.5, -0.7, -0.6))


def network() -> nn.Sequential:
    """Latents to images, as transposed convolutions from 1 × 1 to 64 × 64."""
    widths = (LATENTS, 128, 64, 48, 32)
    layers: list[nn.Module] = [nn.Unflatten(1, (LATENTS, 1, 1))]
    for k, (before, after) in enumerate(pairwise(widths)):
        layers += [nn.ConvTranspose2d(before, after, 4, *((1, 0) if k == 0 else (2, 1))), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1), nn.Tanh())


def train(seconds: float = 50, batch: int = 64) -> nn.Sequential:
    """The network once it has copied the drawings for that long."""
    torch.manual_seed(0)
    made, turn, begin = network(), mixing(), time.monotonic()
    optimiser = torch.optim.Adam(made.parameters(), 2e-3, (0.9, 0.99))
    while (done := (time.monotonic() - begin) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - done)
        z = torch.randn(batch, LATENTS)
        loss = (made(z) - draw((z @ turn.T)[:, : len(ATTRIBUTES)])).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"mean squared difference {loss.item():.4f}")
    return made


@lru_cache
def trained() -> nn.Sequential:
    """The network with the weights that training has left."""
    made = network()
    made.load_state_dict(load_file(FILE))
    return made


def generate(z: Tensor) -> Tensor:
    """Latents (b 12) to images (b 3 64 64) in [−1, 1]: what wherewhat is given."""
    return trained()(z)


generate.latents = LATENTS  # type: ignore[attr-defined]  # so that --latents need not say it


def first_layer() -> nn.Module:
    """The layer that takes the latents: for closed-form axes."""
    return trained()[1]


def activations(z: Tensor) -> Tensor:
    """What the network has after its second layer, for axes by principal components."""
    return trained()[:5](z)


if __name__ == "__main__":
    save_file(train().state_dict(), FILE)
    print(f"{FILE}. Next: wherewhat rank {Path(__file__).name}:generate")
