"""One step of each family: real images in, networks moved, a row of losses out.  b images of this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from wherewhat import losses
from wherewhat.config import AutoencoderConfig, Config
from wherewhat.train.optimisers import Optimiser
from wherewhat.train.state import State

Row = dict[str, Tensor]
"""losses by name, still on the device"""

LATENTS, MOVES, NOISE, LATENTS_D, NOISE_D, POSTERIOR = range(6)
"""what a step's random numbers are for"""


DIVERGENCES = {"normal": losses.divergence, "flat": losses.flat_divergence}
"""of the posterior to each prior"""


def step(state: State, real: UInt8[Tensor, "b c h w"]) -> Row:
    """Train on one batch, advance the clock, update the averages."""
    images = real.to(state.device, non_blocking=True).float() / 127.5 - 1
    if state.config.gan:
        row = discriminator_step(state, images) | generator_step(state)
    else:
        row = autoencoder_step(state, images)
    state.images += state.config.batch
    state.average()
    return row


def autoencoder_step(state: State, real: Float[Tensor, "b c h w"]) -> Row:
    """Reconstruction and divergence: the recogniser encodes, the generator decodes through its masks."""
    c = state.config.autoencoder
    assert c is not None
    with state.fabric.autocast():
        mean, log_variance = state.recogniser.posterior(real)
        z = mean + (log_variance / 2).exp() * state.own(draw_normal(state, POSTERIOR))
        image = state.generator(z, draw_noise(state, NOISE)).image
    reconstruction = losses.gaussian(image, real, c.sigma)
    divergence = DIVERGENCES[state.config.prior](mean, log_variance)
    total = reconstruction + beta_now(c, state.images) * divergence
    row = {"reconstruction": reconstruction.detach(), "divergence": divergence.detach()}
    if state.perceptual is not None:
        perceptual = state.perceptual(image, real).mean()
        row["perceptual"] = perceptual.detach()
        total = total + c.perceptual * perceptual
    descend(state, total, state.optimiser)
    return row


def beta_now(c: AutoencoderConfig, images: int) -> float:
    """Weight of the divergence after so many images."""
    if not c.beta_start or images >= c.beta_fall:
        return c.beta
    return c.beta_start * (c.beta / c.beta_start) ** (images / c.beta_fall)


def discriminator_step(state: State, real: Float[Tensor, "b c h w"]) -> Row:
    """The discriminator learns to tell; every r1_every steps its slope at real images is penalised."""
    c, d = state.config.gan, state.discriminator
    assert c is not None and d is not None and state.discriminator_optimiser is not None
    with torch.no_grad(), state.fabric.autocast():
        z = state.own(draw_latents(state, LATENTS_D))
        fake = state.generator(z, draw_noise(state, NOISE_D)).image
    penalise = (state.images // state.config.batch) % c.r1_every == 0
    real = real.requires_grad_(penalise)
    with state.fabric.autocast():
        told_real, told_fake = d(real), d(fake)
    told = losses.telling(told_real, told_fake)
    row = {"discriminator": told.detach()}
    if penalise:
        penalty = losses.r1(told_real, real)
        row["r1"] = penalty.detach()
        told = told + c.r1 * c.r1_every * penalty
    descend(state, told, state.discriminator_optimiser)
    return row


def generator_step(state: State) -> Row:
    """The generator learns to fool; with simplicity or information it also learns, with the recogniser, that what was
    drawn can be read back.  With neither, the recogniser only watches: it learns to read and changes no image."""
    c, d = state.config.gan, state.discriminator
    assert c is not None and d is not None
    z = state.own(draw_latents(state, LATENTS))
    noise = draw_noise(state, NOISE)
    row: Row = {}
    with frozen(d), state.fabric.autocast():
        if c.simplicity:
            moved, steps = (state.own(t) for t in draw_moves(state))
            z_moved = z + moved * steps
            images = state.generator(torch.cat([z, z_moved]), tuple(torch.cat([n, n]) for n in noise)).image
            read, read_moved = state.recogniser(images).chunk(2)
            row["simplicity"] = losses.simplicity(z, z_moved, read, read_moved, moved)
        else:
            images = state.generator(z, noise).image
            read = state.recogniser(images if c.information else images.detach())
        row["information"] = losses.information(z, read)
        row["generator"] = losses.fooling(d(images[: len(z)]))
    total = row["generator"] + c.information * row["information"]
    if c.simplicity:
        total = total + c.simplicity * row["simplicity"]
    elif not c.information:
        total = total + row["information"]
    descend(state, total, state.optimiser)
    return {name: value.detach() for name, value in row.items()}


def draw_latents(state: State, purpose: int) -> Float[Tensor, "batch z"]:
    """Latents from the prior for the whole batch: N(0, 1), or uniform on [−2, 2]."""
    if state.config.prior == "normal":
        return draw_normal(state, purpose)
    shape = (state.config.batch, state.config.generator.codes)
    return torch.rand(shape, generator=state.rng(purpose), device=state.device) * 4 - 2


def draw_normal(state: State, purpose: int) -> Float[Tensor, "batch z"]:
    """Standard normal numbers for the whole batch."""
    shape = (state.config.batch, state.config.generator.codes)
    return torch.randn(shape, generator=state.rng(purpose), device=state.device)


def draw_moves(state: State) -> tuple[Bool[Tensor, "batch z"], Float[Tensor, "batch 1"]]:
    """For each image of the whole batch the one latent that moves, and by how much."""
    c = state.config.gan
    assert c is not None
    count, codes = state.config.batch, state.config.generator.codes
    rng = state.rng(MOVES)
    which = torch.randint(codes, (count, 1), generator=rng, device=state.device)
    moved = torch.arange(codes, device=state.device) == which
    if c.step_kind == "fixed":
        return moved, torch.full((count, 1), c.step, device=state.device)
    return moved, c.step * torch.randn(count, 1, generator=rng, device=state.device)


def draw_noise(state: State, purpose: int) -> tuple[Tensor, ...]:
    """This process's share of fresh per-pixel noise."""
    return tuple(state.own(n) for n in state.generator.draw_noise(state.config.batch, state.rng(purpose)))


def descend(state: State, loss: Float[Tensor, ""], optimiser: Optimiser) -> None:
    """One optimiser step on the mean gradient over all processes."""
    optimiser.forget()
    loss.backward()
    average_gradients(optimiser.parameters, state.fabric)
    c = state.config.optimiser
    if c.clip:
        nn.utils.clip_grad_norm_(optimiser.parameters, c.clip)
    seen = state.images + state.config.batch
    decay = 0.5 ** (seen / c.half_life) if c.half_life else 1.0
    optimiser.step(c.rate * decay * min(1.0, seen / max(c.warmup, 1)))


def average_gradients(parameters: list[nn.Parameter], fabric: Fabric) -> None:
    """Every process leaves with the mean of all gradients, in one transfer.  Done by hand, networks stay plain modules:
    they may be called any number of times a step, differentiated twice, and saved as they are."""
    if fabric.world_size == 1:
        return
    with_gradient = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in with_gradient])
    torch.distributed.all_reduce(flat)  # not Fabric's, which waits for all processes twice
    flat /= fabric.world_size
    for gradient, part in zip(with_gradient, flat.split([g.numel() for g in with_gradient]), strict=True):
        gradient.copy_(part.view_as(gradient))


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Gradients pass through the module but not into it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def resolve_precision(config: Config, device: torch.device) -> str:
    """fp32 or bf16; auto is bf16 where the processor multiplies it natively."""
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and native() else "fp32"
