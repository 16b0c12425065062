"""How each kind of metric is measured on a run: what wherewhat.metrics.registry calls its needs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wherewhat.data.batches import draw_index
from wherewhat.errors import UserError
from wherewhat.evaluation.controls import describe_controls, tpl_rows
from wherewhat.evaluation.encoding import Encoded
from wherewhat.evaluation.subject import ENCODED, Subject
from wherewhat.families import family_of
from wherewhat.metrics.distance import Lpips
from wherewhat.metrics.images import WINDOW, psnr, ssim
from wherewhat.metrics.ppl import Along, path_length
from wherewhat.metrics.registry import Metric
from wherewhat.metrics.tpl import find_protocol, tpl
from wherewhat.nn.ops import to_float

PUBLISHED = 15_000
"""rows that the published protocol draws to fit and to test on; with fewer, it draws some of them several times"""
RECONSTRUCTED = 1_000  # images that are reconstructed
BEST_PSNR = 100.0  # in dB, for an image equal to its reconstruction, which would have an infinite one
PATHS: dict[str, Along] = {"ppl": "full", "ppl_end": "end"}
"""scores of PPL: steps anywhere between two latents, steps from the first of them"""
BATCH = 64

Row = dict[str, Any]  # of metrics.jsonl: metric, value, options and, for some, details


class Kind(NamedTuple):
    """How metrics of one kind are measured."""

    asked: Callable[[Subject, Metric], dict[str, dict[str, Any]]]
    """scores, each with the options that an earlier row must have to be used again"""
    measure: Callable[[Subject, Metric], Iterator[Row]]
    problem: Callable[[Subject, Metric], str] = lambda subject, metric: ""
    """why the run or its data cannot be measured; empty if they can"""


# Of codes


def codes_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    encoded = min(ENCODED[s.protocol], len(s.data))
    options = {"protocol": s.protocol, "encoded": encoded, **metric.options(s.protocol)}
    return {score.name: options for score in metric.scores}


def codes_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    return code_rows(metric, s.encoded, s.data.factors.names if s.data.factors else (), s.protocol, s.seed)


def factors_problem(s: Subject, metric: Metric) -> str:
    if s.data.factors is not None:
        return ""
    return f"the factors of {s.data.name} are not known, so {metric.name} cannot be measured on it"


def code_rows(metric: Metric, encoded: Encoded, factor_names: Sequence[str], protocol: str, seed: int) -> Iterator[Row]:
    """The rows of one metric of codes, or of codes and factors.  Raises UserError if no factor that it needs varies."""
    codes, factors = encoded.codes.astype(np.float64), encoded.factors
    options = metric.options(protocol)
    about: dict[str, Any] = {"protocol": protocol, "encoded": len(codes)}
    arrays = [codes]
    if metric.needs == "factors":
        varying = np.flatnonzero(np.ptp(factors, 0) > 0)
        if not len(varying):
            raise UserError("no factor varies: give images of at least two values of a factor")
        arrays.append(factors[:, varying])
        about["counts"] = "published" if protocol == "dlib" and len(codes) >= PUBLISHED else "below the published"
        about["factors"] = [factor_names[int(f)] for f in varying]
    result = metric.compute(*arrays, seed=seed, **options)
    return metric.rows(result, {**about, **options, "seed": seed})


# Of features of real images and of samples


def features_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    options = {**s.backbone.options, "real": min(s.count, len(s.data)), **metric.options()}
    return {score.name: options for score in metric.scores}


def features_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    real, fake = s.features
    s.progress(metric.name, 0.0)
    result = metric.compute(real, fake, seed=[s.seed, 4], **metric.options())
    about = {**s.backbone.options, "seed": s.seed, "real": len(real), "fake": len(fake)}
    return metric.rows(result, {**about, **metric.options()})


# Of reconstructions


def _pair_measures(s: Subject) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Scores of a reconstruction and its image; SSIM needs sides of 11 or more, LPIPS its network."""
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": lambda a, b: psnr(a, b).clamp(max=BEST_PSNR)}
    if min(s.run.config.size) >= WINDOW:
        measures["ssim"] = ssim
    if isinstance(s.distance, Lpips):
        measures["lpips"] = s.distance
    return measures


def reconstruction_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    options = {"real": min(RECONSTRUCTED, len(s.data))}
    return {name: options | (s.distance.options if name == "lpips" else {}) for name in _pair_measures(s)}


@torch.no_grad()
def reconstruction_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    """Means over images of the training set."""
    index, measures = draw_index(s.data, RECONSTRUCTED, s.seed), _pair_measures(s)
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    for at in range(0, len(index), BATCH):
        s.progress(metric.name, at / len(index))
        real = to_float(torch.from_numpy(s.data.images(index[at : at + BATCH])).to(s.device))
        again = s.generate(s.encoder(real))
        for name, measure in measures.items():
            values[name].append(measure(again, real).cpu())
    for name, parts in values.items():
        each = torch.cat(parts).double().numpy()
        options = {"real": len(index), "seed": s.seed, **(s.distance.options if name == "lpips" else {})}
        error = float(each.std() / len(index) ** 0.5)
        yield {"metric": name, "value": float(each.mean()), "options": options, "details": {"error": error}}


def reconstruction_problem(s: Subject, metric: Metric) -> str:
    if family_of(s.run.config).encodes_images:
        return ""
    return f"the encoder of {s.run.path} was not trained on images, so its reconstructions cannot be measured"


# Of the generator


def paths_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    network = {k: v for k, v in s.distance.options.items() if k != "resize"}
    return {score.name: {"pairs": s.count, "prior": s.run.config.prior, **network} for score in metric.scores}


def paths_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    pairs, prior = (s.run.draw(s.count, [s.seed, 2]), s.run.draw(s.count, [s.seed, 3])), s.run.prior
    for name, along in PATHS.items():
        result = path_length(s.generate, pairs, s.distance, prior.interpolate, along, s.seed, device=s.device,
                             progress=partial(s.progress, name))  # fmt: skip
        interpolation = "slerp" if prior.rotation_invariant else "lerp"
        options = {**result.options, "interpolation": interpolation, "prior": prior.name}
        yield {"metric": name, "value": result.value, "options": options, "details": {"error": result.error}}


def tpl_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    threshold = find_protocol(s.tpl_protocol).threshold if s.threshold is None else s.threshold
    options = {"protocol": s.tpl_protocol, "threshold": threshold, "until": s.until, **s.distance.options}
    return {score.name: options for score in metric.scores}


def tpl_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    result = tpl(
        s.generate, s.run.config.latents, s.distance, s.tpl_protocol, s.threshold, s.seed, device=s.device,
        progress=partial(s.progress, "tpl"), until=s.until,
    )  # fmt: skip
    encoded = s.encoded if s.data.factors else None
    table = describe_controls(s.generate.generator, s.run.prior, result, encoded, s.data, s.seed)
    return tpl_rows(result, s.tpl_protocol, table)


KINDS = {
    "factors": Kind(codes_asked, codes_measured, factors_problem),
    "codes": Kind(codes_asked, codes_measured),
    "features": Kind(features_asked, features_measured),
    "reconstruction": Kind(reconstruction_asked, reconstruction_measured, reconstruction_problem),
    "paths": Kind(paths_asked, paths_measured),
    "generator": Kind(tpl_asked, tpl_measured),
}
