"""Published networks, evaluated as they are on folders of ImageNet's classes."""

import csv
import json

import pytest
import torch
from torchvision import models as zoo

from ignite_vision.data.images import read_image
from ignite_vision.errors import UserError
from ignite_vision.models import imagenet
from ignite_vision.prepare import Options
from ignite_vision.published import Published, evaluate_published, lines

NAME = "torchvision:squeezenet1_1"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(zoo.get_model("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.fixture
def folders(image_folder):
    """Photographs of a synset, of a class, and of what is neither."""
    for old, new in {"apple": "n01440764", "banana": "Banana", "cherry": "cherry"}.items():
        (image_folder / old).rename(image_folder / new)
    return image_folder


def evaluate(weights, data, out=None, tta=None):
    said = []
    options = Options(data=data, out=out, device="cpu", workers=0)
    return evaluate_published(Published(NAME, weights), "test", options, said.append, tta)


def test_only_the_name_of_a_family_makes_a_network_of_a_text():
    assert Published.parse("torchvision:resnet50") == Published("torchvision:resnet50", "DEFAULT")
    assert Published.parse("timm:a.b=x=y.pth") == Published("timm:a.b", "x=y.pth")
    assert [Published.parse(text) for text in ("resnet50", "runs/a", "C:/run", "torchvision")] == [None] * 4
    with pytest.raises(UserError, match="names no weights"):
        Published.parse("torchvision:resnet50=")


def test_images_are_matched_by_folder_and_the_others_left_out(weights, folders, tmp_path):
    found = evaluate(weights, folders)
    assert found.matched == {"n01440764": "tench", "Banana": "banana"}
    numbers = json.loads((found.folder / "metrics.json").read_text())
    assert (numbers["n"], numbers["left_out"], numbers["unknown_classes"]) == (24, 12, ["cherry"])
    assert (numbers["model"], numbers["calibration"]) == (NAME, None)
    assert found.folder.parent == tmp_path / "runs"
    with (found.folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == {"tench", "banana"}
    assert sum(row["class"] == row["predicted"] for row in rows) / 24 == numbers["accuracy"]
    text = "\n".join(lines(found))
    assert "matched 2 of 3 folders: Banana = banana, n01440764 = tench\n" in text
    assert "left out 12 images of folders that are no class of ImageNet's: cherry\n" in text


def test_among_the_classes_that_are_here_it_has_to_choose_between_two(weights, folders):
    found = evaluate(weights, folders)
    here = found.metrics["among_present"]
    assert here["classes"] == 2 and here["accuracy"] >= found.metrics["accuracy"]
    classifier = Published(NAME, weights).classifier("cpu", print)
    paths = sorted((folders / "n01440764").iterdir()) + sorted((folders / "Banana").iterdir())
    logits = classifier.logits(torch.cat([classifier.canvas(read_image(path)[None]) for path in paths]))
    tench, banana = (imagenet.label_of(name) for name in ("tench", "banana"))
    right = (logits[:12, tench] > logits[:12, banana]).sum() + (logits[12:, banana] > logits[12:, tench]).sum()
    assert here["accuracy"] == pytest.approx(int(right) / 24)


def test_mirror_images_and_other_weights_have_folders_of_their_own(weights, folders, tmp_path):
    plain, flipped = evaluate(weights, folders), evaluate(weights, folders, tta="flip")
    assert plain.folder != flipped.folder and flipped.metrics["tta"] == "flip"
    torch.manual_seed(1)
    torch.save(zoo.get_model("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    assert evaluate(weights, folders).folder not in (plain.folder, flipped.folder)
    assert evaluate(weights, folders, out=tmp_path / "here").folder == tmp_path / "here"


class TestRefused:
    def test_no_data_and_no_class_of_imagenets(self, weights, image_folder):
        with pytest.raises(UserError, match="no images of its own.*Add --data DIR: folders that are named by synset"):
            evaluate(weights, None)
        (image_folder / "banana").rename(image_folder / "bananas and more")
        with pytest.raises(UserError, match="no class of the data is known to the model"):
            evaluate(weights, image_folder)

    def test_a_run_or_a_file_as_folder_of_results(self, weights, folders, digits_run, tmp_path):
        with pytest.raises(UserError, match="--out is a run"):
            evaluate(weights, folders, out=digits_run)
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="--out is a file"):
            evaluate(weights, folders, out=tmp_path / "file")

    def test_weights_that_are_not_there_say_how_they_are_named_here(self, folders):
        with pytest.raises(UserError, match=f"no such weights file .*named so: {NAME}=PATH"):
            evaluate("gone.pth", folders)
        with pytest.raises(UserError, match="has no weights 'DEFUALT'"):
            evaluate("DEFUALT", folders)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy", "here"), [("squeezenet1_0", 0.56, 0.90)])
def test_given_weights_reach_their_accuracy_on_imagenet(test_data, name, accuracy, here):
    options = Options(data=test_data / "imagenet_val_20x50", device="cpu")
    published = Published(f"torchvision:{name}", str(test_data / "weights" / f"{name}.pth"))
    found = evaluate_published(published, "test", options, print)
    assert len(found.matched) == 20
    assert found.metrics["accuracy"] == pytest.approx(accuracy, abs=0.02)
    assert found.metrics["among_present"]["accuracy"] == pytest.approx(here, abs=0.02)
