"""The page: strict and self-contained by its text, and alive in a real browser."""

import base64
import hashlib
import io
import json
import re

import pytest
import torch
from PIL import Image

from crossray.matching.matches import Matches
from crossray.matching.page import LONGEST_SIDE, page
from crossray.matching.preprocess import fit_film


def band_matches(limb, names=("AP", "LAT <b>&", "OBL")):
    """Three films whose bands lie at the level pointed at."""
    films = (limb(400, 200), limb(300, 300), limb(1200, 500))[: len(names)]
    fields = tuple(fit_film(film, (256, 256))[1] for film in films)
    level = torch.arange(256) // 16
    block = torch.exp(-((level[:, None] - level[None, :]).float() ** 2) / 2)
    matrix = (block * 0.9).expand(len(names), len(names), 256, 256).clone()
    return Matches(matrix, (16, 16), fields, films, tuple(names), "small", 0.1)


def content_of(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


def test_the_page_asks_nothing_of_anyone(limb):
    text = page(band_matches(limb))
    assert "{{" not in text
    written = re.sub(r'id="data">.*?</script>', "", text)
    assert not re.search(
        r"https?:|//[a-z]|@import|\beval\(|\bFunction\(|fetch\(|\bimport\b", written
    )
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'content="(default-src[^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert len(text) < 3_000_000


def test_names_cannot_close_the_script(limb):
    text = page(band_matches(limb, ("</script><b>", "LAT")))
    assert content_of(text)["views"][0]["name"] == "</script><b>"
    assert text.count("</script>") == 2


def test_what_is_embedded(limb):
    matches = band_matches(limb)
    content = content_of(page(matches, truth=matches.correspondence * 0))
    assert sorted(content["layers"]) == ["predicted", "truth"]
    assert len(content["layers"]["predicted"]) == 6
    raw = base64.b64decode(content["layers"]["predicted"]["0-2"])
    block = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(256, 256)
    assert (block / 255 - matches.correspondence[0, 2]).abs().max() <= 0.5 / 255 + 1e-6
    film = Image.open(io.BytesIO(base64.b64decode(content["views"][2]["png"])))
    assert film.size == (LONGEST_SIDE * 500 // 1200, LONGEST_SIDE)
    assert content["views"][2]["size"] == [1200, 500]


@pytest.fixture
def opened(browser, limb, tmp_path):
    """A browser showing three films with a truth that is everywhere half as strong."""
    matches = band_matches(limb)
    (tmp_path / "page.html").write_text(page(matches, truth=matches.correspondence / 2))
    browser.resize((1280, 860))
    browser.open(tmp_path / "page.html")
    browser.mouse("Moved", 1, 1)
    yield browser
    assert browser.console == []


def place(browser, view, x, y):
    """Window coordinates of a place on a film."""
    left, top, width, height = browser.run(
        f"(r => [r.left, r.top, r.width, r.height])(views[{view}].overlay.getBoundingClientRect())"
    )
    return left + x * width, top + y * height


def ink(browser, view):
    """How much is painted over each quarter of a film from top to bottom, at the film's middle."""
    return browser.run(
        f"""(view => [0, 1, 2, 3].map(n => {{
          const {{ width, height }} = view.overlay;
          const d = view.pen.getImageData(width >> 1, n * height >> 2, 4, height >> 2).data;
          return d.reduce((sum, value, i) => i % 4 === 3 ? sum + value : sum, 0);
        }}))(views[{view}])"""
    )


def test_pointing_lights_up_the_others(opened):
    opened.mouse("Moved", *place(opened, 0, 0.5, 0.9))
    for other in (1, 2):
        quarters = ink(opened, other)
        assert quarters[3] > 5 * quarters[0]
        assert quarters[3] > 5 * quarters[1]
    assert "AP, patch row 14" in opened.run("document.getElementById('status').textContent")
    assert opened.run("views[1].says.textContent") == "0.90"
    opened.mouse("Moved", *place(opened, 2, 0.5, 0.1))
    assert ink(opened, 0)[0] > 5 * ink(opened, 0)[3]


def test_clicks_pin_several_colours_and_escape_clears(opened):
    for y in (0.2, 0.5, 0.8):
        opened.click(*place(opened, 0, 0.5, y))
    assert opened.run("new Set(state.pins.map(pin => String(pin.colour))).size") == 3
    assert opened.run("document.querySelectorAll('#pins button').length") == 3
    opened.click(*place(opened, 0, 0.5, 0.5))  # a pin is taken away by a click on it
    assert opened.run("state.pins.length") == 2
    opened.key("Escape")
    assert opened.run("[state.pins.length, state.cursor]") == [0, None]
    assert sum(ink(opened, 1)) == 0


def test_the_pins_names_are_text(opened):
    opened.click(*place(opened, 1, 0.5, 0.5))
    assert opened.run("document.querySelector('#pins button').textContent") == "LAT <b>&"
    assert opened.run("document.querySelectorAll('b').length") == 0


def test_the_keyboard_does_it_all(opened):
    opened.key("Escape")
    opened.run("views[1].overlay.focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        opened.key(key)
    assert opened.run("state.pins.map(pin => [pin.view, pin.patch])") == [[1, 9 * 16 + 8]]
    for _ in range(20):
        opened.key("ArrowUp")
    assert opened.run("state.cursor.patch") == 8


def test_arrows_stay_on_the_film(opened):
    """The first film is half as wide as the field: its columns are 4 to 11."""
    opened.run("views[0].overlay.focus()")
    for _ in range(20):
        opened.key("ArrowLeft")
    assert opened.run("state.cursor.patch % 16") == 4


def test_the_truth_can_be_shown(opened):
    opened.mouse("Moved", *place(opened, 0, 0.5, 0.5))
    opened.run("document.querySelector('[data-layer=truth]').click()")
    assert opened.run("views[1].says.textContent") == "0.45"
    opened.key("t")
    assert opened.run("views[1].says.textContent") == "0.90"


def test_a_finger_looks_around_and_a_tap_pins(opened):
    opened.resize((390, 844), 2.0)
    opened.run("new Promise(done => setTimeout(done, 200))")
    assert opened.run("document.documentElement.scrollWidth") <= 390
    opened.touch("Start", place(opened, 0, 0.5, 0.2))
    opened.touch("Move", place(opened, 0, 0.5, 0.8))
    opened.touch("End")
    assert opened.run("[state.pins.length, Math.floor(state.cursor.patch / 16)]") == [0, 12]
    opened.touch("Start", place(opened, 1, 0.5, 0.5))
    opened.touch("End")
    assert opened.run("state.pins.map(pin => pin.view)") == [1]


def test_all_films_are_in_sight(opened):
    for size in ((1280, 860), (390, 844), (844, 390)):
        opened.resize(size)
        opened.run("new Promise(done => setTimeout(done, 200))")
        for view in range(3):
            right, bottom = place(opened, view, 1, 1)
            assert right <= size[0]
            assert bottom <= max(size[1], 430)
