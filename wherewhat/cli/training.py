"""Verbs that train.  torch is imported inside them, so that --help is fast."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, UseAppendAction, arg

from wherewhat.cli.options import Device, ProgressBar, at_least, given, say, sides, source_of
from wherewhat.cli.tables import draw_factor_maps, show_controls, show_scores

if TYPE_CHECKING:
    from wherewhat.config import Config
    from wherewhat.run.folder import Run

_RECIPE = "(default: the recipe's)"
RecipeText = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint=_RECIPE)]
RecipeInt = Annotated[int | None, arg(metavar="INT", help_behavior_hint=_RECIPE)]
_Precision = Literal["auto", "fp32", "bf16"] | None
RecipePrecision = Annotated[_Precision, arg(metavar="{auto,fp32,bf16}", help_behavior_hint=_RECIPE)]


def train(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")], /, data: RecipeText = None,
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None,
    images: RecipeInt = None, batch: RecipeInt = None, resolution: RecipeText = None,
    channels: Annotated[Literal[1, 3, 4] | None, arg(metavar="{1,3,4}", help_behavior_hint=_RECIPE)] = None,
    fit: Annotated[Literal["crop", "pad"] | None, arg(metavar="{crop,pad}", help_behavior_hint=_RECIPE)] = None,
    lr: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint=_RECIPE, aliases=["--rate"])] = None,
    seed: RecipeInt = None, device: Device = "auto", processes: int = 1, precision: RecipePrecision = None,
    start: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None,
    minutes: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: no limit)")] = None,
    set: UseAppendAction[tuple[str, ...]] = (), quiet: bool = False,
    on_nonfinite: Literal["stop", "rollback"] = "stop", dry_run: bool = False,
) -> None:  # fmt: skip
    """Train a recipe; the same command again resumes it.  `wherewhat recipes` lists the recipes.

    Args:
        recipe: name of the recipe
        data: a world (rooms, sprites), a folder or zip of images, dSprites' npz, 3D Shapes' h5
        out: the run's folder; runs/RECIPE-sSEED if not given
        images: how many images the training sees in total
        batch: images of an optimizer step, over all processes
        resolution: 64, or height x width as in 128x96: a side of 1 to 7 doubled a number of times; if not given, the
            recipe's, in the shape of the pictures of a folder
        channels: 1 grey, 3 colour, 4 colour and transparency
        fit: crop images to the aspect ratio, or pad them
        lr: learning rate
        seed: of all random numbers
        processes: processes on this machine, one for each GPU (under torchrun: on all machines)
        precision: auto is bf16 where the processor multiplies it natively
        start: begin with the networks of this run, as in pretrained:faces; an adversary then begins at once
        minutes: stop after this time, earlier calls of the same command included
        set: any other setting, as in --set autoencoder.beta=3; may be repeated
        quiet: do not show progress
        on_nonfinite: at a loss that is not finite, stop; or roll back to the last checkpoint at half the rate
        dry_run: take 20 steps on noise, say what the training would need, and write nothing"""
    at_least(0, seed=seed)
    at_least(1, processes=processes)
    config = configured(
        recipe, data, resolution, quiet, set, channels=channels, fit=fit, lr=lr, start=start, total_images=images,
        batch=batch, seed=seed, precision=precision,
    )  # fmt: skip
    if dry_run:
        _rehearse(config, recipe, device, processes)
        return
    config = config.checked(f"recipe {recipe}")
    run = _train(config, out, device, processes, minutes, quiet, on_nonfinite)
    from lightning_fabric.utilities import rank_zero_only

    if not quiet and not getattr(rank_zero_only, "rank", 0):  # only one process prints
        print(f"{run.word}: {run.images_seen:,} images seen. Next: wherewhat evaluate {run.word}")


def _rehearse(config: "Config", recipe: str, device: str, processes: int) -> None:
    """Print what a training needs, measured."""
    from wherewhat.config import plural
    from wherewhat.recipes import find
    from wherewhat.train.loop import launch
    from wherewhat.train.rehearsal import rehearse

    if not config.data.source:
        config = replace(config, data=replace(config.data, source="noise"))
    config = config.checked(f"recipe {recipe}")
    fabric = launch(config, device, processes)
    with ProgressBar(False) as progress:
        found = rehearse(config, fabric, progress)
    if fabric.global_rank:
        return
    table = Table(show_header=False, box=None)
    for name, count in found.parameters.items():
        table.add_row(f"parameters, {name}", f"{count:,}")
    table.add_row("memory", "not known" if found.memory is None else f"{found.memory / 1e9:,.2f} GB")
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    how = f"{plural(found.steps, 'step')}, batch {config.batch}{parts}, {found.precision}, {fabric.device}"
    table.add_row("images/s", f"{found.images_per_second:,.1f}  ({how})")
    table.add_row("training", f"{found.hours(config.total_images):,.1f} hours for {config.total_images:,} images")
    if find(recipe).total_images != config.total_images:
        total = find(recipe).total_images
        table.add_row("", f"{found.hours(total):,.1f} hours for the recipe's {total:,}")
    Console().print(table)


def configured(
    recipe: str, data: str | None, resolution: str | None, quiet: bool, settings: Sequence[str],
    channels: int | None = None, fit: str | None = None, lr: float | None = None, start: str | None = None,
    **more: Any,
) -> "Config":  # fmt: skip
    """A recipe with what flags of `train` change of it, unchecked; None changes nothing.  Raises UserError."""
    from wherewhat.config import with_settings
    from wherewhat.recipes import at_resolution, find

    config = find(recipe)
    shape: dict[str, Any] = given({"channels": channels, "fit": fit, "source": data and source_of(data)})
    config = replace(config, data=replace(config.data, **shape))
    if resolution:
        config = at_resolution(config, *sides(resolution))
    elif data and fit is None:
        config = _shaped(config, quiet)
    config = replace(config, **given(more))
    if lr is not None:
        config = replace(config, optimizer=replace(config.optimizer, lr=lr))
    if start is not None:
        config = replace(config, start=source_of(start))
        if config.gan and config.autoencoder:
            config = replace(config, gan=replace(config.gan, start_images=0))
    return with_settings(config, settings)


def _shaped(config: "Config", quiet: bool) -> "Config":
    """A recipe of squares in the shape that the pictures of a folder or a .zip have."""
    from wherewhat.data.folder import usual_ratio
    from wherewhat.data.synthetic import WORLDS
    from wherewhat.recipes import at_resolution, size_for

    side, source = config.data.height, config.data.source
    if config.data.width != side or source in WORLDS or not Path(source).expanduser().exists():
        return config
    ratio = usual_ratio(Path(source))
    size = (side, side) if ratio is None else size_for(config, ratio)
    if size == (side, side):
        return config
    if not quiet:
        say(
            f"{source}: pictures are {ratio:.2f} times as high as wide, so images are {size[0]}x{size[1]}; "
            f"--resolution {side} crops them to squares"
        )
    return at_resolution(config, *size)


def _train(
    config: "Config", out: Path | None, device: str, processes: int, minutes: float | None, quiet: bool,
    on_nonfinite: Literal["stop", "rollback"] = "stop",
) -> "Run":  # fmt: skip
    from wherewhat.train.loop import train as train_loop

    path = out or Path("runs") / f"{config.recipe}-s{config.seed}"
    return train_loop(config, str(path), device, processes, minutes, quiet, on_nonfinite)


DEMO_METRICS = ["factor_vae", "beta_vae", "mig", "dci", "sap", "tpl"]  # those that most papers report


def demo(
    out: Path = Path("runs/demo"), minutes: float = 10.0, images: int | None = None, device: Device = "cpu",
    seed: int = 0,
) -> None:  # fmt: skip
    """Train `demo` on the world `rooms`, score it, draw its controls, report.  The same command again resumes it.

    Args:
        out: the run's folder
        minutes: train for at most this time, earlier calls of the same command included
        images: train on at most this many images
        seed: of all random numbers"""
    from wherewhat.evaluation import evaluate as scores
    from wherewhat.machine import pick_device
    from wherewhat.recipes import find
    from wherewhat.viz.report import report
    from wherewhat.viz.traversals import draw_traversals

    at_least(0, seed=seed)
    config = replace(find("demo"), seed=seed, **given({"total_images": images}))
    say(f"1/3  training demo on {config.data.source}: at most {config.total_images:,} images or {minutes:g} minutes")
    run = _train(config.checked(), out, device, 1, minutes, quiet=False)
    say(f"2/3  scoring {run.path} ({run.images_seen:,} images seen)")
    where = pick_device(device)
    with ProgressBar(False) as progress:
        rows = scores.evaluate(run, DEMO_METRICS, "dlib", "small", device=where, progress=progress)
    say("3/3  drawing")
    paths = [draw_traversals(run, run.picture(f"traversals{kind}"), device=where) for kind in (".png", ".gif")]
    show_controls(run)
    show_scores(rows)
    paths += draw_factor_maps(run, rows)
    print("Pictures")
    for path in paths + sorted((run.path / "pictures").glob(f"{run.images_seen // 1000:06d}k-*.png")):
        print(f"  {path}")
    with ProgressBar(False) as progress:
        page = report(run, device=where, progress=progress)
    print(f"All of it on one page\n  {page}")


def recipes() -> None:
    """List the recipes, a line each."""
    from wherewhat.recipes import ABLATED_NAMES, ABLATIONS, RECIPES, WHOLE_NAMES

    table = Table("recipe", "what it is", "images", "size", "latents", box=None)
    for name in WHOLE_NAMES:
        config, what = RECIPES[name]
        size = f"{config.data.height}×{config.data.width}"
        table.add_row(name, what, f"{config.total_images:,}", size, str(config.generator.latents))
    console = Console()
    console.print(table)
    console.print(f"\nAblations of {', '.join(ABLATED_NAMES)}, as in {ABLATED_NAMES[0]}-ps:")
    for suffix, change in ABLATIONS.items():
        console.print(f"  -{suffix:<5} {change.__doc__}")
