"""The same picture twice: in one split, in two, in two classes, a hundred times."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ignite_vision import datasets
from ignite_vision.data.splits import cut
from ignite_vision.errors import UserError
from ignite_vision.health.collection import Collection
from ignite_vision.health.duplicates import (
    HEADER,
    Row,
    as_csv,
    at_stake,
    duplicate_findings,
    find_pairs,
    read_pairs,
    read_twins,
    same_content,
)
from ignite_vision.health.scan import scan
from tests.helpers.pictures import picture, save, write_pictures


def look(folder, right=None):
    """(images, pairs, findings by kind) of a folder, with its own splits where it has them."""
    given = datasets.image_folder(folder)
    images = Collection(cut(given, 0.1, 0.125, 0), frozenset(name for name, _ in given.items()))
    pairs = find_pairs(scan(images, 0, lambda line: None))
    return images, pairs, {finding.kind: finding for finding in duplicate_findings(images, pairs, right)}


def copy(folder, name, to, change=lambda image: image):
    return save(folder, to, change(Image.open(folder / name)), quality=60)


def test_different_pictures_have_no_findings(photos):
    _, pairs, found = look(photos)
    assert (len(pairs), found) == (0, {})


def test_copies_within_a_class_are_one_finding(photos):
    copy(photos, "a/00.jpg", "a/again.jpg")
    copy(photos, "b/00.jpg", "b/mirrored.jpg", ImageOps.mirror)
    images, pairs, found = look(photos)
    assert found["near_duplicates"].n == len(pairs) == 2
    assert found["near_duplicates"].level == "look"
    assert set(found["near_duplicates"].images) == {"a/00.jpg", "a/again.jpg", "b/00.jpg", "b/mirrored.jpg"}
    assert pairs.mirrored.tolist() == [images.name(int(i)).startswith("b") for i in pairs.first]


def test_the_same_bytes_in_two_classes_must_be_fixed_and_near_twins_are_to_be_looked_at(photos):
    (photos / "b" / "same.jpg").write_bytes((photos / "a" / "00.jpg").read_bytes())
    copy(photos, "a/01.jpg", "c/alike.jpg")
    _, _, found = look(photos)
    same, alike = found["same_file_two_classes"], found["alike_two_classes"]
    assert (same.level, same.images) == ("must", ("a/00.jpg", "b/same.jpg"))
    assert (alike.level, alike.images) == ("look", ("a/01.jpg", "c/alike.jpg"))
    assert "('a' and 'b')" in same.message


def test_blank_files_of_the_same_bytes_are_pairs_although_they_look_like_anything(photos):
    for name in ("a/x.png", "b/y.png", "b/z.png"):
        save(photos, name, Image.new("RGB", (50, 50), "grey"))
    save(photos, "c/other.png", Image.new("RGB", (50, 50), "green"))
    _, pairs, found = look(photos)
    assert len(pairs) == 2
    assert (
        found["same_file_two_classes"].images
        == ("a/x.png", "b/y.png", "b/z.png")[: len(found["same_file_two_classes"].images)]
    )


@pytest.fixture
def with_splits(tmp_path):
    """Return a folder with its own train and test, of which one image has a twin in the other."""
    write_pictures(tmp_path / "photos" / "train")
    write_pictures(tmp_path / "photos" / "test", each=4, first=5000)
    copy(tmp_path / "photos", "train/a/03.jpg", "test/a/leak.jpg", ImageOps.mirror)
    return tmp_path / "photos"


def test_a_twin_across_given_splits_must_be_fixed(with_splits):
    _, _, found = look(with_splits)
    leak = found["leak_test"]
    assert (leak.level, leak.n, leak.images) == ("must", 1, ("test/a/leak.jpg",))
    assert leak.message.startswith("1 of 13 test images with a near-identical one in train")


def test_a_leak_says_the_accuracy_without_its_images(with_splits):
    images, pairs, _ = look(with_splits)
    names = [images.splits.test.sample_id(i) for i in range(13)]
    right = {name: name in ("test/a/leak.jpg", names[0], names[5]) for name in names}
    (leak, _) = duplicate_findings(images, pairs, right)
    assert leak.message.endswith("; accuracy 0.231, without them 0.167")


def test_answers_of_other_images_say_nothing(with_splits):
    images, _, _ = look(with_splits)
    place = np.flatnonzero(images.in_split("test"))[:1]
    assert at_stake(images, place, {"elsewhere.jpg": True}) == ""
    assert at_stake(images, place, {images.name(int(place[0])): True}) == ""


def test_a_twin_across_splits_that_we_cut_is_to_be_looked_at(photos, collected):
    test = collected(photos).splits.test.sample_id(0)
    copy(photos, test, f"{test[0]}/zz.jpg")
    _, _, found = look(photos)
    assert {finding.level for finding in found.values()} == {"look"}


def test_a_burst_is_one_finding_and_not_hundreds_of_pairs(photos):
    scene = picture(99, (80, 80))
    for k in range(30):
        save(photos, f"a/burst{k:02}.jpg", scene, quality=40 + k)
    copy(photos, "b/00.jpg", "b/again.jpg")
    _, pairs, found = look(photos)
    assert len(pairs) > 200
    assert (found["burst"].n, found["near_duplicates"].n) == (1, 1)
    assert found["burst"].message.startswith("1 group of 30 near-identical images")


def test_the_table_has_a_row_for_each_pair(with_splits):
    images, pairs, _ = look(with_splits)
    rows = list(csv.reader(io.StringIO(as_csv(images, pairs))))
    assert rows[0] == list(HEADER)
    a, b, bits, mirrored, split_a, split_b = rows[1]
    assert (a, b, mirrored, split_a, split_b) == ("train/a/03.jpg", "test/a/leak.jpg", "1", "train", "test")
    assert 0 <= int(bits) <= 24


def test_equal_content_is_chained_and_unknown_content_is_not_equal():
    content = np.array([b"x", b"y", b"x", b"", b"", b"x"], dtype="S1").view("V1")
    assert same_content(content, content.view("S1") != b"").tolist() == [[0, 2], [2, 5]]


def test_the_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "duplicates.csv"
    assert read_pairs(path) is None
    assert read_twins(path, "test") is None
    path.write_text(f"{','.join(HEADER)}\na/1.jpg,b/2.jpg,3,1,train,test\na/3.jpg,a/4.jpg,0,0,val,train\n")
    first, second = read_pairs(path)
    assert first == Row("a/1.jpg", "b/2.jpg", 3, True, "train", "test")
    assert (second.bits, second.mirrored) == (0, False)
    assert read_twins(path, "test") == {"b/2.jpg"}
    assert read_twins(path, "val") == {"a/3.jpg"}
    assert read_twins(path, "train") is None


@pytest.mark.parametrize("line", ["1,2", "a,b,many,0,train,test", "a,b,1,0,train"])
def test_a_table_that_was_edited_is_one_line(tmp_path, line):
    path = tmp_path / "duplicates.csv"
    path.write_text(f"{','.join(HEADER)}\n{line}\n")
    with pytest.raises(UserError, match=r"cannot read duplicates.csv: .* again") as failure:
        read_pairs(path)
    assert "\n" not in str(failure.value)
