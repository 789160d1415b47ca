"""A model is evaluated again from its file: on the run's own images, or on others."""

import json

import pytest
import torch
from torch import nn

from ignite_vision import datasets
from ignite_vision.errors import UserError
from ignite_vision.evaluating import evaluate_run
from ignite_vision.prepare import Options
from tests.helpers.runs import train


@pytest.fixture
def trained(make_run, image_folder):
    """A run on photographs with a network that a model file can name."""
    fields = {"data_function": datasets.image_folder, "model": "digits_cnn", "epochs": 2, "batch_size": 8}
    prepared = make_run(data=image_folder, **fields)
    train(prepared)
    return prepared


@pytest.fixture
def evaluate(trained, monkeypatch):
    """Evaluate the run without its recipe file, which tests have none of."""
    from ignite_vision import evaluating

    monkeypatch.setattr(evaluating, "load_again", lambda spec, copy: trained.loaded)

    def evaluated(split="test", data=None):
        lines = []
        options = Options(data=data, device="cpu", workers=0)
        return evaluate_run(trained.directory, split, options, lines.append), lines

    return evaluated


def test_its_own_test_images_give_its_own_numbers_and_bytes(trained, evaluate):
    before = {path.name: path.read_bytes() for path in trained.directory.path.glob("*.csv")}
    numbers = json.loads(trained.directory.metrics.read_text())
    evaluated, _ = evaluate()
    assert evaluated.metrics == numbers
    assert {path.name: path.read_bytes() for path in trained.directory.path.glob("*.csv")} == before


def test_another_split_has_a_folder_of_its_own(trained, evaluate):
    evaluated, _ = evaluate("val")
    assert evaluated.folder == trained.directory.path / "val"
    assert evaluated.metrics["split"] == "val"


def test_other_images_have_a_folder_of_their_own_and_say_what_is_unknown(trained, evaluate, image_folder, tmp_path):
    before = trained.directory.metrics.read_bytes()
    other = image_folder.rename(tmp_path / "other")
    (other / "apple" / "00.jpg").unlink()
    (other / "cherry").rename(other / "damson")
    evaluated, lines = evaluate(data=other)
    assert trained.directory.metrics.read_bytes() == before
    assert evaluated.folder.parent == trained.directory.path / "evaluations"
    assert evaluated.metrics["unknown_classes"] == ["damson"]
    assert evaluated.metrics["missing_classes"] == ["cherry"]
    assert evaluated.metrics["n"] == 23
    assert any("damson" in line for line in lines)


@pytest.mark.parametrize("lost", [True, False])
def test_an_edited_or_lost_splits_csv_is_refused(trained, evaluate, lost):
    before = trained.directory.metrics.read_bytes()
    lines = trained.directory.splits.read_text().splitlines()
    edited = [line.replace(",train,", ",test,") if n < 6 else line for n, line in enumerate(lines)]
    trained.directory.splits.unlink() if lost else trained.directory.splits.write_text("\n".join(edited) + "\n")
    with pytest.raises(UserError):
        evaluate()
    assert trained.directory.metrics.read_bytes() == before


def test_a_network_of_the_recipes_own_is_built_by_the_recipe(make_run, monkeypatch):
    def linear(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    from ignite_vision import evaluating

    prepared = make_run(model=linear)
    numbers = train(prepared).metrics
    monkeypatch.setattr(evaluating, "load_again", lambda spec, copy: prepared.loaded)
    evaluated = evaluate_run(prepared.directory, "test", Options(device="cpu", workers=0), print)
    assert evaluated.metrics == numbers
    assert torch.isfinite(torch.tensor(evaluated.metrics["loss"]))
