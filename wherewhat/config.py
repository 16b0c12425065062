"""Every setting of a training: frozen dataclasses, all problems reported at once, JSON both ways.  No torch here."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, chain
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen

from wherewhat.errors import UserError, did_you_mean

FORMAT = 2

Images = Annotated[int, Ge(0), Le(10**12)]
"""a number of images, 0 included"""
SomeImages = Annotated[int, Gt(0), Le(10**12)]
Channels = Annotated[int, Gt(0), Le(2**14)]
"""of a layer: the widest published ones have 2,048.  Whether all layers fit into memory is estimated in train"""
Latents = Annotated[int, Ge(0), Le(1024)]
Side = Annotated[int, Gt(0), Le(8192)]
"""pixels of an image"""
Boxes = Annotated[int, Gt(0), Le(64)]
PositiveFloat = Annotated[float, Gt(0), Le(1e12)]
AtLeastZero = Annotated[float, Ge(0), Le(1e12)]
Share = Annotated[float, Ge(0), Lt(1)]
Text = Annotated[str, MaxLen(4096)]


@dataclass(frozen=True)
class StageConfig:
    """One resolution of the generator: it doubles height and width, applies the latents it owns, convolves."""

    channels: Channels
    """channels of its convolutions"""
    latents: Latents = 5
    """style latents it owns, each with its own mask"""
    boxes: Boxes = 4
    """soft rectangles averaged into one mask"""
    convs: Annotated[int, Ge(0), Le(64)] = 1
    """3×3 convolutions after the styles are applied"""
    transform: Literal["none", "line", "circle", "auto"] = "none"
    """four more latents that move its features after that: shift along x and y, turn, size.  The turn stays within a
    learned range (line), or goes all the way round (circle).  auto: circle if the pictures have no upright, else none;
    decided from the pictures when training starts"""
    transform_mask: Literal["open", "boxes"] = "open"
    """where its features are moved: everywhere, or inside a learned mask"""

    @property
    def owned(self) -> int:
        """Latents it owns in all: its styles, then shift x, shift y, turn, size."""
        return self.latents + (4 if self.transform in ("line", "circle") else 0)


@dataclass(frozen=True)
class GeneratorConfig:
    """From latents to an image: a learned constant, then stages, then colours."""

    stages: Annotated[tuple[StageConfig, ...], MaxLen(12)]
    constant_channels: Channels = 512
    """channels of the learned constant"""
    mask: Literal["boxes", "softmax", "none"] = "boxes"
    """where a latent may act: averaged soft boxes; a spatial softmax; everywhere"""
    decoder: Literal["stages", "dense"] = "stages"
    """how latents enter: as styles of the stages that own them; or all through two dense layers before the first stage,
    without masks, as in the plain decoder of most autoencoders"""
    noise: bool = True
    """per-pixel noise of learned strength after the last two convolutions of a stage"""
    upsample: Literal["nearest", "bilinear", "transposed"] = "bilinear"
    """before the first 3×3 convolution of a stage; transposed: in place of both, a 4×4 transposed convolution of stride
    2, without a shortcut"""
    slope: Share = 0.2
    """of the leaky ReLU below 0; 0: ReLU"""
    residual: bool = True
    """1×1 shortcut around the convolution before the styles and the first one after them"""
    equalized: bool = True
    """weights are drawn from N(0, 1) and scaled by their fan-in at run time"""
    head: Literal["rgb", "double"] = "rgb"
    """rgb: 1×1 convolution at the last stage's resolution; double: 4×4 transposed convolution to twice that"""
    output: Literal["linear", "logits"] = "linear"
    """what the head and the palette give: pixels, not clipped; or logits, of which 2 sigmoid − 1 are pixels"""
    palette: Latents = 0
    """parts of the image that are coloured one by one: a soft segmentation that the features give; 0: none"""
    palette_latents: Latents = 0
    """latents that colour the parts, after all others; each acts where the parts are that it colours"""
    shading: bool = False
    """the colours of parts are made lighter or darker pixel by pixel, by a factor that the features give"""

    @property
    def latents(self) -> int:
        """Number of latents in all stages."""
        return sum(stage.owned for stage in self.stages) + self.palette_latents

    @property
    def angles(self) -> tuple[int, ...]:
        """Latents that are angles all the way round: −2 and +2 are the same."""
        turns = zip([s for s in self.stages if s.transform in ("line", "circle")], self.transforms[2::4], strict=True)
        return tuple(turn for stage, turn in turns if stage.transform == "circle")

    @property
    def transforms(self) -> tuple[int, ...]:
        """All latents that move features."""
        ends = list(accumulate(stage.owned for stage in self.stages))
        moving = (range(end - stage.owned + stage.latents, end) for stage, end in zip(self.stages, ends, strict=True))
        return tuple(chain.from_iterable(moving))

    @property
    def doublings(self) -> int:
        """How often height and width of the constant are doubled on the way to the image."""
        return len(self.stages) + (self.head == "double")


@dataclass(frozen=True)
class TrunkConfig:
    """From an image to a vector: encoder and discriminator.  Each entry of channels halves height and width."""

    channels: Annotated[tuple[Channels, ...], MaxLen(12)]
    hidden: Channels = 512
    """units of the dense layer before the last"""
    kind: Literal["residual", "strided"] = "residual"
    """residual: StyleGAN2's discriminator blocks; strided: plain 4×4 convolutions of stride 2"""
    slope: Share = 0.2
    """of the leaky ReLU below 0; 0: ReLU.  Only where kind is strided: blocks have .2"""
    equalized: bool = True


@dataclass(frozen=True)
class DataConfig:
    """Which images, and in which shape."""

    source: Text = "rooms"
    """a world made here (rooms, sprites), or the path of a folder, a zip, dSprites' npz, 3D Shapes' h5"""
    height: Side = 64
    width: Side = 64
    channels: Literal[1, 3, 4] = 3
    """1 grey, 3 colour, 4 colour and transparency"""
    fit: Literal["crop", "pad"] = "crop"
    """how images of another aspect ratio are fitted"""
    hflip: bool = False
    """mirror images left to right with probability ½"""


@dataclass(frozen=True)
class GanConfig:
    """The adversarial objective: a plain GAN if both weights are 0, else InfoGAN or perceptual simplicity (PS)."""

    discriminator: TrunkConfig
    features: Literal["pixels", "alex"] = "pixels"
    """what the discriminator sees: the image, through the trunk `discriminator`; or, through a light head each, the
    frozen maps of LPIPS's AlexNet (Projected GAN, Sauer et al. 2021)"""
    loss: Literal["logistic", "relativistic"] = "logistic"
    """logistic: non-saturating (Goodfellow et al. 2014); relativistic: of the difference of the logits of a real and a
    generated image, with the penalty on both (R3GAN, Huang et al. 2024)"""
    adversarial_weight: AtLeastZero = 1.0
    """of the generator's adversarial loss; matters beside an autoencoder, whose terms are in nats an image"""
    start_images: Images = 0
    """images during which the autoencoder learns alone; matters only where there is one"""
    simplicity_weight: AtLeastZero = 0.0
    """λ of the perceptual simplicity loss (section 3.2 of the paper)"""
    visibility_weight: AtLeastZero = 0.0
    """of the loss by which a perturbed latent must change the image; for recipes with perceptual simplicity"""
    visible_change: PositiveFloat = 0.15
    """how much a perturbation by 1 or more must change the image: root mean square, of a range of 2"""
    infogan_weight: AtLeastZero = 0.0
    """λ of InfoGAN's loss, (z − Q(G(z)))²"""
    perturbation_std: Annotated[float, Ge(-1e6), Le(1e6)] = 6.0
    """size of the perturbation ε of one latent: its standard deviation, or its value if it is fixed"""
    perturbation: Literal["normal", "fixed"] = "normal"
    r1_gamma: AtLeastZero = 10.0
    """γ of the R1 penalty on real images (relativistic: and of R2 on generated ones)"""
    r1_interval: SomeImages = 16
    """optimizer steps from one penalty to the next; the penalty is multiplied by as much"""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Weights of the constricted autoencoder's objective; the generator is its decoder."""

    sigma: PositiveFloat = 0.3
    """standard deviation of the Gaussian likelihood, for images in [−1, 1]"""
    beta: AtLeastZero = 3.0
    """weight of the KL divergence to the prior"""
    beta_init: AtLeastZero = 0.0
    """its value at the start, from which it decays exponentially to beta, so that the variations worth most nats are
    learnt first; 0: it is beta throughout"""
    beta_anneal_images: Images = 0
    """images over which it decays"""
    lpips_weight: AtLeastZero = 0.0
    """weight of LPIPS-AlexNet between image and reconstruction, in nats"""
    controls: Literal["latents", "polar", "ica", "curves"] = "curves"
    """what a user moves after training: the latents; latents, with pairs on a circle in polar coordinates; the same of
    their independent components; independent components, with those that hold one variation joined into a curve"""


@dataclass(frozen=True)
class VaeConfig:
    """Objective of a variational autoencoder of the literature: families/vae.py has their table."""

    objective: Text = "beta_vae"
    """a name in families.vae.OBJECTIVES"""
    weights: Mapping[str, float] = field(default_factory=dict)
    """weights of its terms that are not as published, by name"""
    sigma: PositiveFloat = 0.4
    """standard deviation of the Gaussian likelihood, for images in [−1, 1]; where generator.output is logits, the
    likelihood is Bernoulli, for images in [0, 1], and this is not used"""
    capacity: AtLeastZero = 25.0
    """largest capacity of AnnealedVAE, in nats"""
    capacity_images: SomeImages = 6_400_000
    """images over which its capacity grows from 0 to that"""
    discriminator_layers: Annotated[int, Ge(1), Le(64)] = 6
    """hidden layers of FactorVAE's discriminator of codes"""
    discriminator_units: Channels = 1_000
    """units of each"""
    discriminator_lr: PositiveFloat = 1e-4
    """its learning rate, by Adam (.5, .9)"""


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights are updated, and their exponential moving average (EMA)."""

    kind: Literal["adam", "muon"] = "adam"
    """muon: matrices are updated by orthogonalized momentum, all other parameters by Adam"""
    lr: PositiveFloat = 0.002
    betas: tuple[Share, Share] = (0.0, 0.99)
    warmup_images: Images = 0
    """images over which the learning rate grows linearly from zero"""
    lr_halflife: Images = 0
    """images after which the learning rate has halved; 0: it does not decay"""
    grad_clip: AtLeastZero = 0.0
    """largest norm of the gradient; 0: no limit"""
    ema_halflife: SomeImages = 10_000
    """images after which a weight counts half in the average"""


@dataclass(frozen=True)
class Config:
    """One training, complete.  One of `gan`, `autoencoder` and `vae` is set and names the family; `gan` and
    `autoencoder` together are an autoencoder with an adversary."""

    recipe: Text
    data: DataConfig
    generator: GeneratorConfig
    encoder: TrunkConfig
    gan: GanConfig | None = None
    autoencoder: AutoencoderConfig | None = None
    vae: VaeConfig | None = None
    prior: Literal["normal", "uniform", "generalized_normal"] = "normal"
    """distribution of each latent: N(0, 1); uniform on [−2, 2] (GANs); generalized normal of exponent 8 (autoencoders),
    which is nearly uniform, has unit variance, and unlike N(0, 1) is not invariant under rotation"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    log_every: SomeImages = 2_000
    """images from one row of train.jsonl to the next"""
    preview_every: SomeImages = 50_000
    """images from one set of pictures and quick scores to the next"""
    checkpoint_every: SomeImages = 50_000
    """images from one checkpoint to the next"""
    total_images: SomeImages = 1_000_000
    """images seen by the whole training"""
    batch: Annotated[int, Gt(0), Le(2**20)] = 32
    """images an optimizer step, over all processes"""
    accumulate: Annotated[int, Gt(0), Le(2**20)] = 1
    """parts that a process computes its share of the batch in, one after the other: more of them take less memory and
    give the same step where losses are means over images"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the processor multiplies it natively, else fp32"""
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    start: Text = ""
    """a run whose generator and encoder are the start, as in pretrained:faces; empty: they are drawn at random"""

    @property
    def constant_size(self) -> tuple[int, int]:
        """Height and width of the learned constant."""
        factor = 2**self.generator.doublings
        return self.data.height // factor, self.data.width // factor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.data.height, self.data.width

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self.generator.latents

    def problems(self) -> list[str]:
        """Every setting out of its bounds and every relation between settings that does not hold, in words."""
        return _out_of_bounds(dataclasses.asdict(self)) + list(self._contradictions())

    def _contradictions(self) -> Iterator[str]:
        if not self.data.source:
            yield f"recipe {self.recipe} brings no images: give a folder, a zip or a file with --data"
        factor = 2**self.generator.doublings
        for name in ("height", "width"):
            side = getattr(self.data, name)
            if side % factor:
                yield (
                    f"data.{name} is {side}; {len(self.generator.stages)} stages make multiples of {factor}: "
                    "choose another resolution with --resolution"
                )
        trunks = {"encoder": self.encoder, "gan.discriminator": self.gan and self.gan.discriminator}
        for name, trunk in trunks.items():
            if trunk and min(self.size) < 2 ** len(trunk.channels):
                yield f"{name}.channels has {len(trunk.channels)} entries, too many halvings for {self.size}"
        if self.generator.shading and not self.generator.palette:
            yield "generator.shading shades the colours of a palette: generator.palette = 12, or shading = false"
        if bool(self.generator.palette) != bool(self.generator.palette_latents):
            yield "generator.palette and generator.palette_latents go together: both 0, or both more"
        if self.generator.decoder == "dense" and (self.generator.transforms or self.generator.palette):
            yield "the dense decoder has no transforms and no palette: decoder = stages"
        if self.generator.upsample == "transposed" and self.generator.residual:
            yield "generator.upsample = transposed has no shortcut: generator.residual = false"
        if self.latents == 0:
            yield "generator.stages own no latent: give at least one stage latents > 0"
        if sum(family is not None for family in (self.gan or self.autoencoder, self.vae)) != 1:
            yield "one of gan, autoencoder and vae must be set, or gan and autoencoder together"
        if not self.autoencoder and self.generator.angles:
            yield "a transform on a circle needs the autoencoder's encoder: transform = line or none"
        if self.gan and not self.autoencoder and self.prior == "generalized_normal":
            yield "prior is generalized_normal, which a GAN cannot sample: prior = normal or uniform"
        if (self.autoencoder or self.vae) and self.prior == "uniform":
            yield "prior is uniform, to which no KL divergence is finite: prior = generalized_normal or normal"
        if self.gan and self.autoencoder and self.gan.start_images >= self.total_images:
            yield (
                f"gan.start_images is {self.gan.start_images:,} of {self.total_images:,} images: none is left for the "
                f"adversary; --set gan.start_images={self.total_images // 2} gives it half of them"
            )
        if self.gan and self.gan.visibility_weight and not self.gan.simplicity_weight:
            yield (
                "gan.visibility_weight is of the latents that perceptual simplicity perturbs, and "
                "gan.simplicity_weight is 0: set both, or neither"
            )
        if self.gan and self.gan.features == "alex" and min(self.size) < 32:
            yield f"gan.features = alex needs images of 32 pixels; these have {min(self.size)}: set it to pixels"
        if c := self.autoencoder:
            if c.lpips_weight and min(self.size) < 32:
                yield f"autoencoder.lpips_weight needs images of 32 pixels; these have {min(self.size)}: set it to 0"
            if c.beta_init and min(c.beta, c.beta_init, c.beta_anneal_images) <= 0:
                yield (
                    f"autoencoder: beta_init {c.beta_init}, beta {c.beta}, beta_anneal_images {c.beta_anneal_images}: "
                    "β decays exponentially, so all three must be positive"
                )

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
    """The configuration written by to_json, by this or an earlier version.  Raises UserError naming every problem;
    `where` is the file's name."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {error}") from None
    version = values.pop("format", None) if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{where} is of format {version}, which a later wherewhat wrote; this one reads up to {FORMAT}")
    if type(version) is not int or version not in (1, FORMAT):
        raise UserError(f"{where} is not a wherewhat configuration of format {FORMAT}")
    try:
        return _typed(from_format_1(values) if version == 1 else values, where).checked(where)
    except RecursionError:
        raise UserError(f"{where} is not a wherewhat configuration: it is nested too deeply") from None


RENAMED = {
    "recogniser": "encoder", "optimiser": "optimizer", "images": "total_images", "widths": "channels",
    "equalised": "equalized", "codes": "latents", "constant": "constant_channels", "mirror": "hflip",
    "simplicity": "simplicity_weight", "information": "infogan_weight", "step": "perturbation_std",
    "step_kind": "perturbation", "r1": "r1_gamma", "r1_every": "r1_interval", "beta_start": "beta_init",
    "beta_fall": "beta_anneal_images", "perceptual": "lpips_weight", "rate": "lr", "warmup": "warmup_images",
    "half_life": "lr_halflife", "clip": "grad_clip", "average_half_life": "ema_halflife",
}  # fmt: skip
"""names of settings in format 1 → names now"""


def from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as format 1 had them, under the names and values of today.  What is not as expected is left as it is,
    for the checks that follow to name."""

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(item) for item in node]
        return {RENAMED.get(k, k): renamed(v) for k, v in node.items()} if isinstance(node, dict) else node

    values = renamed(values)
    for row, kind in (("report", "log"), ("pictures", "preview"), ("save", "checkpoint")):
        if isinstance(every := values.get("every"), dict) and row in every:
            values[f"{kind}_every"] = every.pop(row)
    if values.get("every") == {}:
        del values["every"]
    if values.get("prior") == "flat":
        values["prior"] = "generalized_normal"
    generator, autoencoder = values.get("generator"), values.get("autoencoder")
    if isinstance(generator, dict):
        stages = generator.get("stages")
        for stage in stages if isinstance(stages, list) else []:
            if isinstance(stage, dict) and "width" in stage:
                stage["channels"] = stage.pop("width")
        if generator.get("mask") == "start":
            generator |= {"mask": "none", "decoder": "dense"}
    if isinstance(autoencoder, dict):
        new = {"rings": "polar", "components": "ica"}
        autoencoder["controls"] = new.get(str(autoencoder.get("controls")), autoencoder.get("controls", "ica"))
    return values


def _typed(values: dict[str, Any], where: str) -> Config:
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(json.dumps(values))
    except ValidationError as error:
        lines = [f"  {_explain(problem)}" for problem in error.errors()]
        raise UserError(f"{plural(len(lines), 'problem')} in {where}\n" + "\n".join(lines)) from None


def _out_of_bounds(values: dict[str, Any]) -> list[str]:
    from pydantic import ValidationError

    try:
        _adapter().validate_python(values)
    except ValidationError as error:
        return [_explain(problem) for problem in error.errors()]
    return []


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter

    for kind in _KINDS:
        kind.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[union-attr]
    return TypeAdapter(Config)


def _explain(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        fields = [f.name for kind in _KINDS for f in dataclasses.fields(kind)]
        return f"{path}: there is no such setting{did_you_mean(str(problem['loc'][-1]), fields)}"
    return f"{path}: {problem['msg']}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    """A value in at most 80 letters, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


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
    StageConfig, GeneratorConfig, TrunkConfig, DataConfig, GanConfig, AutoencoderConfig, VaeConfig, OptimizerConfig,
    Config,
)  # fmt: skip
