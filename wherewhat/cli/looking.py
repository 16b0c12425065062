"""Verbs that draw what a run has learnt."""

import sys
from pathlib import Path
from signal import SIGTERM, signal
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from wherewhat.cli.options import (
    NONE_GIVEN,
    Data,
    Device,
    Function,
    ModelPath,
    OutFile,
    ProgressBar,
    Text,
    TplDistance,
    at_least,
    opened,
    opened_all,
    opened_run,
    say,
)
from wherewhat.errors import UserError

if TYPE_CHECKING:
    from wherewhat.run.model import Model

Runs = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN …")]


def traverse(
    run: ModelPath, /, data: Text = None, out: OutFile = None,
    controls: Annotated[str | None, arg(metavar="NAME,…", help_behavior_hint="", aliases=["--dims"])] = None,
    steps: int = 9, reach: float = 2.0, seed: int = 0, inactive: bool = False, distance: TplDistance = "alex",
    device: Device = "auto", function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Draw what each control changes and where: a row for each, longest TPL first, with its mean mask.

    Args:
        data: where the training images are now, if they were moved; rows start from one of them
        out: a name ending in .png, .gif or .mp4; traversals.png among the run's pictures if not given
        controls: the controls shown, by number or name, with commas between; those in use if not given
        steps: images in a row
        reach: each control goes from −reach to +reach
        seed: of the image that the rows start from
        inactive: show controls that are not in use too"""
    from wherewhat.machine import pick_device
    from wherewhat.run.names import find_controls
    from wherewhat.viz.traversals import MOST_ROWS, draw_traversals

    at_least(0, seed=seed)
    where = pick_device(device)
    model = opened(run, function, data, where)
    measure(model, distance, where)
    chosen = None if controls is None else find_controls(model, controls)
    if not any(control.in_use for control in model.control_table or []):
        say(model.why_idle)
    known = [control for control in model.control_table or [] if control.in_use or inactive]
    if chosen is None and len(known) > MOST_ROWS:
        say(f"the {MOST_ROWS} of {len(known)} with the longest traversals are drawn; --controls names others")
    print(draw_traversals(model, out, chosen, steps, reach, seed, inactive, where))


def report(
    runs: Runs, /, data: Data = None, out: OutFile = None, seed: int = 0, distance: Text = None,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Write a page about a run: scores, controls in motion, masks, curves; about several: scores and spread over seeds,
    traversals side by side.  One HTML file that needs no network.

    Args:
        runs: run folders, or pretrained:NAME
        out: a name ending in .html; report.html in the run's folder if not given, comparison.html for several runs
        seed: of the images shown
        distance: of the rotation curves, and of the TPL if the run was not evaluated yet: alex, vgg, pixels, or a path
    """
    from wherewhat.machine import pick_device
    from wherewhat.viz.comparison import compare
    from wherewhat.viz.page import check_name
    from wherewhat.viz.report import report as write

    at_least(0, seed=seed)
    if not runs:
        raise UserError("name a run, or several to compare: wherewhat report runs/demo, or pretrained:rooms")
    if out:
        check_name(out)
    trained, where = [opened_run(path, data) for path in runs], pick_device(device)
    for run in trained:
        measure(run, distance or "alex", where)
    with ProgressBar(False) as progress:
        if len(trained) > 1:
            print(compare(trained, out, seed, where, progress))
        else:
            print(write(trained[0], out, seed, distance, where, progress))


def explore(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN|MODULE:FUNCTION …")], /, data: Data = None,
    host: str = "127.0.0.1",
    port: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: a free one from 7860)")] = None,
    password: Text = None,
    password_file: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
    distance: TplDistance = "alex", device: Device = "auto", function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Open a web page of controls: move them, see where they act, name them, edit photographs, compare runs.

    Args:
        runs: run folders, or pretrained:NAME; RUN@000320k is an earlier checkpoint of one; or anyone's generators,
            package.module:function
        host: 0.0.0.0 lets other machines open the page, and needs a password, which is asked for if it is not given
        port: of the page
        password: the page asks for it before it shows anything; others on this machine can see it here, and not in
            the environment variable WHEREWHAT_PASSWORD
        password_file: a file that holds the password"""
    from wherewhat.app.access import find_password
    from wherewhat.app.scene import Scene
    from wherewhat.app.server import serve
    from wherewhat.machine import pick_device

    if not runs:
        raise UserError("name a run to explore: wherewhat explore runs/demo, or pretrained:rooms")
    password = find_password(password, password_file, host)
    where = pick_device(device)
    models = opened_all(runs, function, data, where)
    for model in models:
        measure(model, distance, where)
    signal(SIGTERM, lambda *_: sys.exit(0))  # so that uploads are removed in this case too
    scenes = [Scene(model, str(path), where) for model, path in zip(models, runs, strict=True)]
    with TemporaryDirectory(prefix="wherewhat-") as uploads:
        page = serve(scenes, Path(uploads), host, port, password)
        print(f"{page.local_url}  (Ctrl-C ends it)", flush=True)
        page.block_thread()


def measure(run: "Model", distance: str, device: str, silent: bool = False) -> None:
    """Measure TPL if the run has none yet: the table of controls, and their order, come with it."""
    from wherewhat.evaluation.evaluate import evaluate as score

    if run.control_table is None:
        with ProgressBar(silent) as progress:
            score(run, ["tpl"], "fast", None, distance, device=device, progress=progress)
