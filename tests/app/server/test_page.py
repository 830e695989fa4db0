"""The page as a person uses it, in a real browser."""

import base64
import time

import numpy as np
import pytest


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


def test_the_study_chosen_last_is_the_one_shown_and_each_film_listens_once(three, noise, slowed):
    first, two = (study.id for study in noise.session.studies())
    page = three.page
    page.keyboard.press("l")
    three.click(2, 60, 40)
    page.evaluate(slowed, [f"studies/{first}", None])
    choose = """ids => { for (const id of ids) {
      const list = document.getElementById("studies");
      list.value = id;
      list.dispatchEvent(new Event("change"));
    } }"""
    page.evaluate(choose, [two, first, two, first, two])
    time.sleep(2.5)
    assert page.evaluate("[crossray.state.study.name, crossray.state.films.length]") == ["two", 2]
    assert page.evaluate("document.getElementById('studies').value") == two
    page.keyboard.press("l")
    for count, row in enumerate((30, 60, 90), 1):
        three.click(1, row, 40)
        assert page.evaluate("crossray.state.pins.length") == count


def test_lifting_one_finger_of_a_pinch_breaks_nothing(chromium, visit, noise):
    page = visit(chromium, str(noise.base_url), has_touch=True).ready()
    hand = page.context.new_cdp_session(page.page)
    one, two = page.at(0, 30, 30), page.at(0, 90, 60)

    def touch(kind, places):
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in places.items()]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", {0: one})
    touch("touchStart", {0: one, 1: two})
    touch("touchMove", {0: one, 1: (two[0] + 20, two[1] + 20)})
    touch("touchEnd", {0: one})
    touch("touchMove", {1: two})
    touch("touchEnd", {})
    assert page.page.evaluate("crossray.state.films[0].zoom") > 1
    page.close()
    assert not page.wrong


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


def test_dicom_films_are_dropped_in(chromium, visit, tmp_path, weights, running, dicom):
    content = dicom()
    with running(tmp_path, [weights]) as client:
        page = visit(chromium, str(client.base_url))
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


def test_uploaded_studies_are_removed(chromium, visit, tmp_path, weights, running, png):
    with running(tmp_path, [weights]) as client:
        page = visit(chromium, str(client.base_url))
        shown = "name => crossray.state.study?.name === name && crossray.state.layer"
        for number in range(2):
            files = [
                (f"limb{number}-{view}.png", png(number + len(view))) for view in ("ap", "lat")
            ]
            drop(page, files)
            page.page.wait_for_function(shown, arg=f"limb{number}")
        page.page.dblclick("#remove")
        page.page.wait_for_function(shown, arg="limb0")
        assert [study.name for study in client.session.studies()] == ["limb0"]
        page.page.keyboard.press("Delete")
        page.page.locator("#empty").wait_for()
        assert client.session.studies() == []
        page.close()
        assert not page.wrong


def test_a_phone(chromium, visit, server):
    page = visit(chromium, str(server.base_url), (390, 844), has_touch=True, is_mobile=True).ready()
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
