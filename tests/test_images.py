"""PSNR and SSIM: known values, the published definition, blindness to the rest of the batch."""

import pytest
import torch

from wherewhat.errors import UserError
from wherewhat.metrics.images import psnr, ssim


@pytest.fixture
def pair():
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 24, 20, generator=rng) * 2 - 1
    strength = torch.tensor([0.05, 0.3, 1.0]).view(3, 1, 1, 1)
    return (target + strength * torch.randn(target.shape, generator=rng)).clamp(-1, 1), target


def test_psnr_counts_orders_of_magnitude():
    black = torch.full((3, 1, 8, 8), -1.0)
    assert psnr(black + torch.tensor([2.0, 0.2, 0.02]).view(3, 1, 1, 1), black).tolist() == pytest.approx([0, 20, 40])
    assert psnr(black, black).isinf().all()


def test_ssim_is_1_for_equal_images_falls_with_noise_and_is_symmetric(pair):
    noisy, target = pair
    torch.testing.assert_close(ssim(target, target), torch.ones(3))
    one, other = ssim(noisy, target), ssim(target, noisy)
    assert 1 > one[0] > one[1] > one[2] > -1
    torch.testing.assert_close(one, other)


def test_ssim_of_flat_images_is_its_luminance_term():
    bright, dark = torch.full((1, 1, 11, 11), 0.8), torch.full((1, 1, 11, 11), 0.2)
    expected = (2 * 0.8 * 0.2 + 0.02**2) / (0.8**2 + 0.2**2 + 0.02**2)
    assert ssim(bright, dark).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_the_published_one_by_the_plain_sum_over_windows(pair):
    image, target = (t[1:2, :1].double() for t in pair)
    g = torch.exp(-((torch.arange(11).double() - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(g, g) / g.sum() ** 2
    values = []
    for i in range(24 - 10):
        for j in range(20 - 10):
            x, y = (t[0, 0, i : i + 11, j : j + 11] for t in (image, target))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            both = (window * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + 0.02**2) / (mx**2 + my**2 + 0.02**2)
            values.append(luminance * (2 * both + 0.06**2) / (vx + vy + 0.06**2))
    torch.testing.assert_close(ssim(image, target)[0], torch.stack(values).mean())


def test_both_agree_with_torchmetrics(pair):
    functional = pytest.importorskip("torchmetrics.functional.image")
    settings = {"data_range": 2.0, "reduction": "none"}
    _, everywhere = functional.structural_similarity_index_measure(*pair, **settings, return_full_image=True)
    inside = everywhere[:, :, 5:-5, 5:-5].mean((1, 2, 3))  # it pads, and averages over the padding too
    torch.testing.assert_close(ssim(*pair), inside, atol=1e-5, rtol=0)
    theirs = functional.peak_signal_noise_ratio(*pair, dim=(1, 2, 3), **settings)
    torch.testing.assert_close(psnr(*pair), theirs)


def test_an_image_is_scored_by_itself(pair):
    for score in (psnr, ssim):
        torch.testing.assert_close(score(*pair)[1:2], score(*(t[1:2] for t in pair)))


def test_images_smaller_than_a_window_are_refused():
    with pytest.raises(UserError, match="10x32"):
        ssim(torch.zeros(1, 1, 10, 32), torch.zeros(1, 1, 10, 32))
