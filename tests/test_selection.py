"""The study of scores: its population, its table, and what it concludes from tables that are made up."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import selection
import selection_page as page

RNG = np.random.default_rng(0)
NAMES = [page.needed(c) for c in page.candidates()]
CANDIDATES = {c.name: c for c in page.candidates()}


def made_up(count=60, families=("a", "b", "c"), seed=0):
    """Models whose scores say nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        about = {"world": ("sprites", "rooms")[i % 2], "recipe": families[i // 2 % len(families)], "images": 40_000.0}
        numbers = {name: float(rng.random()) for name in {*NAMES, *page.LABELLED}}
        rows.append(about | numbers | {"controls": float(rng.integers(2, 5))})
    return rows


def test_every_model_of_the_population_is_another_one_and_valid():
    models = list(selection.population())
    assert len({m.folder for m in models}) == len(models) >= 90
    configs = [m.config() for m in models[:46]]  # those of the first seed
    assert len({str(c) for c in configs}) == len(configs)
    assert {c.total_images for c in configs} == {selection.CHECKPOINTS[-1]}
    assert {c.latents for c in configs if c.vae} == {10}


def test_the_table_is_read_as_it_was_written(tmp_path):
    one = {"world": "rooms", "setting": 'vae.weights={"kl": 1, "b": 2}', "mig": "0.5"}
    rows = [one, {"world": "sprites", "pipe": "1"}]
    (tmp_path / "table.csv").write_text(selection.written(rows))
    again = selection.read(tmp_path / "table.csv")
    assert [{k: v for k, v in row.items() if v} for row in again] == rows


def test_models_with_rows_are_not_trained_again(tmp_path, monkeypatch):
    trained = []

    def measured(model, folder):
        trained.append(model)
        return [{**{k: str(v) for k, v in model._asdict().items()}, "images": str(n)} for n in selection.CHECKPOINTS]

    monkeypatch.setattr(selection, "measured", measured)
    monkeypatch.setattr(selection, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(selection, "SEEDS", 1)
    monkeypatch.setattr(sys, "argv", ["selection.py", "--work", str(tmp_path)])
    selection.main()
    count = len(trained)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    (tmp_path / "table.csv").write_text("\n".join(lines[:-2]) + "\n")  # as if it had been stopped before the last
    selection.main()
    assert len(trained) == count + 1 and trained[-1] == trained[-2]
    assert (tmp_path / "table.csv").read_text().splitlines() == lines


def test_correlations_are_scipys_within_a_world():
    rows = [row for row in made_up() if row["world"] == "rooms"]
    found = page.study(CANDIDATES["psnr"], "dci", rows, [])
    expected = spearmanr([r["psnr"] for r in rows], [r["dci"] for r in rows]).statistic
    assert found.everywhere.spearman == pytest.approx(expected)
    assert found.everywhere.low < expected < found.everywhere.high
    tpl = page.study(CANDIDATES["tpl"], "dci", rows, []).everywhere.spearman
    assert tpl == pytest.approx(-spearmanr([r["tpl"] for r in rows], [r["dci"] for r in rows]).statistic)


def test_a_score_that_tells_families_apart_alone_is_blind_within_them():
    rows = made_up(120)
    for row in rows:
        level = "abc".index(row["recipe"])
        row |= {"dci": level + 0.1 * RNG.random(), "pipe": level + 0.1 * RNG.random()}
    found = page.study(CANDIDATES["pipe"], "dci", rows, [])
    assert found.everywhere.spearman > 0.8 and abs(found.in_family.spearman) < 0.25
    assert found.in_family.low < 0 < found.in_family.high


def test_a_perfect_score_has_no_regret_and_a_wrong_one_all():
    rows = made_up()
    known = np.array([row["dci"] for row in rows])
    worlds = [row["world"] for row in rows]
    assert page.mean_regret(known, known, worlds) == 0
    assert page.mean_regret(-known, known, worlds) == pytest.approx(np.mean([np.ptp(known[::2]), np.ptp(known[1::2])]))
    assert 0 < page.random_regret(known, worlds) < page.mean_regret(-known, known, worlds)


def test_the_combination_is_not_fitted_on_the_family_that_it_orders():
    """In one family the score means the opposite: a combination that had seen it would not order it so wrongly."""
    rows = made_up(160, ("a", "b", "c", "d"))
    for row in rows:
        row["pipe"] = row["dci"] if row["recipe"] != "c" else 1 - row["dci"]
    combined = page.left_out(rows, "dci")
    known, families = np.array([r["dci"] for r in rows]), np.array([r["recipe"] for r in rows])
    assert spearmanr(combined[families == "c"], known[families == "c"]).statistic < -0.5
    assert spearmanr(combined[families == "a"], known[families == "a"]).statistic > 0.2


def test_models_without_active_controls_are_the_worst_by_tpl():
    rows = made_up(8)
    rows[0] |= {"controls": 0.0, "tpl": 0.0}
    for name in ("tpl", "tpl_each"):
        assert page.merits(CANDIDATES[name], rows).argmin() == 0


def test_the_page_is_written_from_the_table(tmp_path, monkeypatch):
    rows = made_up(32)
    for row in rows:
        row["tpl"] = 1 - row["dci"]
    file = tmp_path / "table.csv"
    with file.open("w") as opened:
        table = csv.DictWriter(opened, rows[0])
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "selection.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "selection.md")
    monkeypatch.setattr(page, "RESAMPLES", 50)
    page.analyse(file, 100)
    written = (tmp_path / "selection.md").read_text()
    assert written.startswith("before\n") and written.endswith("after\n") and "old" not in written
    assert "| TPL | +1.00 [+1.00, +1.00] |" in written and "32 of 100 models" in written
    assert "reached by TPL" in written
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {"selection.png", "selection-models.png"}
