"""Labelling in the page as a reader does it, in a real browser."""

import time

import pytest

from crossray.data.annotations import read_labels


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


def test_labels_by_keys_alone_are_the_readers_own(page, server):
    keyboard = page.page.keyboard
    keyboard.press("l")
    page.page.fill("#reader", "Kay")
    page.page.locator("#reader").blur()
    keyboard.press("1")
    keyboard.press("Enter")
    assert "region" in page.says(1)  # so there is a proposal
    for key in ("2", "ArrowDown", "ArrowRight", "Enter"):
        keyboard.press(key)
    row, column = page.page.evaluate("crossray.state.cursor.at")
    page.page.locator("#task").filter(has_text="S keeps it").wait_for()
    keyboard.press("s")
    page.page.locator("#labels li").wait_for()
    (label,) = page.made("Kay")
    assert label["places"]["view-1"]["point"] == [
        pytest.approx(row, abs=0.06),
        pytest.approx(column, abs=0.06),
    ]
    assert "remarks" not in label or label["remarks"] == []


def test_a_key_that_is_held_or_hit_twice_says_it_once(page, slowed):
    keyboard = page.page.keyboard
    page.page.evaluate(slowed, ["labels", None])
    keyboard.press("l")
    page.page.fill("#reader", "Rae")
    page.click(0, 130, 128)
    for key in ("s", "s", "s"):  # down without up is a key held
        keyboard.down(key)
    keyboard.up("s")
    keyboard.press("s")
    page.page.click("[data-verdict=same]", click_count=2)
    page.page.locator("#labels li").wait_for()
    time.sleep(0.5)
    assert len(page.made("Rae")) == 1
    page.click(0, 60, 128)
    page.click(1, 62, 120)
    keyboard.press("s")
    page.page.locator("#labels li").nth(1).wait_for()
    for _ in range(2):
        keyboard.down("z")
    keyboard.up("z")
    time.sleep(0.5)
    assert len(page.made("Rae")) == 1


def test_what_is_refused_comes_back(page, slowed):
    keyboard = page.page.keyboard
    keyboard.press("l")
    page.page.fill("#reader", "Rex")
    page.page.locator("#saved").filter(has_text="kept in").wait_for()
    page.page.evaluate(slowed, ["labels", {"status": 400, "body": {"detail": "The disk is full."}}])
    page.click(0, 60, 128)
    page.click(1, 62, 120)
    keyboard.press("s")
    page.page.locator("#status.wrong").filter(has_text="The disk is full.").wait_for()
    assert "S keeps it" in page.page.locator("#task").inner_text()
    assert page.page.evaluate("[...crossray.state.label.places.keys()]") == [1]


def test_blind_shows_nothing_of_the_matcher_and_is_remarked(page):
    keyboard = page.page.keyboard
    page.point(0, 130, 128)
    assert "likeliest" in page.page.locator("#status").inner_text()
    keyboard.press("l")
    page.page.fill("#reader", "Bo")
    page.page.locator("#reader").blur()
    keyboard.press("p")
    page.click(0, 131, 128)
    status = page.page.locator("#status").inner_text()
    assert "row 131" in status
    assert "%" not in status
    keyboard.press("v")
    page.page.locator("#labels li").wait_for()
    assert page.made("Bo")[0]["remarks"] == ["blind"]


def test_a_running_fine_tuning_writes_into_its_own_dialog_only(page, slowed):
    running = {"state": "running", "out": "crossray-finetuned-1", "printed": "step 1"}
    page.page.evaluate(slowed, ["finetune", {"status": 200, "body": running}])
    page.page.keyboard.press("l")
    page.page.click("#tune")
    page.page.locator("#dialog").filter(has_text="step 1").wait_for()
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("?")
    time.sleep(2.2)
    assert page.page.locator("#dialog-title").inner_text() == "Keys and hands"
    assert "step 1" not in page.page.locator("#dialog").inner_text()


def test_of_several_films_the_one_meant_is_named(three):
    page, task = three.page, three.page.locator("#task")
    page.keyboard.press("l")
    page.fill("#reader", "Anna")
    three.click(0, 60, 40)
    assert "Point at the film that does not show it" in task.inner_text()
    page.keyboard.press("v")
    assert "Point at the film" in task.inner_text()
    three.point(2, 60, 40)
    assert "V: not visible in c" in task.inner_text()
    page.mouse.move(2, 2)
    assert "Point at the film that does not show it" in task.inner_text()
    three.point(2, 60, 40)
    page.keyboard.press("v")
    page.locator("#labels li").wait_for()
    three.click(0, 90, 40)
    three.click(1, 30, 40)
    three.click(2, 30, 40)
    page.keyboard.press("n")
    page.locator("#labels li").nth(2).wait_for()
    hidden, *different = three.made("Anna")
    assert (hidden["verdict"], hidden["hidden"]) == ("hidden", ["c"])
    assert [label["verdict"] for label in different] == ["different"] * 2
    assert [set(label["places"]) for label in different] == [{"a", "b"}, {"a", "c"}]
