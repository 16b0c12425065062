"""Imports point down and never sideways."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "wherewhat"
LAYERS = [
    ["errors", "progress", "cache"], ["config", "machine", "atomic"], ["nn", "losses", "metrics", "data"], ["priors"],
    ["families", "recipes"], ["run"], ["evaluation", "viz"], ["editing"], ["app", "train"], ["cli"],
]  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def own_imports(file: Path) -> list[str]:
    """The parts of wherewhat that a file imports, as dotted names without the first word."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{a.name}" if node.module == "wherewhat" else node.module for a in node.names]
        found += [name.removeprefix("wherewhat.") for name in named if name.startswith("wherewhat.")]
    return found


def test_imports_point_down() -> None:
    climbing = []
    for file in sorted(ROOT.rglob("*.py")):
        inside = file.relative_to(ROOT)
        if str(inside) == "__init__.py":
            continue
        own = inside.parts[0].removesuffix(".py")
        for name in own_imports(file):
            other = name.split(".")[0]
            if other != own and LEVEL[other] >= LEVEL[own]:
                climbing.append(f"{inside} imports {name}")
    assert not climbing, climbing


def test_every_file_has_a_layer() -> None:
    known = {p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert known - {"__init__", "__pycache__"} == set(LEVEL)
