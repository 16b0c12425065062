"""What the table of the study of scores says: docs/selection.md and its pictures.  Run by selection.py --analyse."""

import csv
import io
import textwrap
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wherewhat.metrics import registry
from wherewhat.metrics.ranking import Agreement, agreement

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "selection.md"
BEGIN, END = "<!-- made by benchmarks/selection.py from results/selection.csv: begin -->", "<!-- end -->"
LABELLED = {"dci": "DCI", "factor_vae": "FactorVAE", "mig": "MIG"}
COMBINED = (
    "tpl", "axis", "direction_gain", "pipe", "consistency", "predictability", "rotation_gain", "negentropy",
    "total_correlation", "code_information", "change_overlap", "psnr",
)  # fmt: skip
"""scores whose ranks the fitted combination weighs"""
LEAST = 3  # models of a group, with fewer no correlation within it is computed
RESAMPLES = 1_000
ENOUGH = 90  # models, from which on the page does not warn that they are few
PAPER = {"dci": -0.719, "factor_vae": -0.596}  # Spearman of TPL, "Where and What?", section 4
AIM_ALL, AIM_WITHIN = 0.85, 0.6  # what a score should reach with DCI to choose a model by itself

Row = Mapping[str, Any]
Values = Float[np.ndarray, " n"]


class Candidate(NamedTuple):
    """A score without labels."""

    name: str
    label: str
    merit: Callable[[Row], float]
    """higher is better"""


class Study(NamedTuple):
    """One score against one that needs labels; all within a world, ranks of the two worlds pooled."""

    everywhere: Agreement
    in_family: Agreement | None
    at_equal_active: Agreement | None
    at_any_images: Agreement
    regret: float
    """mean over worlds"""


OTHERS = ("factors", "features", "paths", "where")  # needs of metrics that are not candidates
COUNTED = ("controls", "loss", "udr", "centrality")  # nor are these: no order, or not of one model by itself


def candidates() -> list[Candidate]:
    """Every score of one model by itself, in the order of the registry."""
    found = []
    scores = (score for metric in registry.METRICS if metric.needs not in OTHERS for score in metric.scores)
    for score in scores:
        if score.name in COUNTED:
            continue
        sign = -1.0 if score.better == "lower" else 1.0
        found.append(Candidate(score.name, score.label, lambda row, n=score.name, s=sign: s * row[n]))
        if score.name == "tpl":
            found.append(Candidate("tpl_each", "TPL per active control", tpl_each))
    found.append(Candidate("active", "Active controls", lambda row: row["controls"]))
    found.append(Candidate("kl", "KL divergence", lambda row: row["kl"]))
    return found


def tpl_each(row: Row) -> float:
    """−TPL over the number of active controls; without any, the worst."""
    return -row["tpl"] / row["controls"] if row["controls"] else -np.inf


def merits(candidate: Candidate, rows: Sequence[Row]) -> Values:
    """Of these models; for TPL a model without an active control is the worst, as in `rank`."""
    blank = candidate.name == "tpl"
    return np.array([-np.inf if blank and not row["controls"] else candidate.merit(row) for row in rows])


def standing(values: Values, groups: Sequence[Any]) -> Values:
    """The rank of each value within its group, from −½ to ½; nan in groups of fewer than LEAST."""
    from scipy.stats import rankdata

    found = np.full(len(values), np.nan)
    members = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    for places in members.values():
        if len(places) >= LEAST:
            found[places] = (rankdata(values[places]) - 0.5) / len(places) - 0.5
    return found


def within(merit: Values, known: Values, groups: Sequence[Any]) -> Agreement | None:
    """Agreement of ranks within groups, all groups pooled; None if no group is large enough."""
    a, b = standing(merit, groups), standing(known, groups)
    there = np.isfinite(a)
    return agreement(a[there], b[there], RESAMPLES) if there.sum() >= LEAST else None


def study(candidate: Candidate, label: str, rows: Sequence[Row], early: Sequence[Row]) -> Study:
    """rows: models at the end of their training; early: the same, earlier, as far as scored then."""
    rows = [row for row in rows if row.get(needed(candidate)) is not None]
    merit, known = merits(candidate, rows), np.array([row[label] for row in rows])
    worlds = [row["world"] for row in rows]
    both = [row for row in (*rows, *early) if row.get(needed(candidate)) is not None]
    mixed = within(merits(candidate, both), np.array([r[label] for r in both]), [r["world"] for r in both])
    everywhere = within(merit, known, worlds)
    assert everywhere is not None and mixed is not None
    return Study(
        everywhere,
        within(merit, known, [(row["world"], row["recipe"]) for row in rows]),
        within(merit, known, [(row["world"], row["controls"]) for row in rows]),
        mixed,
        mean_regret(merit, known, worlds),
    )


def needed(candidate: Candidate) -> str:
    """The column that a score is made of."""
    return {"tpl_each": "tpl", "active": "controls"}.get(candidate.name, candidate.name)


def mean_regret(merit: Values, known: Values, worlds: Sequence[str]) -> float:
    """The best labelled score of a world less that of the model picked, mean over worlds."""
    places = [np.array([w == world for w in worlds]) for world in dict.fromkeys(worlds)]
    return float(np.mean([known[own].max() - known[own][merit[own].argmax()] for own in places]))


def random_regret(known: Values, worlds: Sequence[str]) -> float:
    """The same of a model drawn at random."""
    places = [np.array([w == world for w in worlds]) for world in dict.fromkeys(worlds)]
    return float(np.mean([known[own].max() - known[own].mean() for own in places]))


def features(rows: Sequence[Row]) -> Float[np.ndarray, "n s"]:
    """Ranks within a world of the scores that are combined."""
    worlds = [row["world"] for row in rows]
    chosen = [c for c in candidates() if c.name in COMBINED]
    return np.stack([standing(merits(c, rows), worlds) for c in chosen], 1)


def left_out(rows: Sequence[Row], label: str) -> Values:
    """For each model what a ridge regression on ranks expects of its label's rank, fitted on all other families."""
    from sklearn.linear_model import RidgeCV

    x, y = features(rows), standing(np.array([row[label] for row in rows]), [row["world"] for row in rows])
    families, found = np.array([row["recipe"] for row in rows]), np.full(len(rows), np.nan)
    for family in np.unique(families):
        others, own = families != family, families == family
        found[own] = RidgeCV(np.logspace(-2, 3, 11)).fit(x[others], y[others]).predict(x[own])
    return found


def read(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Models at the end of their training, and the same at the earlier checkpoint.  Empty cells are None."""
    rows = [{k: number(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(file.read_text("utf-8")))]
    last = max(row["images"] for row in rows)
    return [row for row in rows if row["images"] == last], [row for row in rows if row["images"] < last]


def number(text: str) -> Any:
    """The number that a cell holds, its text if it holds none, None if it is empty."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def analyse(file: Path, planned: int) -> None:
    """Write the generated part of the page, and its pictures.  planned: models of the whole population."""
    rows, early = read(file)
    studies = {label: {c.name: study(c, label, rows, early) for c in candidates()} for label in LABELLED}
    draw_correlations(studies, DOCS / "pictures" / "selection.png")
    draw_models(rows, studies["dci"], DOCS / "pictures" / "selection-models.png")
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{body(rows, early, studies, planned)}\n{END}{rest.split(END)[1]}", "utf-8")


def body(rows: Sequence[Row], early: Sequence[Row], studies: Mapping[str, Mapping[str, Study]], planned: int) -> str:
    """The generated part of the page."""
    parts = [population(rows, early, planned), verdict(rows, studies)]
    for label, title in LABELLED.items():
        parts.append(f"### Against {title}\n\n{table(studies[label], rows, label)}")
    return "\n\n".join(parts) + "\n"


def population(rows: Sequence[Row], early: Sequence[Row], planned: int) -> str:
    """How many models there are, and how good."""
    said = f"{len(rows)} of {planned} models are trained, to {rows[0]['images']:,.0f} images"
    said += f"; {len(early)} of them are scored after about {early[0]['images']:,.0f} too." if early else "."
    if len(rows) < ENOUGH:
        said += " Intervals are wide while they are few: this is a first look, no verdict."
    lines = [
        textwrap.fill(said, 132) + "\n",
        "| family | sprites | rooms | DCI, sprites | DCI, rooms | FactorVAE, sprites | FactorVAE, rooms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for family in dict.fromkeys(row["recipe"] for row in rows):
        own = {w: [r for r in rows if r["recipe"] == family and r["world"] == w] for w in ("sprites", "rooms")}
        counts = [str(len(members)) for members in own.values()]
        spans = [span([r[label] for r in members]) for label in ("dci", "factor_vae") for members in own.values()]
        lines.append(f"| `{family}` | " + " | ".join(counts + spans) + " |")
    return "\n".join(lines)


def span(values: Sequence[float]) -> str:
    """From the least to the largest."""
    return f"{short(min(values))} … {short(max(values))}" if values else "–"


def short(value: float) -> str:
    """Three digits, without the 0 before the point."""
    return f"{value:.3f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """Two digits and the sign, without the 0 before the point."""
    return "–" if np.isnan(value) else f"{value:+.2f}".replace("0.", ".", 1).replace("-", "−")


def cell(found: Agreement | None) -> str:
    """A correlation and its interval."""
    return f"{signed(found.spearman)} [{signed(found.low)}, {signed(found.high)}]" if found else "–"


def table(studies: Mapping[str, Study], rows: Sequence[Row], label: str) -> str:
    """A row a score, the best over all models first."""
    lines = [
        "| score | all | within a family | at equal active | any images | regret |",
        "|---|---|---|---|---|--:|",
    ]
    labels = {c.name: c.label for c in candidates()}
    for name, s in sorted(studies.items(), key=lambda item: -nothing_for_nan(item[1].everywhere.spearman)):
        cells = [cell(s.everywhere), cell(s.in_family), cell(s.at_equal_active), cell(s.at_any_images), short(s.regret)]
        lines.append(f"| {labels[name]} | " + " | ".join(cells) + " |")
    combined, known = left_out(rows, label), np.array([row[label] for row in rows])
    worlds, families = [r["world"] for r in rows], [(r["world"], r["recipe"]) for r in rows]
    active = [(r["world"], r["controls"]) for r in rows]
    cells = [cell(within(combined, known, groups)) for groups in (worlds, families, active)]
    cells += ["–", short(mean_regret(combined, known, worlds))]
    lines.append("| *fitted on the other families* | " + " | ".join(cells) + " |")
    lines.append(f"| *a model drawn at random* | – | – | – | – | {short(random_regret(known, worlds))} |")
    return "\n".join(lines)


def nothing_for_nan(value: float) -> float:
    """0 for a correlation that is not defined."""
    return 0.0 if np.isnan(value) else value


def verdict(rows: Sequence[Row], studies: Mapping[str, Mapping[str, Study]]) -> str:
    """What holds and what does not, in sentences."""
    labels = {c.name: c.label for c in candidates()}
    dci = studies["dci"]
    tpl = [f"{signed(-studies[label]['tpl'].everywhere.spearman)} with {LABELLED[label]} (paper {signed(was)})"
           for label, was in PAPER.items()]  # fmt: skip
    lines = [f"- **TPL**: Spearman {' and '.join(tpl)}; negative is right. {holds(studies)}"]
    best = max(dci, key=lambda name: nothing_for_nan(dci[name].everywhere.spearman))
    inside = {name: s.in_family for name, s in dci.items() if s.in_family is not None}
    if not inside:
        lines.append(f"- No family has {LEAST} models of a world yet: nothing is known within a family.")
        lines.append(f"- **Best over all models**: {labels[best]}, {cell(dci[best].everywhere)} with DCI.")
    else:
        first = max(inside, key=lambda name: nothing_for_nan(inside[name].spearman))
        lines.append(f"- **Best over all models**: {labels[best]}, {cell(dci[best].everywhere)} with DCI, and "
                     f"{cell(dci[best].in_family)} within a family.")  # fmt: skip
        lines.append(f"- **Best within a family**: {labels[first]}, {cell(inside[first])} with DCI, and "
                     f"{cell(dci[first].everywhere)} over all models.")  # fmt: skip
        reached = [labels[n] for n, a in inside.items()
                   if dci[n].everywhere.spearman >= AIM_ALL and a.spearman >= AIM_WITHIN]  # fmt: skip
        aim = f"{signed(AIM_ALL)} over all models and {signed(AIM_WITHIN)} within a family, with DCI"
        who = f"reached by {', '.join(reached)}" if reached else "no score reaches it"
        lines.append(f"- **Aim**: {aim}: {who}.")
        blind = [labels[n] for n, a in inside.items() if a.low <= 0 <= a.high]
        if blind:
            lines.append(f"- **Not different from chance within a family** (0 is in the interval): {', '.join(blind)}.")
        wrong = [labels[n] for n, a in inside.items() if a.high < 0]
        if wrong:
            lines.append("- **Points the wrong way within a family**: " + ", ".join(wrong) + ".")
    return "\n".join(textwrap.fill(line, 132, subsequent_indent="  ") for line in lines)


def holds(studies: Mapping[str, Mapping[str, Study]]) -> str:
    """Whether the paper's correlations are inside the intervals."""
    inside = [(label, -studies[label]["tpl"].everywhere.high <= was <= -studies[label]["tpl"].everywhere.low)
              for label, was in PAPER.items()]  # fmt: skip
    yes, no = ([LABELLED[label] for label, found in inside if found is which] for which in (True, False))
    said = [f"The paper's value for {' and '.join(yes)} is inside the interval here."] if yes else []
    said += [f"The paper's value for {' and '.join(no)} is not reproduced."] if no else []
    return " ".join(said)


def draw_correlations(studies: Mapping[str, Mapping[str, Study]], file: Path) -> None:
    """Correlations with intervals, a row a score, a panel a labelled score."""
    from matplotlib.figure import Figure

    labels = {c.name: c.label for c in candidates()}
    order = sorted(studies["dci"], key=lambda n: nothing_for_nan(studies["dci"][n].everywhere.spearman))
    figure = Figure(figsize=(11, 0.6 + 0.27 * len(order)), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(studies), sharey=True)
    for panel, (label, found) in zip(panels, studies.items(), strict=True):
        for shift, words, colour in ((0.15, "everywhere", "tab:blue"), (-0.15, "in_family", "tab:orange")):
            for place, name in enumerate(order):
                a: Agreement | None = getattr(found[name], words)
                if a is not None and np.isfinite(a.spearman):
                    panel.plot([a.low, a.high], [place + shift] * 2, color=colour, linewidth=1)
                    panel.plot([a.spearman], [place + shift], "o", color=colour, markersize=4)
        panel.axvline(0, color="0.6", linewidth=0.8)
        panel.set_xlim(-1, 1)
        panel.set_xticks([-1, -0.5, 0, 0.5, 1])
        panel.grid(axis="x", color="0.92")
        panel.set_title(f"Spearman with {LABELLED[label]}", fontsize=9)
        panel.tick_params(labelsize=8)
    panels[0].set_yticks(range(len(order)), [labels[name] for name in order])
    for words, colour in (("all models", "tab:blue"), ("within a family", "tab:orange")):
        panels[-1].plot([], [], "o-", color=colour, markersize=4, linewidth=1, label=words)
    figure.legend(fontsize=8, loc="outside lower right", ncols=2)
    figure.savefig(file)


def draw_models(rows: Sequence[Row], studies: Mapping[str, Study], file: Path) -> None:
    """Every model: DCI against TPL and against the scores that agree best with it, a row a world."""
    from matplotlib.figure import Figure

    named = {c.name: c for c in candidates()}
    best = sorted(studies, key=lambda n: -nothing_for_nan(studies[n].everywhere.spearman))
    chosen = ["tpl", *[name for name in best if name != "tpl"][:4]]
    families = list(dict.fromkeys(row["recipe"] for row in rows))
    figure = Figure(figsize=(12, 5), dpi=110, layout="constrained")
    panels = figure.subplots(2, len(chosen), sharey="row")
    for line, world in zip(panels, ("sprites", "rooms"), strict=True):
        for panel, name in zip(line, chosen, strict=True):
            for k, family in enumerate(families):
                there = [r for r in rows if r[needed(named[name])] is not None]
                own = [r for r in there if (r["recipe"], r["world"]) == (family, world)]
                shown = [abs(named[name].merit(r)) if np.isfinite(named[name].merit(r)) else np.nan for r in own]
                panel.scatter(shown, [r["dci"] for r in own], s=14, color=f"C{k}", label=family)
            panel.tick_params(labelsize=7)
            if world == "rooms":
                panel.set_xlabel(named[name].label, fontsize=8)
        line[0].set_ylabel(f"DCI, {world}", fontsize=8)
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=len(families)
    )
    figure.savefig(file)
