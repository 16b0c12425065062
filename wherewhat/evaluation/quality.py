"""How good a run's images are: its reconstructions of real ones, its samples against real ones, the way between them.

Samples are drawn from the run's prior, rounded to 8 bits as if they had been saved, and compared with as many real
images.  Features of the real ones are kept in the user's cache.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.cache import cache
from wherewhat.data.batches import Images, draw_index
from wherewhat.errors import UserError
from wherewhat.metrics.backbones import Backbone, load_backbone
from wherewhat.metrics.distance import Distance, Lpips
from wherewhat.metrics.features import density_coverage, frechet_distance, kid, precision_recall
from wherewhat.metrics.images import WINDOW, psnr, ssim
from wherewhat.metrics.ppl import Along, path_length
from wherewhat.progress import Progress
from wherewhat.run.folder import Run

SETS = ("fid", "kid", "precision", "recall", "density", "coverage")
"""real images against samples, by features"""
MEASURED = ("reconstruction", "ppl")
"""image against image, by a distance"""
METRICS = (*SETS, *MEASURED)

COUNT = 10_000
"""real images, samples, and pairs of latents"""
RECONSTRUCTED = 1_000
BEST_PSNR = 100.0
"""an equal image would have an infinite one"""
NEIGHBOURS, BALLS = 3, 5
"""nearest neighbours of precision and recall, of density and coverage, as published"""
SUBSETS, SUBSET = 100, 1_000
"""of KID, as published"""
PATHS: dict[str, Along] = {"ppl": "full", "ppl_end": "end"}
"""rows of ppl: steps anywhere between two latents, steps from the first of them"""
BATCH = 64


def prepare(run: Run, names: Sequence[str], features: str, device: str) -> Backbone | None:
    """The network for these metrics, if they need one.  Raises UserError now for what could not be measured later."""
    if "reconstruction" in names and run.config.autoencoder is None:
        raise UserError(f"{run.path} has no encoder, so its reconstructions cannot be measured")
    if not set(names) & set(SETS):
        return None
    backbone = load_backbone(features, device)
    backbone(torch.zeros(1, run.config.data.channels, *run.config.size, dtype=torch.uint8, device=device))
    return backbone


def wanted(
    run: Run, name: str, there: int, distance: Distance | None, backbone: Backbone | None, count: int
) -> dict[str, dict[str, Any]]:
    """The rows of a metric of data with `there` images, each with options that must be the same."""
    if name == "reconstruction":
        options = {"real": min(RECONSTRUCTED, there)}
        more = {"ssim": options} if min(run.config.size) >= WINDOW else {}
        return {"psnr": options, **more} | (
            {"lpips": options | distance.options} if isinstance(distance, Lpips) else {}
        )
    if name == "ppl":
        assert distance is not None
        network = {k: v for k, v in distance.options.items() if k != "resize"}
        return {key: {"pairs": count, "prior": run.config.prior, **network} for key in PATHS}
    assert backbone is not None
    return {name: {**backbone.options, "real": min(count, there)}}


@torch.no_grad()
def rows(
    run: Run,
    data: Images,
    names: Sequence[str],
    distance: Distance | None,
    backbone: Backbone | None,
    count: int,
    seed: int,
    device: str,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Rows of metric, value, options and details, in the order of METRICS; distance and backbone are needed by MEASURED
    and SETS."""
    generator = run.generator.to(device)

    def generate(z: Tensor) -> Tensor:
        return generator(z).image.clamp(-1, 1)

    if backbone is not None:
        real = real_features(data, draw_index(data, count, seed), backbone, device, progress)
        z = torch.from_numpy(run.draw(len(real), [seed, 1])).to(device)
        fake = _features(backbone, len(real), lambda rows: _stored(generate(z[rows])), progress, "samples")
        yield from _compared(names, real, fake, {**backbone.options, "seed": seed}, progress)
    if "reconstruction" in names:
        assert distance is not None
        yield from reconstruction(run, data, distance, seed, device, progress)
    if "ppl" in names:
        assert distance is not None
        pairs = run.draw(count, [seed, 2]), run.draw(count, [seed, 3])
        for name, along in PATHS.items():
            progress(name, 0.0)
            result = path_length(generate, pairs, distance, along, run.config.prior == "normal", seed, device=device,
                                 progress=partial(progress, name))  # fmt: skip
            options = {**result.options, "prior": run.config.prior}
            yield {"metric": name, "value": result.value, "options": options, "details": {"error": result.error}}


def _compared(
    names: Sequence[str], real: np.ndarray, fake: np.ndarray, options: dict[str, Any], progress: Progress
) -> Iterator[dict[str, Any]]:
    """Features of real images and of samples → rows."""
    options = {**options, "real": len(real), "fake": len(fake)}
    if "fid" in names:
        progress("fid", 0.0)
        yield {"metric": "fid", "value": frechet_distance(real, fake), "options": dict(options)}
    if "kid" in names:
        progress("kid", 0.0)
        found = kid(real, fake, np.random.default_rng([options["seed"], 4]), SUBSETS, SUBSET)
        more = {"subsets": SUBSETS, "size": min(SUBSET, len(real), len(fake))}
        yield {
            "metric": "kid",
            "value": found.value,
            "options": options | more,
            "details": {"error": None if np.isnan(found.error) else found.error},
        }
    for parts, measure, k in (
        (("precision", "recall"), precision_recall, NEIGHBOURS),
        (("density", "coverage"), density_coverage, BALLS),
    ):
        if set(parts) & set(names):
            progress(" and ".join(parts), 0.0)
            for part, value in zip(parts, measure(real, fake, k), strict=True):
                if part in names:
                    yield {"metric": part, "value": value, "options": {**options, "neighbours": k}}


def reconstruction(
    run: Run, data: Images, distance: Distance, seed: int, device: str, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Rows psnr (dB), ssim (for sides of 11 or more) and lpips (unless the distance is of pixels): what the encoder and
    generator make of real images against these, means over images."""
    index = draw_index(data, RECONSTRUCTED, seed)
    generator, encoder = run.generator.to(device), run.encoder.to(device)
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": lambda a, b: psnr(a, b).clamp(max=BEST_PSNR)}
    if min(run.config.size) >= WINDOW:
        measures["ssim"] = ssim
    if isinstance(distance, Lpips):
        measures["lpips"] = distance
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    for at in range(0, len(index), BATCH):
        progress("reconstruction", at / len(index))
        real = torch.from_numpy(data.images(index[at : at + BATCH])).to(device).float() / 127.5 - 1
        again = generator(encoder(real)).image.clamp(-1, 1)
        for name, measure in measures.items():
            values[name].append(measure(again, real).cpu())
    for name, parts in values.items():
        all_of_them = torch.cat(parts).double().numpy()
        options = {"real": len(index), "seed": seed, **(distance.options if name == "lpips" else {})}
        error = float(all_of_them.std() / len(index) ** 0.5)
        yield {"metric": name, "value": float(all_of_them.mean()), "options": options, "details": {"error": error}}


def _stored(images: Tensor) -> Tensor:
    """From [−1, 1] to 8 bits."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def real_features(
    data: Images, index: Integer[np.ndarray, " n"], backbone: Backbone, device: str, progress: Progress
) -> Float[np.ndarray, "n d"]:
    """Features of these images, from the user's cache if they were measured before: the same pixels by the same
    network.  A cache that cannot be written is done without."""
    key = hashlib.sha256(json.dumps(backbone.options, sort_keys=True).encode())
    for at in range(0, len(index), BATCH):
        key.update(data.images(index[at : at + BATCH]).tobytes())
        progress("reading", at / len(index))
    file = cache("features") / f"{backbone.options['network']}-{key.hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept: Float[np.ndarray, "n d"] = np.load(file, allow_pickle=False)
        return kept
    features = _features(
        backbone,
        len(index),
        lambda rows: torch.from_numpy(data.images(index[rows])).to(device),
        progress,
        "real images",
    )
    with suppress(OSError):
        _keep(file, features)
    return features


def _features(
    backbone: Backbone, count: int, images: Callable[[slice], Tensor], progress: Progress, what: str
) -> Float[np.ndarray, "n d"]:
    parts = []
    for at in range(0, count, BATCH):
        progress(what, at / count)
        parts.append(backbone(images(slice(at, at + BATCH))).cpu().numpy())
    return np.concatenate(parts)


def _keep(file: Path, features: Float[np.ndarray, "n d"]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        np.save(unfinished, features)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
