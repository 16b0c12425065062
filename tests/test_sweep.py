"""Sweeps: axes, what is shown of trials, and trials on Ray that are killed, stopped and lost."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from conftest import small
from safetensors.torch import load_file

from wherewhat.cli import main
from wherewhat.errors import UserError
from wherewhat.recipes import RECIPES, find
from wherewhat.run.folder import Run
from wherewhat.select import launch
from wherewhat.select.folder import is_done
from wherewhat.select.launch import Cluster
from wherewhat.select.progress import Board, Status, summary, table
from wherewhat.select.sweep import grid, parse_axis
from wherewhat.train.loop import train

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not installed: pip install "wherewhat[sweep]"')
LONG = replace(small("masked", images=4_000), checkpoint_every=400, log_every=80)
"""a training that takes some seconds, so that there is time to kill it"""


# --------------------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("text, values", [
    ("seed=0..4", ["0", "1", "2", "3", "4"]), ("seed=7", ["7"]), ("seed=0..1,5,8..9", ["0", "1", "5", "8", "9"]),
    ("autoencoder.beta=1, 4.5,1e-3", ["1", "4.5", "1e-3"]), ("optimizer.betas=[0,.9],[.9,.99]", ["[0,.9]", "[.9,.99]"]),
    ("data.source=rooms,/my/cats..dogs", ["rooms", "/my/cats..dogs"]),
])  # fmt: skip
def test_an_axis_is_values_and_ranges(text, values):
    assert parse_axis(text).values == values


def test_a_grid_has_every_combination_with_its_settings_and_a_name():
    trials = grid(find("demo"), ["autoencoder.beta=1,4.5", "seed=0..2", "generator.stages.2.transform=circle"])
    assert [trial.name for trial in trials[:2]] == ["beta=1,seed=0,transform=circle", "beta=1,seed=1,transform=circle"]
    found = {(t.config.autoencoder.beta, t.config.seed, t.config.generator.stages[2].transform) for t in trials}
    assert found == {(beta, seed, "circle") for beta in (1.0, 4.5) for seed in range(3)}
    assert len({trial.name for trial in trials}) == 6


@pytest.mark.parametrize("axes, part", [
    (["seed"], "--axis seed: write it as"), (["=1"], "--axis =1"), (["seed="], "--axis seed="),
    (["autoencoder.beta=1,,2"], "--axis autoencoder.beta=1,,2: there is nothing between"),
    (["autoencoder.betta=1"], "--axis autoencoder.betta=1: there is no setting autoencoder.betta; did you mean beta?"),
    (["seed=4..0"], "--axis seed=4..0: the range 4..0"), (["seed=0..99999999"], "--axis seed=0..99999999: the range"),
    (["autoencoder.beta=1,x"], "--axis autoencoder.beta=1,x: 1 problem in autoencoder.beta=x"),
    (["autoencoder.beta=1,1.0"], "--axis autoencoder.beta=1,1.0: 1.0 is there twice"),
    (["seed=0", "seed=1"], "--axis seed is given twice"), (["recipe=demo,faces"], "one recipe"),
    (["seed=0..999", "batch=1..999"], "999,000"),
    (["generator.palette=0,4"], "2 problems in trial palette=0"),
])  # fmt: skip
def test_errors_name_the_axis(axes, part):
    with pytest.raises(UserError) as error:
        grid(find("demo"), axes)
    assert part in str(error.value)


def test_without_ray_one_message_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "demo", "--axis", "seed=0..1", "--out", str(tmp_path / "s")])
    assert ended.value.code == 2 and 'pip install "wherewhat[sweep]"' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- what is shown


def test_a_board_reads_from_folders_how_far_trials_are(tmp_path):
    trials = grid(small("masked"), ["seed=0..3"])
    for trial, images in zip(trials, (64, 32), strict=False):
        train(replace(trial.config, total_images=images), str(tmp_path / trial.name), "cpu", quiet=True)
    board = Board("sweep", trials, tmp_path)
    assert [s.state for s in board.status()] == ["done", "waiting", "waiting", "waiting"]
    assert [s.images_seen for s in board.status()] == [64, 32, 0, 0]
    Run.open(tmp_path / trials[1].name).write_about("running", again=1)
    assert board.status()[1].state == "running"
    Run.open(tmp_path / trials[1].name).write_about("failed", reason="no")
    assert board.status()[1].state == "failed"


def test_a_short_terminal_shows_trials_that_run_and_counts_the_others():
    states = ["done"] * 5 + ["running"] * 2 + ["waiting"] * 30
    trials = [Status(f"seed={k}", state, 100, 200, 50.0 * (state == "running")) for k, state in enumerate(states)]
    shown = table("t", trials, 3)
    assert list(shown.columns[0].cells) == ["seed=0", "seed=5", "seed=6"]
    assert shown.caption == "and 34 more · " + summary(trials)
    assert summary(trials) == "5 of 37 done · 2 running · 3,700 of 7,400 images · 100/s · 0:00:37 left"


# -------------------------------------------------------------------------------------------------------------- on Ray


def weights(path):
    """The last checkpoint's weights, by file and name."""
    files = sorted(Run.open(path).checkpoints()[-1].glob("*.safetensors"))
    return {f"{file.stem}.{name}": value for file in files for name, value in load_file(file).items()}


def as_if_never_stopped(trials, folder, fresh):
    """Whether each trial ended, and with the weights of a training that was never stopped."""
    for name, config in trials:
        train(config, str(fresh / name), "cpu", quiet=True)
        one, other = weights(folder / name), weights(fresh / name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), name
    return True


def about(path):
    with suppress(OSError, ValueError):
        return json.loads((path / "about.json").read_text())
    return {}


def wait_for(condition, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


def checkpoints(path):
    return len(list((path / "checkpoints").glob("0*")))


class Meanwhile(threading.Thread):
    """Does something beside the test; `failed` is what went wrong."""

    def __init__(self, what):
        super().__init__(daemon=True)
        self.what, self.failed = what, None
        self.start()

    def run(self):
        try:
            self.what()
        except BaseException as error:
            self.failed = error

    def ended(self):
        self.join(60)
        return self.failed is None and not self.is_alive()


@needs_ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_killed_trial_and_ctrl_c_lose_nothing_and_nothing_runs_twice(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(RECIPES, "long", (LONG, ""))
    folder, one, other = tmp_path / "sweep", tmp_path / "sweep" / "seed=1", tmp_path / "sweep" / "seed=2"
    command = ["sweep", "long", "--axis", "seed=0..2", "--out", str(folder), "--quiet"]
    trials = grid(LONG, ["seed=0..2"])
    finished = train(trials[0].config, str(folder / "seed=0"), "cpu", quiet=True)  # as an earlier call left it
    before = about(finished.path)

    def kill_then_interrupt():
        wait_for(lambda: checkpoints(one))
        killed = about(one)["process"]["pid"]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: about(one)["process"]["pid"] != killed and checkpoints(one) > 2)
        os.kill(os.getpid(), signal.SIGINT)

    meanwhile, before_test = Meanwhile(kill_then_interrupt), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # processes of pytest-xdist ignore it
    try:
        with pytest.raises(SystemExit) as ended:
            main(command)
    finally:
        signal.signal(signal.SIGINT, before_test)
    assert meanwhile.ended() and ended.value.code == 130 and "the same command goes on" in capsys.readouterr().err
    assert about(one)["state"] == "stopped" and not is_done(trials[1], folder)
    assert about(other).get("state") in ("stopped", "done")

    main(command)
    assert about(finished.path) == before
    assert as_if_never_stopped(trials[1:], folder, tmp_path / "fresh")


@needs_ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_two_nodes_share_a_sweep_and_one_may_be_lost(tmp_path):
    from ray.cluster_utils import Cluster as Nodes

    trials = grid(LONG, ["seed=0..1"])
    paths = [tmp_path / trial.name for trial in trials]
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_failure_threshold": 3}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick})
    try:
        second = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()

        def lose_the_second():
            wait_for(lambda: all(checkpoints(path) for path in paths))
            assert all(about(path)["state"] == "running" for path in paths)  # a core each: on both nodes at once
            nodes.remove_node(second, allow_graceful=False)

        with launch.connected(Cluster(nodes.address)) as slots:
            assert slots == 2
            meanwhile = Meanwhile(lose_the_second)
            assert launch.launch(trials, tmp_path, Cluster(nodes.address), lambda: None) == {}
            assert meanwhile.ended()
    finally:
        nodes.shutdown()
    assert as_if_never_stopped(trials, tmp_path, tmp_path / "fresh")
