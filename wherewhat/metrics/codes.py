"""What codes say of themselves, without factors.  n rows, z codes."""

import numpy as np
from jaxtyping import Float

from wherewhat.errors import UserError


def total_correlation(codes: Float[np.ndarray, "n z"]) -> float:
    """How far codes depend on each other, in nats, as if they were normal: ½ (Σ log variance − log det covariance),
    0 without any linear dependence; disentanglement_lib's Gaussian total correlation (Locatello et al. 2019).

    Constant codes are left out.  inf if one is a linear combination of others.  Raises UserError for codes that are
    not finite, or with fewer rows than codes.
    """
    if codes.ndim != 2 or len(codes) <= codes.shape[1] or not np.isfinite(codes).all():
        raise UserError(f"codes of shape {codes.shape}: give finite numbers, more rows (samples) than columns (codes)")
    used = codes[:, codes.std(0) > 1e-12].astype(np.float64)
    if used.shape[1] < 2:
        return 0.0
    sign, logarithm = np.linalg.slogdet(np.corrcoef(used, rowvar=False))
    return float(max(0.0, -logarithm / 2)) if sign > 0 and logarithm > -60 else float("inf")
