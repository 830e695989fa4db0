"""The page as a person uses it, in a real browser."""

import base64
import time

import numpy as np
import pytest

from crossray.data.annotations import read_labels

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")


@pytest.fixture(scope="session")
def chromium(browser_path):
    """A headless chromium."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def rendering(tmp_path_factory):
    """Two radiographs of a phantom knee with their truth, as `crossray render` writes them."""
    from crossray.app.commands.render import Geometry, render
    from crossray.volumes.phantom import phantom

    folder = tmp_path_factory.mktemp("rendering") / "knee"
    render(phantom("knee", 0, 3.0), Geometry(size=256), 0, folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, rendering, running):
    """The bundled weights, asked about the rendering."""
    from crossray.app.server.folders import studies_in

    with running(tmp_path_factory.mktemp("labels"), ["small"], studies_in([rendering])) as client:
        yield client


class Page:
    """The page with what a person does to it; whatever goes wrong in it is kept."""

    def __init__(self, browser, url, size=(1280, 800), **options):
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, **options
        )
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "console", lambda line: self.wrong.append(line.text) if line.type == "error" else None
        )
        self.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "blob:", "data:"))
                else self.wrong.append(request.url)
            ),
        )
        self.page.goto(url)

    def ready(self):
        self.page.locator("#status").filter(has_text="For research").wait_for()
        return self

    def at(self, view, row, column):
        """Where a place of a film lies in the window."""
        return self.page.evaluate(
            """([view, row, column]) => {
                 const film = crossray.state.films[view], box = film.over.getBoundingClientRect();
                 const [x, y] = film.toScreen(row, column);
                 return [box.left + x, box.top + y];
               }""",
            [view, row, column],
        )

    def point(self, view, row, column):
        self.page.mouse.move(*self.at(view, row, column))

    def click(self, view, row, column):
        self.page.mouse.click(*self.at(view, row, column))

    def says(self, view):
        return self.page.locator(".says").nth(view).inner_text()

    def canvas(self, view, kind):
        """A film's canvas as numbers (row, column, rgba), at a pixel a CSS pixel."""
        box = self.page.evaluate(
            """([view, kind]) => {
                 const canvas = crossray.state.films[view][kind], { width, height } = canvas;
                 const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                 return [height, width, btoa(Array.from(data, byte => String.fromCharCode(byte)).join(""))];
               }""",
            [view, kind],
        )
        return np.frombuffer(base64.b64decode(box[2]), np.uint8).reshape(box[0], box[1], 4)

    def close(self):
        self.context.close()


@pytest.fixture
def page(chromium, server):
    """The page on the rendering, watched for errors and for requests to anyone else."""
    opened = Page(chromium, str(server.base_url)).ready()
    yield opened
    opened.close()
    assert not opened.wrong


def middles(answer, view):
    boxes = answer.matches.patch_box[view]
    return (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5


def truth_of(server):
    session = server.session
    study = session.get(session.studies()[0].id)
    return session.answer(study, "truth")


def test_hover_lights_the_true_band_and_nothing_else(page, server):
    page.page.select_option("#layer", "truth")
    answer = truth_of(server)
    matrix = answer.matches.correspondence[0, 1]
    patch = int((matrix > 0.2).sum(1).argmax())
    page.point(0, *middles(answer, 0)[patch].tolist())
    time.sleep(0.2)
    ink = page.canvas(1, "over")
    lit, dark = [], []
    for other, (row, column) in enumerate(middles(answer, 1).tolist()):
        x, y = page.page.evaluate(
            "([r, c]) => crossray.state.films[1].toScreen(r, c)", [row, column]
        )
        (lit if matrix[patch, other] > 0.5 else dark if matrix[patch, other] == 0 else []).append(
            int(ink[int(y), int(x), 3])
        )
    assert len(lit) > 5
    assert np.median(lit) > 60
    assert np.median(dark) == 0
    assert "true region" in page.says(1)


def test_bands_are_those_of_the_api(page, server):
    answer = server.session.answer(server.session.get(server.session.studies()[0].id), None)
    for row, column in ((128, 128), (60, 120), (200, 140)):
        page.point(0, row, column)
        band = page.page.evaluate(
            "([row, column]) => { const { layer, coverage } = crossray.state;"
            " return layer.band(0, layer.patchAt(0, row, column), 1, coverage); }",
            [row, column],
        )
        (asked,) = answer.bands(0, (row, column), 0.9)
        assert band["found"] == asked.found
        assert band["probability"] == pytest.approx(asked.probability, abs=1e-3)
        assert len(band["region"]) == pytest.approx(len(asked.region), abs=1)


def test_hovering_takes_less_than_a_frame_or_two(page):
    for step in range(60):
        page.point(step % 2, 40 + 3 * step, 100 + step)
    times = page.page.evaluate("crossray.state.hover.slice(10)")
    assert len(times) >= 40
    assert np.median(times) < 30


def test_an_abstention_is_said(page):
    page.point(0, 3, 3)
    assert page.says(1) == "no confident match"
    assert page.canvas(1, "over")[:600, :, 3].max() == 0


def test_window_invert_rotate_and_zoom_change_what_is_seen(page):
    seen = [page.canvas(0, "image").astype(int)]

    def changed():
        time.sleep(0.15)
        seen.append(page.canvas(0, "image").astype(int))
        return np.abs(seen[-1][..., :3] - seen[-2][..., :3]).mean()

    x, y = page.at(0, 128, 128)
    page.page.mouse.move(x, y)
    page.page.mouse.down(button="right")
    page.page.mouse.move(x + 60, y + 30, steps=3)
    page.page.mouse.up(button="right")
    assert changed() > 2
    assert "W 1" in page.page.locator(".corner").first.inner_text()
    page.page.keyboard.press("i")
    assert changed() > 20
    page.page.keyboard.press("r")
    assert changed() > 2
    page.page.mouse.wheel(0, -400)
    assert changed() > 2
    page.page.keyboard.press("0")
    changed()
    assert np.abs(seen[-1] - seen[0]).max() == 0


def test_a_turned_film_is_still_pointed_at_rightly(page):
    for key in ("r", "h", "r"):
        page.page.keyboard.press(key)
    page.page.mouse.wheel(0, -200)
    page.point(0, 70, 150)
    row, column = page.page.evaluate("crossray.state.cursor.at")
    assert (row, column) == (pytest.approx(70, abs=1.5), pytest.approx(150, abs=1.5))


def test_the_keyboard_does_it_all(page):
    keyboard = page.page.keyboard
    keyboard.press("2")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    assert page.page.evaluate("crossray.state.pins.map(pin => pin.view)") == [1]
    for key, value in (("c", 0.95), ("c", 0.5)):
        keyboard.press(key)
        assert page.page.evaluate("crossray.state.coverage") == value
    keyboard.press("w")
    page.page.locator("#layer").filter(has_text="truth").wait_for()
    keyboard.press("Escape")
    assert page.page.evaluate("[crossray.state.pins.length, crossray.state.cursor]") == [0, None]
    keyboard.press("?")
    assert page.page.locator("#dialog").is_visible()
    keyboard.press("Escape")
    assert not page.page.locator("#dialog").is_visible()


def test_annotate_and_export(page, server, tmp_path):
    """A place accepted, one corrected by hand, one brushed as not here, one hidden; one taken back; exported."""
    keyboard = page.page.keyboard
    keyboard.press("l")
    page.page.fill("#reader", "Anna")
    page.click(0, 130, 128)
    keyboard.press("s")
    page.page.locator("#labels li").nth(0).wait_for()
    page.click(0, 60, 128)
    page.click(1, 62, 120)
    page.page.fill("#landmark", "shaft")
    page.page.click("[data-verdict=same]")
    page.page.locator("#labels li").nth(1).wait_for()
    page.click(0, 200, 128)
    keyboard.press("b")
    page.page.mouse.move(*page.at(1, 30, 60))
    page.page.mouse.down()
    page.page.mouse.move(*page.at(1, 30, 110), steps=8)
    page.page.mouse.up()
    keyboard.press("n")
    page.page.locator("#labels li").nth(2).wait_for()
    for count, key in ((4, "v"), (5, "v")):
        page.click(0, 220, 100 + 5 * count)
        keyboard.press(key)
        page.page.locator("#labels li").nth(count - 1).wait_for()
    keyboard.press("z")
    page.page.locator("#labels li").nth(4).wait_for(state="detached")
    with page.page.expect_download() as download:
        page.page.click("#export")
    path = tmp_path / "labels.json"
    download.value.save_as(path)
    (study,) = read_labels(path, check_films=False).studies
    made = [label for label in study.labels if "drawn" not in label.remarks]
    assert [label.verdict for label in made] == ["same", "same", "different", "hidden"]
    assert made[0].remarks == ("proposal accepted",)
    assert made[1].name == "shaft"
    assert made[1].places["view-1"].point == (pytest.approx(62, abs=1), pytest.approx(120, abs=1))
    assert 3 <= len(made[2].places["view-1"].boxes) <= 6
    keyboard.press("x")
    page.page.locator("#task").filter(has_text="proposal").wait_for()


def drop(page, files):
    """Files let go over the page, as a file manager does."""
    page.page.evaluate(
        """files => {
             const dataTransfer = new DataTransfer();
             for (const [name, content] of files) {
               const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
               dataTransfer.items.add(new File([bytes], name));
             }
             dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
           }""",
        [[name, base64.b64encode(content).decode()] for name, content in files],
    )


def test_dicom_films_are_dropped_in(chromium, tmp_path, weights, running, dicom):
    content = dicom()
    with running(tmp_path, [weights]) as client:
        page = Page(chromium, str(client.base_url))
        page.page.locator("#empty").wait_for()
        drop(page, [("a.dcm", content), ("b.dcm", content)])
        page.ready()
        assert page.page.locator("figure").count() == 2
        caption = page.page.locator("figcaption").first.inner_text().split()
        assert {"a", "AP", "L"} <= set(caption)
        facts = page.page.evaluate("crossray.state.films[0].facts")
        assert (facts["pixel_mm"], facts["pixel_mm_kind"]) == ([0.2, 0.2], "detector")
        assert page.canvas(0, "over")[-40:, :150, 3].max() > 0  # the scale bar
        drop(page, [("evil.png", b"<svg></svg>"), ("b.dcm", content)])
        page.page.locator("#status.wrong").filter(has_text="evil.png is not an image").wait_for()
        page.close()
        assert all("400" in line for line in page.wrong)  # the browser's own note of the refusal


def test_a_phone(chromium, server):
    page = Page(chromium, str(server.base_url), (390, 844), has_touch=True, is_mobile=True).ready()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    for number in range(2):
        box = page.page.locator(".film").nth(number).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] > 200
    page.page.touchscreen.tap(*page.at(0, 128, 128))
    assert page.page.evaluate("crossray.state.pins.length") == 1
    page.page.tap("#label")
    assert page.page.locator("#panel").is_visible()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert not page.wrong


def test_it_is_accessible(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for keys in ("", "l", "?"):
        for key in keys:
            page.page.keyboard.press(key)
        time.sleep(0.3)
        found = axe.Axe().run(page.page)
        assert found.violations_count == 0, found.generate_report()
