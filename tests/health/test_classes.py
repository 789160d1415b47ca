"""Numbers and names of classes."""

import unicodedata

import torch

from ignite_vision import Splits
from ignite_vision.data.containers import ArrayImages
from ignite_vision.health.classes import class_findings, counts, folded
from ignite_vision.health.collection import Collection
from tests.helpers.pictures import picture, save


def of(train, val=(), test=(), classes=("a", "b", "c")):
    """Blank images with these class indices."""
    parts = [
        ArrayImages(torch.zeros((len(t), 1, 8, 8), dtype=torch.uint8), list(t), n)
        for n, t in zip(("train", "val", "test"), (train, val, test), strict=True)
    ]
    return Collection(Splits(*parts, classes=classes), frozenset(("train", "val", "test")))


def kinds(images):
    return {finding.kind: finding for finding in class_findings(images)}


def test_even_classes_have_no_findings():
    everywhere = [0, 1, 2] * 5
    images = of(everywhere, everywhere, everywhere)
    assert kinds(images) == {}
    assert counts(images) == {"a": 15, "b": 15, "c": 15}


def test_a_class_without_an_image_must_be_fixed():
    found = kinds(of([0, 1] * 10, [0, 1], [0, 1]))
    assert list(found) == ["empty_class"]
    assert (found["empty_class"].level, found["empty_class"].n) == ("must", 1)
    assert "'c'" in found["empty_class"].message


def test_a_class_of_a_handful_is_named_with_its_number():
    found = kinds(of([0, 1] * 10 + [2] * 5, [0, 1, 2], [0, 1, 2]))
    assert list(found) == ["small_class"]
    assert "'c' has 7" in found["small_class"].message


def test_imbalance_says_what_a_constant_answer_would_reach():
    found = kinds(of([0] * 200 + [1, 2] * 10, [0, 1, 2], [0, 1, 2]))
    assert list(found) == ["imbalance"]
    assert "'a' has 202 images" in found["imbalance"].message
    assert "right for 89%" in found["imbalance"].message


def test_classes_missing_from_a_split_are_named_for_each():
    found = kinds(of([0, 1] * 10, [0, 1, 2], [0, 2, 2, 2, 2, 2, 2, 2]))
    assert set(found) == {"missing_from_train", "missing_from_test"}
    assert "('c'): they cannot be learnt" in found["missing_from_train"].message
    assert "('b'): they are not measured there" in found["missing_from_test"].message


def test_names_that_case_or_unicode_alone_tells_apart_are_noted():
    both = [unicodedata.normalize(form, "Café") for form in ("NFC", "NFD")]
    found = kinds(of([0, 1, 2, 3] * 10, [0, 1, 2, 3], [0, 1, 2, 3], (both[0], both[1], "cat", "Cat")))
    assert list(found) == ["class_names"]
    assert (found["class_names"].level, found["class_names"].n) == ("note", 2)
    assert folded("STRASSE") == folded("straße")


def test_files_that_overwrite_each_other_elsewhere_are_noted(photos, collected):
    save(photos, "a/05.JPG", picture(77))
    found = kinds(collected(photos))
    assert list(found) == ["file_names"]
    assert found["file_names"].level == "note"
