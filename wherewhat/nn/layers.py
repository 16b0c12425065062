"""Convolution and dense layers, plain or with equalized learning rate (Karras et al. 2018)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""of the leaky ReLU below 0, unless a configuration says otherwise"""


def leaky_relu(x: Tensor, slope: float = SLOPE) -> Tensor:
    """The one non-linearity of all networks here; ReLU where the slope is 0."""
    return F.leaky_relu(x, slope)


def residual_add(x: Tensor, shortcut: Tensor) -> Tensor:
    """A sum scaled to the variance of its parts, so that activations do not grow with depth."""
    return (x + shortcut) * math.sqrt(0.5)


class Conv(nn.Module):
    """A k×k convolution that keeps height and width.  Equalized: weights N(0, 1), scaled by √(2 / fan-in) when used."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, equalized: bool, stride: int = 1) -> None:
        super().__init__()
        self.inner = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)
        self.gain = _equalize(self.inner, inputs * kernel**2) if equalized else 1.0

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        weight = inner.weight * self.gain if self.gain != 1 else inner.weight
        return F.conv2d(x, weight, inner.bias, inner.stride, inner.padding)


class Dense(nn.Module):
    """A dense layer.  Equalized: weights N(0, 1), scaled by √(1 / fan-in) at run time."""

    def __init__(self, inputs: int, outputs: int, *, equalized: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, outputs)
        self.gain = _equalize(self.inner, inputs, 1.0) if equalized else 1.0

    def forward(self, x: Tensor) -> Tensor:
        weight = self.inner.weight * self.gain if self.gain != 1 else self.inner.weight
        return F.linear(x, weight, self.inner.bias)


def _equalize(layer: nn.Conv2d | nn.Linear, fan_in: int, power: float = 2.0) -> float:
    nn.init.normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return math.sqrt(power / fan_in)


def channels_last(module: nn.Module) -> nn.Module:
    """The same module with its convolution weights stored channels last, the fast layout on CPU and GPU."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
