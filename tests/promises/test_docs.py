"""What the documentation shows is run as it stands, and what it says of names and numbers is so."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import ignite_vision
from ignite_vision.jobs import train_and_evaluate
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.testing import digits, write_photos
from tests.helpers.command_line import command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
METHODS = ["fork", pytest.param("spawn", marks=pytest.mark.slow)]
SPAWN = "import multiprocessing as m; m.set_start_method('{method}'); from ignite_vision.cli import main; main()"
# What each example is known by: every python block of the pages has one of these, and a test below.
EXAMPLES = {
    "stripes": '"""Stripes, upright or lying',
    "few_zeros": '"""Digits with few zeros',
    "logistic": '"""The digits of scikit-learn, behind',
    "table": '"""Images that a table names',
    "arrays": '"""Images in an .npz file',
    "scans": '"""Scans in one memory-mapped file',
    "augmented": '"""Digits with random brightness',
    "handled": '"""Digits with handlers',
    "tests_of_a_recipe": '"""Tests of a recipe',
    "classify": "Classifier.load(",
    "readme": 'model="resnet18", lr=0.01',
    "five_lines": "ort.InferenceSession(",
    "average": "EMAHandler(run.model, momentum=0.001)",
    "mlflow": '"""Digits, logged by MLflow',
}


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


def example(name):
    """The one block that is known by this."""
    (found,) = [block for page in PAGES for block in python_blocks(page) if EXAMPLES[name] in block]
    return found


@pytest.fixture
def recipe(tmp_path):
    """Return a function that writes an example to a file: a name for each test, as modules have in one process."""

    def write(name, more=""):
        path = tmp_path / f"{name}_in_{tmp_path.name}.py"
        path.write_text(example(name) + more)
        return path

    return write


def trained(path, tmp_path, data=None, epochs=None):
    """Run a recipe as the command does: what it said, and its directory."""
    lines = []
    overrides = {} if epochs is None else {"epochs": str(epochs)}
    options = Options(data=data, out=tmp_path / "run", workers=0)
    train_and_evaluate(prepare(load(str(path)), overrides, options, lines.append), lambda *_: None)
    return "\n".join(lines), tmp_path / "run"


def cache_of(run):
    """What held the images of a run."""
    return json.loads((run / "run.json").read_text())["cache"]["kind"]


def history(run):
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_every_example_has_a_test():
    for page in PAGES:
        for block in python_blocks(page):
            assert sum(mark in block for mark in EXAMPLES.values()) == 1, f"{page.name}:\n{block[:200]}"


@pytest.mark.parametrize("method", METHODS)
def test_a_custom_recipe_trains_with_workers_however_they_start(recipe, tmp_path, method):
    code = f"if __name__ == '__main__':\n  {SPAWN.format(method=method)}"
    main = tmp_path / "main.py"
    main.write_text(code)
    arguments = ["run", str(recipe("stripes")), "--out", str(tmp_path / "run"), "--workers", "2", "--epochs", "3"]
    done = subprocess.run([sys.executable, str(main), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "of the validation images are right" in done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["n"] == 50


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
def test_its_bits_do_not_depend_on_the_workers(recipe, tmp_path):
    models = []
    for workers in (0, 2, 3):
        options = Options(out=tmp_path / f"w{workers}", workers=workers)
        prepared = prepare(load(str(recipe("stripes"))), {"epochs": "2"}, options, lambda line: None)
        train_and_evaluate(prepared, lambda *_: None)
        models.append(prepared.directory.model.read_bytes())
    assert models[0] == models[1] == models[2]


def test_a_score_by_name_decides_the_best_epoch_and_is_in_the_history(recipe, tmp_path):
    _, run = trained(recipe("few_zeros"), tmp_path, epochs=3)
    rows = history(run)
    assert all(row["score"] == "macro_f1" for row in rows)
    best = max(range(len(rows)), key=lambda i: rows[i]["val_macro_f1"])
    assert json.loads((run / "metrics.json").read_text())["epoch"] == best + 1


def test_a_head_by_logistic_regression_goes_from_strong_to_weak(recipe, tmp_path):
    _, run = trained(recipe("logistic"), tmp_path, epochs=3)
    assert cache_of(run) == "features"
    assert [round(row["strength"]) for row in history(run)] == [100_000, 31_623, 10_000]


def test_a_list_of_files_is_cached_as_features(recipe, tmp_path):
    photos = write_photos(tmp_path / "photos")
    files = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    rows = [f"{file},digit {file.parts[0]},{'test' if i % 4 == 0 else 'train'}" for i, file in enumerate(files)]
    (photos / "labels.csv").write_text("\n".join(["file,label,split", *rows]) + "\n")
    _, run = trained(recipe("table"), tmp_path, data=photos)
    assert cache_of(run) == "features"
    assert json.loads((run / "metrics.json").read_text())["n"] == 15
    assert list((tmp_path / "cache" / "ignite-vision").glob("features-*"))


def test_arrays_in_a_file_are_trained_on_from_memory(recipe, tmp_path):
    splits = digits()
    images, labels = splits.train.pixels().numpy(), splits.train.targets.numpy()
    test = np.arange(len(labels)) % 4 == 0
    arrays = {"train": images[~test], "train_labels": labels[~test], "test": images[test], "test_labels": labels[test]}
    np.savez(tmp_path / "images.npz", **arrays)
    _, run = trained(recipe("arrays"), tmp_path, data=tmp_path)
    assert cache_of(run) == "resident"
    assert json.loads((run / "metrics.json").read_text())["n"] == test.sum()


def test_a_custom_container_that_is_stable_is_cached(recipe, tmp_path):
    splits = digits()
    np.save(tmp_path / "scans.npy", splits.train.pixels()[:, 0].numpy())
    np.save(tmp_path / "labels.npy", splits.train.targets.numpy())
    _, run = trained(recipe("scans"), tmp_path, data=tmp_path)
    assert cache_of(run) == "resident"


def test_custom_augmentation_and_soft_targets_train(recipe, tmp_path):
    _, run = trained(recipe("augmented"), tmp_path, epochs=2)
    assert history(run)[-1]["val_accuracy"] > 0.5


def test_handlers_record_numbers_and_a_stopped_run_has_the_same(recipe, tmp_path):
    stop = "\nimport os, signal\n\n\ndef stopping(run):\n    handlers(run)\n\n"
    stop += "    @run.trainer.on(Events.ITERATION_COMPLETED(once=25))\n"
    stop += "    def stop():\n        os.kill(os.getpid(), signal.SIGTERM)\n\n\n"
    stop += "import dataclasses\nrecipe = dataclasses.replace(recipe, handlers=stopping)\n"
    path = recipe("handled", stop)  # 21 iterations an epoch: it stops in the middle of the second
    for code in (75, 0):
        done = command("run", path, "--out", tmp_path / "stopped")
        assert done.returncode == code, done.stderr
    done = command("run", recipe("handled"), "--out", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    assert "val_top2" in done.stderr
    rows = history(tmp_path / "whole")
    assert all({"val_top2", "weight_norm"} <= row.keys() for row in rows)
    assert [row["lr"] for row in rows] == pytest.approx([2e-3, 1e-3, 1e-3, 5e-4])
    assert history(tmp_path / "stopped") == rows


def test_the_tests_of_a_recipe_pass(recipe):
    path = recipe("tests_of_a_recipe").rename(recipe("tests_of_a_recipe").with_name("test_mine.py"))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_trained_model_answers_in_five_lines(tmp_path, monkeypatch, capsys):
    photos = write_photos(tmp_path / "photos", classes=2)
    (photos / "0").rename(photos / "apple")
    (photos / "1").rename(photos / "banana")
    first = [next((photos / name).iterdir()).name for name in ("apple", "banana")]
    code = (
        example("classify")
        .replace("apple/0000.png", f"apple/{first[0]}")
        .replace("banana/0020.png", f"banana/{first[1]}")
    )
    settings = ["model=cifar10_cnn", "weights=none", "trainable=all"]
    arguments = [text for field in settings for text in ("--set", field)]
    done = command("run", photos, "--out", tmp_path / "runs" / "photos-1a2b3c", *arguments)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [f"photos/{n}/{f}", n] for n, f in zip(("apple", "banana"), first, strict=True)
    ]


@pytest.fixture
def photo_and_model(digits_onnx, tmp_path):
    """Return a folder with model.onnx, a photograph that lies on its side, and what our own classifier says of it."""
    shutil.copy(digits_onnx, tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    classifier = ignite_vision.Classifier.load(digits_onnx.parent, precision="fp32", device="cpu")
    (answer,) = classifier.predict([tmp_path / "photo.jpg"])
    return tmp_path, (classifier.classes[answer.probabilities.argmax()], answer.probabilities.max())


def says(printed, answer):
    """Whether a class and its probability are the answer."""
    label, sure = printed.split()
    return (label, float(sure)) == (answer[0], pytest.approx(answer[1], abs=1e-4))


def test_five_lines_of_onnxruntime_say_what_the_model_says(photo_and_model, monkeypatch, capsys):
    folder, answer = photo_and_model
    monkeypatch.chdir(folder)
    exec(example("five_lines"), {})
    assert says(capsys.readouterr().out, answer)


@pytest.mark.slow
def test_the_five_lines_need_nothing_but_onnxruntime_numpy_and_pillow(photo_and_model):
    folder, answer = photo_and_model
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "onnxruntime", "numpy", "pillow"]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"pip cannot install here: {installed.stderr.strip().splitlines()[-1:]}")
    code = "import importlib.util; assert importlib.util.find_spec('torch') is None\n" + example("five_lines")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=folder, env=environ)
    assert done.returncode == 0, done.stderr
    assert says(done.stdout, answer)


def test_the_command_prints_the_five_lines_of_the_page():
    from ignite_vision.cli.commands.export import FIVE_LINES

    assert FIVE_LINES.format(file="model.onnx").replace("'model.onnx'", '"model.onnx"') == example("five_lines").strip()


def test_the_readmes_recipe_trains(recipe, tmp_path):
    tiny = "\nimport dataclasses\nfrom ignite_vision.testing import digits\n"
    tiny += "recipe = dataclasses.replace(recipe, data=digits, epochs=1)\n"
    said, _ = trained(recipe("readme", tiny), tmp_path)
    assert re.search(r"^epoch 1: \d+\.\d%$", said, re.M)


def test_averaged_weights_are_kept_as_shown(recipe, tmp_path):
    more = "\n\nfrom ignite_vision import Recipe, datasets\n"
    more += "recipe = Recipe(data=datasets.digits, model='digits_cnn', epochs=1, handlers=handlers)\n"
    _, run = trained(recipe("average", more), tmp_path)
    (checkpoint,) = (run / "checkpoints").glob("step-*-validated")
    assert "average" in torch.load(checkpoint / "train.pt", weights_only=True)


def test_the_run_that_the_readme_shows_is_the_one_that_the_command_makes(tmp_path):
    shown = set(re.findall(r"runs/(digits-\w+)", (ROOT / "README.md").read_text()))
    done = command("run", "digits", "--dry-run", cwd=tmp_path)
    assert shown == {re.search(r"^run +\S*(digits-\w{6})$", done.stdout, re.M)[1]}


def test_the_public_names_are_those_that_the_page_lists():
    page = (ROOT / "docs" / "recipes.md").read_text()
    listed = set(re.findall(r"`([A-Za-z_.]+)`", page[page.index("## Public names") :]))
    assert set(ignite_vision.__all__) - {"__version__"} <= listed
    for module in ("datasets", "augment", "models", "testing"):
        assert f"ignite_vision.{module}" in listed


def test_every_attribute_of_a_run_that_the_page_promises_is_there():
    page = (ROOT / "docs" / "recipes.md").read_text()
    part = page[page.index("### What `run` has") : page.index("### What a resume repeats")]
    names = set(re.findall(r"`run\.(\w+)", part))
    fields = {*ignite_vision.Run.__dataclass_fields__, *dir(ignite_vision.Run)}
    assert names and names <= fields


def test_every_file_that_a_run_writes_is_listed(recipe, tmp_path):
    _, run = trained(recipe("handled"), tmp_path, epochs=1)
    listed = set(re.findall(r"`([\w.]+)/?`", (ROOT / "docs" / "run.md").read_text()))
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} <= listed


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text()
    tree = text[text.index("## Where things are") :]
    for name in re.findall(r"^    (\S+) {2,}", tree, re.M):
        assert (ROOT / name).exists(), name


def test_every_link_between_the_pages_leads_somewhere():
    for page in {*PAGES, *ROOT.glob("*.md")}:
        for target, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]*))?\)", page.read_text()):
            place = page.parent / target if target else page
            assert place.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(place), f"{page.name} links to {target}#{anchor}"


def anchors(page):
    """GitHub's names of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_mlflow_has_the_accuracy_of_each_epoch(recipe, tmp_path):
    pytest.importorskip("mlflow", reason="pip install mlflow, for the test of its logger")
    done = command("run", recipe("mlflow"), "--epochs", 2, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        rows = database.execute("select step, value from metrics where key = 'val accuracy' order by step").fetchall()
    written = map(json.loads, (tmp_path / "run" / "history.jsonl").read_text().splitlines())
    assert rows == [(row["epoch"], pytest.approx(row["val_accuracy"])) for row in written]
