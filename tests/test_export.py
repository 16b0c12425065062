"""ONNX files compute what PyTorch does, for any batch and with controls, and describe themselves; the example runs."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small
from helpers import enlivened
from PIL import Image

from wherewhat import cli
from wherewhat.editing import export as exporting
from wherewhat.editing.export import BATCHES, export
from wherewhat.errors import UserError
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.nn.curves import Curve
from wherewhat.run.folder import Run
from wherewhat.train.loop import train
from wherewhat.viz.canvas import to_image, to_pixels

EXAMPLE = Path(__file__).parent.parent / "examples" / "onnx_control.py"
MIXED = Controls(((1.0, 0.5), (-0.5, 1.5)), (0.2, -0.1), (PolarPair(0, 1, (0.1, 0.2), 0.3, 1.0, 0.5),))

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """A run whose controls mix latents and have an angle, and its files."""
    folder = tmp_path_factory.mktemp("exported")
    run = enlivened(trained, folder / "run")
    run.generator.controls = run.encoder.controls = MIXED
    run.save(64, run.generator, run.encoder, {"images_seen": 64})
    run = Run.open(run.path)
    run.rename(0, "smile")
    return run, export(run, folder / "onnx")


def session(exported, which):
    return onnxruntime.InferenceSession(exported[1][which].path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 4, 9])
def test_the_generator_is_the_same_for_batches_it_was_not_traced_with(exported, batch):
    codes = torch.randn(batch, 2, generator=torch.Generator().manual_seed(batch))
    image, masks = session(exported, 0).run(["image", "masks"], {"codes": codes.numpy()})
    made = exported[0].generator(codes)
    np.testing.assert_allclose(image, made.image.clamp(-1, 1), atol=1e-4)
    np.testing.assert_allclose(masks, made.masks_at(16, 16), atol=1e-5)
    assert masks.shape == (batch, 2, 16, 16)


@pytest.mark.parametrize("batch", [1, 4, 9])
def test_the_encoder_is_the_same_angles_included(exported, batch):
    images = torch.rand(batch, 3, 16, 16, generator=torch.Generator().manual_seed(batch)) * 2 - 1
    (codes,) = session(exported, 1).run(None, {"image": images.numpy()})
    np.testing.assert_allclose(codes, exported[0].encoder(images), atol=1e-4)


def test_the_difference_reported_is_the_largest(exported, monkeypatch, tmp_path):
    assert all(0 <= part.difference < 1e-4 for part in exported[1])

    class Off(torch.nn.Module):
        """The encoder, except for one number of one image."""

        def forward(self, image):
            codes = exported[0].encoder(image)
            codes[-1, 1] += 0.5
            return codes

    images = torch.rand(sum(BATCHES), 3, 16, 16) * 2 - 1
    assert exporting.compare(exported[1][1].path, Off(), images) == pytest.approx(0.5, abs=1e-4)


def test_a_file_describes_its_inputs_and_outputs(exported):
    generator, encoder = session(exported, 0), session(exported, 1)
    assert [(i.name, i.shape[1:]) for i in generator.get_inputs()] == [("codes", [2])]
    assert [(o.name, o.shape[1:]) for o in generator.get_outputs()] == [("image", [3, 16, 16]), ("masks", [2, 16, 16])]
    assert [(i.name, i.shape[1:]) for i in encoder.get_inputs()] == [("image", [3, 16, 16])]
    for part in (generator, encoder):
        assert isinstance(part.get_inputs()[0].shape[0], str)  # any batch
        about = part.get_modelmeta().custom_metadata_map
        assert json.loads(about["controls"]) == ["smile", "z1"]
        assert json.loads(about["angles"]) == [0]
        assert about["image_range"].startswith("-1 to 1")


def test_a_file_is_complete_or_not_there(exported, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(torch.onnx, "export", half)
    with pytest.raises(UserError, match="cannot write"):
        export(exported[0], tmp_path / "file")
    with pytest.raises(UserError, match="No space left"):
        export(exported[0], tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def half(module, example, path, **settings):
    """A disk that is full before the file is written."""
    Path(path).write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_a_file_that_differs_from_pytorch_is_not_written(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "compare", lambda *_: 0.5)
    with pytest.raises(UserError, match=r"generator.onnx would differ from PyTorch by 5.0e-01"):
        export(exported[0], tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_verb_prints_the_difference_from_pytorch(exported, capsys, monkeypatch, tmp_path):
    run, parts = exported
    monkeypatch.setattr(exporting, "export", lambda run, folder: parts)
    cli.main(["export", str(run.path), "--onnx"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(f"within {part.difference:.1e} of PyTorch" in line for part, line in zip(parts, lines, strict=True))
    with pytest.raises(SystemExit) as exit:
        cli.main(["export", str(run.path)])
    assert exit.value.code == 2
    assert "--onnx" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_installs_it(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'onnxruntime is missing: pip install "wherewhat\[export\]"'):
        export(exported[0], tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_the_example_moves_a_control_without_torch(exported, tmp_path):
    run, parts = exported
    photo = run.generator(torch.tensor([[0.3, 0.4]])).image.clamp(-1, 1)
    to_image(to_pixels(photo)[0]).save(tmp_path / "photo.png")
    shutil.copy(EXAMPLE, tmp_path / "example.py")
    no_torch = "import sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read())"
    words = ["example.py", str(parts[0].path.parent), "photo.png", "smile", "out.png"]
    subprocess.run([sys.executable, "-c", no_torch, *words], check=True, cwd=tmp_path, timeout=120)
    with Image.open(tmp_path / "out.png") as out, Image.open(tmp_path / "photo.png") as seen:
        row, pixels = (np.array(picture).astype(np.int32) for picture in (out, seen))
    assert row.shape == (16, 8 * 16, 3)
    assert abs(row[:, :16] - pixels).max() <= 1
    codes = run.encoder(torch.from_numpy(pixels).float().permute(2, 0, 1)[None] / 127.5 - 1).repeat(7, 1)
    codes[:, 0] = torch.linspace(-2, 2, 7)
    wanted = to_pixels(run.generator(codes).image)
    assert abs(row[:, 16:].reshape(16, 7, 16, 3).transpose(1, 0, 2, 3) - wanted).max() <= 1


def test_a_run_with_a_palette_and_curves_is_exported_as_it_is(trained, tmp_path):
    """Two components that are five clusters become one control, in ONNX as in PyTorch; `export` compares both."""
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    nodes = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.arange(5) * 2 * np.pi / 5)
    curve = Curve((0, 1), nodes, True, ((0.0,), (0.1,)))
    run.generator.controls = run.encoder.controls = Controls(((1.0, 0.2), (0.0, 1.0)), (0.1, 0.0), (), (curve,))
    files = export(run, tmp_path / "onnx")
    assert [file.path.name for file in files] == ["generator.onnx", "encoder.onnx"]
    assert all(file.difference < 1e-3 for file in files)


def test_an_encoder_that_searches_turns_is_refused(tmp_path):
    config = small("masked", images=16)
    moving = replace(config.generator.stages[-1], transform="circle")
    config = replace(config, generator=replace(config.generator, stages=(*config.generator.stages[:-1], moving)))
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    with pytest.raises(UserError, match="trying turns"):
        export(run, tmp_path / "onnx")
