"""Verbs that train many models.  torch and Ray are imported inside them, so that --help is fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from wherewhat.cli.options import say
from wherewhat.cli.training import RecipeInt, RecipeText, configured
from wherewhat.config import plural
from wherewhat.errors import UserError

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
            say(f"{plural(len(trials), 'trial')} in {folder}, {slots} at a time")
        with Display(Board(f"sweep of {recipe}", trials, folder), quiet) as display:
            failed = launch(trials, folder, cluster, display.show)
    if failed:
        reasons = "\n".join(f"  {name}: {why}" for name, why in failed.items())
        raise UserError(f"{len(failed)} of {plural(len(trials), 'trial')} failed\n{reasons}")
    if not quiet:
        print(f"{plural(len(trials), 'trial')} done. Next: wherewhat rank {folder}/*")


def cluster_of(address: str | None, cpus: int, gpus: float) -> "Cluster":
    """What a trial gets, and where.  Raises UserError without Ray, for less than one core, or for a GPU and a half."""
    from wherewhat.select.launch import Cluster, require_ray

    require_ray()
    if cpus < 1:
        raise UserError(f"--cpus-per-trial {cpus}: give 1 or more")
    if not 0 <= gpus <= 1:
        raise UserError(f"--gpus-per-trial {gpus:g}: a trial trains on one GPU or a share of it: give 0 to 1")
    return Cluster(address, cpus, gpus)
