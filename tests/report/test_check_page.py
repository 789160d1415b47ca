"""The page: everything inside, nothing loaded, and names are text."""

import re
from html.parser import HTMLParser

import pytest

from ignite_vision.health.duplicates import duplicate_findings, find_pairs
from ignite_vision.health.faults import faults
from ignite_vision.report.check_page import SHOWN, render
from tests.helpers.pictures import picture, save, write_pictures
from tests.helpers.scans import scanned

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 3 classes with 10 different pictures each."""
    return write_pictures(tmp_path / "photos")


@pytest.fixture
def page():
    """Return a function: a folder -> the page on it."""

    def make(folder):
        images, records = scanned(folder)
        pairs = find_pairs(records)
        findings = [*faults(images, records), *duplicate_findings(images, pairs)]
        found = {
            **{"format": 1, "root": str(folder), "images": len(images), "classes": dict.fromkeys(images.classes, 1)},
            "findings": [finding.to_dict() for finding in findings],
        }
        return render(found, images, pairs)

    return make


class Tags(HTMLParser):
    """Collects tags with their attributes, and what is open."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_pairs_and_images_are_shown_and_the_page_is_well_formed(photos, page):
    save(photos, "a/blank.png", picture(1).point(lambda value: value // 99))
    (photos / "a" / "copy.jpg").write_bytes((photos / "a" / "00.jpg").read_bytes())
    html = page(photos)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    images = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    assert len(images) >= 3
    assert all(source.startswith("data:image/webp;base64,") for source in images)
    assert "the same file" in html
    assert not {tag for tag, _ in tags.found} & {"script", "link", "iframe"}
    assert "http" not in re.sub(r"base64,[^\"]*", "", html).replace("http-equiv", "")


def test_names_of_classes_and_files_are_text(photos, page):
    (photos / "a").rename(photos / EVIL)
    (photos / EVIL / "00.jpg").write_bytes(b"")
    save(photos, f"{EVIL}/{EVIL[:-1]}.png", picture(1, (20, 20)))
    html = page(photos)
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror" in html


def test_an_image_that_cannot_be_read_has_no_thumbnail(photos, page):
    (photos / "a" / "00.jpg").write_bytes(b"")
    assert "cannot be shown" in page(photos)


def test_without_findings_the_page_says_so(photos, page):
    assert "Nothing was found" in page(photos)


def test_of_many_pairs_the_first_are_shown(photos, page):
    for k in range(8):
        save(photos, f"b/again{k}.jpg", picture(3), quality=50 + k)
    assert page(photos).count("of 256 bits differ") <= 2 * SHOWN


def test_undecodable_names_do_not_break_the_page(photos, page):
    bad = photos.joinpath("a", b"\xff\xfe.jpg".decode("utf-8", "surrogateescape"))
    bad.write_bytes(b"")
    assert "?" in page(photos)
