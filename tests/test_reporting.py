"""The report of real runs: their images, models and files."""

import csv
import re
import shutil

import pytest
import torch

from ignite_vision import reporting
from ignite_vision.errors import DAMAGED, NOT_SAVED, UserError
from ignite_vision.jobs import train_and_evaluate
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.reporting import collect, read_check, read_recipe, seen_by_head, subject_of, write_report
from ignite_vision.run_directory import RunDirectory
from tests.helpers.reports import evidence

OPTIONS = Options(device="cpu", workers=0)
FEW = """
from ignite_vision import Recipe, Splits, datasets

def few(folder):
    images = datasets.digits(folder)
    return Splits(train=images.train.subset(range(150)), val=None, test=None, classes=images.classes)

recipe = Recipe(data=few, model="digits_cnn", trainable="head", epochs=4, lr=0.05)
"""


def reported(run, **more):
    return write_report(RunDirectory(run), None, Options(device="cpu", workers=0, **more), print)


@pytest.fixture
def copy(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "copy")


def test_a_run_of_arrays_has_its_page_and_its_suspects_and_both_are_the_same_each_time(copy):
    (copy / "check.json").write_text('{"format": 1, "findings": [{"level": "must", "message": "2 files are empty"}]}')
    page = reported(copy)
    text, suspects = page.read_text(), (copy / "label_suspects.csv").read_text()
    accuracy = RunDirectory(copy).read_metrics()["accuracy"]
    assert page == copy / "report.html"
    assert f"{100 * accuracy:.1f}<small>" in text
    assert "datasets.digits" in text
    assert '<pre tabindex="0">ignite-vision run digits --data' in text
    assert text.count('class="heat"') > 10
    assert text.count("2 files are empty") == 2
    rows = list(csv.DictReader(suspects.splitlines()))
    assert text.count("looks like <b") == len(rows)
    assert {row["split"] for row in rows} <= {"val", "test"}
    assert (reported(copy).read_text(), (copy / "label_suspects.csv").read_text()) == (text, suspects)


def test_another_place_for_the_page_leaves_the_run_as_it_is(copy, tmp_path):
    before = sorted(path.name for path in copy.iterdir())
    page = write_report(RunDirectory(copy), tmp_path / "new" / "page.html", OPTIONS, print)
    assert page.is_file()
    assert sorted(path.name for path in copy.iterdir()) == before


@pytest.mark.parametrize(
    ("cache", "judged"),
    [("auto", "All 150 images were judged, each by a model"), ("none", "The 40 validation and test images, which")],
)
def test_a_frozen_network_has_its_images_judged_by_others_as_far_as_its_features_are_there(tmp_path, cache, judged):
    recipe = tmp_path / f"few_with_cache_{cache}.py"
    recipe.write_text(FEW)
    run = RunDirectory(tmp_path / "run")
    options = Options(out=run.path, data=tmp_path, device="cpu", workers=0)
    train_and_evaluate(prepare(load(str(recipe)), {"cache": cache}, options, print), lambda *_: None)
    assert collect(subject_of(run, OPTIONS, print), print).judged.startswith(judged)


def test_what_goes_into_the_head_gives_the_logits(digits_run):
    subject = subject_of(RunDirectory(digits_run), OPTIONS, print)
    predictions, features = seen_by_head(subject, "test", print)
    head = [m for m in subject.classifier.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    assert len(features) == len(predictions.targets)
    assert torch.allclose(head(features), predictions.logits, atol=1e-5)


def test_photographs_of_many_shapes_keep_them(image_folder, tmp_path):
    options = Options(out=tmp_path / "run", device="cpu", workers=0)
    overrides = {"model": "cifar10_cnn", "weights": "none", "trainable": "all", "epochs": "1", "image_size": "32"}
    train_and_evaluate(prepare(load(str(image_folder)), overrides, options, print), lambda *_: None)
    text = reported(tmp_path / "run").read_text()
    assert "apple/" in text
    sizes = {tuple(map(int, size)) for size in re.findall(r'webp;base64,[^"]*" width="(\d+)" height="(\d+)"', text)}
    assert any(w != h for w, h in sizes)


def test_an_unfinished_run_says_how_to_finish_it(copy):
    (copy / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"no results yet .* Finish it: ignite-vision resume"):
        reported(copy)


def test_a_folder_that_is_no_run_and_a_page_that_is_a_folder_are_refused(copy, tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        reported(tmp_path)
    with pytest.raises(UserError, match="--out is a folder"):
        write_report(RunDirectory(copy), tmp_path, OPTIONS, print)


def test_other_images_are_refused(copy, image_folder):
    with pytest.raises(UserError, match="not the images of this run"):
        reported(copy, data=image_folder)


def test_a_full_disk_is_said_in_one_line(copy, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reporting, "collect", lambda *_: evidence())
    monkeypatch.setattr(reporting, "write_atomically", full)
    with pytest.raises(UserError, match="No space left") as refused:
        reported(copy)
    assert refused.value.code == NOT_SAVED


@pytest.mark.parametrize("damage", ["", "[1]", "3", "{", '{"seconds": 1}', '{"images_per_second": "many"}'])
def test_timings_that_are_damaged_are_left_out(tmp_path, damage):
    (tmp_path / "timings.jsonl").write_text(damage + "\n")
    assert reporting.speed(tmp_path / "timings.jsonl") == []


ODD = ['{"findings": [{"level": []}]}', '{"findings": [{"message": 1}]}', '{"findings": [{"images": 3}]}']


@pytest.mark.parametrize("damage", ["", "[1]", '{"findings": 3}', '{"findings": [1]}', "[" * 100_000, *ODD])
def test_a_check_that_is_damaged_is_left_out(tmp_path, damage):
    (tmp_path / "check.json").write_text(damage)
    assert read_check(RunDirectory(tmp_path)) is None


@pytest.mark.parametrize("damage", ["", "{", '{"epoch": 1}\n', None])
def test_a_history_that_is_damaged_or_gone_is_said_before_any_work(copy, damage):
    (copy / "history.jsonl").unlink()
    if damage is not None:
        (copy / "history.jsonl").write_text(damage)
    with pytest.raises(UserError, match="cannot read history.jsonl") as refused:
        reported(copy)
    assert refused.value.code == DAMAGED


def test_a_run_whose_copy_of_the_recipe_is_gone_shows_the_recipe_as_it_is(copy):
    (copy / "recipe.py").unlink()
    assert "datasets.digits" in read_recipe(subject_of(RunDirectory(copy), OPTIONS, print))
