"""Supervised metrics of disentanglement: what the codes of a data set say about its known factors.

Pure functions of two arrays whose rows are the samples: `codes` (n z, real) and `factors` (n f, any integers).
The data set is encoded once; where the papers draw images, rows are drawn with replacement. The defaults are the
published protocol of disentanglement_lib (Locatello et al. 2019, https://arxiv.org/abs/1811.12359), named "dlib" here.

n rows, z codes, f factors, v votes, b rows of a vote, k groups (a group: the rows that have one value of one factor).
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.special import xlogy

from wherewhat.errors import UserError, did_you_mean
from wherewhat.metrics.boosting import boost

# scikit-learn takes a second to import, and only three of the metrics need it: they import it themselves.


@dataclass(frozen=True)
class Protocol:
    """Every number that changes a score; a metric's keyword arguments have the names of the fields it reads."""

    batch: int = 64
    """rows of a vote (FactorVAE), pairs of a vote (β-VAE)"""
    votes: int = 10_000
    """votes the classifier is made from (FactorVAE, β-VAE)"""
    eval_votes: int = 5_000
    """votes it is tested on (FactorVAE, β-VAE)"""
    variance_rows: int = 10_000
    """rows from which the global variance of each code is estimated (FactorVAE)"""
    prune_std: float = 0.05
    """codes with a smaller standard deviation cannot win a vote; in the units of the codes (FactorVAE)"""
    rows: int = 10_000
    """rows from which mutual information is counted (MIG), to which linear classifiers are fitted (SAP)"""
    bins: int = 20
    """equal-width bins of each code (MIG)"""
    tree_rows: int = 10_000
    """rows to which trees are fitted (DCI)"""
    test_rows: int = 5_000
    """rows the classifiers are tested on (DCI, SAP)"""
    trees: int = 100
    """boosting rounds, each a tree for every value of the factor (DCI)"""
    depth: int = 3
    """depth of a tree (DCI)"""
    rate: float = 0.1
    """learning rate of the boosting (DCI)"""
    svc_c: float = 0.01
    """inverse strength of the linear classifiers' L2 penalty (SAP)"""
    logistic_c: float = 1.0
    """inverse strength of the logistic regression's L2 penalty (β-VAE)"""
    quantile: float = 0.99
    """of a code's distances from its mean, in place of the largest (IRS)"""
    neighbours: int = 10
    """from which mutual information is estimated (InfoMEC)"""
    standardise: bool = False
    """divide codes by their standard deviation first, which the penalties of β-VAE and SAP would otherwise feel"""


BINNED = 20
"""bins of a continuous factor"""
DLIB = Protocol()
"""the published protocol"""
PROTOCOLS: dict[str, Protocol] = {
    "dlib": DLIB,
    "fast": replace(DLIB, votes=2_000, eval_votes=1_000, tree_rows=2_000, trees=30),
}
"""fast is for watching a run: its DCI, from fewer rows and trees, is another number than the published one"""


class FactorVAE(NamedTuple):
    """Accuracy of the majority vote; who got the training votes; which codes could win any."""

    score: float
    votes: Integer[np.ndarray, "z f"]
    active: Bool[np.ndarray, " z"]


def factor_vae(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    batch: int = DLIB.batch,
    votes: int = DLIB.votes,
    eval_votes: int = DLIB.eval_votes,
    variance_rows: int = DLIB.variance_rows,
    prune_std: float = DLIB.prune_std,
) -> FactorVAE:
    """How well the code that varies least tells which factor was fixed: 1/f (chance) … 1; 0 if no code is active.

    Kim & Mnih 2018, https://arxiv.org/abs/1802.05983. `prune_std` is absolute by protocol: codes in other units than
    those of a standard normal prior should be scaled first, or `prune_std` set to 0.
    """
    codes, groups = _checked(codes, factors, least_factors=2)
    sample = codes[rng.integers(len(codes), size=variance_rows)]
    variance = sample.var(0, ddof=1)
    active = (np.sqrt(variance) >= prune_std) & (np.ptp(sample, 0) > 0)

    empty = np.zeros((codes.shape[1], groups.factors), dtype=np.int64)
    if not active.any():
        return FactorVAE(0.0, empty, active)
    able, live = np.flatnonzero(active), codes[:, active]

    def elect(count: int) -> Integer[np.ndarray, "z f"]:
        fixed, rows = _draw_votes(groups, rng, count, batch)
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
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    batch: int = DLIB.batch,
    votes: int = DLIB.votes,
    eval_votes: int = DLIB.eval_votes,
    logistic_c: float = DLIB.logistic_c,
    standardise: bool = DLIB.standardise,
) -> BetaVAE:
    """How well a linear classifier tells the factor that pairs share from mean |z₁ − z₂|: 1/f (chance) … 1.

    Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl; logistic regression as in disentanglement_lib.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    codes, groups = _checked(codes, factors, least_factors=2)
    codes = _standard(codes) if standardise else codes
    shared, pairs = _draw_pairs(groups, rng, votes, batch)
    shared_test, pairs_test = _draw_pairs(groups, rng, eval_votes, batch)
    # the published 100 iterations may stop short of the optimum, with a warning; 10,000 reach it
    with threadpool_limits(1):  # its many small products take seven times as long on two threads
        model = LogisticRegression(C=logistic_c, max_iter=10_000).fit(_distances(codes, pairs), shared)
    return BetaVAE(float(model.score(_distances(codes, pairs_test), shared_test)))


class MIG(NamedTuple):
    """Mean gap; mutual information of each code and factor, and each factor's entropy, in nats."""

    score: float
    information: Float[np.ndarray, "z f"]
    entropy: Float[np.ndarray, " f"]


def mig(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    bins: int = DLIB.bins,
) -> MIG:
    """Mutual information gap, mean over factors of (largest − second largest over codes)/entropy: 0 … 1.

    Chen et al. 2018, https://arxiv.org/abs/1802.04942. A factor of more values than `bins` cannot reach 1.
    """
    codes, _ = _checked(codes, factors)
    drawn = rng.integers(len(codes), size=rows)
    groups = _group(factors[drawn], "factors, in the rows drawn for MIG,")
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
        """What tables call "DCI": the disentanglement."""
        return self.disentanglement


def dci(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    tree_rows: int = DLIB.tree_rows,
    test_rows: int = DLIB.test_rows,
    trees: int = DLIB.trees,
    depth: int = DLIB.depth,
    rate: float = DLIB.rate,
    n_jobs: int = -1,
) -> DCI:
    """How concentrated the importances of boosted trees are: per code (D), per factor (C), each 0 … 1.

    Eastwood & Williams 2018, https://openreview.net/forum?id=By-7dz-AZ; the boosted trees of disentanglement_lib,
    seeded. `n_jobs` threads, -1 for all cores, do not change the result.
    """
    from joblib import Parallel, delayed

    codes, groups = _checked(codes, factors, least_factors=2)
    train, test = (rng.integers(len(codes), size=size) for size in (tree_rows, test_rows))
    _group(factors[train], "factors, in the rows drawn to train DCI's trees,")
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
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    test_rows: int = DLIB.test_rows,
    svc_c: float = DLIB.svc_c,
    standardise: bool = DLIB.standardise,
    n_jobs: int = -1,
) -> SAP:
    """Separated attribute predictability, mean over factors of (best − second accuracy of one code): 0 … 1 − chance.

    Kumar et al. 2018, https://openreview.net/forum?id=H1kG7GZAW; balanced linear classifiers as in disentanglement_lib.
    Their penalty feels the scale of the codes unless `standardise`. A constant code guesses; a single code is compared
    with a constant one.
    """
    from joblib import Parallel, delayed
    from sklearn.svm import LinearSVC

    codes, groups = _checked(codes, factors)
    codes = _standard(codes) if standardise else codes
    train, test = (rng.integers(len(codes), size=size) for size in (rows, test_rows))
    _group(factors[train], "factors, in the rows drawn to train SAP's classifiers,")
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


def modularity(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    bins: int = DLIB.bins,
) -> Modularity:
    """How far each code is from telling of several factors: 1 − Σ_others I²/(I_best² (f − 1)), mean over codes: 0 … 1.

    Ridgeway & Mozer 2018, https://arxiv.org/abs/1802.05312, as in disentanglement_lib. A code without information
    counts 0; a code that tells of one factor counts 1 whether or not others tell of it too.
    """
    codes, _ = _checked(codes, factors, least_factors=2)
    drawn = rng.integers(len(codes), size=rows)
    groups = _group(factors[drawn], "factors, in the rows drawn for modularity,")
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
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    test_rows: int = DLIB.test_rows,
    logistic_c: float = DLIB.logistic_c,
    standardise: bool = DLIB.standardise,
) -> Explicitness:
    """How well linear classifiers tell each value of a factor from the rest, by area under the ROC curve: .5 … 1.

    Ridgeway & Mozer 2018, https://arxiv.org/abs/1802.05312; one-vs-rest logistic regression, mean over values and then
    factors, as in disentanglement_lib. Values that are missing among the test rows are left out of the mean.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    codes, groups = _checked(codes, factors)
    codes = _standard(codes) if standardise else codes
    train, test = (rng.integers(len(codes), size=size) for size in (rows, test_rows))
    _group(factors[train], "factors, in the rows drawn to train the classifiers of explicitness,")
    areas = []
    with threadpool_limits(1):
        for j in range(groups.factors):
            progress = []
            for value in np.unique(factors[train, j]):
                is_it, was_it = factors[train, j] == value, factors[test, j] == value
                if was_it.any() and not was_it.all():
                    model = LogisticRegression(C=logistic_c, max_iter=1_000).fit(codes[train], is_it)
                    progress.append(roc_auc_score(was_it, model.decision_function(codes[test])))
            if not progress:
                raise UserError(f"factors have one value in column {j} of the test rows: give more rows")
            areas.append(float(np.mean(progress)))
    return Explicitness(float(np.mean(areas)), np.array(areas))


class IRS(NamedTuple):
    """Mean over codes by their reach; each code's score; robustness of each code to each factor being fixed."""

    score: float
    per_code: Float[np.ndarray, " z"]
    robustness: Float[np.ndarray, "z f"]


def irs(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    quantile: float = DLIB.quantile,
) -> IRS:
    """Interventional robustness: how little a code moves once its factor is fixed, whatever the others do: 0 … 1.

    Suter et al. 2019, https://arxiv.org/abs/1811.00007, as in disentanglement_lib: 1 − (the `quantile` of a code's
    distance from its mean among rows that share a value, mean over values)/(its largest distance from its mean over
    all), the best factor of each code, weighted by that largest distance. Constant codes are left out; codes that all
    are constant score 0.
    """
    codes, _ = _checked(codes, factors)
    drawn = rng.integers(len(codes), size=rows)
    codes, groups = codes[drawn], _group(factors[drawn], "factors, in the rows drawn for IRS,")
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
        """What is optimised first: the modularity."""
        return self.modularity


def infomec(
    codes: Float[np.ndarray, "n z"],
    factors: Integer[np.ndarray, "n f"],
    rng: np.random.Generator,
    *,
    rows: int = DLIB.rows,
    neighbours: int = DLIB.neighbours,
) -> InfoMEC:
    """InfoM, InfoE, InfoC (Hsu et al. 2023, https://arxiv.org/abs/2305.18378), each at most 1, 0 for chance.

    M: share of the factor a code tells most of in all it tells, mean over active codes, rescaled from 1/f … 1. C: the
    same of factors over codes, from 1/codes … 1. E: 1 − cross-entropy of a multinomial logistic regression from all
    codes / that of a constant, balanced over values, on the rows it was fitted to, mean over factors. Information by
    `neighbours` nearest neighbours. A code is active if its range is more than a twentieth of the largest.
    """
    from sklearn.feature_selection import mutual_info_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight
    from threadpoolctl import threadpool_limits

    codes, _ = _checked(codes, factors, least_factors=2)
    drawn = rng.choice(len(codes), min(rows, len(codes)), replace=False)  # a row twice would be its own neighbour
    codes, factors = codes[drawn], factors[drawn]
    groups = _group(factors, "factors, in the rows drawn for InfoMEC,")
    spread = np.ptp(codes, 0)
    active = spread > spread.max() / 20
    information = np.zeros((codes.shape[1], groups.factors))
    if not active.any():
        return InfoMEC(0.0, 0.0, 0.0, information, active)
    seed = int(rng.integers(2**31))
    explained = []
    with threadpool_limits(1):
        for j in range(groups.factors):
            found = mutual_info_classif(
                codes[:, active], factors[:, j], discrete_features=False, n_neighbors=neighbours, random_state=seed
            )
            information[active, j] = found / groups.entropy[j]
            model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=1_000)
            weight = compute_sample_weight("balanced", factors[:, j])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without a penalty, what can be progress perfectly never converges
                progress = model.fit(_standard(codes), factors[:, j]).predict_proba(_standard(codes))
            loss = log_loss(factors[:, j], progress, sample_weight=weight)
            explained.append(1 - loss / np.log(groups.sizes[j]))
    kept = information[active]
    return InfoMEC(_dominance(kept), float(np.mean(explained)), _dominance(kept.T), information, active)


class Match(NamedTuple):
    """Each code's factor (column index), and that factor's share of what the code says about all of them (0 … 1)."""

    factor: Integer[np.ndarray, " z"]
    share: Float[np.ndarray, " z"]


def match(codes: Float[np.ndarray, "n z"], factors: Integer[np.ndarray, "n f"], *, bins: int = DLIB.bins) -> Match:
    """The factor each code says most about: mutual information / the factor's entropy, over all rows.

    A constant code says nothing: its factor is 0 and its share 0. Noise says a little, about whichever it happens to.
    """
    codes, groups = _checked(codes, factors)
    said = _information(codes, groups, bins) / groups.entropy
    total = said.sum(1)
    return Match(said.argmax(1), np.divide(said.max(1), total, out=np.zeros_like(total), where=total > 0))


METRICS: dict[str, Callable[..., FactorVAE | BetaVAE | MIG | DCI | SAP | Modularity | Explicitness | IRS | InfoMEC]] = {
    "factor_vae": factor_vae,
    "beta_vae": beta_vae,
    "mig": mig,
    "dci": dci,
    "sap": sap,
    "modularity": modularity,
    "explicitness": explicitness,
    "irs": irs,
    "infomec": infomec,
}


def score(
    metric: str, codes: np.ndarray, factors: np.ndarray, protocol: Protocol, seed: int, n_jobs: int = -1
) -> dict[str, Any]:
    """One metric as a JSON-able record: its value, details for tables and plots, every number that changes them."""
    if metric not in METRICS:
        raise UserError(f"there is no metric {metric}{did_you_mean(metric, list(METRICS))}")
    require(codes, factors)
    known = inspect.signature(METRICS[metric]).parameters
    options = {name: getattr(protocol, name) for name in known if hasattr(protocol, name)}
    threads = {"n_jobs": n_jobs} if "n_jobs" in known else {}
    result = METRICS[metric](codes, factors, np.random.default_rng(seed), **options, **threads)
    details = {name: np.asarray(detail).tolist() for name, detail in result._asdict().items() if name != "score"}
    return {"value": result.score, "details": details, "options": options | {"seed": seed}}


class Groups(NamedTuple):
    """Rows sorted once by every factor, so that drawing rows that share a value is integer arithmetic.

    The k groups are numbered through: those of factor 0 first, in the order of its values, then those of factor 1, …
    """

    of: Integer[np.ndarray, "n f"]
    """the group each row belongs to, for each factor"""
    order: Integer[np.ndarray, " m"]
    """m = f·n row numbers, group after group"""
    start: Integer[np.ndarray, " k"]
    """where in `order` a group begins"""
    members: Integer[np.ndarray, " k"]
    """how many rows it has"""
    sizes: Integer[np.ndarray, " f"]
    """the groups of each factor: how many values it takes"""

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


def _group(factors: Integer[np.ndarray, "n f"], name: str) -> Groups:
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


def _checked(codes: np.ndarray, factors: np.ndarray, least_factors: int = 1) -> tuple[np.ndarray, Groups]:
    """Codes in double precision, and the rows grouped by factor."""
    require(codes, factors, least_factors)
    return codes.astype(np.float64), _group(factors, "factors")


def discretise(factors: np.ndarray, bins: int = BINNED) -> np.ndarray:
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


def _draw(
    groups: Groups, group: Integer[np.ndarray, "v #b"], rng: np.random.Generator, batch: int
) -> Integer[np.ndarray, "v b"]:
    """Rows drawn uniformly, with replacement, from these groups."""
    return groups.order[groups.start[group] + rng.integers(groups.members[group], size=(len(group), batch))]


def _draw_votes(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v b"]]:
    """For each vote a random factor, and rows which share one random value of it."""
    fixed = rng.integers(groups.factors, size=votes)
    group = groups.first[fixed] + rng.integers(groups.sizes[fixed])
    return fixed, _draw(groups, group[:, None], rng, batch)


def _draw_pairs(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v 2 b"]]:
    """For each vote a random factor, and pairs of rows: both rows of a pair share its value, pairs need not."""
    shared = rng.integers(groups.factors, size=votes)
    one = rng.integers(len(groups.of), size=(votes, batch))
    return shared, np.stack([one, _draw(groups, groups.of[one, shared[:, None]], rng, batch)], 1)


def _pieces(rows: Integer[np.ndarray, "v *b"], width: int) -> list[Integer[np.ndarray, "_ *b"]]:
    """The votes in pieces of which 2²¹ codes or fewer are gathered at a time: 16 MB."""
    return np.array_split(rows, max(1, -(-rows.size * width // 2**21)))


def _stillest(
    codes: Float[np.ndarray, "n z"], rows: Integer[np.ndarray, "v b"], variance: Float[np.ndarray, " z"]
) -> Integer[np.ndarray, " v"]:
    """The code whose variance within the vote is the smallest part of its global variance."""
    pieces = _pieces(rows, codes.shape[1])
    return np.concatenate([(codes[piece].var(1, ddof=1) / variance).argmin(1) for piece in pieces])


def _distances(codes: Float[np.ndarray, "n z"], pairs: Integer[np.ndarray, "v 2 b"]) -> Float[np.ndarray, "v z"]:
    """Mean |z₁ − z₂| over the pairs of each vote."""
    pieces = _pieces(pairs, codes.shape[1])
    return np.concatenate([np.abs(codes[piece[:, 0]] - codes[piece[:, 1]]).mean(1) for piece in pieces])


def _standard(codes: Float[np.ndarray, "n z"]) -> Float[np.ndarray, "n z"]:
    """Codes of mean 0 and variance 1; constants become 0."""
    varies = np.ptp(codes, 0) > 0
    return np.where(varies, codes - codes.mean(0), 0) / np.where(varies, codes.std(0), 1)


def _bin(code: Float[np.ndarray, " n"], bins: int) -> Integer[np.ndarray, " n"]:
    """Equal-width bins from the smallest to the largest value, 0 … bins-1; rounding noise counts as constant."""
    if np.ptp(code) <= 1e-12 * np.abs(code).max():
        return np.zeros(len(code), dtype=np.int64)
    return np.digitize(code, np.histogram_bin_edges(code, bins)[:-1]) - 1


def _information(codes: Float[np.ndarray, "n z"], groups: Groups, bins: int) -> Float[np.ndarray, "z f"]:
    """Mutual information of each binned code and each factor in nats: Σ p(bin, value) log p(bin, value)/p(bin)p(value).

    Grows with noise when rows are few: by about (bins − 1)(values − 1)/2n.
    """
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
