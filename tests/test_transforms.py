"""Similarity transforms of features: what a shift, a turn and a size do."""

import math

import pytest
import torch

from wherewhat.nn.transforms import Similarity, positions, transform, undo


def similarity(b=3, shift=(0.0, 0.0), angle=0.0, log_size=0.0):
    return Similarity(torch.tensor([shift]).repeat(b, 1), torch.full((b,), angle), torch.full((b,), log_size))


def smooth(b=3, h=24, w=32):
    """Blobs that bilinear sampling keeps."""
    torch.manual_seed(0)
    p = positions(h, w, torch.device("cpu"))
    centres = torch.rand(b, 2, 1, 1, 2) - 0.5
    return torch.exp(-4 * (p - centres).square().sum(-1))


def test_nothing_moves_by_the_identity():
    x = torch.randn(3, 2, 24, 32)
    torch.testing.assert_close(transform(x, similarity()), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("pixels", "axis"), [(1, 0), (-3, 0), (2, 1)])
def test_a_shift_by_pixels_shifts_the_picture_by_pixels(pixels, axis):
    x = torch.randn(3, 2, 24, 32)
    shift = [0.0, 0.0]
    shift[axis] = pixels * 2 / 24  # the shorter side is 2 long
    moved = transform(x, similarity(shift=tuple(shift)))
    expected = x.roll(pixels, 3 - axis)
    inside = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(moved[inside], expected[inside], atol=1e-4, rtol=0)


def test_outside_the_mask_nothing_changes_and_inside_it_moves():
    x, mask = torch.randn(3, 2, 24, 32), torch.zeros(3, 24, 32)
    mask[:, :, 16:] = 1
    moved = transform(x, similarity(shift=(0.25, 0.1)), mask)
    torch.testing.assert_close(moved[..., :16], x[..., :16], atol=1e-5, rtol=0)
    assert (moved[..., 16:] - x[..., 16:]).abs().max() > 0.1


def test_a_full_turn_is_the_identity_and_a_quarter_turns_squares():
    x = torch.randn(3, 2, 24, 24)
    torch.testing.assert_close(transform(x, similarity(angle=2 * math.pi)), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(transform(x, similarity(angle=math.pi / 2)), x.rot90(-1, (2, 3)), atol=1e-4, rtol=0)


def test_a_turn_of_a_wide_image_keeps_shapes():
    """A disc stays a disc, since pixels are square."""
    p = positions(24, 48, torch.device("cpu"))
    disc = torch.sigmoid(10 * (0.5 - p.norm(dim=-1)))[None, None]
    torch.testing.assert_close(transform(disc, similarity(1, angle=0.7)), disc, atol=0.03, rtol=0)


def test_a_size_makes_areas_grow_by_its_square():
    p = positions(64, 64, torch.device("cpu"))
    disc = torch.sigmoid(40 * (0.4 - p.norm(dim=-1)))[None, None]
    larger = transform(disc, similarity(1, log_size=math.log(1.5)))
    assert (larger.sum() / disc.sum()).item() == pytest.approx(1.5**2, rel=0.03)


def test_undo_is_the_inverse_of_transform():
    x, by = smooth(), similarity(shift=(0.2, -0.1), angle=0.6, log_size=0.2)
    again = undo(transform(x, by), by)
    inside = (..., slice(8, 16), slice(12, 20))
    torch.testing.assert_close(again[inside], x[inside], atol=0.03, rtol=0)


def test_gradients_reach_shift_angle_size_and_mask():
    values = [torch.full((3, 2), 0.1), torch.full((3,), 0.2), torch.full((3,), 0.1), torch.full((3, 24, 32), 0.5)]
    *by, mask = (v.requires_grad_() for v in values)
    transform(smooth(), Similarity(*by), mask).square().sum().backward()
    assert all((v.grad != 0).any() for v in (*by, mask))


def test_a_mask_of_less_precision_moves_the_same():
    """Masks of networks in bf16 move features as exactly as open ones do: places stay in full precision."""
    x = torch.randn(2, 3, 16, 16)
    by = Similarity(torch.full((2, 2), 0.25), torch.zeros(2), torch.zeros(2))
    torch.testing.assert_close(transform(x, by, torch.ones(2, 16, 16, dtype=torch.bfloat16)), transform(x, by))
