"""Pretrained weights by name or file: which are meant, what they are called, where they lie."""

import hashlib

import pytest
from torch import nn

from ignite_vision import models
from ignite_vision.errors import UserError


def small_net(num_classes):
    return nn.Linear(4, num_classes)


def test_weights_in_a_file_are_known_by_its_bytes_not_its_name(tmp_path):
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    assert models.weights_content("resnet18", str(one)) == hashlib.sha256(b"weights").hexdigest()
    assert models.weights_content("resnet18", str(other)) == models.weights_content(small_net, str(one))
    one.write_bytes(b"other weights under the same name")
    assert models.weights_content("resnet18", str(one)) != models.weights_content("resnet18", str(other))


def test_weights_of_a_name_are_known_by_the_published_file():
    assert models.weights_content("resnet50", "DEFAULT") == "resnet50-11ad3fa6.pth"
    assert models.weights_content("resnet50", "IMAGENET1K_V1") == "resnet50-0676ba61.pth"
    assert models.weights_content("resnet50", None) is None


def test_weights_that_are_not_there_have_no_content(tmp_path):
    with pytest.raises(UserError, match="no such weights file"):
        models.weights_content("resnet18", str(tmp_path / "gone.pth"))
    with pytest.raises(UserError, match="this recipe's model has no published weights 'DEFAULT'"):
        models.weights_content(small_net, "DEFAULT")


def test_a_path_becomes_absolute_and_a_published_name_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"a")
    assert models.with_absolute_paths("resnet18", "a.pth") == str(tmp_path / "a.pth")
    assert models.with_absolute_paths("resnet18", "DEFAULT") == "DEFAULT"
    assert models.with_absolute_paths(small_net, "a.pth") == str(tmp_path / "a.pth")


def test_several_networks_have_several_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.pth").write_bytes(name.encode())
    both = "resnet18+mobilenet_v2"
    assert models.with_absolute_paths(both, "a.pth+b.pth") == f"{tmp_path / 'a.pth'}+{tmp_path / 'b.pth'}"
    assert models.with_absolute_paths(both, "DEFAULT") == "DEFAULT"
    one, other = (models.weights_content("resnet18", f"{name}.pth") for name in ("a", "b"))
    assert models.weights_content(both, "a.pth+b.pth") == f"{one}+{other}"
    assert models.weights_content(both, "DEFAULT") == "resnet18-f37072fd.pth+mobilenet_v2-7ebf99e0.pth"


def test_only_a_sum_is_composed():
    assert models.is_composed("resnet18+mobilenet_v2")
    assert not models.is_composed("resnet18")
    assert not models.is_composed(small_net)
