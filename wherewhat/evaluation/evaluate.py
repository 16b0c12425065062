"""From a run and its data to scores: all the reading, encoding and sweeping that metrics need is here.

The data set is encoded once; every supervised metric reads that array.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.data import open_data
from wherewhat.data.batches import Images, draw_index
from wherewhat.errors import UserError, did_you_mean
from wherewhat.evaluation import quality
from wherewhat.machine import keep_memory
from wherewhat.metrics import factors as supervised
from wherewhat.metrics import tpl as lengths
from wherewhat.metrics.codes import total_correlation
from wherewhat.metrics.distance import load_distance
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator, mean_masks
from wherewhat.priors import Prior
from wherewhat.progress import Progress, silent
from wherewhat.run.folder import ControlSummary, Run

METRICS = [*supervised.METRICS, "total_correlation", "reconstruction", "tpl"]
"""measured if nothing else is asked for; the others are those of quality.METRICS"""
PARTS = {"dci": ("completeness", "informativeness"), "infomec": ("explicitness", "compactness")}
"""rows that a metric has besides its first"""
PUBLISHED = 15_000
"""rows the published protocol fits and tests on: with fewer, drawn with replacement, scores are of less than it asks"""
ENCODED = {"dlib": 50_000, "fast": 10_000}
"""images encoded for the supervised metrics, drawn without replacement; all of a smaller data set"""


class Encoded(NamedTuple):
    """Codes of images and the factors they were made from."""

    codes: Float[np.ndarray, "n z"]
    factors: Integer[np.ndarray, "n f"]


def evaluate(
    run: Run,
    metrics: Sequence[str] | None = None,
    protocol: str = "dlib",
    tpl_protocol: str | None = None,
    distance: str = "alex",
    threshold: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
    until: float | None = None,
    again: bool = False,
    features: str = "alex",
    count: int = quality.COUNT,
) -> list[dict[str, Any]]:
    """Scores of a run's last checkpoint, also written to its metrics.jsonl: rows of metric, value, options, details.

    metrics: None is every one of METRICS that the run and its data allow.  The last row, "controls", describes each
    latent if tpl is among them.  features, count: the network and number of images of FID and its like.  Each metric is
    written when it is done, and taken from there if it was asked for before with the same options (again: measured
    anew), so that an evaluation which was stopped goes on.  Raises UserError for unknown names, and for metrics that
    the run or its data do not have.
    """
    keep_memory()
    chosen, protocol, tpl_protocol = choose(metrics, protocol, tpl_protocol)
    if metrics is None and run.config.autoencoder is None:
        chosen.remove("reconstruction")
    images_of = [name for name in quality.METRICS if name in chosen]
    perceptual = load_distance(distance, device) if {"tpl", *quality.MEASURED} & {*chosen} else None
    if perceptual is not None:  # what is too small for it is refused now, not after minutes
        perceptual.path(torch.zeros(1, 2, run.config.data.channels, *run.config.size, device=device))
    backbone = quality.prepare(run, images_of, features, device)
    data = open_data(run.config.data)
    if data.factors is None and (needing := [name for name in chosen if name in supervised.METRICS]):
        if metrics is not None:
            raise UserError(f"the factors of {data.name} are not known, so {needing[0]} cannot be measured on it")
        chosen = [name for name in chosen if name not in needing]
    generator, encoder = run.generator.to(device), run.encoder.to(device)

    @cache
    def encoded() -> Encoded:
        return encode(encoder, data, ENCODED[protocol], seed, progress)

    def wanted(name: str) -> dict[str, dict[str, Any]]:
        """The rows of a metric, each with the options that must be the same for a kept one to do."""
        if name in quality.METRICS:
            return quality.wanted(run, name, len(data), perceptual, backbone, count)
        if name == "tpl":
            assert perceptual is not None
            limit = lengths.find_protocol(tpl_protocol).threshold if threshold is None else threshold
            asked = {"protocol": tpl_protocol, "threshold": limit, "until": until, **perceptual.options}
            return {"tpl": asked, "controls": asked}
        parts = [name, *(f"{name}_{part}" for part in PARTS.get(name, ()))]
        return {key: {"protocol": protocol, "encoded": min(ENCODED[protocol], len(data))} for key in parts}

    def measured(names: Sequence[str]) -> Iterator[dict[str, Any]]:
        progress(names[0], 0.0)
        if names[0] in quality.METRICS:
            yield from quality.rows(run, data, names, perceptual, backbone, count, seed, device, progress)
        elif names[0] == "tpl":
            assert perceptual is not None
            result = lengths.tpl(
                ImagesOf(generator), run.config.generator.latents, perceptual, tpl_protocol, threshold, seed,
                device=device, progress=lambda done: progress("tpl", done), until=until,
            )  # fmt: skip
            known = encoded() if data.factors else None
            yield from tpl_rows(
                result, tpl_protocol, describe_controls(generator, run.prior, result, known, data, seed)
            )
        else:
            factor_names = data.factors.names if data.factors else ()
            yield from code_rows(names[0], encoded(), factor_names, protocol, seed)

    common = {"seed": seed, "data": data.name}
    model = fingerprint(run)
    before = {} if again else {name: kept(run, model, wanted(name), common) for name in chosen}
    groups = [[name] for name in chosen if name not in (*images_of, "tpl")]  # those of images share their samples
    groups += [[name] for name in images_of if before.get(name)]
    groups += [[name for name in images_of if not before.get(name)]]
    groups += [["tpl"]] if "tpl" in chosen else []
    rows: list[dict[str, Any]] = []
    for names in filter(None, groups):
        for row in before.get(names[0]) or measured(names):
            row["options"]["data"] = data.name
            rows.append({"images": run.images_seen, "model": model, **row})
            run.log_metric(rows[-1])  # what was kept moves to the end: the newest row is what was asked for last
    progress("done", 1.0)
    return rows


def fingerprint(run: Run) -> str:
    """Of the weights that are measured and of how their latents are read: equal only for equal scores."""
    digest = blake2b(digest_size=8)
    for module in (run.generator, run.encoder):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        digest.update(json.dumps(module.controls.to_json() if module.controls else None).encode())
    return digest.hexdigest()


def kept(run: Run, model: str, wanted: dict[str, dict[str, Any]], common: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows measured before on this model with these options; none unless all are there."""
    rows = [
        row for row in reversed(run.rows("metrics")) if (row["images"], row.get("model")) == (run.images_seen, model)
    ]

    def find(metric: str, options: dict[str, Any]) -> dict[str, Any] | None:
        asked = {**common, **options}.items()
        like = (row for row in rows if all(row["options"].get(k) == v for k, v in asked))
        return next((row for row in like if row["metric"] == metric), None)

    found = [find(metric, options) for metric, options in wanted.items()]
    return [row for row in found if row] if all(found) else []


def evaluate_codes(
    codes: np.ndarray,
    factors: np.ndarray | None = None,
    factor_names: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str = "dlib",
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Scores of anyone's codes (n × z): rows as of `evaluate`.  Without factors (n × f) those that need none; factors
    that are no integers are cut into equally filled bins.  Raises UserError for unknown names and for arrays that
    cannot be scored."""
    possible = ["total_correlation"] if factors is None else [*supervised.METRICS, "total_correlation"]
    chosen, protocol, _ = choose(metrics or possible, protocol, None)
    if unfit := [name for name in chosen if name not in possible]:
        wanted = "factors" if unfit[0] in supervised.METRICS else "a generator"
        raise UserError(f"{unfit[0]} needs {wanted}, and these are codes" + " alone" * (factors is None))
    names = factor_names or [f"factor {k}" for k in range(0 if factors is None else factors.shape[1])]
    binned = factors is not None and factors.dtype.kind == "f"
    if factors is not None:
        factors = supervised.discretise(factors) if binned else factors
        supervised.require(codes, factors)
    known = Encoded(codes, np.zeros((len(codes), 0), int) if factors is None else factors)
    rows: list[dict[str, Any]] = []
    for done, name in enumerate(chosen):
        progress(name, done / len(chosen))
        rows += code_rows(name, known, names, protocol, seed)
    for row in rows if binned else ():
        row["options"]["binned"] = supervised.BINNED
    progress("done", 1.0)
    return rows


def evaluate_generator(
    generate: Callable[[Tensor], Tensor],
    codes: int,
    tpl_protocol: str = "medium",
    distance: str = "alex",
    threshold: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
    until: float | None = None,
) -> list[dict[str, Any]]:
    """TPL of anyone's generator, a function from latents (b × codes) to images in [−1, 1]: one row."""
    perceptual = load_distance(distance, device)
    result = lengths.tpl(
        generate, codes, perceptual, tpl_protocol, threshold, seed, device=device,
        progress=lambda done: progress("tpl", done), until=until,
    )  # fmt: skip
    progress("done", 1.0)
    return list(tpl_rows(result, tpl_protocol, None))


def choose(metrics: Sequence[str] | None, protocol: str, tpl_protocol: str | None) -> tuple[list[str], str, str]:
    """Names checked.  The one word `protocol` may also be TPL's: small, medium, large, huge; fast goes with small,
    dlib with medium."""
    chosen = list(METRICS if metrics is None else metrics)
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


def code_rows(
    name: str, encoded: Encoded, factor_names: Sequence[str], protocol: str, seed: int
) -> Iterator[dict[str, Any]]:
    """The rows of one metric of codes; DCI and InfoMEC have three."""
    codes, factors = encoded.codes.astype(np.float64), encoded.factors
    if name == "total_correlation":
        value = total_correlation(codes)
        yield {"metric": name, "value": value, "options": {"protocol": protocol, "encoded": len(codes), "seed": seed}}
        return
    varying = np.flatnonzero(np.ptp(factors, 0) > 0)
    if not len(varying):
        raise UserError("no factor varies: give images of at least two values of a factor")
    progress = supervised.score(name, codes, factors[:, varying], supervised.PROTOCOLS[protocol], seed)
    known = [factor_names[int(f)] for f in varying]
    counts = "published" if protocol == "dlib" and len(codes) >= PUBLISHED else "below the published"
    options = {"protocol": protocol, "counts": counts, "encoded": len(codes), "factors": known, **progress["options"]}
    yield {"metric": name, "value": progress["value"], "options": options, "details": progress["details"]}
    for part in PARTS.get(name, ()):
        yield {"metric": f"{name}_{part}", "value": progress["details"][part], "options": dict(options)}


def tpl_rows(result: lengths.TPL, protocol: str, described: list[ControlSummary] | None) -> Iterator[dict[str, Any]]:
    """TPL with its number of active controls, and the table of controls if they are described."""
    options = {"protocol": protocol, **result.options}
    details = {
        "active": int(result.active.sum()),
        "error": result.error,
        "per_latent": result.per_latent.tolist(),
        "per_latent_error": result.per_latent_error.tolist(),
    }
    yield {"metric": "tpl", "value": result.score, "options": options, "details": details}
    if described is not None:
        table = [asdict(d) for d in described]
        yield {"metric": "controls", "value": details["active"], "options": dict(options), "details": table}


def describe_controls(
    generator: Generator, prior: Prior, result: lengths.TPL, encoded: Encoded | None, data: Images, seed: int = 0
) -> list[ControlSummary]:
    """Every latent control, longest traversal first."""
    base = prior.draw(64, generator.config.latents, [seed, 1])
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
            ControlSummary(int(i), *numbers, active, row, column, area, float(masks[i].max()), factor, share, turns)
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
    encoder: Encoder, data: Images, count: int, seed: int = 0, progress: Progress = silent, batch: int = 256
) -> Encoded:
    """Codes and factors of `count` images drawn without replacement; of all images, in order, if there are no more.
    Factors that are not known have no columns."""
    index = draw_index(data, count, seed)
    factors = data.factors.values(index) if data.factors else np.zeros((len(index), 0), np.int64)
    return Encoded(encode_images(encoder, data, index, progress, batch), factors)


@torch.no_grad()
def encode_images(
    encoder: Encoder, data: Images, index: Integer[np.ndarray, " n"], progress: Progress = silent, batch: int = 256
) -> Float[np.ndarray, "n z"]:
    """Codes of these images."""
    device = next(encoder.parameters()).device
    codes = []
    for first in range(0, len(index), batch):
        images = torch.from_numpy(data.images(index[first : first + batch])).to(device)
        codes.append(encoder(images.float() / 127.5 - 1).cpu().numpy())
        progress("encoding", first / len(index))
    return np.concatenate(codes)


class ImagesOf:
    """The generator as a function from latents to images in [−1, 1], its fixed noise the same for all."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def __call__(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]:
        return self.generator(z).image.clamp(-1, 1)

    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """Images of t sweeps; stages that a sweep does not touch are computed once."""
        return self.generator.sweeps(z).clamp(-1, 1)
