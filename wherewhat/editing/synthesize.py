"""A data set that labels itself: images of random codes, the codes of chosen controls as labels, and their masks.

images/000000.png      and factors.csv: above or below 0, a column for each control; a data set to train on
table.csv              the codes themselves, and the same labels (also table.parquet if pyarrow is installed)
masks/NAME/000000.png  what the control changes in that image: 0 nothing, 128 or more where the change is visible
card.json              the run, which controls were varied, how the codes were drawn, the seed

n images, z codes, v varied controls.
"""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from wherewhat.atomic import explained, temporary
from wherewhat.errors import UserError
from wherewhat.evaluation.where import visible_masks
from wherewhat.metrics.where import CHANGE
from wherewhat.progress import Progress, silent
from wherewhat.run.folder import Run
from wherewhat.run.names import shown
from wherewhat.viz.canvas import to_image, to_pixels

BATCH = 64  # images generated at once


@dataclass(frozen=True)
class Plan:  # what to generate
    vary: tuple[int, ...]  # controls that are drawn and labelled
    count: int  # number of images
    seed: int = 0
    spread: float = 1.0  # codes are drawn as images have them and multiplied by this
    base: Float[np.ndarray, " z"] | None = None  # codes of all other controls; None: drawn too, without labels

    def codes(self, run: Run) -> Float[np.ndarray, "n z"]:
        drawn = run.draw(self.count, [self.seed, 3]) * np.float32(self.spread)
        if self.base is not None:
            held = np.setdiff1d(np.arange(drawn.shape[1]), self.vary)
            drawn[:, held] = self.base[held]
        return drawn


def synthesize(run: Run, plan: Plan, folder: Path, device: str = "cpu", progress: Progress = silent) -> Path:
    """Write the data set, whole or not at all; the same plan gives the same bytes.  UserError for a full folder."""
    folder = folder.expanduser().absolute()
    partial = temporary(folder)
    codes, names = plan.codes(run), column_names(run, plan.vary)
    with explained(folder, cleanup=partial):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} already exists: choose another folder, or remove it")
        partial.mkdir(parents=True)
        write_images(run, codes, dict(zip(map(slug, names), plan.vary, strict=True)), partial, device, progress)
        write_tables(codes[:, list(plan.vary)], names, partial)
        (partial / "card.json").write_text(json.dumps(card(run, plan, names), indent=1, ensure_ascii=False), "utf-8")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    return folder


@torch.no_grad()
def write_images(
    run: Run, codes: Float[np.ndarray, "n z"], masked: dict[str, int], folder: Path, device: str, progress: Progress
) -> None:
    """Write images/ and masks/NAME/.  masked: folder names of masks → controls."""
    generator = run.generator.to(device)
    for name in ("images", *(f"masks/{name}" for name in masked)):
        (folder / name).mkdir(parents=True)
    for first in range(0, len(codes), BATCH):
        progress("generating", first / len(codes))
        z = torch.from_numpy(codes[first : first + BATCH]).to(device)
        masks = visible_masks(generator, z, [*masked.values()]) if masked else z.new_zeros(len(z), 0, 1, 1)
        grey = {
            name: (mask * 255).round().byte().cpu().numpy() for name, mask in zip(masked, masks.unbind(1), strict=True)
        }
        for i, pixels in enumerate(to_pixels(generator.images(z))):
            file = f"{first + i:06d}.png"
            to_image(pixels).save(folder / "images" / file)
            for name, mask in grey.items():
                Image.fromarray(mask[i]).save(folder / "masks" / name / file)


def write_tables(codes: Float[np.ndarray, "n v"], names: Sequence[str], folder: Path) -> None:
    """Write table.csv, table.parquet if pyarrow is installed, and images/factors.csv with the labels alone."""
    files = [f"{i:06d}.png" for i in range(len(codes))]
    labels = {f"{name}: above": (codes[:, k] > 0).astype(int).tolist() for k, name in enumerate(names)}
    columns = {"file": [f"images/{file}" for file in files]}
    columns |= {name: codes[:, k].tolist() for k, name in enumerate(names)} | labels
    _write_csv(folder / "table.csv", columns)
    factors = {name: ["above" if label else "below" for label in labels[f"{name}: above"]] for name in names}
    _write_csv(folder / "images" / "factors.csv", {"file": files} | factors)
    try:
        from pyarrow import parquet, table
    except ImportError:
        return
    parquet.write_table(table(columns), folder / "table.parquet")


def _write_csv(path: Path, columns: dict[str, list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(_plain_cell, columns))
        writer.writerows(map(_plain_cell, row) for row in zip(*columns.values(), strict=True))


def _plain_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def card(run: Run, plan: Plan, names: Sequence[str]) -> dict:
    """How the data set was made and what its labels mean."""
    return {
        "wherewhat": version("wherewhat"), "run": run.title, "recipe": run.config.recipe,
        "images_seen": run.images_seen, "commit": run.about.get("commit"), "count": plan.count, "seed": plan.seed,
        "prior": run.config.prior, "spread": plan.spread,
        "varied": dict(zip(names, plan.vary, strict=True)),
        "others": "drawn as images have them, not labelled" if plan.base is None else plan.base.tolist(),
        "labels": "1, or above: the code is greater than 0",
        "masks": f"128 or more: the pixel visibly changes (by {CHANGE / 2:.0%} of its range) from -2 to +2",
    }  # fmt: skip


def column_names(run: Run, controls: Sequence[int]) -> list[str]:
    """The names of these controls; the number is added to names that would give the same column or folder."""
    known = shown(run)
    names = [known[control] for control in controls]
    slugs = ["file", *map(slug, names)]
    return [name if slugs.count(slug(name)) == 1 else f"{name} z{k}" for name, k in zip(names, controls, strict=True)]


def slug(name: str) -> str:
    """The name of the folder of a control's masks: hair's height → hair-s-height."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "control"
