"""What verbs print: tables of scores, dimensions, places and runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wherewhat.rank import Ranking
    from wherewhat.runs import Run
    from wherewhat.where import Place


def show_dimensions(run: "Run") -> None:
    """The table of active dimensions: where, what, how much."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "slider", "where: centre (row, column), area", "what: matched factor, share", "TPL", title=str(run.path)
    )
    dimensions = run.dimensions or []
    for d in (d for d in dimensions if d.active):
        where = f"{d.place} ({d.row:.2f}, {d.column:.2f}), {d.area:.0%}"
        what = f"{d.factor} {d.share:.0%}" if d.factor else "–"
        table.add_row(f"z{d.latent}", where, what, f"{d.tpl:.2f} ± {d.tpl_error:.2f}")
    idle = [f"z{d.latent}" for d in dimensions if not d.active]
    if idle:
        table.caption = f"inactive: {', '.join(idle)}"
    Console().print(table)


def show_scores(rows: list[dict[str, Any]]) -> None:
    """A line a score, with the protocol it was measured under."""
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", "protocol", box=None)
    for row in rows:
        if row["metric"] == "dimensions":
            table.add_row("active dimensions", str(row["value"]), f"TPL above {row['options']['threshold']:g}")
            continue
        digits = 6 if row["metric"] == "kid" else 3
        error = row.get("details", {}).get("error")
        value = f"{row['value']:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")
        table.add_row(row["metric"], value, conditions(row["options"]))
    Console().print(table)


def conditions(options: dict[str, Any]) -> str:
    """In a few words what a score was measured with: its protocol, its network, how many images."""
    counts = {"real": "real", "fake": "generated", "pairs": "pairs"}
    numbers = [f"{options[key]} {word}" for key, word in counts.items() if key in options]
    return ", ".join([*(options[key] for key in ("protocol", "network") if key in options), *numbers])


def show_places(run: "Run", found: "Sequence[Place]") -> None:
    """A line a dimension: how much of the image it changes, and three overlaps."""
    from rich.console import Console
    from rich.table import Table

    table = Table("slider", "what", "of the image", "mask ∩ change", "change ∩ truth", "mask ∩ truth", box=None,
                  title="intersection over union, mean over images")  # fmt: skip
    for p in found:
        truths = [f"{v:.2f}" if v is not None else "–" for v in (p.change_truth, p.mask_truth)]
        what = run.names.get(p.latent) or p.factor or "–"
        table.add_row(f"z{p.latent}", what, f"{p.share_changed:.0%}", f"{p.mask_change:.2f}", *truths)
    Console().print(table)


def show_ranking(ranking: "Ranking") -> None:
    """The runs in order, the one picked, and the agreement with labels."""
    from rich.console import Console
    from rich.table import Table

    known = sorted({name for r in ranking.ranked for name in r.scores})
    table = Table("", "run", ranking.by, "active", *known, box=None)
    for place, r in enumerate(ranking.ranked, 1):
        value = f"{r.value:.3f}" + (f" ± {r.error:.3f}" if r.error is not None else "")
        scores = [f"{r.scores[name]:.3f}" if name in r.scores else "–" for name in known]
        table.add_row(str(place), str(r.run.path), value, "–" if r.active is None else str(r.active), *scores)
    console = Console()
    console.print(table)
    console.print(f"\npicked: {ranking.ranked[0].run.path}")
    for name, a in ranking.agreements.items():
        interval = f"[{a.low:+.2f}, {a.high:+.2f}]"
        console.print(f"with {name}: Spearman {a.spearman:+.2f} {interval}, regret {a.regret:.3f}, {a.models} runs",
                      markup=False)  # fmt: skip


def draw_factor_maps(run: "Run", rows: list[dict[str, Any]]) -> list[Path]:
    """The importance matrix of DCI as a picture, if it was measured."""
    from wherewhat.explore.draw import draw_factor_map

    return [draw_factor_map(run, row) for row in rows if row["metric"] == "dci"]
