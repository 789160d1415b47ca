"""Images that cannot be read are left out, named and counted; what is left is cut as if they had never been there."""

import re

import pytest
import torch

from ignite_vision import Splits, datasets
from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.skipping import unreadable_in, warnings_of, without
from ignite_vision.errors import UserError


def cut_off(path):
    path.write_bytes(path.read_bytes()[:200])
    return path


def break_in_the_middle(path):
    """Damage that the two ends of a file do not show: a PNG whose checksum does not fit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.fixture
def broken(image_folder):
    """Return photographs of which two apples are broken, one at its end and one in its middle."""
    from PIL import Image

    cut_off(image_folder / "apple" / "03.jpg")
    with Image.open(image_folder / "apple" / "05.jpg") as image:
        image.save(image_folder / "apple" / "05.png")
    (image_folder / "apple" / "05.jpg").unlink()
    break_in_the_middle(image_folder / "apple" / "05.png")
    return image_folder


def test_what_cannot_be_decoded_is_found_at_its_end_and_in_its_middle(broken):
    found = unreadable_in(datasets.image_folder(broken))
    assert {key: bool(reason) for key, reason in found.items()} == {
        ("apple/03.jpg", "apple"): True,
        ("apple/05.png", "apple"): True,
    }


def test_processes_share_the_looking_and_find_the_same(broken):
    splits = datasets.image_folder(broken)
    shares = [unreadable_in(splits, rank, 3) for rank in range(3)]
    assert {key: reason for share in shares for key, reason in share.items()} == unreadable_in(splits)
    assert sum(map(len, shares)) == 2


def test_the_rest_keeps_its_order_and_the_skipped_are_listed_with_their_bytes(broken):
    splits = datasets.image_folder(broken)
    rest = without(splits, unreadable_in(splits))
    ids = [rest.train.sample_id(i) for i in range(len(rest.train))]
    assert ids == [
        f"{c}/{i:02}.jpg"
        for c in ("apple", "banana", "cherry")
        for i in range(12)
        if (c, i) not in (("apple", 3), ("apple", 5))
    ]
    assert [(one.sample, one.label) for one in rest.skipped] == [("apple/03.jpg", "apple"), ("apple/05.png", "apple")]
    assert rest.skipped[0].size == "200"
    assert without(splits, []) is splits


def test_a_class_of_which_nothing_can_be_read_is_refused(image_folder):
    for path in (image_folder / "banana").iterdir():
        cut_off(path)
    splits = datasets.image_folder(image_folder)
    with pytest.raises(UserError, match="none of the 12 images of class 'banana' can be read"):
        without(splits, unreadable_in(splits))


def test_the_first_five_are_named_and_a_class_that_lost_half_is_a_warning(image_folder):
    for i in range(7):
        cut_off(image_folder / "cherry" / f"{i:02}.jpg")
    splits = datasets.image_folder(image_folder)
    first, second = warnings_of(splits, unreadable_in(splits))
    assert first.startswith("warning: skipped 7 images that cannot be read: cherry/00.jpg (")
    assert len(re.findall(r"cherry/\d\d", first)) == 5
    assert first.endswith(" and 2 more, all in splits.csv")
    assert second == "warning: 7 of the 12 images of 'cherry' cannot be read and are skipped"
    assert warnings_of(splits, {}) == []


def test_arrays_are_not_looked_at():
    images = ArrayImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), [0, 1, 0, 1])
    assert unreadable_in(Splits(train=images, classes=("a", "b"))) == {}


def test_a_file_that_is_gone_is_skipped_without_a_size(image_folder):
    splits = datasets.image_folder(image_folder)
    (image_folder / "apple" / "00.jpg").unlink()
    rest = without(splits, unreadable_in(splits))
    assert [tuple(one) for one in rest.skipped] == [("apple/00.jpg", "apple", "")]
