"""model.safetensors: weights that carry their classes and preprocessing, and nothing that runs."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.model_file import load_weights, read_header, write_model

HEADER = {"classes": ["ant", "bee"], "preprocessing": {"resize": 8}, "temperature": 1.0}


def test_weights_and_header_come_back(tmp_path):
    path, network = tmp_path / "model.safetensors", nn.Linear(3, 2)
    write_model(path, network.state_dict(), HEADER)
    assert read_header(path) == {"format_version": 1, **HEADER}
    other = nn.Linear(3, 2)
    load_weights(other, path)
    assert other.weight.equal(network.weight)


def test_the_same_weights_give_the_same_bytes(tmp_path):
    network = nn.Linear(3, 2)
    for name in "ab":
        write_model(tmp_path / name, network.state_dict(), HEADER)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_channels_last_weights_are_written_in_plain_order(tmp_path):
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    write_model(tmp_path / "m", network.state_dict(), HEADER)
    other = nn.Conv2d(3, 4, 3)
    load_weights(other, tmp_path / "m")
    assert other.weight.equal(network.weight)


def test_a_pickle_of_that_name_is_refused_and_not_run(tmp_path):
    class Malice:
        def __reduce__(self):
            return (tmp_path / "canary").touch, ()

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Malice()))
    for read in (read_header, lambda p: load_weights(nn.Linear(3, 2), p)):
        with pytest.raises(UserError) as failure:
            read(path)
        assert failure.value.code == DAMAGED
    assert not (tmp_path / "canary").exists()


def test_a_file_without_our_header_is_not_ours(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path / "m")
    with pytest.raises(UserError, match="not a model that this version reads"):
        read_header(tmp_path / "m")


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    write_model(tmp_path / "m", nn.Linear(4, 2).state_dict(), HEADER)
    with pytest.raises(UserError, match="the weights do not fit the model: .*weight"):
        load_weights(nn.Linear(3, 2), tmp_path / "m")
