"""Whole configurations by name.  RECIPES is the registry: a recipe is a function in it."""

from collections.abc import Callable
from dataclasses import replace

from wherewhat.config import (
    AutoencoderConfig,
    Config,
    DataConfig,
    EveryConfig,
    GanConfig,
    GeneratorConfig,
    OptimiserConfig,
    StageConfig,
    TrunkConfig,
)
from wherewhat.errors import UserError, did_you_mean


def demo() -> Config:
    """Constricted autoencoder on rooms, for ten minutes on two CPU cores."""
    return Config(
        recipe="demo",
        data=DataConfig("rooms", 64, 64, 3),
        generator=GeneratorConfig(
            stages=(StageConfig(64, 4), StageConfig(48, 4), StageConfig(32, 4)),
            constant=64,
            noise=False,
            upsample="nearest",
            residual=False,
            equalised=False,
            head="double",
        ),
        recogniser=TrunkConfig((32, 32, 64, 64), hidden=256, kind="strided", equalised=False),
        autoencoder=AutoencoderConfig(sigma=0.4, beta=5.0, beta_warmup=64_000),
        optimiser=OptimiserConfig(rate=1.5e-3, betas=(0.9, 0.99), warmup=12_800, clip=500.0, average_half_life=5_000),
        every=EveryConfig(report=1_280, pictures=96_000, save=32_000),
        images=300_000,
        batch=64,
    )
