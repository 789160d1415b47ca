"""splits.csv restores the same splits whatever the names, and refuses data that changed since."""

import csv
import os

import pytest
import torch
from PIL import Image

from ignite_vision.data.containers import ArrayImages, ImageFiles
from ignite_vision.data.skipping import without
from ignite_vision.data.splits import Splits, cut, fingerprint
from ignite_vision.data.splits_csv import apply_csv, resized, write_csv
from ignite_vision.errors import UserError

CLASSES = ("cat", "dog", "owl")


def pool(sizes=(40, 20, 12), name="train"):
    """An array pool whose pixels tell the images apart; the classes alternate."""
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    pixels = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return ArrayImages(pixels, labels, name)


def splits(**sizes):
    return Splits(pool(**sizes), classes=CLASSES)


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


def write_image(path, colour=(255, 0, 0), size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def files_of(root, names):
    for name in names:
        write_image(root / os.fsdecode(name))
    return Splits(ImageFiles(root, names, [i % 2 for i in range(len(names))]), classes=("cat", "dog"))


def test_splits_csv_is_plain_and_restores_the_same_splits(tmp_path):
    given = splits()
    parts = cut(given, 0.1, 0.125, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    text = (tmp_path / "splits.csv").read_bytes().decode()
    assert text.startswith("path,class,split,bytes\ntrain:") and "\r" not in text
    assert [row["split"] for row in csv.DictReader(text.splitlines())] == ["train"] * 56 + ["val"] * 7 + ["test"] * 9
    again = apply_csv(given, tmp_path / "splits.csv")
    assert fingerprint(again) == fingerprint(parts)
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]


def test_a_given_test_split_is_restored_from_itself(tmp_path):
    given = Splits(pool(), test=pool((4, 4, 4), "test"), classes=CLASSES)
    parts = cut(given, 0.1, 0.125, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    assert fingerprint(apply_csv(given, tmp_path / "splits.csv")) == fingerprint(parts)


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist on Windows")
def test_hostile_file_names_survive_splits_csv(tmp_path):
    names = [b'a,"b".png', b"a\nb.png", b"a\rb.png", b"caf\xe9.png", "ü\u2028.png".encode(), b" x .png"]
    given = files_of(tmp_path / "data", names)
    parts = cut(given, 0.0, 0.4, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    again = apply_csv(given, tmp_path / "splits.csv")
    assert ids(again.train) == ids(parts.train) and ids(again.test) == ids(parts.test)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (["0.png", "1.png", "2.png"], "1 gone, the first '3.png'"),
        (["0.png", "1.png", "2.png", "3.png", "4.png"], "1 new, the first '4.png'"),
        (["0.png", "2.png", "1.png", "3.png"], "2 gone, the first '1.png'; 2 new, the first '2.png'"),
    ],
    ids=["gone", "new", "another class"],
)
def test_data_that_changed_since_the_run_began_is_refused(tmp_path, now, message):
    write_csv(cut(files_of(tmp_path, ["0.png", "1.png", "2.png", "3.png"]), 0, 0, 0), tmp_path / "splits.csv")
    with pytest.raises(UserError, match="start a new run with --out") as raised:
        apply_csv(files_of(tmp_path, now), tmp_path / "splits.csv")
    assert message in str(raised.value) and raised.value.code == 2


@pytest.mark.parametrize("text", ["", "a,b\n", "path,class,split\nx,cat\n", "path,class,split\nx,cat,all\n", '"'])
def test_a_damaged_splits_csv_is_one_line(tmp_path, text):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(UserError, match="cannot read the splits"):
        apply_csv(splits(), tmp_path / "splits.csv")


def test_two_images_of_one_name_are_refused_before_anything_is_written(tmp_path):
    parts = cut(Splits(pool(), test=pool(), classes=CLASSES), 0.1, 0.1, split_seed=0)
    with pytest.raises(UserError, match="two images are called 'train:"):
        write_csv(parts, tmp_path / "splits.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\r\nb", 'a"b,c', "a\x1bb\x85c", " a "])
def test_hostile_class_names_keep_a_row_for_each_image(tmp_path, name):
    given = Splits(pool(), classes=(name, "dog", "owl"))
    parts = cut(given, 0.1, 0.125, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    with (tmp_path / "splits.csv").open(encoding="utf-8", newline="") as file:
        assert [len(row) for row in csv.reader(file)] == [4] * 73
    assert fingerprint(apply_csv(given, tmp_path / "splits.csv")) == fingerprint(parts)


def test_a_file_of_another_size_is_named_with_both_sizes(tmp_path):
    given = files_of(tmp_path / "data", ["a.png", "b.png"])
    write_csv(cut(given, 0, 0, 0), tmp_path / "splits.csv")
    assert resized(given, tmp_path / "splits.csv") == []
    before = (tmp_path / "data" / "b.png").stat().st_size
    (tmp_path / "data" / "b.png").write_bytes(bytes(1234))
    assert resized(given, tmp_path / "splits.csv") == [f"'b.png': {before} -> 1,234 bytes"]
    assert resized(splits(), tmp_path / "splits.csv") == []


def test_skipped_images_are_recorded_and_may_vanish_or_be_repaired(tmp_path):
    given = files_of(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    key = (given.train.sample_id(1), given.classes[int(given.train.targets[1])])
    parts = cut(without(given, [key]), 0.3, 0.3, 0)
    write_csv(parts, tmp_path / "splits.csv")
    rows = (tmp_path / "splits.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in rows].count("skipped") == 1
    for now in (given, without(given, [key])):  # repaired; gone
        again = apply_csv(now, tmp_path / "splits.csv")
        assert fingerprint(again) == fingerprint(parts)
        assert again.skipped == parts.skipped
        write_csv(again, tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "splits.csv").read_bytes()
