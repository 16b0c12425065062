"""What verbs print: tables of scores, controls, places and runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wherewhat.metrics.registry import scores

if TYPE_CHECKING:
    from wherewhat.evaluation.rank import Ranking
    from wherewhat.evaluation.where import Acting, Place
    from wherewhat.run.axes import Axes
    from wherewhat.run.model import Model


def show_controls(run: "Model") -> None:
    """The table of controls in use: where, what, how much."""
    heads = "control", "where: centre (row, column), area", "what: matched factor, share", "TPL"
    table, controls = Table(*heads, title=escape(run.word)), run.control_table or []
    for d in (d for d in controls if d.in_use):
        where = f"{d.place} ({d.row:.2f}, {d.column:.2f}), {d.area:.0%}"
        what = escape(f"{d.factor} {d.share:.0%}") if d.factor else "–"
        table.add_row(f"z{d.index}", where, what, f"{d.tpl:.2f} ± {d.tpl_error:.2f}")
    if not table.row_count:
        Console().print(escape(run.why_idle))
        return
    if idle := [f"z{d.index}" for d in controls if not d.in_use]:
        table.caption = f"not in use: {', '.join(idle)}"
    Console().print(table)


MOST_LINES = 40
"""controls of a ranking that are printed at most"""


def show_order(run: "Model", rows: list[dict[str, Any]]) -> None:
    """Every control, the longest traversal first, from rows of TPL: how long it is, where it acts, and whether it is
    active."""
    score, controls = (next(row for row in rows if row["metric"] == name) for name in ("tpl", "controls"))
    names, found = run.names, run.summaries(controls)
    table = Table("", "control", "TPL", "where: centre (row, column), area", "", box=None, title=escape(run.word))
    for place, d in enumerate(found[:MOST_LINES], 1):
        name = f"z{d.index} {names.get(d.index) or d.factor or ''}".strip()
        where = f"{d.place} ({d.row:.2f}, {d.column:.2f}), {d.area:.0%}" if d.peak >= 0.02 else "nowhere"
        length = f"{d.tpl:.3f} ± {d.tpl_error:.3f}"
        state = "" if d.active else "inactive"
        table.add_row(str(place), escape(name), length, where, state, style=None if d.active else "dim")
    console = Console()
    console.print(table)
    if others := found[MOST_LINES:]:
        console.print(f"and {len(others)} more with shorter traversals: --json has them all")
    threshold, active = score["options"]["threshold"], score["details"]["active"]
    console.print(f"{active} of {len(found)} are active: their TPL is above {threshold:g}")


def show_axes(axes: "Axes") -> None:
    """A line an axis: how much of the variation it accounts for."""
    of = "share of the variance" if axes.how == "pca" else "share of the squared weights"
    table, known = Table("control", of, box=None), axes.shares.tolist()
    for control, share in enumerate(known):
        table.add_row(f"z{control}", f"{share:.1%}")
    Console().print(table)
    Console().print(f"together {sum(known):.0%}")


def show_scores(rows: list[dict[str, Any]]) -> None:
    """A line a score, with the protocol it was measured under."""
    table, known = Table("score", "value", "protocol", box=None), scores()
    for row in rows:
        if row["metric"] == "controls":
            table.add_row("active controls", str(row["value"]), f"TPL above {row['options']['threshold']:g}")
            continue
        digits = known[row["metric"]].digits if row["metric"] in known else 3
        error = row.get("details", {}).get("error")
        value = f"{row['value']:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")
        if row["metric"] == "tpl":
            value += f", {row['details']['active']} active"
        table.add_row(row["metric"], value, escape(conditions(row["options"])))
    Console().print(table)


def conditions(options: dict[str, Any]) -> str:
    """In a few words what a score was measured with: its protocol, its network, how many images."""
    counts = {"real": "real", "fake": "generated", "pairs": "pairs"}
    numbers = [f"{options[key]} {word}" for key, word in counts.items() if key in options]
    words = [*(options[key] for key in ("protocol", "network") if key in options), *numbers]
    if options.get("protocol") == "dlib" and options.get("counts") == "below the published":
        words.append(f"below the published counts: {options['encoded']} rows")
    if "other_data" in options:
        words.append(f"on other images: {options['other_data']:,} of {options['data']}")
    return ", ".join(words)


def show_places(run: "Model", found: "Sequence[Place]") -> None:
    """A line a control: how much of the image it changes, and three overlaps."""
    heads = ["mask", "sharp", "alike", "change", "mask ∩ change", "mask ∩ seen", "change ∩ truth", "mask ∩ truth"]
    known = any(p.change_truth is not None for p in found)
    table = Table(box=None, title="area of mask and change; ∩: intersection over union, mean over images")
    table.add_column("control", no_wrap=True)
    for head in heads if known else heads[:-2]:
        table.add_column(head, justify="right")
    for p in found:
        truth = (p.change_truth, p.mask_truth) if known else ()
        numbers = (p.sharpness, p.consistency, p.mask_change, p.mask_perceived, *truth)
        words = [f"{v:.2f}" if v is not None else "–" for v in numbers]
        name = escape(f"z{p.control} {run.names.get(p.control) or p.factor or ''}".strip())
        table.add_row(name, f"{p.area:.0%}", *words[:2], f"{p.share_changed:.0%}", *words[2:])
    Console().print(table)
    if not run.generator.has_masks:
        Console().print("mask: where an image changes by half of its largest change or more", soft_wrap=True)


def show_acting(run: "Model", found: "Sequence[Acting]") -> None:
    """Controls that act at a place, most first."""
    from wherewhat.evaluation.where import ACTS
    from wherewhat.run.names import shown

    names, table = shown(run), Table("control", "changes it by", "all of the image by", box=None)
    for acting in (a for a in found if a.there > ACTS):
        table.add_row(
            escape(f"z{acting.control} {names[acting.control]}"), f"{acting.there:.1%}", f"{acting.overall:.1%}"
        )
    Console().print(table if table.row_count else "no control changes this place")


def show_ranking(ranking: "Ranking") -> None:
    """The runs in order, the one picked, and the agreement with labels."""
    from wherewhat.evaluation.rank import BEST

    known = sorted({name for r in ranking.ranked for name in r.scores})
    longest = max(20, Console().width - 12 * (3 + len(known)))
    table = Table("", "run", ranking.by, "active", *known, box=None)
    for place, r in enumerate(ranking.ranked, 1):
        value = f"{r.value:.3f}" + (f" ± {r.error:.3f}" if r.error is not None else "")
        scores = [f"{r.scores[name]:.3f}" if name in r.scores else "–" for name in known]
        table.add_row(
            str(place),
            escape(shortened(r.run.word, longest)),
            value,
            "–" if r.active is None else str(r.active),
            *scores,
        )
    console = Console()
    console.print(table)
    if ranking.by == BEST:
        console.print(
            f"\nby {BEST}, which agreed best with labels where there are some: docs/selection.md", markup=False
        )
    first, *others = ranking.ranked
    console.print(f"\npicked: {escape(first.run.word)}", soft_wrap=True)
    if ties := sum(r.value == first.value and r.active == first.active for r in others):
        console.print(f"of other runs that have the same value as the first: {ties}")
    if len(sources := {r.run.source for r in ranking.ranked if r.run.source}) > 1:
        words = ", ".join(sorted(Path(source).name for source in sources))
        console.print(f"these runs were trained on different data, so their values may not compare: {words}",
                      markup=False, soft_wrap=True)  # fmt: skip
    for name, a in ranking.agreements.items():
        interval = f"[{a.low:+.2f}, {a.high:+.2f}]"
        console.print(f"with {name}: Spearman {a.spearman:+.2f} {interval}, regret {a.regret:.3f}, {a.models} runs",
                      markup=False)  # fmt: skip


def shortened(text: str, longest: int) -> str:
    """A text of at most so many letters: what is left out is in the middle, since names differ at their ends."""
    if len(text) <= longest:
        return text
    return f"{text[: (longest - 1) // 2]}…{text[-(longest // 2) :]}"


def draw_ranking(ranking: "Ranking", out: Path) -> None:
    """The order as a picture, beside what labels say of it where all runs have them."""
    from wherewhat.viz.canvas import save_still
    from wherewhat.viz.plots import draw_order

    ranked = ranking.ranked
    found = ranking.agreements.items()
    agreements = {name: f"Spearman {a.spearman:+.2f} [{a.low:+.2f}, {a.high:+.2f}]" for name, a in found}
    common = [name for name in ranked[0].scores if all(name in r.scores for r in ranked)]
    scores = {name: [r.scores[name] for r in ranked] for name in common}
    numbers = [r.value for r in ranked], [r.error for r in ranked], [r.active for r in ranked]
    save_still(draw_order([r.run.title for r in ranked], *numbers, ranking.by, scores, agreements), out)


def draw_factor_maps(run: "Model", rows: list[dict[str, Any]]) -> list[Path]:
    """The importance matrix of DCI as a picture, if it was measured."""
    from wherewhat.viz.plots import draw_factor_map

    return [draw_factor_map(run, row) for row in rows if row["metric"] == "dci"]


def show_inversions(rows: Sequence[dict[str, Any]]) -> None:
    """A line a photograph: each score before and after descent; the means below."""
    scores = list(rows[0]["after"])
    table = Table("photograph", *scores, box=None)

    def line(words: str, of: Sequence[dict[str, Any]]) -> None:
        means = [[sum(row[when][name] for row in of) / len(of) for when in ("before", "after")] for name in scores]
        table.add_row(words, *(f"{before:.3f} → {after:.3f}" for before, after in means))

    for row in rows:
        line(escape(row["photo"]), [row])
    if len(rows) > 1:
        line("mean", rows)
    Console().print(table)
