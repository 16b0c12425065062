"""The page of several runs: which numbers stand on one line, what their mean is of, which controls are beside which."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import enlivened, find_browser
from test_report import Page, row

from wherewhat import cli
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.run.folder import Run
from wherewhat.viz.comparison import compare, groups, lines, matched, titles

OPTIONS = {"protocol": "dlib", "bins": 20, "seed": 0}


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.01)
    return run


@pytest.fixture
def runs(scored, tmp_path):
    """Three seeds of one recipe, and a run of another."""
    made = []
    for k, seed in enumerate((0, 1, 2, 2)):
        path = shutil.copytree(scored.path, tmp_path / f"run{k}")
        config = json.loads((path / "config.json").read_text())
        config |= {"seed": seed, **({"recipe": "other"} if k == 3 else {})}
        (path / "config.json").write_text(json.dumps(config))
        made.append(Run.open(path))
    return made


def log(run, value, metric="mig", **options):
    run.log_metric(row(metric, value, OPTIONS | options))


def of(runs, metric):
    return [line for line in lines(runs, groups(runs)) if line.score.metric == metric]


def test_seeds_of_one_recipe_are_a_group_and_nothing_else_is(runs):
    (group,) = groups(runs)
    assert (group.members, group.title) == ([0, 1, 2], f"{runs[0].config.recipe}, seeds 0, 1, 2")
    assert groups(runs[:1]) == groups([runs[0], runs[3]]) == groups([runs[0], runs[0]]) == []
    runs[1].config = replace(runs[1].config, batch=4)
    assert groups(runs)[0].members == [0, 2]


def test_the_mean_and_deviation_are_those_of_the_seeds(runs):
    values = [0.4, 0.5, 0.9, 0.1]
    for run, value in zip(runs, values, strict=True):
        log(run, value)
    (line,) = of(runs, "mig")
    assert line.values == ["0.400", "0.500", "0.900", "0.100"]
    assert line.spreads == [f"{np.mean(values[:3]):.3f} ± {np.std(values[:3], ddof=1):.3f}"] == ["0.600 ± 0.265"]


def test_only_numbers_of_one_protocol_stand_on_one_line_and_no_run_is_left_out(runs):
    log(runs[0], 0.1)
    log(runs[1], 0.2, seed=5)  # another draw of the same protocol
    log(runs[2], 0.3, bins=10)
    shared, other = of(runs, "mig")
    assert (shared.values, other.values) == (["0.100", "0.200", None, None], [None, None, "0.300", None])
    assert shared.spreads == ["0.150 ± 0.071"] and other.spreads == [None]
    assert shared.score.options["bins"] == 20 and other.score.options["bins"] == 10


def test_a_protocol_that_all_runs_have_comes_before_a_better_one_of_some(runs):
    for run in runs:
        log(run, 0.25, protocol="fast")
    log(runs[0], 0.75)
    (line,) = of(runs, "mig")
    assert line.values == ["0.250"] * 4 and line.score.protocol == "fast"


def test_of_equally_many_the_protocol_that_stands_for_the_runs(runs):
    for run in runs:
        log(run, 0.25, protocol="fast")
        log(run, 0.75)
    (line,) = of(runs, "mig")
    assert line.values == ["0.750"] * 4 and line.score.protocol == "dlib"


def test_scores_of_earlier_checkpoints_are_not_compared(runs):
    for run in runs:
        run.log_metric(row("mig", 0.9, OPTIONS, images=32))
    assert not of(runs, "mig")


def test_controls_of_one_factor_are_beside_each_other_and_every_control_is_there_once(scored):
    plain = scored.control_table[0]
    a, b, c, d, e = (
        replace(plain, index=k, factor=factor, share=share)
        for k, (factor, share) in enumerate([("hue", 0.9), ("size", 0.8), ("hue", 0.7), (None, None), ("size", 0.2)])
    )
    assert matched([[a, b], [c, d, e]]) == [
        ("hue", [a, c]), ("size", [b, None]), ("others", [None, d]), ("", [None, e]),
    ]  # fmt: skip
    assert matched([[a, c], [d]]) == [("hue", [a, None]), ("others", [c, d])]
    assert matched([[d], [e]]) == [("", [d, e])]


def test_runs_of_one_name_are_told_apart(scored, tmp_path):
    assert titles([scored, scored]) == ["run (1)", "run (2)"]
    assert titles([scored, Run(tmp_path / "b", scored.config, "000064k")]) == ["run", "b@000064k"]


def test_the_page_has_all_runs_and_scores_and_every_picture_is_described(runs, tmp_path):
    for k, run in enumerate(runs):
        log(run, 0.1 * k)
    made = Page(compare(runs, tmp_path / "out" / "page.html"))
    text = made.text
    assert all(f"run{k}" in text for k in range(4)) and "seeds 0, 1, 2: mean ± s.d." in text
    assert re.search(r"MIG one code .* dlib .* 0\.000 0\.100 0\.200 0\.300 0\.100 ± 0\.100", text)
    images = [a for tag, a in made.tags if tag == "img"]
    assert len(images) == 1 + 4 * 2 * 2 and all(a["alt"] for a in images)
    assert len({a["alt"] for a in images}) == len(images)
    sections = [a["id"] for tag, a in made.tags if tag == "section"]
    assert [a["href"] for tag, a in made.tags if tag == "a" and a["href"][0] == "#"] == [f"#{id}" for id in sections]
    assert str(tmp_path) not in text and not {"script", "link"} & {
        tag for tag, a in made.tags if a.get("rel") != "icon"
    }


def test_without_seeds_to_compare_it_says_so(runs, tmp_path):
    text = Page(compare([runs[0], runs[3]], tmp_path / "page.html")).text
    assert "a difference may be chance" in text and "mean ± s.d." not in text


def test_the_command_writes_one_page_of_several_runs(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["report", "run0", "run1", "--device", "cpu"])
    assert capsys.readouterr().out == "comparison.html\n" and "2 runs" in Page(tmp_path / "comparison.html").text
    for words, wrong in (([], "name a run, or several"), (["run0", "run1", "--out", "a.pdf"], "must end in .html")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["report", *words])
        assert ended.value.code == 2 and wrong in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot write"):
        compare(runs[:2], tmp_path / "comparison.html" / "a.html")


def test_in_a_browser_it_fits_a_phone_and_all_pictures_show(runs, tmp_path):
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    address = compare(runs, tmp_path / "page.html").as_uri()
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for width in (360, 1280):
            tab = opened.new_context(viewport={"width": width, "height": 740}).new_page()
            tab.goto(address)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        opened.close()
