"""A run that is killed and started again, as often as one likes, ends with the bytes of one that never was.

Real SIGKILLs: nothing in the child gets to know, let alone to tidy up.
"""

import os
import random
import shutil
import signal
import time

import pytest

from tests.helpers.children import (
    RESULTS,
    STUBBORN,
    At,
    Each,
    ExpectOneGood,
    KillAt,
    WriteDown,
    assert_same,
    goes_on,
    run,
    start,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("children")]

KILLED = -signal.SIGKILL
STRIDE = int(os.environ.get("STRIDE", 3))  # of the operations on files before which a run is killed


@pytest.fixture(scope="module")
def whole(tmp_path_factory, children):
    """The run that nothing happened to. 66 images in batches of 8: 8 iterations an epoch, a step every second."""
    out = tmp_path_factory.mktemp("whole") / "run"
    code, text = run("run", STUBBORN, "--out", out)
    assert code == 0, text
    return out


def test_killed_at_ten_evenly_spaced_moments(whole, tmp_path):
    begin = time.monotonic()
    goes_on(tmp_path / "run", "--checkpoint-every", 4)
    seconds = time.monotonic() - begin
    killed = 0
    for k in range(10):
        out = tmp_path / f"run{k}"
        child = start("run", STUBBORN, "--out", out, "--checkpoint-every", 4)
        child.process.join(seconds * k / 10)
        child.process.kill()
        killed += child.wait() == KILLED
        goes_on(out)
        assert_same(out, whole)
    assert killed > 4


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_five_times_with_other_workers_and_another_checkpoint_interval_each_time(whole, tmp_path, seed):
    rng, out = random.Random(seed), tmp_path / "run"
    for workers in (0, 2, 3, 2, 0):
        every = rng.choice((2, 4, 6))
        kill = At("ITERATION_COMPLETED", rng.randint(every, every + 3))
        options = ("--out", out, "--workers", workers, "--checkpoint-every", every)
        assert run("run", STUBBORN, *options, plan=kill)[0] == KILLED
    goes_on(out, "--workers", 3)
    assert_same(out, whole)


@pytest.mark.parametrize(
    ("kill", "every"),
    [
        (At("ITERATION_COMPLETED", 16), 16),  # an epoch's last iteration: no validation yet
        (At("EPOCH_COMPLETED", 2, first=True), 2),
        (At("STARTED", 2, engine="evaluator"), 1000),
        (At("ITERATION_COMPLETED", 3, engine="evaluator"), 16),
        (At("COMPLETED", 2, engine="evaluator"), 2),
        (At("EPOCH_COMPLETED", 2), 16),  # validated and saved
        (At("EPOCH_STARTED", 3), 1000),
        (At("COMPLETED", 1), 2),  # trained, not saved for the last time
    ],
    ids=lambda value: getattr(value, "event", None),
)
def test_killed_between_an_epochs_last_iteration_and_the_end_of_its_validation(whole, tmp_path, kill, every):
    out = tmp_path / "run"
    assert run("run", STUBBORN, "--out", out, "--checkpoint-every", every, plan=kill)[0] == KILLED
    goes_on(out)
    assert_same(out, whole)


def test_a_signal_in_validation_then_a_kill_then_the_end(whole, tmp_path):
    out = tmp_path / "run"
    stop = At("ITERATION_COMPLETED", 3, engine="evaluator", number=signal.SIGTERM)
    code, text = run("run", STUBBORN, "--out", out, plan=stop)
    assert (code, "saved" in text) == (75, True)
    assert run("run", STUBBORN, "--out", out, plan=At("STARTED", 1, engine="evaluator"))[0] == KILLED
    assert "resumed    from step 16" in goes_on(out)
    assert_same(out, whole)


class TestWithinASave:
    """Operations on files and folders that Python announces, every fsync, and train.pt half written.

    It is killed before every third of them, before all with STRIDE=1 in the environment.
    """

    def operations(self, tmp_path, *options):
        """What a whole run does in its directory, in order."""
        log = tmp_path / "operations"
        out = tmp_path / "watched"
        goes_on_with = Each(out, WriteDown(log))
        assert run("run", STUBBORN, "--out", out, *options, plan=goes_on_with)[0] == 0
        return log.read_text().splitlines()

    @pytest.mark.parametrize("keep", [1, 2])
    def test_at_every_instant_one_checkpoint_verifies(self, whole, tmp_path, keep):
        out, log = tmp_path / "run", tmp_path / "missing"
        options = ("--checkpoint-every", 2, "--keep-checkpoints", keep)
        expect = Each(out, ExpectOneGood(out / "checkpoints", log))
        assert run("run", STUBBORN, "--out", out, *options, plan=expect)[0] == 0
        assert not log.exists(), log.read_text()
        assert_same(out, whole)

    @pytest.mark.parametrize(("keep", "stride"), [(1, STRIDE), (2, 2 * STRIDE)])
    def test_killed_before_every_operation_it_goes_on_and_nothing_is_left_lying_about(
        self, whole, tmp_path, keep, stride
    ):
        options = ("--checkpoint-every", 8, "--keep-checkpoints", keep)
        found = self.operations(tmp_path, *options)
        first = next(n for n, line in enumerate(found, 1) if line.startswith("os.mkdir") and "step-0000000024" in line)
        end = next(n for n, line in enumerate(found, 1) if line.startswith("os.rmdir") and n > first)
        for nth in range(first, end + 2, stride):
            out = tmp_path / f"run{nth}"
            killed, _ = run("run", STUBBORN, "--out", out, *options, plan=Each(out, KillAt(nth)))
            assert killed == KILLED, found[nth - 1]
            assert "resumed    from step" in goes_on(out, *options[2:]), found[nth - 1]
            assert_same(out, whole)
            assert not list((out / "checkpoints").glob(".*"))
            assert not list((out / "checkpoints").glob("damaged-*"))
            shutil.rmtree(out)

    def test_killed_before_every_operation_of_the_start_and_of_the_end(self, whole, tmp_path):
        found = self.operations(tmp_path)
        start = next(n for n, line in enumerate(found, 1) if line.endswith("/checkpoints"))
        end = max(n for n, line in enumerate(found, 1) if line.endswith("/checkpoints"))
        for nth in [*range(1, start + 1), *range(end, len(found) + 1)][::STRIDE]:
            out = tmp_path / f"run{nth}"
            assert run("run", STUBBORN, "--out", out, plan=Each(out, KillAt(nth)))[0] == KILLED
            goes_on(out)
            assert_same(out, whole)
            shutil.rmtree(out)

    def test_each_file_and_folder_is_on_the_disk_before_its_name_appears(self, tmp_path):
        lines = self.operations(tmp_path, "--checkpoint-every", 8)
        temporary = "/checkpoints/.tmp-step-0000000016-validated"
        place = [n for n, line in enumerate(lines) if line.startswith("os.rename") and line.endswith(temporary)][-1]
        synced = [line for line in lines[:place] if line.startswith("fsync") and temporary in line]
        files = ("best.safetensors", "model.safetensors", "train.pt", "manifest.json")
        assert [line.rpartition("/")[2] for line in synced] == [*files, temporary.rpartition("/")[2]]
        assert lines[place + 2].startswith("fsync") and lines[place + 2].endswith("/checkpoints")
        results = [line for line in lines if line.startswith("fsync") and "checkpoints" not in line]
        for name in ("run.json", "splits.csv", "model.safetensors", "predictions.csv", "metrics.json"):
            assert any(f"/.{name}.tmp" in line for line in results), name


def test_killed_while_more_epochs_are_trained_it_is_not_finished(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "run"
    options = ("--set", "schedule=none")
    goes_on(whole, *options, "--epochs", 3)
    goes_on(out, *options, "--epochs", 2)
    kill = At("ITERATION_COMPLETED", 2, engine="evaluator")
    assert run("run", STUBBORN, "--out", out, *options, "--epochs", 3, plan=kill)[0] == KILLED
    kill = At("COMPLETED", 1)  # the last row of the history is there, the results are not
    assert run("run", STUBBORN, "--out", out, *options, "--epochs", 3, plan=kill)[0] == KILLED
    assert "already finished" not in goes_on(out, *options, "--epochs", 3)
    assert_same(out, whole)


class TestCaches:
    FEATURES = """
import dataclasses
import torch
from torch import nn
from ignite_vision import Recipe, Splits
from ignite_vision.loading import cache
from ignite_vision.datasets import image_folder

cache.SHARD_ROWS = 6  # several files in a cache of a few images

def model(num_classes):
    torch.manual_seed(1)
    below = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(below, nn.Linear(16, num_classes))

recipe = Recipe(data=image_folder, val_fraction=0.25, test_fraction=0.25, model=model, trainable="head",
                image_size=32, epochs=3, batch_size=4, precision="fp32")
"""

    @pytest.mark.parametrize("setting", [("cache=features",), ("cache=pixels", "trainable=all")])
    def test_killed_before_every_operation_on_the_cache(self, image_folder, tmp_path, setting):
        recipe = tmp_path / "photos.py"
        recipe.write_text(self.FEATURES)
        settings = [part for text in setting for part in ("--set", text)]
        options = ("--data", image_folder, *settings)
        whole, log = tmp_path / "whole", tmp_path / "operations"
        cache = tmp_path / "cache-of-the-whole"
        watch = Each(cache, WriteDown(log))
        assert run("run", recipe, "--out", whole, *options, plan=watch, XDG_CACHE_HOME=str(cache))[0] == 0
        count = len(log.read_text().splitlines())
        assert count > 12
        for nth in range(1, count + 1, STRIDE):
            out, cache = tmp_path / f"run{nth}", tmp_path / f"cache{nth}"
            kill = Each(cache, KillAt(nth))
            assert run("run", recipe, "--out", out, *options, plan=kill, XDG_CACHE_HOME=str(cache))[0] == KILLED
            goes_on(out, *options, recipe=recipe, XDG_CACHE_HOME=str(cache))
            assert_same(out, whole)


def test_a_folder_of_images_read_by_workers(image_folder, tmp_path):
    settings = ("model=resnet18", "weights=none", "trainable=all", "image_size=32", "cache=none")
    options = ["--data", image_folder, "--epochs", 2, "--batch-size", 8]
    for setting in (*settings, "precision=fp32"):
        options += ["--set", setting]
    whole, out = tmp_path / "whole", tmp_path / "run"
    goes_on(whole, *options, recipe="folder")
    for workers, at in ((2, 2), (3, 3), (2, 1)):
        kill = At("ITERATION_COMPLETED", at)
        arguments = ("--out", out, *options, "--workers", workers, "--checkpoint-every", 1)
        assert run("run", "folder", *arguments, plan=kill)[0] == KILLED
    goes_on(out, *options, "--workers", 2, recipe="folder")
    assert_same(out, whole)


def test_what_is_compared_is_all_that_a_run_leaves(whole):
    left = {path.name for path in whole.iterdir()}
    assert left - set(RESULTS) == {".lock", "run.json", "recipe.py", "timings.jsonl", "tensorboard", "checkpoints"}
