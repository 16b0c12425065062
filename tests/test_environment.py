"""Where a command is run: without a terminal, colours, UTF-8, or a home that can be written to; from odd paths."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def called(*words, cwd, **variables):
    """A command in a process whose environment holds nothing but these variables."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "wherewhat.cli", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "with space and ünicode"
    made.mkdir()
    return made


def test_a_run_under_an_odd_path_is_drawn_without_terminal_colours_or_utf_8(trained, folder):
    run = shutil.copytree(trained, folder / "läuf 1")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1", "HOME": str(folder)}
    words = ["evaluate", run.name, "--metrics", "tpl", "--protocol", "fast", "--distance", "pixels"]
    ended = called(*words, cwd=folder, **plain)
    assert ended.returncode == 0, ended.stderr.decode()
    assert b"\x1b" not in ended.stdout + ended.stderr
    assert re.search(rb"\d\.\d\d", ended.stdout)
    ended = called("traverse", run.name, "--out", "bild.png", cwd=folder, **plain)
    assert ended.returncode == 0, ended.stderr.decode()
    assert (folder / "bild.png").stat().st_size > 1000


def test_a_home_that_cannot_be_written_to_is_named_with_the_way_out(folder):
    """/proc cannot be written to, by nobody."""
    ended = called("traverse", "pretrained:faces", cwd=folder, HOME="/proc", XDG_CACHE_HOME="/proc/cache")
    said = ended.stderr.decode()
    assert ended.returncode == 2 and "Traceback" not in said, said
    assert "/proc/cache" in said and "WHEREWHAT_CACHE" in said
