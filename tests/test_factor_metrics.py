"""The supervised metrics: properties, and every number recomputed step by step with plain loops and scikit-learn."""

import json

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from wherewhat.errors import UserError
from wherewhat.metrics import registry
from wherewhat.metrics.factors import (
    checked,
    dci,
    draw,
    draw_pairs,
    draw_votes,
    explicitness,
    factor_vae,
    group_by_value,
    infomec,
    irs,
    match,
    mig,
    modularity,
    pieces_of,
    sap,
    split,
)

METRICS = [metric.name for metric in registry.METRICS if metric.needs == "factors"]
SMALL = {"votes": 600, "eval_votes": 400, "variance_rows": 2_000, "rows": 2_000, "test_rows": 1_000, "tree_rows": 400,
         "trees": 5}  # fmt: skip
CHANCE = {"factor_vae": 1 / 3, "beta_vae": 1 / 3, "mig": 0, "dci": 0, "sap": 0, "modularity": 0, "explicitness": 0.5}
CHANCE |= {"irs": 0, "infomec": 0}
SLACK = {"factor_vae": 1e-9, "beta_vae": 0.005, "mig": 1e-9, "dci": 0.01, "sap": 1e-9, "modularity": 1e-9}
SLACK |= {"explicitness": 1e-3, "irs": 1e-9, "infomec": 0.02}
"""what rounding may change: a vote of the logistic regression; which of two equally good splits a tree takes; what
breaks ties between nearest neighbours"""
FOOLED_BY_NOISE = {"modularity", "irs", "infomec"}
"""any code has most information about some factor, and moves a little less when one is fixed"""
DEPEND_ON_SCALE = {"irs", "infomec"}
"""codes of larger range weigh more, or alone count"""


def world(*sizes: int, n: int = 4_000, seed: int = 0) -> np.ndarray:
    """Independent uniform factors."""
    return np.random.default_rng(seed).integers(sizes, size=(n, len(sizes)))


def mixture(factors: np.ndarray, z: int = 6, mix: float = 1.0, noise: float = 1.0) -> np.ndarray:
    """A noisy linear map: each code leans to one factor and takes something of the others."""
    rng = np.random.default_rng(7)
    f = factors.shape[1]
    clean = (factors - factors.mean(0)) / factors.std(0)
    return clean @ (np.eye(z, f) + mix * rng.normal(size=(z, f))).T + noise * rng.normal(size=(len(factors), z))


def value(metric: str, codes: np.ndarray, factors: np.ndarray, seed: int = 0, **options) -> float:
    return float(score(metric, codes, factors, seed, **options).score)


def score(metric: str, codes: np.ndarray, factors: np.ndarray, seed: int = 0, n_jobs: int = 1, **options):
    """The result of a metric by name, from few rows; options that it does not have are left out."""
    known = registry.find(metric)
    numbers = {n: v for n, v in (SMALL | options).items() if n in known.options()}
    jobs = {"n_jobs": n_jobs} if metric in ("dci", "sap") else {}
    return known.compute(codes, factors, seed=seed, **numbers, **jobs)


# Properties


@pytest.mark.parametrize(
    ("metric", "least"),
    [
        ("factor_vae", 1),
        ("beta_vae", 0.99),
        ("mig", 0.98),
        ("dci", 0.98),
        ("sap", 0.45),
        ("modularity", 0.99),
        ("explicitness", 1),
        ("irs", 1),
        ("infomec", 0.95),
    ],
)
def test_the_factors_themselves_score_1(metric, least):
    factors = world(2, 2, 2)  # SAP cannot be more than 1 − chance: the second-best code still guesses
    assert least <= value(metric, factors.astype(float), factors) <= 1


@pytest.mark.parametrize("size", [3, 10, 20])
def test_mig_of_the_factors_is_1_up_to_the_noise_of_counting(size):
    factors = world(size, size, n=20_000)
    noise = (size - 1) ** 2 / (2 * 10_000) / np.log(size)
    assert 1 - 3 * noise < value("mig", factors.astype(float), factors, rows=10_000) < 1


@pytest.mark.parametrize("metric", METRICS)
def test_constants_score_nothing(metric):
    factors = world(3, 4, 5)
    found = value(metric, np.full((len(factors), 4), 0.3), factors)
    expected = 0 if metric == "factor_vae" else CHANCE[metric]  # all pruned
    assert found == pytest.approx(expected, abs=0.08 if metric == "beta_vae" else 0)


@pytest.mark.parametrize("metric", [m for m in METRICS if m not in FOOLED_BY_NOISE])
def test_noise_scores_chance(metric):
    factors = world(3, 4, 5)
    codes = np.random.default_rng(1).normal(size=(len(factors), 4))
    assert value(metric, codes, factors, tree_rows=2_000) == pytest.approx(CHANCE[metric], abs=0.1)


@pytest.mark.parametrize(("metric", "expected"), [("mig", 0), ("sap", 0)])
def test_duplicated_codes_leave_no_gap(metric, expected):
    factors = world(3, 4, 5)
    codes = mixture(factors, 3, mix=0.1, noise=0.3)
    assert value(metric, codes, factors) > 0.1
    assert value(metric, np.hstack([codes, codes]), factors) == expected


def test_modularity_of_known_information():
    """A code of two factors in equal parts counts 0, of one factor 1, even if another code has the same factor."""
    factors = world(2, 2, n=20_000)
    a, b = factors.T.astype(float)
    noise = 1e-6 * np.random.default_rng(0).normal(size=len(factors))
    found = modularity(np.stack([a, 2 * a + b, a], 1), factors, np.random.default_rng(0))
    assert found.per_code[[0, 2]] == pytest.approx(1, abs=1e-3) and found.per_code[1] == pytest.approx(0, abs=0.05)
    assert modularity(np.stack([a, noise * 0 + 3], 1), factors, np.random.default_rng(0)).per_code[1] == 0


def test_explicitness_is_the_area_under_the_curve_of_a_linear_score():
    """Of three values along a line the outer ones are recognised perfectly, the middle one not at all."""
    factors = world(3, 2, n=6_000)
    found = explicitness(factors[:, :1].astype(float), factors, np.random.default_rng(0))
    assert found.per_factor[0] == pytest.approx((1 + 1 + 0.5) / 3, abs=0.07)
    assert found.per_factor[1] == pytest.approx(0.5, abs=0.05)


def test_irs_of_a_code_that_moves_with_another_factor():
    """z = a + b / 10 with a and b in {−1, 1}: fixing a leaves ±.1 of a reach of 1.1."""
    factors = world(2, 2, n=20_000)
    a, b = (2.0 * factors - 1).T
    found = irs(np.stack([a + b / 10, b], 1), factors, np.random.default_rng(0))
    assert found.robustness[0, 0] == pytest.approx(1 - 0.1 / 1.1, abs=0.01)
    assert found.robustness[1] == pytest.approx([0, 1], abs=0.03)
    assert found.score == pytest.approx((1.1 * (1 - 0.1 / 1.1) + 1) / 2.1, abs=0.01)


def test_the_parts_of_infomec_show_what_is_wrong():
    factors = world(4, 4, n=4_000)
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(factors), 3))
    a, b = factors.T.astype(float)
    own, split, mixed = (
        infomec(np.stack(codes, 1) + noise[:, : len(codes)], factors, np.random.default_rng(0), rows=2_000)
        for codes in ((a, b), (a, a, b), (a + b, a - b))
    )
    assert own.modularity > 0.95 and own.compactness > 0.95 and own.explicitness > 0.6
    assert split.modularity > 0.95 and split.compactness < 0.8
    assert mixed.modularity < 0.3
    still = infomec(np.stack([a, b, 0.01 * a], 1), factors, np.random.default_rng(0), rows=1_000)
    assert still.active.tolist() == [True, True, False] and (still.information[2] == 0).all()


def test_a_code_that_mixes_two_factors_costs_disentanglement_and_two_codes_of_one_factor_completeness():
    factors = world(4, 4)
    noise = 0.5 * np.random.default_rng(0).normal(size=(len(factors), 3))
    a, b = factors.T.astype(float)
    options = {"tree_rows": 2_000, "trees": 5, "n_jobs": 1}
    mixed = dci(np.stack([a + b, a - b], 1) + noise[:, :2], factors, np.random.default_rng(0), **options)
    split = dci(np.stack([a, a, b], 1) + noise, factors, np.random.default_rng(0), **options)
    assert mixed.disentanglement < 0.2 < 0.95 < split.disentanglement
    assert split.completeness < 0.8


@pytest.mark.parametrize("metric", METRICS)
def test_blind_to_the_order_of_codes(metric):
    factors = world(3, 4, 5)
    codes = mixture(factors)
    before, after = (value(metric, c, factors) for c in (codes, codes[:, [3, 1, 0, 5, 4, 2]]))
    assert after == pytest.approx(before, abs=SLACK[metric])


@pytest.mark.parametrize("metric", [m for m in METRICS if m not in DEPEND_ON_SCALE])
def test_blind_to_sign_scale_and_shift_of_codes(metric):
    factors = world(3, 4, 5)
    codes = mixture(factors)
    moved = codes * [-1, 50, -0.02, 3, -8, 1] + [0, 10, -1, 0.5, 100, -7]
    before, after = (value(metric, c, factors, prune_std=0.0, standardise=True) for c in (codes, moved))
    assert after == pytest.approx(before, abs=SLACK[metric])


@pytest.mark.parametrize("metric", METRICS)
def test_blind_to_sign_in_the_published_protocol(metric):
    factors = world(3, 4, 5)
    codes = mixture(factors)
    before, after = (value(metric, c, factors) for c in (codes, codes * [-1, 1, -1, 1, 1, -1]))
    assert after == pytest.approx(before, abs=SLACK[metric])


def test_factor_vae_prunes_by_absolute_standard_deviation():
    factors = world(3, 4, 5)
    codes = mixture(factors)
    codes[:, 2] *= 0.04 / codes[:, 2].std()
    rng = np.random.default_rng(0)
    result = factor_vae(codes, factors, rng, votes=600, eval_votes=400)
    assert result.active.tolist() == [True, True, False, True, True, True]
    assert (result.votes[2] == 0).all()
    assert result.votes.sum() == 600
    assert value("factor_vae", codes * 1e-3, factors) == 0
    assert value("factor_vae", np.full_like(codes, 0.3), factors, prune_std=0.0) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("z", [1, 2, 7])
def test_any_number_of_codes(metric, z):
    factors = world(3, 4, 5)
    assert 0 <= value(metric, mixture(factors, z), factors) <= 1


def test_a_single_code_is_compared_with_a_constant_one():
    factors = world(2, 2)
    codes = factors[:, :1] - 0.5
    assert value("mig", codes, factors) == pytest.approx(0.5, abs=0.01)
    assert value("sap", codes, factors) == pytest.approx(0.25, abs=0.03)
    result = dci(codes, factors, np.random.default_rng(0), tree_rows=500, trees=5, n_jobs=1)
    assert result.completeness == 1
    assert dci(0 * codes, factors, np.random.default_rng(0), tree_rows=500, trees=5, n_jobs=1).completeness == 0


@pytest.mark.parametrize("metric", METRICS)
def test_any_integers_name_the_values(metric):
    factors = world(3, 4, 5)
    codes = mixture(factors)
    names = np.array([-70, 2, 3, 1_000, 30_000], dtype=np.int16)
    assert value(metric, codes, names[factors]) == value(metric, codes, factors)
    assert value(metric, codes, factors.astype(np.uint8)) == value(metric, codes, factors)


def test_single_precision_is_enough():
    factors = world(3, 4, 5)
    codes = mixture(factors)
    for metric in METRICS:
        assert value(metric, codes.astype(np.float32), factors) == pytest.approx(
            value(metric, codes, factors), abs=0.01
        )


@pytest.mark.parametrize("jitter", [0, 1e-16, 1e-14])
def test_a_code_of_rounding_noise_is_constant(jitter):
    factors = world(3, 4)
    codes = np.hstack([mixture(factors, 2), 0.3 + jitter * factors[:, :1]])
    result = mig(codes, factors, np.random.default_rng(0), rows=500)
    assert (result.information[2] == 0).all()


# Draws


def test_rows_of_a_vote_share_one_value_of_the_fixed_factor_and_all_values_are_as_frequent():
    factors = world(3, 4, 5) ** 2
    factors[:2_000, 0] = 0  # value 0 holds most rows, and is drawn as often as the others
    groups = group_by_value(factors, "factors")
    fixed, rows = draw_votes(groups, np.random.default_rng(0), 6_000, 32)
    drawn = factors[rows, fixed[:, None]]
    assert (drawn == drawn[:, :1]).all()
    for j, column in enumerate(factors.T):
        values, counts = np.unique(drawn[fixed == j, 0], return_counts=True)
        assert (values == np.unique(column)).all()
        assert np.abs(counts - 2_000 / len(values)).max() < 5 * np.sqrt(2_000 / len(values))
    twice = np.bincount(rows[(fixed == 0) & (drawn[:, 0] == 0)].ravel(), minlength=len(factors))
    inside = twice[factors[:, 0] == 0]
    assert (twice[factors[:, 0] != 0] == 0).all()
    assert inside.mean() == pytest.approx(inside.var(), rel=0.15)  # Poisson: every row of the group alike


def test_pairs_share_the_value_of_the_factor_but_not_with_other_pairs():
    factors = world(3, 4, 5)
    shared, pairs = draw_pairs(group_by_value(factors, "factors"), np.random.default_rng(0), 600, 32)
    one, two = (factors[pairs[:, i]] for i in (0, 1))
    same = (one == two).mean(1)  # votes, factors
    assert (same[np.arange(600), shared] == 1).all()
    for j, size in enumerate((3, 4, 5)):
        assert same[shared != j, j].mean() == pytest.approx(1 / size, abs=0.02)
        held = one[shared == j, :, j]
        assert (held != held[:, :1]).any(1).all()


def test_groups_hold_the_rows_of_their_value():
    factors = world(3, 4, n=50) - 2
    groups = group_by_value(factors, "factors")
    k = 0
    for column in factors.T:
        for name in np.unique(column):
            rows = groups.order[groups.start[k] : groups.start[k] + groups.members[k]]
            assert rows.tolist() == np.flatnonzero(column == name).tolist()
            k += 1
    assert k == len(groups.members) == groups.sizes.sum()
    drawn = draw(groups, np.arange(k)[:, None], np.random.default_rng(0), 500)
    assert [np.unique(rows).size for rows in drawn] == groups.members.tolist()


# The numbers, step by step


def test_factor_vae_is_the_loop_over_votes():
    factors = world(3, 4, 5)
    codes = np.hstack([mixture(factors, 5, noise=3), 0.01 * mixture(factors, 1)])
    result = factor_vae(codes, factors, np.random.default_rng(3), votes=6_600, eval_votes=80, variance_rows=3_000)

    rng = np.random.default_rng(3)
    groups = group_by_value(factors, "factors")
    sample = codes[rng.integers(4_000, size=3_000)]
    variance = sample.var(0, ddof=1)
    active = [i for i in range(6) if np.sqrt(variance[i]) >= 0.05]
    tables = []
    for votes in (6_600, 80):
        fixed, rows = draw_votes(groups, rng, votes, 64)
        table = np.zeros((6, 3), dtype=int)
        for factor, batch in zip(fixed, rows, strict=True):
            local = codes[batch].var(0, ddof=1)
            winner = min(active, key=lambda i: local[i] / variance[i])
            table[winner, factor] += 1
        tables.append(table)
    train, test = tables
    right = sum(test[i, train[i].argmax()] for i in range(6))
    assert len(pieces_of(rows, 5)) == 1 < len(pieces_of(np.zeros((6_600, 64), int), 5))
    assert active == [0, 1, 2, 3, 4] == np.flatnonzero(result.active).tolist()
    assert (result.votes == train).all()
    assert result.score == right / 80 < test.max(1).sum() / 80
    assert 0.3 < result.score < 0.95


def test_factor_vae_agrees_with_votes_drawn_the_slow_way():
    factors = world(3, 4, 5)
    codes = mixture(factors)
    rng = np.random.default_rng(11)
    variance = codes.var(0, ddof=1)
    tables = np.zeros((2, 6, 3), dtype=int)
    for table, votes in zip(tables, (2_000, 2_000), strict=True):
        for _ in range(votes):
            j = rng.integers(3)
            rows = rng.choice(np.flatnonzero(factors[:, j] == rng.choice(np.unique(factors[:, j]))), 64)
            table[np.argmin(codes[rows].var(0, ddof=1) / variance), j] += 1
    slow = tables[1][np.arange(6), tables[0].argmax(1)].sum() / 2_000
    fast = value("factor_vae", codes, factors, votes=2_000, eval_votes=2_000)
    assert fast == pytest.approx(slow, abs=4 * np.sqrt(2 * slow * (1 - slow) / 2_000))


def test_beta_vae_is_the_loop_over_votes():
    factors = world(3, 4, 5)
    codes = mixture(factors)
    rng = np.random.default_rng(3)
    groups = group_by_value(factors, "factors")
    sets = []
    for votes in (600, 400):
        labels, pairs = draw_pairs(groups, rng, votes, 8)
        points = [np.mean([np.abs(codes[a] - codes[b]) for a, b in zip(*pair, strict=True)], 0) for pair in pairs]
        sets.append((np.array(points), labels))
    expected = LogisticRegression(max_iter=10_000).fit(*sets[0]).score(*sets[1])
    assert value("beta_vae", codes, factors, 3, batch=8) == pytest.approx(expected, abs=0.0026)  # one vote of 400
    assert 0.4 < expected < 0.95


def binned(code: np.ndarray) -> np.ndarray:
    return np.digitize(code, np.histogram(code, 20)[1][:-1])


def test_mig_is_the_loop_over_codes_and_factors():
    factors = world(3, 4, 5)
    codes = mixture(factors)
    result = mig(codes, factors, np.random.default_rng(5), rows=3_000)
    rows = np.random.default_rng(5).integers(4_000, size=3_000)
    gaps = []
    for j, column in enumerate(factors[rows].T):
        information = [mutual_info_score(column, binned(code)) for code in codes[rows].T]
        np.testing.assert_allclose(result.information[:, j], information, atol=1e-9)
        best, second = sorted(information)[:-3:-1]
        gaps.append((best - second) / mutual_info_score(column, column))
    assert result.score == pytest.approx(np.mean(gaps), abs=1e-9)


def test_dci_is_the_loop_over_factors():
    """With trees so small that no two cuts are equally good; larger ones are compared in test_boosting.py."""
    factors = world(3, 2, 4)
    codes = mixture(factors, 4)
    result = dci(codes, factors, np.random.default_rng(5), tree_rows=400, test_rows=300, trees=4, depth=1, n_jobs=2)
    rng = np.random.default_rng(5)
    train, test = split(4_000, rng, 400, 300)
    importance, accuracy = np.zeros((4, 3)), []
    for j, seed in enumerate(rng.integers(2**31, size=3)):
        model = GradientBoostingClassifier(n_estimators=4, max_depth=1, learning_rate=0.1, random_state=seed)
        model.fit(codes[train], factors[train, j])
        importance[:, j] = model.feature_importances_
        accuracy.append(np.mean(model.predict(codes[test]) == factors[test, j]))
    rows = [1 - entropy(row + 1e-11, base=3) for row in importance]
    columns = [1 - entropy(column + 1e-11, base=4) for column in importance.T]
    np.testing.assert_allclose(result.importance, importance, atol=1e-9)
    assert result.score == result.disentanglement
    assert result.disentanglement == pytest.approx(np.dot(rows, importance.sum(1)) / importance.sum(), abs=1e-9)
    assert result.completeness == pytest.approx(np.dot(columns, importance.sum(0)) / importance.sum(), abs=1e-9)
    assert result.informativeness == pytest.approx(np.mean(accuracy), abs=1e-9)


def test_sap_is_the_loop_over_codes_and_factors():
    factors = world(3, 4, 2)
    codes = mixture(factors, 4)
    result = sap(codes, factors, np.random.default_rng(5), rows=1_000, test_rows=500, n_jobs=2)
    rng = np.random.default_rng(5)
    train, test = split(4_000, rng, 1_000, 500)
    table = np.zeros((4, 3))
    for i in range(4):
        for j in range(3):
            model = LinearSVC(C=0.01, class_weight="balanced").fit(codes[train][:, [i]], factors[train, j])
            table[i, j] = np.mean(model.predict(codes[test][:, [i]]) == factors[test, j])
    np.testing.assert_allclose(result.accuracy, table, atol=1e-9)
    table.sort(0)
    assert result.score == pytest.approx(np.mean(table[-1] - table[-2]), abs=1e-9)


def test_match_is_the_largest_share_of_normalised_information():
    factors = world(3, 4, 5)
    codes = np.hstack([mixture(factors, 5)[:, ::-1], np.ones((4_000, 1))])
    result = match(codes, factors)
    for i, code in enumerate(codes.T[:5]):
        known = [mutual_info_score(column, binned(code)) / mutual_info_score(column, column) for column in factors.T]
        assert result.factor[i] == np.argmax(known)
        assert result.share[i] == pytest.approx(max(known) / sum(known), abs=1e-9)
    assert result.share[5] == 0
    assert match(factors[:, [2, 0, 1]].astype(float), factors).factor.tolist() == [2, 0, 1]


# The record


@pytest.mark.parametrize("metric", METRICS)
def test_rows_hold_every_score_and_every_option_that_changes_it(metric):
    factors = world(3, 4, 5)
    codes, known = mixture(factors), registry.find(metric)
    options = known.options()
    one, same = (list(known.rows(score(metric, codes, factors, 3, n_jobs=n), options)) for n in (1, 2))
    assert one == same == json.loads(json.dumps(one))
    assert list(known.rows(score(metric, codes, factors, 4), options)) != one
    assert [row["metric"] for row in one] == [part.name for part in known.scores]
    assert all(row["options"] == options for row in one)


def test_every_option_is_read_and_changes_a_score():
    factors = world(3, 4, 5)
    codes = mixture(factors) * [0.1, 1, 2, 3, 4, 5]
    other = {"standardise": True, "prune_std": 1.5, "rate": 0.5, "svc_c": 1e-4, "logistic_c": 1e-6, "depth": 1}

    def rows(metric, **options):
        return json.dumps(list(registry.find(metric).rows(score(metric, codes, factors, **options), {})))

    for metric in METRICS:
        before, published = rows(metric), registry.find(metric).options()
        for name, number in published.items():
            changed = other.get(name, SMALL.get(name, number) // 2 if number else number)
            assert rows(metric, **{name: changed}) != before, f"{metric} does not read {name}"


def test_dlib_is_the_published_protocol_and_fast_has_fewer_votes_rows_and_trees():
    votes = {"batch": 64, "votes": 10_000, "eval_votes": 5_000}
    counted = {"rows": 10_000, "bins": 20}
    published = {
        "factor_vae": votes | {"variance_rows": 10_000, "prune_std": 0.05},
        "beta_vae": votes | {"logistic_c": 1.0, "standardise": False},
        "mig": counted,
        "dci": {"tree_rows": 10_000, "test_rows": 5_000, "trees": 100, "depth": 3, "rate": 0.1},
        "sap": {"rows": 10_000, "test_rows": 5_000, "svc_c": 0.01, "standardise": False},
        "modularity": counted,
        "explicitness": {"rows": 10_000, "test_rows": 5_000, "logistic_c": 1.0, "standardise": False},
        "irs": {"rows": 10_000, "quantile": 0.99},
        "infomec": {"rows": 10_000, "neighbours": 10},
    }
    assert {name: registry.find(name).options() for name in METRICS} == published
    fewer = {"factor_vae": {"votes": 2_000, "eval_votes": 1_000}, "dci": {"tree_rows": 2_000, "trees": 30}}
    fewer["beta_vae"] = fewer["factor_vae"]
    assert {n: registry.find(n).options("fast") for n in METRICS} == {
        n: published[n] | fewer.get(n, {}) for n in METRICS
    }


# What a user can mend


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c, f: (c[:, 0], f), r"codes have shape \(4000,\)"),
        (lambda c, f: (c, f[:, :, None]), r"factors have shape \(4000, 3, 1\)"),
        (lambda c, f: (c[:0], f[:0]), r"codes have shape \(0, 6\).*\n.*factors have shape \(0, 3\)"),
        (lambda c, f: (c[:-1], f), "codes have 3999 rows, factors 4000"),
        (lambda c, f: (np.where(c > 2, np.nan, c), f), r"codes hold \d+ NaN or infinite"),
        (lambda c, f: (np.where(c > 2, -np.inf, c), f), r"codes hold \d+ NaN or infinite"),
        (lambda c, f: (c, f + 0.0), "factors are float64, not integers"),
        (lambda c, f: (c.astype(str), f), "codes are <U.*, not numbers"),
        (lambda c, f: (c, f * [1, 0, 1]), "factors have the same value in every row of column 1: leave"),
        (lambda c, f: (c, f * [0, 1, 0]), "of column 0, 2"),
    ],
)
def test_what_is_wrong_with_the_arrays_is_reported(spoil, message):
    factors = world(3, 4, 5)
    with pytest.raises(UserError, match=message):
        checked(*spoil(mixture(factors), factors))


@pytest.mark.parametrize("metric", ["factor_vae", "beta_vae", "dci"])
def test_a_single_factor_is_refused(metric):
    factors = world(4)
    with pytest.raises(UserError, match="factors have 1 column"):
        score(metric, mixture(factors, 2), factors)


@pytest.mark.parametrize("metric", ["mig", "dci", "sap"])
def test_a_factor_too_rare_to_be_drawn_is_named(metric):
    factors = world(3, 4)
    factors[:, 1] = np.arange(len(factors)) == 0
    with pytest.raises(UserError, match=r"in the rows drawn .* of column 1"):
        score(metric, mixture(factors[:, :1], 2), factors, rows=100, tree_rows=100)


@pytest.mark.parametrize("rows", [300, 1_500])
def test_noise_scores_chance_however_few_rows_there_are(rows):
    """Four equally frequent values: chance is .25 for accuracies, .5 for areas under the curve, 0 for gaps."""
    rng = np.random.default_rng(0)
    codes, truth = rng.standard_normal((rows, 10)), rng.integers(4, size=(rows, 2))
    margin = 4 * (0.25 / (rows / 3)) ** 0.5  # four standard errors of an accuracy over the rows that are tested
    assert dci(codes, truth, rng, trees=20).informativeness == pytest.approx(0.25, abs=margin)
    assert explicitness(codes, truth, rng).score == pytest.approx(0.5, abs=margin)
    assert sap(codes, truth, rng).score < margin


@pytest.mark.parametrize("rows", [2, 3, 10, 15_000])
def test_no_row_is_both_fitted_and_tested(rows):
    train, test = split(rows, np.random.default_rng(0), 10_000, 5_000)
    assert (len(train), len(test)) == (10_000, 5_000) and not set(train) & set(test)
