"""Priors of latents."""

import numpy as np
import pytest

from wherewhat.priors import PRIORS


@pytest.mark.parametrize(("name", "reach", "std"), [("generalized_normal", 3**0.5, 1.0), ("uniform", 2.0, 2 / 3**0.5),
                                                    ("normal", np.inf, 1.0)])  # fmt: skip
def test_samples_fill_the_reach_of_the_prior_and_are_the_same_for_the_same_seed(name, reach, std):
    drawn = PRIORS[name].draw(4_000, 12, 0)
    assert drawn.shape == (4_000, 12) and drawn.dtype == np.float32
    assert (drawn == PRIORS[name].draw(4_000, 12, 0)).all() and (drawn[:3] != PRIORS[name].draw(3, 12, 1)).all()
    assert abs(drawn.std() - std) < 0.02
    assert min(reach, 4) - 0.01 < np.abs(drawn).max() <= reach


@pytest.mark.parametrize("name", PRIORS)
def test_the_cdf_of_samples_is_uniform(name):
    shares = PRIORS[name].cdf(PRIORS[name].draw(20_000, 1, 0))
    assert abs(np.sort(shares, 0)[:, 0] - np.linspace(0, 1, 20_000)).max() < 0.02
