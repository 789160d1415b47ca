"""Evaluating a run again: the same results of the same images, and those of other images apart from them."""

import csv
import json
import shutil

import pytest

from ignite_vision import datasets
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluating import evaluate_run
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.run_directory import RunDirectory
from tests.helpers.runs import train

RESULTS = ("metrics.json", "per_class.csv", "confusion.csv", "coverage.csv", "predictions.csv", "model.safetensors")


class Trained:
    """A run on photographs, as the command makes it; `evaluate` as the command calls it."""

    def __init__(self, folder, out):
        overrides = {"model": "cifar10_cnn", "weights": "none", "trainable": "all", "epochs": "2"}
        self.folder, self.lines = folder, []
        self.prepared = prepare(
            load(str(folder)), overrides, Options(out=out, device="cpu", workers=0), self.lines.append
        )
        self.directory = self.prepared.directory
        train(self.prepared)

    def evaluate(self, data=None, split="test", tta=None):
        self.lines.clear()
        options = Options(data=data, device="cpu", workers=0)
        return evaluate_run(self.directory, split, options, self.lines.append, tta)

    def files(self):
        return {name: (self.directory / name).read_bytes() for name in RESULTS}


@pytest.fixture
def trained(image_folder, tmp_path):
    return Trained(image_folder, tmp_path / "run")


@pytest.fixture
def others(trained, image_folder, tmp_path):
    """Other photographs of the same classes."""
    other = tmp_path / "others"
    shutil.copytree(image_folder, other)
    for path in other.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"\0")
    return other


def test_the_runs_own_images_give_its_own_results_again(trained):
    before = trained.files()
    evaluated = trained.evaluate()
    assert evaluated.folder == trained.directory.path
    assert trained.files() == before


def test_the_same_images_elsewhere_are_still_its_own(trained, tmp_path):
    before = trained.files()
    moved = trained.folder.rename(tmp_path / "moved")
    assert trained.evaluate(moved).folder == trained.directory.path
    assert trained.lines == []
    assert trained.files() == before


def test_images_with_a_twin_in_train_are_left_out_once_more_where_check_found_some(trained):
    known = trained.evaluate()
    assert known.metrics["twins"] is None
    with (trained.directory / "predictions.csv").open() as lines:
        first = next(csv.DictReader(lines))["path"]
    pairs = f"a,b,bits,mirrored,split_a,split_b\n{first},any.jpg,0,0,test,train\nx.jpg,y.jpg,0,0,test,test\n"
    (trained.directory / "duplicates.csv").write_text(pairs)
    found = trained.evaluate().metrics
    assert found["twins"]["in_train"] == 1
    assert {**found, "twins": None} == known.metrics
    (trained.directory / "duplicates.csv").write_text("nothing,like,it\n1,2,3\n")
    with pytest.raises(UserError, match="cannot read duplicates.csv: 'split_a'"):
        trained.evaluate()


def test_another_split_has_a_folder_of_its_own(trained):
    before = trained.files()
    assert trained.evaluate(split="val").folder == trained.directory / "val"
    assert trained.files() == before
    assert json.loads((trained.directory / "val" / "metrics.json").read_text())["split"] == "val"


def test_other_images_have_a_folder_of_their_own_and_the_runs_results_stay(trained, others):
    before = trained.files()
    evaluated = trained.evaluate(others)
    assert evaluated.folder.parent == trained.directory / "evaluations"
    assert evaluated.folder.name.startswith("others-")
    assert trained.files() == before
    assert evaluated.metrics["n"] == 36
    facts = ("unknown_classes", "missing_classes", "left_out", "seen_in_training")
    assert [evaluated.metrics[name] for name in facts] == [[], [], 0, 0]
    assert trained.lines == ["note: these are not the run's own images; its own results stay as they are"]
    assert trained.evaluate(others).folder == evaluated.folder


def test_images_with_train_val_and_test_are_taken_by_the_split_of_that_name(trained, others, tmp_path):
    split = tmp_path / "split"
    for level, keep in (("train", "0*"), ("test", "1*")):
        for path in others.glob(f"*/{keep}.jpg"):
            (split / level / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, split / level / path.parent.name / path.name)
    assert trained.evaluate(split).metrics["n"] == 6
    assert trained.evaluate(split, "train").metrics["n"] == 30
    with pytest.raises(UserError, match="the data has no val images"):
        trained.evaluate(split, "val")


def test_classes_are_matched_by_name_whatever_else_lies_there(trained, others, tmp_path):
    whole = trained.evaluate(others)
    with (whole.folder / "predictions.csv").open(newline="") as file:
        of_cherries = [row for row in csv.DictReader(file) if row["class"] == "cherry"]
    shutil.rmtree(others / "apple")
    (others / "banana").rename(others / "aardvark")
    evaluated = trained.evaluate(others)
    with (evaluated.folder / "predictions.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == of_cherries
    assert any("12 images of classes unknown to the model are left out: aardvark" in line for line in trained.lines)
    assert any("without images here: apple, banana" in line for line in trained.lines)
    assert evaluated.metrics["left_out"] == 12


def test_no_common_class_is_refused(trained, others):
    for path in list(others.iterdir()):
        path.rename(path.with_name(f"not-{path.name}"))
    with pytest.raises(UserError, match="known to the model. The model knows apple, banana, cherry"):
        trained.evaluate(others)


def test_images_that_the_model_was_trained_on_are_counted_and_warned_of(trained, others, image_folder):
    """A person passes the folder of the training again, with a few images more."""
    shutil.copyfile(others / "apple" / "00.jpg", image_folder / "apple" / "new.jpg")
    evaluated = trained.evaluate(image_folder)
    seen = len(trained.prepared.splits.train) + len(trained.prepared.splits.val)
    assert evaluated.metrics["seen_in_training"] == seen
    assert any(line.startswith(f"warning: {seen} of these 37 images") for line in trained.lines)


class TestRefused:
    def test_a_model_of_other_classes(self, trained, image_folder, tmp_path):
        (image_folder / "apple").rename(image_folder / "zebra")
        other = Trained(image_folder, tmp_path / "other")
        (image_folder / "zebra").rename(image_folder / "apple")
        shutil.copyfile(other.directory.model, trained.directory.model)
        with pytest.raises(UserError, match="model.safetensors has other classes than the run") as failure:
            trained.evaluate()
        assert failure.value.code == DAMAGED

    def test_changed_images_say_what_changed_and_what_to_do(self, trained):
        trained.prepared.splits.test.path(0).unlink()
        with pytest.raises(UserError, match="1 gone, the first .*or pass --data DIR to evaluate on other images"):
            trained.evaluate()

    def test_a_file_of_the_same_size_in_a_run_that_keeps_the_content(self, trained):
        settings = trained.directory.read_settings()
        settings["data"]["content"] = "0" * 64
        trained.directory.write_settings(settings)
        with pytest.raises(UserError, match="the images or splits.csv changed since this run began"):
            trained.evaluate()

    def test_a_folder_that_is_not_there(self, trained, tmp_path):
        with pytest.raises(UserError, match="no such data folder"):
            trained.evaluate(tmp_path / "nothing")


def test_a_recipes_own_network_is_evaluated_although_its_file_cannot_name_it(make_run, tmp_path):
    recipe = tmp_path / "own_network.py"
    recipe.write_text(
        "from torch import nn\nfrom ignite_vision import Recipe\nfrom ignite_vision.testing import digits\n"
        "def net(n):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, n))\n"
        "recipe = Recipe(data=digits, model=net, epochs=1, batch_size=16, test_fraction=0.2, val_fraction=0.2)\n"
    )
    lines = []
    prepared = prepare(load(str(recipe)), {}, Options(out=tmp_path / "run", device="cpu"), lines.append)
    train(prepared)
    before = prepared.directory.metrics.read_bytes()
    evaluate_run(prepared.directory, "test", Options(device="cpu", workers=0), lines.append)
    assert prepared.directory.metrics.read_bytes() == before


def test_neither_weights_nor_pixels_in_memory_are_needed(image_folder, tmp_path):
    """The weights' file may be gone, and the cache too."""
    import torch
    from torchvision import models

    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "w.pth")
    overrides = {"model": "squeezenet1_1", "weights": str(tmp_path / "w.pth"), "epochs": "1", "image_size": "32"}
    lines = []
    prepared = prepare(load(str(image_folder)), overrides, Options(out=tmp_path / "run", device="cpu"), lines.append)
    train(prepared)
    before = prepared.directory.metrics.read_bytes()
    (tmp_path / "w.pth").unlink()
    shutil.rmtree(tmp_path / "cache")
    evaluate_run(prepared.directory, "test", Options(device="cpu"), lines.append)
    assert prepared.directory.metrics.read_bytes() == before
    assert datasets.image_folder(image_folder).classes == prepared.splits.classes


def test_a_run_of_some_classes_knows_its_images_among_all_and_is_evaluated_on_others(image_folder, tmp_path):
    overrides = {"model": "cifar10_cnn", "weights": "none", "trainable": "all", "epochs": "1"}
    options = Options(out=tmp_path / "run", device="cpu", workers=0)
    prepared = prepare(load(str(image_folder)), {**overrides, "exclude": "banana"}, options, lambda line: None)
    train(prepared)
    lines: list[str] = []

    def evaluate(data):
        return evaluate_run(prepared.directory, "test", Options(data=data, device="cpu", workers=0), lines.append)

    assert evaluate(None).folder == evaluate(image_folder).folder == prepared.directory.path
    assert lines == []
    other = tmp_path / "others"
    shutil.copytree(image_folder, other)
    shutil.rmtree(other / "apple")
    assert evaluate(other).metrics["left_out"] == 12
    assert any("classes unknown to the model are left out: banana" in line for line in lines)


class TestMirrorImages:
    def test_results_with_them_are_apart_and_say_so(self, trained):
        before = trained.files()
        found = trained.evaluate(tta="flip")
        assert found.folder == trained.directory / "test-tta-flip"
        assert trained.evaluate(split="val", tta="flip").folder == trained.directory / "val-tta-flip"
        assert trained.files() == before
        assert json.loads((found.folder / "metrics.json").read_text())["tta"] == "flip"
        assert "tta" not in json.loads(trained.directory.metrics.read_text())

    def test_of_other_images_they_are_not_calibrated(self, trained, others):
        found = trained.evaluate(others, tta="flip")
        assert found.folder.parent == trained.directory / "evaluations"
        assert found.folder.name.endswith("-tta-flip")
        assert found.metrics["calibration"] is None and found.metrics["coverage"] == []
        assert any("the probabilities are not calibrated" in line for line in trained.lines)


def test_answers_to_mirror_images_are_calibrated_on_such_answers(digits_run):
    options, folder = Options(device="cpu", workers=0), RunDirectory(digits_run)
    on_val = evaluate_run(folder, "val", options, print, "flip").metrics
    found = evaluate_run(folder, "test", options, print, "flip").metrics
    plain = folder.read_metrics()["calibration"]
    assert found["calibration"]["temperature"] == on_val["calibration"]["temperature"] != plain["temperature"]
    assert found["calibration"]["n"] == on_val["n"]
    for name in ("test", "val"):
        shutil.rmtree(folder / f"{name}-tta-flip")
