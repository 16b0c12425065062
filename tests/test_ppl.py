"""Perceptual path length: closed forms of simple generators, StyleGAN's filter, torchmetrics with the same distance."""

import sys

import numpy as np
import pytest
import torch

from wherewhat.errors import UserError
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.tpl import EPSILON, path_length
from wherewhat.priors import slerp


def pairs(count, z=4, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((count, z), np.float32) for _ in range(2))


def flat(z):
    """Images of one grey each, 0.1 for each unit of the first latent: a step dz costs 0.01 dz²."""
    return (0.1 * z[:, :1, None, None]).expand(-1, 1, 8, 8)


def wavy(z):
    """The finer the grey changes with the latents, the longer the way."""
    return torch.stack([torch.sin(z[:, i, None, None] * torch.ones(8, 8) * (i + 1)) for i in range(3)], 1)


def kept(lengths):
    """Without what is below the first and above the last hundredth."""
    ordered = np.sort(lengths)
    low, high = ordered[int(np.floor(0.01 * (len(ordered) - 1)))], ordered[int(np.ceil(0.99 * (len(ordered) - 1)))]
    return lengths[(lengths >= low) & (lengths <= high)]


@pytest.mark.parametrize("along", ["full", "end"])
def test_a_linear_generator_has_on_a_line_the_length_of_its_slope(along):
    first, last = pairs(300)
    result = path_length(flat, (first, last), Pixels(), along=along)
    slopes = (0.1 * (last - first)[:, 0].astype(np.float64)) ** 2
    np.testing.assert_allclose(result.lengths, slopes, rtol=0.02, atol=1e-4)  # rounding of z in single precision
    assert result.value == pytest.approx(kept(slopes).mean(), rel=0.01)
    assert len(kept(slopes)) < 300
    assert result.error == pytest.approx(kept(slopes).std(ddof=1) / len(kept(slopes)) ** 0.5, rel=0.01)


def test_the_ends_and_the_whole_way_differ_where_the_generator_is_curved():
    full, end = (path_length(wavy, pairs(200), Pixels(), slerp, along).value for along in ("full", "end"))
    assert full != pytest.approx(end, rel=0.01)
    assert full > 0.1


def test_a_generator_of_one_image_has_no_length_and_a_faster_one_has_more():
    assert path_length(lambda z: torch.zeros(len(z), 3, 8, 8), pairs(20), Pixels(), slerp).value == 0
    slow, fast = (path_length(lambda z, s=s: flat(s * z), pairs(100), Pixels(), slerp).value for s in (1, 2))
    assert fast == pytest.approx(4 * slow, rel=0.02)


def test_batches_and_progress_change_nothing():
    progress = []
    whole = path_length(wavy, pairs(50), Pixels(), slerp, batch=64)
    cut = path_length(wavy, pairs(50), Pixels(), slerp, batch=7, progress=progress.append)
    np.testing.assert_allclose(cut.lengths, whole.lengths, rtol=1e-5)
    assert progress == sorted(progress)
    assert 0 <= min(progress) <= max(progress) < 1
    assert path_length(wavy, pairs(50), Pixels(), slerp, seed=1).value != whole.value


def test_an_arc_keeps_the_length_of_latents_and_goes_evenly():
    a, b = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0, 2.0, 0]])
    for share in (0.0, 0.25, 0.5, 1.0):
        at = slerp(a, b, torch.tensor([[share]]))
        angle = torch.tensor(share * np.pi / 2)
        torch.testing.assert_close(at, torch.tensor([[2 * angle.cos(), 2 * angle.sin(), 0]]))
    longer = slerp(a, 3 * b, torch.tensor([[0.5]]))
    assert longer.norm() == pytest.approx(np.hypot(2, 6) * np.sin(np.pi / 4))
    torch.testing.assert_close(slerp(a, a, torch.tensor([[0.3]])), a)  # no way to go


def test_large_images_are_area_averaged_to_256():
    rows = torch.linspace(-1, 1, 512)[:, None].expand(512, 300)

    def large(z):
        return rows * z[:, :1, None, None].clamp(-1, 1) * 0.5

    def small(z):
        return large(z).reshape(-1, 1, 256, 2, 150, 2).mean((3, 5))

    one, other = (path_length(g, pairs(4), Pixels(), slerp, "end") for g in (large, small))
    np.testing.assert_allclose(one.lengths, other.lengths, rtol=1e-3)
    assert one.options["resize"] == "over 256 by area to 256"


def test_options_say_how_it_was_measured():
    options = path_length(flat, pairs(10), Pixels(), along="end", seed=3).options
    assert options["network"] == "pixels"
    assert (options["along"], options["pairs"], options["seed"]) == ("end", 10, 3)
    assert options["epsilon"] == EPSILON == 1e-4
    assert options["discarded"] == 0.01


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UserError, match="1 pairs of latents"):
        path_length(flat, pairs(1), Pixels())
    with pytest.raises(UserError, match=r"shape \(2, 5\) for 40 latents"):
        path_length(lambda z: torch.zeros(2, 5), pairs(20), Pixels())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("interpolate", "name"), [(slerp, "slerp_any"), (torch.lerp, "lerp")])
def test_torchmetrics_gives_the_same_length_with_the_same_distance(monkeypatch, interpolate, name):
    from torchmetrics.functional.image import perceptual_path_length as published

    module = sys.modules[published.__module__]
    monkeypatch.setattr(module, "_TORCHVISION_AVAILABLE", True)  # only their own LPIPS needs it
    latents = [torch.from_numpy(z) for z in pairs(64)]

    class Wavy(torch.nn.Module):
        def sample(self, count):
            return latents.pop(0)

        def forward(self, z):
            return (wavy(z) + 1) * 127.5

    *_, theirs = published(
        Wavy(), 64, interpolation_method=name, resize=None, lower_discard=None, upper_discard=None, sim_net=Pixels()
    )
    ours = path_length(wavy, pairs(64), Pixels(), interpolate, "end")
    np.testing.assert_allclose(ours.lengths, theirs.numpy(), rtol=0.01, atol=2e-3)  # 1e-4 steps in single precision
    assert ours.lengths.mean() == pytest.approx(theirs.mean().item(), rel=2e-3)
