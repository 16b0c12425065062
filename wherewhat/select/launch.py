"""Trials on Ray: the only file that imports it.  Ray decides where a trial runs; the run folders say what happened."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wherewhat.atomic import first_line
from wherewhat.config import Config
from wherewhat.errors import UserError
from wherewhat.run.lock import InUseError
from wherewhat.select.folder import images_saved, is_done, opened
from wherewhat.select.sweep import Trial

SECONDS = 1.0
"""from one look at the trials to the next"""
LOSSES = 3
"""of its worker: a trial that gets no further is then given up"""
SAVING = 120.0
"""seconds that trials have to save what they trained when a sweep is stopped"""
HELD = 60.0
"""seconds that a trial waits for the process that trained it before: that of a lost worker ends with it, soon"""
STORE = 2**27
"""bytes of Ray's object store on this machine, through which nothing goes but configurations"""


@dataclass(frozen=True)
class Cluster:
    """Where trials run, and what each of them gets."""

    address: str | None = None
    """of a Ray cluster, or auto: the one that this machine belongs to; None: this machine alone"""
    cpus: int = 1
    """CPU cores, and threads, of a trial"""
    gpus: float = 0.0
    """GPUs of a trial: .25 lets four share one; 0: it computes on the CPU"""


def require_ray() -> None:
    """Raises UserError if Ray is not installed."""
    if find_spec("ray") is None:
        raise UserError('sweeps need Ray, which is not installed: pip install "wherewhat[sweep]"')


@contextmanager
def connected(cluster: Cluster) -> Iterator[int]:
    """Ray runs inside `with`, which gets how many trials have room at a time now.  SIGTERM becomes KeyboardInterrupt.
    Raises UserError without Ray, without a cluster at the address, and on a machine on which no trial has room."""
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what will be so one day
    import ray

    before = signal.getsignal(signal.SIGTERM)
    own: dict[str, Any] = {} if cluster.address else {"include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(cluster.address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"no Ray cluster at {cluster.address}" if cluster.address else "Ray did not start"
        raise UserError(f"{where}: {first_line(error)}") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield _slots(cluster, ray.cluster_resources())
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


def _slots(cluster: Cluster, there: dict[str, float]) -> int:
    asked = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    slots = min(int(there.get(kind, 0) / count + 1e-6) for kind, count in asked.items() if count)
    if not slots and cluster.address is None:
        found = ", ".join(f"{there.get(kind, 0):g} {kind}" for kind in asked)
        raise UserError(
            f"a trial asks for {cluster.cpus} CPU and {cluster.gpus:g} GPU, and this machine has {found}: give less "
            "with --cpus-per-trial and --gpus-per-trial, or the --address of a cluster"
        )
    return slots


def launch(
    trials: Sequence[Trial], folder: Path, cluster: Cluster, show: Callable[[], None], **how: Any
) -> dict[str, str]:
    """Train each trial to its end, in its folder; those that are there already are not started.  A trial whose worker
    is lost starts again from its last checkpoint.  Returns why trials failed, by name.

    show: called every second.  how: minutes, previews, on_nonfinite of `train`.  Call it inside `connected`.  On
    KeyboardInterrupt every trial is saved before it is raised."""
    import ray

    remote = ray.remote(train_trial).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=0)
    device = "cuda" if cluster.gpus else "cpu"

    def submit(trial: Trial) -> Any:
        return remote.remote(trial.config, str(folder / trial.name), device, cluster.cpus, how)

    failed: dict[str, str] = {}
    lost_at: dict[str, list[int]] = {trial.name: [] for trial in trials}  # images saved, at each loss of a worker
    pending = {submit(trial): trial for trial in trials if not is_done(trial, folder)}
    try:
        while pending:
            show()
            ended, _ = ray.wait(list(pending), timeout=SECONDS)
            for task in ended:
                trial = pending.pop(task)
                why, lost = _outcome(task)
                if lost:
                    saved = images_saved(folder / trial.name)
                    lost_at[trial.name].append(saved)
                    if lost_at[trial.name].count(saved) < LOSSES:
                        pending[submit(trial)] = trial
                        continue
                    why = f"its worker was lost {LOSSES} times at {saved:,} images ({why})"
                if why:
                    failed[trial.name] = why
                elif opened(folder / trial.name) is None:
                    failed[trial.name] = f"trained, but {folder} is not a folder that all machines share"
    except KeyboardInterrupt:
        for task in pending:
            ray.cancel(task)
        if pending:
            ray.wait(list(pending), num_returns=len(pending), timeout=SAVING)
        raise
    show()
    return failed


def _outcome(task: Any) -> tuple[str, bool]:
    """Why a task that ended did not succeed, empty if it did; and whether that is because its worker was lost."""
    import ray

    try:
        return ray.get(task) or "", False
    except ray.exceptions.RayTaskError as error:
        return f"{type(error.cause).__name__}: {first_line(error.cause)}", False
    except ray.exceptions.RayError as error:
        return first_line(error), True


def train_trial(config: Config, path: str, device: str, threads: int, how: dict[str, Any]) -> str | None:
    """In a worker: train, or go on.  Returns why it failed, if a user can mend it."""
    import torch

    from wherewhat.train.loop import train

    torch.set_num_threads(threads)
    until = time.monotonic() + HELD
    while True:
        try:
            train(config, path, device, quiet=True, **how)
            return None
        except InUseError as error:
            if time.monotonic() > until:
                return str(error)
            time.sleep(SECONDS)
        except UserError as error:
            return str(error)
