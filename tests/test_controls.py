"""Controls: components and polar_pairs are found where they are and only there; going there and back loses nothing."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wherewhat.nn.controls import (
    ANGLE_RANGE,
    Controls,
    PolarPair,
    entropy,
    find_polar_pairs,
    fit_controls,
    fit_ica,
    from_polar,
    mutual_information,
    total_correlation,
)
from wherewhat.nn.generator import control_masks

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


def sources(count: int = 6000) -> np.ndarray:
    """Two uniform variables and an angle around a circle: four independent or pair-shaped components."""
    turn = RNG.uniform(-np.pi, np.pi, count)
    plain = RNG.uniform(-1.7, 1.7, (count, 2))
    return np.column_stack([plain, 1.4 * np.cos(turn), 1.4 * np.sin(turn)]) + 0.05 * RNG.standard_normal((count, 4))


ALL = np.ones(8, bool)
TURN = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]


def nested(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


# ---------------------------------------------------------------------------------------------------------- polar pairs


@pytest.mark.parametrize("values", [None, 10])
def test_the_ring_is_found_and_nothing_else(values: int | None) -> None:
    polar_pairs = find_polar_pairs(codes_with_a_ring(values=values))
    assert [(r.angle, r.radius) for r in polar_pairs] == [(1, 4)]
    assert abs(polar_pairs[0].centre[0] - 0.2) < 0.1 and abs(polar_pairs[0].centre[1] + 0.1) < 0.1
    assert abs(polar_pairs[0].middle - 1.3) < 0.1


def test_normal_and_correlated_latents_are_no_ring() -> None:
    z = RNG.standard_normal((4000, 4))
    z[:, 3] = 0.9 * z[:, 2] + 0.4 * z[:, 3]
    assert find_polar_pairs(z) == ()


def test_a_square_of_two_uniform_latents_is_no_ring() -> None:
    assert find_polar_pairs(RNG.uniform(-2, 2, (4000, 2))) == ()


def test_a_turn_begins_between_the_values() -> None:
    z = codes_with_a_ring(noise=0.02, values=8)
    angle = Controls.plain(5, find_polar_pairs(z)).encode(torch.from_numpy(z))[:, 1]
    assert angle.abs().max() < ANGLE_RANGE - 0.1  # no value is cut in two by the jump
    assert (np.diff(np.sort(angle.numpy())) > 0.2).sum() == 7


def fan(count: int = 6000) -> np.ndarray:
    """Latents 0 and 2 hold a place and a size: places lie on an arc, further apart for large things."""
    place, size = RNG.uniform(-1, 1, count), RNG.uniform(0.5, 1.0, count)
    angle = 2.0 * place + 1.0
    z = np.column_stack([2 * size * np.cos(angle) - 0.6, RNG.uniform(-1.7, 1.7, count), 2 * size * np.sin(angle) + 0.3])
    return np.column_stack([z, place, size])


def test_an_arc_becomes_a_place_and_a_size() -> None:
    made = fan()
    codes = made[:, :3] + 0.02 * RNG.standard_normal((len(made), 3))
    (arc,) = find_polar_pairs(codes)
    assert {arc.angle, arc.radius} == {0, 2} and 3.8 < arc.turn < 4.4
    read = Controls.plain(3, (arc,)).encode(torch.from_numpy(codes)).numpy()
    fit = np.abs(np.corrcoef(np.column_stack([made[:, 3:], read]).T))[:2, 2:]
    assert fit[0, arc.angle] > 0.97 and fit[1, arc.radius] > 0.97
    assert fit[0, arc.radius] < 0.15 and fit[1, arc.angle] < 0.15
    assert np.abs(read[:, arc.angle]).max() < 2.2  # from end to end it goes from −2 to 2
    assert Controls.plain(3, (arc,)).angles == ()


def test_going_to_an_arc_and_back_loses_nothing_even_beyond_its_ends() -> None:
    arc = PolarPair(0, 1, (0.3, -0.2), 0.4, 1.5, 0.4, 4.0)
    z = torch.from_numpy(RNG.standard_normal((500, 2)))
    controls = Controls.plain(2, (arc,))
    assert torch.allclose(controls.decode(controls.encode(z)), z, atol=1e-9)
    far = controls.decode(torch.tensor([[9.0, 0.0], [2 * ANGLE_RANGE * np.pi / 4.0, 0.0]], dtype=torch.float64))
    assert torch.allclose(far[0], far[1])  # the middle of the gap, no further


def test_one_turn_ends_where_it_began() -> None:
    pair = PolarPair(0, 1, (0.0, 0.0), 0.7, 1.0, 0.2)
    ends = from_polar(torch.tensor([[-ANGLE_RANGE, 0.0], [ANGLE_RANGE, 0.0], [3 * ANGLE_RANGE, 0.0]]), (pair,))
    assert torch.allclose(ends[0], ends[1], atol=1e-6) and torch.equal(ends[1], ends[2])


# ----------------------------------------------------------------------------------------------------------- components


def test_turned_sources_are_found_again() -> None:
    made = sources()
    found = fit_controls(made @ TURN.T)
    assert found is not None and len(found.polar_pairs) == 1
    read = found.encode(torch.from_numpy(made @ TURN.T)).numpy()
    angle = np.arctan2(made[:, 3], made[:, 2])
    pair = found.polar_pairs[0]
    straight = [k for k in range(4) if k not in (pair.angle, pair.radius)]
    fit = np.abs(np.corrcoef(made[:, :2].T, read[:, straight].T))[:2, 2:]
    assert sorted(fit.argmax(1)) == [0, 1] and fit.max(1).min() > 0.97
    assert mutual_information(angle, read[:, pair.angle]) > 2


def test_sources_that_lie_along_the_latents_are_left_there() -> None:
    made = sources()
    found = fit_controls(made)
    assert found is not None
    assert (np.abs(found.shares()) > 0.2).sum() == 4 + 2  # each its own latent; both of the pair for angle and radius


def test_a_ring_that_was_found_is_kept_whatever_else_depends_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates of total_correlation go wrong for undertrained models; polar_pairs do not come about by chance."""
    made = sources()
    for sign in (1, -1):
        monkeypatch.setattr(
            "wherewhat.nn.controls.total_correlation", lambda c, codes, sign=sign: sign * float(np.abs(c.mixing).sum())
        )
        for codes in (made, made @ TURN.T):
            found = fit_controls(codes)
            assert found is not None and len(found.polar_pairs) == 1


def test_normal_codes_ask_for_nothing() -> None:
    codes = RNG.standard_normal((6000, 3))
    codes[:, 2] *= 0.01
    found = fit_controls(codes)
    assert found is None or np.allclose(found.encode(torch.from_numpy(codes))[:, 2], codes[:, 2])
    assert fit_controls(codes, "latents") is None and fit_controls(codes, "polar") is None


def test_unused_latents_are_left_alone() -> None:
    codes = np.column_stack([sources() @ TURN.T, 0.05 * RNG.standard_normal(6000)])
    found = fit_ica(codes, ALL[: codes.shape[1]])
    assert found is not None
    mixing = np.array(found.mixing)
    assert (mixing[4, :4] == 0).all() and (mixing[:4, 4] == 0).all() and mixing[4, 4] == 1
    assert fit_ica(codes[:, 3:], ALL[:2]) is None


def test_a_component_stands_in_the_place_of_a_latent_it_moves() -> None:
    mixing = np.array(fit_ica(sources() @ TURN.T, ALL[:4]).mixing)  # type: ignore[union-attr]
    assert (np.diag(mixing) > 0).all()
    components = np.random.default_rng(0).permutation(4)
    assert np.abs(np.diag(mixing)).sum() >= np.abs(mixing[np.arange(4), components]).sum()


def test_entropy_of_known_distributions() -> None:
    assert abs(entropy(3 * RNG.standard_normal(200_000)) - np.log(3 * np.sqrt(2 * np.pi * np.e))) < 0.01
    assert abs(entropy(3 * RNG.uniform(size=200_000)) - np.log(3)) < 0.01


def test_dependence_is_least_for_the_sources_however_they_are_scaled() -> None:
    made = sources()
    polar_pairs = find_polar_pairs(made)
    scale = np.diag([0.5, 2.0, 1.5, 1.5])
    own = total_correlation(Controls.plain(4, polar_pairs), made)
    assert (
        abs(total_correlation(Controls(nested(scale), (0.0,) * 4, find_polar_pairs(made / np.diag(scale))), made) - own)
        < 0.05
    )
    assert total_correlation(Controls(nested(TURN), (0.0,) * 4), made) > own + 1
    assert total_correlation(Controls.plain(4), made) > own + 1  # a pair's two components depend on each other


# ------------------------------------------------------------------------------------------------------- there and back


@given(st.integers(0, 10_000))
def test_reading_and_writing_undo_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polar_pairs = (
        PolarPair(0, 3, (0.1, -0.2), float(rng.uniform(-4, 4)), 1.0, 0.3),
        PolarPair(4, 1, (0.0, 0.0), float(rng.uniform(-4, 4)), 2.0, 1.5),
    )
    mixing = np.eye(6) + 0.2 * rng.standard_normal((6, 6))
    controls = Controls(tuple(map(tuple, mixing.tolist())), tuple(rng.standard_normal(6).tolist()), polar_pairs)
    z = torch.from_numpy(rng.standard_normal((50, 6)))
    moved = controls.encode(z)
    assert torch.allclose(controls.decode(moved), z, atol=1e-8)
    assert moved[:, [0, 4]].abs().max() <= ANGLE_RANGE
    assert Controls.from_json(json.loads(json.dumps(controls.to_json()))) == controls


def test_a_control_acts_where_the_latents_it_moves_do() -> None:
    coarse, fine = torch.rand(2, 2, 4, 4), torch.rand(2, 1, 8, 8)
    controls = Controls(((1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 1.0, 1.0)), (0.0, 0.0, 0.0))
    first, second = control_masks((coarse, fine), controls)
    assert torch.equal(first[:, 0], coarse[:, 0]) and torch.equal(second, fine)
    half = torch.nn.functional.interpolate(fine, (4, 4), mode="bilinear", align_corners=False)[:, 0] / 2
    assert torch.allclose(first[:, 1], torch.maximum(coarse[:, 1], half))


def test_angle_and_radius_act_in_the_same_place() -> None:
    masks = (torch.rand(2, 3, 4, 4),)
    (made,) = control_masks(masks, Controls.plain(3, (PolarPair(0, 2, (0.0, 0.0), 0.0, 1.0, 1.0),)))
    union = torch.maximum(masks[0][:, 0], masks[0][:, 2])
    assert torch.equal(made, torch.stack([union, masks[0][:, 1], union], 1))


def test_mutual_information_of_the_same_and_of_others() -> None:
    a, b = RNG.standard_normal((2, 20_000))
    assert abs(mutual_information(a, b)) < 0.02
    assert abs(mutual_information(a, np.exp(a)) - np.log(16)) < 1e-6
