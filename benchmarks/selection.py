"""Which score without labels finds the best of many models?

    python benchmarks/selection.py --work runs/selection            # train and score what is missing; stop at will
    python benchmarks/selection.py --work runs/selection --rescore  # measure scores that were added since
    python benchmarks/selection.py --analyse                        # docs/selection.md and its pictures, from the table

The population: disentanglement_lib's six autoencoders and variants of folder-ae, on two worlds at 32², some seeds.
A model is a run folder under --work and, at each of CHECKPOINTS, a row of results/selection.csv, which is written whole
when the model is done; rows that are there are not made again.  All models see the same number of images.
"""

import argparse
import csv
import io
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import selection_page
from common import RESULTS

from wherewhat.atomic import write_text
from wherewhat.config import Config, DataConfig, with_settings
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.evaluation.rank import axis_score, training_loss
from wherewhat.recipes import VAE_GRIDS, at_resolution, find
from wherewhat.run.folder import Run
from wherewhat.train import preview
from wherewhat.train.loop import train

TABLE = RESULTS / "selection.csv"
SIDE = 32
WORLDS = {"sprites": DataConfig("sprites", SIDE, SIDE, 1), "rooms": DataConfig("rooms", SIDE, SIDE, 3)}
CHECKPOINTS = (10_000, 40_000)  # images seen: early, and at the end
BATCH, LR = 32, 1e-3  # of dlib's six, which take 64 and 1e-4 for 480 times as many images
GAMMA = 10.0  # of AnnealedVAE: at its 1,000, and at 100, codes had the capacity and the decoder ignored them
UNITS = 256  # of each layer of FactorVAE's discriminator, which has 1,000
CHOSEN = {
    "beta-vae": (0, 1, 3), "annealed-vae": (1, 2, 4), "factor-vae": (0, 1, 3),
    "beta-tcvae": (1, 2, 4), "dip-vae-i": (0, 1, 3), "dip-vae-ii": (0, 1, 3),
}  # fmt: skip
"""of the six settings of each grid, from the weaker to the stronger: weaker ones, since images have a quarter of the
pixels, but not a capacity at which nothing is learnt, nor β-TCVAE's β of 1, which is β-VAE's"""
OURS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "masks": ("generator.mask=boxes",),
    "no palette": ("generator.palette=0", "generator.palette_latents=0", "generator.shading=false"),
    "β 1": ("autoencoder.beta=1",),
    "β 10": ("autoencoder.beta=10",),
}
SEEDS = 5
LABELLED = ("factor_vae", "dci", "mig")
EARLY = (*LABELLED, "total_correlation", "independence", "consistency", "changes", "reconstruction", "tpl")
METRICS = (*EARLY, "predictability", "pipe", "direction_gain")  # at the end; axis scores are measured beside them


class Model(NamedTuple):
    """One training of the population."""

    world: str
    recipe: str
    setting: str
    seed: int

    @property
    def folder(self) -> str:
        """Of its run."""
        plain = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in self.setting)
        return f"{self.world}-{self.recipe}-{plain or 'plain'}-s{self.seed}"

    def config(self) -> Config:
        """What is trained."""
        config = at_resolution(find(self.recipe), SIDE, SIDE)
        images = CHECKPOINTS[-1]
        if config.vae:
            optimizer = replace(config.optimizer, lr=LR, ema_halflife=5_000)
            vae = replace(config.vae, discriminator_units=UNITS, capacity_images=images // 3)
            if self.recipe == "annealed-vae":
                vae = replace(vae, weights={"capacity": GAMMA})
            config = replace(config, vae=vae, optimizer=optimizer, batch=BATCH)
            config = with_settings(config, [self.setting])
        else:
            halflife = config.optimizer.lr_halflife * images // config.total_images
            config = replace(config, optimizer=replace(config.optimizer, lr_halflife=halflife))
            config = with_settings(config, OURS[self.setting])
        every = {"log_every": 2_000, "preview_every": 10**9, "checkpoint_every": CHECKPOINTS[0]}
        return replace(config, data=WORLDS[self.world], total_images=images, seed=self.seed, **every).checked()


def population() -> Iterator[Model]:
    """Every model, in an order in which the table is balanced wherever it stops; the variants of ours, which take
    longest, at the end."""
    columns = [(recipe, VAE_GRIDS[recipe][CHOSEN[recipe][k]]) for k in range(3) for recipe in VAE_GRIDS]
    plain, *variants = [("folder-ae", name) for name in OURS]
    for group in ([*columns, plain], variants):
        for seed in range(SEEDS):
            for (recipe, setting), world in product(group, WORLDS):
                yield Model(world, recipe, setting, seed)


def main() -> None:
    args = options()
    if args.analyse:
        selection_page.analyse(TABLE, len(list(population())))
        return
    preview.quick_distance = lambda *_: None  # type: ignore[assignment]  # TPL is measured below, once
    rows = read(TABLE)
    for model in population():
        there = [row for row in rows if all(row[name] == str(value) for name, value in model._asdict().items())]
        folder = args.work / model.folder
        if len(there) == len(CHECKPOINTS) and not (args.rescore and folder.exists()):
            continue
        began = time.perf_counter()
        rows = [row for row in rows if row not in there] + measured(model, folder)
        write_text(TABLE, written(rows))
        print(f"{model.folder}: {time.perf_counter() - began:.0f} s, {len(rows)} rows", flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/selection"), help="where the run folders are")
    parser.add_argument("--rescore", action="store_true", help="measure what rows lack, of models whose folder is kept")
    parser.add_argument(
        "--analyse", action="store_true", help="write docs/selection.md and its pictures, train nothing"
    )
    return parser.parse_args()


def measured(model: Model, folder: Path) -> list[dict[str, str]]:
    """Train a model (or find it trained) and score it at each checkpoint; what other scores need stays there."""
    config = model.config()
    if not folder.exists() or Run.open(folder).images_seen < CHECKPOINTS[-1]:
        train(config, str(folder), "cpu", quiet=True)
    run = Run.open(folder)
    for path in run.checkpoints():
        if path.name not in [name_of(images) for images in CHECKPOINTS]:
            shutil.rmtree(path)
        (path / "resume.pt").unlink(missing_ok=True)
    for left in ("pictures", "tensorboard"):
        shutil.rmtree(folder / left, ignore_errors=True)
    return [scored(model, Run.open(f"{folder}@{name_of(images)}")) for images in CHECKPOINTS]


def name_of(images: int) -> str:
    """Of the folder of a checkpoint."""
    return f"{images // 1000:06d}k"


def scored(model: Model, run: Run) -> dict[str, str]:
    """A row of the table."""
    values: dict[str, Any] = model._asdict() | {"images": run.images_seen, "loss": training_loss(run)}
    last = [row for row in run.rows("train") if row["images_seen"] <= run.images_seen][-1]
    values |= {name: last[name] for name in ("reconstruction", "kl")}
    at_the_end = run.images_seen >= CHECKPOINTS[-1]
    for row in evaluate(run, METRICS if at_the_end else EARLY, "fast", "small"):
        values[row["metric"]] = row["value"]
        values |= {name: row["options"][name] for name in ("used",) if name in row["options"]}
    if at_the_end:
        values["axis"] = axis_score(run)
    return {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in values.items()}


def read(file: Path) -> list[dict[str, str]]:
    """The rows of the table; none if there is no file."""
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8")))) if file.exists() else []


def written(rows: list[dict[str, str]]) -> str:
    """The table as a file: the columns of all rows, in the order in which they were first there."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    main()
