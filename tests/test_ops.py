"""The generator's mathematics, each against the paper's own words."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhat.nn import ops


def loop_of_the_paper(x, masks, scale, shift):
    """Section 3.1, one latent after another."""
    styled = torch.nn.functional.instance_norm(x, eps=1e-5)
    for i in range(masks.shape[1]):
        mask = masks[:, i : i + 1]
        layer = styled * (1 + scale[:, i, :, None, None]) + shift[:, i, :, None, None]
        x = x * (1 - mask) + layer * mask
    return x


def some(n: int = 4, c: int = 6, h: int = 5, w: int = 7, b: int = 3):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(b, c, h, w, generator=rng) * 2 + 1
    masks = torch.rand(b, n, h, w, generator=rng)
    scale, shift = torch.randn(2, b, n, c, generator=rng)
    return x, masks, scale, shift


@given(
    h=st.integers(1, 20), w=st.integers(1, 20), n=st.integers(1, 4), k=st.integers(1, 5), sharp=st.floats(0, 60),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_mask_is_between_0_and_1(h, w, n, k, sharp, seed):
    rng = torch.Generator().manual_seed(seed)
    rows, cols = (sharp * torch.randn(2, n, k, 2, side, generator=rng) for side in (h, w))
    mask = ops.box_mask(rows, cols)
    assert mask.shape == (2, n, h, w)
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_a_sharp_box_is_its_rectangle_up_to_the_last_row_and_column():
    rows, cols = torch.zeros(1, 1, 1, 2, 6), torch.zeros(1, 1, 1, 2, 8)
    rows[..., 0, 2] = rows[..., 1, 5] = cols[..., 0, 3] = cols[..., 1, 7] = 100
    wanted = torch.zeros(6, 8)
    wanted[2:6, 3:8] = 1
    torch.testing.assert_close(ops.box_mask(rows, cols)[0, 0], wanted)


def test_a_softmax_mask_is_a_distribution_over_places():
    mask = ops.softmax_mask(torch.randn(2, 3, 4, 5))
    torch.testing.assert_close(mask.sum((2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize("n", [1, 2, 5, 17])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_paint_is_the_loop_of_the_paper(n, layout):
    inputs = [t.double() if t.ndim == 3 else t for t in some(n)]
    inputs = [t.float().requires_grad_() for t in inputs]
    inputs[0] = inputs[0].detach().contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn_like(inputs[0])
    ours, theirs = ops.masked_adain(*inputs), loop_of_the_paper(*inputs)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    for a, b in zip(torch.autograd.grad((ours * weight).sum(), inputs),
                    torch.autograd.grad((theirs * weight).sum(), inputs), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, atol=5e-5, rtol=1e-3)


def test_paint_in_bf16_is_near_the_loop_in_fp32():
    inputs = some()
    ours = ops.masked_adain(inputs[0].bfloat16(), *inputs[1:])
    assert ours.dtype == torch.bfloat16
    theirs = loop_of_the_paper(*inputs)
    assert (ours.float() - theirs).norm() / theirs.norm() < 0.01


def test_a_closed_mask_is_the_identity():
    x, masks, scale, shift = some()
    torch.testing.assert_close(ops.masked_adain(x, torch.zeros_like(masks), scale, shift), x)


def test_a_latent_changes_nothing_outside_its_mask():
    x, masks, scale, shift = some()
    masks[:, 1, :3] = 0
    moved = shift.clone()
    moved[:, 1] += 5
    change = (ops.masked_adain(x, masks, scale, moved) - ops.masked_adain(x, masks, scale, shift)).abs().amax(1)
    assert (change[:, :3] == 0).all()
    assert (change[:, 3:] > 0).all()


def test_what_shows_of_all_layers_and_the_ground_is_one():
    seen, ground = ops.composite(torch.rand(2, 6, 3, 3))
    torch.testing.assert_close(seen.sum(1) + ground, torch.ones(2, 3, 3))


def test_restyle_of_one_latent_is_paint_with_an_open_mask():
    x, masks, scale, shift = some(n=1)
    torch.testing.assert_close(ops.adain(x, scale, shift), ops.masked_adain(x, torch.ones_like(masks), scale, shift))


def test_groups_of_minibatch_std_are_neighbours():
    x = torch.randn(8, 3, 4, 4)
    whole = ops.minibatch_std(x)
    halves = torch.cat([ops.minibatch_std(part) for part in x.chunk(2)])
    torch.testing.assert_close(whole, halves)
    other = x.clone()
    other[5] += 1
    change = (ops.minibatch_std(other) - whole)[:, -1].abs().amax((1, 2))
    assert (change[:4] == 0).all()
    assert (change[4:] > 0).all()


def test_minibatch_std_takes_any_batch():
    for count in (1, 3, 6, 7):
        assert torch.isfinite(ops.minibatch_std(torch.randn(count, 2, 3, 3))).all()


def test_doubling_keeps_a_flat_image_flat():
    for mode in ("nearest", "bilinear"):
        assert (ops.upsample_2x(torch.ones(1, 2, 3, 4), mode) == torch.ones(1, 2, 6, 8)).all()
