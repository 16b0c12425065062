"""What tests share: small configurations, a small data set, a run trained for a few steps."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers import random_lpips

from wherewhat.config import Config, TrunkConfig, with_settings
from wherewhat.metrics.distance import Lpips
from wherewhat.recipes import find

torch.set_num_threads(1)

torchvision = find_spec("torchvision")
version = Path(torchvision.origin).with_name("version.py") if torchvision and torchvision.origin else None
if version and "+cu" in version.read_text() and torch.version.cuda is None:
    # lpips and torchmetrics import torchvision where it is installed, and use nothing of its compiled half, which does
    # not load beside a torch without CUDA: these operators are only named while the rest is imported
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")


MASKED = (
    "generator.mask=boxes", "generator.palette=0", "generator.palette_latents=0", "generator.shading=false",
    "generator.stages.2.transform=none", "autoencoder.controls=ica",
)  # fmt: skip
"""what differs from demo in `masked`: the paper's masks, and no other latents than those of the stages"""


def small(recipe: str, size: tuple[int, int] = (16, 16), batch: int = 8, images: int = 64) -> Config:
    """A recipe, or `masked`, shrunk to the smallest networks that have all its parts."""
    config = with_settings(find("demo"), MASKED) if recipe == "masked" else find(recipe)
    if config.gan and config.gan.features != "pixels":
        size = tuple(max(side, 32) for side in size)  # LPIPS sees nothing smaller
    double = config.generator.head == "double"
    stages = tuple(replace(s, channels=8, latents=2, boxes=2) for s in config.generator.stages[: 1 if double else 2])
    channels = (8, 8)
    source = "rooms" if config.data.source in ("", "faces") else config.data.source
    shrunk = replace(
        config,
        data=replace(config.data, source=source, height=size[0], width=size[1]),
        generator=replace(
            config.generator,
            stages=stages,
            constant_channels=8,
            palette=3 * bool(config.generator.palette),
            palette_latents=2 * bool(config.generator.palette),
        ),
        encoder=replace(config.encoder, channels=channels, hidden=32),  # wide enough for Muon
        log_every=16,
        preview_every=10_000,
        checkpoint_every=32,
        precision="fp32",
        total_images=images,
        batch=batch,
    )
    if config.gan:
        gan = replace(config.gan, discriminator=TrunkConfig(channels, 16), r1_interval=2)
        shrunk = replace(shrunk, gan=replace(gan, start_images=min(gan.start_images, 8)))
    return shrunk.checked()


@pytest.fixture(autouse=True)
def no_quick_tpl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training of a few steps does not measure itself, whether LPIPS weights are here or not."""
    from wherewhat.train import preview

    monkeypatch.setattr(preview, "quick_distance", lambda *_: None)


@pytest.fixture(autouse=True)
def lpips_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training in this process sees with random weights, so that those of LPIPS need not be here."""
    monkeypatch.setattr("wherewhat.train.state.load_distance", lambda name, device: Lpips(random_lpips(name)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small demo."""
    from wherewhat.train import preview
    from wherewhat.train.loop import train

    path = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preview, "quick_distance", lambda *_: None)
        train(
            replace(small("masked"), log_every=16, preview_every=64, checkpoint_every=32), str(path), "cpu", quiet=True
        )
    return path


@pytest.fixture
def call(capsys):
    """Runs a command in this process: (exit status, standard output, standard error)."""

    from wherewhat.cli import main

    def run(*words):
        try:
            main([str(word) for word in words])
            status = 0
        except SystemExit as exit:
            status = exit.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
