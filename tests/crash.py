"""kill -9 at random moments of a short training, and files that a power failure cut short: each time the run opens,
goes on, and ends bit for bit as one that was never stopped.

`make test-crash` runs it.  WHEREWHAT_KILLS: how many trainings, each killed three times; WHEREWHAT_SEED: other moments.
"""

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import small
from safetensors.torch import load_file

from wherewhat.config import to_json
from wherewhat.run.folder import Run

KILLS, SEED = int(os.environ.get("WHEREWHAT_KILLS", "100")), int(os.environ.get("WHEREWHAT_SEED", "0"))
# One process serves many trainings, each in a fork of its own: importing takes longer than what is killed.
SERVER = """
import os, sys, torch
from pathlib import Path
from wherewhat.config import from_json
from wherewhat.train import preview
from wherewhat.train.loop import train
torch.set_num_threads(1)
preview.quick_distance = lambda *_: None
config = from_json(Path(sys.argv[1]).read_text(), "config")
import sklearn.decomposition, torch.utils.tensorboard, matplotlib.pyplot
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            train(config, line.strip(), "cpu", quiet=True)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
CONFIG = replace(small("masked", images=192), checkpoint_every=16, preview_every=96, log_every=8)


class Server:
    """Starts trainings in one folder after the other."""

    def __init__(self, folder: Path) -> None:
        (folder / "config.json").write_text(to_json(CONFIG))
        words = [sys.executable, "-c", SERVER, str(folder / "config.json")]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, run: Path) -> int:
        self.process.stdin.write(f"{run}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def status(self) -> int:
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("server"))
    with started.process:
        yield started
        started.process.stdin.close()


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """What a training that was never stopped ends with, and the seconds that a second one takes, in warm caches."""
    for name in ("first", "second"):
        path, began = tmp_path_factory.mktemp("whole") / name, time.perf_counter()
        server.start(path)
        assert server.status() == 0
        seconds = time.perf_counter() - began
    return contents(path), seconds


def contents(path):
    """All weights and rows of a run, without the time they took."""
    run = Run.open(path)
    folder = run.checkpoints()[-1]
    saved = {f"{p.stem}.{k}": v for p in sorted(folder.glob("*.safetensors")) for k, v in load_file(p).items()}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.rows("train")]
    controls = folder / "controls.json"
    return saved, rows, controls.read_text() if controls.exists() else "", [c.name for c in run.checkpoints()]


def assert_same(one, two):
    assert one[0].keys() == two[0].keys() and all(torch.equal(one[0][k], two[0][k]) for k in one[0])
    assert one[1:] == two[1:]


def in_a_checkpoint(path, draw):
    """Wait until a checkpoint is being written, then a moment."""
    until = time.monotonic() + draw.uniform(0, 1)
    while time.monotonic() < until and not list((path / "checkpoints").glob(".*")):
        pass
    time.sleep(draw.uniform(0, 0.005))


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_training_ends_as_one_never_stopped(server, whole, tmp_path, number):
    draw, path, kills = random.Random(1000 * SEED + number), tmp_path / "run", 0
    while True:
        child = server.start(path)
        if kills < 3:
            time.sleep(draw.uniform(0, whole[1]))
            if draw.random() < 0.5:
                in_a_checkpoint(path, draw)
            with suppress(ProcessLookupError):
                os.kill(child, 9)
            kills += 1
        status = server.status()
        assert status in (0, -9), "it did not go on: the reason is on standard error"
        if (path / "config.json").exists():
            assert Run.open(path).about.get("state") in ("done", "running", None)
        if status == 0:
            break
    assert_same(contents(path), whole[0])


@pytest.mark.parametrize("name", ["train.jsonl", "metrics.jsonl", "about.json"])
@pytest.mark.parametrize("left", ["nothing", "half", "zeros"])
def test_files_that_a_power_failure_cut_short(server, whole, tmp_path, name, left):
    path = tmp_path / "run"
    child, rows_file = server.start(path), path / "train.jsonl"
    while not rows_file.exists() or rows_file.read_bytes().count(b"\n") < 15:
        time.sleep(0.001)
    os.kill(child, 9)
    assert server.status() == -9
    file = path / name
    content = file.read_bytes() if file.exists() else b""
    file.write_bytes({"nothing": b"", "half": content[: len(content) // 2], "zeros": bytes(len(content))}[left])
    server.start(path)
    assert server.status() == 0
    saved, rows, controls, checkpoints = contents(path)
    expected = whole[0]
    if name == "train.jsonl":  # rows before the last checkpoint are lost, and no row is there twice or in disorder
        rows = [row for row in rows if row in expected[1]]
        expected = (*expected[:1], rows, *expected[2:])
        assert [row["images_seen"] for row in rows] == sorted({row["images_seen"] for row in rows})
    assert_same((saved, rows, controls, checkpoints), expected)
