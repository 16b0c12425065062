"""Several runs on one page: their scores, how far those differ between seeds of one recipe, their traversals."""

import json
from collections import Counter, namedtuple
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wherewhat.metrics import registry
from wherewhat.progress import Progress, silent
from wherewhat.run import names
from wherewhat.run.folder import Run
from wherewhat.run.model import ControlSummary
from wherewhat.viz import canvas, page
from wherewhat.viz.canvas import GAP, Canvas
from wherewhat.viz.report import ScoreRow, protocol_words, score_row, without_place
from wherewhat.viz.traversals import masks_of_run, starting_point, sweep

STILLS = 5  # images of a traversal
SHOWN = 12  # controls of a run, the longest traversals first
SECTIONS = {"runs": "The runs", "scores": "Scores", "traversals": "Traversals side by side"}

Line = namedtuple("Line", "score values spreads")  # a ScoreRow for words; a number a run or None; mean ± s.d. a group
Group = namedtuple("Group", "title members")  # runs that differ in their seed alone, by their place
Cell = namedtuple("Cell", "control name mask strip tiles")  # a ControlSummary, its pictures as addresses, its images


def compare(
    runs: Sequence[Run], out: Path | None = None, seed: int = 0, device: str = "cpu", progress: Progress = silent
) -> Path:
    """Write the page of several runs whose controls are known: comparison.html if no name is given.  Nothing is
    measured: scores are those in their metrics.jsonl.  Raises UserError for another ending than .html, and if the file
    cannot be written."""
    path = out or Path("comparison.html")
    page.check_name(path)
    return page.write_page("comparison.html", contents(runs, seed, device, progress), path)


def contents(runs: Sequence[Run], seed: int, device: str, progress: Progress) -> dict[str, Any]:
    together, called = groups(runs), titles(runs)
    rows = side_by_side(runs, seed, device, progress)
    return {
        "title": f"{len(runs)} runs", "sections": SECTIONS, "titles": called, "groups": together, "stills": STILLS,
        "runs": [(title, run, sum(d.in_use for d in run.control_table or []), without_place(run.config.data.source))
                 for title, run in zip(called, runs, strict=True)],
        "tpl_protocols": [protocol_words((run.latest("controls") or {"options": {}})["options"]) for run in runs],
        "lines": lines(runs, together), "rows": rows, "ramp": page.ramp(),
        "png": page.download(sheet(called, rows)) if rows else "",
        "versions": {"wherewhat": version("wherewhat"), "torch": version("torch")},
    }  # fmt: skip


def titles(runs: Sequence[Run]) -> list[str]:
    """What each run is called, with its checkpoint if one was chosen; numbered where several are called the same."""
    plain = [f"{run.title}@{run.checkpoint}" if run.checkpoint else run.title for run in runs]
    total, seen, made = Counter(plain), Counter[str](), []
    for title in plain:
        seen[title] += 1
        made.append(f"{title} ({seen[title]})" if total[title] > 1 else title)
    return made


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs of one recipe that saw equally many images and differ in their seed alone, where there are several seeds."""
    alike: dict[Any, list[int]] = {}
    for k, run in enumerate(runs):
        alike.setdefault((replace(run.config, seed=0), run.images_seen), []).append(k)
    made = []
    for members in alike.values():
        seeds = sorted({runs[k].config.seed for k in members})
        if len(seeds) == len(members) > 1:
            made.append(Group(f"{runs[members[0]].config.recipe}, seeds {', '.join(map(str, seeds))}", members))
    return made


def lines(runs: Sequence[Run], together: Sequence[Group]) -> list[Line]:
    """Every score of the last checkpoints, a line for each protocol: first the one under which most runs have it, then
    others only for runs that are left.  Numbers on one line compare."""
    rows = [[row for row in run.rows("metrics") if row["images"] == run.images_seen] for run in runs]
    known = dict.fromkeys([*registry.scores(), *(row["metric"] for of_run in rows for row in of_run)])
    made = []
    for name in known:
        standing = [run.latest(name) for run in runs]
        found: dict[str, dict[int, dict[str, Any]]] = {}  # protocol → run → row
        for k, of_run in enumerate(rows):
            for row in (row for row in of_run if row["metric"] == name and row.get("value") is not None):
                options = {key: value for key, value in row["options"].items() if key != "seed"}
                found.setdefault(json.dumps(options, sort_keys=True), {})[k] = row
        left = set(range(len(runs)))
        while covering := [of for of in found.values() if of.keys() & left]:
            best = max(covering, key=lambda of: (len(of.keys() & left), sum(of[k] == standing[k] for k in of)))
            made.append(_line(best, len(runs), together))
            left -= best.keys()
    return made


def _line(found: dict[int, dict[str, Any]], count: int, together: Sequence[Group]) -> Line:
    one: ScoreRow = score_row(next(iter(found.values())))
    known = registry.scores().get(one.metric)
    digits = known.digits if known else 3
    values = [f"{found[k]['value']:,.{digits}f}" if k in found else None for k in range(count)]
    spreads = []
    for group in together:
        numbers = [found[k]["value"] for k in group.members if k in found]
        more = max(digits, 1)  # a mean of counts has a fraction
        several = len(numbers) > 1
        spreads.append(f"{np.mean(numbers):,.{more}f} ± {np.std(numbers, ddof=1):,.{more}f}" if several else None)
    return Line(one, values, spreads)


def matched(tables: Sequence[Sequence[ControlSummary]]) -> list[tuple[str, list[ControlSummary | None]]]:
    """Controls of several runs that hold the same factor, where factors are known, a row each; then the others, the
    longest of each run first.  None where a run has no such control."""

    def clear(d: ControlSummary) -> bool:
        return bool(d.factor) and (d.share or 0) >= names.CLEAR_SHARE

    left = [list(table) for table in tables]
    rows: list[tuple[str, list[ControlSummary | None]]] = []
    for factor in dict.fromkeys(str(d.factor) for table in tables for d in table if clear(d)):
        row = [next((d for d in of if clear(d) and d.factor == factor), None) for of in left]
        rows.append((factor, row))
        left = [[d for d in of if d is not taken] for of, taken in zip(left, row, strict=True)]
    for k in range(max(map(len, left), default=0)):
        rows.append(("others" if rows and not k else "", [of[k] if k < len(of) else None for of in left]))
    return rows


def side_by_side(
    runs: Sequence[Run], seed: int, device: str, progress: Progress
) -> list[tuple[str, list[Cell | None]]]:  # fmt: skip
    """The traversals of controls in use (all where none is), those of one factor beside each other."""
    tables = [run.control_table or [] for run in runs]
    shown = [([d for d in table if d.in_use] or list(table))[:SHOWN] for table in tables]
    rows = matched(shown)
    columns: list[list[Cell | None]] = []
    for k, run in enumerate(runs):
        progress("drawing", k / len(runs))
        columns.append(cells(run, [row[k] for _, row in rows], seed, device))
    return [(title, [column[i] for column in columns]) for i, (title, _) in enumerate(rows)]


def cells(run: Run, controls: Sequence[ControlSummary | None], seed: int, device: str) -> list[Cell | None]:
    generator, base = run.generator.to(device), starting_point(run, seed, device)
    masks = masks_of_run(run, seed, device, [d.index for d in controls if d])
    called = names.shown(run)
    made: list[Cell | None] = []
    for d in controls:
        if d is None:
            made.append(None)
            continue
        tiles = page.tiles_of(sweep(generator, base, d.index, STILLS))
        mask = page.still(canvas.heat(masks[d.index], (tiles.shape[1], tiles.shape[2])))
        made.append(Cell(d, called[d.index], mask, page.strip(tiles), tiles))
    return made


def sheet(titles: Sequence[str], rows: Sequence[tuple[str, list[Cell | None]]]) -> Image.Image:
    """The traversals as one picture: a column for each run."""
    heights, widths = zip(*(cell.tiles.shape[1:3] for _, row in rows for cell in row if cell), strict=True)
    width, height = STILLS * (max(widths) + GAP) + 5 * GAP, max(heights) + 24
    made = Canvas(len(titles) * width, 28 + len(rows) * height)
    for k, title in enumerate(titles):
        made.fitted(k * width, 4, title, width - 5 * GAP, 15, bold=True)
        for i, (_, row) in enumerate(rows):
            if cell := row[k]:
                made.fitted(k * width, 28 + i * height, f"z{cell.control.index}  {cell.name}", width - 5 * GAP, 12)
                made.tiles(k * width, 46 + i * height, cell.tiles)
    return made.image
