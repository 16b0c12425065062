"""Boosted trees against scikit-learn's, which are grown another way.  Small nodes have cuts that are equally good."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from wherewhat.metrics.boosting import boost


def world(classes, codes=6, rows=3_300, seed=0):
    """Codes that tell a label, and some that do not; the last is constant, the one before has few values."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    table = labels[:, None] * rng.uniform(-1, 1, codes) + rng.standard_normal((rows, codes))
    table[:, -1], table[:, -2] = 0.5, table[:, -2].round()
    return table, labels


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_trees_are_those_of_scikit_learn(classes, depth):
    codes, labels = world(classes)
    drawn = np.random.default_rng(1).integers(3_000, size=3_000)  # with replacement: rows that tie everywhere
    train, test = (codes[drawn], labels[drawn]), codes[3_000:]
    theirs = GradientBoostingClassifier(n_estimators=4, max_depth=depth, random_state=0).fit(*train)
    ours = boost(*train, test, np.random.default_rng(0), trees=4, depth=depth, rate=0.1)
    np.testing.assert_allclose(ours.importance, theirs.feature_importances_, atol=1e-9 if depth < 3 else 1e-4)
    np.testing.assert_array_equal(ours.predicted, theirs.predict(test))


def test_many_rounds_differ_by_ties_alone():
    """As much as scikit-learn's own trees differ from seed to seed."""
    codes, labels = world(4, rows=400)

    def fit(seed):
        model = GradientBoostingClassifier(n_estimators=40, random_state=seed).fit(codes[:300], labels[:300])
        return model.feature_importances_

    theirs = np.array([fit(seed) for seed in range(6)])
    ours = boost(codes[:300], labels[:300], codes[300:], np.random.default_rng(0), trees=40, depth=3, rate=0.1)
    spread = np.ptp(theirs, 0).max()
    assert np.abs(ours.importance - theirs.mean(0)).max() <= 2 * spread + 1e-9
    assert spread < 0.05


def test_a_code_given_twice_shares_its_importance():
    codes, labels = world(5, rows=600)
    twice = np.hstack([codes[:, :1], codes])
    ours = boost(twice, labels, twice[:1], np.random.default_rng(0), trees=20, depth=3, rate=0.1).importance
    alone = boost(codes, labels, codes[:1], np.random.default_rng(0), trees=20, depth=3, rate=0.1).importance
    assert ours[0] + ours[1] == pytest.approx(alone[0], abs=0.03)
    assert ours[0] == pytest.approx(ours[1], rel=0.5)


def test_nothing_to_cut_has_no_importance():
    labels = np.arange(30) % 3
    still = boost(np.zeros((30, 2)), labels, np.zeros((4, 2)), np.random.default_rng(0), trees=3, depth=3, rate=0.1)
    assert not still.importance.any()
    assert len(set(still.predicted)) == 1


def test_labels_are_predicted_as_they_were_given():
    labels = np.repeat([7, -3, 40], 20)
    codes = labels[:, None].astype(float)
    found = boost(codes, labels, codes, np.random.default_rng(0), trees=10, depth=2, rate=0.1)
    np.testing.assert_array_equal(found.predicted, labels)
