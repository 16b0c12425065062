"""How many pictures are enough?  folder-ae on the first 500, 1,000, … of a folder, scored on pictures it never saw.

    python benchmarks/pictures.py ~/faces --jobs 2
    python benchmarks/pictures.py ~/faces --counts 100 --images 2000 --quick

The last 1,000 pictures of the folder (a tenth, if it has fewer than 10,000) are held out of every training: PSNR and
LPIPS are of reconstructions of pictures that were trained on, and of these.  The other scores are of the codes of the
whole folder, whose factors.csv must list its factors.  Runs under --out are gone on with, or found done.
"""

import argparse
import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, command, header, table, write

from wherewhat.config import Config
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

SCORES = ("factor_vae", "dci", "mig")


def main() -> None:
    args = options()
    trainings = [(count, images, False) for images in args.images for count in args.counts]
    trainings += [(count, args.images[0], True) for count in args.mirrored]
    rows = []
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for row in pool.map(measured, *zip(*((*training, args) for training in trainings), strict=True)):
            rows.append(row)
            write("pictures", report(rows, args), args)
    if not args.quick:
        draw(rows, RESULTS.parents[1] / "docs" / "pictures" / "how-many.png")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="pictures and their factors.csv")
    numbers = {"type": lambda text: [int(word) for word in text.split(",") if word]}
    parser.add_argument("--counts", default=[500, 1_000, 2_000, 5_000, 19_000], help="of pictures", **numbers)
    parser.add_argument("--images", default=[100_000], help="seen in training, as in 100000,25000", **numbers)
    parser.add_argument("--mirrored", default=[], help="counts that are trained with mirror images too", **numbers)
    parser.add_argument("--out", type=Path, default=Path("runs/pictures"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument("--protocol", default="dlib")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run: protocol fast, nothing written")
    args = parser.parse_args()
    args.protocol = "fast" if args.quick else args.protocol
    args.folder = args.folder.expanduser().absolute()
    with (args.folder / "factors.csv").open(newline="", encoding="utf-8") as file:
        args.head, *args.rows = csv.reader(file)
    args.held_out = min(1_000, len(args.rows) // 10)
    if max(args.counts) > len(args.rows) - args.held_out:
        parser.error(f"{args.folder} has {len(args.rows):,} pictures, of which {args.held_out:,} are held out")
    return args


def some(args: argparse.Namespace, name: str, rows: list[list[str]]) -> str:
    """A folder of these pictures alone, as links, with their factors."""
    folder = args.out.absolute() / "pictures" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, *_ in rows:
        if not (folder / file).exists():
            (folder / file).symlink_to(args.folder / file)
    with (folder / "factors.csv").open("w", newline="", encoding="utf-8") as table_file:
        csv.writer(table_file).writerows([args.head, *rows])
    return str(folder)


def measured(count: int, images: int, mirrored: bool, args: argparse.Namespace) -> dict[str, Any]:
    """Train on the first `count` pictures, and score."""
    own = some(args, str(count), args.rows[:count])
    unseen = some(args, "held-out", args.rows[-args.held_out :])
    base = find("folder-ae")
    halflife = base.optimizer.lr_halflife * images // base.total_images
    config: Config = replace(
        base,
        data=replace(base.data, source=own, hflip=mirrored),
        optimizer=replace(base.optimizer, lr_halflife=halflife),
        total_images=images,
        preview_every=10**9,
    )
    run = train(config.checked(), str(args.out / f"{count}-{images}{'-mirrored' * mirrored}"), args.device, quiet=True)
    near, far = reconstructed(run, own, args), reconstructed(run, unseen, args)
    run.config = replace(run.config, data=replace(run.config.data, source=str(args.folder)))
    rows = evaluate(run, SCORES, args.protocol, device=args.device)
    scores = {row["metric"]: row["value"] for row in rows}
    return {"count": count, "images": images, "mirrored": mirrored, "own": near, "unseen": far, **scores}


def reconstructed(run: Run, source: str, args: argparse.Namespace) -> dict[str, float]:
    """PSNR and LPIPS of reconstructions of up to 1,000 pictures of a folder."""
    run.config = replace(run.config, data=replace(run.config.data, source=source))
    return {row["metric"]: row["value"] for row in evaluate(run, ["reconstruction"], "fast", device=args.device)}


def report(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """The whole table so far."""
    heads = ["pictures", "images seen", "mirrored", "PSNR: trained on", "unseen", "LPIPS: trained on", "unseen",
             "FactorVAE", "DCI", "MIG"]  # fmt: skip
    lines = [
        [f"{row['count']:,}", f"{row['images']:,}", "yes" if row["mirrored"] else "no"]
        + [f"{row[of][name]:.{digits}f}" for name, digits in (("psnr", 1), ("lpips", 3)) for of in ("own", "unseen")]
        + [f"{row[name]:.3f}" for name in SCORES]
        for row in rows
    ]
    words = f"`folder-ae`, seed 0, {args.held_out:,} pictures held out; protocol `{args.protocol}`."
    return "\n".join(["# How many pictures are enough?", "", header(command()), "", words, "", table(heads, lines), ""])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Reconstruction and scores against the number of pictures."""
    from matplotlib.figure import Figure

    first = [row for row in rows if row["images"] == rows[0]["images"] and not row["mirrored"]]
    counts = [row["count"] for row in first]
    figure = Figure((8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for key, words in (("own", "pictures it was trained on"), ("unseen", "pictures it never saw")):
        left.plot(counts, [row[key]["psnr"] for row in first], "o-", label=words)
    for name, words in zip(SCORES, ("FactorVAE", "DCI", "MIG"), strict=True):
        right.plot(counts, [row[name] for row in first], "o-", label=words)
    left.set(ylabel="PSNR of reconstructions, dB")
    right.set(ylabel="score of the controls", ylim=(0, 1.15))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="pictures trained on")
        axes.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right" if axes is left else "upper left", ncols=1 if axes is left else 3)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
