"""run.json: what a run began as, and what is refused or said when it is taken up again."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.training.settings import changed_sources, refuse_changes, settings_of
from tests.helpers.runs import built, train


def test_settings_are_json_and_name_what_decides_the_result(make_run):
    run = built(make_run())
    settings = settings_of(run, run.plan)
    assert json.loads(json.dumps(settings)) == settings
    assert settings["format_version"] == 2
    assert settings["data"]["sizes"] == {"train": 72, "val": 24, "test": 24}


def test_a_changed_field_is_named_old_and_new(make_run):
    train(make_run())
    prepared = make_run(lr=0.01)
    with pytest.raises(UserError, match="lr: 0.001 -> 0.01"):
        refuse_changes(prepared, prepared.directory.read_settings())


def test_another_argument_of_the_same_loss_is_another_recipe(make_run):
    train(make_run(loss=nn.CrossEntropyLoss(label_smoothing=0.1)))
    with pytest.raises(UserError, match="this run began with another recipe: loss"):
        train(make_run(loss=nn.CrossEntropyLoss(label_smoothing=0.3)))


def test_other_weights_under_the_same_name_are_refused(make_run, tmp_path):
    path = tmp_path / "weights.pth"

    def linear(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))

    torch.save(linear(3).state_dict(), path)
    train(make_run(model=linear, weights=str(path)))
    torch.save(linear(3).state_dict(), path)
    with pytest.raises(UserError, match="content of the weights changed"):
        train(make_run(model=linear, weights=str(path)))


def test_a_file_whose_code_changed_is_named_and_a_new_one_is_not(make_run):
    prepared = make_run()
    sources = prepared.loaded.sources()
    assert changed_sources(prepared, {"sources": sources}) == []
    name = next(iter(sources))
    assert changed_sources(prepared, {"sources": {name: "0" * 64}}) == [name]
    assert changed_sources(prepared, {"sources": {}}) == []


def test_changed_code_refuses_a_finished_run(make_run):
    prepared = make_run()
    train(prepared)
    settings = prepared.directory.read_settings()
    settings["sources"] = {name: "0" * 64 for name in settings["sources"]}
    prepared.directory.write_settings(settings)
    with pytest.raises(UserError, match="code changed since this run finished"):
        train(make_run())
    longer = dataclasses.replace(prepared, recipe=dataclasses.replace(prepared.recipe, epochs=3))
    assert train(longer).metrics["exact"] is False
