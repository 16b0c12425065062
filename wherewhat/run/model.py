"""A generator, its controls, and what is known of them in a folder: what verbs take that look and measure."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherewhat.atomic import explained, read_text, write_text
from wherewhat.errors import ReadOnlyError, UserError
from wherewhat.run.rows import read_rows

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from wherewhat.data.batches import Images
    from wherewhat.nn.encoder import Encoder
    from wherewhat.nn.generator import AnyGenerator
    from wherewhat.priors import Prior

PROTOCOLS = ("fast", "small", "medium", "dlib", "large", "huge")
"""of the rows of a metric, those of a later one stand for the run"""
LONGEST_NAME = 60  # letters of the name of a control
VISIBLE_SHARE = 3e-3  # a control that visibly changes this share of the image is in use: twelve pixels of 64 × 64


@dataclass(frozen=True)
class ControlSummary:
    """What evaluation found of one control: where it acts, what it changes, how much."""

    index: int  # its place in z
    tpl: float
    tpl_error: float  # standard error of tpl
    active: bool  # its TPL is above the threshold of the protocol
    row: float  # centre of its mean mask: 0 is the top of the image, 1 the bottom
    column: float  # the same: 0 is the left, 1 the right
    area: float  # share of the image where its mean mask is above half its peak
    peak: float  # largest value of its mean mask
    factor: str | None = None  # the factor about which its code has most information, where factors are known
    share: float | None = None  # that factor's share of the information that the code has about all factors
    is_angle: bool = False  # −2 and +2 look the same
    visible: float | None = None  # share of the image that visibly changes from −2 to +2; None: not measured

    @property
    def in_use(self) -> bool:
        """Whether it is shown unasked: it changes the image visibly.  What was not measured goes by `active`."""
        return self.active if self.visible is None else self.visible >= VISIBLE_SHARE

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


class Model(ABC):
    """A trained run (`Run`), or anyone's generator (`Foreign`)."""

    has_encoder = True
    key: tuple[str, ...] = ("images", "metric", "options")
    """columns of metrics.jsonl that no two rows have alike"""

    def __init__(self, path: Path) -> None:
        """path: the folder of what is known of it."""
        self.path = path
        self._parsed: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {}  # table → state of its file, rows
        self._not_kept: list[dict[str, Any]] = []  # all rows of metrics.jsonl, where new ones cannot be written

    @property
    @abstractmethod
    def word(self) -> str:
        """What stands for it in commands and messages."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def facts(self) -> tuple[str, ...]:
        """What a line about it says beside its title and the size of its images."""

    @property
    @abstractmethod
    def why_idle(self) -> str:
        """A message for the case that no control changes the image visibly."""

    @property
    @abstractmethod
    def latents(self) -> int:
        """How many numbers the generator takes."""

    @property
    def controlled(self) -> int:
        """The first so many of them are controls: all, unless axes were chosen.  The others are drawn and kept."""
        return self.latents

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of its images."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of its images: 1, 3 or 4."""

    @property
    @abstractmethod
    def generator(self) -> "AnyGenerator":
        """From controls to images."""

    @property
    @abstractmethod
    def encoder(self) -> "Encoder":
        """From images to codes.  Raises UserError if there is none."""

    @property
    @abstractmethod
    def encodes_images(self) -> bool:
        """Whether the encoder was trained on images, and not on samples."""

    @property
    @abstractmethod
    def source(self) -> str | None:
        """Where its images are; None if there are none."""

    @property
    @abstractmethod
    def data(self) -> "Images":
        """Its images.  Raises UserError if they cannot be opened."""

    @property
    @abstractmethod
    def prior(self) -> "Prior":
        """The distribution of each latent."""

    @property
    @abstractmethod
    def images_seen(self) -> int:
        """Images that its training had seen, where that is known; else 0."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Of the generator and its controls: equal only for equal scores."""

    @property
    @abstractmethod
    def current(self) -> dict[str, Any]:
        """What those rows of metrics.jsonl have that say something of it as it is now."""

    def python(self, word: str) -> str:
        """The Python expression that opens it.  word: what the user calls it."""
        return f"wherewhat.open_run({word!r})"

    def draw(self, count: int, seed: int | Sequence[int]) -> "Float[np.ndarray, 'n z']":
        """Codes of `count` random images."""
        return self.prior.draw(count, self.latents, seed)

    def data_options(self, data: dict[str, Any]) -> dict[str, Any]:
        """What a row of metrics.jsonl says of the images that it was measured on, by their identity
        (data.batches.identity)."""
        return {"data": data["name"], "data_digest": data["digest"]}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All whole rows of a table: train.jsonl or metrics.jsonl.  They are shared: do not change them."""
        file = self.path / f"{table}.jsonl"
        if table == "metrics" and self._not_kept:
            return list(self._not_kept)
        if not file.exists():
            return []
        stat = file.stat()
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if table not in self._parsed or self._parsed[table][0] != state:
            self._parsed[table] = state, list(read_rows(file))
        return list(self._parsed[table][1])

    def log(self, table: str, row: dict[str, Any]) -> None:
        """Append a row to train.jsonl or metrics.jsonl."""
        self._parsed.pop(table, None)
        with explained(self.path), (self.path / f"{table}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def log_metric(self, row: dict[str, Any]) -> None:
        """Append a score to metrics.jsonl; an earlier one with the same `key` is removed.  Where nothing may be written
        a line on standard error says so, and only this object has the score."""
        others = [old for old in self.rows("metrics") if any(old.get(k) != row.get(k) for k in self.key)]
        try:
            self._rewrite("metrics", [*others, row])
        except ReadOnlyError as error:
            if not self._not_kept:
                print(f"wherewhat: scores are shown and not kept: {error}", file=sys.stderr)
            self._not_kept = [*others, row]

    def _rewrite(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._parsed.pop(table, None)
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / f"{table}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    @property
    def names_file(self) -> Path:
        """Where names are kept."""
        return self.path / "names.json"

    @property
    def names(self) -> dict[int, str]:
        """The names that the user gave to controls.  Raises UserError if names.json is damaged."""
        file = self.names_file
        if not file.exists():
            return {}
        try:
            given = {int(k): v for k, v in json.loads(read_text(file)).items()}
            if not all(isinstance(name, str) for name in given.values()):
                raise ValueError("a name is text")
            return {k: plain_name(name) for k, name in given.items() if 0 <= k < self.controlled}
        except (ValueError, AttributeError, RecursionError):
            raise UserError(f'{file} cannot be read: it must look like {{"3": "wall colour", "7": "smile"}}') from None

    def rename(self, index: int, name: str) -> None:
        """Name a control; an empty name removes the one it had.  UserError for no such control or such a name."""
        name = name.strip()
        if not 0 <= index < self.controlled:
            raise UserError(f"there is no control z{index}: they go from z0 to z{self.controlled - 1}")
        if name != plain_name(name):
            raise UserError(f"a name is one line of at most {LONGEST_NAME} letters")
        names = {**self.names, index: name}
        kept = {str(k): names[k] for k in sorted(names) if names[k]}
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.names_file, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")

    def latest(self, metric: str, **options: Any) -> dict[str, Any] | None:
        """The row of a metric that stands for the last checkpoint, among those with these options; None if there is
        none.  Images that it was trained on come before others, then protocols as in PROTOCOLS, the published
        thresholds before others, the newest at last."""
        rows = [row for row in self.rows("metrics") if row["metric"] == metric]
        now = self.current if rows else {}
        fitting = (r for r in rows if fits(r, now) and fits(r.get("options", {}), options))
        return max(enumerate(fitting), key=lambda row: (_standing(row[1]), row[0]), default=(0, None))[1]

    @property
    def control_table(self) -> list[ControlSummary] | None:
        """What evaluation found of each control, longest traversal first; None if the run was not evaluated."""
        row = self.latest("controls")
        return self.summaries(row) if row else None

    def summaries(self, row: dict[str, Any]) -> list[ControlSummary]:
        """The controls in a row of metrics.jsonl.  Raises UserError if it does not describe controls of this model."""
        return [self._summary(control) for control in row["details"]]

    def _summary(self, values: dict[str, Any]) -> ControlSummary:
        """Raises UserError for values that evaluation did not write about one of this run's controls."""
        from pydantic import TypeAdapter, ValidationError

        try:
            found = TypeAdapter(ControlSummary).validate_python(values)
        except ValidationError as error:
            problem = error.errors()[0]
            wrong = f"{'.'.join(map(str, problem['loc']))[:60]}: {problem['msg']}"
        else:
            if 0 <= found.index < self.controlled and 0 <= found.row <= 1 and 0 <= found.column <= 1:
                return found
            wrong = f"control {found.index} at row {found.row:g} and column {found.column:g}"
        raise UserError(f"{self.path / 'metrics.jsonl'} does not describe the controls of this run ({wrong})")

    def result(self, name: str) -> Path:
        """Where a result goes that was given no place: into its folder."""
        return self.path / name

    def picture(self, name: str) -> Path:
        """The path of a picture of that name, in a folder pictures that is made."""
        with explained(self.path):
            (self.path / "pictures").mkdir(parents=True, exist_ok=True)
        return self.path / "pictures" / name


def plain_name(text: str) -> str:
    """A name without what could confuse a terminal or a page, and not too long."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST_NAME]


def fits(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a row has all that is wanted."""
    return all(row.get(key) == value for key, value in wanted.items())


def _standing(row: dict[str, Any]) -> tuple[bool, bool, int]:
    """How well a row stands for its run: larger is better."""
    options = row.get("options", {})
    protocol = options.get("protocol")
    rank = PROTOCOLS.index(protocol) if protocol in PROTOCOLS else -1
    return not options.get("other_data"), not options.get("own_threshold"), rank
