"""Writes docs/licences.md: the licences of what is installed with wherewhat, as the packages themselves state them."""

from importlib.metadata import PackageNotFoundError, files, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("", "faces", "explore", "export")
"""what users install: everything but the tools of development"""
CLASSIFIER = "License :: OSI Approved :: "
HEAD = """# Licences

What `pip install "wherewhat[faces,explore,export]"` installs, and the licence that each package states
(`python docs/licences.py`). Packages for other systems and older Pythons are not here. imageio-ffmpeg brings the
program ffmpeg, with which films are written and which is under the GNU General Public License 3; it runs as a process
of its own. `wherewhat` itself is under the MIT license.

| package | licence | for |
|---|---|---|
"""


def licence(package: str) -> str:
    """What the metadata of an installed package say, in a few words; empty if they say nothing."""
    about = metadata(package)
    stated = about.get("License-Expression") or ""
    classifiers = [c.removeprefix(CLASSIFIER) for c in about.get_all("Classifier") or () if c.startswith(CLASSIFIER)]
    text = (about.get("License") or "").strip().split("\n")[0]
    return stated or ", ".join(classifiers) or text[:60] or ("MIT" if _has_text_of_mit(package) else "")


def _has_text_of_mit(package: str) -> bool:
    """Whether a file with the text of the MIT license comes with a package."""
    texts = [str(file.read_text()) for file in files(package) or () if file.name.upper().startswith("LICEN")]
    return any("Permission is hereby granted, free of charge, to any person" in text for text in texts)


def needed() -> dict[str, str]:
    """Every package that is installed with wherewhat → the extra that first needs it ("" for none)."""
    found: dict[str, str] = {}
    for extra in EXTRAS:
        left = [("wherewhat", extra)]
        while left:
            package, wanted = left.pop()
            for line in requires(package) or ():
                need = Requirement(line)
                if need.marker and not need.marker.evaluate({"extra": wanted}):
                    continue
                name = need.name.lower().replace("_", "-")
                if name in found or name == "wherewhat":
                    continue
                try:
                    metadata(name)
                except PackageNotFoundError:
                    continue
                found[name] = extra
                left += [(name, inner) for inner in (need.extras or {""})] + [(name, "")]
    return dict(sorted(found.items()))


def table() -> str:
    return HEAD + "".join(f"| {name} | {licence(name)} | {extra or 'all'} |\n" for name, extra in needed().items())


if __name__ == "__main__":
    (Path(__file__).parent / "licences.md").write_text(table(), "utf-8")
