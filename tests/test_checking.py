"""Folders, recipes and runs are checked, and what is found is written where it is looked for."""

import csv
import errno
import json

import numpy as np
import pytest
import torch

from ignite_vision import checking, datasets
from ignite_vision.checking import answers, check, load_images
from ignite_vision.data import containers
from ignite_vision.data.duplicates import hashes
from ignite_vision.data.images import read_image
from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.health.scan import scan
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.run_directory import RunDirectory
from tests.helpers.pictures import write_pictures


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 3 classes with 10 different pictures each, of which one lies in two of them."""
    folder = write_pictures(tmp_path / "photos")
    (folder / "b" / "same.jpg").write_bytes((folder / "a" / "00.jpg").read_bytes())
    return folder


def checked(target, out, data=None, settings=None, labels=False):
    lines = []
    return check(str(target), data, out, settings or {}, 0, lines.append, labels), lines


def test_a_folder_is_checked_and_the_findings_are_written(photos, tmp_path):
    found, _ = checked(photos, tmp_path / "out")
    assert [finding.kind for finding in found.must] == ["same_file_two_classes"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"check.json", "duplicates.csv", "report.html"}
    written = json.loads((tmp_path / "out" / "check.json").read_text())
    assert written == found.to_dict()
    assert (written["format"], written["images"], written["classes"]) == (1, 31, {"a": 10, "b": 11, "c": 10})
    rows = list(csv.reader((tmp_path / "out" / "duplicates.csv").read_text().splitlines()))
    assert [row[:4] for row in rows[1:]] in (
        [["a/00.jpg", "b/same.jpg", "0", "0"]],
        [["b/same.jpg", "a/00.jpg", "0", "0"]],
    )
    assert found.page.name == "report.html"


def test_a_place_that_cannot_be_written_is_said_before_the_work_a_full_disk_after_it(photos, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    decoded = []
    monkeypatch.setattr(checking, "scan", lambda *more: decoded.append(more) or scan(*more))
    with pytest.raises(UserError, match="the results cannot be written.*--out"):
        checked(photos, tmp_path / "file" / "out")
    assert not decoded

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checking, "write_atomically", full)
    with pytest.raises(UserError, match="the findings cannot be written: No space left.*another --out") as caught:
        checked(photos, tmp_path / "out")
    assert decoded and caught.value.code == NOT_SAVED


def test_the_same_command_writes_the_same_bytes(photos, tmp_path):
    for name in ("one", "other"):
        checked(photos, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    checked(photos, tmp_path / "one")  # into the same folder again


def test_every_image_is_decoded_once_and_run_finds_the_hashes(photos, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(containers, "read_image", lambda path, *more: decoded.append(path) or read_image(path, *more))
    monkeypatch.setattr("ignite_vision.checking.render", lambda *_: "")  # which shows some
    checked(photos, tmp_path / "out")
    assert len(decoded) == len(set(decoded)) == 31
    hashes(datasets.image_folder(photos).train, print)
    assert len(decoded) == 31


def test_what_training_leaves_out_need_not_be_fixed(photos, tmp_path):
    (photos / "b" / "same.jpg").write_bytes(b"no image")
    assert [finding.kind for finding in checked(photos, tmp_path / "out")[0].must] == ["unreadable"]
    found, _ = checked(photos, tmp_path / "skips", settings={"on_bad_image": "skip"})
    assert found.must == []
    assert "Training leaves them out" in next(f.message for f in found.findings if f.kind == "unreadable")


def test_a_recipes_data_is_checked(tmp_path):
    found, _ = checked("digits", tmp_path / "out", data=tmp_path)
    assert found.to_dict()["images"] == 1797
    assert found.must == []


def test_settings_of_the_recipe_change_the_cut(photos, tmp_path):
    found, _ = checked(photos, tmp_path / "out", settings={"test_fraction": "0.4"})
    assert len(found.subject.images.splits.test) > 10


def test_a_run_is_checked_in_its_own_splits_and_the_findings_lie_in_it(digits_run, tmp_path):
    directory = RunDirectory(digits_run)
    found, _ = checked(digits_run, None, data=tmp_path)
    try:
        assert (directory / "check.json").is_file()
        assert found.page == directory / "check.html"  # beside the run's own report
    finally:
        for name in ("check.json", "check.html", "duplicates.csv"):
            (directory / name).unlink()
    images = found.subject.images
    with directory.splits.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["split"]) for row in rows] == [
        (images.name(k), images.split(k)) for k in range(len(images))
    ]


def test_the_models_answers_are_those_of_predictions(digits_run, tmp_path):
    right = answers(RunDirectory(digits_run))
    accuracy = json.loads((digits_run / "metrics.json").read_text())["accuracy"]
    assert np.mean(list(right.values())) == pytest.approx(accuracy)
    assert answers(RunDirectory(tmp_path)) == {}


def test_findings_among_the_images_are_refused(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    with pytest.raises(UserError, match="would lie among the images"):
        checked(photos, None)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    with pytest.raises(UserError, match="this folder holds something else"):
        checked(photos, tmp_path / "notes")
    with pytest.raises(UserError, match="this is a file"):
        checked(photos, tmp_path / "notes" / "todo.txt")


def test_what_run_refuses_is_refused_with_the_same_words(tmp_path):
    with pytest.raises(UserError, match="no recipe 'nothing'"):
        checked("nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no class folders"):
        checked(tmp_path / "empty", tmp_path / "out")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No weights are here, and none can be fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(*_arguments, **_options):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)


def test_without_weights_a_note_says_that_labels_were_not_judged(photos, tmp_path, offline):
    (photos / "b" / "same.jpg").unlink()
    found, _ = checked(photos, tmp_path / "out", labels=True)
    (note,) = found.findings
    assert (note.kind, note.level) == ("labels_not_judged", "note")
    assert note.message.startswith("labels were not judged: cannot download the weights: no network (https://")
    assert "put it into" in note.next_step
    assert not (tmp_path / "out" / "label_suspects.csv").exists()


def test_labels_are_judged_once_every_image_can_be_read(photos, tmp_path, offline):
    (photos / "a" / "01.jpg").write_bytes(b"")
    found, _ = checked(photos, tmp_path / "out", labels=True)
    (note,) = [finding for finding in found.findings if finding.kind == "labels_not_judged"]
    assert note.message == "labels were not judged: images that cannot be read are among them"


COLOURS = """
import torch
from torch import nn
from ignite_vision import Recipe, datasets


def colours(num_classes):
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))


recipe = Recipe(data=datasets.image_folder, model=colours, trainable="head", image_size=32, epochs=1, precision="fp32")
"""


@pytest.fixture
def colours(tmp_path):
    """Return a recipe whose network sees the mean of each colour, and the field with its weights."""
    state = {"0.weight": torch.eye(3)[:, :, None, None], "0.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "colours.pth")
    (tmp_path / "colours_of_check.py").write_text(COLOURS)
    return tmp_path / "colours_of_check.py", {"weights": str(tmp_path / "colours.pth")}


def test_a_wrong_label_is_named_with_its_picture(colours, image_folder, tmp_path):
    recipe, settings = colours
    (image_folder / "banana" / "05.jpg").rename(image_folder / "apple" / "<b>.jpg")
    found, _ = checked(recipe, tmp_path / "out", image_folder, settings, labels=True)
    (finding,) = [finding for finding in found.findings if finding.kind == "label_suspects"]
    assert finding.images == ("apple/<b>.jpg",)
    assert found.labels.seconds > 0
    rows = list(csv.DictReader((tmp_path / "out" / "label_suspects.csv").read_text().splitlines()))
    assert [(row["path"], row["label"], row["looks_like"]) for row in rows] == [("apple/<b>.jpg", "apple", "banana")]
    page = found.page.read_text()
    assert "labelled apple, looks like banana" in page
    assert "<b>.jpg" not in page
    checked(recipe, tmp_path / "out", image_folder, settings)
    assert not (tmp_path / "out" / "label_suspects.csv").exists()  # it would be of another check


def test_a_file_that_is_no_recipe_lists_images(tmp_path):
    table = tmp_path / "photos.csv"
    table.write_text("path,class\n")
    loaded = load_images(str(table))
    assert (loaded.name, loaded.data) == ("photos", table)


def test_what_training_leaves_out_is_in_no_split(photos, tmp_path):
    (photos / "b" / "same.jpg").write_bytes(b"no image")
    settings = {"on_bad_image": "skip", "val_fraction": "0.3"}
    found, _ = checked(photos, tmp_path / "out", settings=settings)
    options = Options(data=photos, out=tmp_path / "run", device="cpu", workers=0)
    own = prepare(load(str(photos)), {**settings, "weights": "none"}, options, print).splits
    looked_at = found.subject.images.splits
    for (name, images), (_, expected) in zip(looked_at.items(), own.items(), strict=True):
        ids = [[part.sample_id(i) for i in range(len(part))] for part in (images, expected)]
        assert ids[0] == ids[1], name


def test_the_findings_have_no_path_of_the_machine(photos, tmp_path):
    checked(photos, tmp_path / "out")
    assert str(tmp_path) not in (tmp_path / "out" / "check.json").read_text()
