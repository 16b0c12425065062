"""Imports point down and never sideways."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "wherewhat"
LAYERS = [
    ["errors", "cache"], ["config", "machine"], ["nn", "losses", "data", "metrics", "recipes"], ["runs"], ["quality"],
    ["evaluate", "explore"], ["rank", "where"], ["train"], ["cli"],
]  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def place(parts: list[str]) -> str:
    return parts[0].removesuffix(".py")


def test_imports_point_down() -> None:
    climbing = []
    for file in sorted(ROOT.rglob("*.py")):
        inside = list(file.relative_to(ROOT).parts)
        if inside == ["__init__.py"]:
            continue
        own = place(inside)
        for node in ast.walk(ast.parse(file.read_text())):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{a.name}" if node.module == "wherewhat" else node.module for a in node.names]
            for name in named:
                parts = name.split(".")
                if parts[0] == "wherewhat" and len(parts) > 1:
                    other = parts[1]
                    if other != own and LEVEL[other] >= LEVEL[own]:
                        climbing.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not climbing, climbing


def test_every_file_has_a_layer() -> None:
    known = {p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert known - {"__init__", "__pycache__"} == set(LEVEL)
