"""Rings: found where they are and only there; folding loses nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wherewhat.nn.generator import unite
from wherewhat.nn.rings import REACH, Ring, find_rings, fold, mutual_information, unfold

RNG = np.random.default_rng(0)


def codes_with_a_ring(count: int = 4000, noise: float = 0.1, values: int | None = None) -> np.ndarray:
    """Latents 1 and 4 hold an angle, 0 and 2 are normal, 3 is unused."""
    z = RNG.standard_normal((count, 5))
    turn = RNG.uniform(-np.pi, np.pi, count)
    if values:
        turn = (np.floor((turn + np.pi) / (2 * np.pi) * values) + 0.3) * 2 * np.pi / values
    z[:, 1] = 1.3 * np.cos(turn) + 0.2 + noise * z[:, 1]
    z[:, 4] = 1.3 * np.sin(turn) - 0.1 + noise * z[:, 4]
    z[:, 3] *= 0.01
    return z


@pytest.mark.parametrize("values", [None, 10])
def test_the_ring_is_found_and_nothing_else(values: int | None) -> None:
    rings = find_rings(codes_with_a_ring(values=values))
    assert [(r.angle, r.radius) for r in rings] == [(1, 4)]
    assert abs(rings[0].centre[0] - 0.2) < 0.1 and abs(rings[0].centre[1] + 0.1) < 0.1
    assert abs(rings[0].middle - 1.3) < 0.1


def test_normal_and_correlated_latents_are_no_ring() -> None:
    z = RNG.standard_normal((4000, 4))
    z[:, 3] = 0.9 * z[:, 2] + 0.4 * z[:, 3]
    assert find_rings(z) == ()


def test_a_square_of_two_uniform_latents_is_no_ring() -> None:
    assert find_rings(RNG.uniform(-2, 2, (4000, 2))) == ()


def test_a_turn_begins_between_the_values() -> None:
    z = codes_with_a_ring(noise=0.02, values=8)
    (ring,) = find_rings(z)
    angle = fold(torch.from_numpy(z), (ring,))[:, 1]
    assert angle.abs().max() < REACH - 0.1  # no value is cut in two by the jump
    assert (np.diff(np.sort(angle.numpy())) > 0.2).sum() == 7


@given(st.integers(0, 10_000))
def test_folding_and_unfolding_undo_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings = (
        Ring(0, 3, (0.1, -0.2), float(rng.uniform(-4, 4)), 1.0, 0.3),
        Ring(4, 1, (0.0, 0.0), float(rng.uniform(-4, 4)), 2.0, 1.5),
    )
    z = torch.from_numpy(rng.standard_normal((50, 6)))
    controls = fold(z, rings)
    assert torch.allclose(unfold(controls, rings), z, atol=1e-9)
    assert torch.equal(controls[:, [2, 5]], z[:, [2, 5]])
    assert controls[:, [0, 4]].abs().max() <= REACH


def test_one_turn_ends_where_it_began() -> None:
    ring = Ring(0, 1, (0.0, 0.0), 0.7, 1.0, 0.2)
    ends = unfold(torch.tensor([[-REACH, 0.0], [REACH, 0.0], [3 * REACH, 0.0]]), (ring,))
    assert torch.allclose(ends[0], ends[1], atol=1e-6) and torch.equal(ends[1], ends[2])


def test_both_controls_act_where_either_latent_does() -> None:
    coarse, fine = torch.rand(2, 2, 4, 4), torch.rand(2, 1, 8, 8)
    rings = (Ring(0, 2, (0.0, 0.0), 0.0, 1.0, 1.0),)
    first, second = unite((coarse, fine), rings)
    assert torch.equal(first[:, 1], coarse[:, 1])
    assert (first[:, 0] >= coarse[:, 0]).all() and (second >= fine).all()
    assert (first[:, 0] > coarse[:, 0]).any() and (second > fine).any()
    assert all(torch.equal(a, b) for a, b in zip(unite((coarse, fine), ()), (coarse, fine), strict=True))


def test_mutual_information_of_the_same_and_of_others() -> None:
    a, b = RNG.standard_normal((2, 20_000))
    assert abs(mutual_information(a, b)) < 0.02
    assert abs(mutual_information(a, np.exp(a)) - np.log(16)) < 1e-6
