"""The architecture as the code has it: the layers, and a picture of who imports whom.

python docs/architecture.py draws docs/pictures/architecture.png.  tests/test_layers.py holds the code to LAYERS, and
tests/test_docs.py tells when the picture is out of date.
"""

import ast
import json
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent / "wherewhat"
PICTURE = Path(__file__).parent / "pictures" / "architecture.png"
LAYERS = [
    ["errors", "progress", "cache"], ["config", "machine", "atomic"], ["nn", "losses", "metrics", "data"], ["priors"],
    ["families", "recipes"], ["run"], ["evaluation", "viz"], ["editing"], ["app", "train"], ["select"], ["cli"],
]  # fmt: skip
"""parts of the package, the lowest layer first: a part imports parts of lower layers only"""
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
TOOLS = ("errors", "progress", "cache", "machine", "atomic")
"""small parts that any other may import: the picture leaves arrows to them out"""
COLUMN = {
    "errors": 0.5, "progress": 1.5, "cache": 2.5, "machine": 1, "atomic": 2, "config": 3.6, "nn": 0, "losses": 1,
    "data": 3, "priors": 2.14, "families": 0.8, "recipes": 4, "run": 1.2, "evaluation": 1.65, "viz": 3, "editing": 0.8,
    "app": 0.5, "train": 2.5, "select": 4, "cli": 3,
}  # fmt: skip
"""where a part is drawn, 0 … 4, so that no arrow crosses a box; in the middle if not given"""
WIDTH, HEIGHT, ROW = 2.3, 0.62, 1.0
"""inches: of a box, and from one layer to the next"""


def part_of(file: Path) -> str:
    """The part that a file of the package belongs to: its folder, or its own name."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def own_imports(file: Path) -> list[str]:
    """The modules of wherewhat that a file imports, as dotted names without the first word."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{a.name}" if node.module == "wherewhat" else node.module for a in node.names]
        found += [name.removeprefix("wherewhat.") for name in named if name.startswith("wherewhat.")]
    return found


def modules() -> dict[str, list[str]]:
    """part → names of its files; none for a part that is a single file."""
    return {part: sorted(f.stem for f in (ROOT / part).rglob("*.py") if f.stem[0] != "_") for part in LEVEL}


def imports() -> dict[str, list[str]]:
    """part → the parts it imports, from the source code."""
    found: dict[str, set[str]] = {part: set() for part in LEVEL}
    for file in (f for f in sorted(ROOT.rglob("*.py")) if part_of(f) in LEVEL):
        found[part_of(file)] |= {name.split(".")[0] for name in own_imports(file)} & LEVEL.keys() - {part_of(file)}
    return {part: sorted(names) for part, names in found.items()}


def direct(found: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others: part and imported part, with no third part on the way."""
    reach: dict[str, set[str]] = {}
    for part in LEVEL:  # the lowest layer first
        reach[part] = set(found[part]).union(*(reach[other] for other in found[part]))
    return [
        (part, other)
        for part in LEVEL
        for other in found[part]
        if not any(other in reach[between] for between in found[part])
    ]


def source() -> dict[str, dict[str, list[str]]]:
    """What a picture is drawn from."""
    return {"modules": modules(), "imports": imports()}


def stored() -> Any:
    """What the picture that is stored was drawn from."""
    from PIL import Image

    with Image.open(PICTURE) as picture:
        return json.loads(picture.info["source"])


def draw() -> None:
    """Draw the layers, the lowest at the bottom, and an arrow from each part to those it imports."""
    from matplotlib.figure import Figure

    step = WIDTH + 0.3
    wide, high = 5 * step, len(LAYERS) * ROW
    figure = Figure(figsize=(wide, high))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(0, high))
    axes.axis("off")
    place = {part: ((COLUMN.get(part, 2) + 0.5) * step, (level + 0.5) * ROW) for part, level in LEVEL.items()}
    shown = source()
    for part, other in direct(shown["imports"]):
        if other not in TOOLS:
            (x, y), (to_x, to_y) = place[part], place[other]
            style = {"arrowstyle": "-|>", "color": "#8a93a6", "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (to_x, to_y + HEIGHT / 2), (x, y - HEIGHT / 2), arrowprops=style, zorder=1)
    for part, names in shown["modules"].items():
        x, y = place[part]
        colour = "#f4f4f2" if part in TOOLS else "#eef2fb"
        axes.add_patch(rectangle(x, y, facecolor=colour, edgecolor="#3b5b9a", linewidth=1.1, zorder=2))
        axes.text(x, y + (0.17 if names else 0), part, ha="center", va="center", weight="bold", size=11, zorder=3)
        axes.text(x, y - 0.12, wrapped(names), ha="center", va="center", size=7, color="#333", zorder=3)
    figure.savefig(PICTURE, dpi=100, metadata={"source": json.dumps(shown)})


def rectangle(x: float, y: float, **style: Any) -> Any:
    """The box of a part around its middle."""
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.08"
    return FancyBboxPatch((x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle=shape, **style)


def wrapped(names: list[str], width: int = 44) -> str:
    """The files of a part, in lines that fit its box."""
    return "\n".join(textwrap.wrap(", ".join(names), width))


if __name__ == "__main__":
    draw()
    print(PICTURE)
