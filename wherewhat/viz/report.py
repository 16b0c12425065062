"""What a run has learnt and how well, as one HTML file that needs no network and no script.

It is made to be given to others: it has names of files, but never says where they are on this machine.
"""

import shlex
from collections import namedtuple
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from wherewhat.config import to_json
from wherewhat.data import open_data
from wherewhat.data.batches import order
from wherewhat.errors import UserError
from wherewhat.families import family_of
from wherewhat.metrics import registry
from wherewhat.metrics.tpl import TPL_REACH, Rotation, TplProtocol
from wherewhat.nn.ops import to_float
from wherewhat.progress import Progress, silent
from wherewhat.run import names
from wherewhat.run.folder import Run
from wherewhat.run.model import VISIBLE_SHARE, ControlSummary
from wherewhat.viz import canvas, page, plots
from wherewhat.viz.sheets import image_rows
from wherewhat.viz.traversals import control_labels, masks_of_run, starting_point, sweep, traversals

STILLS = 7  # images of a strip
SAMPLES = 12  # images of the data that are shown with their reconstructions
ROTATED, ROTATION_ANGLES = 3, 9  # rotation curves: paired controls, directions
ROTATION_PROTOCOL = TplProtocol(points=25, bases=5)  # half of small's base points: the rest of a report takes as long
MIN_SHARE = 0.1  # controls not in use are in the matrix if they have at least this share of the importance for a factor
OVERLAPS = {  # columns of the details of `where`, in words
    "mask_change": "mask ∩ change", "mask_perceived": "mask ∩ perceived change", "change_truth": "change ∩ truth",
    "mask_truth": "mask ∩ truth",
}  # fmt: skip
TERMS = {  # columns of train.jsonl, in words; others have none
    "reconstruction": "negative log-likelihood of the images, in nats",
    "kl": "KL divergence of the posterior to the prior, in nats",
    "lpips": "LPIPS between images and reconstructions",
    "d_loss": "loss of the discriminator; 1.386 where it cannot tell real from generated images",
    "g_loss": "loss of the generator; 0.693 where the discriminator cannot tell",
    "r1": "squared gradient of the discriminator at real images",
    "simplicity": "perceptual simplicity: which latent moved between two images, and how far",
    "visibility": "how far controls stay below the change that a person sees",
    "infogan": "latents against what the encoder finds in single images",
}
CHART_WIDTH, CHART_HEIGHT = 260, 110


Card = namedtuple("Card", "control mask film strip download")  # a ControlSummary and its pictures as addresses of data
ScoreRow = namedtuple("ScoreRow", "metric label help value protocol options")  # a row of metrics.jsonl, in words
Chart = namedtuple("Chart", "title words line band top bottom ticks")  # a curve in CHART_WIDTH × CHART_HEIGHT units


SECTIONS = {
    "controls": "What each control does, and where", "all-controls": "All controls", "scores": "Scores",
    "importance": "Which code depends on which factor", "places": "Does it act where its mask is?",
    "axes": "Are the axes special?", "samples": "Samples", "training": "Training", "making": "How it was made",
}  # fmt: skip
"""parts of the page, by their place in it"""


def report(
    run: Run, out: Path | None = None, seed: int = 0, distance: str | None = None, device: str = "cpu",
    progress: Progress = silent,
) -> Path:  # fmt: skip
    """Write the report of a run whose controls are known: report.html in its folder if no name is given.

    Scores are those in metrics.jsonl; pictures are drawn now.  distance: of the rotation curves; if not given, alex, or
    no curves where it cannot be used.  Raises UserError for another ending than .html, for a distance that does not
    work, and if the file cannot be written.
    """
    path = out or run.result("report.html")
    page.check_name(path)
    return page.write_page("report.html", contents(run, seed, distance, device, progress), path)


def contents(run: Run, seed: int, distance: str | None, device: str, progress: Progress) -> dict[str, Any]:
    table = run.latest("controls")
    assert table is not None
    controls, given = run.control_table or [], run.names
    in_use = [d for d in controls if d.in_use]
    shown = [d for d in controls if d.in_use or d.index in given] or controls
    rows, curves = scores(run), training_charts(run)
    dci, where = run.latest("dci"), run.latest("where")
    studies = rotations(run, in_use[:ROTATED], seed, distance, device, progress)
    config = replace(run.config, data=replace(run.config.data, source=without_place(run.config.data.source)))
    return {
        "title": run.title, "word": run.word if run.word != str(run.path) else "RUN",
        "sections": {key: title for key, title in SECTIONS.items() if curves or key != "training"},
        "family": family_of(run.config), "config": config, "settings": to_json(config), "images": run.images_seen,
        "about": run.about, "command": shlex.join(map(without_place, run.about.get("command", []))),
        "versions": {"wherewhat": version("wherewhat"), "torch": version("torch")},
        "names": names.shown(run), "given": given, "controls": controls, "in_use": in_use,
        "cards": cards(run, shown, seed, device), "stills": STILLS, "ramp": page.ramp(),
        "scores": rows, "headlines": headlines(rows, len(in_use)),
        "tpl_protocol": protocol_words(table["options"]), "threshold": table["options"]["threshold"],
        "importance": importance(run, dci, controls) if dci else None, "places": where["details"] if where else [],
        "overlaps": [(key, words) for key, words in OVERLAPS.items()
                     if where and any(row.get(key) is not None for row in where["details"])],
        "rotations": rotation_charts(run, studies),
        "rotations_png": page.download(plots.rotation_curves(studies, shortened(names.shown(run)))) if studies else "",
        "rotation": {"angles": ROTATION_ANGLES, "reach": TPL_REACH,
                     "distance": distance or "alex", "seed": seed, **asdict(ROTATION_PROTOCOL)},
        "samples": samples(run, seed, device), "curves": curves,
        "width": CHART_WIDTH, "height": CHART_HEIGHT,
    }  # fmt: skip


def headlines(rows: Sequence[ScoreRow], in_use: int) -> list[ScoreRow]:
    """The scores at the top: how many controls are in use, then those of the registry.  Where TPL finds no control
    above its threshold neither it nor its number is among them: their 0 would hide what anyone can see."""
    protocol = f"each changes {VISIBLE_SHARE:.1%} of the image or more, visibly"
    first = ScoreRow("in_use", "Controls in use", "", str(in_use), protocol, {})
    known = {row.metric: row for row in rows}
    chosen = [known[s.name] for s in registry.scores().values() if s.headline and s.name in known]
    none = "controls" in known and not float(known["controls"].value)
    return [first, *(row for row in chosen if not (none and row.metric in ("tpl", "controls")))]


def shortened(called: dict[int, str], letters: int = 18) -> dict[int, str]:
    """Names that fit below a small diagram."""
    return {k: name if len(name) <= letters else name[: letters - 1] + "…" for k, name in called.items()}


def without_place(word: str) -> str:
    """A word of a command without the folder of the file it names: --data=/home/me/cats becomes --data=cats."""
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{PureWindowsPath(value).name or value}"  # splits at / and \ alike


def cards(run: Run, controls: Sequence[ControlSummary], seed: int, device: str) -> list[Card]:
    """The pictures of each control; all start from the image from which `traverse` starts."""
    generator, base = run.generator.to(device), starting_point(run, seed, device)
    masks, made = masks_of_run(run, seed, device, [d.index for d in controls]), []
    for d, label in zip(controls, control_labels(controls, names.shown(run)), strict=True):
        tiles = page.tiles_of(sweep(generator, base, d.index, STILLS))
        mask = page.still(canvas.heat(masks[d.index], (2 * tiles.shape[1], 2 * tiles.shape[2])))
        sheet = page.download(traversals(generator, [label], base, masks, STILLS, footnote=run.title))
        made.append(Card(d, mask, page.film(generator, base, d.index, d.is_angle), page.strip(tiles), sheet))
    return made


@torch.no_grad()
def samples(run: Run, seed: int, device: str) -> dict[str, Any]:
    """Samples of the prior; images of the data with their reconstructions if the encoder was trained on real images."""
    generator = run.generator.to(device)
    made = generator.images(torch.from_numpy(run.draw(2 * SAMPLES, [seed, 3])).to(device))
    shown: dict[str, Any] = {"made": page.stills(made), "pairs": []}
    rows = [("samples", made[:SAMPLES])]
    if family_of(run.config).encodes_images:
        with suppress(UserError):
            data = open_data(run.config.data)
            real = to_float(torch.from_numpy(data.images(order(len(data), seed, 0, SAMPLES))).to(device))
            again = generator.images(run.encoder.to(device)(real))
            shown["pairs"] = list(zip(page.stills(real), page.stills(again), strict=True))
            rows += [("images of the data", real), ("reconstructions", again)]
    return shown | {"png": page.download(image_rows(rows))}


def scores(run: Run) -> list[ScoreRow]:
    """The scores that stand for the last checkpoint: known ones in the order of the registry, then others."""
    names = dict.fromkeys([*registry.scores(), *(row["metric"] for row in run.rows("metrics"))])
    return [score_row(row) for name in names if (row := run.latest(name))]


def score_row(row: dict[str, Any]) -> ScoreRow:
    known = registry.scores().get(row["metric"], registry.Score(row["metric"], row["metric"], ""))
    options, details = row["options"], row.get("details")
    error = details.get("error") if isinstance(details, dict) else None
    value = f"{row['value']:,.{known.digits}f}" + (f" ± {error:.{known.digits}f}" if error is not None else "")
    return ScoreRow(row["metric"], known.label, known.help, value, protocol_words(options), options)


def protocol_words(options: dict[str, Any]) -> str:
    """What of the options of a score a number is named with."""
    words = [str(options[key]) for key in ("protocol", "network") if key in options]
    words += [f"against {options['against']}"] if "against" in options else []
    words += [f"{options['real']:,} images"] if "real" in options else []
    if options.get("protocol") == "dlib" and options.get("counts") == "below the published":
        words.append(f"below the published counts: {options['encoded']} rows")
    if "other_data" in options:
        words.append(f"on other images: {options['other_data']:,} of {options['data']}")
    return ", ".join(words)


def importance(run: Run, row: dict[str, Any], controls: Sequence[ControlSummary]) -> dict[str, Any]:
    """The matrix of DCI: codes of controls in use, and others with a share that counts."""
    shares, options = plots.importance_shares(row), row["options"]
    shown = [d for d in controls if d.in_use or shares[d.index].max() >= MIN_SHARE]
    title = f"{run.title}: importance of each code for each factor (DCI, {options['protocol']})"
    drawn = plots.factor_map(shares, [d.index for d in shown], options["factors"], title)
    return {"factors": options["factors"], "protocol": options["protocol"], "least": MIN_SHARE,
            "rows": [(d.index, d.in_use, shares[d.index].tolist()) for d in shown],
            "png": page.download(drawn)}  # fmt: skip


def training_charts(run: Run) -> list[Chart]:
    """The columns of train.jsonl against images seen, and TPL where it was measured during training."""
    rows = run.rows("train")
    columns = dict.fromkeys(name for row in rows for name in row if name not in ("images_seen", "seconds"))
    curves = {name: [(row["images_seen"], row[name]) for row in rows if name in row] for name in columns}
    if last := run.latest("tpl"):
        curves["tpl"] = [(row["images"], row["value"]) for row in run.rows("metrics")
                         if row["metric"] == "tpl" and row["options"] == last["options"]]  # fmt: skip
    words = {**TERMS, "tpl": registry.scores()["tpl"].help}
    made = []
    for name, curve in curves.items():
        if len(curve) > 1:
            x, y = thinned(np.array(sorted(curve), np.float64))
            logarithmic = bool(y.min() > 0 and y.max() > 10 * y.min())
            ticks = [(0.0, f"{short(x[0])} images"), (float(CHART_WIDTH), short(x[-1]))]
            made.append(chart(name, words.get(name, ""), x, y, ticks, logarithmic=logarithmic))
    return made


def rotations(
    run: Run, controls: Sequence[ControlSummary], seed: int, distance: str | None, device: str, progress: Progress
) -> dict[plots.Pair, Rotation]:  # fmt: skip
    """The rotation study of all pairs of these controls; none if there is no distance where none was named."""
    pairs = list(combinations([d.index for d in controls], 2))
    try:
        how = (ROTATION_ANGLES, ROTATION_PROTOCOL, distance or "alex", seed, device, progress)
        return plots.rotations(run, pairs, *how) if pairs else {}
    except UserError:
        if distance is not None:
            raise
        return {}


def rotation_charts(run: Run, studies: dict[plots.Pair, Rotation]) -> list[Chart]:
    known, made = names.shown(run), []
    for (i, j), study in studies.items():
        ticks = [(CHART_WIDTH * k / 4, word) for k, word in enumerate((f"z{i}", "45°", f"z{j}", "135°", f"z{i}"))]
        words = f"axis score {study.axis_score:+.2f}"
        made.append(chart(f"{known[i]} and {known[j]}", words, study.degrees, study.lengths, ticks, study.errors))
    return made


def chart(
    title: str, words: str, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], ticks: list[tuple[float, str]],
    errors: Float[np.ndarray, " n"] | None = None, logarithmic: bool = False,
) -> Chart:  # fmt: skip
    """A curve: from zero, with a band of ± errors, if there are errors; else from its smallest to its largest value."""
    margin = errors if errors is not None else np.zeros_like(y)
    low, high = 0.0 if errors is not None else float(y.min()), float((y + margin).max())

    def points(values: np.ndarray) -> list[str]:
        scale = np.log if logarithmic else np.asarray
        share = (scale(values) - scale(low)) / max(float(scale(high) - scale(low)), 1e-12)
        across = (x - x[0]) / max(float(x[-1] - x[0]), 1e-12)
        return [f"{CHART_WIDTH * a:.1f},{CHART_HEIGHT * (1 - s):.1f}" for a, s in zip(across, share, strict=True)]

    band = " ".join(points(y - margin) + points(y + margin)[::-1]) if errors is not None else ""
    top, bottom = (f"{end:,.0f}" if end >= 1000 else f"{end:.3g}" for end in (high, low))
    return Chart(title, words + ", logarithmic" * logarithmic, " ".join(points(y)), band, top, bottom, ticks)


def thinned(curve: Float[np.ndarray, "n 2"], most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a curve; a longer one is averaged to `most` points."""
    x, y = np.array([part.mean(0) for part in np.array_split(curve, min(most, len(curve)))]).T
    return x, y


def short(count: float) -> str:
    """A number of images in few letters: 1.6M, 44k, 64."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
