"""Files of weights: read without running code, loaded into all but the head, or refused by name."""

import os
import pickle
import random

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.meta import WithoutMemory
from ignite_vision.models.weights import load_backbone, load_plain, read_state_dict, refuse_inflated, todays_name


@pytest.fixture
def on_meta():
    """Build without memory."""
    with WithoutMemory():
        yield


def saved(tmp_path, change=lambda state: state, name="w.pth"):
    torch.manual_seed(1)
    network = models.build("squeezenet1_1", 1000)
    path = tmp_path / name
    torch.save(change(network.state_dict()), path)
    return network, path


def test_all_but_the_head_is_loaded(tmp_path):
    source, path = saved(tmp_path)
    network = models.build("squeezenet1_1", 7, str(path))
    assert network.features[0].weight.equal(source.features[0].weight)
    assert network.classifier[-1].weight.shape == (7, 512)


def test_wrappers_that_training_scripts_leave_are_looked_through(tmp_path):
    def wrap(state):
        return {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in state.items()}}

    source, path = saved(tmp_path, wrap)
    assert models.build("squeezenet1_1", 7, str(path)).features[0].weight.equal(source.features[0].weight)


def test_what_is_missing_unknown_or_of_another_shape_is_named(tmp_path):
    def change(state):
        state["features.0.bias"] = torch.zeros(3)
        state["other"] = torch.zeros(1)
        del state["features.3.squeeze.bias"]
        return state

    _, path = saved(tmp_path, change)
    with pytest.raises(UserError) as failure:
        models.build("squeezenet1_1", 7, str(path))
    for part in ("features.3.squeeze.bias is missing", "other is unknown", "features.0.bias is (3,), not (64,)"):
        assert part in str(failure.value)


@pytest.mark.parametrize(
    ("name", "old_names"),
    [
        ("densenet121", {"norm1.": "norm.1.", "norm2.": "norm.2.", "conv1.": "conv.1.", "conv2.": "conv.2."}),
        ("vit_b_32", {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}),
    ],
)
def test_published_files_with_the_names_of_older_versions_fit(name, old_names, on_meta):
    def old(key):
        if "denselayer" in key or "mlp" in key:
            for today, before in old_names.items():
                key = key.replace(today, before)
        return key

    today = list(models.build(name, 7).state_dict())
    assert [old(key) for key in today] != today
    assert [todays_name(old(key)) for key in today] == today


def test_a_layer_of_an_old_name_is_loaded_into_its_place_and_one_that_is_the_models_own_stays():
    class Network(nn.Module):
        def __init__(self, first):
            super().__init__()
            self.mlp = nn.ModuleDict({first: nn.Linear(2, 2)})
            self.block = nn.ModuleDict({"mlp": nn.ModuleDict({first: nn.Linear(2, 2)})})
            self.fc = nn.Linear(2, 3)

    old = Network("linear_1")
    for network, first in ((Network("0"), "0"), (Network("linear_1"), "linear_1")):
        state = {key: t for key, t in old.state_dict().items() if not key.startswith("mlp.")}
        state |= {f"mlp.{first}.{key}": t for key, t in old.mlp["linear_1"].state_dict().items()}
        load_backbone(network, state, "w.pth")
        assert network.block["mlp"][first].weight.equal(old.block["mlp"]["linear_1"].weight)


def test_a_network_that_wants_to_know_the_version_of_its_weights_is_told(tmp_path):
    """MNASNet refuses a state dict without one, and plain names and tensors have none."""
    path = tmp_path / "w.pth"
    torch.save(models.build("mnasnet0_5", 1000).state_dict(), path)
    assert models.build("mnasnet0_5", 7, str(path)).classifier[1].out_features == 7


def test_weights_without_values_are_refused(tmp_path):
    """torchvision's IMAGENET1K_FEATURES of vgg16 have a classifier of NaN."""

    def change(state):
        state["features.0.weight"].fill_(float("nan"))
        return state

    _, path = saved(tmp_path, change)
    with pytest.raises(UserError, match="features.0.weight is not finite"):
        models.build("squeezenet1_1", 7, str(path))


def test_a_file_that_is_not_there_or_cut_off_is_named(tmp_path):
    with pytest.raises(UserError, match="no such weights file"):
        models.build("squeezenet1_1", 7, str(tmp_path / "gone.pth"))
    _, path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot read the weights") as failure:
        models.build("squeezenet1_1", 7, str(path))
    assert failure.value.code == DAMAGED


def test_no_pickle_is_ever_run(tmp_path, monkeypatch):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    plain, in_torch = tmp_path / "plain.pth", tmp_path / "torch.pth"
    plain.write_bytes(pickle.dumps(Malice()))
    torch.save({"features.0.weight": Malice()}, in_torch)
    for path in (plain, in_torch):
        with pytest.raises(UserError, match="cannot read the weights"):
            models.build("squeezenet1_1", 7, str(path))
    assert not (tmp_path / "canary").exists()


def test_a_tensor_that_claims_terabytes_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"features.0.weight": torch.zeros(1).expand(1 << 40)}, path)
    with pytest.raises(UserError, match="claims more than it holds"):
        models.build("squeezenet1_1", 7, str(path))


@pytest.mark.parametrize(
    "odd", [torch.ones(64).to_sparse(), torch.ones(64, device="meta"), torch.ones(64, dtype=torch.complex64)]
)
def test_a_tensor_that_is_not_plain_is_refused(tmp_path, odd):
    _, path = saved(tmp_path, lambda state: {**state, "features.0.bias": odd})
    with pytest.raises(UserError, match="not a plain one"):
        models.build("squeezenet1_1", 7, str(path))


@pytest.mark.parametrize("content", [{1: torch.zeros(2)}, {"a": "text"}, [torch.zeros(2)], torch.zeros(2)])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match="holds no state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_changed_bytes_is_read_or_refused_in_one_line(tmp_path, zipped):
    """Fuzzed: torch's unpickler fails in a dozen ways (AssertionError, IndexError, struct.error, ...)."""
    path, chance = tmp_path / "w.pth", random.Random(0)
    torch.save({"a": torch.zeros(3), "b": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            read_state_dict(path)
        except UserError as error:
            refused += 1
            assert error.code == DAMAGED
            assert "\n" not in str(error)
    assert refused > 50


def test_a_torch_file_is_read_as_plain_data_only(tmp_path):
    torch.save({"lr": 0.1, "steps": [torch.ones(2)]}, tmp_path / "plain.pt")
    assert load_plain(tmp_path / "plain.pt")["steps"][0].equal(torch.ones(2))
    torch.save({"function": os.getcwd}, tmp_path / "code.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_plain(tmp_path / "code.pt")


def test_an_inflated_tensor_is_found_however_deep_it_lies():
    inflated = torch.zeros(1).expand(1 << 40)
    refuse_inflated({"a": [torch.zeros(3)[1:], ({"b": "text"},)]})
    with pytest.raises(ValueError, match="claims more than it holds, 4 bytes"):
        refuse_inflated({"a": [1, ({"b": inflated},)]})


def test_a_mask_of_minus_infinity_is_no_reason_to_refuse_weights():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = nn.Linear(2, 2), nn.Linear(2, 3)
            self.register_buffer("mask", torch.zeros(2))

    source, network = Masked(), Masked()
    source.mask.fill_(float("-inf"))
    load_backbone(network, source.state_dict(), "w.pth")
    assert network.mask.isinf().all()
    assert network.body.weight.equal(source.body.weight)
