"""Every setting of a training: frozen dataclasses, all problems told at once, JSON both ways.  No torch here."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from wherewhat.errors import UserError, did_you_mean

FORMAT = 1


@dataclass(frozen=True)
class StageConfig:
    """One resolution of the generator: it doubles the sides, paints the latents it owns, convolves."""

    width: int
    """channels of its convolutions"""
    codes: int = 5
    """latent dimensions it owns, each with its own mask"""
    boxes: int = 4
    """soft rectangles averaged into one mask"""
    convs: int = 1
    """3×3 convolutions after the painting"""


@dataclass(frozen=True)
class GeneratorConfig:
    """From latents to an image: a learned constant, then stages, then colours."""

    stages: tuple[StageConfig, ...]
    constant: int = 512
    """channels of the learned constant"""
    mask: Literal["boxes", "softmax", "none", "start"] = "boxes"
    """where a latent may act: averaged soft boxes; a spatial softmax; everywhere; everywhere and not by painting, but
    through two dense layers in place of the constant (the plain decoder most autoencoders have)"""
    noise: bool = True
    """per-pixel noise of learned strength after the last two convolutions of a stage"""
    upsample: Literal["nearest", "bilinear"] = "bilinear"
    residual: bool = True
    """1×1 shortcut around the convolution before the painting and the first one after it"""
    equalised: bool = True
    """weights are drawn from N(0, 1) and scaled by their fan-in at run time"""
    head: Literal["rgb", "double"] = "rgb"
    """rgb: 1×1 convolution at the last stage's resolution; double: 4×4 transposed convolution to twice that"""

    @property
    def codes(self) -> int:
        """Latent dimensions in all."""
        return sum(stage.codes for stage in self.stages)

    @property
    def doublings(self) -> int:
        """How often the sides of the constant are doubled on the way to the image."""
        return len(self.stages) + (self.head == "double")


@dataclass(frozen=True)
class TrunkConfig:
    """From an image to a vector: discriminator, recogniser, encoder.  Each width halves the sides."""

    widths: tuple[int, ...]
    hidden: int = 512
    kind: Literal["residual", "strided"] = "residual"
    """residual: StyleGAN2's discriminator blocks; strided: plain 4×4 convolutions of stride 2"""
    equalised: bool = True


@dataclass(frozen=True)
class DataConfig:
    """Which images, and in which shape."""

    source: str = "rooms"
    """a world made here (rooms, sprites), or the path of a folder, a zip, dSprites' npz, 3D Shapes' h5"""
    height: int = 64
    width: int = 64
    channels: int = 3
    """1 grey, 3 colour, 4 colour and transparency"""
    fit: Literal["crop", "pad"] = "crop"
    """how images of another aspect ratio are fitted"""
    mirror: bool = False
    """show every second image mirrored, at random"""


@dataclass(frozen=True)
class GanConfig:
    """Weights of the adversarial objective: plain GAN with both zero, InfoGAN with information, PS with simplicity."""

    discriminator: TrunkConfig
    simplicity: float = 0.0
    """λ of the perceptual simplicity loss (section 3.2 of the paper)"""
    information: float = 0.0
    """λ of InfoGAN's loss, (z − Q(G(z)))²"""
    step: float = 6.0
    """size of the step ε on one latent: its standard deviation, or its value if fixed"""
    step_kind: Literal["normal", "fixed"] = "normal"
    r1: float = 10.0
    """γ of the R1 penalty on real images"""
    r1_every: int = 16
    """optimiser steps between penalties; the penalty is scaled up by as much"""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Weights of the constricted autoencoder's objective: the recogniser is the encoder, the generator the decoder."""

    sigma: float = 0.4
    """standard deviation of the Gaussian likelihood, for images in [−1, 1]"""
    beta: float = 5.0
    """weight of the KL divergence to the prior"""
    beta_start: float = 0.0
    """the same at the start, from where it falls by the same factor with each image; 0: it is beta throughout.  What is
    worth most nats is found first and alone"""
    beta_fall: int = 0
    """images over which it falls"""
    perceptual: float = 0.0
    """weight of LPIPS-AlexNet between image and reconstruction, in nats: small things count as people see them"""
    controls: Literal["latents", "rings", "components"] = "components"
    """what is moved once training is over: the latents; with those on a circle read as angle and radius; the same of
    their independent components"""


@dataclass(frozen=True)
class OptimiserConfig:
    """What moves the weights, and their running average."""

    kind: Literal["adam", "muon"] = "adam"
    """muon: matrices move by momentum made orthogonal, the rest by Adam"""
    rate: float = 0.002
    betas: tuple[float, float] = (0.0, 0.99)
    warmup: int = 0
    """images over which the learning rate grows from zero"""
    half_life: int = 0
    """images after which the learning rate has halved; 0: it stays"""
    clip: float = 0.0
    """largest gradient norm; 0: no limit"""
    average_half_life: int = 10_000
    """images after which a weight counts half in the running average"""


@dataclass(frozen=True)
class EveryConfig:
    """Images seen between …"""

    report: int = 2_000
    """… rows of train.jsonl"""
    pictures: int = 50_000
    """… pictures and quick scores"""
    save: int = 50_000
    """… checkpoints"""


@dataclass(frozen=True)
class Config:
    """One training, complete.  Exactly one of `gan` and `autoencoder` is set: it names the family."""

    recipe: str
    data: DataConfig
    generator: GeneratorConfig
    recogniser: TrunkConfig
    gan: GanConfig | None = None
    autoencoder: AutoencoderConfig | None = None
    prior: Literal["normal", "uniform", "flat"] = "normal"
    """distribution of each latent: N(0, 1); uniform on [−2, 2] (GANs); nearly uniform with soft ends, of unit variance
    (autoencoders), which unlike the normal one is not the same from every side"""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    every: EveryConfig = field(default_factory=EveryConfig)
    images: int = 1_000_000
    """images seen in all"""
    batch: int = 32
    """images a step, over all processes"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the processor multiplies it natively, else fp32"""
    seed: int = 0

    @property
    def start(self) -> tuple[int, int]:
        """Rows and columns of the learned constant."""
        times = 2**self.generator.doublings
        return self.data.height // times, self.data.width // times

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.data.height, self.data.width

    def problems(self) -> list[str]:
        """Every relation between settings that does not hold, in words."""
        found = []
        if not self.data.source:
            found.append(f"recipe {self.recipe} brings no images: give a folder, a zip or a file with --data")
        times = 2**self.generator.doublings
        for side, name in ((self.data.height, "height"), (self.data.width, "width")):
            if side <= 0 or side % times:
                found.append(
                    f"data.{name} is {side}; {len(self.generator.stages)} stages make multiples of {times}: "
                    "choose another resolution with --resolution"
                )
        shortest = min(self.size)
        for name, trunk in (
            ("recogniser", self.recogniser),
            ("gan.discriminator", self.gan and self.gan.discriminator),
        ):
            if trunk and shortest >> len(trunk.widths) < 1:
                found.append(f"{name}.widths has {len(trunk.widths)} entries, too many halvings for {self.size}")
        if self.generator.codes == 0:
            found.append("generator.stages own no latent dimension: give at least one stage codes > 0")
        if (self.gan is None) == (self.autoencoder is None):
            found.append("exactly one of gan and autoencoder must be set")
        if self.autoencoder and self.prior == "uniform":
            found.append("prior is uniform, which no autoencoder's divergence is finite to: prior = flat or normal")
        if self.gan and self.prior == "flat":
            found.append("prior is flat, which is the autoencoder's: prior = normal or uniform")
        if self.data.channels not in (1, 3, 4):
            found.append(f"data.channels is {self.data.channels}: 1 (grey), 3 (colour) or 4 (with transparency)")
        for i, stage in enumerate(self.generator.stages):
            for name, least in (("width", 1), ("codes", 0), ("boxes", 1), ("convs", 0)):
                if getattr(stage, name) < least:
                    found.append(f"generator.stages.{i}.{name} is {getattr(stage, name)}: it must be {least} or more")
        if self.seed < 0:
            found.append(f"seed is {self.seed}: it must be 0 or more")
        if self.gan and self.gan.r1_every < 1:
            found.append(f"gan.r1_every is {self.gan.r1_every}: it must be 1 or more")
        positive = {"images": self.images, "batch": self.batch, "optimiser.rate": self.optimiser.rate}
        positive |= {f"every.{name}": value for name, value in dataclasses.asdict(self.every).items()}
        found += [f"{name} is {value}: it must be positive" for name, value in positive.items() if not value > 0]
        if self.autoencoder and self.autoencoder.perceptual and shortest < 32:
            found.append(
                f"autoencoder.perceptual compares images of 32 pixels or more; these have {shortest}: set it to 0"
            )
        if self.autoencoder and self.autoencoder.sigma <= 0:
            found.append(f"autoencoder.sigma is {self.autoencoder.sigma}: it must be positive")
        if (c := self.autoencoder) and c.beta_start and min(c.beta, c.beta_start, c.beta_fall) <= 0:
            found.append(
                f"autoencoder.beta_start is {c.beta_start}, beta {c.beta} and beta_fall {c.beta_fall}: it falls by a "
                "factor, so all three must be positive"
            )
        return found

    def checked(self, where: str = "the configuration") -> "Config":
        """Itself.  Raises UserError with all problems at once."""
        if found := self.problems():
            raise UserError(f"{plural(len(found), 'problem')} in {where}\n" + "\n".join(f"  {line}" for line in found))
        return self


def plural(count: int, noun: str) -> str:
    """'1 problem', '2 problems'."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def to_json(config: Config) -> str:
    """The whole configuration, defaults written out."""
    return json.dumps({"format": FORMAT} | dataclasses.asdict(config), indent=1)


def from_json(text: str, where: str) -> Config:
    """The configuration written by to_json.  Raises UserError naming every problem; `where` is the file's name."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from None
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise UserError(f"{where} is not a wherewhat configuration of format {FORMAT}")
    return _typed(values, where).checked(where)


def _typed(values: dict[str, Any], where: str) -> Config:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    for kind in _KINDS:
        kind.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[union-attr]
    try:
        return TypeAdapter(Config).validate_json(json.dumps(values))
    except ValidationError as error:
        lines = [f"  {_explain(problem)}" for problem in error.errors()]
        raise UserError(f"{plural(len(lines), 'problem')} in {where}\n" + "\n".join(lines)) from None


def _explain(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        fields = [f.name for kind in _KINDS for f in dataclasses.fields(kind)]
        return f"{path}: there is no such setting{did_you_mean(str(problem['loc'][-1]), fields)}"
    return f"{path}: {problem['msg']}, got {problem['input']!r}"


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """A copy with settings replaced, each written as in "autoencoder.beta=3".  Raises UserError if there is none such,
    or its value is of the wrong kind; relations between settings are left to `checked`."""
    values = dataclasses.asdict(config)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as name=value, as in --set autoencoder.beta=3")
        *parents, last = path.split(".")
        at: Any = values
        for key in parents:
            at = _child(at, key, path)
        _child(at, last, path)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        at[int(last) if isinstance(at, list | tuple) else last] = value
    return _typed(values, "--set " + " --set ".join(settings)) if settings else config


def _child(at: Any, key: str, path: str) -> Any:
    if isinstance(at, list | tuple) and key.isdigit() and int(key) < len(at):
        return at[int(key)]
    if isinstance(at, dict) and key in at:
        return at[key]
    choices = list(at) if isinstance(at, dict) else []
    raise UserError(f"there is no setting {path}" + (did_you_mean(key, choices) if choices else ""))


def difference(old: Config, new: Config) -> list[str]:
    """The settings that differ, a line each: 'name: old → new'."""
    before, after = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {before.get(name, '–')} → {after.get(name, '–')}"
        for name in names
        if before.get(name, "–") != after.get(name, "–")
    ]


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(values, dict):
        items: list[tuple[Any, Any]] = list(values.items())
    elif isinstance(values, list | tuple):
        items = list(enumerate(values))
    else:
        return {prefix: values}
    return {k: v for key, value in items for k, v in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()}


_KINDS = (
    StageConfig, GeneratorConfig, TrunkConfig, DataConfig, GanConfig, AutoencoderConfig, OptimiserConfig, EveryConfig,
    Config,
)  # fmt: skip
