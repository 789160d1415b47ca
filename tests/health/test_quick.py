"""What is found without decoding a pixel."""

import pytest
import torch

from ignite_vision import Splits
from ignite_vision.data.containers import ArrayImages
from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import Finding
from ignite_vision.health.quick import quick, spoken
from tests.helpers.pictures import picture, save, write_pictures


def kinds(images):
    return {finding.kind: finding for finding in quick(images)}


def test_pictures_without_faults_have_no_findings(photos, collected):
    assert kinds(collected(photos)) == {}


def test_equal_files_in_two_classes_must_be_fixed(photos, collected):
    (photos / "b" / "same.jpg").write_bytes((photos / "a" / "00.jpg").read_bytes())
    found = kinds(collected(photos))
    assert list(found) == ["equal_files"]
    assert (found["equal_files"].level, found["equal_files"].n) == ("must", 1)
    assert "1 in two classes: one label of the two is wrong" in found["equal_files"].message
    assert found["equal_files"].images == ("a/00.jpg", "b/same.jpg")


def test_equal_files_in_two_splits_are_said_to_be(tmp_path, collected):
    photos = write_pictures(tmp_path)
    test = collected(photos).splits.test.sample_id(0)
    (photos / test[0] / "zz.jpg").write_bytes((photos / test).read_bytes())
    images = collected(photos)
    found = kinds(images)["equal_files"]
    assert found.level == "look"
    across = images.split(0) and {images.split(k) for k in range(len(images)) if images.name(k) in found.images}
    assert ("in two splits" in found.message) == (len(across) == 2)


def test_headers_are_read_but_no_pixels(photos, collected):
    save(photos, "a/tiny.png", picture(1, (20, 20)))
    save(photos, "a/long.png", picture(1, (500, 90)))
    save(photos, "b/wrong.jpg", picture(2), format="PNG")
    cut = (photos / "c" / "00.jpg").read_bytes()
    (photos / "c" / "00.jpg").write_bytes(cut[: len(cut) // 2])
    (photos / "c" / "01.jpg").write_bytes(b"")
    found = kinds(collected(photos))
    assert {kind: finding.images for kind, finding in found.items()} == {
        "tiny": ("a/tiny.png",),
        "aspect": ("a/long.png",),
        "extension": ("b/wrong.jpg",),
    }


def test_images_in_memory_are_counted_alone():
    blank = torch.zeros((30, 1, 8, 8), dtype=torch.uint8)
    images = Collection(Splits(ArrayImages(blank, [0] * 25 + [1] * 5), classes=("a", "b")))
    assert list(kinds(images)) == ["small_class"]


@pytest.mark.parametrize(("n", "lines"), [(0, 0), (1, 1), (5, 5), (6, 5), (12, 5)])
def test_at_most_five_lines_are_said(n, lines):
    found = [Finding(str(k), "look", 1, f"fault {k}", "Mend it.") for k in range(n)]
    said = list(spoken(found, "ignite-vision check photos"))
    assert len(said) == lines
    assert said[:1] == ["warning: fault 0. Mend it."][:n]
    assert ("more findings about the images: ignite-vision check photos" in (said or [""])[-1]) == (n > 5)
