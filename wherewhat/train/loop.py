"""The training loop: read this first.

The clock is images seen.  Everything random depends on the seed and that clock alone, so a training that was stopped
goes on exactly as if it never had been, and the number of processes changes nothing.
"""

import logging
import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from wherewhat.atomic import explained
from wherewhat.config import Config
from wherewhat.data import open_data
from wherewhat.data.batches import Images, batches, draw_index, identity
from wherewhat.data.upright import has_upright
from wherewhat.errors import UserError
from wherewhat.evaluation.encoding import encode_images
from wherewhat.families.family import Terms
from wherewhat.machine import keep_memory, pick_device, resolve_precision
from wherewhat.nn.controls import fit_controls
from wherewhat.run.folder import Run
from wherewhat.train.interrupts import Interrupts, interrupts
from wherewhat.train.memory import check_memory
from wherewhat.train.preview import preview
from wherewhat.train.progress import Display, display_for
from wherewhat.train.schedule import events_of
from wherewhat.train.state import State
from wherewhat.train.step import train_step

CONTROL_IMAGES = 10_000
"""images whose codes controls are fitted on"""
SMALLEST_SCALE = 1 / 32
"""of the learning rate: a training that is not finite even there is not rolled back again"""
OnNonfinite = Literal["stop", "rollback"]


def train(
    config: Config,
    path: str,
    device: str = "auto",
    processes: int = 1,
    minutes: float | None = None,
    quiet: bool = False,
    on_nonfinite: OnNonfinite = "stop",
    previews: bool = True,
) -> Run:
    """Train until config.total_images, or for some minutes of this and earlier calls together, or until interrupted
    (KeyboardInterrupt, after saving).  The same call again resumes.  Raises UserError for what a user can mend.

    previews: draw pictures, measure quick scores and fit controls now and then, and at the end.
    on_nonfinite: what is done about a loss or weight that is not finite: stop with a UserError, or roll back to the
    last checkpoint and go on from there at half the learning rate."""
    fabric = launch(config, device, processes)
    check_memory(config, fabric.device, fabric.world_size)
    data = open_first(config, fabric)
    asked, config = config, with_transforms_chosen(config, data)
    if config.generator.angles != asked.generator.angles and is_rank_zero(fabric) and not quiet:
        words = "no upright, so shift, turn and size become controls, and an image takes about four times as long"
        print(f"{data.name}: these pictures have {words}", file=sys.stderr, flush=True)
    known = nullcontext(Run(Path(path).expanduser(), config))
    with Run.create(path, config) if is_rank_zero(fabric) else known as run:
        state = restored(run, config, fabric)
        if state.images_seen < config.total_images:  # if not, what is written of it stays
            with (
                reported(run, state, data),
                display_for(run, state, quiet, minutes) as display,
                interrupts(partial(run.write_about, "stopped", reason="SIGTERM during a long step")) as interrupted,
            ):
                while not finished(run, state, data, display, interrupted, minutes, on_nonfinite, previews):
                    state = rolled_back(run, state)
                if interrupted():
                    raise KeyboardInterrupt
    fabric.barrier()  # what the first process saved is visible to all
    return run


def finished(
    run: Run,
    state: State,
    data: Images,
    display: Display,
    interrupted: Interrupts,
    minutes: float | None,
    on_nonfinite: OnNonfinite,
    previews: bool,
) -> bool:
    """Train to the end, and return True.  False: a loss was not finite, and the caller should roll back."""
    try:
        steps(run, state, data, display, interrupted, minutes, previews)
    except NonFiniteError as error:
        if on_nonfinite == "stop" or state.lr_scale <= SMALLEST_SCALE:
            raise
        if is_rank_zero(state.fabric):
            print(f"wherewhat: {error.found}", file=sys.stderr, flush=True)
        return False
    return True


def steps(
    run: Run, state: State, data: Images, display: Display, interrupted: Interrupts, minutes: float | None,
    previews: bool,
) -> None:  # fmt: skip
    """The steps that are left, and what is logged, saved and drawn after them.  Raises NonFiniteError."""
    config, fabric = state.config, state.fabric
    rows: list[Terms] = []
    saved, seconds_before, began = state.images_seen, state.seconds, time.perf_counter()
    if minutes is not None and state.seconds >= 60 * minutes:
        return
    source = batches(
        data, config.batch, config.seed, state.images_seen, fabric.global_rank, fabric.world_size, config.data.hflip
    )
    for images in source:
        rows.append(train_step(state, torch.from_numpy(images)))
        state.seconds = seconds_before + time.perf_counter() - began
        out_of_time = minutes is not None and state.seconds >= 60 * minutes
        stop = agreed(interrupted() or out_of_time, fabric)
        last = stop or state.images_seen >= config.total_images

        due = events_of(config, state.images_seen, last, previews)
        if due.log:
            log(run, state, display, rows, saved)
            rows = []
        if due.checkpoint:
            if interrupted():  # first what must not be lost, then controls, which take some seconds to fit
                checkpoint(run, state, data, interrupted, with_controls=False)
            checkpoint(run, state, data, interrupted, with_controls=due.preview)
            saved = state.images_seen
        if due.preview and is_rank_zero(fabric) and not interrupted():
            paused = time.perf_counter()
            with interrupted.nothing_to_lose(), explained(run.path):
                display.preview(preview(run, state.ema_generator, state.ema_encoder, data, state.images_seen))
            began += time.perf_counter() - paused
        if last:
            return


def log(run: Run, state: State, display: Display, rows: list[Terms], saved: int) -> None:
    """A row of train.jsonl: mean losses since the last one.  Only here are results of steps fetched from the device.
    Raises NonFiniteError if a loss is not finite, so that nothing is saved after that."""
    row = mean_row(rows, state.fabric)
    check_finite(row, run, state, saved)
    if is_rank_zero(state.fabric):
        clock = {"images_seen": state.images_seen, "seconds": round(state.seconds, 2)}
        run.log("train", {**clock, **row})
        with explained(run.path):
            display.losses(row, state.images_seen)


def checkpoint(run: Run, state: State, data: Images, interrupted: Interrupts, with_controls: bool) -> None:
    """Save weights and all that resuming needs.  Controls take some seconds to fit, so not every checkpoint has them;
    those of earlier weights would not fit these."""
    how = state.family.controls(state.config) if with_controls else None
    state.ema_encoder.controls = None
    if how is not None:
        codes = encode_images(state.ema_encoder, data, draw_index(data, CONTROL_IMAGES))
        state.ema_encoder.controls = fit_controls(codes, how, fixed=state.config.generator.transforms)
    state.ema_generator.controls = state.ema_encoder.controls
    if is_rank_zero(state.fabric):
        with interrupted.saving():
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
    if config.batch // fabric.world_size % config.accumulate:
        share = config.batch // fabric.world_size
        raise UserError(
            f"accumulate {config.accumulate} does not divide the {share} images of a process: choose a divisor"
        )
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


def restored(run: Run, config: Config, fabric: Fabric) -> State:
    """The training as its last checkpoint has it; a new one if there is none.  Raises UserError."""
    state = State(config, fabric)
    packed = run.resume_point()
    if packed is None and config.start:
        state.begin_from(Run.open(config.start))
    if packed is not None:
        try:
            state.restore(packed)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            file = run.checkpoints()[-1] / "resume.pt"
            raise UserError(
                f"{file} is of another training or damaged ({type(error).__name__}): remove the folder {file.parent}"
            ) from None
    if is_rank_zero(fabric):
        run.drop_rows_after(state.images_seen)
    return state


def rolled_back(run: Run, failed: State) -> State:
    """The last checkpoint again, with half the learning rate that failed.  The clock of seconds goes on."""
    state = restored(run, failed.config, failed.fabric)
    state.lr_scale, state.seconds = failed.lr_scale / 2, failed.seconds
    if is_rank_zero(state.fabric):
        rollback = {"from": failed.images_seen, "to": state.images_seen, "lr_scale": state.lr_scale}
        run.write_about("running", rollbacks=[*run.about.get("rollbacks", []), rollback])
        print(
            f"wherewhat: back to {state.images_seen:,} images, at {state.lr_scale:g} of the learning rate",
            file=sys.stderr,
            flush=True,
        )
    return state


def mean_row(rows: list[Terms], fabric: Fabric) -> dict[str, float]:
    """The mean of each loss over the steps that had it, and over processes."""
    names = sorted({name for row in rows for name in row})
    means = torch.stack([torch.stack([row[name].float() for row in rows if name in row]).mean() for name in names])
    return dict(zip(names, fabric.all_reduce(means, reduce_op="mean").tolist(), strict=True))  # type: ignore[union-attr]


class NonFiniteError(UserError):
    """A loss or a weight is NaN or infinite.  found: which one, and when."""

    def __init__(self, what: str, run: Run, state: State, saved: int) -> None:
        self.found = f"{what} of {run.path} is not finite any more at {state.images_seen:,} images"
        kept = f"The checkpoint at {saved:,} images is intact." if run.checkpoints() else "No checkpoint was saved yet."
        super().__init__(
            f"{self.found}. {kept} Try --on-nonfinite rollback, which goes on from there at half the learning rate; or "
            "a lower learning rate (--lr) or --precision fp32, in another folder."
        )


def check_finite(row: dict[str, float], run: Run, state: State, saved: int) -> None:
    """Raises NonFiniteError at the first loss that is not finite, or if a weight is not."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise NonFiniteError(f"the loss {bad[0]}", run, state, saved)
    for name, module in state.ema.items():
        # The averages have every weight in them.  One number is fetched from the device.
        if not bool(torch.stack([p.isfinite().all() for p in module.parameters()]).all()):
            raise NonFiniteError(f"a weight of the {name}", run, state, saved)


def agreed(stop: bool, fabric: Fabric) -> bool:
    """True in every process as soon as one of them wants to stop."""
    if fabric.world_size == 1:
        return stop
    return bool(fabric.all_reduce(torch.tensor(float(stop), device=fabric.device), reduce_op="max"))


@contextmanager
def reported(run: Run, state: State, data: Images) -> Iterator[None]:
    """about.json says what the training runs on, which images it sees, and how it ended."""
    if not is_rank_zero(state.fabric):
        yield
        return
    device = state.device
    precision = resolve_precision(state.config.precision, device.type)
    run.write_about("running", precision=precision, device=str(device), data=identity(data))
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(UserError):  # on a full disk the first error is the one to tell
            run.write_about("stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        raise
    run.write_about("done")
