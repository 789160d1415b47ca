"""What `probe` prints."""

import json
import shlex

import pytest
import torch
from ignite_vision.recipes import digits, folder

from ignite_vision.cli.probe_table import as_plain, lines, run_command
from ignite_vision.probing import Judged, Probe, Probed

FOLDER = folder.recipe


def probed(model, right, n, seconds, licence="apache-2.0", weights="DEFAULT"):
    """Something that was found: right of n images."""
    judged = Judged(1.0, torch.arange(n) < right)
    return Probed(model, weights, judged, 12.4, seconds, 13.9, licence)


FOUND = Probe(
    [probed("large", 197, 200, 0.12), probed("small", 195, 200, 0.01), probed("tiny", 120, 200, 0.005)],
    {"other": "no model 'other'."},
    False,
)


def test_the_table_says_accuracy_interval_time_size_and_licence_the_best_first():
    text = list(lines(FOUND, "ignite-vision run photos"))
    assert text[0].split() == "model accuracy 95 % interval features per image weights licence".split()
    assert text[1].split() == "large 0.985 0.957 to 0.995 12 s 120.0 ms 14 MB apache-2.0".split()
    assert "accuracy on validation, 200 images; the test split was not looked at" in text
    assert "not tried: other: no model 'other'." in text


def test_differences_that_are_noise_are_named_and_what_is_faster():
    text = "\n".join(lines(FOUND, "ignite-vision run photos"))
    assert "within noise of large, by the images that one of two has right: small\n" in text
    assert "as good as can be told, and 12.0 times as fast: small" in text


def test_a_licence_that_asks_something_is_a_warning():
    found = Probe([probed("large", 9, 10, 0.1, licence="cc-by-nc-4.0")], {}, True)
    assert any(
        line.startswith("warning: large: these weights are not for commercial use") for line in lines(found, "x")
    )


def test_the_command_can_be_pasted(tmp_path):
    (tmp_path / "my file.pth").touch()
    one = probed("resnet18+resnet34", 9, 10, 0.1, weights=f"{tmp_path}/my file.pth+DEFAULT")
    assert shlex.split(run_command("my photos", one, FOLDER, None, {})) == [
        *("ignite-vision", "run", "my photos", "--set", "model=resnet18+resnet34"),
        *("--set", f"weights={tmp_path}/my file.pth+DEFAULT"),
    ]
    assert "weights" not in run_command("photos", probed("a", 1, 2, 0.1), FOLDER, None, {})


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "none"])
def test_weights_by_name_are_no_path(name):
    words = run_command("photos", probed("resnet50", 1, 2, 0.1, weights=name), FOLDER, None, {})
    assert words.endswith(f"--set model=resnet50 --set weights={name}")


def test_the_json_has_the_same_and_the_command():
    plain = json.loads(json.dumps(as_plain(FOUND, "ignite-vision run photos")))
    assert [one["model"] for one in plain["models"]] == ["large", "small", "tiny"]
    assert plain["models"][0]["chance"] == 1.0
    assert (plain["recommended"], plain["images"], plain["cross_validated"]) == ("large", 200, False)
    assert plain["command"] == "ignite-vision run photos"


def test_the_command_has_the_images_and_the_settings_of_the_table(tmp_path):
    given = {"split_seed": "3", "on_bad_image": "skip"}
    words = shlex.split(run_command("photos", probed("a", 1, 2, 0.1), FOLDER, tmp_path / "my photos", given))
    assert words == [
        *("ignite-vision", "run", "photos", "--data", f"{tmp_path}/my photos", "--set", "model=a"),
        *("--set", "split_seed=3", "--set", "on_bad_image=skip"),
    ]


def test_of_a_recipe_that_trains_otherwise_the_command_trains_what_was_judged():
    words = run_command("digits", probed("resnet18", 1, 2, 0.1), digits.recipe, None, {})
    assert words.endswith("--set model=resnet18 --set weights=DEFAULT --set trainable=head --set head=auto")
