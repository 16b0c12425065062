"""What a training and a run folder survive: a second process, sizes beyond the machine, signals, full disks, losses
that are not finite."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from conftest import small
from PIL import Image
from safetensors.torch import load_file, save_file

from wherewhat import cli
from wherewhat.config import to_json, with_settings
from wherewhat.errors import UserError
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.train import interrupts, loop, memory
from wherewhat.train.loop import train
from wherewhat.train.preview import warn_of_collapse
from wherewhat.viz.canvas import save_moving

SCRIPT = """
import sys, time, torch
from pathlib import Path
from wherewhat.config import from_json
from wherewhat.train import interrupts, loop, preview
torch.set_num_threads(1)
preview.quick_distance = lambda *_: None
config = from_json(Path(sys.argv[1]).read_text(), "config")
slow, whole = float(sys.argv[3]), loop.train_step
def step(*words):
    if slow and words[0].images_seen >= 64:
        Path(sys.argv[2], "slow").touch()
        time.sleep(slow)
    return whole(*words)
loop.train_step = step
interrupts.PATIENCE = float(sys.argv[4]) if sys.argv[4:] else interrupts.PATIENCE
try:
    loop.train(config, sys.argv[2], "cpu", quiet=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(tmp_path, config, slow=0.0, patience=10.0):
    """A training in a process of its own, whose steps after 64 images take `slow` seconds more."""
    (tmp_path / "config.json").write_text(to_json(config))
    words = [
        sys.executable,
        "-c",
        SCRIPT,
        str(tmp_path / "config.json"),
        str(tmp_path / "run"),
        str(slow),
        str(patience),
    ]
    return subprocess.Popen(words, stderr=subprocess.DEVNULL)


def wait_for(path, seconds=60):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.05)


def weights(run):
    folder = run.checkpoints()[-1]
    return {f"{p.stem}.{k}": v for p in sorted(folder.glob("*.safetensors")) for k, v in load_file(p).items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


# ------------------------------------------------------------------------------------------------------------- the lock


def test_a_second_process_is_refused_with_process_and_machine_and_a_killed_one_keeps_nobody_out(tmp_path):
    config = small("masked", images=96)
    first = start(tmp_path, config, slow=60)
    try:
        wait_for(tmp_path / "run" / "slow")
        before = (tmp_path / "run" / "config.json").read_bytes()
        with pytest.raises(UserError, match=rf"being trained by process {first.pid} on {os.uname().nodename}"):
            train(replace(config, total_images=128), str(tmp_path / "run"), "cpu", quiet=True)
        assert (tmp_path / "run" / "config.json").read_bytes() == before
    finally:
        first.kill()
        first.wait()
    assert Run.open(tmp_path / "run").about["state"] == "running"
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert run.images_seen == 96
    assert same(weights(run), weights(train(config, str(tmp_path / "whole"), "cpu", quiet=True)))


def test_the_lock_ends_with_the_training_however_it_ends(tmp_path, monkeypatch):
    config, step = small("masked", images=16), loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    monkeypatch.setattr(loop, "train_step", step)
    assert train(config, str(tmp_path / "run"), "cpu", quiet=True).images_seen == 16


# -------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_after_the_step_and_what_goes_on_equals_one_never_stopped(tmp_path, kind):
    config = small("masked", images=160)
    process = start(tmp_path, config, slow=0.3)
    wait_for(tmp_path / "run" / "slow")
    began = time.monotonic()
    process.send_signal(kind)
    assert process.wait(30) == 130
    assert time.monotonic() - began < 10
    run = Run.open(tmp_path / "run")
    assert 64 < run.images_seen < 160 and run.about["state"] == "stopped"
    whole = train(config, str(tmp_path / "whole"), "cpu", quiet=True)
    assert same(weights(train(config, str(tmp_path / "run"), "cpu", quiet=True)), weights(whole))


def test_sigterm_ends_a_step_that_does_not_end(tmp_path):
    process = start(tmp_path, small("masked", images=96), slow=100, patience=1.0)
    wait_for(tmp_path / "run" / "slow")
    began = time.monotonic()
    process.terminate()
    assert process.wait(30) == 130
    assert 1 <= time.monotonic() - began < 4
    assert interrupts.PATIENCE == 10
    run = Run.open(tmp_path / "run")
    assert run.images_seen == 64 and run.about["state"] == "stopped" and "long step" in run.about["reason"]


# --------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["batch=500000"], r"at least .* GB of memory.*--batch \d+ or less"),
        (["generator.constant_channels=16384", "generator.stages.0.channels=16384", "batch=1"], "too many"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_anything_is_made(tmp_path, changes, named, monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda device: 8 * 10**9)
    config = with_settings(find("demo"), changes).checked()
    with pytest.raises(UserError, match=named):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("batch", [32, 1024])
def test_the_largest_batch_that_is_advised_is_not_refused(batch, monkeypatch):
    config = replace(find("rooms"), batch=batch)
    _, image = memory._sizes(config)
    monkeypatch.setattr(memory, "memory_bytes", lambda device: image * batch + 10**9)
    memory.check_memory(config, torch.device("cpu"), 1)
    monkeypatch.setattr(memory, "memory_bytes", lambda device: image * batch / 2)
    if batch > 32:
        with pytest.raises(UserError) as refused:
            memory.check_memory(config, torch.device("cpu"), 1)
        advised = int(str(refused.value).split("--batch ")[1].split()[0])
        memory.check_memory(replace(config, batch=advised), torch.device("cpu"), 1)


@pytest.mark.parametrize(
    "name", ["demo", "rooms", "rooms-ae", "folder-ae", "faces", "folder-gan", "rooms-lean", "beta-vae", "factor-vae"]
)
def test_sizes_of_every_family_are_known_without_making_the_networks(name):
    weights, image = memory._sizes(find(name))
    assert 10**5 < weights < 10**9 and 10**5 < image < 10**9


@pytest.mark.parametrize(
    "setting", ["batch=1000000000", "seed=18446744073709551616", "generator.stages.0.channels=1000000000",
                "generator.stages.0.latents=1000000", "data.height=1000000", "optimizer.betas=[0.9,1.0]"],
)  # fmt: skip
def test_settings_beyond_all_bounds_are_named(setting):
    with pytest.raises(UserError, match=setting.split("=")[0].replace(".", r"\.")):
        with_settings(small("masked"), [setting]).checked()


# ---------------------------------------------------------------------------------------------------------- full disks


@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_a_file_that_cannot_be_written_ends_with_one_message(tmp_path, limit):
    """The system refuses files beyond a size, as it does on a full disk: at every place of a checkpoint."""
    config = small("masked", images=64)
    whole = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    before = weights(whole)
    (tmp_path / "config.json").write_text(to_json(replace(config, total_images=128)))
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + SCRIPT.replace(
        "except KeyboardInterrupt", "except loop.UserError as error:\n    print(error, file=sys.stderr); sys.exit(2)\n"
        "except KeyboardInterrupt"
    )  # fmt: skip
    words = [sys.executable, "-c", code, str(tmp_path / "config.json"), str(tmp_path / "run"), "0"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr and "cannot write to" in ended.stderr
    run = Run.open(tmp_path / "run")
    assert run.images_seen >= 64 and not list((run.path / "checkpoints").glob(".*"))
    if run.images_seen == 64:
        assert same(weights(run), before)
    go_on = train(replace(config, total_images=128), str(tmp_path / "run"), "cpu", quiet=True)
    assert go_on.images_seen == 128


@pytest.mark.parametrize("place", ["display", "preview"])
def test_a_full_disk_beside_checkpoints_ends_with_one_message(tmp_path, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "display":
        monkeypatch.setattr("wherewhat.train.progress.TensorBoard.losses", full)
    else:
        monkeypatch.setattr(loop, "preview", full)
    with pytest.raises(UserError, match="No space left on device"):
        train(small("masked", images=32), str(tmp_path / "run"), "cpu", quiet=True)


def test_scores_of_a_folder_that_cannot_be_written_to_are_shown(trained, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    words = [str(run), "--distance", "pixels", "--json"]
    tpl = ["evaluate", *words, "--metrics", "tpl", "--protocol", "fast"]
    cli.main(tpl)
    kept = json.loads(capsys.readouterr().out)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}

    def refuse(file, text):
        raise OSError(errno.EROFS, "Read-only file system", str(file))

    monkeypatch.setattr("wherewhat.run.model.write_text", refuse)
    for verb in ([*tpl, "--again"], ["where", *words, "--count", "2"]):
        cli.main(verb)
        shown = capsys.readouterr()
        assert shown.err.count("scores are shown and not kept") == 1, "said once"
        assert isinstance(json.loads(shown.out), list)
        assert json.loads(shown.out) == kept or verb[0] == "where"
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


# ------------------------------------------------------------------------------------------ losses that are not finite


def broken_step(monkeypatch, at, what="loss"):
    """After `at` images the next step gives a loss, or leaves a weight, that is not a number, unless the rate fell."""
    whole = loop.train_step

    def step(state, images):
        terms = whole(state, images)
        if state.images_seen > at and state.lr_scale == 1:
            if what == "weight":
                next(state.ema_generator.parameters()).fill_(float("nan"))
            else:
                terms["kl"] = terms["kl"] * float("nan")
        return terms

    monkeypatch.setattr(loop, "train_step", step)


@pytest.mark.parametrize("what", ["loss", "weight"])
def test_what_is_not_finite_stops_and_says_how_to_go_on(tmp_path, monkeypatch, what):
    broken_step(monkeypatch, 40, what)
    with pytest.raises(UserError, match=rf"{what} .*.*not finite.*32 images is intact.*--on-nonfinite rollback"):
        train(small("masked", images=64), str(tmp_path / "run"), "cpu", quiet=True)
    assert Run.open(tmp_path / "run").images_seen == 32


@pytest.mark.parametrize("at", [8, 40])
def test_rollback_goes_on_from_the_last_checkpoint_at_half_the_rate(tmp_path, monkeypatch, capsys, at):
    broken_step(monkeypatch, at)
    run = train(small("masked", images=96), str(tmp_path / "run"), "cpu", quiet=True, on_nonfinite="rollback")
    assert run.images_seen == 96 and run.about["state"] == "done"
    (rollback,) = run.about["rollbacks"]
    assert rollback["to"] == (32 if at == 40 else 0) and rollback["lr_scale"] == 0.5
    assert run.resume_point()["lr_scale"] == 0.5
    seen = [row["images_seen"] for row in run.rows("train")]
    assert seen == sorted(set(seen)) and seen[-1] == 96
    assert "not finite" in capsys.readouterr().err


def test_a_training_that_is_never_finite_ends_all_the_same(tmp_path, monkeypatch):
    whole = loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *w: {**whole(*w), "kl": torch.tensor(float("inf"))})
    with pytest.raises(UserError, match="not finite"):
        train(small("masked", images=64), str(tmp_path / "run"), "cpu", quiet=True, on_nonfinite="rollback")
    assert len(Run.open(tmp_path / "run").about["rollbacks"]) == 5


@pytest.mark.parametrize(("in_use", "warned"), [(0, True), (1, True), (2, False), (3, False)])
def test_controls_that_die_are_told(trained, tmp_path, capsys, in_use, warned):
    """Three controls changed the image at the checkpoint before: one that is left is too few, two are not."""
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    control = {"tpl": 1.0, "tpl_error": 0.1, "active": True, "row": 0.5, "column": 0.5, "area": 0.2, "peak": 0.5}
    details = [{**control, "index": k % 2, "visible": 0.1} for k in range(3)] + [{**control, "index": 1, "visible": 0}]
    run.log_metric({"images": 32, "metric": "controls", "value": 3, "options": {}, "details": details})
    warn_of_collapse(run, 64, in_use)
    assert ("may be collapsing" in capsys.readouterr().err) == warned
    assert len(run.about.get("warnings", [])) == warned


# ------------------------------------------------------------------------------------------ the command line as a net


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full/file"), "cannot write to /full/file: No space left"),
        (MemoryError("7 TiB"), "not enough memory: give a smaller --batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
)
def test_whatever_a_verb_meets_on_disk_or_in_memory_is_one_message(monkeypatch, capsys, error, said):
    def verb() -> None:
        raise error

    monkeypatch.setattr(cli, "VERBS", {"recipes": verb})
    with pytest.raises(SystemExit, match="2"):
        cli.main(["recipes"])
    assert said in capsys.readouterr().err


def test_a_checkpoint_that_was_being_replaced_is_put_back(tmp_path):
    config = small("masked", images=64)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    before = weights(run)
    last = run.checkpoints()[-1]
    last.rename(last.with_name(f".{last.name}.before"))
    assert same(weights(train(config, str(tmp_path / "run"), "cpu", quiet=True)), before)
    assert run.images_seen == 64


# ------------------------------------------------------------------------------------------- nothing drawn from damage


def damaged_copy(trained, tmp_path):
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_weights_that_are_not_finite_are_refused(trained, tmp_path):
    run = damaged_copy(trained, tmp_path)
    file = run.checkpoints()[-1] / "generator.safetensors"
    weights = load_file(file)
    weights["constant"][0, 0] = float("nan")
    save_file(weights, file)
    with pytest.raises(UserError, match=r"generator.safetensors .*constant is not finite"):
        _ = run.generator


def test_a_cut_encoder_is_told_where_only_the_generator_is_needed(trained, tmp_path, capsys):
    run = damaged_copy(trained, tmp_path)
    file = run.checkpoints()[-1] / "encoder.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert run.generator(torch.zeros(1, run.config.latents)).image.isfinite().all()
    assert "encoder.safetensors is damaged" in capsys.readouterr().err


def test_a_film_that_was_cut_short_is_no_film(tmp_path, monkeypatch):
    """As the program that writes films does on a full disk: fewer frames, and not a word."""
    import imageio.v2 as imageio

    whole = imageio.mimwrite
    monkeypatch.setattr(imageio, "mimwrite", lambda path, frames, **how: whole(path, frames[:3], **how))
    frames = [Image.new("RGB", (32, 32), (8 * k, 0, 0)) for k in range(8)]
    with pytest.raises(UserError, match="3 of 8 frames"):
        save_moving(frames, tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())
