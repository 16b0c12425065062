"""A small network that learns to tell images apart: what scores by classification have in common.

n images, c channels, h w space, k classes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

CHANNELS = (32, 32, 64, 64)  # of strided convolutions, as many of them as leave 4 pixels of the shorter side
HIDDEN = 128


def accuracy(
    images: Float[Tensor, "n c h w"], labels: Integer[Tensor, " n"], rng: np.random.Generator, train: int, epochs: int,
    lr: float = 1e-3, batch: int = 64,
) -> float:  # fmt: skip
    """Share of images, 0 … 1, whose label a network finds that was trained on `train` others, all drawn by rng.  It has
    4×4 convolutions of stride 2 with batch normalisation, and one hidden layer; Adam.  Nothing is chosen by the images
    it is tested on."""
    order = torch.from_numpy(rng.permutation(len(images)))
    learn, test = order[:train], order[train:]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(int(rng.integers(2**31)))
        network = build(images.shape[1], (images.shape[2], images.shape[3]), int(labels.max()) + 1).to(images.device)
    optimizer = torch.optim.Adam(network.parameters(), lr)
    with torch.enable_grad():
        for _ in range(epochs):
            for part in learn[torch.from_numpy(rng.permutation(len(learn)))].split(batch):
                if len(part) < 2:
                    continue  # batch normalisation needs two
                loss = F.cross_entropy(network(images[part]), labels[part])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    network.eval()
    with torch.no_grad():
        right = torch.cat([network(images[part]).argmax(1) == labels[part] for part in test.split(256)])
    return float(right.double().mean())


def build(channels: int, size: tuple[int, int], classes: int) -> nn.Sequential:
    """The untrained network, drawn from PyTorch's global random numbers."""
    count = max(1, min(len(CHANNELS), int(math.log2(min(size))) - 2))
    layers: list[nn.Module] = []
    for outputs in CHANNELS[:count]:
        layers += [nn.Conv2d(channels, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        channels = outputs
    height, width = (side >> count for side in size)
    layers += [nn.Flatten(), nn.Linear(channels * height * width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
