"""What does painting the latents of a stage in closed form bring over the loop of the paper, in time and memory?

    python benchmarks/masks.py                  # about three minutes
    python benchmarks/masks.py --quick          # seconds; writes nothing
    python benchmarks/masks.py --device cuda

The loop is section 3.1 of the paper to the letter, one latent after another, with IN(x₀) computed once.  Loop and
closed form alike work in the features' precision.  The loop is timed on channels-last features, as the networks here
keep them, and on contiguous ones, and the gain is over the faster of the two.  Before anything is timed, the values and
gradients of both are held to the loop in float32.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from common import MB, Timing, command, fresh, header, options, peak_memory, table, timed, write
from torch import Tensor

from wherewhat.nn import ops

BATCH, CHANNELS, SIDE = 32, 64, 32
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
"""features' precision → largest ‖difference‖ / ‖loop in float32‖ of a value or a gradient"""
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


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


METHODS = {"loop": loop, "closed form": ops.masked_adain}


class Case(NamedTuple):
    """What is run on what."""

    method: str
    latents: int
    precision: str
    layout: str
    device: str

    def tensors(self) -> list[Tensor]:
        """Features, masks, scales and shifts, all wanting gradients, and the gradient that arrives at the result."""
        rng = torch.Generator().manual_seed(0)
        kind = {"dtype": getattr(torch, self.precision), "memory_format": LAYOUTS[self.layout]}
        x, arriving = (t.to(self.device, **kind) for t in torch.randn(2, BATCH, CHANNELS, SIDE, SIDE, generator=rng))
        masks = torch.rand(BATCH, self.latents, SIDE, SIDE, generator=rng)
        scale, shift = torch.randn(2, BATCH, self.latents, CHANNELS, generator=rng)
        return [*(t.to(self.device).requires_grad_() for t in (x, masks, scale, shift)), arriving]

    def forward(self, tensors: list[Tensor]) -> Tensor:
        """The painted features alone, without a graph."""
        with torch.no_grad():
            return METHODS[self.method](*tensors[:4])

    def both(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """The painted features, and the gradients of features, masks, scales and shifts."""
        painted = METHODS[self.method](*tensors[:4])
        return painted.detach(), *torch.autograd.grad(painted, tensors[:4], tensors[4])


def check(case: Case) -> None:
    """Values and gradients are those of the loop in float32."""
    true = case._replace(method="loop", precision="float32")
    pairs = zip(case.both(case.tensors()), true.both(true.tensors()), strict=True)
    errors = [((a.float() - b).norm() / b.norm()).item() for a, b in pairs]
    assert max(errors) < TOLERANCE[case.precision], f"{case}: {errors}"


def times(case: Case, seconds: float) -> tuple[Timing, Timing]:
    """Of forward alone, and of forward and backward."""
    tensors = case.tensors()
    forward, both = partial(case.forward, tensors), partial(case.both, tensors)
    return timed(forward, case.device, seconds), timed(both, case.device, seconds)


def added(case: Case) -> int:
    """For `fresh`: bytes that a forward and backward adds, once a first one has loaded all code."""
    run = partial(case.both, case.tensors())
    peak_memory(run, case.device)
    return peak_memory(run, case.device)


def row(latents: int, precision: str, device: str, seconds: float) -> list[str]:
    """One line of the table."""
    ours = Case("closed form", latents, precision, "channels last", device)
    plain, flat = ours._replace(method="loop"), ours._replace(method="loop", layout="contiguous")
    for case in (ours, plain, flat):
        check(case)
    cells = [precision, str(latents)]
    for slow, slow_too, fast in zip(*(times(case, seconds) for case in (plain, flat, ours)), strict=True):
        gain = min(slow.median, slow_too.median) / fast.median
        cells += [str(slow), str(slow_too), str(fast), f"{gain:.1f}×"]
    large, small = fresh(added, plain), fresh(added, ours)
    return [*cells, f"{large / MB:.0f}", f"{small / MB:.0f}", f"{large / small:.1f}×"]


def main() -> None:
    args = options(__doc__)
    head = header(command(), args.device)
    counts, seconds = ((1, 8), 0.05) if args.quick else ((1, 2, 4, 8, 16, 32), 0.7)
    rows = [row(n, precision, args.device, seconds) for precision in TOLERANCE for n in counts]
    each = ["loop, channels last", "loop, contiguous", "closed form", "gain"]
    heads = ["features", "latents", *(f"{work}: {name}" for work in ("forward", "and backward") for name in each)]
    heads += ["loop, MB", "closed form, MB", "gain"]
    note = (
        f"{BATCH} images, {CHANNELS} channels, {SIDE}×{SIDE}. Milliseconds: median ± half the interquartile range; "
        "gains are over the faster loop. MB: what one forward and backward on channels-last features adds, at its "
        "highest, to the memory of a fresh process (resident memory; on CUDA PyTorch's allocator)."
    )
    write("masks", "\n".join(["# Closed form or loop", "", head, "", note, "", table(heads, rows), ""]), args)


if __name__ == "__main__":
    main()
