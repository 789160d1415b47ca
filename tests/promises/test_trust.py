"""No wrong number without a word, and no run lost: what a stranger tried on the command line, each as a test.

Every command is a process of its own, since what an earlier one has imported would hide an edited file.
"""

import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.children import At, Each, run

pytestmark = [pytest.mark.usefixtures("children"), pytest.mark.slow]
KILLED = -signal.SIGKILL
RESULTS = ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors")
PLAIN = ("--set", "weights=none", "--set", "model=cifar10_cnn", "--set", "trainable=all", "--set", "schedule=none")


def ok(*arguments, **options):
    """What a command that succeeds prints."""
    code, text = run(*arguments, **options)
    assert code == 0, text
    return text


def error(code, *arguments, **options):
    """The one line of a command that fails as a user's mistake."""
    returned, text = run(*arguments, **options)
    lines = [line for line in text.splitlines() if line.startswith("error:")]
    assert (returned, len(lines), "Traceback" in text) == (code, 1, False), text
    return lines[0]


def results(out):
    return {name: (out / name).read_bytes() for name in RESULTS}


def rows(out):
    with (out / "splits.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def paths(out, split):
    return [row["path"] for row in rows(out) if row["split"] == split]


RECIPE = """
import torch
from torch import nn
from ignite_vision import Recipe, datasets

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.scale = 1.0
        self._offset = 0.0

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3)) * self.scale + self._offset

def model(num_classes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = Body()
    return nn.Sequential(body, nn.Linear(8, num_classes))

class Darker:
    draws = 1

    def __init__(self, by=0.5):
        self.by = by

    def __call__(self, images, u, size):
        return (images * (1 - self.by * u[:, :, None, None])).to(torch.uint8)

class Flicker:
    def __call__(self, images, size):
        return (images * torch.rand(len(images), 1, 1, 1)).to(torch.uint8)

def flicker(images, size):
    return (images * torch.rand(len(images), 1, 1, 1)).to(torch.uint8)

recipe = Recipe(
    data=datasets.image_folder,
    model=model,
    trainable="head",
    image_size=32,
    epochs=2,
    lr=0.05,
    batch_size=16,
    precision="fp32",
    val_fraction=0.2,
    test_fraction=0.2,
    augment=(),
    views=2,
)
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe that trains a head on cached features, in a file to edit."""
    path = tmp_path / "mine" / "custom.py"
    path.parent.mkdir()
    path.write_text(RECIPE)
    return path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


class TestFeatureCaches:
    """What is cached is what the model of this command computes, whatever changed since."""

    def train(self, recipe, image_folder, out, *options, **more):
        return ok("run", recipe, "--data", image_folder, "--out", out, *options, **more)

    @pytest.mark.parametrize(
        ("augment", "old", "new"),
        [
            ("", ".relu()", ".tanh()"),
            ("", "self.scale = 1.0", "self.scale = 2.0"),
            ("", "self._offset = 0.0", "self._offset = 0.5"),
            ("Darker(),", "(1 - self.by *", "(0.5 - self.by *"),
            ("Darker(),", "by=0.5", "by=0.9"),
            (
                "flicker,",
                "torch.rand(len(images), 1, 1, 1)).to(torch.uint8)\n\nrecipe",
                "0.5).to(torch.uint8)\n\nrecipe",
            ),
        ],
        ids=["forward", "attribute", "private attribute", "augmentation", "its attribute", "its function"],
    )
    def test_edited_code_makes_other_features(self, recipe, image_folder, tmp_path, augment, old, new):
        edit(recipe, "augment=()", f"augment=({augment})")
        self.train(recipe, image_folder, tmp_path / "before")
        edit(recipe, old, new)
        self.train(recipe, image_folder, tmp_path / "after")
        self.train(recipe, image_folder, tmp_path / "fresh", XDG_CACHE_HOME=str(tmp_path / "empty"))
        assert results(tmp_path / "after") == results(tmp_path / "fresh")
        assert results(tmp_path / "before") != results(tmp_path / "fresh")

    def test_a_cache_that_is_not_what_the_model_computes_is_computed_again(self, recipe, image_folder, tmp_path):
        self.train(recipe, image_folder, tmp_path / "one")
        for file in (tmp_path / "cache").rglob("*.raw"):
            file.write_bytes(np.random.default_rng(0).random(file.stat().st_size // 4, dtype=np.float32).tobytes())
        said = self.train(recipe, image_folder, tmp_path / "two")
        assert said.count("are not what the model computes: computed again") == 3
        assert results(tmp_path / "one") == results(tmp_path / "two")

    @pytest.mark.parametrize("operation", ["Flicker()", "flicker", "Darker()"])
    def test_augmentation_has_the_same_bits_with_other_workers_seeds_of_the_cache_and_after_a_kill(
        self, recipe, image_folder, tmp_path, operation
    ):
        edit(recipe, "augment=()", f"augment=({operation},)")
        self.train(recipe, image_folder, tmp_path / "whole", "--workers", 0)
        again = self.train(recipe, image_folder, tmp_path / "again")
        assert "computed again" not in again
        for name, cache in (("workers", "a"), ("killed", "b"), ("half", "c"), ("seeds", "d")):
            options, home = ("--workers", 2) if name == "workers" else (), {"XDG_CACHE_HOME": str(tmp_path / cache)}
            if name == "killed":
                plan = At("ITERATION_COMPLETED", 1)
                command = ("run", recipe, "--data", image_folder, "--out", tmp_path / name)
                assert run(*command, plan=plan, **home)[0] == KILLED
            if name == "half":  # killed when the first features are to take their place
                plan = Each(tmp_path / cache, KillBefore("00000.raw"))
                command = ("run", recipe, "--data", image_folder, "--out", tmp_path / name)
                assert run(*command, plan=plan, **home)[0] == KILLED
            if name == "seeds":
                self.train(recipe, image_folder, tmp_path / "other seed", "--set", "seed=1", **home)
            self.train(recipe, image_folder, tmp_path / name, *options, **home)
            assert results(tmp_path / name) == results(tmp_path / "whole"), name
        assert results(tmp_path / "again") == results(tmp_path / "whole")

    def test_two_folders_of_one_name_with_equal_names_sizes_and_times_share_nothing(self, recipe, tmp_path):
        for place, shift in (("a", 0), ("b", 1)):
            for c, name in enumerate(("apple", "banana", "cherry")):
                folder = tmp_path / place / "photos" / name
                folder.mkdir(parents=True)
                for i in range(12):
                    shade = 40 + 80 * ((c + shift) % 3) + i
                    Image.new("RGB", (32, 32), (shade, shade, shade)).save(folder / f"{i}.bmp")
                    os.utime(folder / f"{i}.bmp", (1, 1))
        said = [ok("run", recipe, "--data", tmp_path / place / "photos") for place in ("a", "b")]
        assert "belongs to other images" in said[1]
        first, second = (Path(re.search(r"run directory: (.*)", text)[1]) for text in said)
        assert first != second
        fresh = {"XDG_CACHE_HOME": str(tmp_path / "empty")}
        ok("run", recipe, "--data", tmp_path / "b" / "photos", "--out", tmp_path / "fresh", **fresh)
        assert results(second) == results(tmp_path / "fresh")


class KillBefore:
    """An action for Each: SIGKILL before the first operation on a file of this name, or on its temporary one."""

    def __init__(self, name):
        self.name = name

    def __call__(self, operation, path):
        if Path(path).name.startswith(f".{self.name}"):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class In:
    """A plan: the command is called in another working directory."""

    folder: Path

    def __call__(self):
        os.chdir(self.folder)


def write_weights(path, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"0.conv.weight": (8, 3, 3, 3), "0.conv.bias": (8,), "1.weight": (5, 8), "1.bias": (5,)}
    torch.save({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)


class TestWeights:
    def test_replaced_under_the_same_name_they_are_refused_and_their_features_are_not_mixed(
        self, recipe, image_folder, tmp_path
    ):
        weights, out = tmp_path / "w.pth", tmp_path / "run"
        write_weights(weights, 1)
        command = ("run", recipe, "--data", image_folder, "--set", f"weights={weights}", "--out")
        assert run(*command, out, plan=At("ITERATION_COMPLETED", 1))[0] == KILLED
        write_weights(weights, 2)
        assert "the content of the weights changed since this run began" in error(2, *command, out)
        assert "the content of the weights changed since this run began" in error(2, "resume", out)
        ok(*command, tmp_path / "new")
        ok(*command, tmp_path / "fresh", XDG_CACHE_HOME=str(tmp_path / "empty"))
        assert results(tmp_path / "new") == results(tmp_path / "fresh")
        write_weights(weights, 1)
        ok(*command, out)
        ok(*command, tmp_path / "whole", XDG_CACHE_HOME=str(tmp_path / "other"))
        assert results(out) == results(tmp_path / "whole")

    def test_of_one_file_name_but_other_content_get_directories_of_their_own(self, recipe, image_folder, tmp_path):
        found = set()
        for place, seed in (("a", 1), ("b", 2)):
            (tmp_path / place).mkdir()
            write_weights(tmp_path / place / "w.pth", seed)
            text = ok("run", recipe, "--data", image_folder, "--set", f"weights={tmp_path / place / 'w.pth'}")
            found.add(re.search(r"run directory: (.*)", text)[1])
        assert len(found) == 2

    def test_a_relative_path_is_good_for_a_resume_elsewhere(self, recipe, image_folder, tmp_path):
        (tmp_path / "here").mkdir()
        (tmp_path / "elsewhere").mkdir()
        write_weights(tmp_path / "here" / "w.pth", 1)

        def relative(*more):
            options = ("--data", f"../{image_folder.name}", "--set", "weights=w.pth", "--out", "../run")
            return ("run", recipe, *options, *more)

        ok(*relative(), plan=In(tmp_path / "here"))
        text = ok("resume", "../run", "--epochs", 3, plan=In(tmp_path / "elsewhere"))
        assert "epoch 3/3" in text
        ok("evaluate", "../run", plan=In(tmp_path / "elsewhere"))
        assert "already finished" in ok(*relative("--epochs", 3), plan=In(tmp_path / "here"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, children):
    """(folder of photographs, a run on them): nobody changes them."""
    root = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    for c, name in enumerate(("apple", "banana", "cherry")):
        (root / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 80, (40 + i, 52 - i, 3)) + np.array([90 * (c == k) for k in range(3)])
            Image.fromarray(pixels.astype(np.uint8)).save(root / "photos" / name / f"{i:02}.jpg")
    ok("run", root / "photos", "--out", root / "run", "--epochs", 2, *PLAIN)
    return root / "photos", root / "run"


@pytest.fixture
def copy(trained, tmp_path):
    """(photos, run): copies, to do damage to. The run knows of these photographs."""
    photos, out = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(trained[0], photos)
    shutil.copytree(trained[1], out)
    edit(out / "run.json", str(trained[0]), str(photos))
    return photos, out


class TestEvaluate:
    """Never another number for the run than its own: exit 2, and metrics.json stays as it is."""

    def refused(self, out, *options):
        before = results(out)
        message = error(2, "evaluate", out, *options)
        assert results(out) == before
        return message

    def test_repeats_the_runs_own_results_wherever_the_images_lie(self, copy, tmp_path):
        photos, out = copy
        before = results(out)
        ok("evaluate", out)
        moved = photos.rename(tmp_path / "moved")
        ok("evaluate", out, "--data", moved)
        assert results(out) == before
        assert not (out / "evaluations").exists()

    def test_training_images_as_test_images_in_splits_csv(self, copy):
        text = (copy[1] / "splits.csv").read_text()
        (copy[1] / "splits.csv").write_text(text.replace(",train,", ",test,", 6))
        assert "the images or splits.csv changed since this run began" in self.refused(copy[1])

    def test_a_lost_splits_csv(self, copy):
        (copy[1] / "splits.csv").unlink()
        assert "cannot read the splits: " in self.refused(copy[1])

    def test_replaced_test_images(self, copy):
        photos, out = copy
        shutil.copyfile(photos / paths(out, "train")[0], photos / paths(out, "test")[0])
        assert "the images or splits.csv changed" in self.refused(out)

    def test_a_test_image_replaced_by_one_of_the_same_size(self, copy):
        photos, out = copy
        image = photos / paths(out, "test")[0]
        content = bytearray(image.read_bytes())
        content[len(content) // 2] ^= 1
        image.write_bytes(content)
        assert "the images or splits.csv changed" in self.refused(out)

    def test_images_that_are_gone(self, copy):
        photos, out = copy
        (photos / paths(out, "test")[0]).unlink()
        assert "1 gone, the first" in self.refused(out)
        assert "--data DIR" in self.refused(out)

    def test_results_that_cannot_be_written_are_said_before_the_work(self, copy):
        (copy[1] / "val").write_text("in the way")
        assert "the results cannot be written" in self.refused(copy[1], "--split", "val")

    def test_a_run_on_a_disk_that_is_read_only(self, copy, tmp_path):
        place = tmp_path / "disk"
        place.mkdir()
        mount = ["mount", "--bind", str(copy[1]), str(place)]
        if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting needs root")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
            assert "the results cannot be written" in error(2, "evaluate", place)
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


class TestExtended:
    def test_killed_at_its_end_and_evaluated_a_run_is_not_taken_for_finished(self, copy, tmp_path):
        """The model is still the one of fewer epochs, and evaluate writes results of it."""
        photos, out = copy
        longer = ("run", photos, "--epochs", 4, *PLAIN, "--out")
        assert run(*longer, out, plan=Each(out, KillBefore("model.safetensors")))[0] == KILLED
        ok("evaluate", out)
        assert "already finished" not in ok("resume", out)
        ok(*longer, tmp_path / "whole")
        assert results(out) == results(tmp_path / "whole")
        assert "already finished (4 epochs)" in ok("resume", out)

    def test_killed_before_its_results_and_evaluated_it_ends_with_the_same_bytes(self, copy, tmp_path):
        photos, out = copy
        longer = ("run", photos, "--epochs", 4, *PLAIN, "--out")
        assert run(*longer, out, plan=Each(out, KillBefore("per_class.csv")))[0] == KILLED
        ok("evaluate", out)
        ok("resume", out)
        ok(*longer, tmp_path / "whole")
        assert results(out) == results(tmp_path / "whole")

    def test_one_that_stopped_early_says_so(self, image_folder, tmp_path):
        out = tmp_path / "run"
        ok("run", image_folder, "--out", out, "--epochs", 30, *PLAIN, "--set", "patience=1", "--set", "lr=1e-30")
        text = ok("resume", out, "--epochs", 50)
        assert "already finished (stopped early after" in text
        assert "--epochs" not in text


class TestDamagedImages:
    def command(self, photos, out):
        return ("run", photos, "--out", out, "--epochs", 1, *PLAIN)

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_one_that_is_cut_off_is_found_before_the_first_epoch(self, trained, copy, tmp_path, split):
        photos, out = copy[0], tmp_path / "new"
        path = photos / paths(copy[1], split)[0]
        path.write_bytes(path.read_bytes()[:-100])
        message = error(2, *self.command(photos, out))
        assert f"an image file cannot be read: the file is cut off ({path})" in message
        assert not (out / "history.jsonl").exists()
        shutil.copyfile(trained[0] / path.relative_to(photos), path)
        ok(*self.command(photos, out))

    def test_several_are_counted(self, copy, tmp_path):
        photos = copy[0]
        for path in paths(copy[1], "test"):
            (photos / path).write_bytes(b"")
        message = error(2, *self.command(photos, tmp_path / "new"))
        assert f"{len(paths(copy[1], 'test'))} image files cannot be read, the first: " in message

    def test_a_test_image_that_is_gone_leaves_two_ways_on(self, copy, tmp_path):
        photos, out = copy
        (photos / paths(out, "test")[0]).rename(tmp_path / "kept.jpg")
        message = error(2, "run", photos, "--out", out, "--epochs", 3, *PLAIN)
        assert "1 gone" in message
        assert "Restore it" in message
        assert f"ignite-vision evaluate {out} --data DIR" in message
        assert "seen" not in message
        text = ok("evaluate", out, "--data", photos)
        assert re.search(r"warning: \d+ of these 35 images are among those that the model was trained", text)


class TestMoved:
    def test_the_hint_for_data_that_moved_is_a_command_that_works(self, copy, tmp_path):
        photos, out = copy
        edit(out / "run.json", '"spec": "', '"spec": "/not/there')
        moved = photos.rename(tmp_path / "moved")
        for verb, options in (("resume", ("--epochs", 3)), ("evaluate", ())):
            hint = re.search(r"ignite-vision (\w+) (\S+) --data DIR", error(2, verb, out, *options))
            assert (hint[1], hint[2]) == (verb, str(out))
            ok(hint[1], hint[2], "--data", moved, *options)
        assert json.loads((out / "metrics.json").read_text())["epochs"] == 3


class TestDamagedFiles:
    @pytest.mark.parametrize("name", ["metrics.json", "run.json", "model.safetensors"])
    @pytest.mark.parametrize("damage", ["empty", "half", "zeros", "noise", "other"])
    def test_are_one_line_and_exit_3(self, copy, name, damage):
        path = copy[1] / name
        data = path.read_bytes()
        path.write_bytes(
            {
                "empty": b"",
                "half": data[: len(data) // 2],
                "zeros": bytes(len(data)),
                "noise": np.random.default_rng(0).bytes(len(data)),
                "other": b'{"format_version": 2}',
            }[damage]
        )
        verbs = ("resume",) if name == "metrics.json" else ("resume", "evaluate")
        for verb in verbs:
            assert name in error(3, verb, copy[1])


INTEGERS = """
import torch
from ignite_vision import ArrayImages, Recipe, Splits

def data(folder):
    targets = torch.arange(90) % 3
    images = (targets[:, None, None, None] * 90 + torch.arange(90)[:, None, None, None] % 40).expand(-1, 1, 8, 8)
    return Splits(train=ArrayImages(images.to(torch.uint8), targets), classes=range(3))

recipe = Recipe(data=data, model="digits_cnn", epochs=2, batch_size=16, test_fraction=0.2)
"""


def test_classes_may_be_numbers(tmp_path):
    (tmp_path / "with_numbers.py").write_text(INTEGERS)
    command = ("run", tmp_path / "with_numbers.py", "--out", tmp_path / "run", "--epochs")
    ok(*command, 1)
    ok(*command, 2)
    ok("evaluate", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["classes"] == ["0", "1", "2"]


def test_a_run_of_an_earlier_format_is_refused_by_every_command(tmp_path):
    old = tmp_path / "runs" / "digits-123456"
    old.mkdir(parents=True)
    settings = {"format_version": 1, "name": "digits", "spec": "digits", "overrides": {"epochs": "1"}}
    (old / "run.json").write_text(json.dumps(settings))
    message = error(2, "run", "digits", "--epochs", 1)
    assert f"an earlier version of ignite-vision began this run ({old})" in message
    for command in (("run", "digits", "--out", old), ("resume", old), ("evaluate", old)):
        assert "run.json has format 1, this version reads 2" in error(3, *command)
