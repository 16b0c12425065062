"""Verbs that edit photographs, make data sets and export.  torch is imported inside them, so that --help is fast."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from tyro.conf import Positional, UseAppendAction, arg

from wherewhat.cli.options import Device, Json, OutFile, ProgressBar, RunPath, at_least, opened_run, say
from wherewhat.cli.tables import show_inversions
from wherewhat.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from wherewhat.editing.invert import Inversion
    from wherewhat.editing.nearness import Nearness
    from wherewhat.editing.photograph import Crop, Photograph
    from wherewhat.metrics.distance import Distance as Metric
    from wherewhat.nn.generator import Generator
    from wherewhat.run.folder import Run

_PHOTOS = "pictures of any size; they are cropped and shrunk as the run's data were, if no other crop is given"
Photos = Annotated[Positional[tuple[Path, ...]], arg(metavar="PHOTO …", help=_PHOTOS)]
Folder = Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")]
_TUNE = "steps of descent on a copy of the generator, for all photographs together; 100 are many"
Tune = Annotated[int, arg(help=_TUNE)]
_DISTANCE = "what is minimised beside the difference of pixels: alex, vgg, pixels, or the path of LPIPS weights"
Distance = Annotated[str, arg(help=_DISTANCE)]
_KEYFRAMES = "photographs, saved states (.json), and numbers: the seeds of samples"
ROW = 6  # pictures from one to the next in a row of a morph
GIF_FPS = 50  # a GIF counts hundredths of a second, and browsers slow down what takes one
_CROP = (
    "the part of each photograph that the run sees: its centre, as shares of height and width, and its size beside "
    "the usual part, as in 0.5,0.4,0.6; or best, which finds the part that the run draws best"
)
CropText = Annotated[str | None, arg(metavar="ROW,COLUMN,SIZE", help_behavior_hint="", help=_CROP)]


def invert(
    run: RunPath, photos: Photos, /, steps: int = 100, tune: Tune = 0, crop: CropText = None, out: OutFile = None,
    distance: Distance = "alex", device: Device = "auto", as_json: Json = False,
) -> None:  # fmt: skip
    """Find the codes of photographs: the encoder first, then descent on codes and noise.

    Args:
        steps: of descent for each photograph; 0 keeps the encoder's codes
        out: the picture (.png) of photographs and what was found; inverted.png among the run's pictures if not given"""
    from wherewhat.editing.edit import comparison_sheet
    from wherewhat.viz.canvas import check_kind, save_still

    opened = opened_run(run)
    path = out or opened.picture("inverted.png")
    check_kind(path)
    seen = _seen(opened, photos, crop, distance, device)
    found = _inverted(opened, seen.images, steps, tune, distance, device)
    near = _nearness(opened, photos, found, distance, device)
    rows = _score_rows(photos, found, distance)
    for row, one, part in zip(rows, near, seen.crops, strict=True):
        row |= {"near": one.words, "unlike": one.unlike, "crop": list(part)}
    columns = [("photograph", seen.images), ("encoder", found.start)]
    columns += [("after descent", found.image)] if steps or tune else []
    lines = [[f"{name} {row['before'][name]:.3f} → {row['after'][name]:.3f}" for name in row["after"]] for row in rows]
    lines = [[*line, one.words.partition(":")[0]] for line, one in zip(lines, near, strict=True)]
    save_still(comparison_sheet([p.name for p in photos], columns, lines), path)
    if as_json:
        print(json.dumps(rows))
        return
    show_inversions(rows)
    print(path)


def edit(
    run: RunPath, photos: Photos, /,
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME=+2")] = (),
    from_: Annotated[UseAppendAction[tuple[str, ...]], arg(name="from", metavar="PICTURE:NAME")] = (),
    onto_photo: bool = False, crop: CropText = None, out: OutFile = None, save: Folder = None, steps: int = 100,
    tune: Tune = 0, distance: Distance = "alex", device: Device = "auto",
) -> None:  # fmt: skip
    """Edit photographs: move controls, set them, or take them from another picture.

    Args:
        set: smile=+2 and smile=-1 move a control by a value, smile=2 and smile==-1 set it to one; may be repeated
        from_: other.png:hair takes a control from another picture, other.png:hair,glasses several; may be repeated
        onto_photo: change the photograph itself where the edit changes it; the rest keeps what cannot be drawn
        out: the picture (.png) of photographs and edits; edited.png among the run's pictures if not given
        save: a folder for the edits alone, each under its photograph's name (with --onto-photo as large as it is)
        steps: of descent on codes before the edit; 0 keeps the encoder's codes, and needs no LPIPS weights"""
    from wherewhat.editing import edit as edits
    from wherewhat.viz.canvas import check_kind, save_still

    opened = opened_run(run)
    path = out or opened.picture("edited.png")
    check_kind(path)
    changes = [edits.read_change(opened, text) for text in set]
    sources = [edits.read_source(opened, text) for text in from_]
    if not changes and not sources:
        raise UserError("there is nothing to edit: give --set NAME=+2, or --from PICTURE:NAME")
    if save and len({photo.stem for photo in photos}) < len(photos):
        raise UserError("--save keeps each photograph's name, and two of these have the same: edit them in two calls")
    targets = [save / f"{photo.stem}.png" for photo in photos] if save else []
    if there := [target for target in targets if target.exists()]:
        raise UserError(f"{there[0]} is there already, and --save overwrites nothing: name another folder")
    distance = distance if steps or tune else "any"  # nothing is minimised, so LPIPS weights need not be there
    seen = _seen(opened, photos, crop, distance, device)
    found = _inverted(opened, seen.images, steps, tune, distance, device)
    near = _nearness(opened, photos, found, distance, device)
    codes = found.codes
    for picture, controls in sources:
        other = _seen(opened, [picture], crop if crop == "best" else None, distance, device)
        source = _inverted(opened, other.images, steps, 0, distance, device).codes[0]
        codes = edits.take_controls(codes, source, controls)
    codes = edits.apply_changes(codes, changes, found.generator.angles)
    edited = found.generator.images(codes, found.noise).clamp(-1, 1)
    columns = [("photograph", seen.images), ("reconstruction", found.image), ("edit", edited)]
    if onto_photo:
        columns.append(("on the photograph", edits.onto(seen.images, found.image.cpu(), edited.cpu())))
    changed = {change.control for change in changes} | {k for _, controls in sources for k in controls}
    lines = _code_lines(opened, sorted(changed), found.codes, codes)
    lines = [[*line, one.words.partition(":")[0]] for line, one in zip(lines, near, strict=True)]
    print(save_still(edits.comparison_sheet([p.name for p in photos], columns, lines), path))
    if save:
        _save_edits(seen, found.image.cpu(), edited.cpu(), targets, onto_photo)


def transfer(
    run: RunPath, photos: Photos, /,
    from_: Annotated[tuple[Path, ...], arg(name="from", metavar="PICTURE …")],
    controls: Annotated[str, arg(metavar="NAME,…", aliases=["--dims"])],
    out: OutFile = None, steps: int = 100, distance: Distance = "alex", device: Device = "auto",
) -> None:  # fmt: skip
    """Draw photographs with the attributes of others: a row for each photograph, a column for each source.

    Args:
        from_: pictures whose attributes are taken
        controls: the controls that are taken, by number or name, separated by commas
        out: the picture (.png); transfer.png among the run's pictures if not given
        steps: of descent on codes first; 0 keeps the encoder's codes, and needs no LPIPS weights"""
    from wherewhat.editing.edit import transfer as make
    from wherewhat.editing.edit import transfer_grid
    from wherewhat.editing.invert import open_photos
    from wherewhat.run.names import find_controls, shown
    from wherewhat.viz.canvas import check_kind, save_still

    opened = opened_run(run)
    path = out or opened.picture("transfer.png")
    check_kind(path)
    chosen = find_controls(opened, controls)
    distance = distance if steps else "any"  # as in edit
    left, top = (open_photos(opened, pictures) for pictures in (photos, from_))
    found, sources = (_inverted(opened, images, steps, 0, distance, device) for images in (left, top))
    known = shown(opened)
    title = f"{', '.join(known[k] for k in chosen)}: as in the picture above"
    print(save_still(transfer_grid(left, top, make(found, sources.codes, chosen), title), path))


def morph(
    run: RunPath,
    keyframes: Annotated[Positional[tuple[str, ...]], arg(metavar="PICTURE …", help=_KEYFRAMES)], /,
    out: OutFile = None, seconds: tuple[float, ...] = (2.0,), easing: Literal["smooth", "linear"] = "smooth",
    fps: int = 25, once: bool = False, scale: int = 4, steps: int = 100, tune: Tune = 0, distance: Distance = "alex",
    device: Device = "auto",
) -> None:  # fmt: skip
    """Let one picture become the next: an endless loop through photographs, saved states or samples, or one row.

    Args:
        out: a name ending in .mp4, .gif or .png (a row from the first to the last; of one picture, it alone);
            morph.mp4 among the run's pictures if not given
        seconds: from each picture to the next: one number for all, or one for each
        easing: smooth slows down at each picture
        fps: pictures in a second
        once: end at the last picture; else the film goes back to the first and has no end
        scale: times as large as the generator's own pictures (Lanczos)
        steps: of descent on the codes of photographs first; 0 keeps the encoder's codes, and needs no LPIPS weights"""
    from wherewhat.editing import motion
    from wherewhat.viz.canvas import check_kind, save_moving, save_still

    at_least(1, fps=fps, scale=scale)
    if not keyframes:
        raise UserError("name the pictures: photographs, saved states (.json), or numbers, the seeds of samples")
    opened = opened_run(run)
    path = out or opened.picture("morph.mp4")
    kind = check_kind(path)
    if kind == ".gif" and fps > GIF_FPS:
        raise UserError(f"--fps {fps}: a .gif shows at most {GIF_FPS} pictures in a second; give fewer, or an .mp4")
    codes, generator = _keyframe_codes(opened, keyframes, steps, tune, distance, device)
    if kind == ".png":
        shown = motion.keyframed(opened, codes, [1.0], easing, ROW, closed=False) if len(codes) > 1 else codes
        print(save_still(motion.in_a_row(motion.frames(generator, shown, scale)), path))
        return
    through = motion.keyframed(opened, codes, seconds, easing, fps, closed=not once)
    print(save_moving(motion.frames(generator, through, scale), path, len(through) / fps))


def synthesize(
    run: RunPath, /, vary: Annotated[str, arg(metavar="NAME,…")], n: int = 10_000, out: Folder = None,
    hold: Annotated[Path | None, arg(metavar="PICTURE", help_behavior_hint="")] = None,
    spread: float = 1.0, seed: int = 0, device: Device = "auto",
) -> None:  # fmt: skip
    """Make a data set that labels itself: images, codes and labels of the controls varied, and their masks.

    Args:
        vary: the controls that are labelled, by number or name, separated by commas
        n: number of images
        out: a new folder; the folder synthetic of the run if not given
        hold: a picture whose codes all other controls keep; they are drawn too if not given
        spread: codes are drawn as images have them and multiplied by this; less makes images more ordinary
        seed: of everything drawn"""
    from wherewhat.editing.invert import open_photos
    from wherewhat.editing.synthesize import Plan
    from wherewhat.editing.synthesize import synthesize as make
    from wherewhat.machine import pick_device
    from wherewhat.run.names import find_controls

    at_least(0, seed=seed)
    at_least(1, n=n)
    if not 0 < spread < math.inf:
        raise UserError(f"--spread {spread:g}: give a positive number")
    opened, where = opened_run(run), pick_device(device)
    base = None
    if hold is not None:
        base = _inverted(opened, open_photos(opened, [hold]), 0, 0, "pixels", device).codes[0].cpu().numpy()
    with ProgressBar(False) as progress:
        plan = Plan(tuple(dict.fromkeys(find_controls(opened, vary))), n, seed, spread, base)
        print(make(opened, plan, out or opened.result("synthetic"), where, progress))


def export(run: RunPath, /, onnx: bool = False, out: Folder = None) -> None:
    """Write generator and encoder for use without PyTorch, after comparing them with it.

    Args:
        onnx: as ONNX files, for batches of any size
        out: the folder for the files; the folder onnx of the run if not given"""
    from wherewhat.editing.export import BATCHES, OPSET
    from wherewhat.editing.export import export as write

    if not onnx:
        raise UserError("name the format: --onnx")
    opened = opened_run(run)
    sizes = ", ".join(map(str, BATCHES))
    for path, difference in write(opened, out or opened.result("onnx")):
        print(f"{path}: opset {OPSET}; within {difference:.1e} of PyTorch for batches of {sizes}")


class _Seen(NamedTuple):
    """Photographs, and the parts of them that the run sees."""

    photos: "list[Photograph]"
    crops: "list[Crop]"
    images: "Tensor"


def _seen(run: "Run", paths: Sequence[Path], crop: str | None, distance: str, device: str) -> _Seen:
    """Raises UserError for a path that is no picture, and for no path."""
    import torch

    from wherewhat.editing.align import aligning
    from wherewhat.editing.photograph import WHOLE, Crop, Photograph
    from wherewhat.machine import pick_device
    from wherewhat.progress import finish, portion

    if not paths:
        raise UserError("name the photographs")
    photos = [Photograph.of(run, path) for path in paths]
    if crop == "best":
        where = pick_device(device)
        perceptual = _distance(run, distance, where)
        with ProgressBar(False) as progress:
            works = (portion(aligning(run, p, perceptual, where), i, len(photos)) for i, p in enumerate(photos))
            crops = [finish(work, progress) for work in works]
        for photo, found in zip(photos, crops, strict=True):
            say(f"{photo.name}: --crop {found}")
    else:
        crops = [Crop.read(crop) if crop else WHOLE] * len(photos)
    return _Seen(photos, crops, torch.cat([p.images(c) for p, c in zip(photos, crops, strict=True)]))


def _distance(run: "Run", name: str, device: str) -> "Metric":
    """The distance of this name; any: LPIPS if its weights are there."""
    from wherewhat.editing.nearness import usual_or_pixels
    from wherewhat.metrics.distance import load_distance

    return usual_or_pixels(run, device) if name == "any" else load_distance(name, device)


def _inverted(
    run: "Run", images: "Tensor", steps: int, tune: int, distance: str, device: str, with_noise: bool = True
) -> "Inversion":
    """The codes of what the run sees of photographs."""
    from wherewhat.editing.invert import invert as find
    from wherewhat.machine import pick_device

    at_least(0, steps=steps, tune=tune)
    where = pick_device(device)
    perceptual = _distance(run, distance, where)
    with ProgressBar(False) as progress:
        how: dict[str, Any] = {"distance": perceptual, "device": where, "with_noise": with_noise, "progress": progress}
        return find(run, images, steps, tune=tune, **how)


def _keyframe_codes(
    run: "Run", words: Sequence[str], steps: int, tune: int, distance: str, device: str
) -> "tuple[Tensor, Generator]":
    """The codes of keyframes (photographs, states, seeds), and the generator that draws them.  Codes alone: noise that
    belongs to one photograph would be seen to fade."""
    import torch

    from wherewhat.editing.states import read_state
    from wherewhat.machine import pick_device

    photos = [Path(word) for word in dict.fromkeys(words) if not word.isdecimal() and not word.endswith(".json")]
    known: dict[str, Tensor] = {}
    generator, where = run.generator.to(pick_device(device)), pick_device(device)
    if photos:
        distance = distance if steps or tune else "any"  # as in edit
        seen = _seen(run, photos, None, distance, device)
        found = _inverted(run, seen.images, steps, tune, distance, device, with_noise=False)
        known, generator = dict(zip(map(str, photos), found.codes, strict=True)), found.generator
    for word in words:
        if word.isdecimal():
            known[word] = torch.from_numpy(run.draw(1, int(word))[0])
        elif word.endswith(".json"):
            known[word] = torch.tensor(read_state(Path(word).expanduser(), run).codes)
    return torch.stack([known[word].to(where) for word in words]), generator


def _nearness(run: "Run", paths: Sequence[Path], found: "Inversion", distance: str, device: str) -> "list[Nearness]":
    """How near each reconstruction is; warns of pictures that are unlike what the run was trained on."""
    from wherewhat.editing.nearness import UNLIKE, nearness, usual_distance
    from wherewhat.machine import pick_device

    where = pick_device(device)
    perceptual = _distance(run, distance, where)
    near = nearness(found.before, found.after, perceptual, usual_distance(run, perceptual, where))
    for path, one in zip(paths, near, strict=True):
        if one.unlike:
            say(f"{path}: {UNLIKE}")
    return near


def _score_rows(photos: Sequence[Path], found: "Inversion", distance: str) -> list[dict[str, Any]]:
    """For each photograph its codes, and its scores before and after descent."""
    names = "PSNR", "SSIM", "pixels" if distance == "pixels" else "LPIPS"
    rows: list[dict[str, Any]] = []
    for i, photo in enumerate(photos):
        both = [{name: s[i].item() for name, s in zip(names, of, strict=True)} for of in (found.before, found.after)]
        rows.append({"photo": str(photo), "codes": found.codes[i].tolist(), "before": both[0], "after": both[1]})
    return rows


def _code_lines(run: "Run", controls: Sequence[int], before: "Tensor", after: "Tensor") -> list[list[str]]:
    """For each photograph, how these controls were changed."""
    from wherewhat.run.names import shown

    names, moves = shown(run), zip(before, after, strict=True)
    return [[f"{names[k]}: {old[k]:+.2f} → {new[k]:+.2f}" for k in controls] for old, new in moves]


def _save_edits(seen: _Seen, before: "Tensor", after: "Tensor", targets: Sequence[Path], onto_photo: bool) -> None:
    """Each edit as a file of its own."""
    from wherewhat.viz.canvas import save_still, to_image, to_pixels

    each = zip(seen.photos, seen.crops, before[:, None], after[:, None], targets, strict=True)
    for photo, crop, old, new, target in each:
        image = photo.edited(crop, old, new) if onto_photo else to_image(to_pixels(new)[0])
        print(save_still(image, target))
