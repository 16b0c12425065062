"""The command line: what each verb says and does, and that what a user can mend is one message and exit status 2."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image

from wherewhat import recipes
from wherewhat.cli import VERBS, training
from wherewhat.cli.options import FunctionOptions
from wherewhat.evaluation import evaluate, kinds
from wherewhat.families import family_of
from wherewhat.metrics import registry
from wherewhat.metrics.weights import lpips_file
from wherewhat.recipes import RECIPES, at_resolution
from wherewhat.run.folder import Run
from wherewhat.train import loop

LPIPS = lpips_file("alex")
"""where this machine keeps its own weights, whatever WHEREWHAT_CACHE is in a test"""
SMALL = ["--resolution", "16", "--batch", "8", "--images", "16", "--precision", "fp32", "--device", "cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder, an empty cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def refused(call):
    """Runs a command that must fail: exit status 2, one message on standard error and nothing else.  Returns it in one
    line, without frames."""

    def run(*words):
        status, out, err = call(*words)
        assert status == 2, err
        assert out == ""
        assert "Traceback" not in err
        assert err.count("wherewhat: ") + err.count("For full helptext") == 1, err
        return " ".join(re.sub(r"[│╭╮╰╯─]", " ", err).split())

    return run


@pytest.fixture
def run_folder(trained):
    return shutil.copytree(trained, Path("run"))


def pictures(folder, sizes):
    Path(folder).mkdir()
    random = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(f"{folder}/{i:02}.png")
    return Path(folder)


# --------------------------------------------------------------------------------------------------------------- help


def flags(verb):
    names = list(inspect.signature(VERBS[verb]).parameters.values())
    flags = [p.name for p in names if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    if "function" in flags:  # options that several verbs share
        flags[flags.index("function") :] = [field.name for field in fields(FunctionOptions)]
    return ["--" + name.removeprefix("as_").rstrip("_").replace("_", "-") for name in flags]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_says_what_it_does_and_explains_each_flag(verb, call):
    status, out, _ = call(*verb.split(), "--help")
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
    assert status == 0
    assert f"usage: wherewhat {verb}" in words
    assert VERBS[verb].__doc__.split("\n")[0].split(".  ")[0].split()[0] in words
    for flag in flags(verb):
        assert re.search(rf"{flag}[ ,]", words), flag
    options = inspect.getdoc(VERBS[verb]).partition("Args:")[2]
    described = re.findall(r"^    (\w+): (.+)", options, re.M)
    others = inspect.signature(VERBS[verb]).parameters.keys() - {name for name, _ in described}
    for name in others:  # their help is made elsewhere: of --metrics by the registry
        annotation = inspect.signature(VERBS[verb]).parameters[name].annotation
        assert any(getattr(more, "help", None) for more in annotation.__metadata__), name
    for _, text in described:
        assert text in words, text


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_has_a_line_for_each_verb(words, call):
    status, out, err = call(*words)
    assert (status, err) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^  wherewhat {verb} +\S", out, re.M), verb


def test_train_has_at_most_25_flags():
    assert 10 < len(flags("train")) <= 25


def test_version(call):
    status, out, _ = call("--version")
    assert status == 0
    assert re.fullmatch(r"\d+\.\d+.*\n", out)


def test_recipes_are_listed(call):
    _, out, _ = call("recipes")
    for name in RECIPES:
        base, _, suffix = (name, "", "") if name in recipes.WHOLE_NAMES else name.rpartition("-")
        assert re.search(rf"^ {base} ", out, re.M), name
        assert not suffix or f"  -{suffix} " in out
    assert "Ablations of rooms-lean, rooms, sprites" in out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "demoo"], ["train", "celeba"]])
def test_help_and_typing_errors_do_not_wait_for_torch(words):
    code = (
        "import sys\n"
        "from wherewhat import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_a_reader_who_wants_no_more_gets_no_traceback():
    words = [sys.executable, "-m", "wherewhat.cli", "train", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_the_installed_command_ends_with_2_and_one_message():
    command = Path(sys.executable).with_name("wherewhat")
    ran = subprocess.run([command, "train", "demoo"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "wherewhat: there is no recipe demoo; did you mean demo?\n"


# --------------------------------------------------------------------------------------------------------- wrong words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian demo", "there is no command trian; did you mean train?"),
        (
            "qqqq",
            "there is no command qqqq; the nearest of ",
        ),
        ("data lst", "there is no command data lst; did you mean data list?"),
        ("data", "data takes a second word; there is: data list, data show"),
        ("data --help", "data takes a second word; there is: data list, data show"),
        ("train room", "there is no recipe room; did you mean rooms?"),
        ("train rooms-sp", "there is no recipe rooms-sp; did you mean rooms-"),
        ("train demo --sed 3", "Perhaps you meant"),
        ("train demo --resolutoin 3", "Perhaps you meant: --resolution"),
        ("evaluate run --jsn", "Perhaps you meant: --json"),
        ("train", "Missing from wherewhat train"),
        ("evaluate", "Missing from wherewhat evaluate"),
        ("train demo --images many", "--images"),
        ("train demo --device gpu", "auto"),
        ("train demo --channels 2", "--channels"),
        ("train demo --fit stretch", "crop"),
        ("train demo --seed -1", "--seed -1: give 0 or more"),
        ("train demo --processes 0", "--processes 0: give 1 or more"),
        (
            "train demo --batch 0 --images -5",
            "2 problems in recipe demo total_images: Input should be greater",
        ),
        ("train demo --lr 0", "optimizer.lr: Input should be greater than 0"),
        ("train demo --resolution 100x100", "near it for square images: 80, 96, 112"),
        ("train demo --resolution 0x64", "--resolution 0x64: write it as 64, or height x width as in 128x96"),
        ("train demo --resolution 8", "leaves no stage for recipe demo: choose a larger one"),
        ("train demo --resolution junk", "--resolution junk: write it as 64, or height x width as in 128x96"),
        ("train demo --resolution 64x64x3", "--resolution 64x64x3: write it as"),
        ("train demo --resolution 64x", "--resolution 64x: write it as"),
        ("train demo --resolution ²", "--resolution ²: write it as"),
        ("train celeba", "recipe celeba brings no images: give a folder, a zip or a file with --data"),
        ("train demo --data roms", "roms is neither a world nor a file here; did you mean rooms?"),
        ("train demo --data no/such", "no/such"),
        ("train demo --set autoencoder.bta=3", "there is no setting autoencoder.bta; did you mean beta?"),
        ("train demo --set autoencodr.beta=3", "there is no setting autoencodr.beta; did you mean autoencoder?"),
        ("train demo --set generator.stages.7.channels=8", "there is no setting generator.stages.7.channels"),
        ("train demo --set autoencoder.beta", "write it as name=value, as in --set autoencoder.beta=3"),
        ("train demo --set autoencoder.beta=much", "autoencoder.beta: Input should be a valid number"),
        (
            "train demo --set generator.mask=circles",
            "generator.mask: Input should be 'boxes', 'softmax' or 'none'",
        ),
        (
            "train demo --set prior=uniform",
            "to which no KL divergence is finite: prior = generalized_normal or normal",
        ),
        ("data show qqq", "qqq is neither a world nor a file here; there is: rooms, sprites"),
        ("data show rooms --resolution 0", "--resolution 0: write it as"),
        ("data show rooms --resolution 16 --out x.jpg", "its name must end in .png, .gif, .mp4"),
        ("weights --archive no.tar.gz", "no.tar.gz"),
        ("demo --seed -1", "--seed -1: give 0 or more"),
        ("explore", "name a run to explore"),
    ],
)
def test_wrong_words_are_one_message_and_leave_nothing(words, message, refused):
    assert message in refused(*words.split())
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate run --metrics mgi", "there is no metric mgi; did you mean mig?"),
        ("evaluate run --metrics mig,,sap", "there is no metric"),
        ("evaluate run --protocol fsat", "there is no protocol fsat; did you mean fast?"),
        ("evaluate run --tpl larg", "there is no TPL protocol larg; did you mean large?"),
        ("evaluate run --distance pixls", "did you mean pixels?"),
        ("evaluate run", "weights are not on this machine"),
        ("evaluate run --threshold high", "--threshold"),
        ("evaluate run --seed -1", "--seed -1: give 0 or more"),
        ("evaluate rum", "there is no run rum; did you mean run?"),
        ("evaluate .", ". is not a run: it has no config.json"),
        ("evaluate run/config.json", "is not a run"),
        ("traverse rum", "there is no run rum; did you mean run?"),
        ("traverse run", "weights are not on this machine"),
        ("traverse run --controls 2 --distance pixels", "run has no control 2"),
        ("traverse run --controls hue,0 --distance pixels", "run has no control hue"),
        ("traverse run --dims ² --distance pixels", "run has no control ²"),
        ("traverse run --steps 1 --distance pixels", "--steps 1: a traversal takes 2 steps or more"),
        ("traverse run --reach 0 --distance pixels", "--reach 0: a traversal goes from −reach to +reach"),
        ("traverse run --out a.bmp --distance pixels", "a.bmp: its name must end in .png, .gif, .mp4"),
        ("traverse run --seed -1", "--seed -1: give 0 or more"),
    ],
)
def test_wrong_words_about_a_run_are_one_message_and_leave_it_whole(words, message, refused, run_folder):
    assert message in refused(*words.split())
    assert [p.name for p in Path.cwd().iterdir()] == ["run"]
    assert Run.open("run").images_seen == 64


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
@pytest.mark.parametrize("words", ["train demo", "evaluate run", "traverse run", "demo"])
def test_cuda_asked_for_and_absent(words, refused, run_folder):
    assert "--device cuda: PyTorch finds none on this machine; usable here: cpu" in refused(
        *words.split(), "--device", "cuda"
    )
    assert not Path("runs").exists()


# ------------------------------------------------------------------------------------------------------------ training


def test_an_empty_folder_is_reported(refused):
    Path("nothing").mkdir()
    assert "nothing holds no images" in refused("train", "demo", "--data", "nothing", *SMALL)
    assert not Path("runs").exists()


def test_images_smaller_than_the_resolution_are_reported_with_the_largest_that_works(refused):
    folder = pictures("tiny", [(8, 12), (12, 8), (9, 9)])
    message = refused("train", "demo", "--data", folder, *SMALL)
    assert "no image of" in message
    assert re.search(r"00.png \(8x12 is smaller than 16x16\)", message)
    assert "The largest resolution that would work is 9x9" in message
    assert not Path("runs").exists()


def test_unreadable_files_are_skipped_counted_and_named(call, refused):
    folder = pictures("mixed", [(20, 24)] * 5)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8")
    (folder / "notes.png").write_text("not an image")
    status, out, err = call("train", "demo", "--data", "mixed", "--out", "run", *SMALL)
    assert status == 0
    assert re.search(r"5 images .*2 skipped: broken.jpg \(.*\), notes.png \(.*\)", err)
    assert out == "run: 16 images seen. Next: wherewhat evaluate run\n"
    assert Run.open("run").config.data.source == str(folder.absolute())
    for i in range(5):
        (folder / f"{i:02}.png").unlink()
    assert "broken.jpg" in refused("train", "demo", "--data", "mixed", "--out", "other", *SMALL)


def test_flags_reach_the_configuration(call):
    pictures("cats", [(40, 40)] * 3)
    more = (
        "--resolution 16x32 --channels 1 --fit pad --rate 0.01 --seed 5 --batch 4 --images 8 --precision fp32 --quiet"
    )
    settings = ["--set", "generator.stages.0.channels=8", "--set", "autoencoder.sigma=.3", "--set", "prior=normal"]
    status, out, _ = call("train", "demo", "--data", "cats", *more.split(), *settings, "--device", "cpu")
    assert (status, out) == (0, "")
    run = Run.open("runs/demo-s5")
    config, data = run.config, run.config.data
    assert (data.height, data.width, data.channels, data.fit) == (16, 32, 1, "pad")
    assert (config.optimizer.lr, config.seed, config.batch, config.total_images) == (0.01, 5, 4, 8)
    assert (config.precision, config.autoencoder.sigma, config.generator.stages[0].channels) == ("fp32", 0.3, 8)
    assert run.images_seen == 8
    assert run.about["state"] == "done"


def test_another_configuration_in_the_folder_is_refused_with_the_difference(call, refused):
    words = ["train", "demo", "--out", "run", *SMALL]
    call(*words)
    before = Path("run/config.json").read_bytes()
    message = refused(*words, "--set", "autoencoder.beta=5", "--seed", 4)
    assert "run holds a training with other settings" in message
    assert "autoencoder.beta: 3.0 → 5.0" in message
    assert "seed: 0 → 4" in message
    assert "Choose another folder with --out" in message
    assert Path("run/config.json").read_bytes() == before


def test_the_same_command_again_goes_on(call):
    words = ["train", "demo", "--out", "run", "--quiet", *SMALL]
    call(*words)
    first = Path("run/train.jsonl").read_text()
    call(*words)
    assert Path("run/train.jsonl").read_text() == first
    call(*words, "--images", 32)
    assert Path("run/train.jsonl").read_text().startswith(first)
    assert Run.open("run").images_seen == 32


def test_a_folder_with_something_else_is_refused(refused):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("…")
    assert "mine is not empty and is not a run" in refused("train", "demo", "--out", "mine", *SMALL)
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.tex"]


def test_ctrl_c_ends_with_130(call, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    for words in (["train", "demo"], ["demo"]):
        status, out, err = call(*words)
        assert (status, out) == (130, "")
        assert err.endswith("wherewhat: stopped; the same command goes on\n")


def test_ctrl_c_while_training_saves_first(call, monkeypatch):
    real = loop.train_step

    def interrupting(state, images):
        os.kill(os.getpid(), 2)
        return real(state, images)

    monkeypatch.setattr(loop, "train_step", interrupting)
    status, _, err = call("train", "demo", "--out", "run", *SMALL)
    assert status == 130
    assert "Traceback" not in err
    assert Run.open("run").images_seen == 8
    monkeypatch.setattr(loop, "train_step", real)
    assert call("train", "demo", "--out", "run", *SMALL)[0] == 0
    assert Run.open("run").images_seen == 16


# ---------------------------------------------------------------------------------------------------- scores, pictures


def test_json_is_all_there_is_on_standard_output(call, run_folder):
    status, out, _ = call(
        "evaluate", "run", "--metrics", "mig, tpl", "--protocol", "fast", "--distance", "pixels", "--json"
    )
    rows = json.loads(out)
    assert status == 0
    assert [row["metric"] for row in rows] == ["mig", "tpl", "controls"]
    assert all({"images", "metric", "value", "options"} <= row.keys() for row in rows)
    assert rows[1]["options"]["points"] == 25
    assert Run.open("run").rows("metrics") == rows


def test_scores_are_a_table_with_their_protocol(call, run_folder):
    words = [
        "--metrics",
        "mig,tpl",
        "--protocol",
        "fast",
        "--tpl",
        "small",
        "--distance",
        "pixels",
        "--threshold",
        "0.5",
    ]
    status, out, _ = call("evaluate", "run", *words)
    assert status == 0
    assert re.search(r"mig +0\.\d{3} +fast", out)
    assert re.search(r"tpl +\d\.\d{3} ± \d\.\d{3}, \d+ active +small, pixels", out)
    assert re.search(r"active controls +\d +TPL above 0.5", out)


def test_dci_is_drawn(call, run_folder, monkeypatch):
    monkeypatch.setitem(registry.find("dci").fast, "trees", 2)
    monkeypatch.setitem(registry.find("dci").fast, "tree_rows", 200)
    assert call("evaluate", "run", "--metrics", "dci", "--protocol", "fast")[0] == 0
    with Image.open("run/pictures/factors.png") as picture:
        picture.load()


@pytest.mark.parametrize("kind", ["png", "gif", "mp4"])
def test_traverse_draws_where_it_says(kind, call, run_folder):
    status, out, _ = call("traverse", "run", "--out", f"new/x.{kind}", "--controls", "z1,0", "--distance", "pixels")
    assert (status, out) == (0, f"new/x.{kind}\n")
    head = Path(f"new/x.{kind}").read_bytes()[:12]
    assert {"png": b"\x89PNG", "gif": b"GIF89a", "mp4": b"ftyp"}[kind] in head
    assert [p.name for p in Path("new").iterdir()] == [f"x.{kind}"]


def test_traverse_measures_tpl_once(call, run_folder, monkeypatch):
    words = ["traverse", "run", "--steps", "3", "--distance", "pixels"]
    assert call(*words)[:2] == (0, "run/pictures/traversals.png\n")
    monkeypatch.setattr(evaluate, "evaluate", None)
    assert call(*words)[0] == 0


def test_a_run_that_was_only_begun_is_reported(refused, run_folder):
    shutil.rmtree("run/checkpoints")
    assert "run has no checkpoint yet" in refused("traverse", "run", "--distance", "pixels")


def test_data_list_names_the_worlds_and_their_factors(call):
    _, out, _ = call("data", "list")
    assert "rooms: 480,000 images; floor hue 10, wall hue 10, object hue 10, scale 8, shape 4, orientation 15" in out
    assert "sprites: 737,280 images; shape 3, scale 6, orientation 40, x 32, y 32" in out
    assert ".zip" in out


def test_data_show_draws_a_world_and_a_folder(call):
    pictures("cats", [(20, 20)] * 3)
    assert call("data", "show", "sprites", "--out", "a.png", "--resolution", "32")[:2] == (0, "a.png\n")
    assert call("data", "show", "cats", "--resolution", "16x20", "--channels", "4")[:2] == (0, "cats.png\n")
    with Image.open("a.png") as grid, Image.open("cats.png") as folder:
        assert grid.height > 5 * 32 > folder.height / 2


def test_a_rehearsal_says_what_a_training_needs_and_writes_nothing(call, monkeypatch):
    """Without images too: a recipe for one's own pictures is rehearsed before there are any."""
    monkeypatch.setattr("wherewhat.train.rehearsal.STEPS", 3)
    monkeypatch.setattr("wherewhat.train.rehearsal.WARMUP", 1)
    options = ["--resolution", "16", "--batch", "8", "--images", "7200", "--set", "accumulate=2", "--device", "cpu"]
    status, out, _ = call("train", "folder-ae", "--dry-run", *options)
    assert status == 0 and not list(Path().iterdir())
    networks = family_of(RECIPES["folder-ae"][0]).build(at_resolution(RECIPES["folder-ae"][0], 16, 16))
    for name, network in networks.items():
        assert re.search(rf"parameters, {name} +{sum(p.numel() for p in network.parameters()):,}\b", out)
    rate, hours = (float(re.search(rf"{name} +([0-9.]+)", out)[1]) for name in ("images/s", "training"))
    assert "3 steps, batch 8 in 2 parts" in out and "hours for the recipe's 240,000" in out
    assert hours == pytest.approx(7200 / rate / 3600, abs=0.06)


@pytest.mark.skipif(not LPIPS.is_file(), reason="needs the LPIPS weights: wherewhat weights")
def test_demo_trains_scores_and_draws(call, monkeypatch):
    """The whole path on a demo of the smallest networks that LPIPS can see."""
    config = small("masked", size=(32, 32), images=100_000)
    monkeypatch.setitem(RECIPES, "demo", (config, "a small demo"))
    options = registry.Metric.options
    monkeypatch.setattr(registry.Metric, "options", lambda metric, _="": options(metric, "fast"))
    monkeypatch.setitem(registry.find("dci").fast, "trees", 2)
    monkeypatch.setitem(kinds.ENCODED, "dlib", 3000)
    monkeypatch.setenv("WHEREWHAT_CACHE", str(LPIPS.parent.parent))
    status, out, err = call("demo", "--images", 256, "--minutes", 1, "--out", "run")
    assert status == 0
    assert [part for part in ("1/3", "2/3", "3/3") if part in err] == ["1/3", "2/3", "3/3"]
    run = Run.open("run")
    assert run.images_seen == 256
    scored = {row["metric"] for row in run.rows("metrics")}
    assert scored == {*training.DEMO_METRICS, "dci_completeness", "dci_informativeness", "controls"}
    for name in training.DEMO_METRICS:
        assert re.search(rf"^ {name} +\d", out, re.M)
    told = [f"z{d.index}" for d in run.control_table] if any(d.in_use for d in run.control_table) else ["too few"]
    assert all(word in out for word in told)
    pictures, _, page = out.partition("Pictures\n")[2].partition("All of it on one page\n")
    drawn = [Path(line.strip()) for line in pictures.splitlines()]
    assert {p.name for p in drawn} >= {"traversals.png", "traversals.gif", "factors.png", "000000k-samples.png"}
    assert all(p.stat().st_size > 500 for p in drawn)
    assert page.strip() == "run/report.html"
    assert "FactorVAE score" in Path("run/report.html").read_text()


def test_minutes_end_a_demo_early_and_again_it_goes_on(call, monkeypatch):
    """What is scored is the last checkpoint; drawing and scoring are left out here."""
    monkeypatch.setitem(RECIPES, "demo", (small("masked", images=100_000), "a small demo"))
    monkeypatch.setattr(
        evaluate, "evaluate", lambda run, *_, **__: run.log_metric({"images": run.images_seen, "metric": ""})
    )
    monkeypatch.setattr("wherewhat.viz.traversals.draw_traversals", lambda run, path, **_: path)
    monkeypatch.setattr("wherewhat.viz.report.report", lambda *_, **__: None)
    for name in ("show_controls", "show_scores"):
        monkeypatch.setattr(training, name, lambda *_: None)
    monkeypatch.setattr(training, "draw_factor_maps", lambda *_: [])
    seen = []
    minutes = 0.002
    for _ in range(2):
        assert call("demo", "--minutes", minutes)[0] == 0
        run = Run.open("runs/demo")
        seen.append(run.images_seen)
        minutes = run.rows("train")[-1]["seconds"] / 60 + 0.005  # whatever the first sitting took
    assert 0 < seen[0] < seen[1] < 100_000


def test_rotating_draws_curves_and_prints_scores(run_folder, call):
    flags = ["--pair", 0, 1, "--angles", 5, "--distance", "pixels"]
    status, out, _ = call("rotate", run_folder, *flags, "--out", "curves.png")
    assert status == 0 and "z0 and z1: axis score" in out and Path("curves.png").is_file()
    (record,) = json.loads(call("rotate", run_folder, *flags, "--json")[1])
    assert record["degrees"] == [0, 45, 90, 135, 180] and len(record["lengths"]) == 5


def test_anyones_codes_and_generator_are_scored(call, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    factors = rng.integers([3, 4], size=(200, 2))
    np.savez(tmp_path / "codes.npz", codes=factors + 0.01, factors=factors, names=["hue", "size"])
    rows = json.loads(call("evaluate", tmp_path / "codes.npz", "--metrics", "mig", "--json")[1])
    assert [(row["metric"], row["options"]["factors"]) for row in rows] == [("mig", ["hue", "size"])]
    assert rows[0]["value"] > 0.9
    (tmp_path / "their.py").write_text("def generate(z): return z[:, :1, None, None].expand(-1, 1, 8, 8) / 8\n")
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--codes", 3, "--distance", "pixels", "--tpl", "small", "--threshold", 0, "--until", "1%"]
    row, controls = json.loads(call("evaluate", "their:generate", *flags, "--json")[1])
    assert row["details"]["active"] == 1 and row["options"]["bases"] == 10
    assert controls["details"][0]["index"] == 0 and Path("their.generate/samples.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobodys:generate"], "there is no nobodys:generate: No module named 'nobodys'"),
        (["json:dumps"], "json:dumps takes latents: say how many with --latents"),
        (["json:dumbs", "--codes", 2], "there is no json:dumbs"),
        (["json:dumps", "--codes", 2, "--metrics", "mig"], "mig needs an encoder, and json:dumps has none: tpl"),
        (["none.npz"], "cannot read none.npz as arrays: No such file or directory"),
        (["text.npz"], "cannot read text.npz as arrays"),
        (["other.npz"], "other.npz has no array named codes; it has z"),
        (["run", "--until", "2"], "--until 2: give a share between 0 and 1, as in 1% or 0.01"),
        (["run", "--until", "few"], "--until few: give a share"),
    ],
)
def test_what_cannot_be_scored_is_reported(call, words, message):
    np.savez("other.npz", z=np.zeros(3))
    Path("text.npz").write_text("codes")
    status, out, err = call("evaluate", *words)
    assert (status, out) == (2, "") and message in err


def test_images_get_the_shape_of_the_pictures(call):
    """Portraits are not cropped to squares unasked, and what is asked for is done."""
    pictures("portraits", [(120, 90)] * 5 + [(118, 91)])
    words = ["train", "folder-ae", "--data", "portraits", "--images", "8", "--batch", "8", "--device", "cpu"]
    _, _, err = call(*words, "--out", "own")
    assert Run.open("own").config.size == (64, 48)
    assert "64x48" in err and "--resolution 64" in err
    call(*words, "--quiet", "--resolution", "64", "--out", "square")
    call(*words, "--quiet", "--fit", "pad", "--out", "padded")
    assert Run.open("square").config.size == Run.open("padded").config.size == (64, 64)
