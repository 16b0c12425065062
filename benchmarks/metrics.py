"""How long do metrics take, and what does reading every image once bring?

    python benchmarks/metrics.py            # about ten minutes
    python benchmarks/metrics.py --quick    # under a minute; writes nothing

The supervised metrics of disentanglement_lib's protocol on pretrained:rooms, against the protocol as it is written:
for each vote, images are drawn and encoded anew, and judged by themselves.  And TPL against the authors' way: one sweep
at a time, each pair of neighbours through the perceptual network by itself.  Votes are all alike: the plain version is
given a share of them, and the time they take is multiplied.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from common import command, header, options, table, write
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import wherewhat
from wherewhat.data import open_data
from wherewhat.data.batches import Images
from wherewhat.evaluation.encoding import ImagesOf, encode, encode_images
from wherewhat.evaluation.kinds import ENCODED
from wherewhat.families.family import build_generator
from wherewhat.machine import keep_memory
from wherewhat.metrics import registry
from wherewhat.metrics.tpl import TplProtocol, sweep, tpl
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator
from wherewhat.recipes import find
from wherewhat.run.folder import open_run

SET = ("factor_vae", "beta_vae", "mig", "dci", "sap")
Plain = Callable[["Lab", SimpleNamespace], float]


class Lab:
    """Images of known factors and what reads them."""

    def __init__(self, encoder: Encoder, data: Images, votes: int, seed: int = 0) -> None:
        assert data.factors is not None
        self.encoder, self.data, self.factors, self.votes = encoder, data, data.factors, votes
        self.rng = np.random.default_rng(seed)
        self.voting = 0.0
        """seconds spent on votes"""

    def ballots(self) -> Iterator[None]:
        """One turn a vote, on the clock."""
        start = time.perf_counter()
        yield from [None] * self.votes
        self.voting += time.perf_counter() - start

    def draw(self, count: int) -> np.ndarray:
        """Factors of images drawn at random: count f."""
        return self.rng.integers(self.factors.sizes, size=(count, len(self.factors.sizes)))

    def read(self, factors: np.ndarray) -> np.ndarray:
        """Codes of the images with these factors, encoded now."""
        return encode_images(self.encoder, self.data, self.factors.index(factors)).astype(np.float64)

    def batch(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and factors of images drawn at random."""
        factors = self.draw(count)
        return self.read(factors), factors


def plain_factor_vae(lab: Lab, protocol: SimpleNamespace) -> float:
    """The FactorVAE score, one vote at a time."""
    variance = lab.batch(protocol.variance_rows)[0].var(0, ddof=1)
    active = np.flatnonzero(np.sqrt(variance) >= protocol.prune_std)
    tables = np.zeros((2, len(active), len(lab.factors.sizes)), dtype=int)
    for counts in tables:
        for _ in lab.ballots():
            factors = lab.draw(protocol.batch)
            fixed = lab.rng.integers(factors.shape[1])
            factors[:, fixed] = factors[0, fixed]
            local = lab.read(factors).var(0, ddof=1)
            counts[np.argmin(local[active] / variance[active]), fixed] += 1
    return float(tables[1][np.arange(len(active)), tables[0].argmax(1)].sum() / lab.votes)


def plain_beta_vae(lab: Lab, protocol: SimpleNamespace) -> float:
    """The β-VAE score, one vote at a time."""
    sets = []
    for _ in range(2):
        points, labels = [], []
        for _ in lab.ballots():
            one, two = lab.draw(protocol.batch), lab.draw(protocol.batch)
            labels.append(lab.rng.integers(one.shape[1]))
            two[:, labels[-1]] = one[:, labels[-1]]
            points.append(np.abs(lab.read(one) - lab.read(two)).mean(0))
        sets.append((np.array(points), np.array(labels)))
    return float(LogisticRegression(max_iter=10_000).fit(*sets[0]).score(*sets[1]))


def plain_mig(lab: Lab, protocol: SimpleNamespace) -> float:
    """MIG, a pair of a code and a factor at a time."""
    from sklearn.metrics import mutual_info_score

    codes, factors = lab.batch(protocol.rows)
    cut = [np.digitize(c, np.histogram(c, protocol.bins)[1][:-1]) for c in codes.T]
    found = np.array([[mutual_info_score(c, f) for c in cut] for f in factors.T])
    entropy = np.array([mutual_info_score(f, f) for f in factors.T])
    first, second = np.sort(found, 1)[:, -1], np.sort(found, 1)[:, -2]
    return float(((first - second) / entropy).mean())


def plain_dci(lab: Lab, protocol: SimpleNamespace) -> float:
    """DCI's disentanglement with scikit-learn's own boosted trees, as disentanglement_lib calls them."""
    codes, factors = lab.batch(protocol.tree_rows)
    trees = [GradientBoostingClassifier().fit(codes, column) for column in factors.T]
    importance = np.abs([t.feature_importances_ for t in trees]).T + 1e-11
    shares = importance / importance.sum(1, keepdims=True)
    purity = 1 + (shares * np.log(shares)).sum(1) / np.log(shares.shape[1])
    return float((purity * importance.sum(1)).sum() / importance.sum())


def plain_sap(lab: Lab, protocol: SimpleNamespace) -> float:
    """SAP, a classifier at a time."""
    (codes, factors), (tests, truth) = lab.batch(protocol.rows), lab.batch(protocol.test_rows)
    right = np.zeros((codes.shape[1], factors.shape[1]))
    for i, j in np.ndindex(right.shape):
        if codes[:, i].var() > 1e-12:
            svc = LinearSVC(C=protocol.svc_c, class_weight="balanced").fit(codes[:, [i]], factors[:, j])
            right[i, j] = svc.score(tests[:, [i]], truth[:, j])
    ordered = np.sort(right, 0)
    return float((ordered[-1] - ordered[-2]).mean())


PLAIN: dict[str, Plain] = {
    "factor_vae": plain_factor_vae,
    "beta_vae": plain_beta_vae,
    "mig": plain_mig,
    "dci": plain_dci,
    "sap": plain_sap,
}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the value."""
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def supervised(args: argparse.Namespace) -> str:
    """The table of the supervised set."""
    run = open_run("pretrained:rooms")
    data, protocol = open_data(run.config.data), "fast" if args.quick else "dlib"
    votes, count = (5, 2_000) if args.quick else (60, ENCODED["dlib"])
    lab = Lab(run.encoder, data, votes)
    lab.batch(256)  # the world is made before the clock starts
    start = time.perf_counter()
    encoded = encode(run.encoder, data, count)
    reading = time.perf_counter() - start
    codes, factors = encoded.codes.astype(np.float64), encoded.factors
    rows, sums = [], [reading, 0.0]
    for name in SET:
        metric = registry.find(name)
        numbers = metric.options(protocol)

        def ours(seed: int, metric: registry.Metric = metric, numbers: dict[str, Any] = numbers) -> float:
            return float(metric.compute(codes, factors, seed=seed, **numbers).score)

        (mine, value), (_, other) = (timed(partial(ours, seed)) for seed in (0, 1))
        lab.voting = 0.0
        slow, plain = timed(partial(PLAIN[name], lab, SimpleNamespace(**numbers)))
        if "votes" in numbers:
            slow += lab.voting * ((numbers["votes"] + numbers["eval_votes"]) / (2 * votes) - 1)
        sums[0] += mine
        sums[1] += slow
        scores = [f"{(value + other) / 2:.3f} ± {abs(value - other) / 2:.3f}", f"{plain:.3f}"]
        rows.append([name, f"{mine:.2f}", scores[0], f"{slow:.1f}", scores[1], f"{slow / mine:.1f}×"])
    rows.append(["encoding, once", f"{reading:.1f}", "", "", "", ""])
    rows.append(["**all**", f"{sums[0]:.1f}", "", f"{sums[1]:.1f}", "", f"**{sums[1] / sums[0]:.1f}×**"])
    note = f"{count:,} rows encoded once; the plain version has {2 * votes} votes, whose time is multiplied. Scores: "
    note += "mean and half range of two seeds; the plain version's, of that few votes."
    heads = ["metric", "ours: s", "score", "plain: s", "score", "gain"]
    return "\n".join(["## Supervised, protocol dlib, pretrained:rooms", "", note, "", table(heads, rows)])


@torch.no_grad()
def plain_tpl(generator: Generator, distance: torch.nn.Module, protocol: TplProtocol) -> float:
    """Sum over controls: a sweep at a time, two passes of the network for each pair of neighbours."""
    bases = np.random.default_rng(0).standard_normal((protocol.bases, generator.config.latents), np.float32)
    total = 0.0
    for base in torch.from_numpy(bases):
        for latent in range(generator.config.latents):
            images = generator(sweep(base, latent, protocol.points)).image.clamp(-1, 1)
            total += sum(float(distance(images[k : k + 1], images[k + 1 : k + 2])) for k in range(len(images) - 1))
    return total / protocol.bases


def traversals(args: argparse.Namespace) -> str:
    """The table of TPL."""
    torch.manual_seed(0)
    protocol = TplProtocol(25, 1 if args.quick else 2, threshold=0.0)
    rows = []
    for name in ("pretrained:rooms", "rooms"):
        generator = open_run(name).generator if name.startswith("pretrained") else build_generator(find(name)).eval()
        generator = generator.to(args.device)
        distance = wherewhat.load_distance("alex", args.device)
        ours = partial(tpl, ImagesOf(generator), generator.config.latents, distance, protocol, device=args.device)
        ours()
        mine, found = timed(ours)
        slow, plain = timed(partial(plain_tpl, generator, distance, protocol))
        each = f"{mine / protocol.bases:.2f}", f"{slow / protocol.bases:.2f}"
        rows.append([name, each[0], f"{found.score:.3f}", each[1], f"{plain:.3f}", f"{slow / mine:.1f}×"])
    heads = ["generator", "ours: s a base point", "TPL", "plain: s a base point", "TPL", "gain"]
    note = "All controls of a base point, 25 places a sweep, AlexNet; rooms is the PS-SC GAN's generator, untrained."
    return "\n".join(["## TPL", "", note, "", table(heads, rows)])


def main() -> None:
    args = options(__doc__ or "")
    keep_memory()  # as evaluate does
    head = header(command(), args.device, packages=("numpy", "scikit-learn"))
    parts = [head, traversals(args), supervised(args)]
    write("metrics", "\n\n".join(["# Seconds a metric", *parts]) + "\n", args)


if __name__ == "__main__":
    main()
