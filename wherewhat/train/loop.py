"""The training loop: read this first.

The clock is images seen.  Everything random depends on the seed and that clock alone, so a training that was stopped
goes on exactly as if it never had been, and the number of processes changes nothing.
"""

import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from wherewhat.config import Config
from wherewhat.data import open_data
from wherewhat.data.batches import Images, batches, draw_index
from wherewhat.data.upright import has_upright
from wherewhat.errors import UserError
from wherewhat.evaluation.encoding import encode_images
from wherewhat.families.family import Terms
from wherewhat.machine import keep_memory, pick_device, resolve_precision
from wherewhat.nn.controls import fit_controls
from wherewhat.run.folder import Run
from wherewhat.train.preview import preview
from wherewhat.train.progress import Display, display_for
from wherewhat.train.schedule import events_of
from wherewhat.train.state import State
from wherewhat.train.step import train_step

CONTROL_IMAGES = 10_000
"""images whose codes controls are fitted on"""


def train(
    config: Config,
    path: str,
    device: str = "auto",
    processes: int = 1,
    minutes: float | None = None,
    quiet: bool = False,
) -> Run:
    """Train until config.total_images, or for some minutes of this and earlier calls together, or until interrupted
    (KeyboardInterrupt, after saving).  The same call again resumes.  Raises UserError for what a user can mend."""
    fabric = launch(config, device, processes)
    data = open_first(config, fabric)
    config = with_transforms_chosen(config, data)
    run = Run.create(path, config) if is_rank_zero(fabric) else Run(Path(path).expanduser(), config)
    state = State(config, fabric)
    restore(run, state)
    if state.images_seen >= config.total_images:
        return run  # already done: what is written of it stays

    with display_for(run, state, quiet) as display, interrupts() as interrupted, reported(run, state):
        rows: list[Terms] = []
        saved, seconds_before, began = state.images_seen, state.seconds, time.perf_counter()
        out_of_time = minutes is not None and state.seconds >= 60 * minutes
        source = batches(
            data, config.batch, config.seed, state.images_seen, fabric.global_rank, fabric.world_size, config.data.hflip
        )
        for images in source:
            if out_of_time:
                break
            rows.append(train_step(state, torch.from_numpy(images)))
            state.seconds = seconds_before + time.perf_counter() - began
            out_of_time = minutes is not None and state.seconds >= 60 * minutes
            stop = agreed(interrupted() or out_of_time, fabric)
            last = stop or state.images_seen >= config.total_images

            due = events_of(config, state.images_seen, last)
            if due.log:
                log(run, state, display, rows, saved)
                rows = []
            if due.checkpoint:
                checkpoint(run, state, data, with_controls=due.preview)
                saved = state.images_seen
            if due.preview and is_rank_zero(fabric) and not interrupted():
                paused = time.perf_counter()
                display.preview(preview(run, state.ema_generator, state.ema_encoder, data, state.images_seen))
                began += time.perf_counter() - paused
            if last:
                break
        if interrupted():
            raise KeyboardInterrupt
    fabric.barrier()  # what the first process saved is visible to all
    return run


def log(run: Run, state: State, display: Display, rows: list[Terms], saved: int) -> None:
    """A row of train.jsonl: mean losses since the last one.  Only here are results of steps fetched from the device.
    Raises UserError if a loss is not finite, so that nothing is saved after that."""
    row = mean_row(rows, state.fabric)
    check_finite(row, run, saved)
    if is_rank_zero(state.fabric):
        clock = {"images_seen": state.images_seen, "seconds": round(state.seconds, 2)}
        run.log("train", {**clock, **row})
        display.losses(row, state.images_seen)


def checkpoint(run: Run, state: State, data: Images, with_controls: bool) -> None:
    """Save weights and all that resuming needs.  Controls take some seconds to fit, so not every checkpoint has them;
    those of earlier weights would not fit these."""
    how = state.family.controls(state.config) if with_controls else None
    state.ema_encoder.controls = None
    if how is not None:
        codes = encode_images(state.ema_encoder, data, draw_index(data, CONTROL_IMAGES))
        state.ema_encoder.controls = fit_controls(codes, how, fixed=state.config.generator.transforms)
    state.ema_generator.controls = state.ema_encoder.controls
    if is_rank_zero(state.fabric):
        run.save(state.images_seen, state.ema_generator, state.ema_encoder, state.pack())


def launch(config: Config, device: str, processes: int) -> Fabric:
    """Fabric for this device.  Raises UserError if the device is not there or the batch cannot be shared."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    kind = pick_device(device)
    if kind == "cpu":
        keep_memory()
    precision: Any = {"fp32": "32-true", "bf16": "bf16-mixed"}[resolve_precision(config.precision, kind)]
    strategy = "auto" if processes == 1 and not torch.distributed.is_torchelastic_launched() else "ddp"
    fabric = Fabric(accelerator=kind, devices=processes, strategy=strategy, precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric.launch()
    if config.batch % fabric.world_size:
        raise UserError(f"batch {config.batch} cannot be shared by {fabric.world_size} processes: choose a multiple")
    return fabric


def is_rank_zero(fabric: Fabric) -> bool:
    """Whether this process is the one that writes."""
    return fabric.is_global_zero


def open_first(config: Config, fabric: Fabric) -> Images:
    """The images; where files must be prepared, the first process of each machine does it for the others."""
    with fabric.rank_zero_first(local=True):
        return open_data(config.data)


def with_transforms_chosen(config: Config, data: Images) -> Config:
    """The configuration with `auto` replaced: pictures without an upright get a turn that goes all the way round."""
    stages = config.generator.stages
    if all(stage.transform != "auto" for stage in stages):
        return config
    chosen: Literal["none", "circle"] = "none" if has_upright(data) else "circle"
    settled = tuple(replace(s, transform=chosen) if s.transform == "auto" else s for s in stages)
    return replace(config, generator=replace(config.generator, stages=settled))


def restore(run: Run, state: State) -> None:
    """Resume from the last checkpoint, if there is one."""
    packed = run.resume_point()
    if packed is None:
        return
    try:
        state.restore(packed)
    except (KeyError, RuntimeError, ValueError) as error:
        folder = run.checkpoints()[-1]
        raise UserError(
            f"{folder}/resume.pt is of another training ({type(error).__name__}): remove that folder"
        ) from None
    if is_rank_zero(state.fabric):
        run.drop_rows_after(state.images_seen)


def mean_row(rows: list[Terms], fabric: Fabric) -> dict[str, float]:
    """The mean of each loss over the steps that had it, and over processes."""
    names = sorted({name for row in rows for name in row})
    means = torch.stack([torch.stack([row[name].float() for row in rows if name in row]).mean() for name in names])
    return dict(zip(names, fabric.all_reduce(means, reduce_op="mean").tolist(), strict=True))  # type: ignore[union-attr]


def check_finite(row: dict[str, float], run: Run, saved: int) -> None:
    """Raises UserError at the first loss that is not finite."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        kept = f"The checkpoint at {saved:,} images is intact." if run.checkpoints() else "No checkpoint was saved yet."
        raise UserError(
            f"the loss {bad[0]} of {run.path} is not finite any more. {kept} "
            "Try a lower learning rate (--lr) or --precision fp32, in another folder."
        )


def agreed(stop: bool, fabric: Fabric) -> bool:
    """True in every process as soon as one of them wants to stop."""
    if fabric.world_size == 1:
        return stop
    return bool(fabric.all_reduce(torch.tensor(float(stop), device=fabric.device), reduce_op="max"))


@contextmanager
def interrupts() -> Iterator[Any]:
    """Whether Ctrl-C or SIGTERM was received (the yielded function): the loop asks between steps, so that a step is
    finished and saved first.  A second Ctrl-C ends at once."""
    received: list[int] = []

    def receive(number: int, _frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller handles signals
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reported(run: Run, state: State) -> Iterator[None]:
    """about.json says what the training runs on, and how it ended."""
    if not is_rank_zero(state.fabric):
        yield
        return
    device = state.device
    run.write_about("running", precision=resolve_precision(state.config.precision, device.type), device=str(device))
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        run.write_about("stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        raise
    run.write_about("done")
