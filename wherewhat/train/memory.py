"""How much memory a training needs, estimated before anything large is made."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from wherewhat.config import Config
from wherewhat.errors import UserError
from wherewhat.families import family_of
from wherewhat.machine import memory_bytes
from wherewhat.metrics.networks import map_shapes

SMALL = 2**32
"""bytes: a training that stays below this, generously counted, is not looked at further"""
ERROR = 0.75
"""share of the estimate that a step needs at least: it needed .76 to 1.7 of it with seven recipes and batches"""
COPIES = 5
"""of each weight: itself, its average, its gradient, two moments"""
PROBE = 2
"""images that are passed through the networks without being computed"""


def check_memory(config: Config, device: torch.device, processes: int) -> None:
    """Raises UserError that names the setting to change if a training cannot fit into this machine's memory."""
    share = config.batch // processes // config.accumulate
    if _generous(config, share) < SMALL:
        return
    weights, image = (ERROR * size for size in _sizes(config))
    weights, images, there = COPIES * weights, share * image, memory_bytes(device)
    if weights + images <= there:
        return
    height, width = config.size
    if images > weights and image + weights < there:
        fits = int((there - weights) // image) * processes * config.accumulate
        way = f"give --batch {max(1, fits // 2)} or less"
    elif images > weights:
        way = f"one image of {height}x{width} is too much: give a smaller --resolution, or fewer channels"
    else:
        way = f"its {weights / ERROR / COPIES / 4e6:,.0f} million weights are too many: give fewer {_widest(config)}"
    raise UserError(
        f"batch {config.batch} at {height}x{width} needs at least {_gigabytes(weights + images)} of memory, and this "
        f"machine has {_gigabytes(there)}: {way}"
    )


def _generous(config: Config, share: int) -> int:
    """Bytes: ten times the widest layer in full resolution, and its weights.  rooms needs the most: 8 times."""
    widest = max(_channels(config).values())
    hidden = widest * prod(config.constant_size) * max(config.encoder.hidden, config.latents)
    return 4 * (10 * share * prod(config.size) * widest + 100 * widest**2 + COPIES * hidden)


def _sizes(config: Config) -> tuple[int, int]:
    """Bytes of all weights, and bytes that one image leaves in memory until gradients are computed.  Tensors are
    described here, not allocated."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with FakeTensorMode(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        networks = family_of(config).build(config)
        weights = sum(p.numel() * p.element_size() for network in networks.values() for p in network.parameters())
        for name, network in networks.items():
            network(*(torch.zeros(PROBE, *shape) for shape in _inputs(name, config)))
    return weights, kept // PROBE


def _inputs(name: str, config: Config) -> Sequence[tuple[int, ...]]:
    """Shapes of what a network is given of one image."""
    if name in ("generator", "code_discriminator"):
        return [(config.latents,)]
    if name == "discriminator" and config.gan and config.gan.features != "pixels":
        return map_shapes(config.gan.features, *config.size)
    return [(config.data.channels, *config.size)]


def _channels(config: Config) -> dict[str, int]:
    generator, gan = config.generator, config.gan
    found = {f"generator.stages.{i}.channels": stage.channels for i, stage in enumerate(generator.stages)}
    trunks = {"encoder": config.encoder} | ({"gan.discriminator": gan.discriminator} if gan else {})
    for name, trunk in trunks.items():
        found |= {f"{name}.channels": max(trunk.channels, default=1), f"{name}.hidden": trunk.hidden}
    return found | {"generator.constant_channels": generator.constant_channels}


def _widest(config: Config) -> str:
    channels = _channels(config)
    return max(channels, key=lambda name: channels[name])


def _gigabytes(size: float | int) -> str:
    return f"{size / 1e9:,.1f} GB"
