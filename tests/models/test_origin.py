"""Where weights come from: said of published ones, of files, and carried on by our own."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.models.model_file import write_model

UNKNOWN = object()


def own_file(path, weights=UNKNOWN):
    """A model file of ours; weights: what its header says of them."""
    header = {} if weights is UNKNOWN else {"weights": weights}
    write_model(path, nn.Linear(2, 2).state_dict(), header)
    return str(path)


def test_without_weights_there_is_nothing_to_say():
    assert models.origin_of("resnet18", None) is None
    assert models.notes_of("resnet18", None) == []


def test_published_weights_have_their_name_and_licence():
    assert models.origin_of("resnet18", "DEFAULT") == {
        "source": "torchvision:resnet18 IMAGENET1K_V1",
        "license": None,
    }
    assert "SWAG" in models.origin_of("vit_h_14", "DEFAULT")["license"]


def test_a_file_is_known_by_its_name_alone(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    assert models.origin_of("resnet18", str(path)) == {"source": "mine.safetensors", "license": None}
    assert models.origin_of(nn.Linear, str(path)) == {"source": "mine.safetensors", "license": None}
    with pytest.raises(UserError, match="no such weights file"):
        models.origin_of("resnet18", str(tmp_path / "gone.pth"))


def test_our_own_file_carries_on_what_its_header_says(tmp_path):
    origin = {"source": "torchvision:vit_h_14 X", "license": "cc-by-nc-4.0"}
    assert models.origin_of("vit_h_14", own_file(tmp_path / "m.safetensors", origin)) == origin


def test_our_own_file_that_was_trained_from_scratch_is_nobody_elses(tmp_path):
    assert models.origin_of("resnet18", own_file(tmp_path / "m.safetensors", None)) is None


@pytest.mark.parametrize("weights", ["text", {"source": 3, "license": None}, {"license": "mit"}, []])
def test_an_origin_that_is_none_is_not_believed(tmp_path, weights):
    path = own_file(tmp_path / "m.safetensors", weights)
    assert models.origin_of("resnet18", path) == {"source": "m.safetensors", "license": None}


def test_our_own_file_of_an_older_version_says_nothing_of_its_weights(tmp_path):
    path = own_file(tmp_path / "m.safetensors")
    assert models.origin_of("resnet18", path) == {"source": "m.safetensors", "license": None}


def test_several_networks_have_one_origin(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"a")
    both = f"{own_file(tmp_path / 'm.safetensors', {'source': 'x', 'license': 'mit'})}+{tmp_path / 'a.pth'}"
    assert models.origin_of("resnet18+mobilenet_v2", both) == {"source": "x + a.pth", "license": "mit, unknown"}
