"""Has what is computed changed?  Checksums of short trainings and scores of the shipped runs, against stored ones.

python benchmarks/unchanged.py --write    stores them (before a change of the code that must change nothing)
python benchmarks/unchanged.py            compares; exit status 1 and the differences if any bit differs

Only the same machine with the same versions gives the same bits.  Tensors are compared by what they hold, not by name.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

STORED = Path(__file__).parent / "results" / "unchanged.json"
RECIPES = ("demo", "rooms-lean", "sprites-ae")
IMAGES = 3_200
SHIPPED = ("rooms", "faces", "sprites")
METRICS = "factor_vae,beta_vae,mig,dci,sap,modularity,explicitness,irs,infomec,total_correlation,tpl"
PICTURES = 20_000


def run(*words: str) -> str:
    """What the command line prints, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "wherewhat.cli", *words], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"wherewhat {' '.join(words)}\n{done.stderr}")
    return done.stdout


def weights(folder: Path) -> str:
    """One checksum of all averaged weights of the last checkpoint."""
    last = sorted((folder / "checkpoints").glob("*k"))[-1]
    tensors = [t for file in last.glob("*.safetensors") for t in load_file(file).values()]
    each = sorted(hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest() for t in tensors)
    return hashlib.sha256("".join(each).encode()).hexdigest()


def measure(scratch: Path) -> dict[str, object]:
    """Checksums of weights by recipe, fast scores by shipped run."""
    found: dict[str, object] = {}
    for recipe in RECIPES:
        out = scratch / recipe
        run("train", recipe, "--images", str(IMAGES), "--device", "cpu", "--out", str(out), "--quiet")
        found[f"weights of {recipe}, {IMAGES:,} images"] = weights(out)
        print(f"{recipe}: {found[f'weights of {recipe}, {IMAGES:,} images']}", flush=True)
    pictures = scratch / "faces"
    run("data", "make", "faces", str(pictures), "--count", str(PICTURES))
    for name in SHIPPED:
        data = ["--data", str(pictures)] if name == "faces" else []
        words = ("--protocol", "fast", "--tpl", "small", "--metrics", METRICS, "--device", "cpu", "--again", "--json")
        rows = json.loads(run("evaluate", f"pretrained:{name}", *data, *words))
        found[f"fast scores of pretrained:{name}"] = {row["metric"]: row["value"] for row in rows}
        print(f"{name}: {len(rows)} scores", flush=True)
    return found


def main() -> None:
    """Measure, then store or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--write", action="store_true", help="store what is measured now")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch))
    if args.write:
        STORED.write_text(json.dumps(found, indent=1) + "\n")
        return
    stored = json.loads(STORED.read_text())
    differing = [name for name in stored if stored[name] != found.get(name)]
    for name in differing:
        print(f"changed: {name}\n  {stored[name]}\n  {found.get(name)}")
    print(f"{len(stored) - len(differing)} of {len(stored)} unchanged")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
