"""What does painting the latents of a stage in closed form bring over the loop of the paper, in time and memory?

    python benchmarks/masks.py                  # about three minutes
    python benchmarks/masks.py --quick          # seconds; writes nothing
    python benchmarks/masks.py --device cuda

The loop is section 3.1 of the paper to the letter, one latent after another, with IN(x₀) computed once.  Loop and
closed form alike work in the features' precision.  The loop is timed on channels-last features, as the networks here
keep them, and on contiguous ones, and the gain is over the faster of the two.  Before anything is timed, the values and
gradients of both are held to the loop in float32.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import MB, Timing, command, fresh, header, options, table, timed, write
from torch import Tensor

from wherewhat.nn import ops

BATCH, CHANNELS, SIDE = 32, 64, 32
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
"""features' precision → largest ‖difference‖ / ‖loop in float32‖ of a value or a gradient"""
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
SECONDS = 0.7


def loop(x: Tensor, masks: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Spatial constriction as the paper writes it (b c h w; b n h w; b n c; b n c)."""
    masks, scale, shift = (t.to(x.dtype) for t in (masks, scale, shift))
    styled = normalise(x)
    for i in range(masks.shape[1]):
        mask = masks[:, i : i + 1]
        layer = styled * (1 + scale[:, i, :, None, None]) + shift[:, i, :, None, None]
        x = x * (1 - mask) + layer * mask
    return x


def normalise(x: Tensor) -> Tensor:
    """The instance norm.  PyTorch's own always answers contiguous, which would slow all that follows on channels-last
    features, so those take the two lines."""
    if x.is_contiguous():
        return F.instance_norm(x)
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return (x - mean) * (variance + 1e-5).rsqrt()


METHODS = {"loop": loop, "closed form": ops.paint}


def world(latents: int, precision: str, layout: str, device: str) -> list[Tensor]:
    """Features, masks, scales and shifts, all wanting gradients, and the gradient that arrives at the result."""
    rng = torch.Generator().manual_seed(0)
    x, arriving = torch.randn(2, BATCH, CHANNELS, SIDE, SIDE, generator=rng)
    masks = torch.rand(BATCH, latents, SIDE, SIDE, generator=rng)
    scale, shift = torch.randn(2, BATCH, latents, CHANNELS, generator=rng)
    x, arriving = (t.to(device, getattr(torch, precision)).to(memory_format=LAYOUTS[layout]) for t in (x, arriving))
    return [*(t.to(device).requires_grad_() for t in (x, masks, scale, shift)), arriving]


def forward(method: str, tensors: list[Tensor]) -> Tensor:
    """The painted features alone, without a graph."""
    with torch.no_grad():
        return METHODS[method](*tensors[:4])


def backward(method: str, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """The painted features, and the gradients of features, masks, scales and shifts."""
    painted = METHODS[method](*tensors[:4])
    return painted.detach(), *torch.autograd.grad(painted, tensors[:4], tensors[4])


def check(latents: int, precision: str, device: str) -> None:
    """Both methods give the values and gradients of the loop in float32."""
    truth = backward("loop", world(latents, "float32", "contiguous", device))
    for method in METHODS:
        got = backward(method, world(latents, precision, "channels last", device))
        errors = [((a.float() - b).norm() / b.norm()).item() for a, b in zip(got, truth, strict=True)]
        assert max(errors) < TOLERANCE[precision], f"{method}, {latents} latents, {precision}: {errors}"


def alone(method: str, latents: int, precision: str, device: str) -> Callable[[], int]:
    """For `fresh`: one forward and backward; everything has been used once before, on something tiny."""
    backward(method, [t[:1, ..., :2, :2] if t.ndim == 4 else t[:1] for t in world(1, precision, "contiguous", device)])
    tensors = world(latents, precision, "channels last", device)
    return lambda: len(backward(method, tensors))


def clock(
    work: Callable[[str, list[Tensor]], object],
    device: str,
    seconds: float,
    method: str,
    latents: int,
    precision: str,
    layout: str,
) -> Timing:
    """Time of one method on the world of these latents, precision and layout."""
    tensors = world(latents, precision, layout, device)
    return timed(lambda: work(method, tensors), device, seconds)


def row(latents: int, precision: str, device: str, seconds: float) -> list[str]:
    """One line of the table."""
    check(latents, precision, device)
    cells = [precision, str(latents)]
    for work in (forward, backward):
        loops = [clock(work, device, seconds, "loop", latents, precision, layout) for layout in LAYOUTS]
        ours = clock(work, device, seconds, "closed form", latents, precision, "channels last")
        cells += [*map(str, loops), str(ours), f"{min(t.median for t in loops) / ours.median:.1f}×"]
    grown = [fresh(device, alone, method, latents, precision, device)[1] for method in METHODS]
    return [*cells, *(f"{g / MB:.0f}" for g in grown), f"{grown[0] / max(grown[1], 1):.1f}×"]


def main() -> None:
    args = options(__doc__)
    head = header(command(), args.device)
    counts, seconds = ((1, 8), 0.05) if args.quick else ((1, 2, 4, 8, 16, 32), SECONDS)
    rows = [row(n, precision, args.device, seconds) for precision in TOLERANCE for n in counts]
    each = ["loop, channels last", "loop, contiguous", "closed form", "gain"]
    heads = ["features", "latents", *(f"{work}: {name}" for work in ("forward", "and backward") for name in each)]
    heads += ["loop, MB", "closed form, MB", "gain"]
    note = f"{BATCH} images, {CHANNELS} channels, {SIDE}×{SIDE}. Milliseconds: median ± half the interquartile range; "
    note += "gains are over the faster loop. MB: what one forward and backward adds at its highest to the memory of a fresh "
    note += "process (resident memory; on CUDA PyTorch's allocator), channels last."
    write("masks", "\n".join(["# Closed form or loop", "", head, "", note, "", table(heads, rows), ""]), args)


if __name__ == "__main__":
    main()
