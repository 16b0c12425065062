"""Optimizers: Adam, or Muon for matrices and Adam for all other parameters."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import OptimizerConfig
from wherewhat.machine import resolve_precision

MOMENTUM = 0.95
UPDATE_SCALE = 0.2
"""root mean square of a Muon update, at a learning rate of 1, so that it matches Adam's (Liu et al. 2025, https://arxiv.org/abs/2502.16982)"""
MIN_SIDE = 24
"""weights with fewer rows or columns than this are left to Adam"""


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    A weight of any shape is a matrix here: its first side against all others.  PyTorch's own takes matrices only.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state: dict[str, Any] = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
                ahead = p.grad.lerp(state["momentum"], MOMENTUM)
                step = orthogonalize(ahead.flatten(1))
                p.add_(step.reshape(p.shape), alpha=-group["lr"] * UPDATE_SCALE * max(step.shape) ** 0.5)


def orthogonalize(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """The matrix with its singular values brought near 1 by five Newton-Schulz steps, computed in bf16 if it is large
    and the processor multiplies bf16 natively (emulated bf16 is many times slower than fp32)."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    if len(x) > 128 and resolve_precision("auto", x.device.type) == "bf16":
        x = x.bfloat16()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether Muon can do something for it: a convolution or dense weight, wide enough both ways."""
    return parameter.ndim in (2, 4) and min(len(parameter), parameter[0].numel()) >= MIN_SIDE


class Optimizer:
    """All parameters of some modules, each updated by Adam or by Muon."""

    def __init__(self, modules: list[nn.Module], config: OptimizerConfig) -> None:
        self.config = config
        self.parameters = [p for module in modules for p in module.parameters()]
        matrices = [p for p in self.parameters if config.kind == "muon" and is_matrix(p)]
        mine = {id(p) for p in matrices}
        others = [p for p in self.parameters if id(p) not in mine]
        self.parts: list[torch.optim.Optimizer] = [torch.optim.Adam(others, config.lr, config.betas, eps=1e-8)]
        if matrices:
            self.parts.append(Muon(matrices, config.lr))

    def step(self, lr: float) -> None:
        """Update all parameters that have a gradient."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, packed: dict[str, Any]) -> None:
        """Continue from another optimizer's state.  Raises KeyError or ValueError if it is of another configuration."""
        for part, state in zip(self.parts, packed["parts"], strict=True):
            part.load_state_dict(state)
