"""How long do the supervised metrics take, and what does vectorising their votes bring?

    python benchmarks/metrics.py            # a few minutes, nearly all of it DCI's 100 trees a value
    python benchmarks/metrics.py --quick    # seconds; writes nothing

Codes are synthetic: 12 for six factors of the sizes of 3D Shapes, leaning to one factor each and mixing in the others,
two of them dead. The plain versions make one vote at a time, as a reader of the papers would write them.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from common import command, header
from sklearn.linear_model import LogisticRegression

from wherewhat.metrics.factors import METRICS, PROTOCOLS, Protocol, score

SIZES = (10, 10, 10, 8, 4, 15)
RESULT = Path(__file__).parent / "results" / "metrics.md"


def world(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (rows 12) and factors (rows 6)."""
    rng = np.random.default_rng(0)
    factors = rng.integers(SIZES, size=(rows, len(SIZES)))
    clean = (factors - factors.mean(0)) / factors.std(0)
    codes = clean @ (np.eye(12, 6) + 0.8 * rng.normal(size=(12, 6))).T + 1.5 * rng.normal(size=(rows, 12))
    codes[:, 10:] *= 0.01
    return codes, factors


def plain_factor_vae(codes: np.ndarray, factors: np.ndarray, protocol: Protocol, seed: int) -> float:
    """The FactorVAE score, one vote at a time."""
    rng = np.random.default_rng(seed)
    variance = codes[rng.integers(len(codes), size=protocol.variance_rows)].var(0, ddof=1)
    active = np.flatnonzero(np.sqrt(variance) >= protocol.prune_std)
    tables = np.zeros((2, len(active), factors.shape[1]), dtype=int)
    for table, votes in zip(tables, (protocol.votes, protocol.eval_votes), strict=True):
        for _ in range(votes):
            factor = rng.integers(factors.shape[1])
            value = rng.choice(SIZES[factor])
            rows = rng.choice(np.flatnonzero(factors[:, factor] == value), protocol.batch)
            local = codes[rows].var(0, ddof=1)
            table[np.argmin(local[active] / variance[active]), factor] += 1
    return float(tables[1][np.arange(len(active)), tables[0].argmax(1)].sum() / protocol.eval_votes)


def plain_beta_vae(codes: np.ndarray, factors: np.ndarray, protocol: Protocol, seed: int) -> float:
    """The β-VAE score, one vote and one pair at a time."""
    rng = np.random.default_rng(seed)
    partners = [[np.flatnonzero(column == value) for value in range(column.max() + 1)] for column in factors.T]
    sets = []
    for votes in (protocol.votes, protocol.eval_votes):
        points, labels = np.zeros((votes, codes.shape[1])), np.zeros(votes, dtype=int)
        for v in range(votes):
            labels[v] = rng.integers(factors.shape[1])
            one = rng.integers(len(codes), size=protocol.batch)
            two = [rng.choice(partners[labels[v]][factors[row, labels[v]]]) for row in one]
            points[v] = np.abs(codes[one] - codes[two]).mean(0)
        sets.append((points, labels))
    return float(LogisticRegression(max_iter=10_000).fit(*sets[0]).score(*sets[1]))


PLAIN: dict[str, Callable[[np.ndarray, np.ndarray, Protocol, int], float]] = {
    "factor_vae": plain_factor_vae,
    "beta_vae": plain_beta_vae,
}


def timed(run: Callable[[int], float], seeds: int) -> tuple[float, list[float]]:
    """Fastest seconds, and the value of every seed."""
    seconds, values = [], []
    for seed in range(seeds):
        start = time.perf_counter()
        values.append(run(seed))
        seconds.append(time.perf_counter() - start)
    return min(seconds), values


def shown(values: list[float]) -> str:
    """Mean ± standard deviation over the seeds, if there are several."""
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def ours(metric: str, codes: np.ndarray, factors: np.ndarray, protocol: Protocol, jobs: int, seed: int) -> float:
    """The package's score."""
    return float(score(metric, codes, factors, protocol, seed, n_jobs=jobs)["value"])


def row(metric: str, codes: np.ndarray, factors: np.ndarray, protocols: dict[str, Protocol], jobs: int) -> str:
    """One line of the table: ours under each protocol, then the plain loop under the first."""
    cells = [metric]
    for name, protocol in protocols.items():
        seeds = 1 if (metric, name) == ("dci", "dlib") else 3
        seconds, values = timed(partial(ours, metric, codes, factors, protocol, jobs), seeds)
        cells += [f"{seconds:.2f}", shown(values)]
    if metric in PLAIN:
        slow, values = timed(partial(PLAIN[metric], codes, factors, protocols["dlib"]), 3)
        fast, _ = timed(partial(ours, metric, codes, factors, protocols["dlib"], jobs), 3)
        cells += [f"{slow:.2f}", shown(values), f"{slow / fast:.0f}×"]
    else:
        cells += ["–", "–", "–"]
    return "| " + " | ".join(cells) + " |"


def smaller(protocol: Protocol) -> Protocol:
    """Counts for a smoke run."""
    return replace(protocol, votes=200, eval_votes=100, rows=500, test_rows=500, tree_rows=200, trees=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: small counts, nothing written")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="threads of DCI and SAP")
    args = parser.parse_args()
    head = header(command(), packages=("numpy", "scikit-learn"))
    codes, factors = world(2_000 if args.quick else 50_000)
    protocols = {name: smaller(p) if args.quick else p for name, p in PROTOCOLS.items()}
    lines = [
        "| metric | dlib: s | score | fast: s | score | plain loop, dlib: s | score | gain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(metric, codes, factors, protocols, args.jobs) for metric in METRICS]
    note = f"{len(codes):,} encoded rows, {codes.shape[1]} codes, factors of sizes {', '.join(map(str, SIZES))}. "
    note += f"{args.jobs} thread(s), fastest of three runs (DCI under dlib: one); "
    note += "scores are mean ± s.d. over seeds 0–2."
    page = "\n".join(["# Seconds a supervised metric", "", head, "", note, "", *lines, ""])
    print(page)
    if not args.quick:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(page)


if __name__ == "__main__":
    main()
