"""Runs that come with the package, as in "pretrained:rooms"."""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wherewhat.atomic import explained, temporary
from wherewhat.cache import cache
from wherewhat.config import to_json
from wherewhat.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from wherewhat.run.folder import Run

PREFIX = "pretrained:"  # begins the name of a run that comes with the package
SHIPPED = Path(__file__).parents[1] / "pretrained"  # the folder of these runs


def names() -> list[str]:
    """Names of the runs that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))


def unpacked(name: str) -> Path:
    """A copy in the user's cache, one for each version of the run.  Raises UserError."""
    if name not in names():
        raise UserError(f"there is no {PREFIX}{name}{did_you_mean(name, names())}")
    files = sorted(p for p in (SHIPPED / name).rglob("*") if p.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    copy = cache("pretrained") / f"{name}-{digest[:8]}"
    if not copy.exists():
        partial = temporary(copy)
        try:
            with explained(copy, cleanup=partial):
                shutil.copytree(SHIPPED / name, partial)
                with suppress(OSError):  # another process made it in the meantime
                    partial.rename(copy)
        except UserError as error:
            raise UserError(f"{error} Another folder for what is unpacked and fetched: WHEREWHAT_CACHE") from None
    return copy


def pack(run: "Run", folder: Path, source: str) -> Path:
    """Write into `folder` what of a run is shipped: settings, scores, names, controls, and the last averaged weights in
    half precision.  `source` replaces the path of the data, which exists on this machine only.  Returns `folder`."""
    from safetensors.torch import load_file, save_file

    last = run.checkpoints()[-1]
    packed = folder / "checkpoints" / last.name
    shutil.rmtree(folder, ignore_errors=True)
    packed.mkdir(parents=True)
    config = replace(run.config, data=replace(run.config.data, source=source))
    (folder / "config.json").write_text(to_json(config) + "\n")
    about = {name: run.about[name] for name in ("state", "data", "commit", "versions") if name in run.about}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    scores = [row for row in run.rows("metrics") if row["images"] == run.images_seen]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    for name in ("generator", "encoder"):
        weights = {k: v.half() for k, v in load_file(last / f"{name}.safetensors").items()}
        save_file(weights, packed / f"{name}.safetensors", metadata={"images": str(run.images_seen)})
    for file, place in ((last / "controls.json", packed), (run.path / "names.json", folder)):
        if file.exists():
            shutil.copy(file, place)
    return folder
