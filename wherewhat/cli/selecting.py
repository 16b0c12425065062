"""Verbs that train many models.  torch and Ray are imported inside them, so that --help is fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from wherewhat.cli.options import at_least, say
from wherewhat.cli.training import RecipeInt, RecipeText, configured
from wherewhat.config import plural
from wherewhat.errors import UserError
from wherewhat.select.plan import MINUTES, SCORE, SEEDS

if TYPE_CHECKING:
    from wherewhat.select.launch import Cluster

Address = Annotated[str | None, arg(metavar="HOST:PORT|auto", help_behavior_hint="(default: this machine alone)")]
_AXIS = "a setting and its values, as in --axis autoencoder.beta=1,4,16 --axis seed=0..4; may be repeated"
Axes = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=VALUES", help=_AXIS, help_behavior_hint="")]


def sweep(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")], /, axis: Axes = (), data: RecipeText = None,
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None,
    images: RecipeInt = None, batch: RecipeInt = None, resolution: RecipeText = None,
    set: UseAppendAction[tuple[str, ...]] = (), address: Address = None, cpus_per_trial: int = 1,
    gpus_per_trial: float = 0.0, quiet: bool = False,
) -> None:  # fmt: skip
    """Train a recipe for every combination of settings, on one machine or many; the same command again resumes it.

    Args:
        recipe: name of the recipe
        data: a world (rooms, sprites), a folder or zip of images, dSprites' npz, 3D Shapes' h5
        out: the folder of the sweep, in which each trial has a run folder; runs/RECIPE-sweep if not given
        images: how many images each trial sees in total
        batch: images of an optimizer step
        resolution: as of train
        set: any other setting, for all trials, as in --set autoencoder.beta=3; may be repeated
        address: of a Ray cluster; auto: the one that this machine belongs to
        cpus_per_trial: CPU cores, and threads, of a trial
        gpus_per_trial: GPUs of a trial: 0.25 lets four share one; 0 computes on the CPU
        quiet: do not show progress"""
    from wherewhat.run.lock import locked
    from wherewhat.select.folder import check_folders, settled
    from wherewhat.select.launch import connected, launch
    from wherewhat.select.progress import Board, Display
    from wherewhat.select.sweep import grid

    cluster = cluster_of(address, cpus_per_trial, gpus_per_trial)
    base = configured(recipe, data, resolution, quiet, set, total_images=images, batch=batch)
    folder = (out or Path("runs") / f"{recipe}-sweep").expanduser().absolute()
    trials = settled(grid(base, axis))
    check_folders(trials, folder)
    with locked(folder), connected(cluster) as slots:
        if not quiet:
            say(f"{plural(len(trials), 'trial')} in {relative(folder)}, {slots} at a time")
        with Display(Board(f"sweep of {recipe}", trials, folder), quiet) as display:
            failed = launch(trials, folder, cluster, display.show)
    if failed:
        reasons = "\n".join(f"  {name}: {why}" for name, why in failed.items())
        raise UserError(f"{len(failed)} of {plural(len(trials), 'trial')} failed\n{reasons}")
    if not quiet:
        print(f"{plural(len(trials), 'trial')} done. Next: wherewhat rank {relative(folder)}/*")


def choose(
    folder: Annotated[Positional[str], arg(metavar="FOLDER")], /, minutes: float = MINUTES, seeds: int = SEEDS,
    by: str = SCORE, axis: Axes = (),
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None, recipe: str = "folder-ae",
    resolution: RecipeText = None, set: UseAppendAction[tuple[str, ...]] = (), distance: str = "alex",
    address: Address = None, cpus_per_trial: int = 1, gpus_per_trial: float = 0.0, quiet: bool = False,
) -> None:  # fmt: skip
    """Train several seeds on your pictures in a budget of minutes and keep one; the same command again resumes it.

    No labels are needed: a score without labels decides which half goes on at a quarter and at half of the images, and
    which one is kept.  How many images that is follows from the minutes and from how fast this machine is.

    Args:
        folder: pictures: a folder or zip of images, or a world (rooms, sprites)
        minutes: all of it takes about so long
        seeds: how many trainings begin
        by: what decides, as in `wherewhat rank`
        out: the folder of the choice; runs/NAME of the pictures if not given
        recipe: name of the recipe
        resolution: as of train
        set: any other setting, for all trials, as in --set autoencoder.beta=3; may be repeated
        distance: of the TPL, if it decides: alex, vgg, pixels, or a path
        address: of a Ray cluster; auto: the one that this machine belongs to
        cpus_per_trial: CPU cores, and threads, of a trial
        gpus_per_trial: GPUs of a trial: 0.25 lets four share one; 0 computes on the CPU
        quiet: do not show progress"""
    at_least(2, seeds=seeds)
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: give more than 0")
    cluster = cluster_of(address, cpus_per_trial, gpus_per_trial)
    from wherewhat.select.choose import choose as train_and_choose
    from wherewhat.select.page import write_page
    from wherewhat.select.sweep import grid

    base = configured(recipe, folder, resolution, quiet, set)
    place = (out or Path("runs") / Path(folder).resolve().stem).expanduser().absolute()
    trials = grid(base, [*axis, f"seed=0..{seeds - 1}"])
    choice = train_and_choose(trials, place, cluster, minutes, by, distance, quiet)
    page = write_page(choice, place)
    kept = relative(place / choice.kept)
    print(f"kept: {kept}, after {choice.seconds / 60:.1f} minutes\nall of it on one page: {page}")
    print(f"Next: wherewhat explore {kept}")


def relative(path: Path) -> Path:
    """A path from the current folder, if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def cluster_of(address: str | None, cpus: int, gpus: float) -> "Cluster":
    """What a trial gets, and where.  Raises UserError without Ray, for less than one core, or for a GPU and a half."""
    from wherewhat.select.launch import Cluster, require_ray

    require_ray()
    if cpus < 1:
        raise UserError(f"--cpus-per-trial {cpus}: give 1 or more")
    if not 0 <= gpus <= 1:
        raise UserError(f"--gpus-per-trial {gpus:g}: a trial trains on one GPU or a share of it: give 0 to 1")
    return Cluster(address, cpus, gpus)
