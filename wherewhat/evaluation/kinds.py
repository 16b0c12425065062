"""A run that is measured, and how each kind of metric (by what it needs, in the registry) is measured on it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.atomic import write_with
from wherewhat.cache import cache
from wherewhat.data.batches import Images, draw_index
from wherewhat.errors import UserError
from wherewhat.evaluation.controls import BASES, describe_controls, tpl_rows
from wherewhat.evaluation.encoding import Encoded, ImagesOf, encode
from wherewhat.metrics.backbones import Backbone, load_backbone
from wherewhat.metrics.distance import Distance, Lpips, load_distance
from wherewhat.metrics.images import WINDOW, psnr, ssim
from wherewhat.metrics.moves import Moves
from wherewhat.metrics.ranking import USED_STD
from wherewhat.metrics.registry import Metric
from wherewhat.metrics.tpl import Along, direction_gain, find_protocol, path_length, tpl
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.ops import to_float, to_uint8
from wherewhat.progress import Progress
from wherewhat.run.model import Model

BATCH = 64
ENCODED = {"dlib": 50_000, "fast": 10_000}  # protocol → images encoded, none twice; all of a smaller data set
MOVED = {"dlib": 10_000, "fast": 2_000}  # protocol → pairs of images that differ in one control
RESAMPLED = {"dlib": 25_000, "fast": 4_000}  # protocol → images decoded from independent latents, and reconstructions
PUBLISHED = 15_000  # rows that the published protocol draws to fit and to test on; from fewer, some several times
TESTED = {name: {"tested_on": "other rows"} for name in ("dci", "sap", "explicitness")}
"""written with scores of rows that were not fitted: earlier ones, of rows that could be both, are measured again"""
RECONSTRUCTED = 1_000  # images that are reconstructed
BEST_PSNR = 100.0  # in dB, for an image equal to its reconstruction, which would have an infinite one
ENCODING = ("factors", "codes", "reconstruction", "moves", "resampled", "directions")  # metrics that need an encoder
PATHS: dict[str, Along] = {"ppl": "full", "ppl_end": "end"}  # steps anywhere between latents; from the first of them

Row = dict[str, Any]  # of metrics.jsonl: metric, value, options and, for some, details


@dataclass
class Subject:
    """A run, and all choices that change its scores.  Attributes raise UserError for what cannot be had."""

    run: Model
    protocol: str
    tpl_protocol: str
    distance_name: str
    threshold: float | None
    until: float | None
    features_name: str
    count: int  # real images, samples, and pairs of latents of the metrics of image quality
    seed: int
    device: str
    progress: Progress

    @cached_property
    def data(self) -> Images:
        return self.run.data

    @cached_property
    def generate(self) -> ImagesOf:
        return ImagesOf(self.run.generator.to(self.device))

    @cached_property
    def encoder(self) -> Encoder:
        return self.run.encoder.to(self.device)

    @cached_property
    def encoded(self) -> Encoded:
        """Codes and factors, as many as the protocol has."""
        return encode(self.encoder, self.data, ENCODED[self.protocol], self.seed, self.progress)

    @cached_property
    def used(self) -> Integer[np.ndarray, " k"]:
        """Controls in use: those whose codes of images vary."""
        return np.flatnonzero(self.encoded.codes.std(0) > USED_STD)

    @cached_property
    def moves(self) -> Moves:
        """Images of the data's codes, before and after one control takes the value of another image."""
        codes, rng = self.encoded.codes, np.random.default_rng([self.seed, 5])
        count = MOVED[self.protocol] if len(self.used) else 0
        z, other = codes[rng.integers(len(codes), size=count)], rng.integers(len(codes), size=count)
        moved = self.used[np.arange(count) % max(len(self.used), 1)]
        further = z.copy()
        further[np.arange(count), moved] = codes[other, moved]
        before, after = self.decode(z, "moves"), self.decode(further, "moves")
        return Moves(before, after, self.read(before), self.read(after), moved)

    @torch.no_grad()
    def decode(self, z: Float[np.ndarray, "n z"], what: str) -> Float[Tensor, "n c h w"]:
        """Images of these codes."""
        self.progress(what, 0.0)
        none = torch.zeros(0, *self._shape, device=self.device)
        parts = torch.from_numpy(z).float().split(BATCH) if len(z) else ()
        return torch.cat([none, *(self.generate(part.to(self.device)) for part in parts)])

    @torch.no_grad()
    def read(self, images: Float[Tensor, "n c h w"]) -> Float[np.ndarray, "n z"]:
        """Codes of these images."""
        none = torch.zeros(0, self.run.latents)
        parts = images.split(BATCH) if len(images) else ()
        return torch.cat([none, *(self.encoder(part).cpu() for part in parts)]).double().numpy()

    @cached_property
    def distance(self) -> Distance:
        """The distance of images; images that are too small for it are refused now."""
        distance = load_distance(self.distance_name, self.device)
        distance.path(torch.zeros(1, 2, *self._shape, device=self.device))
        return distance

    @cached_property
    def backbone(self) -> Backbone:
        """The network of features; images that are too small for it are refused now."""
        backbone = load_backbone(self.features_name, self.device)
        backbone(torch.zeros(1, *self._shape, dtype=torch.uint8, device=self.device))
        return backbone

    @cached_property
    def features(self) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
        """Features of real images, and of as many samples, rounded to 8 bits as if they had been saved."""
        index = draw_index(self.data, self.count, self.seed)
        real = real_features(self.data, index, self.backbone, self.device, self.progress)
        z = torch.from_numpy(self.run.draw(len(real), [self.seed, 1])).to(self.device)
        with torch.no_grad():
            fake = features_of(
                self.backbone, len(z), lambda at: to_uint8(self.generate(z[at])), self.progress, "samples"
            )
        return real, fake

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.run.channels, *self.run.size)


def real_features(
    data: Images, index: Integer[np.ndarray, " n"], backbone: Backbone, device: str, progress: Progress
) -> Float[np.ndarray, "n d"]:
    """Features of these images, from the user's cache if they were computed before: the same pixels by the same
    network.  If the cache cannot be written, they are not kept."""
    key = hashlib.sha256(json.dumps(backbone.options, sort_keys=True).encode())
    for at in range(0, len(index), BATCH):
        key.update(data.images(index[at : at + BATCH]).tobytes())
        progress("reading", at / len(index))
    file = cache("features") / f"{backbone.options['network']}-{key.hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept: Float[np.ndarray, "n d"] = np.load(file, allow_pickle=False)
        return kept
    features = features_of(
        backbone, len(index), lambda at: torch.from_numpy(data.images(index[at])).to(device), progress, "real images"
    )
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_with(file, partial(np.save, arr=features))
    return features


@torch.no_grad()
def features_of(
    backbone: Backbone, count: int, images: Callable[[slice], Tensor], progress: Progress, what: str
) -> Float[np.ndarray, "n d"]:
    """Features of `count` images, which `images` makes, some rows at a time."""
    parts = []
    for at in range(0, count, BATCH):
        progress(what, at / count)
        parts.append(backbone(images(slice(at, at + BATCH))).cpu().numpy())
    return np.concatenate(parts)


class Kind(NamedTuple):
    """How metrics of one kind are measured."""

    asked: Callable[[Subject, Metric], dict[str, dict[str, Any]]]
    """scores, each with the options that an earlier row must have to be used again"""
    measure: Callable[[Subject, Metric], Iterator[Row]]
    problem: Callable[[Subject, Metric], str] = lambda subject, metric: ""  # why it cannot be measured; "" if it can


def codes_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    encoded = min(ENCODED[s.protocol], len(s.data))
    options = {"protocol": s.protocol, "encoded": encoded, **metric.options(s.protocol), **TESTED.get(metric.name, {})}
    return {score.name: options for score in metric.scores}


def codes_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    return code_rows(metric, s.encoded, s.data.factors.names if s.data.factors else (), s.protocol, s.seed)


def factors_problem(s: Subject, metric: Metric) -> str:
    wrong = f"the factors of {s.data.name} are not known, so {metric.name} cannot be measured on it"
    return wrong if s.data.factors is None else ""


def code_rows(metric: Metric, encoded: Encoded, factor_names: Sequence[str], protocol: str, seed: int) -> Iterator[Row]:
    """The rows of one metric of codes, or of codes and factors.  Raises UserError if no factor that it needs varies."""
    codes, factors = encoded.codes.astype(np.float64), encoded.factors
    options = metric.options(protocol)
    about: dict[str, Any] = {"protocol": protocol, "encoded": len(codes), **TESTED.get(metric.name, {})}
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


def features_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    options = {**s.backbone.options, "real": min(s.count, len(s.data)), **metric.options()}
    return {score.name: options for score in metric.scores}


def features_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    real, fake = s.features
    s.progress(metric.name, 0.0)
    result = metric.compute(real, fake, seed=[s.seed, 4], **metric.options())
    about = {**s.backbone.options, "seed": s.seed, "real": len(real), "fake": len(fake)}
    return metric.rows(result, {**about, **metric.options()})


def moves_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    options = {"protocol": s.protocol, "pairs": MOVED[s.protocol], **metric.options(s.protocol)}
    return {score.name: options for score in metric.scores}


def moves_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    options = metric.options(s.protocol)
    result = metric.compute(s.moves, seed=[s.seed, 6], **options)
    about = {"protocol": s.protocol, "pairs": MOVED[s.protocol], "used": len(s.used), "seed": s.seed}
    return metric.rows(result, {**about, **options})


def resampled_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    options = {"protocol": s.protocol, "images": RESAMPLED[s.protocol], **metric.options(s.protocol)}
    return {score.name: options for score in metric.scores}


def resampled_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    """Reconstructions, and images of the same codes with each column in an order of its own."""
    codes, rng = s.encoded.codes, np.random.default_rng([s.seed, 7])
    z = codes[rng.integers(len(codes), size=RESAMPLED[s.protocol])]
    images = s.decode(z, metric.name), s.decode(rng.permuted(z, axis=0), metric.name)
    options = metric.options(s.protocol)
    result = metric.compute(*images, seed=[s.seed, 8], **options)
    about = {"protocol": s.protocol, "images": RESAMPLED[s.protocol], "seed": s.seed}
    return metric.rows(result, {**about, **options})


def directions_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    return {score.name: {"protocol": s.tpl_protocol, **s.distance.options} for score in metric.scores}


def directions_measured(s: Subject, metric: Metric) -> Iterator[Row]:
    result = direction_gain(
        s.generate, s.run.latents, s.used.tolist(), s.distance, s.tpl_protocol, seed=s.seed, device=s.device,
        progress=partial(s.progress, metric.name),
    )  # fmt: skip
    about = {"protocol": s.tpl_protocol, "used": len(s.used), "seed": s.seed}
    return metric.rows(result, {**about, **s.distance.options})


def _pair_measures(s: Subject) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Scores of a reconstruction and its image; SSIM needs sides of 11 or more, LPIPS its network."""
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": lambda a, b: psnr(a, b).clamp(max=BEST_PSNR)}
    if min(s.run.size) >= WINDOW:
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
    wrong = f"the encoder of {s.run.word} was not trained on images, so its reconstructions cannot be measured"
    return "" if s.run.encodes_images else wrong


def paths_asked(s: Subject, metric: Metric) -> dict[str, dict[str, Any]]:
    network = {k: v for k, v in s.distance.options.items() if k != "resize"}
    return {score.name: {"pairs": s.count, "prior": s.run.prior.name, **network} for score in metric.scores}


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
        s.generate, s.run.latents, s.distance, s.tpl_protocol, s.threshold, s.seed, device=s.device,
        progress=partial(s.progress, "tpl"), until=s.until, controls=s.run.controlled,
    )  # fmt: skip
    data = s.data if s.run.source and s.run.has_encoder else None
    encoded = s.encoded if data and data.factors else None
    around = None
    if s.run.encodes_images:
        images = s.data.images(draw_index(s.data, BASES, s.seed))
        with torch.no_grad():
            around = s.encoder(to_float(torch.from_numpy(images).to(s.device)))
    table = describe_controls(s.generate.generator, s.run.prior, result, encoded, data, s.seed, around)
    return tpl_rows(result, s.tpl_protocol, table)


def lacking(s: Subject, metric: Metric) -> str:
    """Why a metric cannot be measured on this model; empty if it can."""
    if metric.needs in ENCODING and not s.run.has_encoder:
        can = "tpl and ppl can be measured, and with --data fid and its like"
        return f"{metric.name} needs an encoder, and {s.run.word} has none: {can}"
    return KINDS[metric.needs].problem(s, metric)


KINDS = {
    "factors": Kind(codes_asked, codes_measured, factors_problem),
    "codes": Kind(codes_asked, codes_measured),
    "features": Kind(features_asked, features_measured),
    "reconstruction": Kind(reconstruction_asked, reconstruction_measured, reconstruction_problem),
    "paths": Kind(paths_asked, paths_measured),
    "generator": Kind(tpl_asked, tpl_measured),
    "moves": Kind(moves_asked, moves_measured),
    "resampled": Kind(resampled_asked, resampled_measured, reconstruction_problem),
    "directions": Kind(directions_asked, directions_measured),
}
