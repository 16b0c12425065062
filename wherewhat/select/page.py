"""One page about a choice: how trials compared at each rung, and what those that went to the end have learnt."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wherewhat.families import family_of
from wherewhat.families.family import objective
from wherewhat.metrics import registry
from wherewhat.run.folder import Run
from wherewhat.select.choose import Choice, shown
from wherewhat.select.folder import opened
from wherewhat.viz import page
from wherewhat.viz.plots import from_figure
from wherewhat.viz.traversals import draw_traversals

PICTURES = {
    "samples": "images, their reconstructions, samples",
    "traversals": "the controls that change most, each with its mask and from one end to the other",
}
"""of a trial that was trained to its end, in words"""
CONTROLS = 8  # in use, that are shown of each


def write_page(choice: Choice, folder: Path) -> Path:
    """Write choice.html into the folder of a choice: one file that needs no network.  Raises UserError if it cannot."""
    return page.write_page("choice.html", contents(choice, folder), folder / "choice.html")


def contents(choice: Choice, folder: Path) -> dict[str, Any]:
    """What the page shows."""
    runs = {name: run for name in choice.trials if (run := opened(folder / name))}
    finished = {f"trial-{k}": (name, pictures(runs[name])) for k, name in enumerate(choice.rungs[-1].order)}
    titles = {id: name + ", kept" * (name == choice.kept) for id, (name, _) in finished.items()}
    return {
        "verb": "choose", "sections": {"compared": "How they compared", **titles}, "title": folder.name,
        "choice": choice, "score": registry.scores()[choice.by], "rungs": choice.rungs, "rows": rows(choice),
        "chart": curves(choice, runs), "finished": finished, "words": PICTURES, "images": choice.rungs[-1].images,
        "minutes": choice.seconds / 60,
    }  # fmt: skip


def rows(choice: Choice) -> list[tuple[str, list[str], str]]:
    """Name, value at each rung and what became of it, of each trial: those that went furthest first."""
    found: dict[str, tuple[str, list[str], str]] = {}
    for rung in reversed(choice.rungs):
        for name in [*rung.order, *rung.failed]:
            if name not in found:
                fate = "kept" if name == choice.kept else f"stopped at {rung.images:,} images"
                fate = f"failed: {rung.failed[name]}" if name in rung.failed else fate
                fate = "trained to the end" if rung is choice.rungs[-1] and fate.startswith("stopped") else fate
                values = [shown(choice.by, r.order.get(name)) for r in choice.rungs]
                found[name] = name, values, fate
    return list(found.values())


def pictures(run: Run) -> dict[str, str]:
    """Pictures of a trial, as addresses that hold them: samples as training drew them at its end, and controls, if it
    is known which are in use."""
    files = {"samples": run.path / "pictures" / f"{run.images_seen // 1000:06d}k-samples.png"}
    if in_use := [control.index for control in run.control_table or [] if control.in_use]:
        files["traversals"] = draw_traversals(run, run.picture("traversals.png"), in_use[:CONTROLS])
    found = {}
    for kind, file in files.items():
        if file.exists():
            with Image.open(file) as picture:
                found[kind] = page.still(np.asarray(picture.convert("RGB")))
    return found


def curves(choice: Choice, runs: dict[str, Run]) -> str:
    """The training loss of every trial against images, as an address; empty if losses do not compare."""
    from matplotlib.figure import Figure

    if not all(family_of(run.config).objective_compares for run in runs.values()):
        return ""
    figure = Figure(figsize=(8, 3), dpi=110, layout="constrained")
    axes = figure.add_subplot(xlabel="images seen", ylabel="training loss")
    lowest = []
    for name, run in runs.items():
        weights = family_of(run.config).weights
        seen = np.array([row["images_seen"] for row in run.rows("train")])
        loss = np.array([objective(row, weights(run.config, row["images_seen"])) for row in run.rows("train")])
        lowest.append(loss.min())
        is_kept = name == choice.kept
        colour = "#2b5fc4" if is_kept else "#7d8794" if name in choice.rungs[-1].order else "#c4cad2"
        axes.plot(seen, loss, color=colour, linewidth=1.6 if is_kept else 0.9, zorder=3 if is_kept else 2)
        axes.annotate(
            name, (seen[-1], loss[-1]), (3, 0), textcoords="offset points", fontsize=7, color=colour, va="center"
        )
    if min(lowest) > 0:
        axes.set_yscale("log")
    for rung in choice.rungs:
        axes.axvline(rung.images, color="#dfe3e8", linewidth=1, zorder=1)
    axes.spines[["top", "right"]].set_visible(False)
    return page.still(np.asarray(from_figure(figure)))
