"""`probe`."""

import json

import torch

from ignite_vision import models
from tests.helpers.command_line import assert_one_error_line


def test_it_ends_with_a_command_that_runs(ignite_vision, image_folder, tmp_path):
    torch.manual_seed(0)
    torch.save(models.build("cifar10_cnn", 10).state_dict(), tmp_path / "weights.pth")
    named = f"cifar10_cnn={tmp_path / 'weights.pth'}"
    code, out, err = ignite_vision("probe", image_folder, "--models", named, "--json")
    assert code == 0, err
    command = json.loads(out)["command"].split()
    code, _, err = ignite_vision(*command[1:], "--epochs", 2)
    assert code == 0, err
    assert "features of train" not in err


def test_what_names_no_model_is_refused(ignite_vision, image_folder):
    assert_one_error_line(ignite_vision("probe", image_folder, "--models", "=x"), "'=x' names no model")
    assert_one_error_line(ignite_vision("probe", image_folder, "--models", "resnet81"), "no model 'resnet81'")


def test_a_folder_without_images_is_refused(ignite_vision, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_one_error_line(ignite_vision("probe", tmp_path / "empty"), "empty")
