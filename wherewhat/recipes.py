"""Whole configurations by name.  RECIPES is the registry: a recipe is a function in it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

from wherewhat.config import (
    AutoencoderConfig,
    Config,
    DataConfig,
    GanConfig,
    GeneratorConfig,
    OptimizerConfig,
    StageConfig,
    TrunkConfig,
    VaeConfig,
)
from wherewhat.errors import UserError, did_you_mean


def celeba() -> Config:
    """PS-SC GAN as the paper trains it on CelebA: 25 latents, 5 a stage, 4 boxes a mask."""
    trunk = TrunkConfig((64, 128, 256, 512, 512))
    return Config(
        recipe="celeba",
        data=DataConfig("", 128, 128, hflip=True),
        generator=GeneratorConfig(
            tuple(StageConfig(channels, latents=5, convs=3) for channels in (512, 512, 512, 256, 128))
        ),
        encoder=trunk,
        gan=GanConfig(trunk, simplicity_weight=0.01, r1_gamma=100.0),
        preview_every=500_000,
        checkpoint_every=500_000,
        total_images=25_000_000,
        batch=8,
    )


def ffhq() -> Config:
    """The paper's FFHQ faces at 512²: CelebA's stages with two more; 36 latents, 6 in each of the first six."""
    base = celeba()
    owning = (StageConfig(channels, latents=6, convs=3) for channels in (512, 512, 512, 256, 128, 64))
    stages = (*owning, StageConfig(64, latents=0, convs=3))
    trunk = TrunkConfig((64, 64, 64, 128, 256, 512, 512))
    return replace(
        _named(base, "ffhq"),
        data=replace(base.data, height=512, width=512),
        generator=replace(base.generator, stages=stages),
        encoder=trunk,
        gan=_gan(base, discriminator=trunk),
    )


def shoes() -> Config:
    """PS-SC GAN on photographs of shoes at 128² (the paper's UT Zappos set, or any folder of one kind of thing)."""
    return _named(celeba(), "shoes")


def clevr() -> Config:
    """PS-SC GAN on CLEVR-like scenes at 128²: simple things in a plain room, never mirrored."""
    base = _named(celeba(), "clevr")
    return replace(base, data=replace(base.data, hflip=False))


def rooms() -> Config:
    """PS-SC GAN on the world rooms (the factors of 3D Shapes) at 64²."""
    trunk = TrunkConfig((64, 128, 256, 256), hidden=256)
    return Config(
        recipe="rooms",
        data=DataConfig("rooms", 64, 64, 3),
        generator=GeneratorConfig(
            tuple(StageConfig(channels, latents=3) for channels in (256, 256, 128, 64)), constant_channels=256
        ),
        encoder=trunk,
        gan=GanConfig(trunk, simplicity_weight=0.05, r1_gamma=5.0),
        log_every=3_200,
        preview_every=100_000,
        total_images=2_000_000,
        batch=32,
    )


def sprites() -> Config:
    """PS-SC GAN on the world sprites (the factors of dSprites) at 64²."""
    return replace(_named(rooms(), "sprites"), data=DataConfig("sprites", 64, 64, 1))


def rooms_lean() -> Config:
    """PS-SC GAN on rooms at 64², small, and no latent may hide: over half an hour of one CPU core."""
    trunk = TrunkConfig((16, 32, 64, 128), hidden=128, kind="strided", equalized=False)
    owned = ((96, 4), (64, 4), (32, 4), (16, 0))
    return Config(
        recipe="rooms-lean",
        data=DataConfig("rooms", 64, 64),
        generator=GeneratorConfig(
            stages=tuple(StageConfig(channels, latents) for channels, latents in owned),
            constant_channels=96,
            noise=False,
            upsample="nearest",
            residual=False,
            equalized=False,
        ),
        encoder=trunk,
        gan=GanConfig(
            trunk, loss="relativistic", simplicity_weight=0.05, visibility_weight=1.0, r1_gamma=4.0, r1_interval=2
        ),
        optimizer=OptimizerConfig(lr=0.001, ema_halflife=5_000),
        log_every=1_280,
        preview_every=40_000,
        checkpoint_every=20_000,
        total_images=300_000,
    )


def folder_ae() -> Config:
    """Autoencoder on your own pictures of one kind of thing, at 64².  demo, rooms-ae, sprites-ae and faces are the same
    on other pictures, with other budgets."""
    return Config(
        recipe="folder-ae",
        data=DataConfig("", 64, 64),
        generator=GeneratorConfig(
            stages=(
                StageConfig(64, latents=6),
                StageConfig(48, latents=6),
                StageConfig(32, latents=6, transform="auto"),
            ),
            constant_channels=64,
            mask="none",
            noise=False,
            upsample="nearest",
            residual=False,
            equalized=False,
            head="double",
            palette=12,
            palette_latents=16,
            shading=True,
        ),
        encoder=TrunkConfig((32, 32, 64, 64), hidden=256, kind="strided", equalized=False),
        autoencoder=AutoencoderConfig(),
        prior="generalized_normal",
        optimizer=OptimizerConfig(
            kind="muon",
            betas=(0.9, 0.99),
            warmup_images=12_800,
            lr_halflife=90_000,
            grad_clip=500.0,
            ema_halflife=5_000,
        ),
        log_every=1_280,
        preview_every=100_000,
        checkpoint_every=32_000,
        total_images=240_000,
        batch=32,
    )


def demo() -> Config:
    """folder-ae on the world rooms, for ten minutes on two CPU cores."""
    return _on("demo", DataConfig("rooms", 64, 64), total_images=200_000)


def rooms_ae() -> Config:
    """folder-ae on the world rooms with time to finish: half an hour on two CPU cores."""
    return _on("rooms-ae", DataConfig("rooms", 64, 64), total_images=800_000)


def sprites_ae() -> Config:
    """folder-ae on the world sprites, which have no upright: a turn becomes a control."""
    return _on("sprites-ae", DataConfig("sprites", 64, 64, 1), total_images=80_000)


def faces() -> Config:
    """folder-ae on cartoon faces (wherewhat data make faces)."""
    return _on("faces", DataConfig("faces", 64, 64), total_images=200_000)


def folder_gan() -> Config:
    """folder-ae with an adversary at the end, to which every mixture of controls should look like a picture."""
    return _with_adversary(_named(folder_ae(), "folder-gan"))


def demo_gan() -> Config:
    """folder-gan on the world rooms."""
    return _with_adversary(replace(demo(), recipe="demo-gan"))


def faces_gan() -> Config:
    """folder-gan on cartoon faces (wherewhat data make faces)."""
    return _with_adversary(replace(faces(), recipe="faces-gan"))


def _with_adversary(config: Config) -> Config:
    """The last 40,000 images with an adversary."""
    return replace(
        config,
        gan=GanConfig(
            config.encoder,
            features="alex",
            loss="relativistic",
            adversarial_weight=30.0,
            start_images=config.total_images - 40_000,
            r1_gamma=0.1,
            r1_interval=4,
        ),
    )


# disentanglement_lib's six, on its networks (Locatello et al. 2019): the baselines, and the population on which scores
# that choose a model are tested.


def beta_vae() -> Config:
    """β-VAE on rooms at 64²: a baseline with the networks of disentanglement_lib and its 300,000 steps."""
    stages = tuple(StageConfig(channels, latents, convs=0) for channels, latents in ((64, 10), (32, 0), (32, 0)))
    return Config(
        recipe="beta-vae",
        data=DataConfig("rooms", 64, 64),
        generator=GeneratorConfig(
            stages,
            constant_channels=64,
            mask="none",
            decoder="dense",
            noise=False,
            upsample="transposed",
            slope=0.0,
            residual=False,
            equalized=False,
            head="double",
            output="logits",
        ),
        encoder=TrunkConfig((32, 32, 64, 64), hidden=256, kind="strided", slope=0.0, equalized=False),
        vae=VaeConfig("beta_vae"),
        optimizer=OptimizerConfig(lr=1e-4, betas=(0.9, 0.999)),
        preview_every=500_000,
        checkpoint_every=500_000,
        total_images=19_200_000,
        batch=64,
    )


def annealed_vae() -> Config:
    """AnnealedVAE on rooms at 64²: beta-vae with a divergence held at a capacity that grows."""
    return _vae("annealed-vae", "annealed_vae")


def factor_vae() -> Config:
    """FactorVAE on rooms at 64²: beta-vae with a total correlation that a discriminator of codes estimates."""
    return _vae("factor-vae", "factor_vae")


def beta_tcvae() -> Config:
    """β-TCVAE on rooms at 64²: beta-vae with a total correlation estimated within the batch."""
    return _vae("beta-tcvae", "beta_tcvae")


def dip_vae_i() -> Config:
    """DIP-VAE-I on rooms at 64²: beta-vae with penalties on the covariance of codes."""
    return _vae("dip-vae-i", "dip_vae_i")


def dip_vae_ii() -> Config:
    """DIP-VAE-II on rooms at 64²: beta-vae with penalties on the covariance of samples of the posterior."""
    return _vae("dip-vae-ii", "dip_vae_ii")


def _vae(name: str, objective: str) -> Config:
    return replace(_named(beta_vae(), name), vae=VaeConfig(objective))


def _weights(**weights: int) -> str:
    return f"vae.weights={json.dumps(weights)}"


VAE_GRIDS: dict[str, tuple[str, ...]] = {
    "beta-vae": tuple(_weights(kl=beta) for beta in (1, 2, 4, 6, 8, 16)),
    "annealed-vae": tuple(f"vae.capacity={capacity}" for capacity in (5, 10, 25, 50, 75, 100)),
    "factor-vae": tuple(_weights(total_correlation=gamma) for gamma in (10, 20, 30, 40, 50, 100)),
    "beta-tcvae": tuple(_weights(total_correlation=beta - 1) for beta in (1, 2, 4, 6, 8, 10)),
    "dip-vae-i": tuple(_weights(dip_off_diagonal=od, dip_diagonal=10 * od) for od in (1, 2, 5, 10, 20, 50)),
    "dip-vae-ii": tuple(_weights(dip_off_diagonal=od, dip_diagonal=od) for od in (1, 2, 5, 10, 20, 50)),
}
"""the settings that disentanglement_lib trains of each, with 50 seeds: as --set takes them"""


def with_total_images(config: Config, total_images: int) -> Config:
    """The same recipe for another number of images: its learning rate falls as much on the way, and an adversary beside
    an autoencoder gets the same share of them."""

    def share(images: int) -> int:
        return images * total_images // config.total_images

    optimizer = replace(config.optimizer, lr_halflife=share(config.optimizer.lr_halflife))
    gan = config.gan and replace(config.gan, start_images=share(config.gan.start_images))
    return replace(config, total_images=total_images, optimizer=optimizer, gan=gan)


def _on(name: str, data: DataConfig, total_images: int) -> Config:
    """folder-ae on these pictures with another number of images."""
    return replace(with_total_images(_named(folder_ae(), name), total_images), data=data)


# The paper's ablation: which of simplicity (PS) and constriction (SC) does what.


def without_both(config: Config) -> Config:
    """Plain GAN on the same stages: no masks, no encoder loss."""
    return _ablation(config, "none", simplicity_weight=0.0, visibility_weight=0.0)


def with_information(config: Config) -> Config:
    """InfoGAN on the same stages: an encoder predicts the latents, without pairs and without masks."""
    assert config.gan is not None
    information = config.gan.simplicity_weight
    return _ablation(config, "none", simplicity_weight=0.0, visibility_weight=0.0, infogan_weight=information)


def with_simplicity(config: Config) -> Config:
    """Perceptual simplicity alone: no masks."""
    return _ablation(config, "none")


def with_constriction(config: Config) -> Config:
    """Spatial constriction alone: masks, no encoder loss."""
    return _ablation(config, "boxes", simplicity_weight=0.0, visibility_weight=0.0)


def _ablation(config: Config, mask: str, **weights: float) -> Config:
    generator = replace(config.generator, mask=mask)  # type: ignore[arg-type]
    return replace(config, generator=generator, gan=_gan(config, **weights))


def _gan(config: Config, **changes: object) -> GanConfig:
    assert config.gan is not None
    return replace(config.gan, **changes)  # type: ignore[arg-type]


def _named(config: Config, name: str) -> Config:
    return replace(config, recipe=name)


WHOLE: list[Callable[[], Config]] = [
    demo, folder_ae, rooms_ae, sprites_ae, faces,
    beta_vae, annealed_vae, factor_vae, beta_tcvae, dip_vae_i, dip_vae_ii,
    demo_gan, folder_gan, faces_gan, rooms_lean, rooms, sprites, celeba, ffhq, shoes, clevr,
]  # fmt: skip
ABLATED: list[Callable[[], Config]] = [rooms_lean, rooms, sprites, celeba, ffhq, shoes, clevr]
ABLATIONS: dict[str, Callable[[Config], Config]] = {
    "gan": without_both,
    "info": with_information,
    "ps": with_simplicity,
    "sc": with_constriction,
}
RECIPES: dict[str, tuple[Config, str]] = {make().recipe: (make(), make.__doc__ or "") for make in WHOLE} | {
    f"{make().recipe}-{suffix}": (replace(change(make()), recipe=f"{make().recipe}-{suffix}"), change.__doc__ or "")
    for make in ABLATED
    for suffix, change in ABLATIONS.items()
}
"""name → configuration, and what it is in one sentence"""
WHOLE_NAMES, ABLATED_NAMES = ([make().recipe for make in makes] for makes in (WHOLE, ABLATED))


def find(name: str) -> Config:
    """The recipe of that name.  Raises UserError naming the nearest."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name}{did_you_mean(name, list(RECIPES))}")
    return RECIPES[name][0]


def at_resolution(config: Config, height: int, width: int) -> Config:
    """The same recipe for another size: the constant gets a longer side of 4 to 7, stages are dropped at the end or
    narrower ones without latents added, trunks likewise at their beginning.  Raises UserError for other sizes."""
    doublings = find_doublings(height, width)
    generator = config.generator
    count = doublings - (generator.head == "double")
    if count < 1:
        raise UserError(f"resolution {height}x{width} leaves no stage for recipe {config.recipe}: choose a larger one")
    stages = list(generator.stages[:count])
    while len(stages) < count:
        stages.append(replace(stages[-1], channels=max(16, stages[-1].channels // 2), latents=0))
    changed = replace(
        config,
        data=replace(config.data, height=height, width=width),
        generator=replace(generator, stages=tuple(stages)),
        encoder=_halving(config.encoder, doublings),
    )
    if config.gan:
        changed = replace(changed, gan=_gan(config, discriminator=_halving(config.gan.discriminator, doublings)))
    return changed


def size_for(config: Config, ratio: float) -> tuple[int, int]:
    """Height and width for pictures of this height over width: a size that the recipe's stages make, with about as many
    pixels as it has and about this shape."""
    height, width = config.data.height, config.data.width
    step = 2 ** find_doublings(height, width)
    sides = [step * k for k in range(1, 8)]
    possible = [(h, w) for h in sides for w in sides if max(h, w) >= 4 * step]

    def misfit(size: tuple[int, int]) -> float:
        shape, pixels = size[0] / size[1] / ratio, size[0] * size[1] / (height * width)
        return abs(math.log(shape)) + 0.3 * abs(math.log(pixels))

    return min(possible, key=misfit)


def _halving(trunk: TrunkConfig, times: int) -> TrunkConfig:
    more = times - len(trunk.channels)
    channels = (trunk.channels[0],) * more + trunk.channels if more > 0 else trunk.channels[-times:]
    return replace(trunk, channels=channels)


def find_doublings(height: int, width: int) -> int:
    """How often a start with a longer side of 4 to 7 is doubled to these sides.  Raises UserError naming sizes that
    work."""
    longer = max(height, width)
    for doublings in range(1, 12):
        times = 2**doublings
        if height > 0 and width > 0 and height % times == width % times == 0 and 4 <= longer // times <= 7:
            return doublings
    good = sorted((start * 2**k for start in (4, 5, 6, 7) for k in range(1, 9)), key=lambda side: abs(side - longer))
    near = ", ".join(str(side) for side in sorted(good[:3]))
    raise UserError(
        f"resolution {height}x{width} is not a small start doubled: both sides must be 1 to 7 times the same power of "
        f"two, the longer one 4 to 7 times; near it for square images: {near}"
    )
