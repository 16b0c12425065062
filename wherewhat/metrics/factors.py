"""Supervised metrics of disentanglement: how codes of images correspond to the known factors of these images.

Pure functions of two arrays whose rows are the samples: `codes` (n z, real) and `factors` (n f, any integers).
The data set is encoded once; where the papers draw images, rows are drawn with replacement.  The defaults are the
published protocol of disentanglement_lib (Locatello et al. 2019, https://arxiv.org/abs/1811.12359), named "dlib" here.
All functions raise UserError for arrays that cannot be scored (require).

n rows, z codes, f factors, v votes, b rows of a vote, k groups (a group: the rows that have one value of one factor).
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.special import xlogy

from wherewhat.errors import UserError
from wherewhat.metrics.boosting import boost

SINGULAR = 1e-12  # an eigenvalue of a correlation matrix below this is 0 but for rounding
BINS = 20  # equally filled bins of a continuous factor
Codes = Float[np.ndarray, "n z"]
Factors = Integer[np.ndarray, "n f"]
Rng = np.random.Generator

# scikit-learn takes a second to import: the metrics that need it import it themselves.


class Groups(NamedTuple):
    """Rows sorted once by every factor.  The k groups are numbered through: those of factor 0 first, in the order of
    its values, then those of factor 1, …"""

    of: Integer[np.ndarray, "n f"]  # the group each row belongs to, for each factor
    order: Integer[np.ndarray, " m"]  # m = f·n row numbers, group after group
    start: Integer[np.ndarray, " k"]  # where in `order` a group begins
    members: Integer[np.ndarray, " k"]  # how many rows it has
    sizes: Integer[np.ndarray, " f"]  # the groups of each factor: how many values it takes

    @property
    def factors(self) -> int:
        """Number of factors."""
        return len(self.sizes)

    @property
    def first(self) -> Integer[np.ndarray, " f"]:
        """The first group of each factor."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def entropy(self) -> Float[np.ndarray, " f"]:
        """Entropy of each factor in nats."""
        share = self.members / len(self.of)
        return -np.add.reduceat(share * np.log(share), self.first)


def group_by_value(factors: Integer[np.ndarray, "n f"], name: str) -> Groups:
    """The groups of these factors; a factor with a single value is a UserError that calls the array `name`."""
    labels = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
    sizes = labels.max(0) + 1
    if (sizes == 1).any():
        columns = ", ".join(map(str, np.flatnonzero(sizes == 1)))
        raise UserError(f"{name} have the same value in every row of column {columns}: leave that column out")
    of = labels + np.cumsum(sizes) - sizes
    members = np.bincount(of.ravel())
    order = np.argsort(labels, axis=0, kind="stable").T.ravel()
    return Groups(of, order, np.cumsum(members) - members, members, sizes)


def checked(codes: np.ndarray, factors: np.ndarray, least_factors: int = 1) -> tuple[np.ndarray, Groups]:
    """Codes in double precision, and the rows grouped by factor."""
    require(codes, factors, least_factors)
    return codes.astype(np.float64), group_by_value(factors, "factors")


def require(codes: np.ndarray, factors: np.ndarray, least_factors: int = 1) -> None:
    """Finite codes and integer factors, row by row, or a UserError with everything that is wrong."""
    wrong = []
    binning = ", continuous ones with wherewhat.metrics.factors.discretise"
    for name, array, kinds, wanted in (("codes", codes, "fiu", "numbers"), ("factors", factors, "iu", "integers")):
        if array.ndim != 2 or not array.size:
            wrong.append(f"{name} have shape {array.shape}: give one row a sample and one column each")
        if array.dtype.kind not in kinds:
            wrong.append(f"{name} are {array.dtype}, not {wanted}: convert them{binning * (name == 'factors')}")
        elif not np.isfinite(array).all():
            wrong.append(f"{name} hold {(~np.isfinite(array)).sum()} NaN or infinite numbers: drop these rows")
    if not wrong and len(codes) != len(factors):
        wrong.append(f"codes have {len(codes)} rows, factors {len(factors)}: give row i of both the same image")
    if not wrong and factors.shape[1] < least_factors:
        wrong.append(f"factors have {factors.shape[1]} column, this metric compares at least {least_factors}: add one")
    if wrong:
        raise UserError("\n".join(wrong))


def draw(
    groups: Groups, group: Integer[np.ndarray, "v #b"], rng: np.random.Generator, batch: int
) -> Integer[np.ndarray, "v b"]:
    """Rows drawn uniformly, with replacement, from these groups."""
    return groups.order[groups.start[group] + rng.integers(groups.members[group], size=(len(group), batch))]


def split(count: int, rng: Rng, train: int, test: int) -> tuple[Integer[np.ndarray, " a"], Integer[np.ndarray, " b"]]:
    """`train` and `test` of `count` rows, drawn with replacement, no row in both.  Two thirds of the rows are there to
    fit, as in the published counts: a score of rows that were fitted is high for noise too.  UserError for one row."""
    if count < 2:
        raise UserError(f"{count} row cannot be split into rows to fit and rows to test on: give more rows")
    order, cut = rng.permutation(count), max(count * 2 // 3, 1)
    return order[:cut][rng.integers(cut, size=train)], order[cut:][rng.integers(count - cut, size=test)]


def draw_votes(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v b"]]:
    """For each vote a random factor, and rows which share one random value of it."""
    fixed = rng.integers(groups.factors, size=votes)
    group = groups.first[fixed] + rng.integers(groups.sizes[fixed])
    return fixed, draw(groups, group[:, None], rng, batch)


def draw_pairs(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v 2 b"]]:
    """For each vote a random factor, and pairs of rows: both rows of a pair share its value, pairs need not."""
    shared = rng.integers(groups.factors, size=votes)
    one = rng.integers(len(groups.of), size=(votes, batch))
    return shared, np.stack([one, draw(groups, groups.of[one, shared[:, None]], rng, batch)], 1)


def pieces_of(rows: Integer[np.ndarray, "v *b"], width: int) -> list[Integer[np.ndarray, "_ *b"]]:
    """The votes in pieces of which 2²¹ codes or fewer are gathered at a time: 16 MB."""
    return np.array_split(rows, max(1, -(-rows.size * width // 2**21)))


class FactorVAE(NamedTuple):
    """Accuracy of the majority vote; training votes of each code for each factor; which codes could win any."""

    score: float
    votes: Integer[np.ndarray, "z f"]
    active: Bool[np.ndarray, " z"]


def factor_vae(
    codes: Codes, factors: Factors, rng: Rng, *, batch: int = 64, votes: int = 10_000, eval_votes: int = 5_000,
    variance_rows: int = 10_000, prune_std: float = 0.05,
) -> FactorVAE:  # fmt: skip
    """How well the code that varies least shows which factor was fixed: 1/f (chance) … 1; 0 if no code is active.  Kim
    & Mnih 2018, https://arxiv.org/abs/1802.05983.  A vote: `batch` rows that share one value of one factor.  The
    majority among `votes` votes is the classifier; it is tested on `eval_votes`.  The variance of each code is that of
    `variance_rows` rows.  Codes with a standard deviation below `prune_std` cannot win a vote; this is absolute by
    protocol: scale codes in other units than those of a standard normal prior first, or set it to 0."""
    codes, groups = checked(codes, factors, least_factors=2)
    sample = codes[rng.integers(len(codes), size=variance_rows)]
    variance = sample.var(0, ddof=1)
    active = (np.sqrt(variance) >= prune_std) & (np.ptp(sample, 0) > 0)

    empty = np.zeros((codes.shape[1], groups.factors), dtype=np.int64)
    if not active.any():
        return FactorVAE(0.0, empty, active)
    able, live = np.flatnonzero(active), codes[:, active]

    def elect(count: int) -> Integer[np.ndarray, "z f"]:
        fixed, rows = draw_votes(groups, rng, count, batch)
        table = empty.copy()
        np.add.at(table, (able[_stillest(live, rows, variance[active])], fixed), 1)
        return table

    train, test = elect(votes), elect(eval_votes)
    right = test[np.arange(len(test)), train.argmax(1)].sum()
    return FactorVAE(float(right / eval_votes), train, active)


class BetaVAE(NamedTuple):
    """Accuracy of the linear classifier."""

    score: float


def beta_vae(
    codes: Codes, factors: Factors, rng: Rng, *, batch: int = 64, votes: int = 10_000, eval_votes: int = 5_000,
    logistic_c: float = 1.0, standardise: bool = False,
) -> BetaVAE:  # fmt: skip
    """How well a linear classifier recognises the factor that pairs share from mean |z₁ − z₂|: 1/f (chance) … 1.
    Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl; logistic regression as in disentanglement_lib, with
    an L2 penalty of inverse strength `logistic_c`, fitted to `votes` means of `batch` pairs and tested on `eval_votes`.
    The penalty depends on the scale of the codes unless `standardise` divides them by their standard deviation."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    codes, groups = checked(codes, factors, least_factors=2)
    codes = _standard(codes) if standardise else codes
    shared, pairs = draw_pairs(groups, rng, votes, batch)
    shared_test, pairs_test = draw_pairs(groups, rng, eval_votes, batch)
    # the published 100 iterations may stop short of the optimum, with a warning; 10,000 reach it
    with threadpool_limits(1):  # its many small products take seven times as long on two threads
        model = LogisticRegression(C=logistic_c, max_iter=10_000).fit(_distances(codes, pairs), shared)
    return BetaVAE(float(model.score(_distances(codes, pairs_test), shared_test)))


class MIG(NamedTuple):
    """Mean gap; mutual information of each code and factor, and each factor's entropy, in nats."""

    score: float
    information: Float[np.ndarray, "z f"]
    entropy: Float[np.ndarray, " f"]


def mig(codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, bins: int = 20) -> MIG:
    """Mutual information gap, mean over factors of (largest − second largest over codes)/entropy: 0 … 1.  Chen et al.
    2018, https://arxiv.org/abs/1802.04942.  Mutual information is counted on `rows` rows, in `bins` equally wide bins
    of each code.  A factor of more values than `bins` cannot reach 1."""
    codes, _ = checked(codes, factors)
    drawn = rng.integers(len(codes), size=rows)
    groups = group_by_value(factors[drawn], "factors, in the rows drawn for MIG,")
    information = _information(codes[drawn], groups, bins)
    return MIG(float(np.mean(_gap(information) / groups.entropy)), information, groups.entropy)


class DCI(NamedTuple):
    """Disentanglement, completeness, informativeness (test accuracy), and the importances they come from."""

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "z f"]

    @property
    def score(self) -> float:
        """The disentanglement, which tables call "DCI"."""
        return self.disentanglement


def dci(
    codes: Codes, factors: Factors, rng: Rng, *, tree_rows: int = 10_000, test_rows: int = 5_000, trees: int = 100,
    depth: int = 3, rate: float = 0.1, n_jobs: int = -1,
) -> DCI:  # fmt: skip
    """How concentrated the importances of boosted trees are: per code (D), per factor (C), each 0 … 1.  Eastwood &
    Williams 2018, https://openreview.net/forum?id=By-7dz-AZ; the boosted trees of disentanglement_lib, seeded: `trees`
    rounds of trees of this `depth` with the learning rate `rate`, fitted to `tree_rows` rows and tested on `test_rows`.
    `n_jobs` threads, -1 for all cores, do not change the result."""
    from joblib import Parallel, delayed

    codes, groups = checked(codes, factors, least_factors=2)
    train, test = split(len(codes), rng, tree_rows, test_rows)
    group_by_value(factors[train], "factors, in the rows drawn to train DCI's trees,")
    seeds = rng.integers(2**31, size=groups.factors)

    def fit(j: int) -> tuple[Float[np.ndarray, " z"], float]:
        own = np.random.default_rng(seeds[j])
        model = boost(codes[train], factors[train, j], codes[test], own, trees=trees, depth=depth, rate=rate)
        return model.importance, float((model.predicted == factors[test, j]).mean())

    jobs = np.argsort(-groups.sizes, kind="stable")  # the longest first; NumPy releases the interpreter's lock
    fits = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(fit)(int(j)) for j in jobs)
    columns, accuracies = zip(*(fits[i] for i in np.argsort(jobs)), strict=True)
    importance = np.stack(columns, 1)
    return DCI(_concentration(importance), _concentration(importance.T), float(np.mean(accuracies)), importance)


class SAP(NamedTuple):
    """Mean gap; test accuracy of each code alone on each factor."""

    score: float
    accuracy: Float[np.ndarray, "z f"]


def sap(
    codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, test_rows: int = 5_000, svc_c: float = 0.01,
    standardise: bool = False, n_jobs: int = -1,
) -> SAP:  # fmt: skip
    """Separated attribute predictability, mean over factors of (best − second accuracy of one code): 0 … 1 − chance.
    Kumar et al. 2018, https://openreview.net/forum?id=H1kG7GZAW; balanced linear classifiers as in disentanglement_lib,
    with an L2 penalty of inverse strength `svc_c`, fitted to `rows` rows and tested on `test_rows`.  It depends on the
    scale of the codes unless `standardise`.  A constant code guesses; a single code is compared with a constant one."""
    from joblib import Parallel, delayed
    from sklearn.svm import LinearSVC

    codes, groups = checked(codes, factors)
    codes = _standard(codes) if standardise else codes
    train, test = split(len(codes), rng, rows, test_rows)
    group_by_value(factors[train], "factors, in the rows drawn to train SAP's classifiers,")
    rivals = codes if codes.shape[1] > 1 else np.hstack([codes, np.zeros_like(codes)])

    def accuracy(i: int, j: int) -> float:
        model = LinearSVC(C=svc_c, class_weight="balanced", dual=False)  # the primal problem needs no random order
        model.fit(rivals[train, i : i + 1], factors[train, j])
        return float(model.score(rivals[test, i : i + 1], factors[test, j]))

    pairs = np.ndindex(rivals.shape[1], groups.factors)
    flat = Parallel(n_jobs=n_jobs, prefer="threads")(delayed(accuracy)(i, j) for i, j in pairs)
    table = np.reshape(flat, (rivals.shape[1], groups.factors))
    return SAP(float(_gap(table).mean()), table[: codes.shape[1]])


class Modularity(NamedTuple):
    """Mean over codes; each code's; the mutual information they come from, in nats."""

    score: float
    per_code: Float[np.ndarray, " z"]
    information: Float[np.ndarray, "z f"]


def modularity(codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, bins: int = 20) -> Modularity:
    """Whether a code has information about one factor only: 1 − Σ_others I²/(I_best² (f − 1)), mean over codes: 0 … 1.
    Ridgeway & Mozer 2018, https://arxiv.org/abs/1802.05312, as in disentanglement_lib; `rows` and `bins` as in MIG.  A
    code without information counts 0; a code with information about one factor counts 1, even if other codes have the
    same information."""
    codes, _ = checked(codes, factors, least_factors=2)
    drawn = rng.integers(len(codes), size=rows)
    groups = group_by_value(factors[drawn], "factors, in the rows drawn for modularity,")
    information = _information(codes[drawn], groups, bins)
    squared = information**2
    best = squared.max(1)
    others = (squared.sum(1) - best) / (groups.factors - 1)
    each = np.where(best > 0, 1 - np.divide(others, best, out=np.zeros_like(best), where=best > 0), 0.0)
    return Modularity(float(each.mean()), each, information)


class Explicitness(NamedTuple):
    """Mean over factors; each factor's area under the ROC curve."""

    score: float
    per_factor: Float[np.ndarray, " f"]


def explicitness(
    codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, test_rows: int = 5_000, logistic_c: float = 1.0,
    standardise: bool = False,
) -> Explicitness:  # fmt: skip
    """How well linear classifiers separate each value of a factor from the rest, by area under the ROC curve: .5 … 1.
    Ridgeway & Mozer 2018, https://arxiv.org/abs/1802.05312; one-vs-rest logistic regression (inverse penalty
    `logistic_c`) fitted to `rows` rows and tested on `test_rows`, mean over values and then factors, as in
    disentanglement_lib.  Values that are missing among the test rows are left out of the mean."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    codes, groups = checked(codes, factors)
    codes = _standard(codes) if standardise else codes
    train, test = split(len(codes), rng, rows, test_rows)
    group_by_value(factors[train], "factors, in the rows drawn to train the classifiers of explicitness,")
    areas = []
    with threadpool_limits(1):
        for j in range(groups.factors):
            each = []
            for value in np.unique(factors[train, j]):
                is_it, was_it = factors[train, j] == value, factors[test, j] == value
                if was_it.any() and not was_it.all():
                    model = LogisticRegression(C=logistic_c, max_iter=1_000).fit(codes[train], is_it)
                    each.append(roc_auc_score(was_it, model.decision_function(codes[test])))
            if not each:
                raise UserError(f"factors have one value in column {j} of the test rows: give more rows")
            areas.append(float(np.mean(each)))
    return Explicitness(float(np.mean(areas)), np.array(areas))


class IRS(NamedTuple):
    """Mean over codes by their reach; each code's score; robustness of each code to each factor being fixed."""

    score: float
    per_code: Float[np.ndarray, " z"]
    robustness: Float[np.ndarray, "z f"]


def irs(codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, quantile: float = 0.99) -> IRS:
    """Interventional robustness: how little a code moves once its factor is fixed, whatever the others do: 0 … 1.
    Suter et al. 2019, https://arxiv.org/abs/1811.00007, as in disentanglement_lib: 1 − (the `quantile` of a code's
    distance from its mean among rows that share a value, mean over values)/(its largest distance from its mean over
    all), the best factor of each code, weighted by that largest distance. Constant codes are left out; codes that all
    are constant score 0."""
    codes, _ = checked(codes, factors)
    drawn = rng.integers(len(codes), size=rows)
    codes, groups = codes[drawn], group_by_value(factors[drawn], "factors, in the rows drawn for IRS,")
    reach = np.abs(codes - codes.mean(0)).max(0)
    robustness = np.zeros((codes.shape[1], groups.factors))
    for j, (first, size) in enumerate(zip(groups.first, groups.sizes, strict=True)):
        for group in range(first, first + size):
            own = codes[groups.order[groups.start[group] : groups.start[group] + groups.members[group]]]
            robustness[:, j] += np.quantile(np.abs(own - own.mean(0)), quantile, axis=0) / size
    live = reach > 1e-12 * np.maximum(np.abs(codes).max(0), 1e-300)
    robustness = np.where(live[:, None], 1 - robustness / np.where(live, reach, 1)[:, None], 0.0)
    each = robustness.max(1)
    return IRS(float(np.average(each, weights=reach * live)) if live.any() else 0.0, each, robustness)


class InfoMEC(NamedTuple):
    """Modularity, explicitness, compactness; mutual information over the factor's entropy; which codes are active."""

    modularity: float
    explicitness: float
    compactness: float
    information: Float[np.ndarray, "z f"]
    active: Bool[np.ndarray, " z"]

    @property
    def score(self) -> float:
        """The first of the three numbers, modularity, which its authors optimise first."""
        return self.modularity


def infomec(codes: Codes, factors: Factors, rng: Rng, *, rows: int = 10_000, neighbours: int = 10) -> InfoMEC:
    """InfoM, InfoE, InfoC (Hsu et al. 2023, https://arxiv.org/abs/2305.18378), each at most 1, 0 for chance.

    M: of the information that a code has about all factors, the share of its best factor, mean over active codes,
    rescaled from 1/f … 1.  C: the same for factors over codes, from 1/codes … 1.  E: 1 − cross-entropy of a multinomial
    logistic regression from all codes / that of a constant, balanced over values, on the rows it was fitted to, mean
    over factors.  Measured on `rows` rows, each at most once; information is estimated from `neighbours` nearest
    neighbours.  A code is active if its range is more than a twentieth of the largest."""
    from sklearn.feature_selection import mutual_info_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight
    from threadpoolctl import threadpool_limits

    codes, _ = checked(codes, factors, least_factors=2)
    drawn = rng.choice(len(codes), min(rows, len(codes)), replace=False)  # a row twice would be its own neighbour
    codes, factors = codes[drawn], factors[drawn]
    groups = group_by_value(factors, "factors, in the rows drawn for InfoMEC,")
    spread = np.ptp(codes, 0)
    active = spread > spread.max() / 20
    information = np.zeros((codes.shape[1], groups.factors))
    if not active.any():
        return InfoMEC(0.0, 0.0, 0.0, information, active)
    seed = int(rng.integers(2**31))
    explicit = []
    with threadpool_limits(1):
        for j in range(groups.factors):
            how = {"discrete_features": False, "n_neighbors": neighbours, "random_state": seed}
            information[active, j] = mutual_info_classif(codes[:, active], factors[:, j], **how) / groups.entropy[j]
            model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=1_000)
            weight = compute_sample_weight("balanced", factors[:, j])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without a penalty, classes that a line separates never converge
                chances = model.fit(_standard(codes), factors[:, j]).predict_proba(_standard(codes))
            loss = log_loss(factors[:, j], chances, sample_weight=weight)
            explicit.append(1 - loss / np.log(groups.sizes[j]))
    kept = information[active]
    return InfoMEC(_dominance(kept), float(np.mean(explicit)), _dominance(kept.T), information, active)


def total_correlation(codes: Codes) -> float:
    """How far codes depend on each other, in nats, as if they were normal: ½ (Σ log variance − log det covariance), 0
    without any linear dependence; disentanglement_lib's Gaussian total correlation (Locatello et al. 2019).  Constant
    codes are left out.  inf if one is a linear combination of others.  Raises UserError for codes that are not finite,
    or with fewer rows than codes."""
    require_codes(codes)
    used = codes[:, codes.std(0) > 1e-12].astype(np.float64)
    if used.shape[1] < 2:
        return 0.0
    shares = np.linalg.eigvalsh(np.corrcoef(used, rowvar=False))
    return float(max(0.0, -np.log(shares).sum() / 2)) if shares[0] > SINGULAR else float("inf")


def require_codes(codes: np.ndarray) -> None:
    """Raises UserError for codes that are not finite, or with fewer rows than codes."""
    if codes.ndim != 2 or len(codes) <= codes.shape[1] or not np.isfinite(codes).all():
        raise UserError(f"codes of shape {codes.shape}: give finite numbers, more rows (samples) than columns (codes)")


def discretise(factors: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Factors as integers: columns of whole numbers as they are, other ones (continuous factors) cut into `bins`
    equally filled bins.  Raises UserError for values that are not finite."""
    if not np.isfinite(factors).all():
        raise UserError(f"factors hold {(~np.isfinite(factors)).sum()} NaN or infinite numbers: drop these rows")
    columns = [
        column if (column == np.rint(column)).all()
        else np.searchsorted(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]), column, side="right")
        for column in factors.T
    ]  # fmt: skip
    return np.stack(columns, 1).astype(np.int64)


class Match(NamedTuple):
    """Each code's factor (column index), and that factor's share of the code's information about all (0 … 1)."""

    factor: Integer[np.ndarray, " z"]
    share: Float[np.ndarray, " z"]


def match(codes: Codes, factors: Factors, *, bins: int = 20) -> Match:
    """The factor that each code has most information about: mutual information / the factor's entropy, over all rows.
    A constant code has none: its factor is 0 and its share 0.  Noise has a little, about a factor found by chance."""
    codes, groups = checked(codes, factors)
    known = _information(codes, groups, bins) / groups.entropy
    total = known.sum(1)
    return Match(known.argmax(1), np.divide(known.max(1), total, out=np.zeros_like(total), where=total > 0))


def _stillest(
    codes: Codes, rows: Integer[np.ndarray, "v b"], variance: Float[np.ndarray, " z"]
) -> Integer[np.ndarray, " v"]:
    """The code whose variance within the vote is the smallest part of its global variance."""
    pieces = pieces_of(rows, codes.shape[1])
    return np.concatenate([(codes[piece].var(1, ddof=1) / variance).argmin(1) for piece in pieces])


def _distances(codes: Codes, pairs: Integer[np.ndarray, "v 2 b"]) -> Float[np.ndarray, "v z"]:
    """Mean |z₁ − z₂| over the pairs of each vote."""
    pieces = pieces_of(pairs, codes.shape[1])
    return np.concatenate([np.abs(codes[piece[:, 0]] - codes[piece[:, 1]]).mean(1) for piece in pieces])


def _standard(codes: Codes) -> Codes:
    """Codes of mean 0 and variance 1; constants become 0."""
    varies = np.ptp(codes, 0) > 0
    return np.where(varies, codes - codes.mean(0), 0) / np.where(varies, codes.std(0), 1)


def _bin(code: Float[np.ndarray, " n"], bins: int) -> Integer[np.ndarray, " n"]:
    """Equal-width bins from the smallest to the largest value, 0 … bins-1; rounding noise counts as constant."""
    if np.ptp(code) <= 1e-12 * np.abs(code).max():
        return np.zeros(len(code), dtype=np.int64)
    return np.digitize(code, np.histogram_bin_edges(code, bins)[:-1]) - 1


def _information(codes: Codes, groups: Groups, bins: int) -> Float[np.ndarray, "z f"]:
    """Mutual information of each binned code and each factor in nats: Σ p(bin, value) log p(bin, value)/p(bin)p(value).
    Grows with noise when rows are few: by about (bins − 1)(values − 1)/2n."""
    n, k = len(codes), len(groups.members)
    rows = []
    for code in codes.T:
        cells = _bin(code, bins)[:, None] * k + groups.of
        joint = np.bincount(cells.ravel(), minlength=bins * k).reshape(bins, k) / n
        share = joint[:, : groups.sizes[0]].sum(1, keepdims=True) * groups.members / n
        rows.append(np.add.reduceat((xlogy(joint, joint) - xlogy(joint, share)).sum(0), groups.first))
    return np.maximum(rows, 0)


def _gap(table: Float[np.ndarray, "z f"]) -> Float[np.ndarray, " f"]:
    """Largest minus second largest of each column; what is missing counts as 0."""
    best = np.sort(np.vstack([table, np.zeros_like(table[:1])]), axis=0)
    return best[-1] - best[-2]


def _dominance(table: Float[np.ndarray, "a b"]) -> float:
    """The largest share of each row, mean over rows, rescaled so that equal shares are 0; 1 if rows have one column."""
    count = table.shape[1]
    if count == 1:
        return 1.0
    total = table.sum(1)
    share = np.divide(table.max(1), total, out=np.full(len(table), 1 / count), where=total > 0)
    return float((share.mean() - 1 / count) / (1 - 1 / count))


def _concentration(weights: Float[np.ndarray, "a b"]) -> float:
    """1 − entropy of a row in units of log b, mean over the rows by their weight: 1 if each row has a single entry."""
    if not weights.any():
        return 0.0
    if weights.shape[1] == 1:
        return 1.0
    share = weights + 1e-11
    share = share / share.sum(1, keepdims=True)
    return float(np.average(1 + (share * np.log(share)).sum(1) / np.log(weights.shape[1]), weights=weights.sum(1)))
