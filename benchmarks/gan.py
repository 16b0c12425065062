"""How soon is a GAN good, and which part of the paper's helps?

    python benchmarks/gan.py --images 300000 --seeds 3 --faces faces      # wherewhat data make faces faces --side 64
    python benchmarks/gan.py --rows "ps-sc;ps-sc, frozen maps" --minutes 60
    python benchmarks/gan.py --side 32 --images 80000 --every 40000 --seeds 2      # smaller, for few cores
    python benchmarks/gan.py --images 2000 --every 1000 --quick

Each row is a recipe with settings, trained on each set with each seed.  Every so many images it is scored; the table
has the time to FactorVAE score .8 and to levels of FID, and the scores at the end.  Each training is a folder under
--out, and interrupted ones go on.  Every score is a line of results/gan.csv: what is there is not trained again, so the
table can be made in several sittings and on several machines.
"""

import argparse
import csv
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from common import RESULTS, command, commit, header, write

from wherewhat.config import Config, with_settings
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.evaluation.rank import axis_score
from wherewhat.recipes import at_resolution, find, with_total_images
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

PAPERS = (
    "gan.discriminator.kind=residual", "gan.discriminator.equalized=true", "gan.loss=logistic", "gan.r1_gamma=5",
    "gan.r1_interval=16",
)  # fmt: skip
"""the discriminator of the recipes of the paper, with their penalty"""
UNSEEN = ("gan.visibility_weight=0",)
"""the paper's objective: latents may hide in changes that nobody sees"""
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gan": ("rooms-lean-gan", ()),
    "info": ("rooms-lean-info", ()),
    "ps": ("rooms-lean-ps", UNSEEN),
    "sc": ("rooms-lean-sc", ()),
    "ps-sc": ("rooms-lean", UNSEEN),
    "ps-sc, the paper's discriminator": ("rooms-lean", (*UNSEEN, *PAPERS)),
    "ps-sc, frozen maps": ("rooms-lean", (*UNSEEN, "gan.features=alex", "gan.r1_gamma=0.1", "gan.r1_interval=4")),
    "ps-sc, visible": ("rooms-lean", ()),
    "folder-gan": ("folder-gan", ()),
    "folder-ae": ("folder-ae", ()),
}
"""name → recipe, settings that differ from it"""
LEVELS = (40.0, 20.0, 10.0)
"""of FID (AlexNet features), whose time is reported"""
GOOD = 0.8
"""FactorVAE score, whose time is reported"""
QUICK = ("factor_vae", "fid")
"""scored on the way"""
FINAL = ("factor_vae", "dci", "mig", "fid", "tpl")
SHOWN = {"factor_vae": 3, "dci": 3, "mig": 3, "fid": 1, "tpl": 2, "active": 1, "area": 3, "axis": 3}
"""columns of the last scores, and their decimals.  active: controls with a TPL above .1; area: share of the image that
one of them visibly changes, mean over them; axis: mean axis score over pairs of them, above 0 if curves of the rotation
study dip at the axes"""


def main() -> None:
    """Train, score, write the table after each training; or write it once, of the trainings that came to their end."""
    args = options()
    found: dict[tuple[str, str], list[list[dict[str, float]]]] = {}
    for seed, name, row in product(range(args.seeds), args.sets, args.rows):
        points = kept(identity(row, name, seed, args), args) if args.table else curve(row, name, seed, args)
        if points and FINAL[-1] in points[-1]:
            found.setdefault((name, row), []).append(points)
        if not args.table:
            write("gan", report(found, args), args)
    if args.table:
        write("gan", report(found, args), args)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda text: text.split(";"), default=list(ROWS), help="separated by ;")
    parser.add_argument("--sets", nargs="+", default=["rooms"], help="rooms, sprites, faces")
    parser.add_argument("--faces", type=Path, default=Path("faces"), help="the folder of the set faces")
    parser.add_argument("--side", type=int, default=64, help="pixels of a side")
    parser.add_argument("--images", type=int, default=300_000)
    parser.add_argument("--every", type=int, default=20_000, help="images from one score to the next")
    parser.add_argument("--minutes", type=float, default=None, help="of training, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/gan"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what is there")
    parser.add_argument("--quick", action="store_true", help="a smoke run: nothing written")
    args = parser.parse_args()
    if unknown := [row for row in args.rows if row not in ROWS]:
        parser.error(f"there is no row {unknown[0]}; there is: {', '.join(ROWS)}")
    return args


def configured(row: str, name: str, seed: int, args: argparse.Namespace) -> Config:
    """The recipe of a row on a set, for this seed and budget."""
    recipe, settings = ROWS[row]
    config = find(recipe)
    source, channels = (str(args.faces.absolute()) if name == "faces" else name), 1 if name == "sprites" else 3
    config = replace(config, data=replace(config.data, source=source, channels=channels))
    config = at_resolution(with_settings(with_total_images(config, args.images), settings), args.side, args.side)
    every = {"preview_every": args.every, "checkpoint_every": args.every}
    return replace(config, seed=seed, **every).checked()


def curve(row: str, name: str, seed: int, args: argparse.Namespace) -> list[dict[str, float]]:
    """Scores after every args.every images of one training, once its adversary has begun; each is kept at once."""
    config = configured(row, name, seed, args)
    which = identity(row, name, seed, args)
    points = kept(which, args)
    if points and args.minutes and points[-1]["seconds"] >= 60 * args.minutes:
        return points
    folder = args.out / "-".join([name, *row.replace(",", "").split(), f"{args.side}", f"s{seed}"])
    alone = config.gan.start_images if config.gan and config.autoencoder else 0
    for images in [*range(args.every, args.images, args.every), args.images]:
        if images <= alone or (points and points[-1]["images"] >= images):
            continue
        run = train(replace(config, total_images=images), str(folder), args.device, minutes=args.minutes, quiet=True)
        out_of_time = run.images_seen < images
        points.append(scored(run, FINAL if out_of_time or images == args.images else QUICK, args.device))
        keep(which, points[-1], args)
        print(f"{name}, {row}, seed {seed}: {points[-1]}", flush=True)
        if out_of_time:
            break
    return points


def identity(row: str, name: str, seed: int, args: argparse.Namespace) -> dict[str, str | int]:
    """What tells one training from the others."""
    return {"set": name, "row": row, "side": args.side, "total": args.images, "seed": seed}


def scores_file(args: argparse.Namespace) -> Path:
    """Where every score is kept; those of a smoke run are kept beside its trainings."""
    return args.out / "gan.csv" if args.quick else RESULTS / "gan.csv"


def kept(which: dict[str, str | int], args: argparse.Namespace) -> list[dict[str, float]]:
    """The scores of one training so far."""
    if not scores_file(args).exists():
        return []
    with scores_file(args).open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if all(line[name] == str(which[name]) for name in which)]
    return [{name: float(line[name]) for name in ("images", "seconds", *SHOWN) if line[name]} for line in lines]


def keep(which: dict[str, str | int], point: dict[str, float], args: argparse.Namespace) -> None:
    """Append the scores of one training at one moment, and the commit that made them."""
    path = scores_file(args)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        lines = csv.DictWriter(file, [*which, "images", "seconds", *SHOWN, "commit"], lineterminator="\n")
        if not file.tell():
            lines.writeheader()
        rounded = {name: f"{value:.6g}" for name, value in point.items()}
        lines.writerow(which | rounded | {"images": f"{point['images']:.0f}", "commit": commit()})


def scored(run: Run, metrics: tuple[str, ...], device: str) -> dict[str, float]:
    """Scores of a run as it is, and its clock."""
    rows = {r["metric"]: r["value"] for r in evaluate(run, metrics, "fast", "small", device=device)}
    clock = {"images": run.images_seen, "seconds": run.rows("train")[-1]["seconds"]}
    scores = clock | {metric: float(rows[metric]) for metric in metrics}
    if "tpl" in metrics:
        active = [control for control in run.control_table or [] if control.active]
        scores["active"] = len(active)
        scores["area"] = mean(control.visible for control in active) if active else 0.0
        scores["axis"] = axis_score(run, device=device)
    return scores


def minutes_to(points: list[dict[str, float]], metric: str, level: float) -> float | None:
    """Minutes of training until a score first reached a level; None if it never did.  FID falls, others rise."""
    sign = -1 if metric == "fid" else 1
    reached = (p["seconds"] / 60 for p in points if metric in p and sign * p[metric] >= sign * level)
    return next(reached, None)


def report(found: dict[tuple[str, str], list[list[dict[str, float]]]], args: argparse.Namespace) -> str:
    """The whole table so far."""
    waits = [("factor_vae", GOOD), *(("fid", level) for level in LEVELS)]
    heads = ["set", "row", "seeds", "images", *(f"min. to {metric} {level:g}" for metric, level in waits), *SHOWN]
    lines = [
        "# GANs: time to a good one, and the paper's ablation",
        "",
        header(command(), args.device),
        "",
        f"Scored every {args.every:,} images with the protocol `fast`, TPL `small`; FID of AlexNet features. Mean over "
        "seeds, ± standard deviation; – : not reached by every seed. active: controls with a TPL above .1; area: share "
        "of the image that one of them visibly changes; axis: axis score of the rotation study, mean over pairs.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for (name, row), curves in found.items():
        cells = [name, row, str(len(curves)), f"{mean(c[-1]['images'] for c in curves):,.0f}"]
        for metric, level in waits:
            times = [minutes_to(points, metric, level) for points in curves]
            cells.append("–" if None in times else f"{mean(t for t in times if t is not None):.0f}")
        for metric, digits in SHOWN.items():
            values = [points[-1][metric] for points in curves]
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.{digits}f}{spread}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
