"""Draws the pictures of the page and of the report in docs/pictures: explore*.png, photograph*.png, report.png.

python docs/screenshots.py

Needs Playwright, and a Chromium of the system or of Playwright itself.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

from wherewhat.app.scene import Scene
from wherewhat.app.server import serve
from wherewhat.data.synthetic.faces import Faces
from wherewhat.run.folder import Run
from wherewhat.viz.report import report

PICTURES = Path(__file__).parent / "pictures"
FACE = 123_456_789  # of all that can be drawn


def main() -> None:
    """All pictures."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw_page(browser, Path(folder))
        draw_photograph(browser, Path(folder))
        draw_report(browser, Path(folder))
        browser.close()


def draw_page(browser: Browser, uploads: Path) -> None:
    """The web page of the shipped run faces, on a wide screen and on a phone, and what can be understood with it."""
    name = "pretrained:faces"
    server = serve([Scene(Run.open(name), name)], uploads)
    page = opened(browser, server.local_url)
    page.locator("#card-15 .mask").click()
    page.evaluate("scrollTo(0, 0)")
    save(page, "explore.png")
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator(".views label").first.click()
    page.locator("#card-29").evaluate("e => scrollTo(0, scrollY + e.getBoundingClientRect().top - 430)")
    save(page, "explore-phone.png")
    page.close()

    page = opened(browser, server.local_url, dark=True)
    place = page.locator(".stage .frame img").bounding_box()
    assert place
    page.mouse.move(place["x"] + 0.3 * place["width"], place["y"] + 0.6 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.7 * place["width"], place["y"] + 0.8 * place["height"])
    page.mouse.up()
    page.get_by_text("Here acts").wait_for()
    slide(page, 7, 2.0)
    slide(page, 29, 1.5)
    page.get_by_text("Compare", exact=True).click()
    page.get_by_text("The same changes on other samples").click()
    page.wait_for_selector("img.others")
    page.set_viewport_size({"width": 1280, "height": 1130})
    page.evaluate("scrollTo(0, 0)")
    save(page, "explore-compare.png")
    page.close()
    server.close()


def opened(browser: Browser, address: str, dark: bool = False) -> Page:
    """The page with all its pictures."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark" if dark else "light")
    page.goto(address)
    page.wait_for_selector(".strip img[src]")
    page.wait_for_selector(".mask img[src]")
    return page


def slide(page: Page, control: int, value: float) -> None:
    """Move a slider, as a hand that drags it, and let it go."""
    page.locator(f"#card-{control} .value").evaluate(
        "(e, v) => { e.value = v; for (const name of ['input', 'change']) "
        "e.dispatchEvent(new Event(name, {bubbles: true})); }",
        value,
    )
    page.wait_for_timeout(500)


def draw_photograph(browser: Browser, folder: Path) -> None:
    """A picture that hangs on a wall: cut out, adapted to, its hair coloured.  One column, because it is long."""
    wall = Image.new("RGB", (1000, 720), (205, 213, 208))
    ImageDraw.Draw(wall).rectangle((388, 78, 932, 622), fill=(96, 62, 40))
    wall.paste(Image.fromarray(Faces((512, 512)).images(np.array([FACE]))[0].transpose(1, 2, 0)), (404, 94))
    wall.save(folder / "wall.png")
    name = "pretrained:faces"
    server = serve([Scene(Run.open(name), name)], folder)
    page = opened(browser, server.local_url)
    page.get_by_role("tab", name="Photograph", exact=True).first.click()
    page.locator(".drop input[type=file]").first.set_input_files(folder / "wall.png")
    said(page, "How near")
    press(page, "Find the best crop", "best crop")
    save(page, "photograph.png")
    press(page, "Adapt the model to this photograph", "Adapting")
    page.get_by_role("tab", name="Sliders").first.click()
    slide(page, 29, 1.5)
    page.wait_for_function("document.querySelector('.stage figcaption').innerText.includes('1 slider set')")
    page.get_by_role("tab", name="Photograph", exact=True).first.click()
    page.get_by_role("button", name="Put the edit onto the photograph").first.click()
    page.locator("img[alt='The photograph with the edit']").first.scroll_into_view_if_needed()
    save(page, "photograph-edit.png")
    server.close()


def press(page: Page, button: str, first: str) -> None:
    """Press a button of the tab for photographs, and wait until its work has begun and ended."""
    page.get_by_role("button", name=button).first.click()
    said(page, first)
    said(page, "How near")


def said(page: Page, words: str) -> None:
    """Wait until this is said of the photograph."""
    page.wait_for_function("words => document.querySelector('.says')?.innerText.includes(words)", arg=words)


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
