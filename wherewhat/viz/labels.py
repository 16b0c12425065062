"""What pictures say of a control, and which controls of a run they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherewhat.run.folder import ControlSummary, Run


@dataclass(frozen=True)
class ControlLabel:
    """The text beside the pictures of one control."""

    index: int
    title: str
    lines: tuple[str, ...] = ()
    is_angle: bool = False  # −2 and +2 look the same

    @classmethod
    def plain(cls, index: int, name: str | None = None) -> "ControlLabel":
        """A control of which nothing is known but perhaps a name."""
        return cls(index, f"z{index}  {name}" if name else f"z{index}")


def control_labels(controls: Sequence[ControlSummary], names: Mapping[int, str] | None = None) -> list[ControlLabel]:
    """What evaluation found of each control, in words.  names: those that the user gave."""
    made = []
    for d in controls:
        title = ControlLabel.plain(d.index, (names or {}).get(d.index) or d.factor).title
        what = f"{d.factor} {d.share:.0%} · " if d.factor and d.share is not None else ""
        place = f"{d.place}, {d.area:.0%} of the image" + ", an angle" * d.is_angle
        made.append(ControlLabel(d.index, title, (f"{what}TPL {d.tpl:.2f} ± {d.tpl_error:.2f}", place), d.is_angle))
    return made


def shown_controls(run: Run, chosen: Sequence[int] | None = None, inactive: bool = False) -> list[ControlLabel]:
    """The chosen controls in this order.  If none are chosen: those in use, longest traversal first, with the others
    if asked for; all controls where none is in use, and before the run was evaluated."""
    table, names = run.control_table or [], run.names
    known = {label.index: label for label in control_labels(table, names)}
    if chosen is None:
        chosen = [d.index for d in table if d.in_use or inactive] or list(known) or range(run.config.latents)
    return [known.get(k) or ControlLabel.plain(k, names.get(k)) for k in chosen]
