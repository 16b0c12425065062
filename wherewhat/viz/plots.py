"""Diagrams: codes against factors, the rotation study, runs in the order of a score that needs no labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from wherewhat.metrics.distance import load_distance
from wherewhat.metrics.tpl import Rotation, TplProtocol, rotate
from wherewhat.progress import Progress, silent
from wherewhat.run.model import Model
from wherewhat.run.names import shown
from wherewhat.viz import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pair = tuple[int, int]  # two controls


def draw_factor_map(run: Model, row: dict[str, Any]) -> Path:
    """Save the importance shares of codes in use, from a row of DCI, as factors.png among the run's pictures."""
    shares = importance_shares(row)
    active = [d.index for d in run.control_table or [] if d.in_use] or list(range(len(shares)))
    title = f"importance of each code (row) for each factor (DCI, {row['options']['protocol']})"
    return canvas.save_still(factor_map(shares, active, row["options"]["factors"], title), run.picture("factors.png"))


def importance_shares(row: dict[str, Any]) -> Float[np.ndarray, "z f"]:
    """Each code's share of the importance that all codes have for a factor, from a row of DCI."""
    matrix = np.array(row["details"]["importance"])
    return np.asarray(matrix / matrix.sum(0).clip(1e-12))


def factor_map(
    shares: Float[np.ndarray, "z f"], codes: Sequence[int], factors: Sequence[str], title: str
) -> Image.Image:
    """These codes (rows) against factors (columns), each cell with its number; colours have a scale from 0 to 1."""
    from matplotlib.figure import Figure

    shown = shares[list(codes)]
    figure = Figure(figsize=(2.2 + 0.9 * len(factors), 1.6 + 0.42 * len(codes)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shown, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(factors)), factors, rotation=25, ha="right")
    axes.set_yticks(range(len(codes)), [f"z{k}" for k in codes])
    axes.set_title(title, fontsize=10)
    for (i, j), share in np.ndenumerate(shown):
        axes.text(j, i, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.6 else "black", fontsize=8)
    figure.colorbar(picture, ax=axes)
    return from_figure(figure)


def draw_rotations(
    run: Model, pairs: Sequence[Pair], out: Path | None = None, angles: int = 17, protocol: str = "small",
    distance: str = "alex", seed: int = 0, device: str = "cpu", progress: Progress = silent,
) -> tuple[Path, dict[Pair, Rotation]]:  # fmt: skip
    """Save the rotation study of pairs of controls, a curve each; its path and numbers.  UserError as `rotations`."""
    path = out or run.picture("rotations.png")
    canvas.check_kind(path)
    studies = rotations(run, pairs, angles, protocol, distance, seed, device, progress)
    return canvas.save_still(rotation_curves(studies, shown(run)), path), studies


def rotations(
    run: Model, pairs: Sequence[Pair], angles: int = 17, protocol: TplProtocol | str = "small",
    distance: str = "alex", seed: int = 0, device: str = "cpu", progress: Progress = silent,
) -> dict[Pair, Rotation]:  # fmt: skip
    """The rotation study of pairs of controls.  UserError for a pair, angles, protocol or distance that cannot be."""
    perceptual, generator = load_distance(distance, device), run.generator.to(device)
    studies: dict[Pair, Rotation] = {}
    for pair in pairs:
        studies[pair] = rotate(
            lambda z: generator.images(z).clamp(-1, 1), run.latents, perceptual, pair, angles, protocol, seed,
            device, lambda done: progress("rotating", (len(studies) + done) / len(pairs)),
        )  # fmt: skip
    return studies


def rotation_curves(studies: Mapping[Pair, Rotation], names: Mapping[int, str]) -> Image.Image:
    """A panel for each pair: length of a sweep against its direction, with standard errors and the axis score."""
    from matplotlib.figure import Figure

    columns = min(3, len(studies))
    rows = -(-len(studies) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.7 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for panel, (pair, study) in zip(panels, studies.items(), strict=False):
        first, second = (names.get(control) or f"z{control}" for control in pair)
        panel.fill_between(study.degrees, study.lengths - study.errors, study.lengths + study.errors, alpha=0.25)
        panel.plot(study.degrees, study.lengths, marker="o", markersize=3)
        panel.set_xticks([0, 45, 90, 135, 180], [first, "45°", second, "135°", first], fontsize=7)
        for axis in (0, 90, 180):
            panel.axvline(axis, color="0.8", linewidth=0.8, zorder=0)
        panel.set_ylim(bottom=0)
        panel.set_ylabel("perceptual length", fontsize=8)
        panel.set_title(f"axis score {study.axis_score:+.2f}", fontsize=9)
    for panel in panels[len(studies) :]:
        panel.remove()
    return from_figure(figure)


def draw_order(
    names: Sequence[str], values: Sequence[float], errors: Sequence[float | None], active: Sequence[int | None],
    label: str, scores: Mapping[str, Sequence[float]], agreements: Mapping[str, str],
) -> Image.Image:  # fmt: skip
    """Runs, the best first, each with value, error and number of active controls; beside them a panel for each score
    that needs labels: that score against the value, the agreement as title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 + 2.9 * len(scores), 1.3 + 0.28 * max(len(names), 6)), dpi=110, layout="constrained")
    panels = figure.subplots(1, 1 + len(scores), squeeze=False, width_ratios=[1.4] + [1] * len(scores))[0]
    places = np.arange(len(names))
    panels[0].errorbar(values, places, xerr=[e or 0 for e in errors], fmt="o", markersize=4, capsize=2)
    counts = ["" if count is None else f"  ({count} active)" for count in active]
    panels[0].set_yticks(places, [name + count for name, count in zip(names, counts, strict=True)], fontsize=7)
    panels[0].invert_yaxis()
    panels[0].grid(axis="x", color="0.9")
    panels[0].set_xlabel(label, fontsize=8)
    panels[0].set_title("order without labels, the best first", fontsize=9)
    for panel, (name, known) in zip(panels[1:], scores.items(), strict=True):
        panel.scatter(values, known, s=14)
        panel.scatter(values[:1], known[:1], s=70, facecolors="none", edgecolors="tab:red")
        panel.set_xlabel(label, fontsize=8)
        panel.set_ylabel(name, fontsize=8)
        panel.set_title(agreements.get(name, ""), fontsize=8)
    for panel in panels:
        panel.tick_params(labelsize=7)
    return from_figure(figure)


def from_figure(figure: "Figure") -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    return Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3].copy())
