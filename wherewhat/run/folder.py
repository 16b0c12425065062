"""The folder of one training: the only interface between training, evaluation, pictures and notebooks.

config.json      the whole configuration
about.json       versions, commit, command, machine, state
train.jsonl  metrics.jsonl                 one row of numbers in each line
checkpoints/000640k/   generator.safetensors, encoder.safetensors (averaged), controls.json, resume.pt
pictures/  names.json  report.html  tensorboard/
"""

import base64
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherewhat.atomic import explained, first_line, read_text, sync, temporary, write_text
from wherewhat.cache import cache
from wherewhat.config import Config, difference, from_json, to_json
from wherewhat.errors import UserError, did_you_mean
from wherewhat.run import shipped
from wherewhat.run.checks import check_controls
from wherewhat.run.lock import locked, this_process
from wherewhat.run.model import Model
from wherewhat.run.provenance import provenance
from wherewhat.run.rows import CLOCK

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import nn

    from wherewhat.data.batches import Images
    from wherewhat.nn.controls import Controls
    from wherewhat.nn.encoder import Encoder
    from wherewhat.nn.generator import Generator
    from wherewhat.priors import Prior

MAY_CHANGE = ("total_images:", "log_every:", "preview_every:", "checkpoint_every:")  # settings a resumed run may change


class Run(Model):
    """A run folder.  Networks load at first use, with the averaged weights of the last or the chosen checkpoint."""

    def __init__(self, path: Path, config: Config, checkpoint: str | None = None) -> None:
        """checkpoint: the name of its folder; the last one if not given."""
        super().__init__(path)
        self.config, self.checkpoint = config, checkpoint
        self._trained_on = config.data.source

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """An existing run; "pretrained:rooms": one of the package, as a copy in the user's cache, to which scores and
        pictures can be added; "runs/demo@000320k": with the weights of that checkpoint.  UserError if there is none."""
        name, (whole, _, checkpoint) = str(path), str(path).rpartition("@")
        if whole and not Path(path).expanduser().exists():
            run = cls.open(whole)
            known = [folder.name for folder in run.checkpoints()]
            if checkpoint not in known:
                raise UserError(f"{run.path} has no checkpoint {checkpoint}{did_you_mean(checkpoint, known)}")
            return cls(run.path, run.config, checkpoint)
        is_shipped = name.startswith(shipped.PREFIX)
        path = shipped.unpacked(name[len(shipped.PREFIX) :]) if is_shipped else Path(path).expanduser()
        file = path / "config.json"
        if not file.is_file():
            raise UserError(_no_run(path))
        return cls(path, from_json(read_text(file), str(file)))

    @classmethod
    @contextmanager
    def create(cls, path: str | Path, config: Config) -> Iterator["Run"]:
        """A new run, or the existing one to resume, which no other process trains meanwhile.  UserError if one does, if
        the folder holds anything else, or if it is not writable."""
        path = Path(path).expanduser()
        file = path / "config.json"
        with explained(path):
            foreign = not file.exists() and path.exists() and any(p.name != ".lock" for p in path.iterdir())
        if foreign:
            raise UserError(f"{path} is not empty and is not a run: choose another folder with --out")
        with locked(path):
            if file.exists():
                require_same_settings(path, cls.open(path).config, config)
            run = cls(path, config)
            with explained(path):
                for before in (path / "checkpoints").glob(".*.before"):  # its training was killed while it replaced it
                    whole = before.with_name(before.name[1:].removesuffix(".before"))
                    if not whole.exists():
                        before.rename(whole)
                write_text(file, to_json(config) + "\n")
            yield run

    def drop_rows_after(self, images_seen: int) -> None:
        """Remove the rows that a resumed training will write again."""
        for table, clock in CLOCK.items():
            file, rows = self.path / f"{table}.jsonl", self.rows(table)
            cut_short = file.exists() and not file.read_bytes().endswith(b"\n")  # or the next row joins that line
            if cut_short or any(row[clock] > images_seen for row in rows):
                self._rewrite(table, [row for row in rows if row[clock] <= images_seen])

    def write_about(self, state: str, **more: Any) -> None:
        """Write about.json: the state (running, done, stopped or failed), versions, commit, command and machine."""
        kept = {name: value for name, value in self.about.items() if name != "reason"}
        about = {**kept, "state": state, **more, "process": this_process(), **provenance()}
        with explained(self.path):
            write_text(self.path / "about.json", json.dumps(about, indent=1) + "\n")

    @property
    def about(self) -> dict[str, Any]:
        """about.json; empty if it was never written or is damaged."""
        about: dict[str, Any] = {}
        with suppress(ValueError, RecursionError, UserError):
            about = json.loads(read_text(file)) if (file := self.path / "about.json").exists() else {}
        return about if isinstance(about, dict) else {}

    def checkpoints(self) -> list[Path]:
        """Folders of complete checkpoints, oldest first."""
        return sorted(p for p in (self.path / "checkpoints").glob("*k") if p.is_dir() and not p.name.startswith("."))

    def save(self, images_seen: int, generator: "Generator", encoder: "Encoder", resume: dict[str, Any]) -> Path:
        """Write a checkpoint, whole or not at all; the two newest keep what resuming needs.  Raises UserError."""
        final = self.path / "checkpoints" / f"{images_seen // 1000:06d}k"
        partial = temporary(final)
        with explained(self.path, cleanup=partial):
            partial.mkdir(parents=True)
            _write_weights(partial, images_seen, {"generator": generator, "encoder": encoder}, resume)
            if generator.controls:
                write_text(partial / "controls.json", json.dumps(generator.controls.to_json()) + "\n")
            for file in partial.iterdir():
                sync(file)
            if final.exists():
                final.rename(final.with_name(f".{final.name}.before"))
            partial.rename(final)
            for left_over in final.parent.glob(".*"):  # the replaced one, and what a killed training left
                shutil.rmtree(left_over, ignore_errors=True)
            for old in self.checkpoints()[:-2]:
                (old / "resume.pt").unlink(missing_ok=True)
        for name in ("generator", "encoder"):
            self.__dict__.pop(name, None)
        return final

    def resume_point(self) -> dict[str, Any] | None:
        """What `save` was last given as `resume`; None if nothing was saved.  Raises UserError if it is damaged."""
        import torch

        if not (saved := self.checkpoints()):
            return None
        file = saved[-1] / "resume.pt"
        try:
            point: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # of every kind; what it says advises to read a file that may run code
            point = {}
        seen = point.get("images_seen", point.get("images")) if isinstance(point, dict) else None
        if type(seen) is int and 0 <= seen <= 10**12 and isinstance(point.get("seconds"), float | int):
            return point
        way = f"to go on from {saved[-2].name}" if saved[1:] else "to start over"
        raise UserError(
            f"{file} cannot be read: it is damaged, or not what a training saved. Remove the folder {saved[-1]} {way}"
        )

    @property
    def images_seen(self) -> int:
        """Images that the training had seen at the last checkpoint."""
        from safetensors import safe_open

        file = self._last_checkpoint() / "generator.safetensors"
        try:
            with safe_open(file, "pt") as opened:
                return min(max(int(opened.metadata()["images"]), 0), 10**12)
        except Exception as error:
            raise UserError(f"{file} cannot be read ({first_line(error)}): it is damaged") from None

    @cached_property
    def generator(self) -> "Generator":
        """The averaged generator: generator(z) -> (image, masks).  A damaged encoder beside it is told on standard
        error: pictures of the generator alone do not need it."""
        generator = self._load("generator")
        file = self._file("encoder")
        try:
            _check_shapes(file, self.config, "encoder")
        except Exception as error:
            print(f"wherewhat: {file} is damaged ({first_line(error)}): no image can be encoded", file=sys.stderr)
        return generator

    @cached_property
    def encoder(self) -> "Encoder":
        """The averaged encoder: encoder(images), which are in [−1, 1], -> codes."""
        from wherewhat.families.family import attach

        encoder = self._load("encoder")
        attach({"generator": self.generator, "encoder": encoder})
        return encoder

    def _load(self, name: str) -> Any:
        from safetensors.torch import load_file

        from wherewhat.families import family_of
        from wherewhat.nn.layers import channels_last

        file = self._file(name)
        try:
            _check_shapes(file, self.config, name)
            module: Any = family_of(self.config).build(self.config)[name]
            module.load_state_dict(load_file(file))
            if bad := [key for key, tensor in module.state_dict().items() if not tensor.isfinite().all()]:
                raise ValueError(f"{bad[0]} is not finite")
        except Exception as error:
            raise UserError(
                f"{file} does not hold the {name} of {self.path / 'config.json'} ({first_line(error)}): "
                "it is damaged or of another run"
            ) from None
        module.controls = self._controls
        return channels_last(module).eval().requires_grad_(False)

    def _file(self, name: str) -> Path:
        folder = self._last_checkpoint()
        file = folder / f"{name}.safetensors"
        if name == "encoder" and not file.exists() and (older := folder / "recogniser.safetensors").exists():
            return older  # format 1
        return file

    @property
    def _controls(self) -> "Controls | None":
        from wherewhat.nn.controls import Controls

        file = self._last_checkpoint() / "controls.json"
        if not file.exists():
            return None
        try:
            controls = Controls.from_json(json.loads(read_text(file)))
            check_controls(controls, self.config.latents)
            return controls
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError) as error:
            raise UserError(f"{file} is damaged or of another run ({first_line(error)})") from None

    def _last_checkpoint(self) -> Path:
        found = self.checkpoints()
        if not found:
            raise UserError(f"{self.path} has no checkpoint yet: train it first, or wait for the first save")
        return self.path / "checkpoints" / self.checkpoint if self.checkpoint else found[-1]

    @property
    def prior(self) -> "Prior":
        """The distribution of each latent."""
        from wherewhat.priors import PRIORS

        return PRIORS[self.config.prior]

    def draw(self, count: int, seed: int | Sequence[int]) -> "Float[np.ndarray, 'n z']":
        """Codes of `count` random images, each control by itself: as often as images have its values, where that is
        known; else samples of the prior, angles uniform on −2 … 2, all the way round."""
        import numpy as np

        drawn = self.prior.draw(count, self.config.latents, seed)
        controls = self.generator.controls
        if controls and controls.quantiles:
            shares = self.prior.cdf(drawn)
            known = (
                (share, np.linspace(0, 1, len(row)), row)
                for share, row in zip(shares.T, controls.quantiles, strict=True)
            )
            return np.stack([np.interp(*one) for one in known], 1).astype(np.float32)
        angles = {pair.angle for pair in controls.polar_pairs} if controls else set()
        for angle in angles | set(self.generator.angles):
            drawn[:, angle] = 4 * self.prior.cdf(drawn[:, angle]) - 2
        return drawn

    def data_options(self, data: dict[str, Any]) -> dict[str, Any]:
        """What a row of metrics.jsonl says of the images that it was measured on, by their identity
        (data.batches.identity).  other_data: how many they are, if they are not those that the run was trained on;
        where that was not recorded, if they are not read from the same place."""
        known = self.about.get("data")
        same_place = self.config.data.source == self._trained_on
        own = known.get("digest") == data["digest"] if isinstance(known, dict) else same_place
        options = {"data": data["name"], "data_digest": data["digest"]}
        return options if own else options | {"other_data": data["count"]}

    def _repr_html_(self) -> str:
        """What a notebook shows: the controls in use (all if none is), and their picture if it was drawn."""
        known, names = self.control_table or [], self.names
        rows = "".join(
            f"<tr><td>z{d.index}</td><td>{escape(names.get(d.index) or d.factor or '–')}</td>"
            f"<td>{d.place}, {d.area:.0%}</td><td>{d.tpl:.2f}</td></tr>"
            for d in [d for d in known if d.in_use] or known
        )
        head = "<tr><th>control</th><th>what</th><th>where, area</th><th>TPL</th></tr>"
        table = f"<table>{head}{rows}</table>" if rows else "<p>not evaluated yet: wherewhat evaluate</p>"
        seen = f"{self.images_seen:,} images seen" if self.checkpoints() else "no checkpoint yet"
        height, width = self.config.size
        picture = self.path / "pictures" / "traversals.png"
        drawn = base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else ""
        return (
            f"<p><b>{escape(str(self.path))}</b><br>{escape(self.config.recipe)}, {height}×{width}, {seen}</p>{table}"
            + (f'<img alt="traversals" src="data:image/png;base64,{drawn}">' if drawn else "")
        )

    @property
    def facts(self) -> tuple[str, ...]:
        return self.config.recipe, f"{self.images_seen:,} images seen"

    @property
    def why_idle(self) -> str:
        seen, total = f"{self.images_seen:,}", f"{self.config.total_images:,}"
        return (
            f"{self.word}: no control changes the image visibly after {seen} images. That is too few yet: recipes "
            f"see hundreds of thousands; this training was to see {total}. The same train command with more --images "
            "goes on"
        )

    @property
    def latents(self) -> int:
        return self.config.latents

    @property
    def size(self) -> tuple[int, int]:
        return self.config.size

    @property
    def channels(self) -> int:
        return self.config.data.channels

    @property
    def encodes_images(self) -> bool:
        from wherewhat.families import family_of

        return family_of(self.config).encodes_images

    @property
    def source(self) -> str:
        return self.config.data.source

    @property
    def data(self) -> "Images":
        from wherewhat.data import open_data

        return open_data(self.config.data)

    @property
    def fingerprint(self) -> str:
        import torch

        digest = blake2b(digest_size=8)
        for module in (self.generator, self.encoder):
            for name, tensor in sorted(module.state_dict().items()):
                digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            digest.update(json.dumps(module.controls.to_json() if module.controls else None).encode())
        return digest.hexdigest()

    @property
    def current(self) -> dict[str, Any]:
        return {"images": self.images_seen}

    @property
    def most_in_use(self) -> int:
        """The largest number of controls that were in use at any checkpoint."""
        rows = [row for row in self.rows("metrics") if row["metric"] == "controls"]
        return max((sum(self._summary(control).in_use for control in row["details"]) for row in rows), default=0)

    @property
    def word(self) -> str:
        """What stands for it in commands and messages: pretrained:rooms if it came with the package, else its path."""
        return f"{shipped.PREFIX}{self._shipped_name}" if self._shipped_name else str(self.path)

    @property
    def title(self) -> str:
        """What it is called: the name of its folder, or pretrained:rooms."""
        return self.word if self._shipped_name else self.path.absolute().name

    @property
    def _shipped_name(self) -> str:
        return self.path.name.rpartition("-")[0] if self.path.parent == cache("pretrained") else ""

    def result(self, name: str) -> Path:
        """Where a result goes that was given no place: into its folder; of a run that came with the package, into the
        current folder, under both names."""
        return Path(f"{self._shipped_name}-{name}") if self._shipped_name else self.path / name

    def picture(self, name: str) -> Path:
        """The path of a picture of that name, as `result`, in a folder pictures that is made."""
        if self._shipped_name:
            return self.result(name)
        with explained(self.path):
            (self.path / "pictures").mkdir(parents=True, exist_ok=True)
        return self.path / "pictures" / name


def open_run(path: str | Path) -> Run:
    """An existing run, as by Run.open: .generator(z) -> (image, masks), .encoder(images) -> codes, .config."""
    return Run.open(path)


def _check_shapes(file: Path, config: Config, name: str) -> None:
    """Raises ValueError if a file does not hold the weights of this network, before the network takes any memory."""
    import torch
    from safetensors import safe_open

    from wherewhat.families import family_of

    with torch.device("meta"):
        wanted = {k: list(v.shape) for k, v in family_of(config).build(config)[name].state_dict().items()}
    with safe_open(file, "pt") as opened:
        there = {k: opened.get_slice(k).get_shape() for k in opened.keys()}  # noqa: SIM118
    for key in wanted.keys() | there.keys():
        if wanted.get(key) != there.get(key):
            raise ValueError(f"{key} is {there.get(key)}, and should be {wanted.get(key)}")


def _write_weights(folder: Path, images_seen: int, modules: dict[str, "nn.Module"], resume: dict[str, Any]) -> None:
    """The weights of a checkpoint.  Raises OSError for whatever PyTorch and safetensors raise on a full disk."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        for name, module in modules.items():
            weights = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
            save_file(weights, folder / f"{name}.safetensors", metadata={"images": str(images_seen)})
        torch.save(resume, folder / "resume.pt")
    except SafetensorError as error:
        raise OSError(first_line(error)) from None
    except RuntimeError as error:
        raise OSError(f"a file was not written whole, the disk may be full ({first_line(error)})") from None


def require_same_settings(path: Path, old: Config, new: Config) -> None:
    """Raises UserError that names each setting which may not change when a training goes on."""
    changed = [line for line in difference(old, new) if not line.startswith(MAY_CHANGE)]
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise UserError(
            f"{path} holds a training with other settings (there → asked for)\n{lines}\n"
            "Choose another folder with --out, or give the same settings to go on with it."
        )


def _no_run(path: Path) -> str:
    if path.exists():
        return f"{path} is not a run: it has no config.json"
    siblings = [p.name for p in path.parent.glob("*") if (p / "config.json").exists()] if path.parent.exists() else []
    return f"there is no run {path}" + (did_you_mean(path.name, siblings) if siblings else "")
