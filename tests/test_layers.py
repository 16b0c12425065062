"""Imports point down and never sideways: docs/architecture.py has the layers and reads the imports."""

import runpy
from pathlib import Path

ARCHITECTURE = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "architecture.py"))
ROOT, LEVEL = ARCHITECTURE["ROOT"], ARCHITECTURE["LEVEL"]


def test_imports_point_down() -> None:
    climbing = []
    for file in (f for f in sorted(ROOT.rglob("*.py")) if f != ROOT / "__init__.py"):
        own = ARCHITECTURE["part_of"](file)
        for name in ARCHITECTURE["own_imports"](file):
            other = name.split(".")[0]
            if other != own and LEVEL[other] >= LEVEL[own]:
                climbing.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not climbing, climbing


def test_every_file_has_a_layer() -> None:
    known = {p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert known - {"__init__", "__pycache__"} == set(LEVEL)
