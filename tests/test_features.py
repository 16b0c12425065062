"""Two sets of features: closed forms, plain loops, and torchmetrics on the same arrays."""

import numpy as np
import pytest
import sklearn
import torch
from scipy.linalg import sqrtm

from wherewhat.errors import UserError
from wherewhat.metrics.features import density_coverage, frechet_distance, kid, precision_recall


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def exactly(mean, covariance, n=500, seed=0):
    """Rows with just this mean and covariance."""
    x = normal(n, len(mean), seed)
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


@pytest.fixture(scope="module")
def sets():
    """Two overlapping clouds of different sizes, as a network leaves them: correlated and 0 or more."""
    mix = normal(8, 20, 7)
    return np.maximum(normal(300, 8) @ mix, 0), np.maximum((normal(260, 8, 1) + 0.4) @ mix * 0.8, 0)


# ------------------------------------------------------------------------------------------------------------ Fréchet


def test_gaussians_are_as_far_apart_as_the_closed_form_says():
    a, b = exactly([0, 0, 0], np.diag([1, 4, 9])), exactly([1, 2, 2], np.diag([4, 4, 1]), seed=1)
    assert frechet_distance(a, b) == pytest.approx(9 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)
    one, other = np.array([[2, 1], [1, 3]]), np.array([[1, -0.5], [-0.5, 2]])  # of two numbers: tr √M = √(tr + 2√det)
    root = (np.trace(one @ other) + 2 * np.linalg.det(one @ other) ** 0.5) ** 0.5
    a, b = exactly([0, 0], one), exactly([0, 0], other, seed=1)
    assert frechet_distance(a, b) == pytest.approx(5 + 3 - 2 * root)


def test_equal_sets_are_0_apart_and_a_shift_counts_by_its_square(sets):
    a, _ = sets
    few = a[:10]  # fewer rows than features: singular covariances
    for x in (a, few, few.astype(np.float32)):
        assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
        assert frechet_distance(x, x + np.float32(0.5)) == pytest.approx(20 * 0.25, rel=1e-5)


def test_it_is_symmetric_and_does_not_depend_on_the_axes(sets):
    a, b = sets
    turn = np.linalg.qr(normal(20, 20))[0]
    assert (
        frechet_distance(a, b)
        == pytest.approx(frechet_distance(b, a))
        == pytest.approx(frechet_distance(a @ turn, b @ turn))
    )
    assert frechet_distance(a, b) > 1


def test_frechet_is_that_of_the_matrix_root(sets):
    a, b = sets
    covariances = np.cov(a.T), np.cov(b.T)
    plain = np.square(a.mean(0) - b.mean(0)).sum() + sum(map(np.trace, covariances))
    assert frechet_distance(a, b) == pytest.approx(plain - 2 * np.trace(sqrtm(covariances[0] @ covariances[1]).real))


# ------------------------------------------------------------------------------------------------------------- kernel


def test_the_kernel_distance_is_that_of_plain_loops(sets):
    a, b = (x[:12] for x in sets)

    def mean(xs, ys, equal):
        values = [
            (x @ y / 20 + 1) ** 3 for i, x in enumerate(xs) for j, y in enumerate(ys) if equal or i != j
        ]  # fmt: skip
        return np.mean(values)

    plain = mean(a, a, False) + mean(b, b, False) - 2 * mean(a, b, True)
    found = kid(a, b, np.random.default_rng(0), subsets=3, size=1000)
    assert found.value == pytest.approx(plain)
    assert np.isnan(found.error)  # each subset is all rows


def test_halves_of_one_distribution_are_0_apart_within_the_error():
    rng, values = np.random.default_rng(0), []
    for seed in range(20):
        x = normal(400, 6, seed)
        values.append(kid(x[:200], x[200:], rng, subsets=5, size=100).value)
    assert abs(np.mean(values)) < 3 * np.std(values) / 20**0.5
    assert min(values) < 0
    x = normal(400, 6)
    assert kid(x[:200], x[200:] + 0.5, rng, subsets=5, size=100).value > 5 * np.std(values)


def test_subsets_are_drawn_by_the_rng_and_give_an_error(sets):
    def drawn(seed):
        return kid(*sets, np.random.default_rng(seed), subsets=10, size=50)

    assert drawn(0) == drawn(0)
    assert drawn(0).value != drawn(1).value
    whole = kid(sets[0][:260], sets[1], np.random.default_rng(0), subsets=1)
    assert np.isnan(whole.error)
    assert abs(drawn(0).value - whole.value) < 5 * drawn(0).error


# --------------------------------------------------------------------------------------------------------- neighbours


def reach(points, k):
    return [sorted(np.linalg.norm(p - q) for q in points)[k] for p in points]


def test_precision_and_recall_are_those_of_plain_loops():
    real, fake = normal(60, 4), normal(50, 4, 1) * 1.2 + 0.8
    balls = reach(real, 3), reach(fake, 3)
    precision = np.mean([any(np.linalg.norm(f - r) <= b for r, b in zip(real, balls[0], strict=True)) for f in fake])
    recall = np.mean([any(np.linalg.norm(f - r) <= b for f, b in zip(fake, balls[1], strict=True)) for r in real])
    assert precision_recall(real, fake) == (pytest.approx(precision), pytest.approx(recall))
    assert 0 < precision < 1
    assert 0 < recall < 1
    assert precision_recall(fake, real) == (pytest.approx(recall), pytest.approx(precision))


def test_density_and_coverage_are_those_of_plain_loops():
    real, fake = normal(60, 4), normal(50, 4, 1) * 1.2 + 0.8
    inside = np.array(
        [[np.linalg.norm(f - r) <= b for f in fake] for r, b in zip(real, reach(real, 5), strict=True)]
    )  # fmt: skip
    found = density_coverage(real, fake)
    assert found == (pytest.approx(inside.sum() / (5 * 50)), pytest.approx(inside.any(1).mean()))
    assert 0 < found.coverage < 1


def test_equal_sets_are_wholly_inside_each_other():
    x = normal(200, 4)
    assert precision_recall(x, x) == (1, 1)
    assert density_coverage(x, x) == (pytest.approx(6 / 5), 1)  # each ball holds its 5 neighbours and itself
    same = np.repeat(x[:20], 10, 0)  # balls of no size
    assert precision_recall(same, same[::-1]) == (1, 1)
    assert density_coverage(same, same[::-1]) == (2, 1)


def test_far_sets_share_nothing_however_far_from_the_origin():
    x = normal(200, 4)
    assert precision_recall(x, x + 1e3) == density_coverage(x, x + 1e3) == (0, 0)
    assert precision_recall(x + 1e6, x + 1e6) == (1, 1)


def test_a_lost_kind_lowers_recall_and_coverage_not_precision():
    one, other = normal(300, 3), normal(300, 3, 1) + 50
    real, fake = np.concatenate([one, other]), normal(300, 3, 2)
    good, few = precision_recall(real, fake)
    assert good > 0.95
    assert few == pytest.approx(0.5, abs=0.05)
    density, coverage = density_coverage(real, fake)
    assert density == pytest.approx(1, abs=0.15)
    assert coverage == pytest.approx(0.5, abs=0.05)


def test_one_outlier_fools_precision_but_not_density():
    real, bad = normal(300, 3), normal(300, 3, 1) * 0.1 + [30, 0, 0]
    outlier = np.concatenate([real, [[40, 0, 0]]])
    assert precision_recall(real, bad).precision == density_coverage(real, bad).density == 0
    assert precision_recall(outlier, bad).precision == 1
    assert density_coverage(outlier, bad).density < 0.3


def test_nothing_depends_on_how_distances_are_cut_into_blocks(sets):
    whole = precision_recall(*sets), density_coverage(*sets)
    with sklearn.config_context(working_memory=0.01):  # MiB: four rows at a time
        assert (precision_recall(*sets), density_coverage(*sets)) == whole


@pytest.mark.parametrize(
    ("measure", "least"),
    [
        (frechet_distance, 2),
        (lambda a, b: kid(a, b, np.random.default_rng(0)), 2),
        (precision_recall, 4),
        (density_coverage, 6),
    ],
)
def test_too_few_images_are_refused(measure, least):
    measure(normal(least, 3), normal(least, 3, 1))
    with pytest.raises(UserError, match=rf"{least - 1} real and 9 generated images: this needs {least} or more"):
        measure(normal(least - 1, 3), normal(9, 3))


# ------------------------------------------------------------------------------------------------------- torchmetrics


class AsTheyAre(torch.nn.Module):
    """Features are given in place of images."""

    num_features = 20

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchmetrics_gives_the_same_fid_and_kid(sets):
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    fid = FrechetInceptionDistance(AsTheyAre(), normalize=True).set_dtype(torch.float64)
    theirs = KernelInceptionDistance(AsTheyAre(), subsets=2, subset_size=260)
    for metric in (fid, theirs):
        for rows, real in ((sets[0][:260], True), (sets[1], False)):
            metric.update(torch.from_numpy(rows), real=real)
    assert frechet_distance(sets[0][:260], sets[1]) == pytest.approx(fid.compute().item(), rel=1e-9)
    found = kid(sets[0][:260], sets[1], np.random.default_rng(0), subsets=2)
    assert found.value == pytest.approx(theirs.compute()[0].item(), rel=1e-9)
