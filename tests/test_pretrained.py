"""Runs that come with the package: they are packed without visible loss, open as any run, and are never written to."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from wherewhat import cli
from wherewhat.config import to_json, with_settings
from wherewhat.data import open_data
from wherewhat.errors import UserError
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.nn.ops import to_float
from wherewhat.recipes import find
from wherewhat.run import shipped as package_runs
from wherewhat.run.folder import Run
from wherewhat.train.loop import train


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A tiny run with a polar pair, and a package folder that ships it as `tiny`."""
    home = tmp_path_factory.mktemp("shipped")
    config = with_settings(find("demo"), ["total_images=64", "batch=8", "preview_every=1000000"])
    run = train(config, str(home / "run"), "cpu", quiet=True)
    run.generator.controls = run.encoder.controls = Controls.plain(
        config.latents, (PolarPair(0, 1, (0.1, 0.2), 0.3, 1.0, 0.5),)
    )
    run.save(64, run.generator, run.encoder, {"images_seen": 64})
    (run.path / "names.json").write_text('{"3": "wall"}')
    package_runs.pack(run, home / "pretrained" / "tiny", "rooms")
    return run, home / "pretrained"


@pytest.fixture
def package(shipped, monkeypatch, tmp_path):
    run, folder = shipped
    monkeypatch.setattr(package_runs, "SHIPPED", folder)
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    return run, folder / "tiny"


def test_it_makes_the_same_images_and_codes(package):
    run, _ = package
    there = Run.open("pretrained:tiny")
    z = torch.randn(4, run.config.latents, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(there.generator(z).image, run.generator(z).image, atol=0.02, rtol=0)
    images = to_float(torch.from_numpy(open_data(run.config.data).images(np.arange(4))))
    torch.testing.assert_close(there.encoder(images), run.encoder(images), atol=0.02, rtol=0)
    assert there.generator.controls == run.generator.controls == there.encoder.controls
    assert there.images_seen == run.images_seen and there.names == {3: "wall"}


def test_it_takes_less_than_0_6_of_the_space(package):
    run, folder = package
    packed = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    weights = sum(p.stat().st_size for p in run.checkpoints()[-1].glob("*.safetensors"))
    assert packed < 0.6 * weights


def test_scores_go_to_the_cache_and_pictures_to_the_current_folder(package, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = package
    before = sorted(p.name for p in folder.rglob("*"))
    cli.main(["evaluate", "pretrained:tiny", "--metrics", "tpl", "--tpl", "small", "--distance", "pixels"])
    cli.main(["traverse", "pretrained:tiny", "--steps", "3", "--inactive"])
    assert sorted(p.name for p in folder.rglob("*")) == before
    assert Run.open("pretrained:tiny").latest("tpl") is not None  # the copy keeps what was added
    assert (tmp_path / "tiny-traversals.png").exists()
    assert str(package_runs.cache("pretrained")) not in capsys.readouterr().out


def test_data_somewhere_else_can_be_named(package, capsys):
    _, folder = package
    config = Run.open(folder).config
    text = to_json(replace(config, data=replace(config.data, source="faces")))
    (folder / "config.json").write_text(text)
    try:
        with pytest.raises(SystemExit):
            cli.main(["evaluate", "pretrained:tiny", "--metrics", "mig", "--protocol", "fast"])
        assert "wherewhat data make faces" in capsys.readouterr().err
        cli.main(["evaluate", "pretrained:tiny", "--metrics", "mig", "--protocol", "fast", "--data", "rooms"])
    finally:
        (folder / "config.json").write_text(to_json(config))


def test_an_unknown_name_is_reported_with_the_nearest(package):
    with pytest.raises(UserError, match="did you mean tiny"):
        Run.open("pretrained:tinny")


def test_what_the_package_ships_can_be_opened():
    for name in package_runs.names():
        folder = package_runs.SHIPPED / name
        run = Run.open(folder)
        image, masks = run.generator(torch.zeros(1, run.config.latents))
        assert image.shape[2:] == run.config.size and len(masks) > 0
        assert (folder / "README.md").is_file()
        assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 4_200_000
        assert not run.config.data.source.startswith("/")


def test_controls_are_drawn_as_often_as_images_have_their_values(shipped, tmp_path):
    run = Run.open(shutil.copytree(shipped[0].path, tmp_path / "run"))
    latents = np.random.default_rng(0).choice([-1.0, 0.5, 1.5], (900, run.config.latents), p=[0.5, 0.25, 0.25])
    controls = Controls.plain(run.config.latents, ()).with_quantiles(latents)
    run.generator.controls = run.encoder.controls = controls
    run.save(64, run.generator, run.encoder, {"images_seen": 64})
    again = Run.open(run.path)
    assert again.generator.controls == controls
    drawn = again.draw(4_000, 1)
    assert abs((abs(drawn + 1) < 0.01).mean() - 0.5) < 0.03 and abs((abs(drawn - 1.5) < 0.01).mean() - 0.25) < 0.03
    assert abs(np.corrcoef(drawn[:, :4].T) - np.eye(4)).max() < 0.1, "each by itself"
