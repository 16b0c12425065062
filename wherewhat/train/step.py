"""One training step: losses of the family, gradients averaged over processes, weights updated."""

import torch
from jaxtyping import UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from wherewhat.families.family import Terms, objective
from wherewhat.nn.ops import to_float
from wherewhat.train.optimizers import Optimizer
from wherewhat.train.schedule import lr_schedule
from wherewhat.train.state import State


def train_step(state: State, images: UInt8[Tensor, "b c h w"]) -> Terms:
    """Train on one batch, advance the clock, update the averages.  Returns the losses, still on the device."""
    real, parts = to_float(images.to(state.device, non_blocking=True)), state.config.accumulate
    steps = [state.step(share, part, parts) for part, share in enumerate(real.chunk(parts))]
    logged: Terms = {}
    for phase in state.phases:
        state.optimizers[phase.name].zero_grad()
        found = [accumulated(state, phase.losses(step)) for step in steps]
        if found[0]:
            optimizer_step(state, state.optimizers[phase.name])
        logged |= {name: sum((terms[name] for terms in found[1:]), found[0][name]) for name in found[0]}
    state.images_seen += state.config.batch
    state.update_ema()
    return logged


def accumulated(state: State, terms: Terms) -> Terms:
    """Add the gradient of these terms of a part of the batch.  Returns what they add to the terms of the batch."""
    parts, weights = state.config.accumulate, state.family.weights(state.config, state.images_seen)
    if terms:
        (objective(terms, weights) / parts).backward()
    return {name: value.detach() / parts for name, value in terms.items()}


def optimizer_step(state: State, optimizer: Optimizer) -> None:
    """One optimizer step on the gradient averaged over all processes."""
    average_gradients(optimizer.parameters, state.fabric)
    c = optimizer.config
    if c.grad_clip:
        nn.utils.clip_grad_norm_(optimizer.parameters, c.grad_clip)
    optimizer.step(state.lr_scale * lr_schedule(c, state.images_seen + state.config.batch))


def average_gradients(parameters: list[nn.Parameter], fabric: Fabric) -> None:
    """Every process leaves with the mean of all gradients, in one transfer.  Done by hand, so that networks stay plain
    modules: a step may call them any number of times and differentiate them twice."""
    if fabric.world_size == 1:
        return
    with_gradient = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in with_gradient])
    torch.distributed.all_reduce(flat)  # Fabric's all_reduce waits for all processes twice
    flat /= fabric.world_size
    for gradient, part in zip(with_gradient, flat.split([g.numel() for g in with_gradient]), strict=True):
        gradient.copy_(part.view_as(gradient))
