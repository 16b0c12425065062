"""Axes of a generator: directions among its latents that become its controls, in a file of their own.  z latents, k
axes."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wherewhat.atomic import explained, first_line, write_with
from wherewhat.errors import UserError

ORTHOGONAL = 1e-3
"""largest deviation of the products of a basis from those of an orthonormal one"""


@dataclass(frozen=True)
class Axes:
    """An orthonormal basis of the latents, so that a standard normal prior stays one; the first of its directions are
    controls."""

    basis: Float[Tensor, "z z"]
    """column k is where control k moves the latents"""
    shares: Float[Tensor, " k"]
    """how much each of the first k accounts for: the share of variance, or of squared weights"""
    how: str
    """what they were found by: pca or closed-form"""

    @property
    def controls(self) -> int:
        """How many of the directions are controls."""
        return len(self.shares)

    def save(self, path: Path) -> Path:
        """Write a .safetensors.  Raises UserError if it cannot be written."""
        tensors = {"basis": self.basis.contiguous(), "shares": self.shares.contiguous()}
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_with(path, lambda partial: save_file(tensors, partial, metadata={"how": self.how}))
        return path

    @classmethod
    def load(cls, path: Path) -> "Axes":
        """What `save` has written.  Raises UserError for anything else."""
        if not path.is_file():
            raise UserError(f"there are no axes {path}: find some with wherewhat axes, or give --axes latents")
        try:
            with safe_open(path, "pt") as opened:
                found = cls(opened.get_tensor("basis"), opened.get_tensor("shares"), opened.metadata()["how"])
            products = found.basis.T @ found.basis - torch.eye(len(found.basis))
            if not products.abs().max() < ORTHOGONAL or not 0 < found.controls <= len(found.basis):
                raise ValueError("no orthonormal basis")
        except Exception as error:  # of every kind, as safetensors and PyTorch have them
            raise UserError(f"{path} does not hold axes ({first_line(error)}): make them with wherewhat axes") from None
        return found


def orthonormal(directions: Float[Tensor, "k z"]) -> Float[Tensor, "z z"]:
    """A basis that begins with these directions, each made orthogonal to those before it."""
    count, latents = directions.shape
    others = torch.randn(latents - count, latents, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis, triangle = torch.linalg.qr(torch.cat([directions.double().cpu(), others]).T)
    return (basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0)).float()
