"""Runs that come with the package: packed without loss that shows, opened as any run, never written to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wherewhat import cli, runs
from wherewhat.config import with_settings
from wherewhat.data import open_data
from wherewhat.errors import UserError
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.recipes import find
from wherewhat.run.folder import Run
from wherewhat.train.loop import train


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A tiny run with a pair, and a package folder that ships it as `tiny`."""
    home = tmp_path_factory.mktemp("shipped")
    config = with_settings(find("demo"), ["images=64", "batch=8", "every.pictures=1000000"])
    run = train(config, str(home / "run"), "cpu", quiet=True)
    run.generator.controls = run.encoder.controls = Controls.plain(12, (PolarPair(0, 1, (0.1, 0.2), 0.3, 1.0, 0.5),))
    run.save(64, run.generator, run.encoder, {"images": 64})
    (run.path / "names.json").write_text('{"3": "wall"}')
    pack(run, home / "pretrained" / "tiny", "rooms")
    return run, home / "pretrained"


@pytest.fixture
def package(shipped, monkeypatch, tmp_path):
    run, folder = shipped
    monkeypatch.setattr(runs, "PACKED", folder)
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    return run, folder / "tiny"


def test_it_makes_the_same_images_and_codes(package):
    run, _ = package
    there = Run.open("pretrained:tiny")
    z = torch.randn(4, run.config.generator.latents, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(there.generator(z).image, run.generator(z).image, atol=0.02, rtol=0)
    images = torch.from_numpy(open_data(run.config.data).images(np.arange(4))).float() / 127.5 - 1
    torch.testing.assert_close(there.encoder(images), run.encoder(images), atol=0.02, rtol=0)
    assert there.generator.controls == run.generator.controls == there.encoder.controls
    assert there.images == run.images_seen and there.names == {3: "wall"}


def test_it_is_less_than_half_as_large(package):
    run, folder = package
    packed = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    weights = sum(p.stat().st_size for p in run.checkpoints()[-1].glob("*.safetensors"))
    assert packed < 0.6 * weights


def test_scores_and_pictures_go_to_the_cache(package, capsys):
    _, folder = package
    before = sorted(p.name for p in folder.rglob("*"))
    cli.main(["evaluate", "pretrained:tiny", "--metrics", "tpl", "--tpl", "small", "--distance", "pixels"])
    cli.main(["traverse", "pretrained:tiny", "--steps", "3", "--inactive"])
    assert sorted(p.name for p in folder.rglob("*")) == before
    assert Run.open("pretrained:tiny").latest("tpl") is not None  # the copy keeps what was added
    assert str(runs.cache("pretrained")) in capsys.readouterr().out


def test_data_somewhere_else_can_be_named(package, capsys):
    _, folder = package
    config = Run.open(folder).config
    text = runs.to_json(replace(config, data=replace(config.data, source="faces")))
    (folder / "config.json").write_text(text)
    try:
        with pytest.raises(SystemExit):
            cli.main(["evaluate", "pretrained:tiny", "--metrics", "mig", "--protocol", "fast"])
        assert "wherewhat data make faces" in capsys.readouterr().err
        cli.main(["evaluate", "pretrained:tiny", "--metrics", "mig", "--protocol", "fast", "--data", "rooms"])
    finally:
        (folder / "config.json").write_text(runs.to_json(config))


def test_an_unknown_name_is_reported_with_the_nearest(package):
    with pytest.raises(UserError, match="did you mean tiny"):
        Run.open("pretrained:tinny")


def test_what_the_package_ships_can_be_opened():
    for name in runs.pretrained():
        folder = runs.PACKED / name
        run = Run.open(folder)
        image, masks = run.generator(torch.zeros(1, run.config.generator.latents))
        assert image.shape[2:] == run.config.size and len(masks) > 0
        assert (folder / "README.md").is_file()
        assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 4_200_000
        assert not run.config.data.source.startswith("/")
