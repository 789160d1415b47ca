"""`evaluate`: on the run's own splits, and on other images of the same classes."""

import json
import shutil

import pytest
import torch
from torchvision import models as zoo

from tests.helpers.command_line import assert_one_error_line


@pytest.fixture
def trained(ignite_vision, image_folder, tmp_path):
    """Return the directory of a finished run on a folder of three classes."""
    fields = ("model=digits_cnn", "weights=none", "trainable=all")
    settings = [text for field in fields for text in ("--set", field)]
    code, _, err = ignite_vision("run", image_folder, *settings, "--epochs", 1, "--out", tmp_path / "run")
    assert code == 0, err
    return tmp_path / "run"


def results(folder):
    """The files of an evaluation by name."""
    names = ("metrics.json", "per_class.csv", "confusion.csv", "coverage.csv", "predictions.csv")
    return {name: (folder / name).read_bytes() for name in names}


def test_evaluate_repeats_the_metrics_of_the_run(ignite_vision, trained):
    before = results(trained)
    code, out, err = ignite_vision("evaluate", trained)
    assert code == 0, err
    assert out.startswith("test accuracy")
    assert results(trained) == before


def test_another_split_has_its_own_folder_and_its_own_next_step(ignite_vision, trained):
    before = results(trained)
    code, out, err = ignite_vision("evaluate", trained, "--split", "val")
    assert code == 0, err
    assert out.startswith("val accuracy")
    assert out.splitlines()[-1].startswith(f"next: look at {trained / 'val' / 'predictions.csv'}")
    assert json.loads(results(trained / "val")["metrics.json"])["split"] == "val"
    assert results(trained) == before


def test_data_that_moved_are_the_runs_own(ignite_vision, trained, image_folder):
    before = results(trained)
    moved = image_folder.rename(image_folder.with_name("moved"))
    assert_one_error_line(ignite_vision("evaluate", trained), "no longer there", "--data")
    code, _, err = ignite_vision("evaluate", trained, "--data", moved)
    assert code == 0, err
    assert "not the run's own images" not in err
    assert results(trained) == before


def test_other_images_of_the_same_classes_leave_the_runs_results_alone(ignite_vision, trained, image_folder, tmp_path):
    before = results(trained)
    shutil.copytree(image_folder, tmp_path / "others")
    (tmp_path / "others" / "apple" / "00.jpg").unlink()
    (tmp_path / "others" / "cherry").rename(tmp_path / "others" / "damson")
    code, out, err = ignite_vision("evaluate", trained, "--data", tmp_path / "others")
    assert code == 0, err
    assert "note: 12 images of classes unknown to the model are left out: damson" in err
    assert "note: classes of the model without images here: cherry" in err
    assert "note: these are not the run's own images; its own results stay as they are" in err
    (folder,) = (trained / "evaluations").iterdir()
    assert f"results: {folder}" in out
    numbers = json.loads(results(folder)["metrics.json"])
    assert (numbers["n"], numbers["unknown_classes"], numbers["left_out"]) == (23, ["damson"], 12)
    assert results(trained) == before


def test_a_published_network_is_evaluated_as_it_is(ignite_vision, image_folder, tmp_path):
    torch.manual_seed(0)
    torch.save(zoo.get_model("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    (image_folder / "apple").rename(image_folder / "n01440764")
    named = f"torchvision:squeezenet1_1={tmp_path / 'weights.pth'}"
    code, out, err = ignite_vision("evaluate", named, "--data", image_folder, "--out", tmp_path / "out")
    assert code == 0, err
    assert out.startswith("matched 2 of 3 folders: n01440764 = tench\nleft out 12 images")
    assert f"\nresults: {tmp_path / 'out'}\n" in out
    assert (tmp_path / "out" / "predictions.csv").is_file()


def test_mirror_images_are_compared_with_plain_ones(ignite_vision, digits_run, tmp_path):
    run = shutil.copytree(digits_run, tmp_path / "run")
    code, out, err = ignite_vision("evaluate", run, "--tta", "flip")
    assert code == 0, err
    assert "each image and its mirror image: the mean of both probabilities" in out
    assert out.splitlines()[-1] == f"next: ignite-vision compare {run} {run / 'test-tta-flip'}"
    code, out, err = ignite_vision("compare", run, run / "test-tta-flip")
    assert code == 0, err
    assert out.splitlines()[0].split() == ["run", "accuracy", "95", "%", "interval", "tta"]
    assert f"{run} looks better, but one seed each" in out  # a digit in the mirror is another sign


class TestBadInput:
    def test_no_run(self, ignite_vision, tmp_path):
        result = ignite_vision("evaluate", tmp_path)
        assert_one_error_line(result, "not a run directory", str(tmp_path), "`ignite-vision run RECIPE` makes a run")

    def test_unknown_split(self, ignite_vision, tmp_path):
        result = ignite_vision("evaluate", tmp_path, "--split", "vall")
        assert_one_error_line(result, "'vall' is not one of 'train', 'val', 'test'", "See `ignite-vision evaluate")

    def test_data_that_are_not_there(self, ignite_vision, trained, tmp_path):
        result = ignite_vision("evaluate", trained, "--data", tmp_path / "gone")
        assert_one_error_line(result, "no such data folder", "gone")

    def test_images_that_changed(self, ignite_vision, trained, image_folder):
        (image_folder / "apple" / "00.jpg").unlink()
        result = ignite_vision("evaluate", trained)
        assert_one_error_line(result, "not the images of this run: 1 gone", "apple/00.jpg")

    def test_classes_that_the_model_does_not_know(self, ignite_vision, trained, image_folder, tmp_path):
        for old, new in (("apple", "elm"), ("banana", "fir"), ("cherry", "oak")):
            shutil.copytree(image_folder / old, tmp_path / "trees" / new)
        result = ignite_vision("evaluate", trained, "--data", tmp_path / "trees")
        assert_one_error_line(result, "no class of the data is known to the model", "apple, banana, cherry")

    def test_a_run_without_a_model(self, ignite_vision, trained):
        (trained / "model.safetensors").unlink()
        result = ignite_vision("evaluate", trained)
        assert_one_error_line(result, "this run has no model yet", f"ignite-vision resume {trained}")

    def test_a_damaged_model(self, ignite_vision, trained):
        model = trained / "model.safetensors"
        model.write_bytes(model.read_bytes()[:-8])
        assert_one_error_line(ignite_vision("evaluate", trained), "cannot read the model", str(model), code=3)

    def test_a_device_that_is_not_there(self, ignite_vision, trained):
        assert_one_error_line(ignite_vision("evaluate", trained, "--device", "gpu"), "no device 'gpu'")

    def test_a_folder_of_results_is_of_networks_by_name(self, ignite_vision, trained, tmp_path):
        assert_one_error_line(ignite_vision("evaluate", trained, "--out", tmp_path), "--out is for", "not of a run")
        assert_one_error_line(ignite_vision("evaluate", "torchvision:resnet18"), "no images of its own", "--data DIR")
        result = ignite_vision("evaluate", "torchvision:resnet1", "--data", tmp_path)
        assert_one_error_line(result, "no model 'torchvision:resnet1'", "Did you mean")
