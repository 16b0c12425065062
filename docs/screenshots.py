"""Draws docs/pictures/explore.png, explore-phone.png and report.png: python docs/screenshots.py

Needs Playwright, and a Chromium of the system or of Playwright itself.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from wherewhat.app.scene import Scene
from wherewhat.app.server import serve
from wherewhat.run.folder import Run
from wherewhat.viz.report import report

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """All pictures."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw_page(browser, Path(folder))
        draw_report(browser, Path(folder))
        browser.close()


def draw_page(browser: Browser, uploads: Path) -> None:
    """The web page of the shipped run faces, on a wide screen and on a phone."""
    name = "pretrained:faces"
    server = serve([Scene(Run.open(name), name)], uploads)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(server.local_url)
    page.wait_for_selector(".strip img")
    page.locator(".seed input").first.fill("26")
    page.locator(".seed input").first.press("Enter")
    page.wait_for_function("document.querySelector('.stage figcaption').innerText.includes('seed 26')")
    page.locator(".truncation input[type=range]").first.evaluate(
        "e => { e.value = 0.8; e.dispatchEvent(new Event('input', {bubbles: true})); "
        "e.dispatchEvent(new Event('pointerup', {bubbles: true})); }"
    )
    page.locator("#card-15 .mask img").click()
    page.evaluate("scrollTo(0, 0)")
    save(page, "explore.png")
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator(".views label").first.click()
    page.locator("#card-29").evaluate("e => scrollTo(0, scrollY + e.getBoundingClientRect().top - 430)")
    save(page, "explore-phone.png")
    server.close()


def draw_report(browser: Browser, folder: Path) -> None:
    """The upper part of the report of the shipped run rooms."""
    page = browser.new_page(viewport={"width": 1020, "height": 992})
    page.goto(report(Run.open("pretrained:rooms"), folder / "report.html").as_uri())
    save(page, "report.png")


def save(page: Page, name: str) -> None:
    """A screenshot, once thumbnails are drawn."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(3000)
    page.screenshot(path=PICTURES / name)


if __name__ == "__main__":
    main()
