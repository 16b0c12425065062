"""Runs in the order of a score that needs no labels, as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from wherewhat.viz.traversals import from_figure


def draw_order(
    names: Sequence[str], values: Sequence[float], errors: Sequence[float | None], active: Sequence[int | None],
    label: str, scores: Mapping[str, Sequence[float]], progress: Mapping[str, str],
) -> Image.Image:  # fmt: skip
    """Runs, the best first, a line each with its value, error and number of active controls; beside it a panel for
    each score that needs labels: that score against the value, `progress` in its title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 + 2.9 * len(scores), 1.3 + 0.28 * max(len(names), 6)), dpi=110, layout="constrained")
    panels = figure.subplots(1, 1 + len(scores), squeeze=False, width_ratios=[1.4] + [1] * len(scores))[0]
    places = np.arange(len(names))
    panels[0].errorbar(values, places, xerr=[e or 0 for e in errors], fmt="o", markersize=4, capsize=2)
    words = [
        f"{name}  ({count} active)" if count is not None else name for name, count in zip(names, active, strict=True)
    ]
    panels[0].set_yticks(places, words, fontsize=7)
    panels[0].invert_yaxis()
    panels[0].grid(axis="x", color="0.9")
    panels[0].set_xlabel(label, fontsize=8)
    panels[0].set_title("order without labels, the best first", fontsize=9)
    for panel, (name, known) in zip(panels[1:], scores.items(), strict=True):
        panel.scatter(values, known, s=14)
        panel.scatter(values[:1], known[:1], s=70, facecolors="none", edgecolors="tab:red")
        panel.set_xlabel(label, fontsize=8)
        panel.set_ylabel(name, fontsize=8)
        panel.set_title(progress.get(name, ""), fontsize=8)
    for panel in panels:
        panel.tick_params(labelsize=7)
    return from_figure(figure)
