"""A generator of known parameters, as somebody else would write it: each parameter lights a place of its own, and the
last one does nothing.  Tests copy this file into the current folder."""

import torch

TURN = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))[0]
calls = []


def separate(z):
    """Each latent is a parameter."""
    calls.append(len(z))
    image = torch.zeros(len(z), 3, 32, 32)
    image[:, :, 0:16] = 0.5 * z[:, 0, None, None, None]
    image[:, 0, 20:30, 2:16] = 0.5 * z[:, 1, None, None]
    image[:, 1, 18:26, 20:28] = 0.5 * z[:, 2, None, None]
    return image


def generate(z):
    """Latents mix the parameters."""
    return separate(z @ TURN.T)


generate.latents = separate.latents = 4
generate.weights = torch.tensor([3.0, 2.0, 1.0, 0.0])[:, None] * TURN


def activations(z):
    """In which the parameters have another order."""
    return (z @ TURN.T) * torch.tensor([1.0, 2.0, 3.0, 0.0])
