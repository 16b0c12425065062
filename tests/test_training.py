"""Training: the clock, resuming, processes, and what stops it."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import small
from safetensors.torch import load_file

from wherewhat.config import AutoencoderConfig, OptimizerConfig, difference, to_json, with_settings
from wherewhat.errors import UserError
from wherewhat.families.autoencoder import beta_schedule
from wherewhat.machine import pick_device
from wherewhat.metrics.distance import Pixels
from wherewhat.nn.controls import Controls
from wherewhat.recipes import ABLATIONS, RECIPES, find
from wherewhat.run.folder import Run
from wherewhat.train import loop
from wherewhat.train.loop import train
from wherewhat.train.progress import ProgressLine

FAMILIES = ["masked", "demo", "rooms-lean", "folder-gan"]


def weights(run):
    folder = run.checkpoints()[-1]
    return {f"{p.stem}.{k}": v for p in sorted(folder.glob("*.safetensors")) for k, v in load_file(p).items()}


def assert_same(one, two, tolerance=0.0):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], two[name], atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def without_clock(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_a_step(name, tmp_path):
    config = small(name, images=16)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert run.images_seen == 16
    assert run.about["state"] == "done"
    rows = run.rows("train")
    assert rows[-1]["images_seen"] == 16
    image, masks = run.generator(torch.zeros(2, config.generator.latents))
    assert image.shape == (2, config.data.channels, *config.size)
    assert run.encoder(image).shape == (2, config.generator.latents)
    assert all(len(m) == 2 for m in masks) and sum(m.shape[1] for m in masks) == config.latents


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_free_of_problems_and_survives_json(name):
    from wherewhat.config import from_json

    config = RECIPES[name][0]
    config = replace(config, data=replace(config.data, source=config.data.source or "rooms"))
    assert config.problems() == []
    assert from_json(to_json(config), "here") == config


@pytest.mark.parametrize("name", FAMILIES)
def test_resume_equals_never_stopping(name, tmp_path):
    config = small(name, images=96)
    whole = train(config, str(tmp_path / "whole"), "cpu", quiet=True)
    train(replace(config, total_images=64), str(tmp_path / "parts"), "cpu", quiet=True)
    parts = train(config, str(tmp_path / "parts"), "cpu", quiet=True)
    assert_same(weights(whole), weights(parts))
    assert without_clock(whole.rows("train")) == without_clock(parts.rows("train"))
    assert whole.resume_point().keys() == parts.resume_point().keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_in_parts_is_the_step(name, tmp_path):
    """Batches of 16 in two parts: the same weights as in one."""
    config = small(name, batch=16, images=48)
    whole = train(config, str(tmp_path / "whole"), "cpu", quiet=True)
    parts = train(replace(config, accumulate=2), str(tmp_path / "parts"), "cpu", quiet=True)
    assert_same(weights(whole), weights(parts), tolerance=2e-5)
    for a, b in zip(whole.rows("train"), parts.rows("train"), strict=True):
        for key in a.keys() - {"images_seen", "seconds"}:
            assert a[key] == pytest.approx(b[key], rel=2e-4, abs=2e-5), key
    with pytest.raises(UserError, match="accumulate 3 does not divide the 16 images"):
        train(replace(config, accumulate=3), str(tmp_path / "three"), "cpu", quiet=True)


def test_an_adversary_that_would_never_begin_is_refused():
    config = replace(find("demo-gan"), total_images=40_000)
    with pytest.raises(UserError, match=r"gan.start_images is 160,000 of 40,000 .* --set gan.start_images=20000"):
        config.checked()
    assert not with_settings(config, ["gan.start_images=20000"]).problems()


def test_latents_can_be_visible_only_where_they_are_perturbed():
    assert not find("rooms-lean").problems()
    alone = with_settings(find("rooms-lean"), ["gan.simplicity_weight=0"])
    assert any("set both, or neither" in problem for problem in alone.problems())
    assert all(not find(f"rooms-lean-{suffix}").problems() for suffix in ABLATIONS)


def test_a_training_starts_with_the_networks_of_another_run(tmp_path):
    """At a learning rate of almost 0 they stay what they were; the discriminator is new.  Resuming needs no start."""
    first = train(small("folder-gan", images=32), str(tmp_path / "first"), "cpu", quiet=True)
    still = OptimizerConfig(lr=1e-12)
    second = replace(small("folder-gan", images=32), start=str(first.path), optimizer=still, seed=1)
    then = train(replace(second, total_images=16), str(tmp_path / "then"), "cpu", quiet=True)
    assert_same(weights(first), weights(then), tolerance=1e-5)
    shutil.rmtree(first.path)
    assert train(second, str(tmp_path / "then"), "cpu", quiet=True).images_seen == 32
    with pytest.raises(UserError, match="has other layers than that of recipe demo"):
        train(replace(small("demo"), start=str(then.path)), str(tmp_path / "unlike"), "cpu", quiet=True)


def test_rows_after_the_checkpoint_are_written_again_not_twice(tmp_path):
    config = small("masked", images=64)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    run.log("train", {"images_seen": 72, "reconstruction": 1.0})
    train(replace(config, total_images=96), str(tmp_path / "run"), "cpu", quiet=True)
    seen = [row["images_seen"] for row in run.rows("train")]
    assert seen == sorted(set(seen))
    assert 72 not in seen


@pytest.mark.parametrize("name", FAMILIES)
def test_two_processes_take_the_steps_of_one(name, tmp_path):
    """gloo, on one CPU; batches of 16 so that each process has whole groups of minibatch standard deviation."""
    config = small(name, batch=16, images=64)
    (tmp_path / "config.json").write_text(to_json(config))
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from wherewhat.config import from_json\n"
        "from wherewhat.train.loop import train\n"
        "config = from_json(Path(sys.argv[1]).read_text(), 'config')\n"
        "train(config, sys.argv[2], 'cpu', processes=int(sys.argv[3]), quiet=True)\n"
    )
    (tmp_path / "script.py").write_text(script)
    for count in (1, 2):
        words = [sys.executable, tmp_path / "script.py", tmp_path / "config.json", tmp_path / f"of{count}", str(count)]
        progress = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert progress.returncode == 0, progress.stderr[-3000:]
    one, two = (Run.open(tmp_path / f"of{count}") for count in (1, 2))
    assert_same(weights(one), weights(two), tolerance=2e-5)
    for a, b in zip(one.rows("train"), two.rows("train"), strict=True):
        assert a["images_seen"] == b["images_seen"]
        for key in a.keys() - {"images_seen", "seconds"}:
            assert a[key] == pytest.approx(b[key], rel=2e-4, abs=2e-5), key


def test_controls_are_found_where_training_stops_and_belong_to_their_weights(tmp_path, monkeypatch):
    asked, saved, save = [], [], Run.save
    turned = Controls(((0.6, -0.8), (0.8, 0.6)), (0.1, 0.2))

    def find(codes, how, fixed):
        assert fixed == ()
        asked.append((len(codes), how))
        return turned

    def keep(self, images, generator, *others):
        saved.append((images, generator.controls))
        return save(self, images, generator, *others)

    monkeypatch.setattr("wherewhat.train.loop.fit_controls", find)
    monkeypatch.setattr(Run, "save", keep)
    config = small("masked", images=64)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert asked == [(10_000, "ica")]
    assert saved == [(32, None), (64, turned)]
    found = run.generator.controls
    assert found == run.encoder.controls == turned
    z = torch.randn(3, 2)
    image = run.generator(z).image
    run.generator.controls = None
    torch.testing.assert_close(
        image, run.generator(z @ torch.tensor(turned.mixing).T + torch.tensor(turned.mean)).image
    )
    train(replace(config, total_images=128), str(tmp_path / "run"), "cpu", quiet=True)
    assert saved[2:] == [(96, None), (128, turned)]


def test_a_finished_training_is_left_as_it_is(tmp_path):
    config, path = small("masked", images=16), tmp_path / "run"
    train(config, str(path), "cpu", quiet=True)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert train(config, str(path), "cpu", quiet=True).images_seen == 16
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_gan_moves_its_latents(tmp_path):
    run = train(small("rooms-lean", images=16), str(tmp_path / "run"), "cpu", quiet=True)
    assert run.generator.controls is None and not (run.checkpoints()[-1] / "controls.json").exists()


def test_the_lpips_term_is_logged_and_trains(tmp_path, monkeypatch):
    """With another distance in the place of LPIPS, whose weights need not be here."""
    monkeypatch.setattr("wherewhat.train.state.load_distance", lambda name, device: Pixels())
    plain = small("masked", images=32)
    plain = replace(plain, optimizer=replace(plain.optimizer, warmup_images=0))  # else weights hardly move
    weighed = replace(plain, autoencoder=replace(plain.autoencoder, lpips_weight=1e4))
    runs = [train(config, str(tmp_path / name), "cpu", quiet=True) for name, config in (("a", plain), ("b", weighed))]
    first, second = (run.rows("train")[-1] for run in runs)
    assert "lpips" not in first and second["lpips"] > 0
    weights = [run.generator.stages[0].style for run in runs]
    assert not torch.equal(*weights)


def test_the_batch_size_changes_no_schedule(tmp_path):
    """Warm-up and rows follow images seen: the learning rate after 64 images is the same for batches of 8 and 16."""
    rates = []
    for batch in (8, 16):
        config = replace(small("masked", images=64), batch=batch)
        config = replace(config, optimizer=replace(config.optimizer, warmup_images=128, lr_halflife=64))
        run = train(config, str(tmp_path / str(batch)), "cpu", quiet=True)
        rates.append(run.resume_point()["optimizer_autoencoder"]["parts"][0]["param_groups"][0]["lr"])
        assert [row["images_seen"] for row in run.rows("train")] == [16, 32, 48, 64]
    assert rates[0] == pytest.approx(rates[1])
    assert rates[0] == pytest.approx(config.optimizer.lr / 2 / 2)  # half of the warm-up, one half-life


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path, monkeypatch):
    config = small("masked", images=96)
    real_step = loop.train_step

    def interrupting(state, real):
        if state.images_seen == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return real_step(state, real)

    monkeypatch.setattr(loop, "train_step", interrupting)
    with pytest.raises(KeyboardInterrupt):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    run = Run.open(tmp_path / "run")
    assert run.images_seen == 48
    assert run.about["state"] == "stopped"
    monkeypatch.setattr(loop, "train_step", real_step)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    whole = train(config, str(tmp_path / "whole"), "cpu", quiet=True)
    assert_same(weights(run), weights(whole))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    config = small("masked", images=96)
    real_step = loop.train_step

    def spoiling(state, real):
        row = real_step(state, real)
        if state.images_seen > 40:
            with torch.no_grad():
                state.networks["generator"].constant.fill_(float("nan"))
        return row

    monkeypatch.setattr(loop, "train_step", spoiling)
    with pytest.raises(UserError, match=r"not finite.*32 images is intact.*learning rate"):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    run = Run.open(tmp_path / "run")
    assert run.images_seen == 32
    assert run.about["state"] == "failed"
    assert all(torch.isfinite(w).all() for w in weights(run).values())


def test_minutes_stop_a_training_that_can_go_on(tmp_path):
    config = small("masked", images=10_000)
    run = train(config, str(tmp_path / "run"), "cpu", minutes=0.01, quiet=True)
    seen = run.images_seen
    assert 0 < seen < 10_000
    run = train(config, str(tmp_path / "run"), "cpu", minutes=0.03, quiet=True)
    assert run.images_seen > seen


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    config = small("masked", images=16)
    train(config, str(tmp_path / "run"), "cpu", quiet=True)
    other = with_settings(config, ["autoencoder.beta=5"])
    with pytest.raises(UserError, match=r"autoencoder.beta: 3.0 → 5.0"):
        train(other, str(tmp_path / "run"), "cpu", quiet=True)
    assert Run.open(tmp_path / "run").config == config


def test_a_full_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="is not a run"):
        train(small("masked"), str(tmp_path), "cpu", quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("file", ["resume.pt", "generator.safetensors"])
def test_a_truncated_checkpoint_is_reported(tmp_path, file):
    config = small("masked", images=64)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    broken = run.checkpoints()[-1] / file
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match=file.split(".")[0]):
        if file == "resume.pt":
            train(replace(config, total_images=128), str(tmp_path / "run"), "cpu", quiet=True)
        else:
            _ = Run.open(tmp_path / "run").generator


def test_removing_a_truncated_checkpoint_goes_on_from_the_one_before(tmp_path):
    import shutil

    config = replace(small("masked", images=2000), log_every=1000, checkpoint_every=1000)
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    whole = weights(run)
    assert [p.name for p in run.checkpoints()] == ["000001k", "000002k"]
    (run.checkpoints()[-1] / "resume.pt").write_bytes(b"no")
    with pytest.raises(UserError, match="000001k"):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    shutil.rmtree(run.checkpoints()[-1])
    assert_same(weights(train(config, str(tmp_path / "run"), "cpu", quiet=True)), whole)


def test_a_foreign_checkpoint_is_reported(tmp_path):
    import shutil

    ours = train(small("masked", images=16), str(tmp_path / "ours"), "cpu", quiet=True)
    theirs = train(small("rooms-lean", images=16), str(tmp_path / "theirs"), "cpu", quiet=True)
    shutil.rmtree(ours.checkpoints()[-1])
    shutil.copytree(theirs.checkpoints()[-1], ours.path / "checkpoints" / "000000k")
    with pytest.raises(UserError, match=r"another training|of another run"):
        train(small("masked", images=32), str(tmp_path / "ours"), "cpu", quiet=True)
    with pytest.raises(UserError, match="another run"):
        _ = Run.open(tmp_path / "ours").generator


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(tmp_path, monkeypatch):
    config = small("masked", images=64)
    real_save, calls = torch.save, []

    def failing(packed, file, *more, **named):
        calls.append(file)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real_save(packed, file, *more, **named)

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(UserError, match=r"No space left on device.*intact"):
        train(config, str(tmp_path / "run"), "cpu", quiet=True)
    run = Run.open(tmp_path / "run")
    assert run.images_seen == 32
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == [run.checkpoints()[-1].name]


def test_no_permission_to_write_is_reported(tmp_path):
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write"):
        train(small("masked"), str(tmp_path / "file" / "run"), "cpu", quiet=True)


def test_devices():
    assert pick_device("cpu") == "cpu"
    with pytest.raises(UserError, match="there is no device tpu"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="usable here: cpu"):
            pick_device("cuda")


def test_a_batch_that_cannot_be_shared_is_reported(monkeypatch):
    class Three:
        world_size = 3

        def launch(self): ...

    monkeypatch.setattr(loop, "Fabric", lambda **_: Three())
    with pytest.raises(UserError, match="batch 8 cannot be shared by 3"):
        loop.launch(small("masked"), "cpu", 3)


def settings():
    """Every setting that can be changed by itself, as (path, a value other than the default)."""
    import dataclasses
    from pathlib import Path

    from wherewhat import config

    code = "".join(p.read_text() for p in Path(config.__file__).parent.rglob("*.py") if p.name != "config.py")
    return [(kind.__name__, field.name, code) for kind in config._KINDS for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "name", "code"), settings(), ids=lambda value: value if len(value) < 40 else "")
def test_every_setting_is_read_outside_the_configuration(kind, name, code):
    """A setting that nothing reads would be a lie.  config.py itself does not count."""
    import re

    assert re.search(rf"\.{name}\b(?!\()", code), f"{kind}.{name}"


def test_the_gan_step_in_bf16_is_finite(tmp_path):
    config = replace(small("rooms-lean", images=32), precision="bf16")
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert all(torch.isfinite(w).all() for w in weights(run).values())
    assert run.about["precision"] == "bf16"


def test_a_uniform_prior_stays_within_two(tmp_path):
    from wherewhat.families.family import LATENTS
    from wherewhat.train.state import State

    config = replace(small("rooms-lean", images=16), prior="uniform")
    state = State(config, loop.launch(config, "cpu", 1))
    z = state.step(torch.zeros(8, 3, 16, 16)).sample_latents(LATENTS)
    assert 1.0 < z.abs().max() <= 2
    assert train(config, str(tmp_path / "run"), "cpu", quiet=True).images_seen == 16


def test_the_encoder_of_a_plain_gan_changes_no_image(tmp_path):
    """Without simplicity and InfoGAN the images of a training do not depend on the encoder at all."""
    config = small("rooms-gan", images=32)
    runs = []
    for hidden in (16, 24):
        other = replace(config, encoder=replace(config.encoder, hidden=hidden))
        state = loop.State(other, loop.launch(other, "cpu", 1))
        if runs:  # the same networks but for the encoder, whatever order they were drawn in
            state.networks["generator"].load_state_dict(runs[0][0])
            state.networks["discriminator"].load_state_dict(runs[0][1])
        networks = [state.networks[name] for name in ("generator", "discriminator")]
        start = [{k: v.clone() for k, v in m.state_dict().items()} for m in networks]
        images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        for _ in range(3):
            loop.train_step(state, images)
        runs.append((*start, state.networks["generator"].state_dict()))
    assert_same(runs[0][2], runs[1][2])


def test_beta_decays_exponentially_and_then_stays():
    c = AutoencoderConfig(beta=4.0, beta_init=64.0, beta_anneal_images=1_000)
    assert [beta_schedule(c, images) for images in (0, 500, 1_000, 9_000)] == pytest.approx([64, 16, 4, 4])
    assert beta_schedule(AutoencoderConfig(beta=4.0), 0) == 4
    for changed in ("beta=0", "beta_anneal_images=0"):
        annealed = ["autoencoder.beta_init=64", "autoencoder.beta_anneal_images=1000", f"autoencoder.{changed}"]
        config = with_settings(small("masked"), annealed)
        assert any("decays exponentially" in problem for problem in config.problems())


@pytest.mark.parametrize("name", ["demo", "rooms-ae", "sprites-ae", "faces"])
def test_one_recipe_for_every_set_of_pictures(name):
    """They differ from folder-ae, which a stranger's pictures get, in data and budget alone."""
    stranger, own = find("folder-ae"), find(name)
    changed = {line.partition(":")[0] for line in difference(stranger, own)}
    assert changed <= {"recipe", "data.source", "data.channels", "total_images", "optimizer.lr_halflife"}
    share = own.optimizer.lr_halflife / stranger.optimizer.lr_halflife
    assert share == pytest.approx(own.total_images / stranger.total_images)


# ---------------------------------------------------------------------------------------------------------- time left


def at_work(images_seen, seconds, total=1_000):
    """A training that has come so far."""
    config = small("masked", images=total)
    state = loop.State(config, loop.launch(config, "cpu", 1))
    state.images_seen, state.seconds = images_seen, seconds
    return state


def test_time_left_is_of_training_alone_and_ends_with_the_minutes():
    state = at_work(200, 50.0)
    line = ProgressLine(state, None)
    state.images_seen, state.seconds = 400, 60.0  # 20 images a second; what was paused does not count
    line.losses({}, 400)
    assert line.speed == pytest.approx(20) and line.left == pytest.approx(30)
    line.minutes = 1.25
    assert line.left == pytest.approx(15)
    state.seconds = 80.0
    assert line.left == 0 and "0:00:00 left" in line.line()


def test_a_narrow_line_drops_values_and_keeps_the_clock():
    line = ProgressLine(at_work(0, 0.0), None)
    line.losses({f"a long name {k}": 1.0 for k in range(20)}, 10)
    assert len(line.line(80)) <= 80 and "left" in line.line(80)
    assert "a long name 19" in line.line()
