"""The folder of one training: the only interface between training, measuring, looking and notebooks.

config.json      the whole configuration
about.json       versions, commit, command, machine, state
train.jsonl  metrics.jsonl                 a row a line
checkpoints/000640k/   generator.safetensors, recogniser.safetensors (averaged), controls.json, resume.pt
pictures/  names.json  report.html  tensorboard/
"""

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherewhat.cache import cache
from wherewhat.config import Config, difference, from_json, to_json
from wherewhat.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from wherewhat.nn.controls import Controls
    from wherewhat.nn.generator import Generator
    from wherewhat.nn.trunk import Recogniser

MAY_CHANGE = ("images:", "every.")
"""settings with which a training may go on although its folder was made with others"""


@dataclass(frozen=True)
class Dimension:
    """One latent dimension: where it acts, what it changes, how much."""

    latent: int
    tpl: float
    tpl_error: float
    active: bool
    row: float
    """centre of its mean mask, 0 top … 1 bottom"""
    column: float
    """0 left … 1 right"""
    area: float
    """share of the image where its mean mask is above half its peak"""
    peak: float
    """largest value of its mean mask"""
    factor: str | None = None
    """the factor its code says most about, where factors are known"""
    share: float | None = None
    """that factor's share of what the code says about all factors"""
    turns: bool = False
    """an angle: −2 and +2 look the same"""

    @property
    def place(self) -> str:
        """Where it acts, in words."""
        if self.peak < 0.02:
            return "nowhere"
        if self.area > 0.7:
            return "everywhere"
        rows = ("top", "", "bottom")[min(2, int(3 * self.row))]
        columns = ("left", "", "right")[min(2, int(3 * self.column))]
        return " ".join(word for word in (rows, columns) if word) or "middle"


PRETRAINED = "pretrained:"
"""how a run that comes with the package is named"""
PACKED = Path(__file__).parent / "pretrained"


class Run:
    """A run folder.  Networks are loaded when first asked for, averaged weights of the last checkpoint, or of the one
    chosen."""

    def __init__(self, path: Path, config: Config, checkpoint: str | None = None) -> None:
        """checkpoint: the name of its folder; the last one if not given."""
        self.path, self.config, self.checkpoint = path, config, checkpoint

    # ------------------------------------------------------------------------------------------------ opening

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """An existing run, or one that comes with the package, as in "pretrained:rooms" (a copy in the user's cache, so
        that scores and pictures can be added); "runs/demo@000320k" is one as an earlier checkpoint has it.  Raises
        UserError if there is none."""
        whole, _, checkpoint = str(path).rpartition("@")
        if whole and not Path(path).expanduser().exists():
            return cls._at(cls.open(whole), checkpoint)
        path = unpacked(str(path)[len(PRETRAINED) :]) if str(path).startswith(PRETRAINED) else Path(path).expanduser()
        file = path / "config.json"
        if not file.is_file():
            raise UserError(_no_run(path))
        return cls(path, from_json(_read(file), str(file)))

    @classmethod
    def _at(cls, run: "Run", checkpoint: str) -> "Run":
        known = [folder.name for folder in run.checkpoints()]
        if checkpoint not in known:
            raise UserError(f"{run.path} has no checkpoint {checkpoint}{did_you_mean(checkpoint, known)}")
        return cls(run.path, run.config, checkpoint)

    @classmethod
    def create(cls, path: str | Path, config: Config) -> "Run":
        """A new run, or the existing one to go on with.  Raises UserError if the folder holds another configuration."""
        path = Path(path).expanduser()
        run = cls(path, config)
        if (path / "config.json").exists():
            old = cls.open(path).config
            changed = [line for line in difference(old, config) if not line.startswith(MAY_CHANGE)]
            if changed:
                lines = "\n".join(f"  {line}" for line in changed)
                raise UserError(
                    f"{path} holds a training with other settings (there → asked for)\n{lines}\n"
                    "Choose another folder with --out, or give the same settings to go on with it."
                )
        elif path.exists() and any(path.iterdir()):
            raise UserError(f"{path} is not empty and is not a run: choose another folder with --out")
        with _explained(path):
            path.mkdir(parents=True, exist_ok=True)
            _write(path / "config.json", to_json(config) + "\n")
        return run

    # ------------------------------------------------------------------------------------------------ rows

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of train.jsonl or metrics.jsonl; a last line cut short by a crash is left out."""
        file = self.path / f"{table}.jsonl"
        return list(_parsed(file)) if file.exists() else []

    def log(self, table: str, row: dict[str, Any]) -> None:
        """Append a row."""
        with _explained(self.path), (self.path / f"{table}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def log_metric(self, row: dict[str, Any]) -> None:
        """Append a score to metrics.jsonl in place of an earlier one of the same images, metric and options."""
        key = ("images", "metric", "options")
        others = [old for old in self.rows("metrics") if any(old.get(k) != row.get(k) for k in key)]
        self._rewrite("metrics", [*others, row])

    def forget_after(self, images: int) -> None:
        """Drop rows a resumed training is about to write again."""
        for table in ("train", "metrics"):
            rows = self.rows(table)
            if any(row["images"] > images for row in rows):
                self._rewrite(table, [row for row in rows if row["images"] <= images])

    def _rewrite(self, table: str, rows: list[dict[str, Any]]) -> None:
        with _explained(self.path):
            _write(self.path / f"{table}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def write_about(self, state: str, **more: Any) -> None:
        """State (running | done | stopped | failed) with versions, commit, command and machine."""
        kept = {name: value for name, value in self.about.items() if name != "reason"}
        about = {
            **kept,
            "state": state,
            **more,
            "command": sys.argv,
            "commit": _commit(),
            "versions": _versions(),
        }
        about["machine"] = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()}
        with _explained(self.path):
            _write(self.path / "about.json", json.dumps(about, indent=1) + "\n")

    @property
    def about(self) -> dict[str, Any]:
        """about.json; empty if it was never written or is damaged."""
        file = self.path / "about.json"
        with suppress(ValueError):
            about: dict[str, Any] = json.loads(_read(file)) if file.exists() else {}
            return about
        return {}

    # ------------------------------------------------------------------------------------------------ checkpoints

    def checkpoints(self) -> list[Path]:
        """Folders of complete checkpoints, oldest first."""
        return sorted(p for p in (self.path / "checkpoints").glob("*k") if p.is_dir() and not p.name.startswith("."))

    def save(self, images: int, generator: "Generator", recogniser: "Recogniser", resume: dict[str, Any]) -> Path:
        """A checkpoint, complete or not there at all.  The two newest keep what resuming needs."""
        import torch
        from safetensors.torch import save_file

        final = self.path / "checkpoints" / f"{images // 1000:06d}k"
        partial = final.with_name(f".{final.name}.{os.getpid()}")
        about = {"images": str(images)}
        with _explained(self.path, cleanup=partial):
            partial.mkdir(parents=True)
            for name, module in (("generator", generator), ("recogniser", recogniser)):
                weights = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
                save_file(weights, partial / f"{name}.safetensors", metadata=about)
            if generator.controls:
                _write(partial / "controls.json", json.dumps(generator.controls.to_json()) + "\n")
            torch.save(resume, partial / "resume.pt")
            for file in partial.iterdir():
                _sync(file)
            if final.exists():
                final.rename(final.with_name(f".{final.name}.before"))
            partial.rename(final)
            for left in final.parent.glob(".*"):  # the one replaced, and what a killed training left
                shutil.rmtree(left, ignore_errors=True)
            for old in self.checkpoints()[:-2]:
                (old / "resume.pt").unlink(missing_ok=True)
        self.__dict__.pop("generator", None)
        self.__dict__.pop("recogniser", None)
        return final

    def resume_point(self) -> dict[str, Any] | None:
        """What Run.save was given as `resume` last; None if nothing was saved.  Raises UserError if it is damaged."""
        import torch

        if not self.checkpoints():
            return None
        folder = self.checkpoints()[-1]
        file = folder / "resume.pt"
        try:
            point: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            return point if isinstance(point["images"], int) else None
        except Exception as error:
            before = self.checkpoints()[-2:-1]
            way = f"to go on from {before[0].name}" if before else "to start over"
            raise UserError(f"{file} cannot be read ({_first_line(error)}): remove the folder {folder} {way}") from None

    @property
    def images(self) -> int:
        """Images seen by the last checkpoint."""
        return self._checkpoint_images(self._last_checkpoint())

    @cached_property
    def generator(self) -> "Generator":
        """The averaged generator: generator(z) -> (image, masks)."""
        from wherewhat.nn.generator import Generator

        return self._load(build_generator(self.config, Generator), "generator")

    @cached_property
    def recogniser(self) -> "Recogniser":
        """The averaged recogniser: recogniser(images in [−1, 1]) -> codes."""
        from wherewhat.nn.trunk import Recogniser

        return self._load(build_recogniser(self.config, Recogniser), "recogniser")

    def _load(self, module: Any, name: str) -> Any:
        from safetensors.torch import load_file

        from wherewhat.nn.layers import channels_last

        file = self._last_checkpoint() / f"{name}.safetensors"
        try:
            module.load_state_dict(load_file(file))
        except Exception as error:
            raise UserError(
                f"{file} does not hold the {name} of {self.path / 'config.json'} ({_first_line(error)}): "
                "it is damaged or of another run"
            ) from None
        module.controls = self._controls
        return channels_last(module).eval().requires_grad_(False)

    @property
    def _controls(self) -> "Controls | None":
        from wherewhat.nn.controls import Controls

        file = self._last_checkpoint() / "controls.json"
        if not file.exists():
            return None
        try:
            return Controls.from_json(json.loads(_read(file)))
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{file} cannot be read: it is damaged or of another run") from None

    def _last_checkpoint(self) -> Path:
        found = self.checkpoints()
        if not found:
            raise UserError(f"{self.path} has no checkpoint yet: train it first, or wait for the first save")
        return self.path / "checkpoints" / self.checkpoint if self.checkpoint else found[-1]

    def _checkpoint_images(self, folder: Path) -> int:
        from safetensors import safe_open

        file = folder / "generator.safetensors"
        try:
            with safe_open(file, "pt") as opened:
                return int(opened.metadata()["images"])
        except Exception as error:
            raise UserError(f"{file} cannot be read ({_first_line(error)}): it is damaged") from None

    # ------------------------------------------------------------------------------------------------ the rest

    @property
    def names(self) -> dict[int, str]:
        """What the user calls the dimensions."""
        file = self.path / "names.json"
        if not file.exists():
            return {}
        try:
            return {int(k): str(v) for k, v in json.loads(_read(file)).items()}
        except (ValueError, AttributeError):
            raise UserError(f'{file} cannot be read: it must look like {{"3": "wall colour", "7": "smile"}}') from None

    def rename(self, latent: int, name: str) -> None:
        """Call a dimension so, in names.json; an empty name takes it away.  Raises UserError for a dimension that there
        is not, or a name longer than 60 letters or of several lines."""
        name = name.strip()
        if not 0 <= latent < self.config.generator.codes:
            raise UserError(f"there is no dimension z{latent}: they go from z0 to z{self.config.generator.codes - 1}")
        if len(name) > 60 or not name.isprintable():
            raise UserError("a name is one line of at most 60 letters")
        names = {**self.names, latent: name}
        kept = {str(k): names[k] for k in sorted(names) if names[k]}
        with _explained(self.path):
            _write(self.path / "names.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")

    def draw(self, count: int, seed: int | list[int]) -> "Float[np.ndarray, 'n z']":
        """What makes images like those of the data: latents, or controls, as the prior has them, but for angles, which
        are uniform on −2 … 2, all the way round."""
        from scipy.special import ndtr

        drawn = draw_prior(self.config, count, seed)
        controls = self.generator.controls
        for ring in controls.rings if controls else ():
            angle = drawn[:, ring.angle]
            share = ndtr(angle) if self.config.prior == "normal" else (angle / 3**0.5 + 1) / 2
            drawn[:, ring.angle] = 4 * share - 2
        return drawn

    def latest(self, metric: str) -> dict[str, Any] | None:
        """The newest row of a metric for the last checkpoint."""
        rows = [row for row in self.rows("metrics") if row["metric"] == metric and row["images"] == self.images]
        return rows[-1] if rows else None

    @property
    def dimensions(self) -> list[Dimension] | None:
        """What evaluating said of each latent dimension, longest traversal first; None before that."""
        row = self.latest("dimensions")
        return [Dimension(**d) for d in row["details"]] if row else None

    def _repr_html_(self) -> str:
        """What a notebook shows: the sliders (all while none is active), and their picture once it was drawn."""
        known = self.dimensions or []
        rows = "".join(
            f"<tr><td>z{d.latent}</td><td>{escape(self.names.get(d.latent) or d.factor or '–')}</td>"
            f"<td>{d.place}, {d.area:.0%}</td><td>{d.tpl:.2f}</td></tr>"
            for d in [d for d in known if d.active] or known
        )
        head = "<tr><th>slider</th><th>what</th><th>where, area</th><th>TPL</th></tr>"
        table = f"<table>{head}{rows}</table>" if rows else "<p>not evaluated yet: wherewhat evaluate</p>"
        seen = f"{self.images:,} images seen" if self.checkpoints() else "no checkpoint yet"
        height, width = self.config.size
        picture = self.path / "pictures" / "traversals.png"
        drawn = base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else ""
        return (
            f"<p><b>{escape(str(self.path))}</b><br>{escape(self.config.recipe)}, {height}×{width}, {seen}</p>{table}"
            + (f'<img alt="traversals" src="data:image/png;base64,{drawn}">' if drawn else "")
        )

    def picture(self, name: str) -> Path:
        """Where a picture of that name goes; the folder exists."""
        with _explained(self.path):
            (self.path / "pictures").mkdir(parents=True, exist_ok=True)
        return self.path / "pictures" / name


def open_run(path: str | Path) -> Run:
    """An existing run: .generator(z) -> (image, masks), .recogniser(images) -> codes, .config.  Raises UserError.
    "pretrained:rooms" is one that comes with the package."""
    return Run.open(path)


def pretrained() -> list[str]:
    """Names of the runs that come with the package."""
    return sorted(p.parent.name for p in PACKED.glob("*/config.json"))


def unpacked(name: str) -> Path:
    """A copy of a run that comes with the package, made once for each version of it.  Raises UserError for an unknown
    name or a cache that cannot be written."""
    if name not in pretrained():
        raise UserError(f"there is no {PRETRAINED}{name}{did_you_mean(name, pretrained())}")
    digest = hashlib.sha256()
    for file in sorted(p for p in (PACKED / name).rglob("*") if p.is_file()):
        digest.update(file.read_bytes())
    copy = cache("pretrained") / f"{name}-{digest.hexdigest()[:8]}"
    if not copy.exists():
        partial = copy.with_name(f".{copy.name}.{os.getpid()}")
        with _explained(copy, cleanup=partial):
            shutil.copytree(PACKED / name, partial)
            with suppress(OSError):  # another process was first
                partial.rename(copy)
    return copy


def pack(run: Run, folder: Path, source: str) -> Path:
    """What of a run is worth shipping: settings, scores, names, the last averaged weights in half precision.
    `source` takes the place of the data's path, which is of this machine."""
    from safetensors.torch import load_file, save_file

    last = run.checkpoints()[-1]
    packed = folder / "checkpoints" / last.name
    shutil.rmtree(folder, ignore_errors=True)
    packed.mkdir(parents=True)
    config = replace(run.config, data=replace(run.config.data, source=source))
    (folder / "config.json").write_text(to_json(config) + "\n")
    scores = [row for row in run.rows("metrics") if row["images"] == run.images]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scores))
    for name in ("generator", "recogniser"):
        weights = {k: v.half() for k, v in load_file(last / f"{name}.safetensors").items()}
        save_file(weights, packed / f"{name}.safetensors", metadata={"images": str(run.images)})
    for file, place in ((last / "controls.json", packed), (run.path / "names.json", folder)):
        if file.exists():
            shutil.copy(file, place)
    return folder


def draw_prior(config: Config, count: int, seed: int | list[int]) -> "Float[np.ndarray, 'n z']":
    """Latents as the prior has them; within ±√3 for the flat one."""
    import numpy as np

    rng, shape = np.random.default_rng(seed), (count, config.generator.codes)
    if config.prior == "normal":
        return rng.standard_normal(shape, np.float32)
    reach = 2.0 if config.prior == "uniform" else 3**0.5
    return rng.uniform(-reach, reach, shape).astype(np.float32)


def build_generator(config: Config, make: Callable[..., Any]) -> Any:
    """The untrained generator of a configuration."""
    return make(config.generator, config.size, config.data.channels)


def build_recogniser(config: Config, make: Callable[..., Any]) -> Any:
    """The untrained recogniser (or encoder) of a configuration."""
    variational = config.autoencoder is not None
    return make(config.recogniser, config.size, config.data.channels, config.generator.codes, variational)


def processor() -> str:
    """The processor's name as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {n: version(n) for n in ("wherewhat", "torch", "numpy")}


def _commit() -> str | None:
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():  # installed, perhaps inside someone else's repository
        return None
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, timeout=5)
        return told.stdout.decode().strip() or None
    return None


def _no_run(path: Path) -> str:
    if path.exists():
        return f"{path} is not a run: it has no config.json"
    siblings = [p.name for p in path.parent.glob("*") if (p / "config.json").exists()] if path.parent.exists() else []
    return f"there is no run {path}" + (did_you_mean(path.name, siblings) if siblings else "")


def _parsed(file: Path) -> Iterator[dict[str, Any]]:
    for line in _read(file).splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def _write(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        _sync(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


@contextmanager
def _explained(where: Path, cleanup: Path | None = None) -> Iterator[None]:
    """Turns failures to write into one message; removes what was half-written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "write" not in str(error) and "file" not in str(error):
            raise
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise UserError(f"cannot write to {where}: {reason}. What was saved before is intact.") from None
    finally:
        if cleanup is not None and cleanup.exists():
            shutil.rmtree(cleanup, ignore_errors=True)
