"""Train a recipe with several seeds, keep one without labels, and pack it to be shipped with the package.

    python benchmarks/pretrained.py rooms-ae --seeds 3
    python benchmarks/pretrained.py faces --data ~/faces --source faces

Every run is a folder under --out; finished ones are not trained again, interrupted ones go on.  The seed with the
lowest training loss (reconstruction, divergence and whatever else the recipe adds; mean over the last tenth) is kept,
or the one chosen by looking at the traversals (--keep).
What is written: wherewhat/pretrained/NAME, with a card that shows the scores of all seeds.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from common import command, header

from wherewhat.config import difference
from wherewhat.data import open_data
from wherewhat.data.batches import Images, draw_index
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.evaluation.rank import training_loss
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.run.shipped import SHIPPED, pack
from wherewhat.train.loop import train
from wherewhat.viz.canvas import to_image

SCORES = ("factor_vae", "beta_vae", "mig", "dci", "dci_completeness", "dci_informativeness", "sap", "tpl")

EXAMPLES = 8  # images of the data that are shipped with a run


def main() -> None:
    args = options()
    runs = [trained(args, seed) for seed in range(args.first_seed, args.first_seed + args.seeds)]
    for run in runs:
        if run.latest("controls") is None:
            evaluate(run, None, args.protocol, "small", device=args.device)
    kept = min(runs, key=training_loss) if args.keep is None else runs[args.keep - args.first_seed]
    folder = pack(kept, SHIPPED / (args.name or args.recipe), args.source or kept.config.data.source)
    if args.data:
        save_examples(open_data(kept.config.data), folder)
    (folder / "README.md").write_text(card(args, runs, kept))
    print(folder)


def save_examples(data: Images, folder: Path) -> None:
    """Some images of data that few people have, into `folder`/images: the web page shows them as real images."""
    (folder / "images").mkdir(exist_ok=True)
    for number, image in enumerate(data.images(draw_index(data, EXAMPLES))):
        to_image(image.transpose(1, 2, 0)).save(folder / "images" / f"{number}.png", optimize=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--keep", type=int, default=None, help="the seed chosen by looking at the traversals")
    parser.add_argument("--data", default=None)
    parser.add_argument("--source", default=None, help="what the shipped configuration calls the data")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=None, help="of training, for each seed")
    parser.add_argument("--name", default=None, help="pretrained:NAME; the recipe's if not given")
    parser.add_argument("--out", type=Path, default=Path("runs/pretrained"))
    parser.add_argument("--protocol", default="dlib")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def trained(args: argparse.Namespace, seed: int) -> Run:
    """One seed, trained now, gone on with, or found done."""
    config = replace(find(args.recipe), seed=seed)
    if args.data:
        config = replace(config, data=replace(config.data, source=str(Path(args.data).expanduser().absolute())))
    if args.images:
        config = replace(config, total_images=args.images)
    return train(config.checked(), str(args.out / f"{args.name or args.recipe}-s{seed}"), args.device, 1, args.minutes)


def card(args: argparse.Namespace, runs: list[Run], kept: Run) -> str:
    """What it is, how it was made, how all seeds scored."""
    name, c = args.name or args.recipe, kept.config
    lines = [
        f"# pretrained:{name}",
        "",
        f"Recipe `{args.recipe}`, {kept.images_seen:,} images seen at {c.data.height}×{c.data.width}, seed {c.seed}, "
        "averaged weights in half precision.",
        "",
        header(command(), args.device),
        f"- seed {c.seed} finished training at commit {kept.about.get('commit') or 'unknown'}",
        "",
        "| seed | images | minutes | loss | " + " | ".join(SCORES) + " | active |",
        "|---" * (len(SCORES) + 5) + "|",
    ]
    for run in runs:
        found = {name: run.latest(name) for name in SCORES}
        values = [f"{row['value']:.3f}" if row else "–" for row in found.values()]
        minutes = run.rows("train")[-1]["seconds"] / 60
        tpl = found["tpl"]
        active = tpl["details"]["active"] if tpl else "–"
        seed = f"**{run.config.seed}**" if run is kept else str(run.config.seed)
        cells = [seed, f"{run.images_seen:,}", f"{minutes:.1f}", f"{training_loss(run):.1f}", *values, str(active)]
        lines.append("| " + " | ".join(cells) + " |")
    changed = [line for line in difference(find(args.recipe), c) if not line.startswith(("seed", "data.source"))]
    why = "Kept: the seed in bold, by its training loss, which sees no label." if len(runs) > 1 else "The only seed."
    if args.keep is not None:
        why = "Kept: the seed in bold, chosen by looking at the traversals of all."
    length = kept.latest("tpl")
    conditions = f", TPL `{length['options']['protocol']}`" if length else ""
    lines += ["", f"{why} Protocol `{args.protocol}`{conditions}."]
    lines += [f"Settings that differ from the recipe: {'; '.join(changed)}."] if changed else []
    lines += ["", f'```python\nrun = wherewhat.open_run("pretrained:{name}")\n```']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
