"""The documents agree with the code: what is logged, who imports whom, which files and functions there are."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import small

from wherewhat.evaluation.evaluate import evaluate
from wherewhat.families import family_of
from wherewhat.recipes import RECIPES, find
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "log.md")]
"""all but the history, which says what was, under the names of that time"""
LOGGED = (ROOT / "docs" / "logged.md").read_text("utf-8")


def section(title):
    """The text of one section of docs/logged.md, with its subsections."""
    return re.split(r"^## ", LOGGED.split(f"\n## {title}\n")[1], flags=re.M)[0]


def entries(text):
    """The names that begin the entries of lists."""
    heads = re.findall(r"^- ((?:`\w+`(?:, )?)+)", text, re.M)
    return {name for head in heads for name in re.findall(r"`(\w+)`", head)}


def words(text):
    """Everything that is written as code, word by word."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_have_at_most_140_letters(page):
    assert not [line for line in page.read_text("utf-8").splitlines() if len(line) > 140]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_words_are_those_of_the_glossary(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.S)
    assert not re.findall(r"\b(dimensions?|recognisers?|readings?|rings?|told)\b", text, re.I)


# ------------------------------------------------------------------------------------------------------- what is logged


def test_the_documented_columns_are_the_clock_and_the_terms_of_all_families():
    terms = {name for config, _ in RECIPES.values() for name in family_of(config).weights(config, 0)}
    assert entries(section("train.jsonl")) == {"images_seen", "seconds"} | terms


@pytest.mark.parametrize("recipe", ["demo", "folder-gan", "rooms-lean", "rooms-lean-info", "beta-vae", "dip-vae-i"])
def test_every_column_that_a_training_writes_is_documented(recipe, tmp_path):
    run = train(replace(small(recipe), preview_every=10_000), str(tmp_path / "run"), "cpu", quiet=True)
    written = {name for row in run.rows("train") for name in row}
    assert written <= entries(section("train.jsonl"))


def test_the_scores_are_as_the_registry_has_them():
    script = runpy.run_path(str(ROOT / "docs" / "logged.py"))
    assert script["updated"](LOGGED) == LOGGED, "write it anew: python docs/logged.py"


def test_licences_of_all_that_is_installed_are_listed_and_allow_any_use():
    script = runpy.run_path(str(ROOT / "docs" / "licences.py"))
    listed = (ROOT / "docs" / "licences.md").read_text()
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in script["EXTRAS"] if extra for line in project["optional-dependencies"][extra]]
    for line in [*project["dependencies"], *extras]:
        name = re.split("[<>=]", line)[0]
        assert f"| {name} | {script['licence'](name)} |" in listed, "write it anew: python docs/licences.py"
    for name in script["needed"]():
        words = script["licence"](name)
        assert words, f"{name} does not say what it may be used for"
        assert not re.search("GPL|General Public|Commercial|Proprietary", words), (name, words)


def test_every_column_option_and_detail_that_an_evaluation_writes_is_documented(trained, tmp_path):
    run = Run(tmp_path, Run.open(trained).config)
    for name in ("checkpoints", "config.json"):
        (tmp_path / name).symlink_to(trained / name)
    documented = words(section("metrics.jsonl"))
    for row in evaluate(run, ["mig", "total_correlation", "psnr", "tpl"], "fast", distance="pixels", threshold=0.0):
        details = row.get("details", {})
        named = [key for part in (details if isinstance(details, list) else [details]) for key in part]
        assert {*row, row["metric"], *row["options"], *named} <= documented


# ------------------------------------------------------------------------------------------------- files and functions


def test_the_picture_of_the_architecture_is_up_to_date():
    script = runpy.run_path(str(ROOT / "docs" / "architecture.py"))
    assert script["stored"]() == script["source"](), "draw it anew: python docs/architecture.py"


def references(text):
    """`file.py`: `name`, `name` in a text, as pairs of a file and a name (without its class)."""
    for file, names in re.findall(r"`([\w/]+\.py)`:\s+((?:`[\w.]+`(?:\s\([^)]*\))?(?:,\s+)?)+)", text):
        for name in re.findall(r"`([\w.]+)`", names):
            yield file, name.split(".")[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_functions_that_a_page_names_exist(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target
    for file in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        assert (ROOT / file).exists() or (ROOT / "wherewhat" / file).exists(), file
    for file, name in references(text):
        source = (ROOT / "wherewhat" / file).read_text("utf-8")
        assert re.search(rf"\b(def|class) {name}\b|^ *{name}\b.* = ", source, re.M), f"{file}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_a_page_names_exist(page):
    sections = "data|generator|gan|autoencoder|encoder|optimizer|vae"
    found = re.findall(rf"`(?:--set )?((?:{sections})\.(?!safetensors)[a-z_0-9.]+)", page.read_text("utf-8"))
    assert not [name for name in found if not has_setting(name)]


def has_setting(path):
    """Whether some recipe has a setting of this name."""
    return any(reached(find(recipe), path.split(".")) for recipe in ("demo", "celeba", "beta-vae"))


def reached(at, keys):
    for key in keys:
        if key.isdecimal() and isinstance(at, tuple) and int(key) < len(at):
            at = at[int(key)]
        elif hasattr(at, key):
            at = getattr(at, key)
        else:
            return False
    return True
