"""`check`: what it prints, and how it ends."""

import json

import pytest

from tests.helpers.command_line import assert_one_error_line
from tests.helpers.pictures import picture, save, write_pictures


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_pictures(tmp_path / "photos")


def test_a_folder_without_faults_may_be_trained_on(photos, ignite_vision):
    code, out, _ = ignite_vision("check", "photos", "--no-labels")
    assert code == 0
    first, last = out.splitlines()
    assert first.startswith("photos: 30 images, 3 classes, checked in ")
    assert last == "nothing must be fixed · check/report.html · next: ignite-vision run photos"


def test_what_must_be_fixed_ends_with_2_after_everything_was_said(photos, ignite_vision):
    (photos / "a" / "00.jpg").write_bytes(b"<html>")
    save(photos, "b/tiny.png", picture(1, (20, 20)))
    code, out, err = ignite_vision("check", "photos", "--no-labels", "--out", "out")
    assert (code, err) == (2, "")
    lines = out.splitlines()
    assert lines[1].startswith("must   1 image that cannot be read: not an image of a known format")
    assert lines[2] == "         Replace or remove them."
    assert lines[3].startswith("look   1 image less than 32 pixels high or wide")
    assert lines[-1] == "1 finding must be fixed · out/report.html"


def test_json_is_what_was_written(photos, tmp_path, ignite_vision):
    code, out, _ = ignite_vision("check", "photos", "--no-labels", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "check" / "check.json").read_text())


def test_a_folder_that_is_not_there_is_one_line(ignite_vision):
    assert_one_error_line(ignite_vision("check", "nowhere/"), "no such recipe file or folder (nowhere/)")
