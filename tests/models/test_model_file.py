"""model.safetensors: weights that carry their classes and preprocessing, are checked, and run nothing."""

import json
import os
import pickle
import random
import struct
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ignite_vision import models
from ignite_vision.errors import BAD_INPUT, DAMAGED, UserError
from ignite_vision.models.model_file import (
    KEY,
    check_shapes,
    load_model,
    load_weights,
    read_header,
    save_tensors,
    write_model,
)
from ignite_vision.models.state import weights_hash

HEADER = {
    "task": "single-label",
    "architecture": "ignite_vision:digits_cnn",
    "num_classes": 3,
    "classes": ["ant", "bee", "cat"],
    "preprocessing": {"channels": 1, "resize": 8, "crop": 8, "mean": [0.5], "std": [0.5]},
    "precision": "fp32",
    "temperature": 1.0,
}
SLOWER = ("mobilenet_v2", "regnet_y_400mf", "swin_t", "densenet121", "googlenet")
NAMES = ["digits_cnn", "mnasnet0_5", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)]


def digits(path, **changes):
    """Write a model of our digits network, and return the network."""
    network = models.build("digits_cnn", 3).eval()
    write_model(path, network.state_dict(), {**HEADER, **changes})
    return network


def old(path, network, header):
    """Write a file as the first version did: no hash of weights or header."""
    save_file(network.state_dict(), path, metadata={KEY: json.dumps({"format_version": 1, **header})})


class Counting(nn.Module):
    """A layer that counts its calls, in extra state."""

    def __init__(self, calls):
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(2)), calls

    def get_extra_state(self):
        return self.calls

    def set_extra_state(self, state):
        self.calls = state


class TestWriting:
    def test_weights_and_header_come_back(self, tmp_path):
        path = tmp_path / "model.safetensors"
        network = digits(path)
        header = read_header(path)
        assert {**header, "format_version": 1, **HEADER} == header
        other = models.build("digits_cnn", 3)
        load_weights(other, path)
        assert weights_hash(other.state_dict()) == weights_hash(network.state_dict()) == header["weights_sha256"]

    def test_the_weights_hash_is_returned(self, tmp_path):
        network = nn.Linear(3, 2)
        assert write_model(tmp_path / "m", network.state_dict(), HEADER) == weights_hash(network.state_dict())

    def test_the_same_weights_give_the_same_bytes(self, tmp_path):
        network = nn.Linear(3, 2)
        for name in "ab":
            write_model(tmp_path / name, network.state_dict(), HEADER)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_channels_last_weights_are_written_in_plain_order(self, tmp_path):
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        write_model(tmp_path / "m", network.state_dict(), HEADER)
        other = nn.Conv2d(3, 4, 3)
        load_weights(other, tmp_path / "m")
        assert other.weight.equal(network.weight)

    def test_a_layer_under_two_names_is_written_under_both_and_comes_back_shared(self, tmp_path):
        def tied():
            shared = nn.Linear(3, 3)
            return nn.Sequential(shared, nn.ReLU(), shared)

        network, other = tied(), tied()
        write_model(tmp_path / "m", network.state_dict(), HEADER)
        assert load_file(tmp_path / "m").keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
        load_weights(other, tmp_path / "m")
        assert other[2].weight is other[0].weight
        assert other[0].weight.equal(network[0].weight)

    def test_two_views_of_one_memory_are_written_each(self, tmp_path):
        whole = torch.arange(6.0)
        save_tensors(tmp_path / "m", {"a": whole[:4], "b": whole[2:], "c": whole})
        assert {name: t.tolist() for name, t in load_file(tmp_path / "m").items()} == {
            "a": [0, 1, 2, 3],
            "b": [2, 3, 4, 5],
            "c": [0, 1, 2, 3, 4, 5],
        }

    def test_extra_state_comes_back(self, tmp_path):
        write_model(tmp_path / "m", nn.Sequential(Counting({"calls": 3})).state_dict(), HEADER)
        other = nn.Sequential(Counting(None))
        load_weights(other, tmp_path / "m")
        assert other[0].calls == {"calls": 3}

    def test_extra_state_that_is_not_plain_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(UserError, match="_extra_state is not plain data"):
            write_model(tmp_path / "m", Counting(object()).state_dict(), HEADER)
        assert list(tmp_path.iterdir()) == []

    def test_a_network_that_wants_the_version_of_its_layout_is_loaded(self, tmp_path):
        network, other = models.build("mnasnet0_5", 3), models.build("mnasnet0_5", 3)
        write_model(tmp_path / "m", network.state_dict(), HEADER)
        load_weights(other, tmp_path / "m")
        assert weights_hash(other.state_dict()) == weights_hash(network.state_dict())


class TestDamage:
    def refused(self, path, match, load=None):
        """Every way to read the file gives this one line, with the exit code of damage."""
        network = models.build("digits_cnn", 3)
        for read in load or (read_header, lambda p: load_weights(network, p)):
            with pytest.raises(UserError, match=match) as failure:
                read(path)
            assert failure.value.code == DAMAGED
            assert "\n" not in str(failure.value)

    def test_a_pickle_of_that_name_is_refused_and_not_run(self, tmp_path):
        class Malice:
            def __reduce__(self):
                return (tmp_path / "canary").touch, ()

        path = tmp_path / "model.safetensors"
        path.write_bytes(pickle.dumps(Malice()))
        self.refused(path, "cannot read the model")
        assert not (tmp_path / "canary").exists()

    def test_a_file_without_our_header_is_not_ours(self, tmp_path):
        save_file({"w": torch.zeros(1)}, tmp_path / "m")
        self.refused(tmp_path / "m", "not a model that this version reads")

    def test_a_header_that_is_nested_without_end_is_refused(self, tmp_path):
        save_file({"w": torch.zeros(1)}, tmp_path / "m", metadata={KEY: "[" * 100_000})
        self.refused(tmp_path / "m", "cannot read the model: its header is nested too deeply")
        (tmp_path / "m").write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000)
        self.refused(tmp_path / "m", "cannot read the model")

    def test_a_header_of_more_than_16_megabytes_is_refused(self, tmp_path):
        save_file({"w": torch.zeros(1)}, tmp_path / "m", metadata={KEY: json.dumps({"more": "x" * (16 << 20)})})
        self.refused(tmp_path / "m", "its header is larger than 16 MB")

    def test_a_named_pipe_is_refused_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "m")
        done = threading.Event()

        def read_all():
            self.refused(tmp_path / "m", "cannot read the model: it is not a file")
            self.refused(tmp_path / "m", "it is not a file", [lambda p: check_shapes(p, nn.Linear(3, 2))])
            done.set()

        threading.Thread(target=read_all, daemon=True).start()
        assert done.wait(60)  # reading would wait for a writer for ever

    def test_a_folder_or_nothing_is_refused(self, tmp_path):
        self.refused(tmp_path, "it is not a file")
        self.refused(tmp_path / "gone", "cannot read the model: No such file or directory")

    def test_weights_of_another_model_are_refused_by_name(self, tmp_path):
        write_model(tmp_path / "m", nn.Linear(4, 2).state_dict(), HEADER)
        with pytest.raises(UserError, match="the weights do not fit the model: .*weight"):
            load_weights(nn.Linear(3, 2), tmp_path / "m")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_model_of_nan_is_refused(self, tmp_path, value):
        network = models.build("digits_cnn", 3)
        network.state_dict()["1.running_var"][3] = value
        write_model(tmp_path / "m", network.state_dict(), HEADER)
        self.refused(tmp_path / "m", "parameters that are not finite", [lambda p: load_weights(network, p)])

    def test_any_flipped_bit_is_noticed(self, tmp_path):
        """In the weights, in our header and in the file's own."""
        path, chance = tmp_path / "m", random.Random(0)
        digits(path)
        whole = path.read_bytes()
        for _ in range(300):
            content = bytearray(whole)
            place = chance.choice([chance.randrange(len(whole)), chance.randrange(2000)])
            content[place] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            try:
                network = load_model(path, read_header(path))
            except UserError as error:
                assert error.code == DAMAGED
                assert "\n" not in str(error)
            else:  # a blank, or the name of a hash: the model is what it was
                path.write_bytes(whole)
                same = load_model(path, read_header(path))
                assert weights_hash(network.state_dict()) == weights_hash(same.state_dict())
                assert place < 2000


class TestLoading:
    @pytest.mark.parametrize(
        "name", ["digits_cnn", "mnasnet0_5", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOWER)]
    )
    def test_a_model_comes_back_from_its_file_alone(self, tmp_path, name):
        network, spec = models.build(name, 3).eval(), models.input_of(name)
        size = max(spec.minimum, 64) if spec.size is None else spec.size
        seen = {
            **HEADER["preprocessing"],
            **{"channels": spec.channels, "resize": size, "crop": size},
            **{"mean": [0.5] * spec.channels, "std": [0.5] * spec.channels},
        }
        header = {**HEADER, "architecture": models.architecture(name), "preprocessing": seen}
        write_model(tmp_path / "m", network.state_dict(), header)
        before = torch.get_rng_state()
        loaded = load_model(tmp_path / "m", read_header(tmp_path / "m"))
        assert torch.get_rng_state().equal(before)
        assert not any(module.training for module in loaded.modules())
        images = torch.rand(2, spec.channels, size, size)
        with torch.inference_mode():
            assert loaded(images).equal(network(images))

    @pytest.mark.slow
    def test_a_transformer_is_built_for_the_size_that_it_was_trained_at(self, tmp_path):
        network = models.build("vit_b_32", 3, image_size=64).eval()
        seen = {"channels": 3, "resize": 64, "crop": 64, "mean": [0.5] * 3, "std": [0.5] * 3}
        header = {**HEADER, "architecture": "torchvision:vit_b_32", "preprocessing": seen}
        write_model(tmp_path / "m", network.state_dict(), header)
        assert load_model(tmp_path / "m", read_header(tmp_path / "m")).image_size == 64

    def test_a_file_of_the_first_version_is_read(self, tmp_path):
        network = models.build("digits_cnn", 3).eval()
        old(tmp_path / "m", network, HEADER)
        loaded = load_model(tmp_path / "m", read_header(tmp_path / "m"))
        assert weights_hash(loaded.state_dict()) == weights_hash(network.state_dict())

    def test_a_recipes_network_is_not_built(self, tmp_path):
        digits(tmp_path / "m", architecture="recipe:os:system")
        with pytest.raises(UserError, match=r"code in a recipe: os:system \(.*\). Use its run directory") as failure:
            load_model(tmp_path / "m", read_header(tmp_path / "m"))
        assert failure.value.code == BAD_INPUT

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"architecture": "torchvision:nonsense"}, "unknown architecture 'torchvision:nonsense'"),
            ({"architecture": "ignite_vision:cifar10_cnn"}, r"0.bias is float32 \(16,\) in the file, missing|0.weight"),
            ({"classes": [*"abcd"], "num_classes": 4}, r"8.bias is float32 \(3,\) in the file, float32 \(4,\) in the"),
            ({"num_classes": 4}, "its num_classes"),
            ({"temperature": 0.0}, "its temperature"),
            (
                {"preprocessing": {"channels": 3, "resize": 8, "crop": 8, "mean": [0.5] * 3, "std": [0.5] * 3}},
                "it does not take images of 3x8x8",
            ),
            (
                {"preprocessing": {"channels": 1, "resize": 16, "crop": 16, "mean": [0.5], "std": [0.5]}},
                "it does not take images of 1x16x16",
            ),
            ({"architecture": "torchvision:vit_b_32"}, "vit_b_32 cannot be built for images of 8 pixels"),
        ],
    )
    def test_a_header_that_does_not_fit_the_weights_is_refused(self, tmp_path, changes, match):
        digits(tmp_path / "m", **changes)
        with pytest.raises(UserError, match=match) as failure:
            load_model(tmp_path / "m", read_header(tmp_path / "m"))
        assert failure.value.code == DAMAGED

    def test_a_tensor_of_another_type_is_refused(self, tmp_path):
        network = models.build("digits_cnn", 3)
        write_model(tmp_path / "m", network.double().state_dict(), HEADER)
        with pytest.raises(UserError, match=r"0.bias is float64 \(16,\) in the file, float32 \(16,\) in the model"):
            load_model(tmp_path / "m", read_header(tmp_path / "m"))

    def test_nothing_is_allocated_for_a_file_that_does_not_fit(self, tmp_path, monkeypatch):
        """The header asks for a network of 160 GB; it is compared without memory, and refused."""
        built = []
        family = models.Family("huge", lambda: ["net"], lambda *_: built.append(huge()) or built[-1], None)
        digits(tmp_path / "m", architecture="huge:net")
        monkeypatch.setattr(models.named, "all_families", lambda: (family,))
        with pytest.raises(UserError, match="do not fit the model"):
            load_model(tmp_path / "m", read_header(tmp_path / "m"))
        assert [network.weight.is_meta for network in built] == [True]


def huge():
    return nn.Linear(200_000, 200_000)
