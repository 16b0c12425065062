"""Scores of one model without labels, on generators that are made for what they see."""

import shutil

import numpy as np
import pytest
import torch
from helpers import enlivened

from wherewhat.evaluation.evaluate import evaluate
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.independence import independence
from wherewhat.metrics.moves import Moves, changes, consistency, pipe, predictability
from wherewhat.metrics.tpl import direction_gain
from wherewhat.run.folder import Run

RNG = np.random.default_rng(0)
SOURCES = RNG.uniform(-1, 1, (2_000, 4))
ROTATION = np.linalg.qr(np.random.default_rng(5).standard_normal((4, 4)))[0]


def quadrants(z):
    """Each of four latents is the grey of a quarter of an image."""
    greys = torch.as_tensor(z, dtype=torch.float32).view(-1, 1, 2, 2)
    return greys.repeat_interleave(8, 2).repeat_interleave(8, 3)


def read(images):
    """The four greys."""
    return images[:, 0, ::8, ::8].flatten(1).double().numpy()


def moves_of(generate, encode=read, codes=SOURCES[:800], moving=4):
    """Pairs of images in which one of the first controls takes the value of another row."""
    moved = np.arange(len(codes)) % moving
    further = codes.copy()
    further[np.arange(len(codes)), moved] = np.roll(codes, 7, 0)[np.arange(len(codes)), moved]
    before, after = generate(codes), generate(further)
    return Moves(before, after, encode(before), encode(after), moved)


# ---------------------------------------------------------------------------------------------------------- pipe


def resampled(codes):
    return quadrants(codes), quadrants(np.random.default_rng(1).permuted(codes, axis=0))


def test_pipe_is_1_for_independent_latents_and_near_0_for_duplicated_ones():
    assert pipe(*resampled(SOURCES), np.random.default_rng(0)) > 0.9
    assert pipe(*resampled(SOURCES[:, [0, 0, 2, 2]]), np.random.default_rng(0)) < 0.1


def test_pipe_is_between_for_latents_that_depend_on_each_other_in_part():
    half = SOURCES.copy()
    half[::2, 1] = half[::2, 0]
    assert 0.2 < pipe(*resampled(half), np.random.default_rng(0)) < 0.8


# --------------------------------------------------------------------------------------------------------- moves


def test_consistency_is_1_where_codes_are_read_back_and_less_where_they_are_read_mixed():
    found = consistency(moves_of(quadrants))
    assert found.score == pytest.approx(1) and found.changes.shape == (4, 4)
    assert consistency(moves_of(lambda z: quadrants(z @ ROTATION), lambda x: read(x) @ ROTATION.T)).score > 0.99
    assert consistency(moves_of(quadrants, lambda x: read(x) @ ROTATION)).score < 0.7
    scaled = moves_of(quadrants, lambda x: read(x) * [1, 100, 0.01, 1])
    assert consistency(scaled).score == pytest.approx(1)  # whatever the units of the codes
    assert consistency(moves_of(quadrants, lambda x: np.zeros((len(x), 4)))).score == 0


def test_controls_that_change_the_same_cannot_be_told_apart():
    assert predictability(moves_of(quadrants), np.random.default_rng(0)).score > 0.95
    same = predictability(moves_of(lambda z: quadrants(z[:, [0, 0, 0, 0]] + z[:, [1, 1, 1, 1]]), moving=2),
                          np.random.default_rng(0))  # fmt: skip
    assert same.classes == 2 and same.score < 0.65


def test_changes_say_where_and_how():
    apart = changes(moves_of(quadrants))
    assert (apart.overlap, apart.area, apart.sameness) == pytest.approx((0, 0.25, 1), abs=1e-6)
    everywhere = changes(moves_of(lambda z: quadrants(np.repeat(z.sum(1, keepdims=True), 4, 1))))
    assert (everywhere.overlap, everywhere.area) == pytest.approx((1, 1), abs=1e-6)

    def place(z):
        """A bar of one column where the first latent says."""
        column = torch.from_numpy(((z[:, 0] + 1) * 7.9).astype(int))
        return torch.nn.functional.one_hot(column, 16)[:, None, None].expand(-1, 1, 16, -1).float()

    assert changes(moves_of(place, lambda x: np.zeros((len(x), 4)), moving=1)).sameness < 0.3


def test_a_model_without_controls_in_use_scores_0():
    nothing = moves_of(quadrants, codes=np.zeros((0, 4)))
    assert consistency(nothing).score == changes(nothing).overlap == 0
    assert predictability(nothing, np.random.default_rng(0)).score == 0


# -------------------------------------------------------------------------------------------------- independence


def test_rotated_codes_gain_from_being_rotated_back():
    right = independence(SOURCES, np.random.default_rng(0))
    wrong = independence(SOURCES @ ROTATION, np.random.default_rng(0))
    assert right.rotation_gain < 0.02 and wrong.rotation_gain > 0.05
    assert right.negentropy == pytest.approx(0.5 * np.log(2 * np.pi * np.e / 12), abs=0.03)  # of a uniform distribution
    assert wrong.negentropy < right.negentropy - 0.05
    scaled = independence(SOURCES * [1, 5, 0.5, 2] + 3, np.random.default_rng(0))
    assert scaled.rotation_gain < 0.02 and scaled.negentropy == pytest.approx(right.negentropy, abs=0.01)


def test_duplicated_codes_know_each_other_and_unused_ones_do_not_count():
    noise = 0.01 * RNG.standard_normal((2_000, 1))
    twice = independence(np.hstack([SOURCES[:, :1], SOURCES[:, :1] + noise]), np.random.default_rng(0))
    assert twice.information > 2
    once = independence(SOURCES, np.random.default_rng(0))
    padded = independence(np.hstack([SOURCES, noise]), np.random.default_rng(0))
    assert padded.information == pytest.approx(once.information) and once.information < 0.15
    assert independence(np.hstack([SOURCES[:, :1], noise]), np.random.default_rng(0)) == (0, 0, 0)


# ---------------------------------------------------------------------------------------------------- directions


def test_sweeps_along_controls_are_short_where_each_does_one_thing():
    """Greys that saturate: one control takes one of them from end to end, a direction between takes all."""

    def straight(z):
        return quadrants((4 * z).clamp(-1, 1))

    def turned(z):
        return straight(z @ torch.from_numpy(ROTATION).float())

    alone = direction_gain(straight, 4, range(4), Pixels())
    assert alone.score > 0.15 and alone.between > alone.along
    assert abs(direction_gain(turned, 4, range(4), Pixels()).score) < 0.1
    assert direction_gain(straight, 4, [2], Pixels()).score == 0


# --------------------------------------------------------------------------------------------------------- of a run


def test_they_are_measured_kept_and_not_measured_again(trained, tmp_path):
    run = enlivened(trained, tmp_path / "run")
    names = ["independence", "consistency", "predictability", "changes", "pipe", "direction_gain"]
    rows = evaluate(run, names, "fast", distance="pixels")
    scores = {row["metric"]: row["value"] for row in rows}
    assert scores.keys() >= {"rotation_gain", "change_area", "pipe", "direction_gain"}
    assert all(np.isfinite(list(scores.values())))
    kept = run.rows("metrics")
    assert evaluate(run, names, "fast", distance="pixels") == rows and run.rows("metrics") == kept
    copy = Run.open(shutil.copytree(run.path, tmp_path / "copy"))
    (copy.path / "metrics.jsonl").unlink()
    again = {row["metric"]: row["value"] for row in evaluate(copy, names, "fast", distance="pixels")}
    assert again == scores  # all random numbers are seeded
