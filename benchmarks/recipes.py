"""Which recipe disentangles best for the same number of images, or the same number of minutes?

    python benchmarks/recipes.py --images 40000 --seeds 3            # an equal budget of images
    python benchmarks/recipes.py --minutes 3 --seeds 3               # an equal budget of time
    python benchmarks/recipes.py --rows "demo;no masks" --images 5000 --quick

Every run is a folder under --out; finished ones are not trained again, interrupted ones go on, so the study can be
stopped and started at will.  Scores are of the last checkpoint: mean ± standard deviation over seeds.  GANs have a
table of their own: gan.py.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from common import command, header, write

from wherewhat.config import Config, with_settings
from wherewhat.data import open_data
from wherewhat.data.batches import draw_index
from wherewhat.evaluation.encoding import encode_images
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.families import family_of
from wherewhat.nn.controls import fit_controls
from wherewhat.nn.ops import to_float
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.train.loop import CONTROL_IMAGES, train

EARLIER = (
    *(f"generator.stages.{k}.{setting}" for k in range(3) for setting in ("latents=4", "transform=none")),
    "generator.mask=boxes", "generator.palette=0", "generator.palette_latents=0", "generator.shading=false",
    "autoencoder.sigma=0.4", "autoencoder.beta=5", "autoencoder.controls=ica",
)  # fmt: skip
"""demo as the study has it: masks, no palette"""
ADAM = ("optimizer.kind=adam", "optimizer.lr=0.0015")
ROWS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "demo": ("demo", (), "ica"),
    "demo, polar pairs alone": ("demo", (), "polar"),
    "demo, latents as trained": ("demo", (), "latents"),
    "normal prior": ("demo", ("prior=normal",), "ica"),
    "normal prior, latents as trained": ("demo", ("prior=normal",), "latents"),
    "Adam": ("demo", ADAM, "ica"),
    "no masks": ("demo", ("generator.mask=none",), "ica"),
    "no masks, latents as trained": ("demo", ("generator.mask=none",), "latents"),
    "plain decoder": ("demo", ("generator.decoder=dense",), "ica"),
    "plain decoder, latents as trained": ("demo", ("generator.decoder=dense",), "latents"),
    "β-VAE": ("demo", ("generator.decoder=dense", "prior=normal", *ADAM), "latents"),
}
"""name → recipe, settings that differ from it, and which controls are read.  Rows that differ in the last alone are
the same training, read in different ways."""
METRICS = ("factor_vae", "dci", "mig", "sap", "tpl")


def main() -> None:
    args = options()
    table: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        for name in args.rows:
            config = configured(name, seed, args)
            table.setdefault(name, []).append(measured(config, name, seed, args))
            write(args.name, report(table, args), args)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: text.split(";"), default=list(ROWS), help="separated by ;")
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument(
        "--minutes", type=float, default=None, help="an equal budget of time; images are then unlimited"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--name", default="recipes", help="of the file in benchmarks/results")
    parser.add_argument("--protocol", default="dlib")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run: the fast protocol, nothing written")
    args = parser.parse_args()
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]}; there is: {', '.join(ROWS)}")
    return args


def configured(name: str, seed: int, args: argparse.Namespace) -> Config:
    """The recipe of a row, for this seed and budget."""
    recipe, settings, _ = ROWS[name]
    config = with_settings(find(recipe), [*(EARLIER if recipe == "demo" else ()), *settings])
    images = args.images if args.minutes is None else 10**9
    every = {"preview_every": 10**9, "checkpoint_every": max(config.batch, min(images, 20_000))}
    return replace(config, total_images=images, seed=seed, **every).checked()


def measured(config: Config, name: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Train (or go on, or find it done) and score one run; scores are kept beside it."""
    recipe, settings, how = ROWS[name]
    folder = args.out / "-".join([recipe, *(s.split("=")[1] for s in settings), f"s{seed}"])
    run = train(config, str(folder), args.device, minutes=args.minutes)
    protocol = "fast" if args.quick else args.protocol
    kept = folder / f"study-{how}-{protocol}-{run.images_seen}.json"
    if not kept.exists():
        kept.write_text(json.dumps(scored(run, how, protocol, args.device)))
    scores: dict[str, float] = json.loads(kept.read_text())
    return scores


def scored(run: Run, how: Any, protocol: str, device: str) -> dict[str, float]:
    """Every column of one run, its codes read as these controls."""
    run.generator.controls = run.encoder.controls = None
    if family_of(run.config).encodes_images:
        data = open_data(run.config.data)
        codes = encode_images(run.encoder, data, draw_index(data, CONTROL_IMAGES))
        run.generator.controls = run.encoder.controls = fit_controls(codes, how)
    rows = {row["metric"]: row for row in evaluate(run, METRICS, protocol, "small", device=device)}
    seconds = run.rows("train")[-1]["seconds"]
    return {metric: float(rows[metric]["value"]) for metric in METRICS} | {
        "active": rows["tpl"]["details"]["active"],
        "PSNR": psnr(run),
        "images": run.images_seen,
        "images/s": run.images_seen / seconds,
    }


@torch.no_grad()
def psnr(run: Run, count: int = 512) -> float:
    """Decibels between images of the data and the same read and made again, values clipped to [0, 1]."""
    import numpy as np

    data = open_data(run.config.data)
    index = np.random.default_rng(1).choice(len(data), count, replace=False)
    real = to_float(torch.from_numpy(data.images(index)))
    again = run.generator(run.encoder(real)).image.clamp(-1, 1)
    error = ((again - real) / 2).square().mean((1, 2, 3))
    return float((-10 * error.log10()).mean())


def report(table: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> str:
    """The whole table so far."""
    columns = [*METRICS, "active", "PSNR", "images", "images/s"]
    budget = f"{args.minutes:g} minutes" if args.minutes is not None else f"{args.images:,} images"
    lines = [
        "# Recipes under one budget",
        "",
        header(command(), args.device),
        "",
        f"World rooms; {budget} a run; metrics under `{args.protocol}`, TPL `small` with LPIPS-AlexNet, threshold .1.",
        "",
        "| row | seeds | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name, rows in table.items():
        cells = [mean_std([row[column] for row in rows]) for column in columns]
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def mean_std(values: list[Any]) -> str:
    """Mean ± standard deviation over seeds."""
    digits = 0 if mean(values) >= 100 else 1 if mean(values) >= 4 else 3
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):,.{digits}f}{spread}"


if __name__ == "__main__":
    main()
