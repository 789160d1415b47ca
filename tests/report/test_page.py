"""The page: everything is there, in order, and nothing that a name holds becomes more than text."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest
import torch

from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.health.duplicates import Row
from ignite_vision.report.confusions import MOST_IN_TABLE
from ignite_vision.report.page import render
from tests.helpers.reports import evidence

HOSTILE = ('<img src=x onerror="alert(1)">', "</script><script>alert(2)</script>", "'\"&{{ 7*7 }}\x1b[31m\u202e")
VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether all that opened is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_sections_stand_in_order_and_every_link_has_its_place():
    page = Page(render(evidence()))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    sections = [attrs["id"] for attrs in page.all("section")]
    assert sections == (
        ["verdict", "training", "confidence", "confusion", "classes", "images", "labels", "map-of-images"]
        + ["data", "again"]
    )
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for attrs in page.all("a")} <= {f"#{name}" for name in ids}
    assert page.open == []


def test_the_policy_allows_this_script_and_no_other_and_no_request():
    html = render(evidence())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    script = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert policy.replace("&#39;", "'").startswith("default-src 'none'; img-src data:;")
    for _, attrs in Page(html).tags:
        assert all(value.startswith("data:") for name, value in attrs.items() if name in ("src", "srcset"))
        assert not any(name.startswith("on") for name in attrs)


@pytest.mark.parametrize("more", [0, MOST_IN_TABLE], ids=["table", "picture"])
def test_hostile_names_of_classes_and_files_are_text(more):
    classes = (*HOSTILE, *(f"class {i}" for i in range(more)))
    suspect = Suspect(HOSTILE[0] + ".jpg", "val", 0, classes[0], classes[1], 0.01, 0.9)
    check = {"findings": [{"level": "must", "message": HOSTILE[0], "next_step": HOSTILE[1], "images": [HOSTILE[0]]}]}
    html = render(
        evidence(classes, n=len(classes) * 4, title=HOSTILE[0], suspects=[suspect], check=check, recipe=HOSTILE[1])
    )
    page = Page(html)
    assert not [attrs for attrs in page.all("img") if attrs.get("src") == "x"]
    assert len(page.all("script")) == 1 + bool(more)
    assert "alert(2)" in " ".join(page.words)
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_the_verdict_has_interval_baseline_and_chance():
    found = evidence()
    text = " ".join("".join(Page(render(found)).words).split())
    right = int((found.predictions.labels == found.predictions.targets).sum())
    low, high = found.numbers["intervals"]["accuracy"]
    assert f"{right} of 60 test images" in text
    assert f"between {100 * low:.1f} % and {100 * high:.1f} % (95 % interval). Always saying “ant”" in text
    assert "\\u" not in text


@pytest.mark.parametrize(
    ("temperature", "off", "words"),
    [
        (1.5, 0.2, "it was surer than it should have been"),
        (0.7, 0.2, "it was less sure than it should have been"),
        (1.0, 0.01, "needed hardly any correction"),
        (1.0, 0.2, "off in a way that one number does not mend"),
    ],
)
def test_confidence_is_called_right_only_where_it_is(temperature, off, words):
    found = {"temperature": temperature, "n": 100, "before": {"ece": off}, "after": {"ece": 0.01}}
    found["ece_if_perfect"] = {"mean": 0.02, "p95": 0.05}
    assert words in render(evidence(numbers={**evidence().numbers, "calibration": found}))


def test_an_epoch_that_cross_validation_chose_is_not_called_the_best_on_validation():
    history = [dataclasses.replace(row, recorded={"strength": 1.0, "cv_accuracy": 0.9}) for row in evidence().history]
    assert "the best on the validation images: there" in render(evidence())
    text = render(evidence(history=history))
    assert "the best in cross-validation over the training and validation images: of the validation images" in text
    assert "(which it was fitted to)" in text


def test_a_run_without_heat_maps_says_so_and_without_errors_too():
    found = evidence(heat=None)
    found.predictions.logits[range(60), found.predictions.targets] += 20
    html = render(found)
    assert "no heat maps" in html
    assert 'class="heat"' not in html
    assert "No test image is wrong" in html


def test_numbers_of_an_older_version_are_shown_as_far_as_they_go():
    numbers = {**evidence().numbers}
    for name in ("intervals", "baseline", "calibration", "coverage", "twins"):
        numbers.pop(name, None)
    for row in numbers["per_class"].values():
        row.pop("interval", None)
    assert "test images, which it never saw" in render(evidence(numbers=numbers))


def test_classes_without_test_images_and_two_classes_can_be_shown():
    found = evidence(("ant", "bee"), n=14)
    assert "guessing" not in render(found)
    assert render(evidence(("ant", "bee", "cow"), n=2)).count('<tr><th scope="row">') >= 2


def test_a_model_that_is_never_right_and_says_one_class_alone_can_be_shown():
    found = evidence(classes=("ant", "bee", "cow"), n=20)
    found.predictions.logits[:] = torch.tensor([0.0, 1.0, 0.0])
    found.predictions.targets[:] = torch.arange(20) % 2 * 2
    html = render(evidence(n=20, predictions=found.predictions, numbers=metrics(found.predictions, "test")))
    assert "0 of 20 test images" in html
    assert "Typical of" not in html


def test_it_is_the_same_each_time():
    assert render(evidence()) == render(evidence())


@pytest.mark.slow
class TestInABrowser:
    def test_a_click_on_a_head_sorts_and_another_turns_the_order_round(self, visit):
        page = visit()
        names = "#per-class tbody th"
        page.get_by_role("button", name="Class", exact=True).click()
        ascending = page.locator(names).all_inner_texts()
        page.get_by_role("button", name="Class", exact=True).click()
        assert page.locator(names).all_inner_texts() == ascending[::-1]
        assert page.locator("#per-class th[aria-sort]").get_attribute("aria-sort") == "descending"
        page.get_by_role("button", name="Found").focus()
        page.keyboard.press("Enter")
        values = [float(cell.get_attribute("data-value")) for cell in page.locator("#per-class td:nth-child(3)").all()]
        assert values == sorted(values)

    def test_find_leaves_the_classes_with_these_letters(self, visit):
        page = visit()
        page.get_by_label("Find a class").fill("CLASS 07")
        assert page.locator("#per-class tbody tr:visible").count() == 1
        page.get_by_label("Find a class").fill("")
        assert page.locator("#per-class tbody tr:visible").count() == 40

    def test_the_confusion_is_read_by_pointing_and_a_class_is_chosen_by_keyboard(self, visit):
        page = visit()
        picture = page.locator("#confusion-pixels")
        box = picture.bounding_box()
        picture.hover(position={"x": box["width"] - 2, "y": box["height"] - 2})
        assert " right" in page.locator("#confusion-readout").inner_text()
        page.get_by_label("Class", exact=True).select_option(label="class 05")
        assert page.locator("#focus-table tbody th").first.inner_text() == "class 05"
        picture.click(position={"x": 3, "y": 3})
        chosen = page.locator("#focus option:checked").inner_text()
        assert page.locator("#focus-table tbody th").first.inner_text() == chosen

    def test_pointing_at_the_map_shows_an_image_and_arrow_keys_go_through_the_errors(self, visit):
        page = visit(3)
        tip = page.locator("#tip")
        assert not tip.is_visible()
        page.locator("#map circle").first.dispatch_event("pointerover")
        assert tip.is_visible()
        page.locator("#map").focus()
        page.keyboard.press("ArrowRight")
        first = tip.inner_text()
        assert "taken for" in first
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        assert tip.inner_text() == first
        page.keyboard.press("Escape")
        assert not tip.is_visible()

    def test_one_box_turns_all_heat_maps_off(self, visit):
        page = visit(3)
        heat = page.locator(".heat").first
        heat.scroll_into_view_if_needed()
        assert heat.is_visible()
        page.get_by_label("heat maps").uncheck()
        assert page.locator(".heat:visible").count() == 0

    @pytest.mark.parametrize("classes", [3, 40])
    def test_a_phone_has_nothing_beyond_its_edge(self, visit, classes):
        page = visit(classes, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") == 390

    def test_by_keyboard_the_first_stop_skips_to_the_report_and_all_that_can_be_used_is_reached(self, visit):
        page = visit()
        reached = set()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
        assert {"focus", "find", "heat", "map", "F1"} <= reached

    def test_without_scripts_everything_but_these_is_there(self, browser, files):
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(files[40].as_uri())
        assert page.locator("#per-class tbody tr:visible").count() == 40
        assert page.locator(".only-script:visible").count() == 0
        context.close()


def test_heat_maps_of_tokens_are_called_a_hint():
    assert "its tokens had exchanged" in render(evidence(of_tokens=True))
    assert "its tokens had exchanged" not in render(evidence())


def test_near_identical_images_are_drawn_with_their_splits():
    page = render(evidence(pairs=[Row("test:0", "test:1", 4, True, "train", "test")]))
    assert "1 pair; 1 lies in two splits, where a known picture counts as an unseen one." in page
    assert '<b>train</b> and <b class="bad">test</b>: 4 of 256 bits differ, mirrored; ant and bee' in page
    assert "Near-identical images" not in render(evidence())
