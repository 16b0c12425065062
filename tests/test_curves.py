"""Curves: one control of several components that hold one variation."""

import math

import numpy as np
import pytest
import torch

from wherewhat.nn.controls import Controls, fit_controls
from wherewhat.nn.curves import (
    Curve,
    corrected_information,
    fit_curves,
    is_one_variation,
    rotate_to_independence,
    shortest_tour,
)  # fmt: skip

N = 4_000


def clusters(rng, count, noise=0.05):
    """A variation of `count` values in two dimensions, each value a cluster, made white."""
    angle = 2 * math.pi * np.arange(count)[rng.permutation(count)] / count
    centres = 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.3 * rng.standard_normal((count, 2))
    values = rng.integers(count, size=N)
    x = centres[values] + noise * rng.standard_normal((N, 2))
    return (x - x.mean(0)) / x.std(0), values


def agreement(control, values):
    """Share of the variation's entropy that the control holds."""
    counts = np.bincount(values) / len(values)
    cells = np.searchsorted(np.quantile(control, np.linspace(0, 1, 41)[1:-1]), control)
    joint = np.histogram2d(cells, values, (40, len(counts)))[0] / len(values)
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    filled = joint > 0
    return (joint[filled] * np.log(joint[filled] / apart[filled])).sum() / -(counts * np.log(counts)).sum()


@pytest.mark.parametrize("closed", [False, True])
def test_decode_is_the_inverse_of_encode_beside_and_on_the_path(closed):
    rng = np.random.default_rng(0)
    nodes = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 2.0, 0.5]])
    curve = Curve((0, 1, 2), tuple(map(tuple, nodes.tolist())), closed, ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1)))
    position = torch.linspace(-1.99, 1.99, 50, dtype=torch.float64)
    on_path = curve.decode(torch.stack([position, torch.zeros(50), torch.zeros(50)], 1).double())
    again = curve.encode(on_path)
    torch.testing.assert_close(again[:, 0], position, atol=1e-6, rtol=0)
    assert again[:, 1:].abs().max() < 1e-5
    aside = on_path + torch.from_numpy(rng.standard_normal((50, 3)) * [0, 0, 0.05])
    torch.testing.assert_close(curve.decode(curve.encode(aside)), aside, atol=0.03, rtol=0)


def test_a_closed_path_goes_on_around_and_an_open_one_ends():
    nodes = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
    ends = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [6.0, 0.0], [9.0, 0.0]])
    circle, line = (Curve((0, 1), nodes, closed, ((0.0,), (0.1,))) for closed in (True, False))
    around = circle.decode(ends)
    torch.testing.assert_close(around[0], around[1])
    torch.testing.assert_close(around[1], around[2])
    torch.testing.assert_close(line.decode(ends)[3], torch.tensor(nodes[3]))


def test_the_tour_of_points_on_a_ring_is_the_ring_and_of_points_on_a_line_is_open():
    angles = np.arange(8) * math.pi / 4
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    mixed = np.random.default_rng(0).permutation(8)
    tour, closed = shortest_tour(ring[mixed])
    steps = np.diff(mixed[tour]) % 8
    assert closed and (set(steps) == {1} or set(steps) == {7})
    tour, closed = shortest_tour(np.stack([np.arange(6.0), np.zeros(6)], 1)[np.array([3, 0, 5, 1, 4, 2])])
    assert not closed


def test_what_varies_alone_is_left_alone_and_what_varies_together_is_joined():
    rng = np.random.default_rng(0)
    a, _ = clusters(rng, 6)
    alone = rng.uniform(-1.7, 1.7, (N, 2))
    curves = fit_curves(np.concatenate([alone[:, :1], a, alone[:, 1:]], 1))
    assert [sorted(c.members) for c in curves] == [[1, 2]]
    assert is_one_variation(a[:, :1], a[:, 1:], rng) and not is_one_variation(alone[:, :1], alone[:, 1:], rng)


def test_controls_hold_each_variation_in_one_number_however_latents_are_mixed():
    rng = np.random.default_rng(1)
    a, first = clusters(rng, 5)
    b, second = clusters(rng, 3)
    alone = rng.uniform(-1.7, 1.7, (N, 1))
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    codes = np.concatenate([a, b, alone], 1) @ turn
    controls = fit_controls(codes, "curves")
    assert controls is not None and len(controls.curves) == 2
    read = controls.encode(torch.from_numpy(codes)).numpy()
    for values in (first, second):
        shares = sorted(agreement(read[:, k], values) for k in range(5))
        assert shares[-1] > 0.9 and shares[-2] < 0.5
    assert np.abs(controls.decode(torch.from_numpy(read)).numpy() - codes).max() < 0.5
    assert Controls.from_json(controls.to_json()) == controls
    assert set(controls.angles) == {c.members[0] for c in controls.curves if c.closed}


def test_rotation_undoes_a_rotation_of_independent_variables():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.7, 1.7, (N, 3))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotation, entropy = rotate_to_independence(x @ turn)
    again = np.abs(np.corrcoef((x @ turn @ rotation).T, x.T)[:3, 3:])
    assert (again.max(1) > 0.99).all() and np.allclose(rotation @ rotation.T, np.eye(3))
    assert entropy < rotate_to_independence(x @ turn, sweeps=0)[1]


def test_information_of_independent_variables_is_corrected_to_0():
    rng = np.random.default_rng(0)
    values = [corrected_information(*rng.standard_normal((2, 2_000))) for _ in range(20)]
    assert abs(np.mean(values)) < 0.003
