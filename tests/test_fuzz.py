"""Damaged, tampered and foreign files: whatever is in them, only a UserError comes out of what reads them.

500 inputs a loader; the nightly target gives more in WHEREWHAT_EXAMPLES.
"""

import copy
import io
import json
import os
import shutil
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from conftest import small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherewhat.config import from_json, to_json
from wherewhat.data.arrays import read_arrays
from wherewhat.data.folder import open_files
from wherewhat.errors import UserError
from wherewhat.run.folder import Run
from wherewhat.run.names import shown
from wherewhat.train import loop

EXAMPLES = int(os.environ.get("WHEREWHAT_EXAMPLES", "500"))
fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

ODD = st.sampled_from(
    [None, True, -1, 0, 99, 10**9, 10**30, 0.5, float("nan"), float("inf"), "", "z", "\x1b[31m", "[/b]", [], {}, [[]]]
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 5))
JSON = st.recursive(
    st.one_of(ODD, NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def places(value, path=()):
    """Every place in a value of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed(draw, text):
    """JSON that a run wrote, with some values replaced, removed or added; or bytes replaced; or anything at all."""
    kind = draw(st.sampled_from(["values", "values", "values", "bytes", "cut", "anything", "deep"]))
    if kind == "anything":
        return draw(st.one_of(st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode())))
    if kind == "deep":
        return draw(st.sampled_from([b"[" * 50_000, b'{"a":' * 50_000, b"[" * 990 + b"]" * 990, b"9" * 5_000]))
    content = text.encode()
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "bytes":
        at = draw(st.integers(0, len(content)))
        return content[:at] + draw(st.binary(max_size=4)) + content[at + draw(st.integers(0, 4)) :]
    values = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([p for p in places(values) if p] or [("format",)]))
        at = values
        for key in parents:
            at = at[key]
        if draw(st.booleans()) and isinstance(at, dict):
            at.pop(last, None)
        else:
            at[last] = copy.deepcopy(draw(st.one_of(ODD, NUMBERS, JSON)))  # what is drawn may be drawn again
        if not isinstance(values, dict | list) or not values:
            break
    return json.dumps(values).encode()


def only_ours(call):
    """What a call gives; None if it raises a UserError.  Anything else that it raises fails the test."""
    with suppress(UserError):
        try:
            return call()
        except UserError as error:
            assert "allow_pickle" not in str(error) and "weights_only" not in str(error) and len(str(error)) < 5_000
            raise
    return None


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return Run.open(shutil.copytree(trained, tmp_path_factory.mktemp("fuzz") / "run"))


CONFIGS = [to_json(small(name)) for name in ("masked", "rooms", "folder-ae", "beta-vae")]


@fuzzed
@given(st.sampled_from(CONFIGS).flatmap(changed))
def test_config(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzz-config" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    opened = only_ours(lambda: Run.open(file.parent))
    if opened is not None:  # then it is whole: it can be written and read again, and its sizes are known
        assert from_json(to_json(opened.config), "again") == opened.config
        assert 0 < opened.config.latents < 20_000


@fuzzed
@given(st.data())
def test_networks_of_another_configuration(run, data):
    content = data.draw(changed(to_json(run.config)))
    with suppress(UserError):
        config = from_json(content.decode(errors="replace"), "config.json")
        only_ours(lambda: Run(run.path, config).encoder)


CONTROLS = {
    "mixing": [[0.6, -0.8], [0.8, 0.6]], "mean": [0.1, 0.2],
    "polar_pairs": [{"angle": 0, "radius": 1, "centre": [0.0, 0.1], "start": 0.5, "middle": 1.0, "spread": 0.2,
                     "turn": 6.283185307179586}],
}  # fmt: skip
CURVES = {
    **CONTROLS, "polar_pairs": [], "quantiles": [[-1.0, 0.0, 1.0], [-2.0, 0.5, 2.0]],
    "curves": [{"members": [0, 1], "nodes": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], "closed": False,
                "beside": [[0.0], [1.0]]}],
}  # fmt: skip


@fuzzed
@given(st.sampled_from([CONTROLS, CURVES]).map(json.dumps).flatmap(changed))
def test_controls(run, content):
    file = run.checkpoints()[-1] / "controls.json"
    file.write_bytes(content)
    try:
        controls = only_ours(lambda: run._controls)
        if controls is not None:
            z = torch.linspace(-2, 2, 5 * run.config.latents).reshape(5, -1)
            assert controls.decode(controls.encode(z)).isfinite().all()
            assert controls.shares().shape == (run.config.latents,) * 2 and len(controls.angles) <= run.config.latents
    finally:
        file.unlink()


@fuzzed
@given(changed(json.dumps({"0": "wall colour", "1": "smile"})))
def test_names(run, content):
    (run.path / "names.json").write_bytes(content)
    names = only_ours(lambda: run.names)
    (run.path / "names.json").unlink()
    for index, name in (names or {}).items():
        assert 0 <= index < run.config.latents and len(name) <= 60 and (name.isprintable() or not name)


def metric_rows(run):
    control = {"index": 0, "tpl": 1.0, "tpl_error": 0.1, "active": True, "row": 0.5, "column": 0.5, "area": 0.2,
               "peak": 0.5, "factor": None, "share": None}  # fmt: skip
    seen = run.images_seen
    return [
        {"images": seen, "metric": "controls", "value": 1, "options": {}, "details": [control]},
        {"images": seen, "metric": "tpl", "value": 1.5, "options": {}, "details": {"error": 0.1, "active": 1}},
        {"images": seen, "metric": "dci", "value": 0.5, "options": {"protocol": "dlib"}, "details": {}},
        {"images": seen, "metric": "dimensions", "value": 1, "options": {}, "details": [control | {"latent": 0}]},
    ]


@fuzzed
@given(st.data())
def test_rows(run, data):
    lines = [data.draw(changed(json.dumps(row))) for row in data.draw(st.permutations(metric_rows(run)))[:2]]
    (run.path / "metrics.jsonl").write_bytes(b"\n".join(lines) + data.draw(st.sampled_from([b"", b"\n", b"\0" * 99])))
    for table in only_ours(lambda: run.rows("metrics")) or []:
        assert isinstance(table["metric"], str) and table["images"] >= 0
    for use in (lambda: run.control_table, lambda: shown(run), run._repr_html_, lambda: run.drop_rows_after(0)):
        only_ours(use)
    (run.path / "metrics.jsonl").unlink(missing_ok=True)


@fuzzed
@given(changed(json.dumps({"images_seen": 16, "seconds": 1.0, "reconstruction": 3.5})))
def test_losses(tmp_path_factory, content):
    opened = Run(tmp_path_factory.getbasetemp(), small("masked"))
    (opened.path / "train.jsonl").write_bytes(content)
    only_ours(lambda: opened.rows("train"))
    only_ours(lambda: opened.drop_rows_after(8))


@settings(parent=fuzzed, max_examples=max(EXAMPLES // 5, 100))
@given(st.data())
def test_resume_points(run, data):
    """Also those that PyTorch can read, with other values in them."""
    file = run.checkpoints()[-1] / "resume.pt"
    whole = file.read_bytes()
    try:
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(whole) - 1))
            file.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :])
        else:
            point = torch.load(io.BytesIO(whole), weights_only=True)
            name = data.draw(st.sampled_from(sorted(point)))
            odd = st.one_of(ODD, st.just(-5), st.just(torch.zeros(2)), st.dictionaries(st.text(max_size=3), ODD))
            point[name] = data.draw(odd)
            torch.save(point, file)
        state = only_ours(lambda: loop.restored(run, run.config, FABRIC))
        assert state is None or 0 <= state.images_seen <= 10**12
    finally:
        file.write_bytes(whole)


FABRIC = loop.launch(small("masked"), "cpu", 1)


def npz(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_header(shape, content=b"\0" * 64, name="images.npy", descr="|u1"):
    """A .npz whose header claims a shape that its content need not have."""
    head, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, head.getvalue() + content)
    return file.getvalue()


SHAPES = st.lists(st.sampled_from([0, 1, 2, 6, 12, 2**20, 2**43, 2**62]), max_size=5).map(tuple)
ARRAYS = st.one_of(
    st.builds(np.zeros, st.lists(st.integers(0, 12), max_size=4).map(tuple), st.sampled_from(["u1", "f4", "f8", "U3"])),
    st.just(np.array([{}], dtype=object)),
)
ARCHIVES = st.one_of(
    st.builds(with_header, SHAPES, st.binary(max_size=80), st.sampled_from(["images.npy", "codes.npy", "imgs.npy"]),
              st.sampled_from(["|u1", "<f8", "<U900", "|V7"])),
    st.dictionaries(st.sampled_from(["images", "imgs", "latents_classes", "codes", "factors", "names"]), ARRAYS,
                    max_size=3).map(npz),
    st.binary(max_size=200),
)  # fmt: skip
WHOLE = npz({"images": np.zeros((3, 12, 12), np.uint8), "codes": np.zeros((3, 2))})


@st.composite
def archive(draw):
    content = draw(st.one_of(ARCHIVES, st.just(WHOLE)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at + draw(st.integers(0, 3)) :]
    return content


def test_the_archive_that_is_changed_opens(tmp_path):
    (tmp_path / "some.npz").write_bytes(WHOLE)
    assert read_arrays(tmp_path / "some.npz", "images", "codes", "names").keys() == {"images", "codes"}
    assert len(open_files(tmp_path / "some.npz", (6, 6), 1, cache=tmp_path / "cache")) == 3


@fuzzed
@given(archive())
def test_arrays(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "fuzz-npz"
    folder.mkdir(exist_ok=True)
    (folder / "some.npz").write_bytes(content)
    for name, found in (only_ours(lambda: read_arrays(folder / "some.npz", "codes", "images", "imgs")) or {}).items():
        assert isinstance(name, str) and not found.dtype.hasobject
    opened = only_ours(lambda: open_files(folder / "some.npz", (6, 6), 1, cache=folder / "cache"))
    assert opened is None or opened.images(np.array([0])).shape == (1, 1, 6, 6)
    shutil.rmtree(folder / "cache", ignore_errors=True)
