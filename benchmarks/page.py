"""How fast the web page is: until a run is seen, until another tab is, and from a slider's move to the new picture.

    python benchmarks/page.py --runs 5

Needs Playwright and a Chromium.  Runs are copies of a shipped one, so that each has its own networks.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from common import command, header
from playwright.sync_api import Page, sync_playwright

from wherewhat.app.scene import Scene
from wherewhat.app.server import serve
from wherewhat.run.folder import Run
from wherewhat.run.shipped import SHIPPED

MOVES = 40
# JavaScript: milliseconds from a slider's move until the browser draws another picture
MOVE = """value => new Promise(done => {
    const seen = selector => [...document.querySelectorAll(selector)].find(e => e.offsetParent);
    const slider = seen('.card .value'), picture = () => seen('.stage img').src, before = picture();
    const start = performance.now();
    const wait = () => picture() == before ? setTimeout(wait, 2)
        : requestAnimationFrame(() => done(performance.now() - start));
    slider.value = value;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    wait(); })"""
SHOWN = "() => [...document.querySelectorAll('.strip img[src]')].some(e => e.offsetParent)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="faces", help="a shipped run")
    parser.add_argument("--runs", type=int, default=1, help="how many copies of it")
    args = parser.parse_args()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(header(command(), packages=("gradio",)))
        start = time.perf_counter()
        copies = [shutil.copytree(SHIPPED / args.run, Path(folder) / f"{args.run}-{k}") for k in range(args.runs)]
        server = serve([Scene(Run.open(copy), copy.name) for copy in copies], Path(folder))
        print(f"- the server answers after {time.perf_counter() - start:.1f} s")
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        print(f"- the first run is seen after {seconds(page, lambda: page.goto(server.local_url)):.1f} s")
        for copy in copies[1:]:
            tab = page.get_by_role("tab", name=copy.name)
            print(f"- the tab of {copy.name} is filled after {seconds(page, tab.click):.1f} s")
        page.wait_for_timeout(10_000 * args.runs)  # masks are drawn after all else
        took = sorted(page.evaluate(MOVE, -2 + 4 * k / MOVES) for k in range(MOVES))
        least, middle, most = took[0], statistics.median(took), took[round(0.9 * MOVES)]
        print(f"- a slider's picture: {least:.0f} / {middle:.0f} / {most:.0f} ms (least, median, 90th percentile)")
        browser.close()
        server.close()


def seconds(page: Page, act: Callable[[], object]) -> float:
    """Seconds until thumbnails of the run that is opened are seen."""
    start = time.perf_counter()
    act()
    page.wait_for_function(SHOWN)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
