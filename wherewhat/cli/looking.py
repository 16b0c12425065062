"""Verbs that draw what a run has learnt."""

from typing import Annotated

from tyro.conf import arg

from wherewhat.cli.options import Device, OutFile, RunPath, Text, Told, at_least, numbers, opened_run


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
    from wherewhat.train.loop import pick_device

    at_least(0, seed=seed)
    opened, where = opened_run(run, data), pick_device(device)
    if opened.dimensions is None:
        from wherewhat.evaluate import evaluate as score

        with Told(False) as told:
            score(opened, ["tpl"], "fast", None, distance, device=where, told=told)
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
    from wherewhat.train.loop import pick_device

    at_least(0, seed=seed)
    opened, where = opened_run(run, data), pick_device(device)
    with Told(False) as told:
        if opened.dimensions is None:
            from wherewhat.evaluate import evaluate as score

            score(opened, ["tpl"], "fast", None, distance or "alex", device=where, told=told)
        path = write(opened, out, seed, distance, where, told)
    print(path)
