"""What does painting all latents of a stage in closed form bring over the loop of the paper, in time and memory?

    python benchmarks/masks.py                  # about two minutes
    python benchmarks/masks.py --quick          # seconds; writes nothing
    python benchmarks/masks.py --device cuda

The loop is section 3.1 of the paper, one latent after another, literally: x ← x·(1 − M_i) + (IN(x₀)·(1 + s_i) + t_i)·M_i
with IN(x₀) computed once.  Both do all their work in the features' precision.  The loop is timed with its features
channels last, as the networks here keep them, and contiguous, where it is mostly faster; the ratio is to the faster of
the two.  Before anything is timed, values and gradients of both are held to a loop in float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from common import MB, Timing, command, fresh, header, options, table, timed, write
from torch import Tensor

from wherewhat.nn import ops

BATCH, CHANNELS, SIDE = 32, 64, 32
LAST, FLAT = torch.channels_last, torch.contiguous_format
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""largest ‖difference‖ / ‖loop in float32‖ of a value or a gradient"""

Paint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def loop(x: Tensor, masks: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Spatial constriction as the paper writes it (b c h w; b n h w; b n c; b n c)."""
    masks, scale, shift = (t.to(x.dtype)[..., None, None] for t in (masks[:, :, None], scale, shift))
    styled = normalise(x)
    for i in range(masks.shape[1]):
        mask = masks[:, i, ..., 0, 0]
        x = x * (1 - mask) + (styled * (1 + scale[:, i]) + shift[:, i]) * mask
    return x


def normalise(x: Tensor) -> Tensor:
    """The instance norm.  PyTorch's own answers contiguous whatever it is given, which would slow every later step of
    channels-last features, so those take it in two lines."""
    if x.is_contiguous():
        return F.instance_norm(x)
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return (x - mean) * (variance + 1e-5).rsqrt()
