"""What several test files use: a data set, random weights of LPIPS, a run that changes visibly, tiles found in
pictures, image files, the browser."""

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wherewhat.data.factors import Factors
from wherewhat.metrics.networks import tensor_shapes
from wherewhat.run.folder import Run


class Few:
    """A data set of twelve noisy images of two factors."""

    name, size, channels = "few", (16, 16), 3
    factors = Factors(("hue", "size"), (3, 4))

    def __len__(self):
        return 12

    def images(self, index):
        return np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16), np.uint8)[index]


def random_lpips(network, seed=0):
    """Random weights for LPIPS of `alex` or `vgg`; heads are 0 or more."""
    random = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(shape, generator=random) * (0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5)
        for name, shape in tensor_shapes(network).items()
    }
    return {name: tensor.clamp(min=0) if name.startswith("lin") else tensor for name, tensor in weights.items()}


def enlivened(trained, path):
    """A copy of the trained run whose latents change the image visibly, z1 more than z0, and whose codes vary."""
    run = Run.open(shutil.copytree(trained, path))
    torch.manual_seed(0)
    style = run.generator.stages[0].style
    style.copy_(torch.randn_like(style) * torch.tensor([[2.0], [6.0]]))
    for weights in run.encoder.parameters():
        weights.copy_(torch.randn_like(weights) * 0.2)
    run.save(64, run.generator, run.encoder, {"images_seen": 64})
    return Run.open(path)


def places(picture, tile, tolerance=2):
    """Where a tile is in a picture: (row, column) of its upper left corner, from the top.  Values may differ by the
    tolerance, because an image that was made in another batch differs a little."""
    picture, tile = (np.asarray(a).astype(np.int16) for a in (picture, tile))
    (height, width), (h, w) = picture.shape[:2], tile.shape[:2]
    maybe = np.ones((height - h + 1, width - w + 1), bool)
    for y, x in [(0, 0), (h // 2, w // 2), (h - 1, 0), (0, w - 1), (h - 1, w - 1)]:
        part = picture[y : y + height - h + 1, x : x + width - w + 1]
        maybe &= (abs(part - tile[y, x]) <= tolerance).all(2)
    corners = zip(*np.nonzero(maybe), strict=True)
    return [(y, x) for y, x in corners if abs(picture[y : y + h, x : x + w] - tile).max() <= tolerance]


def the_place(picture, tile):
    """Where a tile is, if it is there exactly once."""
    found = places(picture, tile)
    assert len(found) == 1
    return found[0]


def as_png(array):
    """An array as the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def huge_png(side=40_000):
    """A PNG file of few bytes whose header claims many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def find_browser():
    """The path of a Chromium: the system's, or the one that Playwright keeps; None if there is neither."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None
