"""What a run has learnt and how well, as one HTML file that needs nothing else: no network, no script.

It is made to be given to others, so it holds names of files and folders, never their places on this machine.
"""

import io
import shlex
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from wherewhat.cache import cache
from wherewhat.config import to_json
from wherewhat.data import open_data
from wherewhat.data.batches import order
from wherewhat.errors import UserError
from wherewhat.metrics.tpl import PROTOCOLS, REACH, Rotation
from wherewhat.nn.generator import mean_masks
from wherewhat.run import names
from wherewhat.run.folder import ControlSummary, Run
from wherewhat.run.shipped import PREFIX
from wherewhat.viz import canvas, traversals
from wherewhat.viz.draw import rotations, starting_point

STILLS, FRAMES = 7, 40
"""images of a strip, of a loop"""
SHOWN = 12
"""images of the data shown with what is made of them"""
TURNED, ANGLES, PROTOCOL = 3, 9, "small"
"""of the rotation curves: controls whose pairs are turned, directions, protocol of a length"""
LEAST = 0.1
"""share of a factor's importance from which on inactive controls are in the matrix"""
SCORES = {
    "tpl": ("TPL", "perceptual length of traversals, summed over active controls; lower is simpler, at the same "
            "number of active ones"),
    "controls": ("Active controls", "how many have a traversal longer than the threshold"),
    "where": ("Where", "overlap of what a control changes with the true place of its factor; with its mask where "
              "places are not known; 1 is best"),
    "factor_vae": ("FactorVAE score", "with one factor held, one code keeps still, always the same; 1 is best"),
    "beta_vae": ("β-VAE score", "a linear classifier tells which factor images share; 1 is best"),
    "mig": ("MIG", "one code knows a factor much better than the next one does; 1 is best"),
    "dci": ("DCI disentanglement", "each code tells of one factor; 1 is best"),
    "dci_completeness": ("DCI completeness", "each factor is progress by one code; 1 is best"),
    "dci_informativeness": ("DCI informativeness", "all codes together tell the factors; 1 is best"),
    "total_correlation": ("Total correlation", "how far codes depend on each other, in nats; lower is better"),
    "sap": ("SAP", "one code alone tells a factor and the next does not; higher is better"),
    "modularity": ("Modularity", "each code tells of one factor; 1 is best"),
    "explicitness": ("Explicitness", "a linear classifier tells each value of a factor; 1 is best"),
    "irs": ("IRS", "holding a factor stills its code, whatever else changes; 1 is best"),
    "infomec": ("InfoMEC modularity", "each active code tells of one factor; 1 is best"),
    "infomec_explicitness": ("InfoMEC explicitness", "a linear classifier tells the factors; 1 is best"),
    "infomec_compactness": ("InfoMEC compactness", "each factor is progress by one code; 1 is best"),
    "fid": ("FID", "how far features of made images are from those of the data, as normal clouds; lower is better"),
    "kid": ("KID", "the same by a kernel, without bias for few images; lower is better"),
    "precision": ("Precision", "made images that could be of the data; 1 is best"),
    "recall": ("Recall", "images of the data that could be made; 1 is best"),
    "density": ("Density", "how much of the data is around made images; higher is better"),
    "coverage": ("Coverage", "images of the data with a made one nearby; 1 is best"),
    "ppl": ("PPL", "perceptual length of paths between latents; lower is smoother"),
    "ppl_end": ("PPL, ends", "the same near the ends of paths"),
    "lpips": ("LPIPS", "how different images look once read and made again; lower is better"),
    "psnr": ("PSNR", "how exact their pixels are, in dB; higher is better"),
    "ssim": ("SSIM", "how alike their structure is; 1 is best"),
}  # fmt: skip
"""metrics in the order of the table, with what they say; others follow under their own names"""
HEADLINES = ("controls", "tpl", "factor_vae", "dci", "mig", "where")
"""scores at the top of the page"""
OVERLAPS = {
    "mask_change": "mask ∩ change", "mask_perceived": "mask ∩ seen change", "change_truth": "change ∩ truth",
    "mask_truth": "mask ∩ truth",
}  # fmt: skip
"""columns of the details of `where`, in words"""
LOSSES = {
    "reconstruction": "how far images made again are from those read, nats",
    "divergence": "what codes say beyond the prior, nats",
    "perceptual": "LPIPS of images read and made again",
    "discriminator": "telling real from made; 1.386 where it cannot",
    "generator": "generator_loss the discriminator; 0.693 where it cannot tell",
    "r1": "steepness of the discriminator at real images",
    "simplicity": "reading what moved between two images, and by how much",
    "information": "reading codes from single images",
}
"""columns of train.jsonl, in words"""


class Card(NamedTuple):
    """A control and its pictures, as addresses of data."""

    control: ControlSummary
    mask: str
    moving: str
    stills: list[str]


class Score(NamedTuple):
    """A row of metrics.jsonl, in words."""

    metric: str
    label: str
    words: str
    value: str
    protocol: str
    options: dict[str, Any]


class Chart(NamedTuple):
    """A curve in a frame of WIDTH × HEIGHT units."""

    title: str
    words: str
    line: str
    band: str
    top: str
    bottom: str
    ticks: list[tuple[float, str]]


WIDTH, HEIGHT = 260, 110


def report(
    run: Run, out: Path | None = None, seed: int = 0, distance: str | None = None, device: str = "cpu",
    progress: Callable[[str, float], None] | None = None,
) -> Path:  # fmt: skip
    """The report of a run whose controls are known, report.html in its folder if no name is given.

    Scores are those in metrics.jsonl; pictures are drawn now.  What is missing is said with the command that adds it.
    distance: of the rotation curves; if not given alex, and no curves where its weights are not on this machine or
    images are too small for it.  Raises UserError if the file cannot be written.
    """
    path = out or run.path / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"cannot write a report named {path.name}: its name must end in .html")
    page = contents(run, seed, distance, device, progress)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template("report.html").render(page)
    with canvas.written(path) as partial:
        partial.write_text(text, "utf-8")
    return path


def contents(
    run: Run, seed: int, distance: str | None, device: str, progress: Callable[[str, float], None] | None
) -> dict[str, Any]:
    """Everything the page shows."""
    controls = run.control_table
    assert controls is not None
    active = [d for d in controls if d.active]
    shown = [d for d in controls if d.active or d.index in run.names] or controls
    curves = turned(run, [d.index for d in active[:TURNED]], seed, distance, device, progress)
    table = scores(run)
    by_metric = {score.metric: score for score in table}
    dci, place = run.latest("dci"), run.latest("where")
    config = replace(run.config, data=replace(run.config.data, source=bare(run.config.data.source)))
    return {
        "title": title(run),
        "word": title(run) if title(run).startswith(PREFIX) else "RUN",
        "config": config,
        "settings": to_json(config),
        "images": run.images_seen,
        "about": run.about,
        "command": shlex.join(map(bare, run.about.get("command", []))),
        "versions": {"wherewhat": version("wherewhat"), "torch": version("torch")},
        "names": names.shown(run),
        "given": run.names,
        "controls": controls,
        "active": active,
        "cards": cards(run, shown, seed, device),
        "ramp": embedded([canvas.heat(np.linspace(0, 1, 64)[None].repeat(4, 0), (8, 128))]),
        "scores": table,
        "headlines": [by_metric[metric] for metric in HEADLINES if metric in by_metric],
        "threshold": (run.latest("controls") or {})["options"]["threshold"],
        "importance": importance(dci, controls) if dci else None,
        "places": place["details"] if place else [],
        "overlaps": [(key, words) for key, words in OVERLAPS.items()
                     if place and any(row.get(key) is not None for row in place["details"])],
        "rotations": curves,
        "turned": {"protocol": PROTOCOL, "angles": ANGLES, "reach": REACH, "distance": distance or "alex",
                   "seed": seed, **PROTOCOLS[PROTOCOL].__dict__},
        "samples": samples(run, seed, device),
        "losses": losses(run),
        "width": WIDTH,
        "height": HEIGHT,
    }  # fmt: skip


def title(run: Run) -> str:
    """What the run is called: its folder, without where that is."""
    name = run.path.absolute().name
    return PREFIX + name.rpartition("-")[0] if run.path.parent == cache("pretrained") else name


def bare(word: str) -> str:
    """A word of a command without the place of the file it names: --data=/home/me/cats is --data=cats."""
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{PureWindowsPath(value).name or value}"  # reads / and \ alike


# ------------------------------------------------------------------------------------------------------------ pictures


def embedded(frames: "Sequence[UInt8[np.ndarray, 'h w 3']]", seconds: float = 4.0) -> str:
    """A picture as an address that holds it; an endless loop of several frames."""
    stills, buffer = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    loop: dict[str, Any] = {"save_all": True, "append_images": stills[1:], "loop": 0}
    loop["duration"] = round(1000 * seconds / len(stills))
    stills[0].save(buffer, "WEBP", quality=88, method=6, **loop if len(stills) > 1 else {})
    return "data:image/webp;base64," + b64encode(buffer.getvalue()).decode()


def each(images: Float[Tensor, "b c h w"]) -> list[str]:
    """Images as addresses."""
    return [embedded([tile]) for tile in canvas.to_tiles(images)]


def cards(run: Run, controls: Sequence[ControlSummary], seed: int, device: str) -> list[Card]:
    """The pictures of each control, all from one image, as `traverse` draws them."""
    generator, reach = run.generator.to(device), traversals.REACH
    base = starting_point(run, seed, device)
    masks = mean_masks(generator, torch.from_numpy(run.draw(64, seed)))
    made = []
    for d, control in zip(controls, traversals.control_labels(controls), strict=True):
        moving = canvas.to_tiles(traversals.swing(generator, base, control, FRAMES, reach), 160)
        stills = each(traversals.sweep(generator, base, d.index, STILLS, reach))
        made.append(Card(d, embedded([canvas.heat(masks[d.index], moving.shape[1:3])]), embedded(list(moving)), stills))
    return made


@torch.no_grad()
def samples(run: Run, seed: int, device: str) -> dict[str, Any]:
    """Images from the prior; for an autoencoder whose data are at hand, some of these and what it makes of them."""
    generator = run.generator.to(device)
    shown: dict[str, Any] = {"pairs": []}
    shown["made"] = each(generator(torch.from_numpy(run.draw(2 * SHOWN, [seed, 3])).to(device)).image)
    if run.config.autoencoder:
        with suppress(UserError):
            data = open_data(run.config.data)
            real = torch.from_numpy(data.images(order(len(data), seed, 0, SHOWN))).to(device).float() / 127.5 - 1
            again = generator(run.encoder.to(device)(real)).image
            shown["pairs"] = list(zip(each(real), each(again), strict=True))
    return shown


# ------------------------------------------------------------------------------------------------------------- numbers


def scores(run: Run) -> list[Score]:
    """The latest score of each metric for the last checkpoint."""
    latest = {row["metric"]: row for row in run.rows("metrics") if row["images"] == run.images_seen}
    return [worded(latest[metric]) for metric in dict.fromkeys([*SCORES, *latest]) if metric in latest]


def worded(row: dict[str, Any]) -> Score:
    """A score as it is shown."""
    label, words = SCORES.get(row["metric"], (row["metric"], ""))
    value, options = row["value"], row["options"]
    details = row.get("details")
    error = details.get("error") if isinstance(details, dict) else None
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    protocol = [str(options[key]) for key in ("protocol", "network") if key in options]
    protocol += [f"against {options['against']}"] if "against" in options else []
    return Score(row["metric"], label, words, shown + (f" ± {error:.3f}" if error is not None else ""),
                 ", ".join(protocol), options)  # fmt: skip


def importance(row: dict[str, Any], controls: Sequence[ControlSummary]) -> dict[str, Any]:
    """DCI's importance of each code for each factor, as shares of that of all codes: active ones, and others with a
    share that counts."""
    matrix = np.array(row["details"]["importance"])
    shares = matrix / matrix.sum(0).clip(1e-12)
    return {"factors": row["options"]["factors"], "protocol": row["options"]["protocol"],
            "least": LEAST, "rows": [(d.index, d.active, shares[d.index].tolist()) for d in controls
                                     if d.active or shares[d.index].max() >= LEAST]}  # fmt: skip


def losses(run: Run) -> list[Chart]:
    """The losses of train.jsonl against images seen, and TPL where it was measured on the way."""
    rows = run.rows("train")
    columns = dict.fromkeys(name for row in rows for name in row if name not in ("images", "seconds"))
    curves = {name: [(row["images"], row[name]) for row in rows if name in row] for name in columns}
    last = run.latest("tpl")
    if last:
        curves["tpl"] = [(row["images"], row["value"]) for row in run.rows("metrics")
                         if row["metric"] == "tpl" and row["options"] == last["options"]]  # fmt: skip
    words = {**LOSSES, "tpl": SCORES["tpl"][1]}
    made = []
    for name, curve in curves.items():
        if len(curve) > 1:
            x, y = thinned(np.array(sorted(curve), np.float64))
            log = bool(y.min() > 0 and y.max() > 10 * y.min())
            ticks = [(0.0, f"{short(x[0])} images"), (float(WIDTH), short(x[-1]))]
            made.append(chart(name, words.get(name, ""), x, y, ticks, log=log))
    return made


def turned(
    run: Run, latents: Sequence[int], seed: int, distance: str | None, device: str,
    progress: Callable[[str, float], None] | None,
) -> list[Chart]:  # fmt: skip
    """Rotation curves of the pairs of these controls; none if there is no pair or no distance."""
    pairs = list(combinations(latents, 2))
    studies: dict[tuple[int, int], Rotation] = {}
    try:
        studies = rotations(run, pairs, ANGLES, PROTOCOL, distance or "alex", seed, device, progress) if pairs else {}
    except UserError:
        if distance is not None:
            raise
    known = names.shown(run)
    made = []
    for (i, j), study in studies.items():
        words = (f"z{i}", "45°", f"z{j}", "135°", f"z{i}")
        ticks = [(WIDTH * k / 4, word) for k, word in enumerate(words)]
        both = f"{known[i]} and {known[j]}"
        said = f"axis score {study.axis_score:+.2f}"
        made.append(chart(both, said, study.degrees, study.lengths, ticks, study.errors))
    return made


def chart(
    title: str, words: str, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], ticks: list[tuple[float, str]],
    errors: Float[np.ndarray, " n"] | None = None, log: bool = False,
) -> Chart:  # fmt: skip
    """A curve; from zero and with a band of ± errors if there are errors, else from its least to its largest value."""
    about = errors if errors is not None else np.zeros_like(y)
    low, high = 0.0 if errors is not None else float(y.min()), float((y + about).max())

    def points(values: np.ndarray) -> list[str]:
        scale = np.log if log else np.asarray
        share = (scale(values) - scale(low)) / max(float(scale(high) - scale(low)), 1e-12)
        across = (x - x[0]) / max(float(x[-1] - x[0]), 1e-12)
        return [f"{WIDTH * a:.1f},{HEIGHT * (1 - s):.1f}" for a, s in zip(across, share, strict=True)]

    band = " ".join(points(y - about) + points(y + about)[::-1]) if errors is not None else ""
    top, bottom = (f"{end:,.0f}" if end >= 1000 else f"{end:.3g}" for end in (high, low))
    return Chart(title, words + ", logarithmic" * log, " ".join(points(y)), band, top, bottom, ticks)


def thinned(curve: Float[np.ndarray, "n 2"], most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a curve; a longer one is averaged to `most` points."""
    parts = np.array_split(curve, min(most, len(curve)))
    x, y = np.array([part.mean(0) for part in parts]).T
    return x, y


def short(count: float) -> str:
    """How many images: 1.6M, 44k, 64."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
