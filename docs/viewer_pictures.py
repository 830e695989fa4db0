"""The pictures of docs/viewer.md: rendered films in the viewer, as a browser shows them.

Run: python docs/viewer_pictures.py [docs/images]    (needs Debian's chromium)
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CLI = [sys.executable, "-m", "crossray.app.cli"]
LOOK = ["--look", "pacs", "--size", "768"]
KNEE = ["--limb", "knee", "--projection", "knee:ap", "--projection", "knee:lateral", "--seed", "5"]
ANKLE = ["--limb", "ankle", "--primary", "0", "--primary", "45", "--primary", "90", "--seed", "3"]


def at(page: Page, row: float, column: float) -> tuple[float, float]:
    """A place of the first film in the window."""
    place = """([row, column]) => {
        const film = crossray.state.films[0], box = film.over.getBoundingClientRect();
        const [x, y] = film.toScreen(row, column);
        return [box.left + x, box.top + y];
    }"""
    x, y = page.evaluate(place, [row, column])
    return x, y


def until(page: Page, what: str) -> None:
    """Wait for an expression of the page; its policy allows no other way."""
    while not page.evaluate(what):
        page.wait_for_timeout(100)
    page.wait_for_timeout(400)


def study(page: Page, name: str) -> None:
    """Choose a study and wait for its bands."""
    names = page.locator("#studies option").all_inner_texts()
    page.select_option("#studies", index=[each.split()[0] for each in names].index(name))
    until(page, f"crossray.state.layer && crossray.state.study.name === '{name}'")


def pictures(page: Page, out: Path) -> None:
    """Looking, the truth beside, labelling."""
    study(page, "ankle")
    page.mouse.click(*at(page, 250, 390))
    page.mouse.move(*at(page, 520, 400))
    keep(page, out / "viewer.png")
    study(page, "knee")
    page.select_option("#against", "truth")
    until(page, "crossray.state.against")
    page.mouse.move(*at(page, 420, 330))
    keep(page, out / "viewer-truth.png")
    page.select_option("#against", "")
    page.keyboard.press("l")
    page.fill("#reader", "Anna")
    until(page, "crossray.state.label.said && !crossray.state.against")
    for count, place in enumerate(((300, 380), (470, 420)), 1):
        page.mouse.click(*at(page, *place))
        page.keyboard.press("s")
        page.locator("#labels li").nth(count - 1).wait_for()
    page.mouse.click(*at(page, 560, 360))
    keep(page, out / "viewer-label.png")


def keep(page: Page, path: Path) -> None:
    """A screenshot in 256 colours."""
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    image = Image.open(path).convert("RGB").resize((1000, 576), Image.Resampling.LANCZOS)
    image.quantize(256, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


def main() -> None:
    """Render, serve, look."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    with tempfile.TemporaryDirectory() as folder:
        for name, words in (("knee", KNEE), ("ankle", ANKLE)):
            subprocess.run([*CLI, "render", *words, *LOOK, "--out", f"{folder}/{name}"], check=True)
        command = [*CLI, "view", folder, "--port", "0", "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = (server.stdout.readline() if server.stdout else "").split("Open ")[1].strip()
            time.sleep(3)
            with sync_playwright() as browsers:
                chromium = browsers.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox"]
                )
                page = chromium.new_page(viewport={"width": 1180, "height": 680})
                page.goto(url)
                page.locator("#status").filter(has_text="For research").wait_for(timeout=90_000)
                pictures(page, out)
                chromium.close()
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
