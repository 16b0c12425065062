"""From a run and its data to scores: all the reading, encoding and sweeping that metrics need is here.

The data set is encoded once; every supervised metric reads that array.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat import quality
from wherewhat.data import open_data
from wherewhat.data.batches import Images, draw_index
from wherewhat.errors import UserError, did_you_mean
from wherewhat.metrics import factors as supervised
from wherewhat.metrics import tpl as lengths
from wherewhat.metrics.distance import load_distance
from wherewhat.nn.generator import Generator, mean_masks
from wherewhat.nn.trunk import Recogniser
from wherewhat.runs import Dimension, Run

METRICS = [*supervised.METRICS, "reconstruction", "tpl"]
"""measured if nothing else is asked for; the others are those of quality.METRICS"""
PARTS = {"dci": ("completeness", "informativeness"), "infomec": ("explicitness", "compactness")}
"""rows that a metric has besides its first"""
ENCODED = {"dlib": 50_000, "fast": 10_000}
"""images encoded for the supervised metrics, drawn without replacement; all of a smaller data set"""

Told = Callable[[str, float], None]
"""called with what is being done and how much of it is done (0 … 1)"""


class Encoded(NamedTuple):
    """Codes of images and the factors they were made from."""

    codes: Float[np.ndarray, "n z"]
    factors: Integer[np.ndarray, "n f"]


def quiet(_what: str, _done: float) -> None:
    """Tells nobody."""


def evaluate(
    run: Run,
    metrics: Sequence[str] | None = None,
    protocol: str = "dlib",
    tpl_protocol: str | None = None,
    distance: str = "alex",
    threshold: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    told: Told = quiet,
    features: str = "alex",
    count: int = quality.COUNT,
) -> list[dict[str, Any]]:
    """Scores of a run's last checkpoint, also written to its metrics.jsonl: rows of metric, value, options, details.

    metrics: None is every one of METRICS that the run and its data allow.  The last row, "dimensions", describes each
    latent if tpl is among them.  features, count: the network and number of images of FID and its like.  Raises
    UserError for unknown names, and for metrics that the run or its data do not have.
    """
    chosen, protocol, tpl_protocol = choose(metrics, protocol, tpl_protocol)
    if metrics is None and run.config.autoencoder is None:
        chosen = [name for name in chosen if name != "reconstruction"]
    images_of = [name for name in quality.METRICS if name in chosen]
    perceptual = load_distance(distance, device) if {"tpl", *quality.MEASURED} & {*chosen} else None
    if perceptual is not None:  # what is too small for it is refused now, not after minutes
        perceptual.path(torch.zeros(1, 2, run.config.data.channels, *run.config.size, device=device))
    backbone = quality.prepare(run, images_of, features, device)
    data = open_data(run.config.data)
    needs_factors = [name for name in chosen if name in supervised.METRICS]
    if data.factors is None and needs_factors:
        if metrics is not None:
            raise UserError(f"the factors of {data.name} are not known, so {needs_factors[0]} cannot be measured on it")
        needs_factors = []
    generator, recogniser = run.generator.to(device), run.recogniser.to(device)
    rows: list[dict[str, Any]] = []
    encoded = (
        encode(recogniser, data, ENCODED[protocol], seed, told)
        if data.factors and (needs_factors or "tpl" in chosen)
        else None
    )
    for name in needs_factors:
        told(name, 0.0)
        assert encoded is not None and data.factors is not None
        rows += supervised_rows(name, encoded, data.factors.names, protocol, seed)
    rows += quality.rows(run, data, images_of, perceptual, backbone, count, seed, device, told)
    if "tpl" in chosen:
        assert tpl_protocol is not None and perceptual is not None
        told("tpl", 0.0)
        result = lengths.tpl(
            picture(generator), run.config.generator.codes, perceptual, tpl_protocol, threshold, seed, device=device,
            progress=lambda done: told("tpl", done),
        )  # fmt: skip
        rows += tpl_rows(result, tpl_protocol, describe(generator, result, encoded, data, seed))
    told("done", 1.0)
    rows = [{"images": run.images, **row} for row in rows]
    for row in rows:
        run.log_metric(row)
    return rows


def choose(metrics: Sequence[str] | None, protocol: str, tpl_protocol: str | None) -> tuple[list[str], str, str]:
    """Names checked.  The one word `protocol` may also be TPL's: small, medium, large, huge; fast goes with small,
    dlib with medium."""
    chosen = list(metrics) if metrics is not None else METRICS
    if "quality" in chosen:
        chosen = [name for name in chosen if name != "quality"] + list(quality.METRICS)
    known = list(dict.fromkeys([*METRICS, *quality.METRICS, "quality"]))
    for name in chosen:
        if name not in known:
            raise UserError(f"there is no metric {name}{did_you_mean(name, known)}")
    if protocol not in supervised.PROTOCOLS and protocol in lengths.PROTOCOLS:
        protocol, tpl_protocol = "dlib", tpl_protocol or protocol
    if protocol not in supervised.PROTOCOLS:
        names = list(supervised.PROTOCOLS | lengths.PROTOCOLS)
        raise UserError(f"there is no protocol {protocol}{did_you_mean(protocol, names)}")
    if tpl_protocol is None:
        tpl_protocol = "small" if protocol == "fast" else "medium"
    lengths.find_protocol(tpl_protocol)
    return chosen, protocol, tpl_protocol


def supervised_rows(
    name: str, encoded: Encoded, factor_names: Sequence[str], protocol: str, seed: int
) -> Iterator[dict[str, Any]]:
    """The rows of one supervised metric; DCI and InfoMEC have three."""
    codes, factors = encoded.codes.astype(np.float64), encoded.factors
    varying = np.flatnonzero(np.ptp(factors, 0) > 0)
    told = supervised.score(name, codes, factors[:, varying], supervised.PROTOCOLS[protocol], seed)
    known = [factor_names[int(f)] for f in varying]
    options = {"protocol": protocol, "encoded": len(codes), "factors": known, **told["options"]}
    yield {"metric": name, "value": told["value"], "options": options, "details": told["details"]}
    for part in PARTS.get(name, ()):
        yield {"metric": f"{name}_{part}", "value": told["details"][part], "options": options}


def tpl_rows(result: lengths.TPL, protocol: str, described: list[Dimension]) -> Iterator[dict[str, Any]]:
    """TPL with its number of active dimensions, and the table of dimensions."""
    options = {"protocol": protocol, **result.options}
    details = {
        "active": int(result.active.sum()),
        "error": result.error,
        "per_latent": result.per_latent.tolist(),
        "per_latent_error": result.per_latent_error.tolist(),
    }
    yield {"metric": "tpl", "value": result.score, "options": options, "details": details}
    table = [asdict(d) for d in described]
    yield {"metric": "dimensions", "value": details["active"], "options": options, "details": table}


def describe(
    generator: Generator, result: lengths.TPL, encoded: Encoded | None, data: Images, seed: int = 0
) -> list[Dimension]:
    """Every latent dimension, longest traversal first."""
    base = np.random.default_rng([seed, 1]).standard_normal((64, generator.config.codes), np.float32)
    masks = mean_masks(generator, torch.from_numpy(base))
    match = None
    if encoded is not None and data.factors is not None:
        varying = np.flatnonzero(np.ptp(encoded.factors, 0) > 0)
        match = supervised.match(encoded.codes.astype(np.float64), encoded.factors[:, varying])
        names = [data.factors.names[f] for f in varying]
    found = []
    for i in np.argsort(-result.per_latent):
        row, column, area = extent(masks[i])
        factor, share = (names[match.factor[i]], float(match.share[i])) if match else (None, None)
        active = bool(result.active[i])
        numbers = (float(result.per_latent[i]), float(result.per_latent_error[i]))
        turns = generator.controls is not None and int(i) in generator.controls.angles
        found.append(
            Dimension(int(i), *numbers, active, row, column, area, float(masks[i].max()), factor, share, turns)
        )
    return found


def extent(mask: Float[np.ndarray, "h w"]) -> tuple[float, float, float]:
    """Row and column (0 … 1) of the middle of a mask's support, where it is above half its peak, and the share of the
    image that the support takes."""
    if not mask.any():
        return 0.5, 0.5, 0.0
    support = mask >= mask.max() / 2
    rows, columns = np.nonzero(support)
    h, w = mask.shape
    return float((rows.mean() + 0.5) / h), float((columns.mean() + 0.5) / w), float(support.mean())


def encode(
    recogniser: Recogniser, data: Images, count: int, seed: int = 0, told: Told = quiet, batch: int = 256
) -> Encoded:
    """Codes and factors of `count` images drawn without replacement; of all images, in order, if there are no more."""
    assert data.factors is not None
    index = draw_index(data, count, seed)
    return Encoded(read(recogniser, data, index, told, batch), data.factors.values(index))


@torch.no_grad()
def read(
    recogniser: Recogniser, data: Images, index: Integer[np.ndarray, " n"], told: Told = quiet, batch: int = 256
) -> Float[np.ndarray, "n z"]:
    """Codes of these images."""
    device = next(recogniser.parameters()).device
    codes = []
    for first in range(0, len(index), batch):
        images = torch.from_numpy(data.images(index[first : first + batch])).to(device)
        codes.append(recogniser(images.float() / 127.5 - 1).cpu().numpy())
        told("encoding", first / len(index))
    return np.concatenate(codes)


def picture(generator: Generator) -> Callable[[Tensor], Tensor]:
    """The generator as a function from latents to images in [−1, 1], its fixed noise the same for all."""
    return lambda z: generator(z).image.clamp(-1, 1)
