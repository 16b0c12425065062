"""The folder of a sweep: a run folder for each trial, under its name, from which all is read that is known of it."""

from collections.abc import Sequence
from pathlib import Path

from wherewhat.config import DataConfig
from wherewhat.run.folder import Run, require_same_settings
from wherewhat.select.sweep import Trial


def settled(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, with what is decided from the pictures decided once for all.  Raises UserError for images that cannot
    be opened, before anything is trained."""
    from wherewhat.data import open_data
    from wherewhat.data.batches import Images
    from wherewhat.train.loop import with_transforms_chosen

    opened: dict[DataConfig, Images] = {}
    for _, config in trials:
        if config.data not in opened:
            opened[config.data] = open_data(config.data)
    return [trial._replace(config=with_transforms_chosen(trial.config, opened[trial.config.data])) for trial in trials]


def check_folders(trials: Sequence[Trial], folder: Path) -> None:
    """Raises UserError if the folder of a trial holds a training with other settings."""
    for name, config in trials:
        if run := opened(folder / name):
            require_same_settings(run.path, run.config, config)


def opened(path: Path) -> Run | None:
    """The run of this folder; None if none was begun."""
    return Run.open(path) if (path / "config.json").exists() else None


def images_saved(path: Path) -> int:
    """Images seen at the last checkpoint; 0 without one."""
    run = opened(path)
    return run.images_seen if run and run.checkpoints() else 0


def is_done(trial: Trial, folder: Path) -> bool:
    """Whether it was trained to the end."""
    return images_saved(folder / trial.name) >= trial.config.total_images
