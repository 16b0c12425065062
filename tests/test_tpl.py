"""TPL: lengths of traversals against a plain loop and closed forms, for our generator and for any function."""

import re
from dataclasses import astuple

import numpy as np
import pytest
import torch
from conftest import small
from helpers import random_lpips

from wherewhat.errors import UserError
from wherewhat.evaluation.encoding import ImagesOf
from wherewhat.families.family import build_generator
from wherewhat.metrics.distance import Lpips, Pixels
from wherewhat.metrics.tpl import PROTOCOLS, TplProtocol, check_images, find_protocol, rotate, sweep, tpl, tpl_score

FEW = TplProtocol(points=9, bases=5)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return build_generator(small("rooms", (16, 24))).eval()


def ramp(slopes, region=1.0):
    """Latent i changes the first `region` of all columns by slopes[i] for each unit; lengths have a closed form."""

    def generate(z):
        image = torch.zeros(len(z), 3, 4, 8)
        image[..., : round(8 * region)] = (z @ torch.tensor(slopes)).view(-1, 1, 1, 1)
        return image

    return generate


class Manhattan:
    """Someone else's distance: mean absolute difference.  Along a line it adds up to the distance of the ends."""

    options = {"network": "mine"}  # noqa: RUF012

    def path(self, images, batch=32):
        return (images[:, 1:] - images[:, :-1]).abs().mean((2, 3, 4))


def test_tpl_does_not_depend_on_batch_size(generator):
    results = [tpl(ImagesOf(generator), 4, Pixels(), FEW, batch=batch) for batch in (7, 64, 1000)]
    assert results[0].per_latent.min() > 1e-4
    for other in results[1:]:
        np.testing.assert_allclose(other.per_latent, results[0].per_latent, rtol=1e-5)
        np.testing.assert_allclose(other.per_latent_error, results[0].per_latent_error, rtol=1e-4)
        assert other.score == pytest.approx(results[0].score, rel=1e-5)


def test_tpl_is_a_plain_double_loop(generator):
    lengths = np.zeros((FEW.bases, 4))
    bases = np.random.default_rng(3).standard_normal((FEW.bases, 4), np.float32)
    for t, base in enumerate(bases):
        for i in range(4):
            before = None
            for value in np.linspace(-4, 4, FEW.points):
                z = torch.from_numpy(base.copy())
                z[i] = value
                with torch.no_grad():
                    image = generator(z[None]).image.clamp(-1, 1).double()
                if before is not None:
                    lengths[t, i] += float(((image - before) ** 2).mean())
                before = image
    result = tpl(ImagesOf(generator), 4, Pixels(), FEW, threshold=0.0, seed=3)
    np.testing.assert_allclose(result.per_latent, lengths.mean(0), rtol=1e-4)
    np.testing.assert_allclose(result.per_latent_error, lengths.std(0, ddof=1) / np.sqrt(FEW.bases), rtol=1e-3)
    assert result.score == pytest.approx(lengths.sum(1).mean(), rel=1e-4)


def test_a_dimension_that_changes_nothing_has_no_length_and_is_inactive(generator):
    with torch.no_grad():
        generator.stages[0].style[1] = 0
    result = tpl(ImagesOf(generator), 4, Pixels(), FEW, threshold=0.0)
    assert result.per_latent[1] == 0
    assert result.active.tolist() == [True, False, True, True]


def test_the_length_of_a_ramp_is_its_closed_form():
    """(S−1) steps of 8a/(S−1), squared, over the region that changes: 64 a² r / (S−1), from every base point."""
    slopes = [0.125, 0.25, 0.0]
    result = tpl(ramp(slopes, region=0.5), 3, Pixels(), FEW, threshold=0.1)
    closed = [64 * a**2 * 0.5 / (FEW.points - 1) for a in slopes]
    np.testing.assert_allclose(result.per_latent, closed, rtol=1e-5)
    np.testing.assert_allclose(result.per_latent_error, 0, atol=1e-6)
    assert result.active.tolist() == [False, True, False]
    assert result.score == pytest.approx(closed[1], rel=1e-5)


@pytest.mark.parametrize("points", [2, 9, 33])
def test_any_distance_can_be_used(points):
    result = tpl(ramp([0.125, 0.25]), 2, Manhattan(), TplProtocol(points, 3))
    np.testing.assert_allclose(result.per_latent, [1.0, 2.0], rtol=1e-5)
    assert result.options["network"] == "mine"


def test_any_function_of_latents_can_be_measured():
    """It sees latents of all controls and no gradients; its images are grey here, in double precision, from NumPy."""
    seen = []

    def generate(z):
        seen.append((z.shape[1], torch.is_grad_enabled(), z.dtype))
        waves = np.sin(z.numpy()[:, :2].astype(np.float64))
        return torch.from_numpy(np.broadcast_to(waves[:, 0, None, None, None], (len(z), 1, 5, 3)).copy())

    result = tpl(generate, 3, Pixels(), TplProtocol(201, 2))
    x = np.sin(np.linspace(-4, 4, 201))
    np.testing.assert_allclose(result.per_latent, [(np.diff(x) ** 2).sum(), 0, 0], rtol=1e-4)
    assert set(seen) == {(3, False, torch.float32)}


def test_lpips_measures_the_same_sweeps(generator):
    """A network in place of pixels: the sum over neighbours of its distances of pairs."""
    network = Lpips(random_lpips("vgg"))
    result = tpl(ImagesOf(generator), 4, network, TplProtocol(3, 2), seed=1, batch=5)
    bases = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 4), np.float32))
    pairs = []
    for base in bases:
        images = ImagesOf(generator)(sweep(base, 2, 3)).detach()
        pairs.append(float(network(images[:1], images[1:2]) + network(images[1:2], images[2:])))
    assert result.per_latent[2] == pytest.approx(np.mean(pairs), rel=1e-4)
    assert result.options["network"] == "vgg"


def test_sweeps_of_several_base_points_are_those_of_each():
    bases = torch.randn(2, 3, 4)
    each = torch.stack([torch.stack([sweep(base, 2, 7, 1.5) for base in row]) for row in bases])
    assert torch.equal(sweep(bases, 2, 7, 1.5), each)
    assert each.shape == (2, 3, 7, 4)


def test_a_sweep_goes_from_minus_4_to_4_and_moves_one_latent():
    base = torch.tensor([0.3, -0.2, 0.9])
    z = sweep(base, 1, 5)
    assert z[:, 1].tolist() == [-4, -2, 0, 2, 4]
    assert (z[:, [0, 2]] == base[[0, 2]]).all()
    assert base.tolist() == pytest.approx([0.3, -0.2, 0.9])


def test_another_seed_measures_other_base_points(generator):
    one, same, other = (tpl(ImagesOf(generator), 4, Pixels(), FEW, seed=seed).per_latent for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


def test_what_a_sweep_does_not_touch_is_computed_once(generator):
    """And nothing else changes: any sweeps, of one latent each or of several, are the images of their places."""
    z = torch.randn(4, 1, 4).repeat(1, 6, 1)
    for k in range(4):
        z[k, :, k] = torch.linspace(-4, 4, 6)
    both = torch.randn(2, 1, 4).repeat(1, 6, 1)
    both[..., :2] = torch.randn(2, 6, 2)
    for some in (z, *z.split(1), z[:1, :1], both, torch.randn(2, 6, 4)):
        places = generator(some.flatten(0, 1)).image.unflatten(0, some.shape[:2])
        assert torch.allclose(generator.sweeps(some), places, atol=1e-5)
    rows = []
    for stage in generator.stages:
        for conv in (stage.before, *stage.after):
            conv.register_forward_pre_hook(lambda _, values: rows.append(len(values[0])))
    generator.sweeps(z[3:])  # the last latent is in the second stage, where two points make a line
    assert rows == [1, 1, 1, 2]
    rows.clear()
    generator.sweeps(z[:1])
    assert rows == [1, 2, 6, 6]


def test_base_points_are_added_until_the_error_is_small_enough():
    """The rough generator's sweeps all differ, the ramp's are all alike."""

    def rough(z):
        return (z.abs() * torch.tensor([1.0, 0.2])).sum(1).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).sin()

    protocol = TplProtocol(points=9, bases=95)
    whole = tpl(rough, 2, Pixels(), protocol)
    some = tpl(rough, 2, Pixels(), protocol, until=1.5 * whole.error / whole.score)
    assert 10 < some.options["bases"] < 95 and some.options["bases"] % 10 == 0
    assert some.error <= some.options["until"] * some.score
    assert tpl(rough, 2, Pixels(), protocol, until=1e-9).score == whole.score
    assert tpl(ramp([1.0, 0.5]), 2, Pixels(), protocol, until=0.01).options["bases"] == 10


def test_progress_is_reported_and_grows():
    progress = []
    tpl(ramp([1.0, 0.0, 0.5]), 3, Pixels(), FEW, batch=18, progress=progress.append)
    assert len(progress) == 3
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] <= 1


# ------------------------------------------------------------------------------------------------- segments to score


def test_a_control_is_active_above_the_threshold_not_at_it():
    segments = np.array([[[0.25, 0.25], [0.25, 0.375], [0.0, 0.0]]], np.float32).repeat(2, 0)
    assert tpl_score(segments, 0.5).active.tolist() == [False, True, False]
    assert tpl_score(segments, 0.5).score == 0.625
    assert tpl_score(segments, 0.4999).score == 1.125
    assert tpl_score(segments, 0.0).active.tolist() == [True, True, False]
    nothing = tpl_score(segments, 10.0)
    assert (nothing.score, nothing.error, nothing.active.sum()) == (0, 0, 0)


def test_the_threshold_asked_for_replaces_the_protocols_even_if_it_is_0():
    generate = ramp([0.0625])
    asked = tpl(generate, 1, Pixels(), FEW, threshold=0.0)
    published = tpl(generate, 1, Pixels(), FEW)
    assert (asked.options["threshold"], published.options["threshold"]) == (0.0, 0.1)
    assert asked.active.all()
    assert not published.active.any()


def test_lengths_are_sums_along_a_sweep_averaged_over_base_points():
    segments = np.arange(12, dtype=np.float64).reshape(2, 2, 3)
    result = tpl_score(segments, 0.0)
    assert result.per_latent.tolist() == [(0 + 1 + 2 + 6 + 7 + 8) / 2, (3 + 4 + 5 + 9 + 10 + 11) / 2]
    assert result.score == result.per_latent.sum()


def test_standard_errors_are_over_base_points():
    """Controls that go up and down together have a larger error of the sum than independent ones."""
    segments = np.zeros((4, 3, 2))
    segments[:, 0, 0] = segments[:, 1, 0] = [1, 2, 3, 6]
    segments[:, 2, 1] = [0.01, 0.02, 0.03, 0.04]
    result = tpl_score(segments, 0.1)
    error = np.std([1, 2, 3, 6], ddof=1) / 2
    np.testing.assert_allclose(result.per_latent_error, [error, error, np.std([1, 2, 3, 4], ddof=1) / 200])
    assert result.error == pytest.approx(2 * error)
    against = segments.copy()
    against[:, 1] = 7 - against[:, 0] - np.array([0, 7])
    assert tpl_score(against, 0.1).error == pytest.approx(0, abs=1e-12)


def test_one_base_point_has_no_standard_error():
    result = tpl_score(np.ones((1, 2, 3)), 0.1)
    assert result.score == 6
    assert np.isnan(result.error)
    assert np.isnan(result.per_latent_error).all()


def test_the_score_is_blind_to_the_order_of_controls_and_directions():
    segments = np.random.default_rng(0).random((5, 6, 4))
    segments[:, 3] *= 0.01
    one, other = tpl_score(segments, 0.1), tpl_score(segments[:, ::-1, ::-1], 0.1)
    assert one.score == pytest.approx(other.score)
    assert one.error == pytest.approx(other.error)
    assert one.active.tolist() == other.active.tolist()[::-1]


# ------------------------------------------------------------------------------------------- protocols and bad input


def test_published_protocols_have_their_numbers():
    published = {
        "small": (25, 10, 0.1),
        "medium": (25, 50, 0.1),
        "large": (49, 300, 0.1),
        "huge": (49, 3000, 0.1),
        "dlib": (50, 500, 0.01),
    }
    assert {name: astuple(protocol) for name, protocol in PROTOCOLS.items()} == published


def test_options_tell_everything_that_changes_the_number():
    options = tpl(ramp([1.0]), 1, Pixels(), "small", seed=5).options
    wanted = {"points": 25, "bases": 10, "threshold": 0.1, "reach": 4.0, "seed": 5, "network": "pixels"}
    assert wanted.items() <= options.items()


@pytest.mark.parametrize(("name", "nearest"), [("smal", "small"), ("hugh", "huge")])
def test_an_unknown_protocol_is_reported_with_the_nearest(name, nearest):
    with pytest.raises(UserError, match=f"no TPL protocol {name}; did you mean {nearest}"):
        find_protocol(name)
    with pytest.raises(UserError, match="there is: small, medium, large, huge, dlib"):
        tpl(ramp([1.0]), 1, Pixels(), "qqq")
    assert find_protocol(FEW) is FEW


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(6, 8, 8), "shape (6, 8, 8) for 6 latents: it must return images of shape (6, 1|3|4, height"),
        (torch.zeros(5, 3, 8, 8), "shape (5, 3, 8, 8) for 6 latents"),
        (torch.zeros(6, 8, 8, 3), "shape (6, 8, 8, 3)"),
        (torch.zeros(6, 2, 8, 8), "shape (6, 2, 8, 8)"),
        (torch.full((6, 3, 8, 8), torch.nan), "not finite"),
        (torch.full((6, 3, 8, 8), torch.inf), "not finite"),
        (torch.full((6, 3, 8, 8), 255.0), "up to 255: scale them to [−1, 1]"),
        (torch.full((6, 3, 8, 8), -100.0), "up to 100"),
        (torch.full((6, 3, 8, 8), 255, dtype=torch.uint8), "up to 255"),
    ],
)
def test_what_a_generator_may_not_return(images, words):
    with pytest.raises(UserError, match=re.escape(words)):
        check_images(images, 6)
    with pytest.raises(UserError, match=re.escape(words).replace("6", "[69]")):
        tpl(lambda z: images, 1, Pixels(), TplProtocol(6, 1))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_1_3_and_4_channels_are_measured(channels):
    check_images(torch.full((2, channels, 3, 5), 1.5), 2)
    assert tpl(lambda z: z.view(-1, 1, 1, 1).expand(-1, channels, 2, 3) / 4, 1, Pixels(), FEW).score > 0


# ------------------------------------------------------------------------------------------------------------- rotation


def two_bars(z: torch.Tensor) -> torch.Tensor:
    """Latent 0 lights the left half, latent 1 the right one, each by a bounded amount; others do nothing."""
    image = torch.zeros(len(z), 1, 8, 8)
    image[..., :4] = torch.tanh(z[:, 0])[:, None, None, None]
    image[..., 4:] = torch.tanh(z[:, 1])[:, None, None, None]
    return image


def test_sweeps_along_simple_latents_are_shorter_than_between_them() -> None:
    """Along an axis half the pixels move and stop where they saturate; between the axes all of them do."""
    study = rotate(two_bars, 3, Pixels(), (0, 1), 17, TplProtocol(25, 4))
    assert study.degrees[[0, 4, 8, 12, 16]].tolist() == [0, 45, 90, 135, 180]
    assert study.axis_score > 0.2
    assert study.lengths[0] == pytest.approx(study.lengths[8]) == pytest.approx(study.lengths[16])
    assert study.lengths.argmin() in (0, 8, 16)


def test_rotated_latents_have_a_negative_score_and_unused_ones_none() -> None:
    turn = torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) / 2**0.5
    assert rotate(lambda z: two_bars(z @ turn), 3, Pixels(), (0, 1), 9, TplProtocol(25, 4)).axis_score < -0.3
    idle = rotate(lambda z: torch.zeros(len(z), 1, 8, 8), 3, Pixels(), (0, 2), 5, TplProtocol(5, 2))
    assert idle.axis_score == 0 and (idle.lengths == 0).all()


@pytest.mark.parametrize(
    ("pair", "angles", "words"), [((1, 1), 17, "two different"), ((0, 3), 17, "0 to 2"), ((0, 1), 8, "5, 9")]
)
def test_pairs_and_angles_that_there_are_not(pair: tuple[int, int], angles: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rotate(two_bars, 3, Pixels(), pair, angles, TplProtocol(5, 2))
