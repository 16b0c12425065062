"""How good is the one recipe, set by set and seed by seed?

    python benchmarks/scoreboard.py --faces faces --jobs 2        # wherewhat data make faces faces --side 64
    python benchmarks/scoreboard.py --faces faces --add mine=~/pictures
    python benchmarks/scoreboard.py --sets rooms --seeds 1 --images 2000 --quick

rooms, sprites and faces, and further sets that are given: published files (dSprites' npz, 3D Shapes' h5) or folders
with a factors.csv.  Each seed is a folder under --out; finished ones are not trained again, interrupted ones go on, and
so do their scores.  Labels score; they choose nothing.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
from common import command, header, write

from wherewhat.config import Config
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.evaluation.where import where
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

OWN = ("rooms", "sprites", "faces")
RECIPES = {"rooms": "demo", "sprites": "sprites-ae", "faces": "faces", "shapes3d": "demo", "dsprites": "sprites-ae"}
"""set → recipe; others are trained as folder-ae"""
MEASURED = ("factor_vae", "dci", "mig", "infomec", "sap", "tpl", "reconstruction")


class Column(NamedTuple):
    """A column of the table."""

    head: str
    metric: str  # as in metrics.jsonl
    digits: int


COLUMNS = (
    Column("FactorVAE", "factor_vae", 3), Column("DCI", "dci", 3), Column("MIG", "mig", 3),
    Column("InfoM", "infomec", 3), Column("InfoE", "infomec_explicitness", 3),
    Column("InfoC", "infomec_compactness", 3),
    Column("SAP", "sap", 3), Column("TPL", "tpl", 2), Column("where", "where", 3),
    Column("PSNR", "psnr", 1), Column("LPIPS", "lpips", 3),
)  # fmt: skip


def main() -> None:
    args = options()
    configs = [configured(name, seed, args) for seed in range(args.seeds) for name in args.sets]
    table: dict[str, list[dict[str, float]]] = {name: [] for name in args.sets}
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), torch.set_num_threads, (args.threads,)) as pool:
        jobs = {pool.submit(scored, config, folder(config, name, args), args): name for config, name in
                zip(configs, args.sets * args.seeds, strict=True)}  # fmt: skip
        for job, name in jobs.items():
            table[name].append(job.result())
            write("scoreboard", report(table, args), args)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(OWN), help="as in rooms,sprites")
    parser.add_argument("--faces", type=Path, default=Path("faces"), help="where wherewhat data make faces drew them")
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a further set; shapes3d and dsprites are the published files",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=None, help="images seen; the recipe's if not given")
    parser.add_argument("--out", type=Path, default=Path("runs/scoreboard"))
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run: the fast protocol, nothing written")
    args = parser.parse_args()
    args.paths = {"faces": str(args.faces.expanduser().absolute())}
    for text in args.add:
        name, equals, path = text.partition("=")
        if not equals:
            parser.error(f"--add {text}: write it as name=path")
        args.paths[name] = str(Path(path).expanduser().absolute())
    args.sets += [name for name in args.paths if name not in args.sets and name != "faces"]
    return args


def configured(name: str, seed: int, args: argparse.Namespace) -> Config:
    """The recipe on a set."""
    config = find(RECIPES.get(name, "folder-ae"))
    source = args.paths.get(name, config.data.source)
    config = replace(config, data=replace(config.data, source=source), seed=seed)
    if args.images:
        halflife = config.optimizer.lr_halflife * args.images // config.total_images
        config = replace(config, total_images=args.images, optimizer=replace(config.optimizer, lr_halflife=halflife))
    return config.checked()


def folder(config: Config, name: str, args: argparse.Namespace) -> str:
    """Where a seed of a set is trained."""
    return str(args.out / f"{name}-s{config.seed}")


def scored(config: Config, path: str, args: argparse.Namespace) -> dict[str, float]:
    """Train (or go on, or find it done) and score one seed."""
    run = train(config, path, args.device, quiet=True)
    protocol, tpl = ("fast", "small") if args.quick else ("dlib", "small")
    rows = evaluate(run, MEASURED, protocol, tpl, device=args.device)
    where(run, device=args.device)
    found = {row["metric"]: float(row["value"]) for row in [*rows, latest_where(run)] if row["metric"] != "controls"}
    return found | {
        "active": next(row for row in rows if row["metric"] == "tpl")["details"]["active"],
        "in use": sum(control.in_use for control in run.control_table or []),
        "images": run.images_seen,
        "minutes": run.rows("train")[-1]["seconds"] / 60,
    }


def latest_where(run: Run) -> dict[str, object]:
    """The row that `where` wrote."""
    row = run.latest("where")
    assert row is not None
    return row


def report(table: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> str:
    """The whole table so far: each seed, then their mean."""
    heads = ["set", "seed", *(c.head for c in COLUMNS), "active", "in use", "images", "minutes"]
    lines = [
        "# Scoreboard: one recipe",
        "",
        header(command(), args.device),
        "",
        f"Protocol `{'fast' if args.quick else 'dlib'}`; TPL `small` with LPIPS-AlexNet; {args.jobs} at a time, "
        f"{args.threads} thread(s) each. where: overlap of what a control changes with the true place of its factor, "
        "or, if that is not known, with its mask. In use: controls that change the image visibly.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for name, rows in table.items():
        lines += [line(name, str(seed), [cells(row)]) for seed, row in enumerate(rows)]
        if len(rows) > 1:
            lines.append(line(f"**{name}**", "mean", [cells(row) for row in rows]))
    return "\n".join(lines) + "\n"


def cells(row: dict[str, float]) -> list[float]:
    """The numbers of one seed in the order of the table."""
    return [
        *(row.get(c.metric, float("nan")) for c in COLUMNS),
        row["active"],
        row["in use"],
        row["images"],
        row["minutes"],
    ]


def line(name: str, seed: str, rows: list[list[float]]) -> str:
    """A row of the table: a seed, or mean ± standard deviation of all."""
    digits = [*(c.digits for c in COLUMNS), 0, 0, 0, 1]
    texts = []
    for values, after in zip(zip(*rows, strict=True), digits, strict=True):
        spread = f" ± {stdev(values):.{after}f}" if len(values) > 1 and after else ""
        texts.append("–" if mean(values) != mean(values) else f"{mean(values):,.{after}f}{spread}")
    return "| " + " | ".join([name, seed, *texts]) + " |"


if __name__ == "__main__":
    main()
