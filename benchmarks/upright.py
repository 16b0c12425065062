"""How far are sets of pictures from having no upright?  Below LEAST_SHARE a turn becomes a control.

    python benchmarks/upright.py --add faces=~/faces --add mine=~/pictures
    python benchmarks/upright.py --quick

For each set: the share of pairs of pictures that fit best without a turn, of two draws, and the same with every picture
turned at random, which is what chance gives.
"""

import argparse
from pathlib import Path

import numpy as np
from common import command, header, table, write
from scipy.ndimage import rotate

from wherewhat.config import DataConfig
from wherewhat.data import open_data
from wherewhat.data.batches import Images
from wherewhat.data.upright import LEAST_SHARE, upright_share


class Turned:
    """The pictures of a set, each turned by an angle of its own."""

    def __init__(self, inner: Images) -> None:
        self.inner, self.name, self.size = inner, inner.name, inner.size
        self.channels, self.factors = inner.channels, inner.factors

    def __len__(self) -> int:
        return len(self.inner)

    def images(self, index: np.ndarray) -> np.ndarray:
        how = {"axes": (2, 1), "reshape": False, "order": 1, "mode": "nearest"}
        angles = np.random.default_rng(0).uniform(0, 360, len(index))
        return np.stack([rotate(x, a, **how) for x, a in zip(self.inner.images(index), angles, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", action="append", default=[], metavar="NAME=PATH", help="a further set")
    parser.add_argument("--quick", action="store_true", help="rooms and sprites alone, nothing written")
    args = parser.parse_args()
    args.device = "cpu"
    sets = {"rooms": DataConfig("rooms"), "sprites": DataConfig("sprites", channels=1)}
    for name, _, path in (text.partition("=") for text in args.add):
        sets[name] = DataConfig(str(Path(path).expanduser()))
    rows = []
    for name, config in sets.items():
        data = open_data(config)
        shares = [upright_share(data, seed) for seed in (0, 1)]
        rows.append([name, *(f"{share:.3f}" for share in (*shares, upright_share(Turned(data))))])
    rows.sort(key=lambda row: row[1])
    heads = ["set", "seed 0", "seed 1", "turned at random"]
    lines = ["# Upright", "", header(command()), "", f"No upright: below {LEAST_SHARE}.", "", table(heads, rows), ""]
    write("upright", "\n".join(lines), args)


if __name__ == "__main__":
    main()
