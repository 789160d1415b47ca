"""A manifest is read as it says, and every fault in one names its line."""

import json

import numpy as np
import pytest
from PIL import Image

from ignite_vision.data.manifest import LONGEST_LINE, is_manifest, read_manifest
from ignite_vision.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """Return a folder with four images, outside of any class folder."""
    (tmp_path / "scans").mkdir()
    for k in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * k, dtype=np.uint8)).save(tmp_path / "scans" / f"{k}.png")
    return tmp_path


def csv_of(folder, *lines, name="photos.csv"):
    path = folder / name
    path.write_bytes("\n".join(lines).encode() + b"\n")
    return path


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


def test_csv_gives_images_classes_splits_and_groups(photos):
    lines = (
        "scans/0.png,b,train,p1",
        "scans/1.png,a,training,p1",
        "./scans//2.png,a,val,p2",
        "scans/3.png,b,test,",
    )
    splits = read_manifest(csv_of(photos, "path,class,split,group", *lines))
    assert splits.classes == ("a", "b")
    assert [ids(images) for _, images in splits.items()] == [
        ["scans/0.png", "scans/1.png"],
        ["scans/2.png"],
        ["scans/3.png"],
    ]
    assert splits.train.targets.tolist() == [1, 0]
    assert splits.train.groups.tolist() == [0, 0] and splits.val.groups.tolist() == [1]
    assert splits.train[0][0].shape == (3, 8, 8)


def test_json_lines_say_the_same(photos):
    rows = [{"path": f"scans/{k}.png", "class": k % 2, "note": "x"} for k in range(4)]
    splits = read_manifest(csv_of(photos, *map(json.dumps, rows), name="photos.jsonl"))
    assert splits.classes == ("0", "1") and splits.val is None and splits.test is None
    assert splits.train.targets.tolist() == [0, 1, 0, 1]


def test_parquet_says_the_same_where_pyarrow_is_installed(photos):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"path": [f"scans/{k}.png" for k in range(4)], "class": list("abab")})
    parquet.write_table(table, photos / "photos.parquet")
    assert read_manifest(photos / "photos.parquet").train.targets.tolist() == [0, 1, 0, 1]


def test_a_column_by_name_or_a_rule_on_paths_makes_the_groups(photos):
    path = csv_of(photos, "path,class,patient", *(f"scans/{k}.png,{'ab'[k % 2]},{k // 2}" for k in range(4)))
    assert read_manifest(path, "patient").train.groups.tolist() == [0, 0, 1, 1]
    assert read_manifest(path, "[01]").train.groups.tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match="Did you mean 'patient'"):
        read_manifest(path, "patent")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/etc/passwd,a", "line 3: the path '/etc/passwd' leads out"),
        ("scans/../../x.png,a", "line 3: the path .* leads out"),
        (".,a", "line 3: '.' is no image"),
        (",a", "line 3: no path"),
        ("scans/1.png,", "line 3: no class"),
        ("scans,a", "line 3: 'scans' is not a regular file"),
        ("scans/9.png,a", "line 3: 'scans/9.png' cannot be read: No such file"),
        ("scans/0.png,b", r"line 3: 'scans/0.png' has two classes, 'a' \(line 2\) and 'b'"),
        ("scans//0.png,a", "line 3: 'scans/0.png' is in line 2 already"),
        ("scans/1.png,a,b", "line 3: not 2 fields"),
        ("scans/1.png", "line 3: not 2 fields"),
        ('"scans/1.png,a', "line 3: no CSV"),
        ("scans/1\0.png,a", "line 3: a NUL"),
        ("x" * (LONGEST_LINE + 1), "line 3: longer than 1,048,576 bytes"),
    ],
)
def test_a_hostile_or_wrong_line_is_named(photos, line, message):
    with pytest.raises(UserError, match=message):
        read_manifest(csv_of(photos, "path,class", "scans/0.png,a", line))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no images in this manifest"),
        (b"path,class\n", "no images in this manifest"),
        (b"file,class\nscans/0.png,a\n", "line 2: no column 'path'"),
        (b"path;class\nscans/0.png;a\n", "Columns are separated by commas"),
        (b"path,class,class\nscans/0.png,a,b\n", "line 1: two columns are called 'class'"),
        ("path,class\nscans/0.png,a\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"path,class\nscans/0.png,caf\xe9\n", "line 2: not UTF-8"),
        (b"path,class,split\nscans/0.png,a,train\nscans/1.png,b,\n", "line 3: no split, though"),
        (b"path,class,split\nscans/0.png,a,dev\n", "line 2: no split 'dev'"),
        (b"path,class,split\nscans/0.png,a,train\nscans/1.png,b,test\n", "line 3: class 'b' is not in train"),
    ],
)
def test_a_hostile_or_wrong_file_is_refused(photos, content, message):
    (photos / "photos.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_manifest(photos / "photos.csv")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "7", "{", '{"path": ["a"], "class": "b"}', '{"path": "\\ud800", "class": "b"}']
)
def test_json_that_is_no_record_is_refused(photos, text):
    with pytest.raises(UserError, match="line 1"):
        read_manifest(csv_of(photos, text, name="photos.jsonl"))


def test_a_million_columns_are_passed_over_or_refused(photos):
    (photos / "photos.csv").write_text("path,class," + "," * 1_000_000 + "\n")
    with pytest.raises(UserError, match="no images"):
        read_manifest(photos / "photos.csv")


def test_the_name_says_what_is_a_manifest(photos):
    assert is_manifest(csv_of(photos, "path,class"))
    assert not is_manifest(photos) and not is_manifest(photos / "scans" / "0.png")


def test_weights_are_the_images_own_and_1_where_nothing_is_said(photos):
    lines = ("scans/0.png,a,2.5", "scans/1.png,b,", "scans/2.png,a,0.5", "scans/3.png,b,1")
    splits = read_manifest(csv_of(photos, "path,class,weight", *lines))
    assert splits.train.weights.tolist() == [2.5, 1, 0.5, 1]
    assert splits.train.subset([2, 0]).weights.tolist() == [0.5, 2.5]
    plain = read_manifest(csv_of(photos, "path,class,weight", *(f"scans/{k}.png,{'ab'[k % 2]},1.0" for k in range(4))))
    assert plain.train.weights is None
    assert splits.train.fingerprint() != plain.train.fingerprint()
    assert splits.train.stamp() == plain.train.stamp()  # the pixels are the same


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much", "1e300"])
def test_a_weight_that_is_none_names_its_line(photos, weight):
    path = csv_of(photos, "path,class,weight", "scans/0.png,a,1", f"scans/1.png,b,{weight}")
    with pytest.raises(UserError, match=f"line 3: the weight is '{weight}', not a number above 0"):
        read_manifest(path)
