"""`run` and `resume`."""

import json
import re
import signal
import subprocess
import sys

import pytest

from ignite_vision.cli.commands.training import already_finished
from ignite_vision.jobs import Outcome
from tests.helpers.command_line import assert_one_error_line, command


def test_digits_trains_evaluates_and_says_what_comes_next(ignite_vision, tmp_path):
    code, out, err = ignite_vision("run", "digits", "--epochs", 2, "--out", tmp_path / "run", "--set", "lr=0.004")
    assert code == 0, err
    assert re.search(r"^test accuracy 0\.\d{4} on 4\d\d images", out, re.M)
    assert f"run directory: {tmp_path / 'run'}" in out
    assert "epoch 2/2" in err
    assert not [line for line in out.splitlines() if line.startswith("epoch")]  # progress is not a result


def test_a_finished_run_says_so_and_changes_nothing(ignite_vision, tmp_path):
    arguments = ("run", "digits", "--epochs", 1, "--out", tmp_path / "run")
    _, first, _ = ignite_vision(*arguments)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != ".lock"}
    code, again, err = ignite_vision(*arguments)
    assert (code, again) == (0, first)
    assert "already finished (1 epoch). Use --epochs N to train longer." in err
    after = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != ".lock"}
    assert before == after


def test_resume_trains_for_more_epochs(ignite_vision, tmp_path):
    run = tmp_path / "run"
    ignite_vision("run", "digits", "--epochs", 1, "--out", run)
    code, _, err = ignite_vision("resume", run, "--epochs", 2)
    assert code == 0, err
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert json.loads((run / "run.json").read_text())["recipe"]["epochs"] == 2


def test_the_same_command_finds_its_run_again_and_another_rate_another(ignite_vision, tmp_path):
    for lr in ("0.001", "0.001", "0.002"):
        assert ignite_vision("run", "digits", "--epochs", 1, "--set", f"lr={lr}")[0] == 0
    assert len(list((tmp_path / "runs").glob("digits-??????"))) == 2


def test_a_dry_run_computes_no_features(ignite_vision, image_folder, tmp_path):
    code, out, err = ignite_vision("run", image_folder, "--dry-run", "--set", "weights=none")
    assert code == 0, err
    assert "features: all but the head is frozen" in out
    kept = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [name.partition("-")[0] for name in kept] == ["hashes"]  # by which near-duplicates are kept together


def test_a_dry_run_tells_everything_and_writes_nothing(ignite_vision, tmp_path):
    code, out, err = ignite_vision("run", "digits", "--dry-run", "--out", tmp_path / "run")
    assert code == 0, err
    for part in (
        "train 1,",
        "val 1",
        "test 4",
        "10 classes (0, 1,",
        "trainable parameters",
        "8x8",
        "nothing was written",
    ):
        assert part in out
    assert not (tmp_path / "run").exists()


def test_seeds_train_a_run_each_and_end_in_a_table(ignite_vision, tmp_path):
    code, out, err = ignite_vision("run", "digits", "--epochs", 1, "--seeds", "4,2", "--out", tmp_path / "several")
    assert code == 0, err
    words = [line.split()[0] for line in out.splitlines()]
    assert words == ["seed", "4", "2", "mean", "spread", "test,", "results:", "next:"]
    assert f"results: {tmp_path / 'several' / 'seeds.json'}" in out
    assert "seed 2     2 of 2" in err
    code, again, err = ignite_vision("run", "digits", "--epochs", 1, "--seeds", "4,2", "--out", tmp_path / "several")
    assert (code, again) == (0, out)
    assert "seed 4: already finished (1 epoch). Use --epochs N to train longer. test accuracy 0." in err


def test_a_dry_run_of_seeds_tries_the_first(ignite_vision, tmp_path):
    code, out, err = ignite_vision("run", "digits", "--dry-run", "--seeds", 2, "--out", tmp_path / "several")
    assert code == 0, err
    assert re.search(r"^run +\S+/several/seed-0$", out, re.M)
    assert not (tmp_path / "several").exists()


class TestBadInput:
    def test_seeds_beside_what_contradicts_them(self, ignite_vision):
        assert_one_error_line(ignite_vision("run", "digits", "--seeds", 1), "one seed has no spread", "--seed N")
        both = "--seeds and a single seed exclude each other"
        assert_one_error_line(ignite_vision("run", "digits", "--seeds", 2, "--seed", 0), both)
        assert_one_error_line(ignite_vision("run", "digits", "--seeds", 2, "--set", "seed=1"), both)
        result = ignite_vision("run", "digits", "--seeds", 2, "--time", "90s")
        assert_one_error_line(result, "--time plans the epochs of one run", "Use --epochs N")

    def test_unknown_recipe(self, ignite_vision):
        assert_one_error_line(ignite_vision("run", "digit"), "no recipe 'digit'", "Did you mean 'digits'?")

    def test_unknown_field(self, ignite_vision):
        result = ignite_vision("run", "digits", "--set", "epoch=3")
        assert_one_error_line(result, "no field 'epoch'", "Did you mean 'epochs'?")

    def test_a_setting_without_equals(self, ignite_vision):
        assert_one_error_line(ignite_vision("run", "digits", "--set", "lr"), "--set needs FIELD=VALUE")

    def test_a_fields_wrong_type(self, ignite_vision):
        assert_one_error_line(ignite_vision("run", "digits", "--set", "lr=fast"), "lr must be a number, not 'fast'")

    def test_unknown_model(self, ignite_vision):
        result = ignite_vision("run", "digits", "--set", "model=resnet5O")
        assert_one_error_line(result, "resnet5O", "Did you mean 'resnet50'?")

    def test_unknown_weights(self, ignite_vision):
        result = ignite_vision("run", "digits", "--set", "model=resnet18", "--set", "weights=DEFUALT")
        assert_one_error_line(result, "DEFUALT", "Did you mean 'DEFAULT'?")

    def test_unknown_trainable_part(self, ignite_vision):
        result = ignite_vision("run", "digits", "--set", "model=resnet18", "--set", "trainable=layer5")
        assert_one_error_line(result, "layer5")

    def test_a_device_that_is_not_there(self, ignite_vision):
        assert_one_error_line(
            ignite_vision("run", "digits", "--device", "cuda:63"), "cuda:63 is not available", "Use --device cpu."
        )
        assert_one_error_line(ignite_vision("run", "digits", "--device", "gpu"), "no device 'gpu'")

    def test_a_data_folder_that_is_not_there(self, ignite_vision, tmp_path):
        assert_one_error_line(
            ignite_vision("run", "digits", "--data", tmp_path / "gone"), "no such data folder", "gone"
        )

    def test_a_folder_without_class_folders(self, ignite_vision, tmp_path):
        (tmp_path / "flat").mkdir()
        assert_one_error_line(ignite_vision("run", tmp_path / "flat"), "no class folders", "flat")

    def test_a_folder_with_one_class(self, ignite_vision, image_folder):
        for name in ("banana", "cherry"):
            (image_folder / name).rename(image_folder / f".{name}")
        assert_one_error_line(ignite_vision("run", image_folder), "apple")

    def test_a_folder_with_an_empty_class(self, ignite_vision, image_folder):
        (image_folder / "damson").mkdir()
        assert_one_error_line(ignite_vision("run", image_folder), "damson")

    def test_a_folder_with_nothing_readable(self, ignite_vision, image_folder):
        for path in image_folder.rglob("*.jpg"):
            path.write_bytes(b"<html>not found</html>")
        assert_one_error_line(ignite_vision("run", image_folder, "--set", "weights=none"), "cannot read image", ".jpg")

    def test_out_is_a_file(self, ignite_vision, tmp_path):
        (tmp_path / "out").write_text("precious")
        assert_one_error_line(ignite_vision("run", "digits", "--out", tmp_path / "out"), "--out is a file")
        assert (tmp_path / "out").read_text() == "precious"

    def test_out_is_a_folder_but_no_run(self, ignite_vision, tmp_path):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
        assert_one_error_line(
            ignite_vision("run", "digits", "--out", tmp_path / "thesis"), "a folder but not a run directory"
        )
        assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]

    def test_out_cannot_be_written(self, ignite_vision):
        result = ignite_vision("run", "digits", "--out", "/proc/run")
        assert_one_error_line(result, "cannot write the run directory", "/proc/run")

    def test_another_recipe_in_the_same_directory(self, ignite_vision, tmp_path):
        ignite_vision("run", "digits", "--epochs", 1, "--out", tmp_path / "run")
        result = ignite_vision("run", "digits", "--epochs", 1, "--out", tmp_path / "run", "--set", "lr=0.5")
        assert_one_error_line(result, "lr: 0.002 -> 0.5")

    def test_resume_of_what_is_no_run(self, ignite_vision, tmp_path):
        result = ignite_vision("resume", tmp_path)
        assert_one_error_line(result, "not a run directory", str(tmp_path), "`ignite-vision run RECIPE` makes a run")

    def test_resume_of_a_damaged_run(self, ignite_vision, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_text('{"format_version": 2')
        result = ignite_vision("resume", tmp_path / "run")
        assert_one_error_line(result, "cannot read run.json", "Restore it from a copy.", code=3)

    def test_a_learning_rate_that_explodes(self, ignite_vision, tmp_path):
        run = tmp_path / "run"
        result = ignite_vision(
            "run", "digits", "--epochs", 1, "--set", "lr=1e30", "--set", "optimizer=sgd", "--out", run
        )
        assert_one_error_line(result, "the loss is not finite in epoch 1, iteration", "learning rate", "e+29")
        assert not (run / "model.safetensors").exists()


def test_a_batch_larger_than_the_data_is_clamped_with_one_line(ignite_vision, tmp_path):
    code, _, err = ignite_vision("run", "digits", "--epochs", 1, "--batch-size", 5000, "--out", tmp_path / "run")
    assert code == 0
    assert "batch size 5000 is more than the 1,168 images" in err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75)])
def test_a_signal_saves_says_how_to_resume_and_the_same_command_does(tmp_path, name, code):
    arguments = ["run", "digits", "--epochs", "60", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ignite_vision", *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("epoch  5/60"):
            process.send_signal(getattr(signal, name))
            break
    rest = process.stderr.read()
    assert process.wait(timeout=30) == code
    said = "Ctrl-C" if code == 130 else name
    assert re.search(rf"^stopped by {said} after iteration \d+, saved\. Resume with: ignite-vision resume", rest, re.M)
    assert "Traceback" not in rest
    process.stdout.close()
    process.stderr.close()
    assert command(*arguments).returncode == 0
    whole = command(*arguments[:-1], str(tmp_path / "whole"))
    assert whole.returncode == 0
    for file in ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome({}, 1, False), "already finished (1 epoch). Use --epochs N to train longer."),
        (Outcome({}, 20, False), "already finished (20 epochs). Use --epochs N to train longer."),
        (Outcome({}, 7, True), "already finished (stopped early after 7 epochs)."),
    ],
)
def test_more_epochs_are_offered_only_to_a_run_that_can_have_them(outcome, line):
    assert already_finished(outcome) == line
