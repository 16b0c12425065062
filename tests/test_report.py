"""The report: what the page shows, that it needs nothing else, and that it says nothing of where files are."""

import io
import re
import shutil
from base64 import b64decode
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from conftest import small
from helpers import enlivened, find_browser
from PIL import Image

from wherewhat import cli
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.evaluation.where import where
from wherewhat.nn.generator import mean_masks
from wherewhat.progress import silent
from wherewhat.run import model
from wherewhat.run.folder import Run
from wherewhat.train.loop import train
from wherewhat.viz import canvas, plots
from wherewhat.viz import page as parts
from wherewhat.viz import report as pages
from wherewhat.viz.page import LOOP_FRAMES, SIDE
from wherewhat.viz.report import (
    CHART_HEIGHT,
    CHART_WIDTH,
    SAMPLES,
    STILLS,
    chart,
    report,
    short,
    thinned,
    without_place,
)
from wherewhat.viz.traversals import starting_point

NASTY = '<script>alert("1")</script> & <b>wall</b>'


class Page(HTMLParser):
    """Tags with their attributes, and the text a reader sees."""

    def __init__(self, path):
        super().__init__()
        self.source, self.tags, self.words = path.read_text("utf-8"), [], []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, words):
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(words)

    def pictures(self, described):
        """Pictures whose alternative text begins so."""
        addresses = [a["src"] for tag, a in self.tags if tag == "img" and a["alt"].startswith(described)]
        return [Image.open(io.BytesIO(b64decode(a.removeprefix("data:image/webp;base64,")))) for a in addresses]


def row(metric, value, options=None, details=None, images=64):
    return {"images": images, "metric": metric, "value": value, "options": {"protocol": "fast", **(options or {})},
            "details": details}  # fmt: skip


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    """A run with every section: z1 is longer than z0; z1 has a nasty name, z0 none."""
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.01)
    where(run, 4, distance="pixels")
    importance = {"importance": [[1.0, 0.0, 0.5], [3.0, 2.0, 0.5]]}
    run.log_metric(row("dci", 0.123, {"factors": ["hue", "size", "turn"]}, importance))
    run.rename(1, NASTY)
    return run


@pytest.fixture(scope="module")
def page(scored):
    return Page(report(scored, distance="pixels"))


@pytest.fixture
def run(scored, tmp_path):
    return Run.open(shutil.copytree(scored.path, tmp_path / "run"))


@pytest.fixture
def drawn(monkeypatch):
    """Makes a page quickly: short loops, no curves."""
    monkeypatch.setattr(parts, "LOOP_FRAMES", 2)
    monkeypatch.setattr(plots, "rotations", lambda *_: {})
    return lambda run: Page(report(run))


def section(made, id):
    """The text of one part of the page."""
    inside = made.source.partition(f'<section id="{id}">')[2].partition("</section>")[0]
    return " ".join(unescape(re.sub("<[^>]+>", " ", inside)).split())


def far(picture, tile):
    """Mean difference of values from 0 to 255; the lossy format takes some."""
    return abs(np.asarray(picture.convert("RGB")).astype(int) - tile).mean()


# ------------------------------------------------------------------------------------------------------------- pictures


def test_a_mask_is_the_mean_mask_on_the_fixed_scale(page, scored):
    masks = mean_masks(scored.generator, torch.from_numpy(scored.draw(64, 0)))
    for k in (0, 1):
        (picture,) = page.pictures(f"Mask of z{k}")
        assert far(picture, canvas.heat(masks[k], picture.size[::-1])) < 4


def test_a_film_goes_from_one_end_to_the_other_in_frames_one_below_the_other(page, scored):
    base = starting_point(scored, 0)
    for k in (0, 1):
        (picture,) = page.pictures(f"The image while z{k}")
        count = LOOP_FRAMES // 2 + 1  # and back the same way
        (shown,) = [a for tag, a in page.tags if tag == "img" and a["alt"].startswith(f"The image while z{k}")]
        assert shown["class"] == "film back" and f"--frames: {count};" in shown["style"]
        assert picture.size == (SIDE, SIDE * count)
        frames = [picture.crop((0, SIDE * i, SIDE, SIDE * (i + 1))) for i in range(count)]
        low, middle, high = base.repeat(3, 1)
        low[k], middle[k], high[k] = -2, 0, 2
        tiles = canvas.to_tiles(scored.generator(torch.stack([low, middle, high])).image, SIDE)
        for frame, own in ((0, 0), (count // 2, 1), (count - 1, 2)):
            away = [far(frames[frame], tile) for tile in tiles]
            assert np.argmin(away) == own and away[own] < 25  # the lossy format takes much of noise


def test_a_film_of_an_angle_goes_once_round_and_does_not_repeat_its_first_frame(scored):
    generator, base = scored.generator, starting_point(scored, 0)
    made = parts.film(generator, base, 1, is_angle=True)
    assert (made.frames, made.back, made.shape) == (LOOP_FRAMES, False, "64 / 64")


def test_every_picture_decodes_and_is_described_or_part_of_what_is(page):
    described = page.pictures("")
    assert len(described) == 1 + 2 * 3 + 2 * SAMPLES + 2 * SAMPLES
    for picture in described:
        picture.load()
    assert len(page.pictures("Image 3 of the data")) == len(page.pictures("Image 3, reconstructed")) == 1
    groups = [a["aria-label"] for tag, a in page.tags if tag == "div" and a.get("role") == "img"]
    bare_ones = [a for tag, a in page.tags if tag == "img" and not a["alt"]]
    assert len(groups) == 1 and len(bare_ones) == 2 * SAMPLES


def test_a_strip_has_all_values_from_left_to_right(page, scored):
    (picture,) = page.pictures("The image with z1")
    base = starting_point(scored, 0).repeat(STILLS, 1)
    base[:, 1] = torch.linspace(-2, 2, STILLS)
    tiles = canvas.to_tiles(scored.generator(base).image, SIDE)
    step = (picture.width - SIDE) / (STILLS - 1)
    for k in range(STILLS):
        left = round(k * step)
        shown = picture.crop((left, 0, left + SIDE, SIDE))
        assert np.argmin([far(shown, tile) for tile in tiles]) == k


def test_figures_are_there_to_take_as_png_files_each_with_a_name_of_its_own(page, scored):
    links = [a for tag, a in page.tags if tag == "a" and "download" in a]
    names = [a["download"] for a in links]
    title = scored.title
    expected = [f"{title}-{part}.png" for part in ("z1", "z0", "importance", "rotations", "samples")]
    assert names == expected and len({a["aria-label"] for a in links}) == len(links)
    for a in links:
        with Image.open(io.BytesIO(b64decode(a["href"].removeprefix("data:image/png;base64,")))) as picture:
            assert picture.format == "PNG" and min(picture.size) > 60
            picture.load()


def test_the_contents_link_to_every_section_and_to_nothing_else(page, run, drawn):
    for made in (page, drawn(run)):
        ids = [a["id"] for _, a in made.tags if "id" in a]
        sections = [a["id"] for tag, a in made.tags if tag == "section"]
        links = [a["href"] for tag, a in made.tags if tag == "a" and a["href"].startswith("#")]
        assert links == [f"#{id}" for id in sections] and len(sections) >= 8
        assert len(set(ids)) == len(ids)


def test_cards_are_of_controls_in_use_and_of_named_ones_else_of_all(run, drawn, monkeypatch):
    monkeypatch.setattr("wherewhat.run.model.VISIBLE_SHARE", 2.0)  # no control changes twice the image
    assert len(drawn(run).pictures("Mask")) == 1  # the one with a name
    run.rename(1, "")
    assert len(drawn(run).pictures("Mask")) == 2


# -------------------------------------------------------------------------------------------------- what it says, where


def test_names_of_the_user_are_text_and_nothing_else(page):
    assert NASTY in page.text
    assert not {"script", "b"} & {tag for tag, _ in page.tags}


def test_it_needs_nothing_but_itself(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "action", "data"):
            address = attributes.get(name) or "data:"
            assert address.startswith("data:") or (tag, name) == ("a", "href"), address[:80]
    assert not re.search(r"url\(|@import|<script", page.source)
    assert len(page.source) < 1_000_000


def test_it_says_nothing_of_where_files_are(run, tmp_path, drawn):
    (tmp_path / "secret").mkdir()
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 0, 0)).save(tmp_path / "secret" / f"{i}.png")
    run.config = replace(run.config, data=replace(run.config.data, source=str(tmp_path / "secret")))
    run.write_about("done")
    about = run.path / "about.json"
    words = ["/home/ann/bin/wherewhat", "train", "demo", "--data=/home/ann/cats", "C:\\\\Users\\\\ann\\\\out", "--seed"]
    about.write_text(
        re.sub(r'"command": \[.*?\]', f'"command": {words}'.replace("'", '"'), about.read_text(), flags=re.S)
    )
    made = drawn(run)
    assert "wherewhat train demo --data=cats out --seed" in made.text
    assert "trained without labels on secret at 16×16" in made.text and '"source": "secret"' in made.text
    for place in (str(tmp_path), str(run.path.parent), "ann"):
        assert not re.search(rf"{re.escape(place)}\b", made.text)


@pytest.mark.parametrize(
    ("word", "shown"),
    [("/a/b.py", "b.py"), ("--data=/a/b/", "--data=b"), ("beta=0.1", "beta=0.1"), (".", "."), ("C:\\x\\y", "y"),
     ("rooms", "rooms"), ("", "")],
)  # fmt: skip
def test_a_word_is_shown_without_its_folder(word, shown):
    assert without_place(word) == shown


def test_a_run_of_the_package_has_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path))
    assert Run.open("pretrained:rooms").title == "pretrained:rooms"


# -------------------------------------------------------------------------------------------------------------- numbers


def test_the_latest_score_of_the_last_checkpoint_is_shown_with_its_protocol_and_options(run, drawn):
    for value, protocol, images in ((0.111, "fast", 64), (0.222, "dlib", 64), (0.333, "dlib", 32)):
        run.log_metric(row("mig", value, {"protocol": protocol, "bins": 20}, images=images))
    run.log_metric(row("novel", 0.444))
    run.log_metric(row("newer", 0.555))
    made = drawn(run)
    assert re.search(r"MIG one code .* 0\.222 dlib protocol dlib bins 20 ", made.text)
    assert re.search(r"MIG .* novel 0\.444 fast .* newer 0\.555 fast", made.text)
    assert not {"0.111", "0.333"} & set(made.text.split())
    tpl = run.latest("tpl")
    assert f"{tpl['value']:.3f} ± {tpl['details']['error']:.3f} small, pixels" in made.text


def headlines(made):
    """The tiles at the top: title and protocol, and the value."""
    inside = made.source.partition('class="headlines"')[2].partition("</dl>")[0]
    parts = [re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", div) for div in inside.split("<div>")[1:]]
    plain = [" ".join(re.sub("<[^>]+>", " ", title).split()) for ((title, _),) in parts]
    return [(words, value, "<small>" in title) for words, ((title, value),) in zip(plain, parts, strict=True)]


def test_every_number_at_the_top_and_on_a_card_has_its_protocol(page, scored):
    shown = headlines(page)
    assert len(shown) >= 4 and all(named for _, _, named in shown)
    assert shown[0][0].startswith("Controls in use each changes 0.3% of the image or more") and shown[0][1] == "2"
    words = " ".join(
        re.sub("<[^>]+>", " ", page.source.partition('class="cards"')[2].partition("</section>")[0]).split()
    )
    for d in scored.control_table:
        assert f"TPL {d.tpl:.2f} ± {d.tpl_error:.2f} small, pixels" in words
        assert f"{d.visible:.1%} of the image changes visibly" in words


def test_a_tpl_of_no_control_does_not_headline_a_run_whose_controls_are_seen(run, drawn):
    before = " ".join(title for title, *_ in headlines(drawn(run)))
    assert "TPL" in before and "Active controls" in before
    tpl, controls = run.latest("tpl"), run.latest("controls")
    run.log_metric({**tpl, "value": 0.0, "details": {**tpl["details"], "active": 0}})
    run.log_metric({**controls, "value": 0})
    made = drawn(run)
    after = " ".join(title for title, *_ in headlines(made))
    assert "TPL" not in after and "Active controls" not in after
    assert headlines(made)[0][1] == "2" and len(made.pictures("Mask")) == 2
    assert "0.000" in made.text.partition("What it says")[2]  # it is among the scores


def test_controls_are_a_table_longest_first(page, scored):
    first, second = scored.control_table
    assert (first.index, second.index) == (1, 0)
    table = page.text.partition("All controls")[2]
    for d in scored.control_table:
        where = f"{d.place} ({d.row:.2f}, {d.column:.2f}), {d.area:.0%}"
        visible = f"{d.visible:.1%}"
        assert f"{where} {d.factor} {d.share:.0%} {visible} {d.tpl:.3f} ± {d.tpl_error:.3f}" in table
    assert table.index(NASTY) < table.index("z0")


def test_importance_is_shares_of_each_factor(page):
    table = section(page, "importance")
    assert "hue size turn" in table
    assert f"z1 {NASTY} 0.75 1.00 0.50" in table
    assert re.search(r"z0 \S+ .*0.25 0.00 0.50", table)


def test_places_are_shown_without_columns_that_are_empty(page, run, drawn):
    row = run.latest("where")
    (place, _) = row["details"]
    said = f"{place['share_changed']:.0%} {place['mask_change']:.2f} {place['mask_perceived']:.2f}"
    found = section(page, "places")
    assert f"{said} {place['change_truth']:.2f} {place['mask_truth']:.2f}" in found
    unknown = [{**place, "change_truth": None, "mask_truth": None} for place in row["details"]]
    run.log_metric({**row, "details": unknown})
    found = section(drawn(run), "places")
    assert said in found and "truth" not in found


def test_rotation_curves_are_of_pairs_with_their_protocol(page):
    found = section(page, "axes")
    assert re.search(r"axis score [+-]\d\.\d\d", found)
    assert "25 points from −4 to 4, 5 base points" in found and "distance pixels" in found
    assert sum(tag == "polygon" for tag, _ in page.tags) == 1


def test_columns_of_the_training_are_curves(page, run, drawn):
    assert {"kl", "reconstruction"} <= set(page.text.partition("Against images seen.")[2].split())
    (run.path / "train.jsonl").unlink()
    assert "Against images seen." not in drawn(run).text


def test_a_curve_fills_its_frame_and_is_logarithmic_where_that_shows_more():
    x, y = np.array([0.0, 5, 10]), np.array([1.0, 10, 100])
    log, plain = (chart("loss", "words", x, y, [], logarithmic=log) for log in (True, False))
    assert log.line == f"0.0,{CHART_HEIGHT:.1f} {CHART_WIDTH / 2:.1f},{CHART_HEIGHT / 2:.1f} {CHART_WIDTH:.1f},0.0"
    assert plain.line.split()[1] == f"{CHART_WIDTH / 2:.1f},{CHART_HEIGHT * 10 / 11:.1f}"
    assert (log.top, log.bottom, log.words, plain.words) == ("100", "1", "words, logarithmic", "words")
    band = chart("length", "", x, y, [], errors=np.array([0.0, 0, 25]))
    assert band.bottom == "0" and band.line.split()[-1] == f"{CHART_WIDTH:.1f},{CHART_HEIGHT * 0.2:.1f}"
    flat = chart("loss", "", x, np.ones(3), [])
    assert "nan" not in flat.line and "inf" not in flat.line


def test_long_curves_are_averaged_and_counts_are_short():
    x, y = thinned(np.stack([np.arange(1000.0), np.arange(1000.0) % 2], 1))
    assert len(x) == 200 and x[0] == 2 and np.allclose(y, [0.4, 0.6] * 100)
    assert [short(n) for n in (64.0, 1280.0, 4e5, 1.6e6)] == ["64", "1.28k", "400k", "1.6M"]


def test_metrics_are_parsed_once_for_a_page(run, drawn, monkeypatch):
    parsed, parse = [], model.read_rows
    monkeypatch.setattr(model, "read_rows", lambda file: parsed.append(file.name) or parse(file))
    drawn(Run.open(run.path))
    assert sorted(parsed) == ["metrics.jsonl", "train.jsonl"]


# ------------------------------------------------------------------------------------------------------ what is missing


def test_what_is_missing_is_reported_with_its_command(trained, tmp_path, drawn, monkeypatch):
    def unusable(*_):
        raise UserError("no weights")

    monkeypatch.setattr(plots, "rotations", unusable)
    run = enlivened(trained, tmp_path / "run")
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.01)
    run.config = replace(run.config, data=replace(run.config.data, source="faces"))
    made = drawn(run)
    for command in ("evaluate RUN", "evaluate RUN --metrics dci", "where RUN", "report RUN --data PATH"):
        assert f"wherewhat {command}" in made.text
    assert "Not drawn: the distance alex" in made.text and "--distance pixels" in made.text
    assert not made.pictures("Image 1 of the data")


def test_a_distance_that_was_asked_for_must_work(run):
    with pytest.raises(UserError, match="did you mean pixels"):
        report(run, distance="pixls")
    assert not (run.path / "new.html").exists()


def test_one_control_in_use_has_no_pair_to_compare(run, drawn, monkeypatch):
    shares = sorted(d.visible for d in run.control_table)
    assert shares[0] < shares[1]
    monkeypatch.setattr("wherewhat.run.model.VISIBLE_SHARE", shares[1])
    assert "no pair to compare" in drawn(run).text


def test_a_gan_has_samples_and_no_reconstructions(tmp_path, drawn):
    run = train(small("rooms-lean", images=48), str(tmp_path / "gan"), "cpu", quiet=True)
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.0)
    made = drawn(run)
    assert "Recipe rooms-lean (family gan)" in made.text
    assert "--data PATH" not in made.text and not made.pictures("Image 1 of the data")
    assert {"d_loss", "g_loss"} <= set(made.text.split())


# ------------------------------------------------------------------------------------------------------------- the file


def test_the_file_goes_where_it_is_asked_to_and_is_whole_or_not_there(run, tmp_path, monkeypatch, drawn):
    contents = pages.contents(run, 0, None, "cpu", silent)
    monkeypatch.setattr(pages, "contents", lambda *_: contents)
    assert report(run, tmp_path / "new" / "A.HTML").read_text().rstrip().endswith("</html>")
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*a.html"):
        report(run, tmp_path / "file" / "a.html")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["A.HTML"]
    monkeypatch.setattr(pages, "contents", None)
    with pytest.raises(UserError, match=r"must end in .html"):
        report(run, tmp_path / "a.pdf")


def test_the_command_measures_tpl_first_and_prints_the_path(trained, tmp_path, capsys, monkeypatch):
    path = shutil.copytree(trained, tmp_path / "run")
    cli.main(["report", str(path), "--distance", "pixels", "--device", "cpu"])
    assert capsys.readouterr().out == f"{path / 'report.html'}\n"
    assert Run.open(path).control_table


def motion_stops_and_goes_on(browser, address):
    """By the keyboard; where less motion is wanted it stands still until it is asked for."""
    state = "getComputedStyle(document.querySelector('.film')).animationPlayState"
    place = "getComputedStyle(document.querySelector('.film')).objectPosition"
    settled = "document.querySelector('.film').getAnimations()[0].ready.then(() => null)"
    for motion, words in (
        ("no-preference", ["running", "paused", "running"]),
        ("reduce", ["paused", "running", "paused"]),
    ):
        tab = browser.new_context(reduced_motion=motion).new_page()
        tab.goto(address)
        for k, expected in enumerate(words):
            if k:
                tab.keyboard.press("Tab") if k == 1 else None
                tab.keyboard.press("Space")
            tab.wait_for_function(f"{state} == '{expected}'")
            tab.evaluate(settled)  # the state is told at once, what is drawn follows with a frame
            seen = set()
            for _ in range(4):
                seen.add(tab.evaluate(place))
                tab.wait_for_timeout(150)
            assert (len(seen) > 1) == (expected == "running")
        tab.close()


def test_in_a_browser_it_asks_for_nothing_fits_a_phone_and_all_pictures_show(run):
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    run.rename(0, "W" * 60)  # nothing to break it at
    address = report(run, distance="pixels").as_uri()
    asked, messages = [], []
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for scheme, width in (("light", 360), ("dark", 1100)):
            tab = opened.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme).new_page()
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("console", lambda message: messages.append(message.text))
            tab.on("pageerror", lambda error: messages.append(str(error)))
            tab.goto(address)
            tab.wait_for_function("[...document.images].every(image => image.complete)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            assert tab.evaluate("document.images.length") > 20
            tab.emulate_media(media="print")
            assert not tab.locator(".moving").first.is_visible() and tab.locator(".strip").first.is_visible()
            assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            tab.close()
        motion_stops_and_goes_on(opened, address)
        opened.close()
    assert {url.split(":")[0] for url in asked} <= {"file", "data"} and not messages


def test_the_report_of_a_shipped_run_is_written(tmp_path, drawn):
    """Little is known of where it was trained."""
    text = report(Run.open("pretrained:rooms"), tmp_path / "rooms.html").read_text()
    assert "pretrained:rooms" in text and "Versions" in text
