"""Verbs that draw what a run has learnt."""

import sys
from pathlib import Path
from signal import SIGTERM, signal
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from wherewhat.cli.options import Device, OutFile, RunPath, Text, Told, at_least, numbers, opened_run
from wherewhat.errors import UserError

if TYPE_CHECKING:
    from wherewhat.runs import Run


def traverse(
    run: RunPath,
    /,
    data: Text = None,
    out: OutFile = None,
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
    from wherewhat.machine import pick_device

    at_least(0, seed=seed)
    opened, where = opened_run(run, data), pick_device(device)
    measure(opened, distance, where)
    chosen = None if dims is None else numbers(dims, opened.config.generator.codes)
    print(draw_traversals(opened, out, chosen, steps, reach, seed, inactive, where))


def report(
    run: RunPath,
    /,
    data: Text = None,
    out: OutFile = None,
    seed: int = 0,
    distance: Text = None,
    device: Device = "auto",
) -> None:
    """Write a page about a run: scores, dimensions that move, masks, curves.  One HTML file that needs no network.

    Args:
        run: the run's folder, or one that comes with the package, as in pretrained:rooms
        data: where the images are, if not where they were
        out: a name ending in .html; report.html in the run's folder if not given
        seed: of the images shown
        distance: of the rotation curves, and of the TPL if the run was not evaluated yet: alex, vgg, pixels, or a path
        device: where to compute
    """
    from wherewhat.explore.report import report as write
    from wherewhat.machine import pick_device

    at_least(0, seed=seed)
    opened, where = opened_run(run, data), pick_device(device)
    measure(opened, distance or "alex", where)
    with Told(False) as told:
        path = write(opened, out, seed, distance, where, told)
    print(path)


def explore(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN …")],
    /,
    data: Text = None,
    host: str = "127.0.0.1",
    port: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: a free one from 7860)")] = None,
    password: Text = None,
    distance: str = "alex",
    device: Device = "auto",
) -> None:
    """Open a web page of sliders: move them, see where they act, name them, edit photographs, compare runs.

    Args:
        runs: run folders, or pretrained:NAME; RUN@000320k is an earlier checkpoint of one
        data: where the training images are, if not where they were
        host: 0.0.0.0 lets other machines open the page, and needs a password
        port: where the page listens
        password: asked for before anything is shown
        distance: for the TPL, if a run was not evaluated yet: alex, vgg, pixels, or a path
        device: where to compute
    """
    from wherewhat.explore.app import serve
    from wherewhat.explore.scene import Scene
    from wherewhat.machine import pick_device

    if not runs:
        raise UserError("name a run to explore: wherewhat explore runs/demo, or pretrained:rooms")
    where = pick_device(device)
    opened = [opened_run(path, data) for path in runs]
    for run in opened:
        measure(run, distance, where)
    signal(SIGTERM, lambda *_: sys.exit(0))  # so that uploads are removed then too
    scenes = [Scene(run, str(path), where) for run, path in zip(opened, runs, strict=True)]
    with TemporaryDirectory(prefix="wherewhat-") as uploads:
        page = serve(scenes, Path(uploads), host, port, password)
        print(f"{page.local_url}  (Ctrl-C ends it)", flush=True)
        page.block_thread()


def measure(run: "Run", distance: str, device: str) -> None:
    """TPL, if the run has none yet: which dimensions are active, and in what order."""
    from wherewhat.evaluate import evaluate as score

    if run.dimensions is None:
        with Told(False) as told:
            score(run, ["tpl"], "fast", None, distance, device=device, told=told)
