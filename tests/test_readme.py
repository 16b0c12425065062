"""The README's commands are commands of this version, and its Python compiles."""

import functools
import re
import shlex
import shutil
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import wherewhat
from wherewhat import cli
from wherewhat.cli import training
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.weights import lpips_file

DOCS = Path(__file__).parent.parent / "docs"
LPIPS = lpips_file("alex")
README = (DOCS.parent / "README.md").read_text("utf-8")


def blocks(text, language):
    """Contents of the fenced blocks of a language."""
    fenced = re.findall(rf"^([ \t]*)```{language}[ \t]*\n(.*?)^\1```[ \t]*$", text, re.M | re.S)
    return [textwrap.dedent(content) for _, content in fenced]


def commands(text):
    """The words after `wherewhat` of each command in bash blocks: continued lines joined, comments and pipes cut."""
    found = []
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if re.match(r"(\S*/)?wherewhat( |$)", line):
                lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = list(lexer)[1:]
                ends = [k for k, word in enumerate(words) if word and set(word) <= set("|&;<>()")]
                found.append(words[: ends[0]] if ends else words)
    return found


def check(words, patch):
    """Raises SystemExit or AssertionError unless the verb exists and takes these flags.  Nothing is run but the reading
    of flags and, for a training, the making of its configuration."""
    asked = []

    def stub(real):
        @functools.wraps(real)
        def note(*values, **named):
            asked.append(real)

        return note

    with patch.context() as here:
        here.setattr(cli, "VERBS", {verb: stub(real) for verb, real in cli.VERBS.items()})
        cli.main(words)
    assert len(asked) == 1 or words[:1] in ([], ["--help"], ["--version"]), words
    if asked == [training.train] and not words[1].isupper():  # RECIPE stands for any
        with patch.context() as here:
            here.setattr(training, "_train", lambda *_: SimpleNamespace(word="", images_seen=0))
            cli.main(words)


def check_all(text, patch):
    """How many commands and Python blocks a text has, all of them checked."""
    found, code = commands(text), blocks(text, "python")
    assert found, "no bash block has a line that begins with wherewhat"
    for words in found:
        try:
            check(words, patch)
        except SystemExit as exit:
            assert not exit.code, f"this does not work: wherewhat {shlex.join(words)}"
    for block in code:
        compile(block, "README.md", "exec")
    return len(found), len(code)


def test_the_commands_of_the_readme_are_commands(monkeypatch):
    check_all(README, monkeypatch)


@pytest.mark.parametrize("page", ["metrics", "quality"])
def test_the_examples_of_functions_on_arrays_run_as_written(page, capsys):
    """A line for every metric is printed, with finite numbers."""
    code = blocks((DOCS / f"{page}.md").read_text("utf-8"), "python")[0]
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == code.count("print(") and not any("nan" in line for line in printed)


@pytest.mark.skipif(not LPIPS.is_file(), reason="needs the LPIPS weights: wherewhat weights")
@pytest.mark.parametrize("page", ["README", "runs", "editing", "your-generator"])
def test_the_snippets_run_as_written(page, trained, tmp_path, monkeypatch, capsys):
    """Where runs/demo is a run and faces/000003.png a photograph."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/demo")
    Path("faces").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save("faces/000003.png")
    monkeypatch.setattr(wherewhat, "load_distance", lambda *_: Pixels())  # images of the small run are too small
    text = README if page == "README" else (DOCS / f"{page}.md").read_text("utf-8")
    code = blocks(text, "python")
    assert code
    for block in code:
        exec(compile(block.replace("tune=50", "steps=1, tune=1"), page, "exec"), {})


@pytest.mark.parametrize("page", ["metrics", "quality", "editing", "runs", "your-generator"])
def test_the_commands_of_the_documentation_are_commands(page, monkeypatch):
    for words in commands((DOCS / f"{page}.md").read_text("utf-8")):
        check(words, monkeypatch)


# --------------------------------------------------------------------------------------------------- the checker itself

SOUND = """
Words, `wherewhat nonsense` inline.

```bash
make install
wherewhat train demo --data ~/cats --out runs/cats \\
    --images 500000          # a comment
$ wherewhat evaluate runs/cats --json | jq .
.venv/bin/wherewhat data show rooms --out 'my rooms.png' && open 'my rooms.png'
wherewhat train RECIPE --set autoencoder.beta=3 --set batch=16
wherewhat --version
wherewhat
```

```
wherewhat nonsense
```

- an item

  ```python
  import wherewhat
  wherewhat.open_run("x")
  ```
"""


def test_commands_are_found_and_words_are_those_of_a_shell():
    assert commands(SOUND) == [
        ["train", "demo", "--data", "~/cats", "--out", "runs/cats", "--images", "500000"],
        ["evaluate", "runs/cats", "--json"],
        ["data", "show", "rooms", "--out", "my rooms.png"],
        ["train", "RECIPE", "--set", "autoencoder.beta=3", "--set", "batch=16"],
        ["--version"],
        [],
    ]


def test_a_sound_text_passes_and_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert check_all(SOUND, monkeypatch) == (6, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "trian demo",
        "train demo --bacth 3",
        "train demo --images many",
        "train demoo",
        "train demo --set autoencoder.bta=3",
        "train demo --resolution 100",
        "train celeba",
        "evaluate",
        "evaluate runs/demo --jsno",
        "data shwo rooms",
    ],
)
def test_a_command_that_does_not_work_is_found(line, monkeypatch):
    with pytest.raises(AssertionError, match="this does not work: wherewhat"):
        check_all(SOUND.replace("make install", f"wherewhat {line}"), monkeypatch)


@pytest.mark.parametrize("text", ["", "wherewhat demo", "```\nwherewhat demo\n```\n", "```bash\nmake demo\n```\n"])
def test_a_text_without_commands_is_found(text, monkeypatch):
    with pytest.raises(AssertionError, match="no bash block"):
        check_all(text, monkeypatch)


def test_python_that_does_not_compile_is_found(monkeypatch):
    with pytest.raises(SyntaxError):
        check_all(SOUND.replace("import wherewhat", "import wherewhat as"), monkeypatch)
