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
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from wherewhat.config import Config
from wherewhat.data import open_data
from wherewhat.data.batches import Images, batches, draw_index
from wherewhat.errors import UserError
from wherewhat.evaluate import read
from wherewhat.machine import keep_memory, pick_device
from wherewhat.nn.controls import find_controls
from wherewhat.runs import Run
from wherewhat.train.glance import glance
from wherewhat.train.progress import Progress, tensorboard
from wherewhat.train.state import State
from wherewhat.train.step import resolve_precision, step

CONTROL_IMAGES = 10_000
"""images read to find the controls"""


def train(
    config: Config,
    path: str,
    device: str = "auto",
    processes: int = 1,
    minutes: float | None = None,
    quiet: bool = False,
) -> Run:
    """Train until config.images, or for some minutes of this and earlier sittings together, or until interrupted
    (KeyboardInterrupt, after saving).  The same call again goes on.  Raises UserError for what a user can mend."""
    fabric = launch(config, device, processes)
    data = open_first(config, fabric)
    run = Run.create(path, config) if fabric.is_global_zero else Run(Path(path).expanduser(), config)
    state = State(config, fabric)
    restore(run, state)
    if state.images >= config.images:
        return run  # done before: what is written of it stays
    chief = fabric.is_global_zero
    progress: Any = Progress(config, state.images) if chief and not quiet else nullcontext(_Silent())
    with progress as show, interrupts() as stopping, reported(run, chief), tensorboard(run, chief) as board:
        if chief:
            run.write_about("running", precision=resolve_precision(config, state.device), device=str(state.device))
        c, share = config, (state.fabric.global_rank, state.fabric.world_size)
        source = batches(data, c.batch, c.seed, state.images, *share, mirror=c.data.mirror)
        saved, rows, began = state.images, [], time.perf_counter() - state.seconds
        over = minutes is not None and state.seconds >= 60 * minutes
        while state.images < c.images and not over:
            rows.append(step(state, torch.from_numpy(next(source))))
            state.seconds = time.perf_counter() - began
            over = agreed(stopping() or (minutes is not None and state.seconds >= 60 * minutes), fabric)
            last = over or state.images >= c.images
            if due(state, c.every.report) or due(state, c.every.save) or last:  # nothing is saved unchecked
                row = mean_row(rows, fabric)
                rows = []
                check_finite(row, run, saved)
                if chief:
                    run.log("train", {"images": state.images, "seconds": round(state.seconds, 2), **row})
                    board.scalars(row, state.images)
                    show.update(state.images, row)
            if due(state, c.every.pictures) or last:
                find_out(state, data)
            elif due(state, c.every.save):
                forget(state)
            if due(state, c.every.save) or last:
                if chief:
                    run.save(state.images, state.averaged_generator, state.averaged_recogniser, state.pack())
                saved = state.images
            if (due(state, c.every.pictures) or last) and chief and not stopping():
                paused = time.perf_counter()
                seen = glance(run, state.averaged_generator, state.averaged_recogniser, data, state.images)
                board.pictures(seen.pictures, state.images)
                board.scalars(seen.scores, state.images)
                show.update(state.images, seen.scores)
                began += time.perf_counter() - paused
        if stopping():
            raise KeyboardInterrupt
    fabric.barrier()  # what the first process saved is there for all
    return run


def find_out(state: State, data: Images) -> None:
    """Give the averaged networks the controls that their latents ask for."""
    c = state.config.autoencoder
    if c is None:
        return
    forget(state)
    codes = read(state.averaged_recogniser, data, draw_index(data, CONTROL_IMAGES))
    state.averaged_recogniser.controls = state.averaged_generator.controls = find_controls(codes, c.controls)


def forget(state: State) -> None:
    """Controls of older weights are none of these."""
    state.averaged_recogniser.controls = state.averaged_generator.controls = None


def launch(config: Config, device: str, processes: int) -> Fabric:
    """Fabric for this device.  Raises UserError if the device is not there or the batch cannot be shared."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    kind = pick_device(device)
    if kind == "cpu":
        keep_memory()
    precision: Any = {"fp32": "32-true", "bf16": "bf16-mixed"}[resolve_precision(config, torch.device(kind))]
    strategy = "auto" if processes == 1 and not torch.distributed.is_torchelastic_launched() else "ddp"
    fabric = Fabric(accelerator=kind, devices=processes, strategy=strategy, precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric.launch()
    if config.batch % fabric.world_size:
        raise UserError(f"batch {config.batch} cannot be shared by {fabric.world_size} processes: choose a multiple")
    return fabric


def open_first(config: Config, fabric: Fabric) -> Images:
    """The images; where files must be prepared, the first process of each machine does it for the others."""
    with fabric.rank_zero_first(local=True):
        return open_data(config.data)


def restore(run: Run, state: State) -> None:
    """Go on from the last checkpoint, if there is one."""
    point = run.resume_point()
    if point is None:
        return
    try:
        state.restore(point)
    except (KeyError, RuntimeError, ValueError) as error:
        folder = run.checkpoints()[-1]
        raise UserError(
            f"{folder}/resume.pt is of another training ({type(error).__name__}): remove that folder"
        ) from None
    if state.fabric.is_global_zero:
        run.forget_after(state.images)


def due(state: State, every: int) -> bool:
    """True once every so many images, whatever the batch."""
    return state.images // every != (state.images - state.config.batch) // every


def mean_row(rows: list[dict[str, Any]], fabric: Fabric) -> dict[str, float]:
    """The mean of each loss over the steps that had it, and over processes; the only time a step's result is read."""
    names = sorted({name for row in rows for name in row})
    means = torch.stack([torch.stack([row[name].float() for row in rows if name in row]).mean() for name in names])
    return dict(zip(names, fabric.all_reduce(means, reduce_op="mean").tolist(), strict=True))  # type: ignore[union-attr]


def check_finite(row: dict[str, float], run: Run, saved: int) -> None:
    """Raises UserError at the first loss that is no number any more; nothing is saved after it."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        kept = f"The checkpoint at {saved:,} images is intact." if run.checkpoints() else "No checkpoint was saved yet."
        raise UserError(
            f"the loss {bad[0]} of {run.path} is not finite any more. {kept} "
            "Try a lower learning rate (--rate) or --precision fp32, in another folder."
        )


def agreed(over: bool, fabric: Fabric) -> bool:
    """True in every process as soon as one of them wants to stop."""
    if fabric.world_size == 1:
        return over
    return bool(fabric.all_reduce(torch.tensor(float(over), device=fabric.device), reduce_op="max"))


@contextmanager
def interrupts() -> Iterator[Any]:
    """Ctrl-C and SIGTERM are asked about between steps (the yielded function), so that none is torn; the second Ctrl-C
    ends at once."""
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever called handles signals
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reported(run: Run, chief: bool) -> Iterator[None]:
    """about.json says how it ended."""
    try:
        yield
    except BaseException as error:
        if chief:
            stopped = isinstance(error, KeyboardInterrupt)
            run.write_about("stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        raise
    if chief:
        run.write_about("done")


class _Silent:
    def update(self, images: int, row: dict[str, float]) -> None: ...
