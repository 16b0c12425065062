"""The browser that tests of pages use."""

import shutil
from pathlib import Path


def find_browser() -> str | None:
    """A Chromium on this machine: the system's, or the one Playwright keeps; None if there is neither."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None
