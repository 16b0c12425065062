"""Total correlation of codes."""

import numpy as np
import pytest

from wherewhat.errors import UserError
from wherewhat.metrics.factors import total_correlation

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.9])
def test_total_correlation_of_normal_codes_is_its_closed_form(correlation):
    codes = RNG.multivariate_normal([0, 5], [[1, correlation], [correlation, 1]], 200_000)
    assert total_correlation(codes) == pytest.approx(-np.log(1 - correlation**2) / 2, abs=0.01)


def test_it_is_blind_to_scale_order_and_constant_codes():
    codes = RNG.standard_normal((500, 3)) @ RNG.standard_normal((3, 3))
    whole = total_correlation(codes)
    assert whole > 0
    changed = np.concatenate([1e3 * codes[:, ::-1] - 7, np.ones((500, 1))], 1)
    assert total_correlation(changed) == pytest.approx(whole)
    assert total_correlation(np.ones((9, 2))) == 0


def test_a_code_that_is_a_combination_of_others_has_no_bound():
    codes = RNG.standard_normal((500, 2))
    assert total_correlation(np.concatenate([codes, codes[:, :1] - 2 * codes[:, 1:]], 1)) == np.inf


@pytest.mark.parametrize("codes", [np.ones((3, 3)), np.full((9, 2), np.nan)])
def test_codes_without_a_total_correlation_are_reported(codes):
    with pytest.raises(UserError, match="more rows"):
        total_correlation(codes)
