"""What a command prints before the first epoch and after the last."""

import re
from pathlib import Path

import pytest
import torch

from ignite_vision import Splits, datasets
from ignite_vision.cli.summary import class_list, counted, results, summary
from ignite_vision.jobs import rehearse
from ignite_vision.loading.plan import Plan, choose
from ignite_vision.run_directory import RunDirectory
from tests.conftest import squares

NUMBERS = {
    "split": "test",
    "n": 1234,
    "accuracy": 0.9,
    "balanced_accuracy": 0.85,
    "loss": 0.321,
    "per_class": {"a": {"n": 5, "accuracy": 1.0}, "b": {"n": 5, "accuracy": 0.5}, "c": {"n": 0}},
}


def lines(prepared, plan=None):
    """The summary by its first word."""
    found = summary(prepared, plan or choose(prepared))
    return {line.split()[0]: line for line in found}


def test_the_summary_says_how_images_are_fitted(make_run, image_folder):
    fields = {"data": image_folder, "data_function": datasets.image_folder, "model": "resnet18", "image_size": (48, 64)}
    said = "RGB 48x64 (height x width), "
    assert f"{said}resized to cover 55x73 (bilinear)" in lines(make_run(**fields, fit="crop"))["images"]
    assert f"{said}whole images, padded (bilinear)" in lines(make_run(**fields, fit="pad"))["images"]
    assert f"{said}whole images, squashed (bilinear)" in lines(make_run(**fields, fit="squash"))["images"]


def test_the_summary_says_data_model_images_cache_training_and_directory(make_run, tmp_path):
    found = lines(make_run())
    assert list(found) == ["data", "model", "images", "cache", "training", "run"]
    assert "train 72 · val 24 · test 24 images, 3 classes (dark, middle, bright)" in found["data"]
    assert "random weights: 819 trainable parameters, 0 frozen" in found["model"]
    assert "grey 8x8, short side resized to 8 (bilinear), mean 0.5, std 0.5" in found["images"]
    assert "2 epochs of 4 batches of 16, fp32 on cpu" in found["training"]
    assert found["run"] == f"run        {tmp_path / 'run'}"


def test_the_summary_says_how_unequal_classes_are_evened_out(make_run, tmp_path):
    by_name = lines(make_run(class_weights={"bright": 4, "dark": 0.5}))
    assert by_name["balance"] == "balance    an image's weight in the training loss: dark 0.5 to bright 4"
    drawn = lines(make_run(out=tmp_path / "drawn", data_function=unequal, sampler="balanced"))["balance"]
    assert drawn.endswith("draws classes equally often, each image on average: dark 0.75 to bright 3")
    alike = lines(make_run(out=tmp_path / "alike", class_weights="balanced"))["balance"]
    assert alike.endswith(": 1 in all classes")


def unequal(root):
    """The squares, without most of the bright ones."""
    given = squares(root)
    few = (given.train.targets < 2) | (torch.arange(120) < 30)
    return Splits(given.train.subset(torch.nonzero(few)[:, 0]), classes=given.classes)


def test_the_summary_says_why_the_rows_are_kept_where_they_are(make_run):
    assert lines(make_run(), Plan("none", "cache=none"))["cache"] == "cache      none: cache=none"


def test_the_summary_says_when_the_batch_is_larger_than_the_data(make_run):
    assert "(batch size 500 is more than the 72 images)" in lines(make_run(batch_size=500))["training"]
    assert "more than" not in lines(make_run(batch_size=72))["training"]


def test_a_dry_run_says_what_the_run_would_be_and_what_came_of_two_batches(make_run):
    prepared = make_run()
    plan, finding = rehearse(prepared)
    assert plan.kind == "resident" and "2 epochs of 4 batches" in lines(prepared, plan)["training"]
    assert re.match(r"dry run    trained two batches \(loss \d\.\d{3}\)", finding)


@pytest.mark.parametrize(
    ("classes", "text"), [("abc", "a, b, c"), ("abcdef", "a, b, c, d, e, f"), ("abcdefgh", "a, b, c, d, …, h")]
)
def test_a_long_list_of_classes_is_cut(classes, text):
    assert class_list(tuple(classes)) == text


def test_the_runs_own_results_lead_to_predictions_and_its_curves():
    directory = RunDirectory(Path("runs/x"))
    assert list(results(NUMBERS, directory, directory.path)) == [
        "test accuracy 0.9000 on 1,234 images · balanced 0.8500 · loss 0.3210",
        "weakest classes: b 0.50",
        "run directory: runs/x",
        "next: ignite-vision report runs/x, or ignite-vision predict runs/x PHOTOS/",
    ]


def test_other_results_lead_to_their_files_and_not_to_the_same_command_again():
    found = list(results({**NUMBERS, "split": "val"}, RunDirectory(Path("runs/x")), Path("runs/x/val")))
    assert found[0].startswith("val accuracy 0.9000")
    assert "results: runs/x/val" in found
    assert found[-1].startswith("next: look at runs/x/val/predictions.csv")
    assert "evaluate" not in " ".join(found)


def test_the_calibrated_loss_stands_beside_the_raw_one():
    directory = RunDirectory(Path("x"))
    first = next(results({**NUMBERS, "calibrated_loss": 0.25}, directory, directory.path))
    assert first.endswith("· loss 0.3210, calibrated 0.2500")


def test_below_the_accuracy_stand_its_interval_the_best_single_class_and_chance():
    directory = RunDirectory(Path("x"))
    more = {"intervals": {"accuracy": [0.882, 0.9154]}, "baseline": {"class": "b", "accuracy": 0.25, "chance": 0.1}}
    found = list(results({**NUMBERS, "format": 2, **more}, directory, directory.path))
    assert found[1] == "95 % interval 0.882 to 0.915 · always saying b: 0.250 · guessing: 0.100"


def test_where_no_class_is_weak_none_is_named():
    numbers = {**NUMBERS, "per_class": {"a": {"n": 5, "accuracy": 0.9}}}
    directory = RunDirectory(Path("x"))
    assert not any(line.startswith("weakest") for line in results(numbers, directory, directory.path))


def test_one_is_not_many():
    assert [counted(1, "epoch"), counted(20, "epoch"), counted(1, "batch"), counted(1200, "batch")] == [
        "1 epoch",
        "20 epochs",
        "1 batch",
        "1,200 batches",
    ]
