"""A data set that labels itself: images of drawn codes, the codes of named controls as labels, and their masks.

images/000000.png      and factors.csv: above or below the middle, a column a control; a data set to train on
table.csv              the codes themselves, and the same labels (table.parquet where pyarrow is installed)
masks/NAME/000000.png  where the control acts in that image: 0 nowhere, 255 fully
card.json              the run, what was varied, what was drawn, from which seed
"""

import csv
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from wherewhat.errors import UserError
from wherewhat.run.folder import Run
from wherewhat.run.names import shown
from wherewhat.viz.canvas import to_image, to_pixels

BATCH = 64


@dataclass(frozen=True)
class Plan:
    """What to draw."""

    vary: tuple[int, ...]
    """controls that are drawn and labelled"""
    count: int
    seed: int = 0
    spread: float = 1.0
    """of the prior: codes are drawn from it and multiplied by this"""
    base: Float[np.ndarray, " z"] | None = None
    """codes of all other controls; None: they are drawn too, and not labelled"""

    def codes(self, run: Run) -> Float[np.ndarray, "n z"]:
        """The codes of all images."""
        drawn = run.draw(self.count, [self.seed, 3]) * np.float32(self.spread)
        if self.base is not None:
            held = np.setdiff1d(np.arange(drawn.shape[1]), self.vary)
            drawn[:, held] = self.base[held]
        return drawn


def synthesize(
    run: Run, plan: Plan, folder: Path, device: str = "cpu",
    progress: Callable[[str, float], None] = lambda what, done: None,
) -> Path:  # fmt: skip
    """The data set, whole or not there at all; the same plan gives the same bytes.  Raises UserError if the folder is
    not empty or cannot be written."""
    folder = folder.expanduser().absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    codes, names = plan.codes(run), titles(run, plan.vary)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there already: choose another folder, or remove it")
        partial.mkdir(parents=True)
        draw(run, codes, dict(zip(map(slug, names), plan.vary, strict=True)), partial, device, progress)
        tabulate(codes[:, list(plan.vary)], names, partial)
        (partial / "card.json").write_text(json.dumps(card(run, plan, names), indent=1, ensure_ascii=False), "utf-8")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}. Nothing of it was kept.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@torch.no_grad()
def draw(
    run: Run, codes: Float[np.ndarray, "n z"], masked: dict[str, int], folder: Path, device: str,
    progress: Callable[[str, float], None],
) -> None:  # fmt: skip
    """images/ and masks/NAME/, some at a time."""
    generator = run.generator.to(device)
    for place in ("images", *(f"masks/{name}" for name in masked)):
        (folder / place).mkdir(parents=True)
    for first in range(0, len(codes), BATCH):
        progress("drawing", first / len(codes))
        made = generator(torch.from_numpy(codes[first : first + BATCH]).to(device))
        masks = made.masks_at(*generator.size)
        grey = {name: (masks[:, latent] * 255).round().byte().cpu().numpy() for name, latent in masked.items()}
        for i, pixels in enumerate(to_pixels(made.image)):
            file = f"{first + i:06d}.png"
            to_image(pixels).save(folder / "images" / file)
            for name, mask in grey.items():
                Image.fromarray(mask[i]).save(folder / "masks" / name / file)


def tabulate(codes: Float[np.ndarray, "n v"], names: Sequence[str], folder: Path) -> None:
    """table.csv, table.parquet if it can be, and the labels alone where a data set has its factors."""
    files = [f"{i:06d}.png" for i in range(len(codes))]
    labels = {f"{name}: above": (codes[:, k] > 0).astype(int).tolist() for k, name in enumerate(names)}
    columns = {"file": [f"images/{file}" for file in files]}
    columns |= {name: codes[:, k].tolist() for k, name in enumerate(names)} | labels
    _write_csv(folder / "table.csv", columns)
    words = {name: ["above" if one else "below" for one in labels[f"{name}: above"]] for name in names}
    _write_csv(folder / "images" / "factors.csv", {"file": files} | words)
    try:
        from pyarrow import parquet, table
    except ImportError:
        return
    parquet.write_table(table(columns), folder / "table.parquet")


def _write_csv(path: Path, columns: dict[str, list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def card(run: Run, plan: Plan, names: Sequence[str]) -> dict:
    """What a reader of the data set has to know."""
    return {
        "wherewhat": version("wherewhat"),
        "run": str(run.path),
        "recipe": run.config.recipe,
        "images_seen": run.images_seen,
        "commit": run.about.get("commit"),
        "count": plan.count,
        "seed": plan.seed,
        "prior": run.config.prior,
        "spread": plan.spread,
        "varied": dict(zip(names, plan.vary, strict=True)),
        "others": "drawn from the prior, not labelled" if plan.base is None else plan.base.tolist(),
        "labels": "1 or above: the code is greater than 0, the middle of the prior",
    }


def titles(run: Run, latents: Sequence[int]) -> list[str]:
    """Names of controls, no two of which are the same column or folder."""
    known = [shown(run)[latent] for latent in latents]
    slugs = ["file", *map(slug, known)]
    return [name if slugs.count(slug(name)) == 1 else f"{name} z{k}" for name, k in zip(known, latents, strict=True)]


def slug(name: str) -> str:
    """A name as a folder's: hair's height → hair-s-height."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "control"
