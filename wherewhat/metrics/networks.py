"""The two networks of LPIPS as tables of their layers, and the tensors that a file of their weights must hold."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from wherewhat.errors import UserError


class Conv(NamedTuple):
    """A convolution with its ReLU, as both backbones stack them."""

    name: str  # its name in torchvision's file: features.NUMBER
    width: int  # channels it makes
    size: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0  # window of a max-pool of stride 2 before it; 0: none
    tap: bool = False  # its ReLU is compared


NETWORKS: dict[str, tuple[Conv, ...]] = {
    "alex": (
        Conv("features.0", 64, size=11, stride=4, padding=2, tap=True),
        Conv("features.3", 192, size=5, padding=2, pool=3, tap=True), Conv("features.6", 384, pool=3, tap=True),
        Conv("features.8", 256, tap=True), Conv("features.10", 256, tap=True)),
    "vgg": (
        Conv("features.0", 64), Conv("features.2", 64, tap=True),
        Conv("features.5", 128, pool=2), Conv("features.7", 128, tap=True),
        Conv("features.10", 256, pool=2), Conv("features.12", 256), Conv("features.14", 256, tap=True),
        Conv("features.17", 512, pool=2), Conv("features.19", 512), Conv("features.21", 512, tap=True),
        Conv("features.24", 512, pool=2), Conv("features.26", 512), Conv("features.28", 512, tap=True)),
}  # fmt: skip


def head_name(tap: int) -> str:
    return f"lin{tap}.model.1.weight"


def tensor_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a network."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels, taps = 3, 0
    for layer in NETWORKS[network]:
        shapes[f"{layer.name}.weight"] = (layer.width, channels, layer.size, layer.size)
        shapes[f"{layer.name}.bias"] = (layer.width,)
        channels = layer.width
        if layer.tap:
            shapes[head_name(taps)] = (1, channels, 1, 1)
            taps += 1
    return shapes


def smallest(network: str) -> int:
    """Shortest side of an image that leaves one pixel at the last convolution: 31 for alex, 16 for vgg."""
    side = 1
    for layer in reversed(NETWORKS[network]):
        side = max((side - 1) * layer.stride + layer.size - 2 * layer.padding, 1)
        side = (side - 1) * 2 + layer.pool if layer.pool else side
    return side


def map_shapes(network: str, height: int, width: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of the map at each tap, for images of this size."""

    def after(layer: Conv, side: int) -> int:
        side = (side - layer.pool) // 2 + 1 if layer.pool else side
        return (side + 2 * layer.padding - layer.size) // layer.stride + 1

    shapes = []
    for layer in NETWORKS[network]:
        height, width = after(layer, height), after(layer, width)
        if layer.tap:
            shapes.append((layer.width, height, width))
    return shapes


ORIGINS = {
    "alex": {"features": "torchvision's alexnet-owt-7be5be79.pth", "lin": "alex.pth of the lpips package, version 0.1"},
    "vgg": {"features": "torchvision's vgg16-397923af.pth", "lin": "vgg.pth of the lpips package, version 0.1"},
}


def network_of(weights: Mapping[str, Tensor], source: str = "these weights") -> str:
    """`alex` or `vgg`, whichever the shapes fit better; a UserError names all that is missing or does not fit."""
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    fitting = {network: len(found.items() & tensor_shapes(network).items()) for network in NETWORKS}
    network = max(fitting, key=lambda n: fitting[n])
    if not fitting[network]:
        raise UserError(f"{source}: no LPIPS weights in it; expected names like features.0.weight and {head_name(0)}")
    wanted = tensor_shapes(network)
    problems = []
    for part, origin in ORIGINS[network].items():
        if missing := [name for name in wanted if name.startswith(part) and name not in found]:
            problems.append(f"  missing, usually in {origin}: {', '.join(missing)}")
    for name in wanted.keys() & found.keys():
        if found[name] != wanted[name]:
            have, want = ("x".join(map(str, shape)) for shape in (found[name], wanted[name]))
            problems.append(f"  {name} is {have}, {network} has {want}")
    if problems:
        raise UserError("\n".join([f"{source}: not a whole LPIPS-{network}", *sorted(problems)]))
    if any((weights[name] < 0).any() for name in wanted if name.startswith("lin")):
        raise UserError(f"{source}: a head has negative weights; those of LPIPS are 0 or more")
    return network
