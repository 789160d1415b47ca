"""The page of a comparison: everything is there, and nothing that a name holds becomes more than text."""

import dataclasses
import math

import pytest
import torch

from ignite_vision.report.compare_page import (
    ClassRow,
    Duel,
    Exhibit,
    Row,
    Shot,
    Statement,
    colour,
    points,
    render,
    shot,
)
from ignite_vision.training.history import EpochRow
from tests.report.test_page import HOSTILE, Page

EPOCHS = [
    EpochRow(k, 10 * k, 1.0, 0.5, math.nan if k == 2 else 1 / k, 0.5 + 0.1 * k, 0.1, best=k == 3, stopped=False)
    for k in (1, 2, 3)
]


def exhibit(name="b", **more):
    """Two runs, of which the second is called `name`, as are its classes and images."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (3, 80, 120), dtype=torch.uint8, generator=generator)
    shots = [shot(picture, f"{name}/1.jpg", name, "cat", name), Shot("gone.jpg", "cat", "cat", name)]
    classes = [ClassRow(name, 30, 0.5, 0.9, 0.01), ClassRow("cat", 12, 1.0, 1.0, 1.0)]
    found = Exhibit(
        title=f"a against {name}",
        n=42,
        statements=[
            Statement("a", name, f"{name} is better: by far", "better", -0.1, (-0.15, -0.05)),
            Statement("a", "c", "no difference", "unknown", 0.01, (-0.05, 0.06)),
        ],
        rows=[Row("a", 0.9, (0.8, 0.95), 0, EPOCHS), Row(name, 0.8, (0.7, 0.9), 1, EPOCHS[:1])],
        settings={"lr": ["0.1", name]},
        duels=[Duel("a", name, classes, shots[:1], shots[1:], (30, 1), 0.05)],
        note="1 of the images is gone.",
    )
    return dataclasses.replace(found, **more)


def test_every_section_is_there_and_every_link_has_its_place():
    page = Page(render(exhibit()))
    assert [tag["id"] for tag in page.all("section")] == ["verdict", "runs", "settings", "curves", "duel1"]
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"] for attrs in page.all("a")} <= {f"#{name}" for name in ids}
    assert page.open == []
    text = " ".join(" ".join(page.words).split())
    for part in ("+10.0 points", "b is better: by far.", "a better", "b better"):
        assert part in text
    assert "One class is better or worse by more than noise, of 2." in text
    assert "30 images, of which these are the first." in text
    assert "not at hand" in text and "1 of the images is gone." in text


def test_nothing_is_asked_for_and_no_attribute_is_a_script():
    html = render(exhibit())
    assert "default-src 'none'; img-src data:;" in html.replace("&#39;", "'")
    for _, attrs in Page(html).tags:
        assert all(value.startswith("data:") for name, value in attrs.items() if name in ("src", "srcset"))
        assert not any(name.startswith("on") for name in attrs)


@pytest.mark.parametrize("name", [*HOSTILE, "undecodable \udcff"])
def test_hostile_names_are_text(name):
    html = render(exhibit(name))
    page = Page(html)
    assert len(page.all("script")) == 1
    assert not [attrs for attrs in page.all("img") if attrs.get("src") == "x"]
    assert "\x1b" not in html and "\u202e" not in html
    html.encode()


def test_curves_lie_over_each_other_and_what_is_no_number_is_left_out():
    page = Page(render(exhibit()))
    lines = [attrs for attrs in page.all("polyline") if "points" in attrs]
    assert [attrs["class"] for attrs in lines] == ["line0", "line1"] * 2
    assert [len(attrs["points"].split()) for attrs in lines] == [3, 1, 2, 1]
    assert lines[0]["points"].split()[0].split(",")[0] == lines[1]["points"].split(",")[0]


def test_runs_without_history_settings_or_images_can_be_shown():
    rows = [dataclasses.replace(row, history=[]) for row in exhibit().rows]
    duel = Duel("a", "b", [], [], [], (0, 0), 0.05)
    page = Page(render(exhibit(rows=rows, settings={}, duels=[duel])))
    text = " ".join(" ".join(page.words).split())
    assert "curves" not in [tag["id"] for tag in page.all("section")]
    assert "No setting differs." in text and "No class is better or worse" in text and text.count("None.") == 2


def test_points_have_a_sign_and_settings_a_colour():
    assert [points(value) for value in (0.0251, -0.02, 0.0004, -0.0)] == ["+2.5", "\u22122.0", "0.0", "0.0"]
    assert [colour(k) for k in (0, 4, 5)] == ["line0", "line4", "linex"]


@pytest.mark.slow
def test_in_a_browser_it_asks_nothing_fits_a_phone_and_sorts_by_keyboard(browser, tmp_path):
    (tmp_path / "page.html").write_text(render(exhibit(HOSTILE[0])))
    asked, problems = [], []
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    for event in ("pageerror", "console", "dialog"):
        page.on(event, lambda found: problems.append(str(found)))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    button = page.locator("#duel1 th button", has_text="Class")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#duel1 tbody th").all_inner_texts() == [HOSTILE[0], "cat"]
    page.keyboard.press("Enter")
    assert page.locator("#duel1 tbody th").first.inner_text() == "cat"
    page.close()
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "page.html").as_uri()]
    assert problems == []
